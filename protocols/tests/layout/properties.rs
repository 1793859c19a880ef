//! What holds for every record, every flipped bit and every view of a card.

use super::bench::{Bench, property_key, record, uid};
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::content::{Content, Sealed, SlotState};
use encoder_protocols::layout::ocl1::{self, SealState, Slot, SlotFault, SlotImage};
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record, RecordError};
use encoder_protocols::plan::{CardView, SafePoint, Step, encode};
use proptest::prelude::*;

prop_compose! {
    fn records(doors_max: usize)(
        credential_id: [u8; 16],
        property_id: [u8; 16],
        flags in 0_u8..16,
        starts_at: u32,
        ends_at: u32,
        issued_at: u32,
        doors in prop::collection::vec(any::<u16>(), 0..=doors_max),
    ) -> Record {
        Record {
            credential_id: CredentialId(credential_id),
            property_id: PropertyId(property_id),
            flags: Flags::from_bits(flags).unwrap(),
            starts_at,
            ends_at,
            issued_at,
            doors,
        }
    }
}

fn slots() -> impl Strategy<Value = Slot> {
    prop::sample::select(Slot::BOTH.to_vec())
}

fn states() -> impl Strategy<Value = SlotState> {
    let sealed = (1_u32..6, 1_u8..5).prop_map(|(sequence, number)| Sealed {
        sequence,
        key_id: 1,
        content: Content::Full(record(number, number)),
    });
    prop_oneof![
        Just(SlotState::Empty),
        Just(SlotState::Invalid(SlotFault::Mac)),
        sealed.clone().prop_map(SlotState::Valid),
        sealed.prop_map(SlotState::Valid),
    ]
}

proptest! {
    #[test]
    fn record_reads_back(record in records(255)) {
        let payload = record.encode().unwrap();
        prop_assert_eq!(payload.len(), Record::bytes_for(u8::try_from(record.doors.len()).unwrap()));
        prop_assert_eq!(Record::decode(&payload), Ok(record));
    }

    #[test]
    fn bytes_are_a_record_or_refused(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(record) = Record::decode(&payload) {
            prop_assert_eq!(record.encode(), Ok(payload));
        }
    }

    #[test]
    fn reserved_flags_are_refused(record in records(4), bit in 4_u32..8) {
        let mut payload = record.encode().unwrap();
        payload[32] |= 1 << bit;
        prop_assert_eq!(Record::decode(&payload), Err(RecordError::ReservedFlags { bits: payload[32] }));
    }

    #[test]
    fn one_flipped_bit_in_seal_or_payload_is_never_valid(
        record in records(17),
        slot in slots(),
        sequence: u32,
        place: prop::sample::Index,
        bit in 0_usize..128,
    ) {
        let mut bench = Bench::personalized(ClassicSize::Mini);
        let image = SlotImage::new(&bench.keys, slot, sequence, &record).unwrap();
        for (block, data) in image.blocks() {
            bench.card.set_memory(block.number(), data);
        }
        let view = bench.view();
        prop_assert_eq!(view.slot(slot).valid(), Some(&Sealed { sequence, key_id: 1, content: Content::Full(record) }));
        let blocks: Vec<_> = image.blocks().collect();
        let (block, mut data) = blocks[place.index(blocks.len())];
        data[bit / 8] ^= 1 << (bit % 8);
        bench.card.set_memory(block.number(), data);
        let view = bench.view();
        prop_assert_eq!(view.slot(slot).valid(), None);
    }

    #[test]
    fn seal_holds_for_one_card_and_one_slot_only(record in records(17), slot in slots(), sequence: u32, bit in 0_usize..32) {
        let property = property_key();
        let keys = property.for_card(&uid());
        let image = SlotImage::new(&keys, slot, sequence, &record).unwrap();
        let SealState::Present(seal) = ocl1::judge_seal(&keys, &image.seal) else { panic!("a seal") };
        prop_assert_eq!(ocl1::open(&keys, slot, &seal, &image.payload).map(|sealed| sealed.content), Ok(Content::Full(record)));
        prop_assert_eq!(ocl1::open(&keys, slot.other(), &seal, &image.payload), Err(SlotFault::Mac));
        let mut other = uid().as_bytes().to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        let other = property.for_card(&Uid::new(&other).unwrap());
        prop_assert_eq!(ocl1::open(&other, slot, &seal, &image.payload), Err(SlotFault::Mac));
    }

    #[test]
    fn the_only_valid_slot_is_never_written(a in states(), b in states(), number in 1_u8..7) {
        let keys = property_key().for_card(&uid());
        let view = CardView::new([a, b]);
        let record = record(number, number);
        let plan = encode(&view, &record, &keys, ClassicSize::K1).unwrap();
        let slot_of = |block| Slot::BOTH.into_iter().find(|slot| slot.blocks().any(|own| own == block)).unwrap();
        let mut valid = Slot::BOTH.map(|slot| view.slot(slot).valid().is_some());
        let mut new_session = false;
        let mut sealed = None;
        for step in &plan.steps {
            match step {
                Step::Write { block, data } => {
                    let slot = slot_of(*block);
                    let [own, other] = [slot, slot.other()].map(usize::from_slot);
                    prop_assert!(!valid[own] || valid[other], "{}", plan);
                    valid[own] = false;
                    new_session = false;
                    sealed = (*block == slot.seal_block() && *data != [0; 16]).then_some(slot);
                }
                Step::NewSession => new_session = true,
                // Read back in a new session after the seal: from here on the slot counts.
                Step::ReadBack { block, .. } => {
                    if let Some(slot) = sealed && new_session && *block == slot.seal_block() {
                        valid[usize::from_slot(slot)] = true;
                    }
                }
                Step::Reached(SafePoint::Verified) => prop_assert!(valid[usize::from_slot(plan.slot)], "{}", plan),
                Step::Login { .. } | Step::Reached(_) => {}
                Step::Unlock(_) | Step::WritePage { .. } | Step::ReadBackPages { .. } => panic!("{step}"),
            }
        }
        prop_assert_eq!(plan.steps.last(), Some(&Step::Reached(SafePoint::Retired)));
        prop_assert!(valid[usize::from_slot(plan.slot)]);
        prop_assert!(!valid[usize::from_slot(plan.slot.other())]);
        let highest = Slot::BOTH.into_iter().filter_map(|slot| view.slot(slot).valid()).map(|sealed| sealed.sequence).max();
        prop_assert!(plan.is_finishing() || plan.sequence == highest.unwrap_or(0) + 1);
    }
}

trait FromSlot {
    fn from_slot(slot: Slot) -> Self;
}

impl FromSlot for usize {
    fn from_slot(slot: Slot) -> Self {
        Self::from(slot.code())
    }
}
