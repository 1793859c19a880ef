//! Puts somebody else's image on a card, in place.
//!
//! The card is looked at, a plan is made, and what the plan would do is written into the journal before the first byte.
//! When a step fails the same card is looked at again and a new plan writes what is still missing, a bounded number of
//! times. However it ends, the caller is told which blocks were written and which were verified.

use super::direct::{Done, candidates, one_card, read};
use super::family::{self, Carrier, Family};
use super::order::{Failure, Intent, Limits};
use super::run::{Halt, Run};
use super::session::{Leave, Session, Trouble};
use super::work::{End, TRIES_MAX, Wait, failed, retry, tell};
use super::{DeviceHandle, Order};
use crate::api::bridge::Progress;
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key, SectorKey};
use encoder_protocols::id::{Detection, Target, Uid};
use encoder_protocols::plan::{
    ClassicImage, KeysWanted, PersonalizeStep, RawPlan, RawStep, ReadMemory, SafePoint, Step, raw,
};
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Write an image.
#[derive(Debug)]
pub struct RawOrder {
    /// What.
    pub image: ClassicImage,
    /// The size of the card that it was made for.
    pub size: Option<ClassicSize>,
    /// The only card that may be written.
    pub only_card: Option<Uid>,
    /// With which keys, beside those of the image.
    pub others: OtherKeys,
    /// Whether a card is waited for, or lies there.
    pub wait: bool,
    /// The card must be lifted and put back first.
    pub new_presentation: bool,
    /// Say what would be done and do nothing.
    pub dry_run: bool,
    /// Until when.
    pub limits: Limits,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
    /// Told before a card is written; `true` comes back when it is on the disk.
    pub intent: mpsc::Sender<(Intent, oneshot::Sender<bool>)>,
    /// Told how far it is, for show.
    pub progress: mpsc::Sender<Progress>,
    /// Told how far it is in steps, for show.
    pub steps: mpsc::Sender<Done>,
}

/// Keys beside those of the image.
#[derive(Clone, Debug)]
pub enum OtherKeys {
    /// The factory's: a card that is new to the image's maker.
    Transport,
    /// All that this desk knows, and these: for who restores a dump by hand.
    Known {
        /// The property's card key.
        key: Option<CardKey>,
        /// More.
        more: Vec<SectorKey>,
    },
}

/// What was done to a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawReport {
    /// Blocks that were written, or whose writing was begun.
    pub written: BTreeSet<u8>,
    /// Blocks that were read back twice and hold what they should.
    pub verified: BTreeSet<u8>,
    /// Blocks that held what they should before.
    pub unchanged: BTreeSet<u8>,
}

impl From<RawReport> for crate::api::bridge::raw::RawReport {
    fn from(RawReport { written, verified, unchanged }: RawReport) -> Self {
        let list = |blocks: BTreeSet<u8>| blocks.into_iter().collect();
        Self { written: list(written), verified: list(verified), unchanged: list(unchanged) }
    }
}

/// The image is on the card, verified but for what is volatile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEnd {
    /// The card.
    pub card: Uid,
    /// What was done.
    pub report: RawReport,
    /// The first plan's listing.
    pub plan: String,
}

/// The image is not on the card, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFailure {
    /// Why, and which card.
    pub failure: Failure,
    /// What was done all the same.
    pub report: RawReport,
}

impl From<Failure> for RawFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, report: RawReport::default() }
    }
}

impl DeviceHandle {
    /// Writes an image. Ends by itself at the order's deadline.
    pub async fn write_raw(&self, order: RawOrder) -> Result<RawEnd, RawFailure> {
        let (reply, answer) = oneshot::channel();
        let sent = self.orders.try_send((Order::Raw(Box::new(order), reply), tracing::Span::current()));
        match sent {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(Failure::without_card(FaultKind::EncoderBusy).into());
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Failure::without_card(FaultKind::Stopping).into()),
        }
        answer.await.unwrap_or_else(|_| Err(Failure::without_card(FaultKind::Stopping).into()))
    }
}

/// Carries it out and answers it.
pub(super) async fn run(
    session: &mut Session,
    order: Box<RawOrder>,
    reply: oneshot::Sender<Result<RawEnd, RawFailure>>,
    see: impl FnMut(Detection),
) -> (Option<Fault>, Option<Trouble>) {
    let idle = session.set_leave(Leave::of_job(&order.stop, order.limits));
    let mut report = RawReport::default();
    let end = in_time(session, &order, &mut report, see).await;
    session.set_leave(idle);
    // Ends the journal's side of the conversation, and wipes the image's keys.
    drop(order);
    // A caller that has gone away does not undo what was done to a card: the answer is dropped.
    match end {
        Ok((target, plan)) => {
            let _caller_gone = reply.send(Ok(RawEnd { card: target.uid, report, plan }));
            (None, None)
        }
        Err((failure, trouble)) => {
            let fault = failure.fault.clone();
            let _caller_gone = reply.send(Err(RawFailure { failure, report }));
            (Some(fault), trouble)
        }
    }
}

