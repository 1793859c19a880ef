//! A card that any key of the ring may open: the newest is tried first.
//!
//! A card keeps the sector keys that it was personalised with, so after a rotation most cards of the house are opened by an
//! older key for years, and sealed with the current one. A key that does not open a Classic card costs a look two refused
//! logins, and a survey two more for each older key.

use super::media::examine;
use super::session::{Session, Trouble};
use crate::keys::CardKey;
use encoder_protocols::family::classic::{ClassicSize, Key};
use encoder_protocols::id::Target;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ocl1;
use encoder_protocols::plan::{Look, LookOutcome, PersonalizePlan, Survey, SurveyOutcome};

/// Looks at a card's slots with each of these keys until they open it; keeps those that do in front.
pub(super) async fn look_with_each(session: &mut Session, each: &mut [CardKeys]) -> Result<LookOutcome, Trouble> {
    for index in 0..each.len() {
        let Some(keys) = each.get(index) else { break };
        match look(session, keys).await? {
            ours @ LookOutcome::Ours(_) => {
                move_to_front(each, index);
                return Ok(ours);
            }
            LookOutcome::NotOurs => {}
        }
    }
    Ok(LookOutcome::NotOurs)
}

/// Surveys a card that none of these keys opened far enough to show its slots. A personalisation that was begun with an
/// older key is finished with that one: the keys that open the sector where it begins come to the front.
pub(super) async fn survey_with_each(
    session: &mut Session,
    each: &mut [CardKeys],
    size: ClassicSize,
) -> Result<SurveyOutcome, Trouble> {
    for index in 1..each.len() {
        let Some(keys) = each.get(index) else { break };
        if began(session, keys).await? {
            move_to_front(each, index);
            break;
        }
    }
    // There is always a current key; without one the card is not touched.
    let keys = each.first().ok_or(Trouble::CardRefused)?;
    survey(session, keys, size).await
}

/// Whether a personalisation with these keys has begun; a torn trailer may have kept key A or got key B alone.
async fn began(session: &mut Session, keys: &CardKeys) -> Result<bool, Trouble> {
    let sector = PersonalizePlan::first_sector();
    for key in [Key::A(keys.key_a(sector)), Key::B(keys.key_b(sector))] {
        match session.login(sector, key).await {
            Ok(()) => return Ok(true),
            Err(Trouble::KeyRefused) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(false)
}

/// Whether a Classic card that was just put down can be ours or become ours: a key of the ring or the transport key opens
/// the sector that says so. At the most one login for each key and one more; nothing is written.
pub(super) async fn opens(session: &mut Session, key: &CardKey, target: &Target) -> Result<bool, Trouble> {
    let sector = ocl1::Slot::A.first_sector();
    let mut ours = key.key.each_for_card(&target.uid).into_iter().map(|keys| Key::A(keys.key_a(sector)));
    // A card of the current key, then a blank one: the two that are put down most often.
    let (current, older) = (ours.next(), ours);
    for key in current.into_iter().chain([Key::transport_a()]).chain(older) {
        match session.login(sector, key).await {
            Ok(()) => return Ok(true),
            Err(Trouble::KeyRefused) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(false)
}

/// Puts the keys that have opened the card in front.
pub(super) fn move_to_front(each: &mut [CardKeys], index: usize) {
    if let Some(until) = each.get_mut(..=index) {
        until.rotate_right(1);
    }
}

async fn look(session: &mut Session, keys: &CardKeys) -> Result<LookOutcome, Trouble> {
    let mut look = Look::new(keys.clone());
    examine(session, &mut look).await?;
    Ok(look.outcome().unwrap_or(LookOutcome::NotOurs))
}

async fn survey(session: &mut Session, keys: &CardKeys, size: ClassicSize) -> Result<SurveyOutcome, Trouble> {
    let mut survey = Survey::new(size, keys.clone());
    examine(session, &mut survey).await?;
    // A machine that is done has its outcome; without one the card is not touched.
    survey.outcome().ok_or(Trouble::CardRefused)
}
