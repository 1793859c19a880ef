//! Erasing: the credentials of a card of ours go, its keys and access bits stay.
//!
//! 1. an older record's seal, 2. the current record's seal, 3. all payload, 4. a new session, 5. every block read back.
//! Seals first, so that a tear leaves the card with the credential that it had, or with none. The older one goes before
//! the current one: it would be valid again in between.

use crate::family::classic::{DataBlock, Key};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::Slot;
use crate::layout::record::Record;
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
    pub erased: Option<Record>,
}

impl fmt::Display for ErasePlan {
    /// A numbered listing without contents or keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round_trips: usize = self.steps.iter().map(Step::round_trips).sum();
        writeln!(f, "erase both slots, {round_trips} round trips")?;
        list(f, &self.steps)
    }
}

/// Plans how a card of ours becomes blank of credentials. Trailers are not written: it stays personalised.
///
/// # Errors
/// [`PlanError::SlotUnreadable`]: what cannot be read might still open doors and cannot be seen to be gone.
pub fn erase(view: &CardView, keys: &CardKeys) -> Result<ErasePlan, PlanError> {
    require_readable(view)?;
    let current = view.current();
    let last = current.map_or(Slot::B, |(slot, _)| slot);
    let slots = [last.other(), last];
    let mut steps = Vec::from([Step::Reached(SafePoint::Untouched)]);
    for slot in slots {
        // A seal that reads as zero may be one that was torn while it was retired, so it is written too.
        clear(&mut steps, slot, keys, |block| block == slot.seal_block());
    }
    for slot in slots {
        clear(&mut steps, slot, keys, |block| block != slot.seal_block());
    }
    steps.push(Step::NewSession);
    for slot in slots {
        for sector in slot.sectors() {
            steps.push(Step::Login { sector, key: Key::A(keys.key_a(sector)) });
            steps.extend(sector.data_blocks().map(|block| Step::ReadBack { block, expect: [0; 16] }));
        }
    }
    Ok(ErasePlan { steps, erased: current.map(|(_, sealed)| sealed.record.clone()) })
}

/// Zeroes the chosen blocks of a slot, each sector opened once.
fn clear(steps: &mut Vec<Step>, slot: Slot, keys: &CardKeys, chosen: impl Fn(DataBlock) -> bool) {
    for sector in slot.sectors() {
        let mut blocks = sector.data_blocks().filter(|&block| chosen(block)).peekable();
        if blocks.peek().is_some() {
            steps.push(Step::Login { sector, key: Key::B(keys.key_b(sector)) });
            steps.extend(blocks.map(|block| Step::Write { block, data: [0; 16] }));
        }
    }
}
