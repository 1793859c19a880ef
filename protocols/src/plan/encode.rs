//! Encoding a record: the commit order in which no interruption loses the credential that a card has.
//!
//! 1. payload into the other slot, 2. its seal, 3. a new session, 4. read back twice, 5. the old slot's seal to zero,
//! 6. read that back.
//!
//! A slot that is the only valid one is never written. The order is the same on every kind of card; how each part of it is
//! done there is `hand.rs`'s business.

use super::hand::{Hand, Image};
use crate::layout::compact::Misfit;
use crate::layout::content::{Content, Sealed, SlotState};
use crate::layout::form::{Form, RecordForm, Spot};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::Slot;
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
    pub overwritten: Option<Content>,
    /// The other slot is dead: the card is worn and carries no further credential after this one.
    pub worn: Option<Spot>,
}

/// Why there is no plan. Nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The card is too small for the record.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The card's sequence has come to its end: take another card.
    #[error("the card has been encoded as often as its sequence can count")]
    SequenceExhausted,
    /// A slot cannot be read, and the other holds the only valid record, which is never written: take another card.
    #[error("{at} of slot {slot} cannot be read")]
    SlotUnreadable {
        /// Which slot.
        slot: Slot,
        /// Where.
        at: Spot,
    },
    /// The slots hold another form of record than this kind of card carries: the look was another card's.
    #[error("the card carries another form of record")]
    OtherForm,
}

impl From<TooManyDoors> for PlanError {
    fn from(TooManyDoors { have, max }: TooManyDoors) -> Self {
        Misfit::TooManyDoors { have, max }.into()
    }
}

