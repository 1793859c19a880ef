//! Takes the credentials off the card that lies there.

use super::family::{self, Family};
use super::order::{EraseEnd, EraseOrder, Failure};
use super::ring::{look_with_each, survey_with_each};
use super::run::{Halt, Run};
use super::session::{Leave, Session};
use super::work::{End, TRIES_MAX, failed, refusal, retry};
use crate::fault::FaultKind;
use encoder_protocols::id::{Detection, Target};
use encoder_protocols::layout::ocl1::Slot;
use encoder_protocols::layout::record::CredentialId;
use encoder_protocols::plan::{CardView, LookOutcome, SurveyOutcome, erase};

/// Erases the card that the order names, if that is the one that lies there. Nothing is waited for.
pub(super) async fn run(session: &mut Session, order: &EraseOrder) -> End<EraseEnd> {
    let target = match session.detect().await.map_err(|trouble| failed(trouble, None, false))? {
        Detection::One(target) if target.uid == order.card => target,
        Detection::One(target) => return Err((Failure::with_card(FaultKind::CardLeft, target.uid), None)),
        Detection::None => return Err((Failure::without_card(FaultKind::NoCard), None)),
        Detection::Several => return Err((Failure::without_card(FaultKind::SeveralCards), None)),
    };
    let mut erased = None;
    let mut tries = 0;
    loop {
        match attempt(session, order, &target, &mut erased).await {
            Ok(()) => return Ok(EraseEnd { card: target.uid, erased }),
            Err(Halt::Fault(fault)) => return Err((Failure::with_card(fault, target.uid), None)),
            Err(Halt::Mismatch) => {
                tries += 1;
                if tries >= TRIES_MAX {
                    return Err((Failure::with_card(FaultKind::VerificationFailed, target.uid), None));
                }
                let again = session.new_session(&target).await;
                again.map_err(|trouble| failed(trouble, Some(&target), false))?;
            }
            Err(Halt::Trouble(trouble) | Halt::AfterSuccess(trouble)) => {
                tries += 1;
                retry(session, trouble, tries, Some(target), false).await?;
            }
        }
    }
}

/// Looks, plans, runs the plan. A plan that was left is made anew from what is really there.
async fn attempt(
    session: &mut Session,
    order: &EraseOrder,
    target: &Target,
    erased: &mut Option<CredentialId>,
) -> Result<(), Halt> {
    let size = match Family::of(session, target).await? {
        Family::Classic(size) => size,
        Family::Other(card) => return Err(family::fault(card).into()),
    };
    let mut keys = order.key.key.each_for_card(&target.uid);
    let view = match look_with_each(session, &mut keys).await? {
        LookOutcome::Ours(view) => view,
        LookOutcome::NotOurs => {
            return Err(match survey_with_each(session, &mut keys, size).await? {
                SurveyOutcome::Blank => FaultKind::CardWithoutCredential,
                SurveyOutcome::Foreign { .. } => FaultKind::ForeignCard,
                SurveyOutcome::Unfinished(_) | SurveyOutcome::Ready | SurveyOutcome::Damaged { .. } => {
                    FaultKind::DamagedCard
                }
            }
            .into());
        }
    };
    if of_another_property(&view, order) {
        return Err(FaultKind::ForeignCard.into());
    }
    let keys = keys.first().ok_or(FaultKind::NoCardKey)?;
    let plan = erase(&view, keys, size).map_err(refusal)?;
    tracing::info!(card = %target.uid, %plan, "a card is erased");
    if let Some(content) = &plan.erased {
        *erased = content.credential_id();
    }
    let idle = session.set_leave(Leave { stop: None, until: Some(order.end) });
    let mut run = Run::new(session, target, order.end, &order.stop);
    let mut outcome = Ok(());
    for step in plan.steps {
        outcome = run.step(step.into()).await;
        if outcome.is_err() {
            break;
        }
    }
    session.set_leave(idle);
    outcome
}

/// Two properties may share a key; each erases its own cards only.
fn of_another_property(view: &CardView, order: &EraseOrder) -> bool {
    let own = order.key.property_id.into_bytes();
    let mut valid = Slot::BOTH.into_iter().filter_map(|slot| view.slot(slot).valid());
    valid.any(|sealed| sealed.content.property_id().0 != own)
}
