//! Encoding a record: the commit order in which no interruption loses the credential that a card has.
//!
//! 1. payload into the other slot, 2. its seal, 3. a new session, 4. read back twice, 5. the old slot's seal to zero,
//! 6. read that back. A slot that is the only valid one is never written.

use crate::family::classic::{ClassicSize, Key, SectorNumber};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::{self, Sealed, Slot, SlotImage, SlotState};
use crate::layout::record::{Record, TooManyDoors};
use crate::plan::{CardView, SafePoint, Step, list};
use alloc::vec::Vec;
use core::fmt;

/// The steps of one encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodePlan {
    /// In order.
    pub steps: Vec<Step>,
    /// Where the record will be, or already is.
    pub slot: Slot,
    /// The sequence of its seal.
    pub sequence: u32,
    /// The credential that it takes the place of. Of a repeated job too, when the first attempt did not get to retire it.
    pub overwritten: Option<Record>,
}

/// Why there is no plan. Nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The card is too small for the record.
    #[error("{have} doors, the card holds {max}")]
    TooManyDoors {
        /// How many doors the record has.
        have: usize,
        /// How many fit.
        max: usize,
    },
    /// The card's sequence has come to its end: take another card.
    #[error("the card has been encoded as often as its sequence can count")]
    SequenceExhausted,
    /// A slot cannot be read. Without it, a second encode would have to write the only valid slot: take another card.
    #[error("sector {sector} of slot {slot} cannot be read")]
    SlotUnreadable {
        /// Which slot.
        slot: Slot,
        /// Which of its sectors.
        sector: SectorNumber,
    },
}

impl From<TooManyDoors> for PlanError {
    fn from(TooManyDoors { have, max }: TooManyDoors) -> Self {
        Self::TooManyDoors { have, max }
    }
}

impl EncodePlan {
    /// How many exchanges with the reader it costs, the look before it not counted.
    pub fn round_trips(&self) -> usize {
        self.steps.iter().map(Step::round_trips).sum()
    }

    /// Whether the card already holds the record, so that nothing but what an earlier attempt left undone is done.
    pub fn is_finishing(&self) -> bool {
        self.steps.first() == Some(&Step::Reached(SafePoint::Sealed))
    }
}

impl fmt::Display for EncodePlan {
    /// A numbered listing without contents or keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = if self.is_finishing() { "finish" } else { "write" };
        writeln!(f, "{doing} slot {}, sequence {}, {} round trips", self.slot, self.sequence, self.round_trips())?;
        list(f, &self.steps)
    }
}

/// Plans how a record gets onto a card of ours.
///
/// - One valid slot: the record goes to the other one; then the old one is retired.
/// - No valid slot: the record goes to the slot that an earlier attempt left torn, so that nothing half-written stays;
///   to slot A when both are empty or both torn, and then a torn slot B is retired.
/// - Two valid slots: first the earlier attempt is finished (the newer seal rewritten in full while the older slot covers
///   a tear, verified in a new session, the older retired); the plan then goes on as with one valid slot.
/// - The current slot already holds exactly this record (a repeated job): only what finishing needs. A lone seal is not
///   rewritten; should it not read back, it holds weak bits, and [`renew`] is the next attempt's plan.
///
/// Validity is the seal's alone. A record of another property, sealed with our key, is a valid one: it is not lost before
/// the new one is verified, the new sequence is above its, and it is reported as overwritten.
///
/// # Errors
/// [`PlanError`], before a byte is written.
pub fn encode(view: &CardView, record: &Record, keys: &CardKeys, size: ClassicSize) -> Result<EncodePlan, PlanError> {
    let max = usize::from(ocl1::doors_max(size));
    if record.doors.len() > max {
        return Err(PlanError::TooManyDoors { have: record.doors.len(), max });
    }
    require_readable(view)?;
    match view.current() {
        Some((slot, sealed)) if sealed.record == *record => finish(view, slot, sealed, keys),
        Some((slot, sealed)) => replace(view, slot, sealed, record, keys),
        None => first(view, record, keys),
    }
}

/// Plans as [`encode`] does, but writes the record in full even when the card already holds it.
///
/// For a card on which a [finishing](EncodePlan::is_finishing) plan did not read back what it should: a block holds weak
/// bits, and a lone seal may not be rewritten in place. The record goes to the other slot in full, and the first one is
/// retired.
///
/// # Errors
/// [`PlanError`], before a byte is written.
pub fn renew(view: &CardView, record: &Record, keys: &CardKeys, size: ClassicSize) -> Result<EncodePlan, PlanError> {
    match view.current() {
        Some((slot, sealed)) if sealed.record == *record => {
            require_readable(view)?;
            replace(view, slot, sealed, record, keys)
        }
        Some(_) | None => encode(view, record, keys, size),
    }
}

/// Refuses a card with a slot that cannot be read.
pub(super) fn require_readable(view: &CardView) -> Result<(), PlanError> {
    for slot in Slot::BOTH {
        if let SlotState::Unreadable { sector } = *view.slot(slot) {
            return Err(PlanError::SlotUnreadable { slot, sector });
        }
    }
    Ok(())
}

/// The record is there already.
fn finish(view: &CardView, slot: Slot, sealed: &Sealed, keys: &CardKeys) -> Result<EncodePlan, PlanError> {
    let image = SlotImage::new(keys, slot, sealed.sequence, &sealed.record)?;
    let other = view.slot(slot.other());
    let mut steps = Vec::from([Step::Reached(SafePoint::Sealed)]);
    if other.valid().is_some() {
        write_seal_again(&mut steps, &image, keys);
    }
    verify(&mut steps, &image, keys);
    steps.push(Step::Reached(SafePoint::Verified));
    if *other == SlotState::Empty {
        confirm_empty(&mut steps, slot.other(), keys);
    } else {
        retire(&mut steps, slot.other(), keys);
    }
    steps.push(Step::Reached(SafePoint::Retired));
    let overwritten = other.valid().map(|older| older.record.clone()).filter(|older| *older != sealed.record);
    Ok(EncodePlan { steps, slot, sequence: sealed.sequence, overwritten })
}