async fn in_time(
    session: &mut Session,
    order: &RawOrder,
    report: &mut RawReport,
    mut see: impl FnMut(Detection),
) -> End<(Target, String)> {
    let mut wait =
        Wait { limits: order.limits, stop: &order.stop, progress: &order.progress, must_lift: order.new_presentation };
    let mut tries = 0;
    loop {
        let target = if order.wait { wait.for_card(session, &mut see).await? } else { one_card(session).await? };
        if order.only_card.is_some_and(|only| only != target.uid) {
            return Err((Failure::with_card(FaultKind::CredentialOnAnotherCard, target.uid), None));
        }
        let size = match Family::of(session, &target).await {
            Ok(Family::Carrier(Carrier::Classic(size))) => size,
            Ok(Family::Carrier(Carrier::Type2(kind))) => {
                let detail = format!("images are for MIFARE Classic cards, and this is a {kind}");
                let fault = Fault::with_detail(FaultKind::ImageRefused, detail);
                return Err((Failure::with_card(fault, target.uid), None));
            }
            Ok(Family::Other(card)) => return Err((Failure::with_card(family::fault(card), target.uid), None)),
            Err(trouble) => {
                tries += 1;
                retry(session, trouble, tries, None, false).await?;
                continue;
            }
        };
        if let Some(wanted) = order.size.filter(|wanted| *wanted != size) {
            let detail = format!("it is for a {wanted}, and this is a {size}");
            return Err((Failure::with_card(Fault::with_detail(FaultKind::ImageRefused, detail), target.uid), None));
        }
        let mut writing = Writing { order, target, size, report: &mut *report, plan: None, touched: false };
        match writing.run(session).await {
            // Nothing was written: the clerk may still be putting the card down.
            Err((_, Some(Trouble::CardLeft | Trouble::CardChanged))) if order.wait && !writing.touched => {}
            Err(end) => return Err(end),
            Ok(()) => return Ok((target, writing.plan.unwrap_or_default())),
        }
    }
}

/// One image on its way to one card.
struct Writing<'a> {
    order: &'a RawOrder,
    target: Target,
    size: ClassicSize,
    report: &'a mut RawReport,
    /// The first plan's listing.
    plan: Option<String>,
    /// A byte of the card may have been changed.
    touched: bool,
}