/// The first sequence beside a dead slot: half of what a seal can count. Should that slot come back to life, what it held is
/// older, unless the card had been encoded that often.
fn sequence_beside_dead(form: Form) -> u32 {
    match form.record_form() {
        RecordForm::Full => 1 << 31,
        RecordForm::Compact => 1 << 15,
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
        if let Some(at) = self.worn {
            writeln!(f, "the card is worn: {at} is dead")?;
        }
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
/// - A slot that cannot be read, and no valid record beside it: the record goes to the other slot, and the card is worn.
///
/// On pages, what an unused slot already holds is not written again; verified it is all the same.
///
/// Validity is the seal's alone. A record of another property, sealed with our key, is a valid one: it is not lost before
/// the new one is verified, the new sequence is above its, and it is reported as overwritten.
///
/// # Errors
/// [`PlanError`], before a byte is written.
pub fn encode<F: Into<Form>>(
    view: &CardView,
    record: &Record,
    keys: &CardKeys,
    form: F,
) -> Result<EncodePlan, PlanError> {
    let form = form.into();
    let content = Content::fit(record, form)?;
    Planner { view, content: &content, keys, form, in_full: false }.plan()
}

/// Plans as [`encode`] does, but writes the record in full even when the card already holds it, or some of it.
///
/// For a card on which a plan was interrupted, or on which a [finishing](EncodePlan::is_finishing) one did not read back what
/// it should: a block holds weak bits, and a lone seal may not be rewritten in place. The record goes to the other slot in
/// full, and the first one is retired.
///
/// # Errors
/// [`PlanError`], before a byte is written.
pub fn renew<F: Into<Form>>(
    view: &CardView,
    record: &Record,
    keys: &CardKeys,
    form: F,
) -> Result<EncodePlan, PlanError> {
    let form = form.into();
    let content = Content::fit(record, form)?;
    Planner { view, content: &content, keys, form, in_full: true }.plan()
}

/// Refuses a card with a slot that cannot be read.
pub(super) fn require_readable(view: &CardView) -> Result<(), PlanError> {
    Slot::BOTH.into_iter().try_for_each(|slot| match *view.slot(slot) {
        SlotState::Unreadable { at } => Err(PlanError::SlotUnreadable { slot, at }),
        SlotState::Empty | SlotState::Invalid(_) | SlotState::Valid(_) => Ok(()),
    })
}

struct Planner<'a> {
    view: &'a CardView,
    content: &'a Content,
    keys: &'a CardKeys,
    form: Form,
    in_full: bool,
}

impl Planner<'_> {
    fn plan(&self) -> Result<EncodePlan, PlanError> {
        match self.view.current() {
            // Sealed with an older key, it is written anew with the current one.
            Some((slot, sealed))
                if sealed.content == *self.content && sealed.key_id == self.keys.key_id() && !self.in_full =>
            {
                self.finish(slot, sealed)
            }
            Some((slot, sealed)) => {
                require_readable(self.view)?;
                self.replace(slot, sealed)
            }
            None => self.first(),
        }
    }

    fn hand(&self, slot: Slot) -> Hand<'_> {
        let hand = Hand::new(self.form, self.keys);
        if self.in_full { hand } else { hand.skipping_what_is_there(self.view, slot) }
    }

    /// The record is there already.
    fn finish(&self, slot: Slot, sealed: &Sealed) -> Result<EncodePlan, PlanError> {
        let mut hand = self.hand(slot);
        let image = hand.image(slot, sealed.sequence, self.content)?;
        let other = self.view.slot(slot.other());
        hand.push(Step::Reached(SafePoint::Sealed));
        if other.valid().is_some() {
            hand.seal_again(&image);
        }
        hand.verify(&image);
        hand.push(Step::Reached(SafePoint::Verified));
        match other {
            SlotState::Empty => hand.confirm_empty(slot.other()),
            SlotState::Invalid(_) | SlotState::Valid(_) => hand.retire(slot.other()),
            // Nothing can be done about it, and the credential is good.
            SlotState::Unreadable { .. } => {}
        }
        hand.push(Step::Reached(SafePoint::Retired));
        let overwritten = other.valid().map(|older| &older.content).filter(|&older| older != self.content).cloned();
        Ok(EncodePlan { steps: hand.steps, slot, sequence: sealed.sequence, overwritten, worn: dead(other) })
    }

    /// Another record is current.
    fn replace(&self, current: Slot, sealed: &Sealed) -> Result<EncodePlan, PlanError> {
        let slot = current.other();
        let mut hand = self.hand(slot);
        let sequence = sealed.sequence.checked_add(1).ok_or(PlanError::SequenceExhausted)?;
        let image = hand.image(slot, sequence, self.content)?;
        hand.push(Step::Reached(SafePoint::Untouched));
        if self.view.slot(slot).valid().is_some() {
            // The newer seal in full: it may hold weak bits. The older slot covers a tear.
            let newer = hand.image(current, sealed.sequence, &sealed.content)?;
            hand.seal_again(&newer);
            hand.verify(&newer);
            hand.retire(slot);
            hand.push(Step::Reached(SafePoint::Untouched));
        }
        commit(&mut hand, &image);
        hand.retire(current);
        hand.push(Step::Reached(SafePoint::Retired));
        let overwritten = Some(&sealed.content).filter(|&old| old != self.content).cloned();
        Ok(EncodePlan { steps: hand.steps, slot, sequence, overwritten, worn: None })
    }

    /// No record is on the card.
    fn first(&self) -> Result<EncodePlan, PlanError> {
        let [a, b] = Slot::BOTH.map(|slot| self.view.slot(slot));
        let slot = match (dead(a), dead(b)) {
            (Some(_), Some(_)) => return require_readable(self.view).and(Err(PlanError::OtherForm)),
            (Some(_), None) => Slot::B,
            (None, None) if *a == SlotState::Empty && *b != SlotState::Empty => Slot::B,
            (None, None | Some(_)) => Slot::A,
        };
        let other = self.view.slot(slot.other());
        let sequence = if dead(other).is_some() { sequence_beside_dead(self.form) } else { 1 };
        let mut hand = self.hand(slot);
        let image = hand.image(slot, sequence, self.content)?;
        hand.push(Step::Reached(SafePoint::Untouched));
        commit(&mut hand, &image);
        // A torn seal may hold weak bits that read as valid tomorrow.
        match other {
            SlotState::Invalid(_) | SlotState::Valid(_) => hand.retire(slot.other()),
            SlotState::Empty | SlotState::Unreadable { .. } => {}
        }
        hand.push(Step::Reached(SafePoint::Retired));
        Ok(EncodePlan { steps: hand.steps, slot, sequence, overwritten: None, worn: dead(other) })
    }
}

fn dead(state: &SlotState) -> Option<Spot> {
    match *state {
        SlotState::Unreadable { at } => Some(at),
        SlotState::Empty | SlotState::Invalid(_) | SlotState::Valid(_) => None,
    }
}

/// Payload, seal, new session, read back.
fn commit(hand: &mut Hand<'_>, image: &Image) {
    hand.payload(image);
    hand.push(Step::Reached(SafePoint::PayloadWritten));
    hand.seal(image);
    hand.push(Step::Reached(SafePoint::Sealed));
    hand.verify(image);
    hand.push(Step::Reached(SafePoint::Verified));
}
