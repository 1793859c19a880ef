//! Erasing: the credentials of a card of ours go, its keys and access bits stay.
//!
//! 1. an older record's seal, 2. the current record's seal, 3. all payload, 4. a new session, 5. every block read back.
//!
//! Seals go first, so that a tear leaves the card with the credential that it had, or with none. The older one goes before
//! the current one: it would be valid again in between.

use super::hand::Hand;
use crate::layout::content::Content;
use crate::layout::form::Form;
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::Slot;
use crate::plan::encode::require_readable;
use crate::plan::{CardView, PlanError, SafePoint, Step, list};
use alloc::vec::Vec;
use core::fmt;

/// The steps of one erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasePlan {
    /// In order.
    pub steps: Vec<Step>,
    /// The credential that the card has until its seal is gone.
    pub erased: Option<Content>,
}

impl fmt::Display for ErasePlan {
    /// A numbered listing without contents or keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round_trips: usize = self.steps.iter().map(Step::round_trips).sum();
        writeln!(f, "erase both slots, {round_trips} round trips")?;
        list(f, &self.steps)
    }
}

/// Plans how a card of ours becomes blank of credentials. Keys, passwords and protection stay: it stays personalised.
///
/// # Errors
/// [`PlanError::SlotUnreadable`]: what cannot be read might still open doors and cannot be seen to be gone.
pub fn erase(view: &CardView, keys: &CardKeys, form: impl Into<Form>) -> Result<ErasePlan, PlanError> {
    require_readable(view)?;
    let current = view.current();
    let last = current.map_or(Slot::B, |(slot, _)| slot);
    let slots = [last.other(), last];
    let mut hand = Hand::new(form.into(), keys);
    hand.push(Step::Reached(SafePoint::Untouched));
    for slot in slots {
        // A seal that reads as zero may be one that was torn while it was retired, so it is written too.
        hand.zero_seal(slot);
    }
    for slot in slots {
        hand.zero_payload(slot);
    }
    hand.verify_zero(slots);
    Ok(ErasePlan { steps: hand.steps, erased: current.map(|(_, sealed)| sealed.content.clone()) })
}