impl Writing<'_> {
    async fn run(&mut self, session: &mut Session) -> End<()> {
        let card = Some(self.target);
        let mut tries = 0;
        loop {
            let halt = match self.attempt(session).await {
                Ok(()) => return Ok(()),
                Err(halt) => halt,
            };
            tracing::debug!(?halt, tries, touched = self.touched, "step failed");
            tries += 1;
            match halt {
                Halt::Fault(fault) => return Err((self.failure(fault), None)),
                Halt::Mismatch | Halt::Flaky if tries >= TRIES_MAX => {
                    return Err((self.failure(FaultKind::VerificationFailed.into()), None));
                }
                Halt::Mismatch | Halt::Flaky => {
                    let again = session.new_session(&self.target).await;
                    again.map_err(|trouble| failed(trouble, card.as_ref(), self.touched))?;
                }
                Halt::Trouble(trouble @ (Trouble::CardLeft | Trouble::CardChanged)) if !self.touched => {
                    return Err(failed(trouble, card.as_ref(), false));
                }
                Halt::Trouble(trouble) | Halt::AfterSuccess(trouble) => {
                    retry(session, trouble, tries, card, self.touched).await?;
                }
            }
        }
    }

    /// A failure that says in its own words when the card was changed.
    fn failure(&self, fault: Fault) -> Failure {
        let is_changed = self.touched && fault.kind == FaultKind::ImageRefused;
        let fault = if is_changed { Fault::with_detail(FaultKind::DamagedCard, &fault.message) } else { fault };
        Failure { fault, card: Some(self.target.uid), in_doubt: self.touched }
    }

    /// Looks, plans, runs the plan once.
    async fn attempt(&mut self, session: &mut Session) -> Result<(), Halt> {
        let keys = match &self.order.others {
            OtherKeys::Known { key: Some(key), .. } => key.key.each_for_card(&self.target.uid),
            OtherKeys::Known { key: None, .. } | OtherKeys::Transport => Vec::new(),
        };
        let todo = self.order.image.keys_to_try(|sector| match &self.order.others {
            OtherKeys::Transport => Vec::from([Key::transport_a()]),
            OtherKeys::Known { more, .. } => candidates(sector, &keys, more),
        });
        let memory = read(session, ReadMemory::new(self.size, KeysWanted::Both, todo), |_, _| {}).await?;
        let plan = raw(&self.order.image, &memory)
            .map_err(|error| Halt::Fault(Fault::with_detail(FaultKind::ImageRefused, error)))?;
        self.report.unchanged = plan.unchanged.iter().map(|block| block.get()).collect();
        self.report.unchanged.retain(|block| !self.report.written.contains(block));
        let listing = plan.to_string();
        self.plan.get_or_insert_with(|| listing.clone());
        if self.order.dry_run {
            return Ok(());
        }
        if plan.writes() > 0 {
            self.may_write(&listing).await?;
        }
        self.run_plan(session, plan).await
    }

    /// Leave to write: there is time, the daemon is not stopping, and the journal knows of it.
    async fn may_write(&self, plan: &str) -> Result<(), Halt> {
        if self.order.stop.is_cancelled() && !self.touched {
            return Err(FaultKind::Stopping.into());
        }
        if !self.touched && self.order.limits.first_write.has_passed() {
            return Err(FaultKind::Expired.into());
        }
        let (answer, written) = oneshot::channel();
        let intent = Intent { card: self.target.uid, plan: plan.to_owned() };
        if self.order.intent.send((intent, answer)).await.is_err() || !written.await.unwrap_or(false) {
            return Err(FaultKind::JournalUnwritable.into());
        }
        tell(&self.order.progress, Progress::Writing);
        Ok(())
    }

    async fn run_plan(&mut self, session: &mut Session, plan: RawPlan) -> Result<(), Halt> {
        let job = session.set_leave(Leave::of_plan(self.order.limits));
        let of = plan.steps.len();
        let mut outcome = Ok(());
        let mut reached = SafePoint::Untouched;
        let mut once = BTreeSet::new();
        for (done, step) in plan.steps.into_iter().enumerate() {
            let _nobody_listens = self.order.steps.try_send(Done { done, of });
            outcome = self.step(session, step, &mut reached, &mut once).await;
            if outcome.is_err() {
                break;
            }
        }
        session.set_leave(job);
        outcome
    }

    async fn step(
        &mut self,
        session: &mut Session,
        step: RawStep,
        reached: &mut SafePoint,
        once: &mut BTreeSet<BlockNumber>,
    ) -> Result<(), Halt> {
        let step = match step {
            RawStep::Step(step) => step,
            RawStep::ReadBackTrailer { sector, expect } => {
                let [_, _, _, _, _, _, c6, c7, c8, general_purpose, _, _, _, _, _, _] =
                    session.read(sector.trailer()).await?;
                if ([c6, c7, c8], general_purpose) != (expect.access_bits, expect.general_purpose) {
                    return Err(Halt::Mismatch);
                }
                self.report.verified.insert(sector.trailer().get());
                return Ok(());
            }
        };
        let (writes, reads) = match &step {
            PersonalizeStep::WriteTrailer { sector, .. } => (Some(sector.trailer()), None),
            PersonalizeStep::Step(Step::Write { block, .. }) => (Some(block.number()), None),
            PersonalizeStep::Step(Step::ReadBack { block, .. }) => (None, Some(block.number())),
            PersonalizeStep::Step(Step::Reached(point)) => {
                *reached = *point;
                (None, None)
            }
            PersonalizeStep::Step(Step::NewSession) => {
                tell(&self.order.progress, Progress::Verifying);
                (None, None)
            }
            PersonalizeStep::Step(
                Step::Login { .. } | Step::Unlock(_) | Step::WritePage { .. } | Step::ReadBackPages { .. },
            )
            | PersonalizeStep::WriteConfigPage { .. } => (None, None),
        };
        if let Some(block) = writes {
            self.touched = true;
            self.report.written.insert(block.get());
        }
        let end = self.order.limits.end;
        Run::new(session, &self.target, end, &self.order.stop).from(*reached).step(step).await?;
        if let Some(block) = reads.filter(|block| !once.insert(*block)) {
            self.report.verified.insert(block.get());
        }
        Ok(())
    }
}