/// Another record is current.
fn replace(
    view: &CardView,
    current: Slot,
    sealed: &Sealed,
    record: &Record,
    keys: &CardKeys,
) -> Result<EncodePlan, PlanError> {
    let slot = current.other();
    let sequence = sealed.sequence.checked_add(1).ok_or(PlanError::SequenceExhausted)?;
    let image = SlotImage::new(keys, slot, sequence, record)?;
    let mut steps = Vec::from([Step::Reached(SafePoint::Untouched)]);
    if view.slot(slot).valid().is_some() {
        let newer = SlotImage::new(keys, current, sealed.sequence, &sealed.record)?;
        write_seal_again(&mut steps, &newer, keys);
        verify(&mut steps, &newer, keys);
        retire(&mut steps, slot, keys);
        steps.push(Step::Reached(SafePoint::Untouched));
    }
    commit(&mut steps, &image, keys);
    retire(&mut steps, current, keys);
    steps.push(Step::Reached(SafePoint::Retired));
    let overwritten = Some(&sealed.record).filter(|&old| old != record).cloned();
    Ok(EncodePlan { steps, slot, sequence, overwritten })
}

/// No record is on the card.
fn first(view: &CardView, record: &Record, keys: &CardKeys) -> Result<EncodePlan, PlanError> {
    let torn_b_only = *view.slot(Slot::A) == SlotState::Empty && *view.slot(Slot::B) != SlotState::Empty;
    let slot = if torn_b_only { Slot::B } else { Slot::A };
    let image = SlotImage::new(keys, slot, 1, record)?;
    let mut steps = Vec::from([Step::Reached(SafePoint::Untouched)]);
    commit(&mut steps, &image, keys);
    retire_unless_empty(&mut steps, view, slot.other(), keys);
    steps.push(Step::Reached(SafePoint::Retired));
    Ok(EncodePlan { steps, slot, sequence: 1, overwritten: None })
}

/// Payload, seal, new session, read back.
fn commit(steps: &mut Vec<Step>, image: &SlotImage, keys: &CardKeys) {
    // The seal's sector comes last, so that each sector is opened once.
    for sector in image.slot.sectors().into_iter().rev() {
        let blocks: Vec<_> = image.payload_blocks().filter(|(block, _)| block.sector() == sector).collect();
        if !blocks.is_empty() || sector == image.slot.first_sector() {
            steps.push(Step::Login { sector, key: Key::B(keys.key_b(sector)) });
            steps.extend(blocks.into_iter().map(|(block, data)| Step::Write { block, data }));
        }
    }
    steps.push(Step::Reached(SafePoint::PayloadWritten));
    steps.push(Step::Write { block: image.slot.seal_block(), data: image.seal });
    steps.push(Step::Reached(SafePoint::Sealed));
    verify(steps, image, keys);
    steps.push(Step::Reached(SafePoint::Verified));
}

/// Writes the newer of two valid seals in full: it may hold weak bits. The older slot covers a tear.
fn write_seal_again(steps: &mut Vec<Step>, image: &SlotImage, keys: &CardKeys) {
    let sector = image.slot.first_sector();
    steps.push(Step::Login { sector, key: Key::B(keys.key_b(sector)) });
    steps.push(Step::Write { block: image.slot.seal_block(), data: image.seal });
}

/// Reads every block in use twice in a new session, with the key that a lock has.
fn verify(steps: &mut Vec<Step>, image: &SlotImage, keys: &CardKeys) {
    steps.push(Step::NewSession);
    for sector in image.slot.sectors() {
        let blocks: Vec<_> = image.blocks().filter(|(block, _)| block.sector() == sector).collect();
        if blocks.is_empty() {
            continue;
        }
        steps.push(Step::Login { sector, key: Key::A(keys.key_a(sector)) });
        for _ in 0..2 {
            steps.extend(blocks.iter().map(|&(block, expect)| Step::ReadBack { block, expect }));
        }
    }
}

/// Zeroes a slot's seal and reads it back: what it sealed does not live on.
fn retire(steps: &mut Vec<Step>, slot: Slot, keys: &CardKeys) {
    let (sector, block) = (slot.first_sector(), slot.seal_block());
    steps.push(Step::Login { sector, key: Key::B(keys.key_b(sector)) });
    steps.push(Step::Write { block, data: [0; 16] });
    steps.push(Step::ReadBack { block, expect: [0; 16] });
}

/// Reads a seal that looked empty twice more: it may be one that was torn while it was retired, and one good read is no proof.
fn confirm_empty(steps: &mut Vec<Step>, slot: Slot, keys: &CardKeys) {
    let (sector, block) = (slot.first_sector(), slot.seal_block());
    steps.push(Step::Login { sector, key: Key::A(keys.key_a(sector)) });
    steps.extend([(); 2].map(|()| Step::ReadBack { block, expect: [0; 16] }));
}

/// Retires a slot that holds anything: a torn seal may hold weak bits that read as valid tomorrow.
fn retire_unless_empty(steps: &mut Vec<Step>, view: &CardView, slot: Slot, keys: &CardKeys) {
    if *view.slot(slot) != SlotState::Empty {
        retire(steps, slot, keys);
    }
}
