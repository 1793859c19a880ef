//! Preparing a blank Type 2 card: password and PACK, or 3DES key; an NDEF message; what closes it, last.
//!
//! In order: 1. PACK, then the password (an Ultralight C: its key), 2. a new session that proves them, 3. what lies in front of the
//! slots, and zero where the factory left something in them, read back, 4. how the card is closed, then from where on
//! (AUTH0), 5. a new session in which the password opens it and everything reads as it should.
//!
//! Torn in 1, the card is as open and as empty as before, and is blank again. Torn later, our password opens it and proves
//! whose it is, whatever AUTH0 became; the next attempt goes on. ACCESS of a card with a password is never written.

use super::hand::{read_back, unlock};
use crate::family::type2::{DataPage, PageNumber};
use crate::layout::keys::CardKeys;
use crate::layout::ndef::Ndef;
use crate::plan::personalize::{PersonalizePlan, PersonalizeStep};
use crate::plan::survey_type2::Preparation;
use crate::plan::{SafePoint, Step};
use alloc::vec::Vec;

/// Why a Type 2 card cannot be prepared. Nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonalizeError {
    /// The NDEF message has no room in front of the slots.
    #[error("the NDEF message is too long for a card of this kind")]
    MessageTooLong,
}

impl PersonalizePlan {
    /// For a Type 2 card that is blank, or of ours and unfinished. A message for a kind of card that carries none in front
    /// of its slots is left out.
    ///
    /// # Errors
    /// [`PersonalizeError`], before a byte is written.
    pub fn type2(preparation: &Preparation, keys: &CardKeys, ndef: Option<&Ndef>) -> Result<Self, PersonalizeError> {
        let place = preparation.place;
        let message = match ndef.filter(|_| place.ndef_pages().is_some()) {
            Some(ndef) => ndef.to_pages(place).ok_or(PersonalizeError::MessageTooLong)?,
            None => Vec::new(),
        };
        let mut steps: Vec<PersonalizeStep> = Vec::from([Step::NewSession.into()]);
        let Some(config) = preparation.config else {
            // Nothing closes the card: there is nothing to prepare, and what it holds the encode writes over.
            return Ok(Self { steps: Vec::new() });
        };
        let open = || unlock(place.kind(), keys).map(|unlock| PersonalizeStep::Step(Step::Unlock(unlock)));
        if !preparation.ours {
            let secrets = config.secrets(keys).into_iter();
            steps.extend(secrets.map(|(page, data)| PersonalizeStep::WriteConfigPage { page, data }));
            steps.push(Step::NewSession.into());
        }
        steps.extend(open());
        steps.push(Step::Reached(SafePoint::Untouched).into());
        write_front(&mut steps, preparation, &message);
        let closing = config.to_close(place).into_iter();
        steps.extend(closing.map(|(page, data)| PersonalizeStep::WriteConfigPage { page, data }));
        steps.push(Step::NewSession.into());
        let (first, expect) = config.expected(place);
        read_back_twice(&mut steps, preparation, first, &expect);
        read_back_twice(&mut steps, preparation, PageNumber::new(4), &message);
        steps.extend(open());
        steps.push(Step::Reached(SafePoint::Untouched).into());
        Ok(Self { steps })
    }
}

/// The message, and zero in slots that hold something; only pages that differ.
fn write_front(steps: &mut Vec<PersonalizeStep>, preparation: &Preparation, message: &[[u8; 4]]) {
    let kind = preparation.place.kind();
    let first_slot = preparation.place.first_page().get();
    for (number, &found) in (0_u8..).zip(&preparation.memory) {
        let Some(page) = DataPage::new(kind, PageNumber::new(number)) else { continue };
        let of_message = message.get(usize::from(number - 4)).copied();
        let wanted = if number < first_slot { of_message } else { Some([0; 4]) };
        if let Some(data) = wanted.filter(|&data| data != found) {
            steps.push(Step::WritePage { page, data }.into());
        }
    }
}

fn read_back_twice(steps: &mut Vec<PersonalizeStep>, preparation: &Preparation, first: PageNumber, expect: &[[u8; 4]]) {
    for _ in 0..2 {
        let mut reads = Vec::new();
        read_back(&mut reads, preparation.place.kind(), first, expect);
        steps.extend(reads.into_iter().map(PersonalizeStep::from));
    }
}
