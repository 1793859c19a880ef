//! A simulated card under a straightforward executor, which counts round trips and can tear any write.

use encoder_protocols::card_sim::{CardError, ClassicCard, KeySlot};
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key, SectorNumber};
use encoder_protocols::id::Uid;
use encoder_protocols::layout::keys::{CardKeys, PropertyKey};
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use encoder_protocols::plan::{
    CardView, EncodePlan, Examine, Look, LookOutcome, LookStep, PersonalizePlan, PersonalizeStep, SafePoint, Step,
    encode,
};

pub const SIZES: [ClassicSize; 3] = [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4];

/// Why a run ended early.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The card left in the middle of a write.
    Torn,
    /// A block reads differently from what was written.
    Mismatch,
    /// The card refused.
    Refused(CardError),
}

#[derive(Clone)]
pub struct Bench {
    pub card: ClassicCard,
    pub keys: CardKeys,
    pub round_trips: usize,
    pub writes: usize,
    pub reached: Option<SafePoint>,
}

pub fn uid() -> Uid {
    Uid::new(&[0x04, 0xA1, 0xB2, 0xC3]).unwrap()
}

pub fn property_key() -> PropertyKey {
    PropertyKey::new(1, *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xAA\xBB\xCC\xDD\xEE\xFF")
}

/// A record that differs from another number's in every field that may differ.
pub fn record(number: u8, doors: u8) -> Record {
    Record {
        credential_id: CredentialId([number; 16]),
        property_id: PropertyId([0xB2; 16]),
        flags: Flags::OVERRIDE_PREVIOUS_GUEST,
        starts_at: 1_760_000_000 + u32::from(number),
        ends_at: 1_760_300_000,
        issued_at: 1_759_990_000,
        doors: (0..doors).map(|door| 100 + u16::from(door) + u16::from(number)).collect(),
    }
}

pub fn sector(number: u8) -> SectorNumber {
    SectorNumber::new(number).unwrap()
}

impl Bench {
    pub fn blank(size: ClassicSize) -> Self {
        let mut card = ClassicCard::blank(size, uid());
        card.select();
        let keys = property_key().for_card(&uid());
        Self { card, keys, round_trips: 0, writes: 0, reached: None }
    }

    pub fn personalized(size: ClassicSize) -> Self {
        let mut bench = Self::blank(size);
        let plan = PersonalizePlan::new(&bench.keys, size);
        bench.run(&plan.steps, None).unwrap();
        Self { round_trips: 0, writes: 0, reached: None, ..bench }
    }

    /// Drives a machine that only reads. Memory must be the same afterwards.
    pub fn examine(&mut self, machine: &mut dyn Examine) {
        let before = self.card.dump();
        for _ in 0..10_000 {
            let step = machine.poll();
            self.round_trips += step.round_trips();
            match step {
                LookStep::Login { sector, key } => {
                    if self.login(sector, &key).is_ok() {
                        machine.login_ok();
                    } else {
                        self.select_again();
                        machine.login_failed();
                    }
                }
                LookStep::Read(block) => {
                    if let Ok(data) = self.card.read(block) {
                        machine.block(data);
                    } else {
                        self.select_again();
                        machine.refused();
                    }
                }
                LookStep::Version | LookStep::UltralightCProbe | LookStep::Pages { .. } | LookStep::Unlock(_) => {
                    panic!("no step for a Classic card: {step:?}")
                }
                LookStep::Done => {
                    assert_eq!(self.card.dump(), before, "looking never writes");
                    return;
                }
            }
        }
        panic!("the machine does not come to an end");
    }

    fn select_again(&mut self) {
        self.card.select();
        self.round_trips += 1;
    }

    fn login(&mut self, sector: SectorNumber, key: &Key) -> Result<(), CardError> {
        let slot = match key {
            Key::A(_) => KeySlot::A,
            Key::B(_) => KeySlot::B,
        };
        self.card.authenticate(sector.first_block(), slot, key.secret().expose())
    }

    pub fn look(&mut self) -> LookOutcome {
        let mut look = Look::new(self.keys.clone());
        self.examine(&mut look);
        look.outcome().unwrap()
    }

    pub fn view(&mut self) -> CardView {
        match self.look() {
            LookOutcome::Ours(view) => view,
            LookOutcome::NotOurs => panic!("a card of ours"),
        }
    }

    pub fn plan(&mut self, record: &Record) -> EncodePlan {
        let view = self.view();
        encode(&view, record, &self.keys, self.card.size()).unwrap()
    }

    /// Looks, plans, runs to the end.
    pub fn encode(&mut self, record: &Record) -> EncodePlan {
        let plan = self.plan(record);
        self.run_encode(&plan, None).unwrap();
        assert_eq!(self.reached, Some(SafePoint::Retired));
        plan
    }

    pub fn run_encode(&mut self, plan: &EncodePlan, tear: Option<(usize, [u8; 16])>) -> Result<(), Stop> {
        let steps: Vec<_> = plan.steps.iter().cloned().map(PersonalizeStep::from).collect();
        self.run(&steps, tear)
    }

    /// Runs steps. `tear` names a write, counted from 0, and what it leaves in its block.
    pub fn run(&mut self, steps: &[PersonalizeStep], tear: Option<(usize, [u8; 16])>) -> Result<(), Stop> {
        self.card.power_off();
        self.card.select();
        let mut written = 0;
        for step in steps {
            self.round_trips += step.round_trips();
            let write = match step {
                PersonalizeStep::Step(Step::Write { block, data }) => Some((block.number(), *data)),
                PersonalizeStep::WriteTrailer { sector, trailer } => Some((sector.trailer(), trailer.to_bytes())),
                PersonalizeStep::WriteConfigPage { .. } => panic!("no step of a Classic card: {step}"),
                PersonalizeStep::Step(step) => {
                    self.read_only(step)?;
                    None
                }
            };
            let Some((block, data)) = write else { continue };
            self.card.write(block, &data).map_err(Stop::Refused)?;
            if let Some((at, content)) = tear
                && at == written
            {
                self.card.set_memory(block, content);
                self.card.power_off();
                self.card.select();
                return Err(Stop::Torn);
            }
            written += 1;
            self.writes += 1;
        }
        Ok(())
    }

    fn read_only(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::NewSession => {
                self.card.power_off();
                self.card.select();
            }
            Step::Login { sector, key } => self.login(*sector, key).map_err(Stop::Refused)?,
            Step::ReadBack { block, expect } => {
                if self.card.read(block.number()).map_err(Stop::Refused)? != *expect {
                    return Err(Stop::Mismatch);
                }
            }
            Step::Reached(point) => self.reached = Some(*point),
            Step::Write { .. } | Step::Unlock(_) | Step::WritePage { .. } | Step::ReadBackPages { .. } => {
                panic!("no step for this place: {step}")
            }
        }
        Ok(())
    }

    pub fn memory(&self, block: BlockNumber) -> [u8; 16] {
        *self.card.memory(block).unwrap()
    }
}
