//! Takes the credentials off the card that lies there.

use super::family::{self, Family};
use super::media::{Looked, Media, Surveyed};
use super::order::{EraseEnd, EraseOrder, Failure, Whose};
use super::run::{Halt, Run};
use super::session::{Leave, Session};
use super::work::{End, TRIES_MAX, failed, refusal, retry, write_down};
use crate::fault::{Fault, FaultKind};
use encoder_protocols::id::{Detection, Target};
use encoder_protocols::plan::erase;

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
            Err(halt @ (Halt::Mismatch | Halt::Flaky)) => {
                tries += 1;
                if tries >= TRIES_MAX {
                    let is_flaky = halt == Halt::Flaky;
                    let kind = if is_flaky { FaultKind::FlakyCard } else { FaultKind::VerificationFailed };
                    return Err((Failure::with_card(kind, target.uid), None));
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
    erased: &mut Option<Whose>,
) -> Result<(), Halt> {
    let carrier = match Family::of(session, target).await? {
        Family::Carrier(carrier) => carrier,
        Family::Other(card) => return Err(family::fault(card).into()),
    };
    let mut media = Media::new(carrier, &order.key, target);
    media.set_begun(order.begun);
    let (view, form) = match media.look(session).await? {
        Looked::Ours(view, form) => (view, form),
        Looked::NotOurs => {
            return Err(Halt::Fault(match media.survey(session).await? {
                Surveyed::Blank(_) => FaultKind::CardWithoutCredential.into(),
                Surveyed::Foreign(fault) | Surveyed::Damaged(fault) => fault,
                Surveyed::Unfinished(_) | Surveyed::Ready => Fault::from(FaultKind::DamagedCard),
            }));
        }
    };
    media.find_opening(session).await?;
    let plan = erase(&view, media.keys()?, form).map_err(refusal)?;
    tracing::info!(card = %target.uid, %plan, "a card is erased");
    if let Some(content) = &plan.erased {
        *erased = Some(content.into());
    }
    write_down(&order.intent, target, &plan.to_string()).await?;
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
