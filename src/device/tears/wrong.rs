//! Layouts that are wrong on purpose, run by the daemon's own executor: what the suite must find.

use super::super::family::Family;
use super::super::media::{Looked, Media};
use super::super::order::Failure;
use super::super::run::{Halt, Run};
use super::super::session::{Session, Trouble};
use super::super::work::{End, failed};
use crate::clock::Deadline;
use crate::fault::FaultKind;
use crate::keys::CardKey;
use encoder_protocols::id::{Detection, Target};
use encoder_protocols::layout::content::SlotState;
use encoder_protocols::layout::form::Form;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ocl1::{Slot, SlotFault};
use encoder_protocols::layout::record::Record;
use encoder_protocols::plan::{self, CardView, SafePoint, Step};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The current slot is overwritten.
    InPlace,
    /// The old slot is retired before anything is written.
    RetiredFirst,
    /// The old slot is never retired.
    NeverRetired,
    /// What was written is not read back.
    NeverVerified,
}

/// One attempt without retries.
pub(super) async fn encode(session: &mut Session, wrong: Wrong, record: &Record, key: &CardKey) -> End<()> {
    let target = match session.detect().await {
        Ok(Detection::One(target)) => target,
        other => panic!("a card lies there: {other:?}"),
    };
    let stop = CancellationToken::new();
    let failed = |trouble, in_doubt| failed(trouble, Some(&target), in_doubt);
    let carrier = match Family::of(session, &target).await {
        Ok(Family::Carrier(carrier)) => carrier,
        other => panic!("a card that can carry a credential: {other:?}"),
    };
    let mut media = Media::new(carrier, key, &target);
    let (view, form) = match media.look(session).await.map_err(|trouble| failed(trouble, false))? {
        Looked::Ours(view, form) => (view, form),
        Looked::NotOurs => panic!("a card of ours"),
    };
    let Ok(keys) = media.keys() else { panic!("a ring has keys") };
    let mut run = Run::new(session, &target, Deadline::after(Duration::from_mins(1)), &stop);
    for step in steps(wrong, &view, record, keys, form) {
        match run.step(step.into()).await {
            Ok(()) => {}
            Err(Halt::AfterSuccess(_)) => return Ok(()),
            Err(Halt::Trouble(trouble)) => return Err(failed(trouble, run.may_be_sealed())),
            Err(Halt::Mismatch | Halt::Flaky) => return Err(mismatch(&target, run.may_be_sealed())),
            Err(Halt::Fault(fault)) => panic!("{fault:?}"),
        }
    }
    Ok(())
}

fn mismatch(target: &Target, in_doubt: bool) -> (Failure, Option<Trouble>) {
    (Failure { in_doubt, ..Failure::with_card(FaultKind::VerificationFailed, target.uid) }, None)
}

fn steps(wrong: Wrong, view: &CardView, record: &Record, keys: &CardKeys, form: Form) -> Vec<Step> {
    let right = |view: &CardView| plan::encode(view, record, keys, form).unwrap().steps;
    let at = |steps: &[Step], point| steps.iter().position(|step| *step == Step::Reached(point));
    let mut steps = right(view);
    match (wrong, at(&steps, SafePoint::Sealed), at(&steps, SafePoint::Verified)) {
        (Wrong::InPlace, _, _) => match view.current() {
            Some((Slot::A, _)) => right(&CardView::new([SlotState::Empty, SlotState::Empty])),
            // A torn slot B is written first.
            Some((Slot::B, _)) => right(&CardView::new([SlotState::Empty, SlotState::Invalid(SlotFault::Mac)])),
            None => steps,
        },
        (Wrong::RetiredFirst, _, Some(verified)) => {
            let retire = steps.split_off(verified + 1);
            [retire, steps].concat()
        }
        (Wrong::NeverRetired, _, Some(verified)) => {
            steps.truncate(verified + 1);
            steps
        }
        (Wrong::NeverVerified, Some(sealed), Some(verified)) => {
            steps.drain(sealed + 1..verified);
            steps
        }
        (Wrong::RetiredFirst | Wrong::NeverRetired | Wrong::NeverVerified, _, _) => panic!("no plan without them"),
    }
}
