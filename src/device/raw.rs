//! Puts somebody else's image on a card, in place.
//!
//! The card is looked at, a plan is made, and what the plan would do is written into the journal before the first byte.
//! When a step fails the same card is looked at again and a new plan writes what is still missing, a bounded number of
//! times. However it ends, the caller is told which blocks or pages were written and which were verified.

use super::direct::{Done, candidates, one_card, read};
use super::family::{self, Carrier, Family};
use super::image::Image;
use super::media::examine;
use super::order::{Failure, Intent, Limits};
use super::run::{Halt, Run};
use super::session::{Leave, Session, Trouble};
use super::work::{End, TRIES_MAX, Wait, failed, retry, tell, write_down};
use super::{DeviceHandle, Order};
use crate::api::bridge::Progress;
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key, SectorKey};
use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::id::{Detection, Target, Uid};
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::plan::{
    ClassicImage, KeysWanted, PersonalizeStep, RawPlan, RawStep, ReadMemory, ReadPages, SafePoint, Step, Type2Image,
    raw, raw_pages, unlock,
};
use std::collections::BTreeSet;
use std::fmt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Write an image.
#[derive(Debug)]
pub struct RawOrder {
    /// What, and the kind of card that it was made for.
    pub image: Image,
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
    /// Blocks or pages that were written, or whose writing was begun.
    pub written: BTreeSet<u8>,
    /// Blocks or pages that were read back twice and hold what they should.
    pub verified: BTreeSet<u8>,
    /// Blocks or pages that held what they should before.
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
        let carrier = match Family::of(session, &target).await {
            Ok(Family::Carrier(carrier)) => carrier,
            Ok(Family::Other(card)) => return Err((Failure::with_card(family::fault(card), target.uid), None)),
            Err(trouble) => {
                tries += 1;
                retry(session, trouble, tries, None, false).await?;
                continue;
            }
        };
        let work = Work::of(&order.image, carrier).map_err(|detail| {
            (Failure::with_card(Fault::with_detail(FaultKind::ImageRefused, detail), target.uid), None)
        })?;
        let mut writing = Writing { order, target, work, report: &mut *report, plan: None, touched: false };
        match writing.run(session).await {
            // Nothing was written: the clerk may still be putting the card down.
            Err((_, Some(Trouble::CardLeft | Trouble::CardChanged))) if order.wait && !writing.touched => {}
            Err(end) => return Err(end),
            Ok(()) => return Ok((target, writing.plan.unwrap_or_default())),
        }
    }
}

fn refused(why: impl fmt::Display) -> Halt {
    Halt::Fault(Fault::with_detail(FaultKind::ImageRefused, why))
}

/// An image and the card that it is for.
#[derive(Clone, Copy)]
enum Work<'a> {
    Classic(&'a ClassicImage, ClassicSize),
    Type2(&'a Type2Image, Type2Kind),
}

impl<'a> Work<'a> {
    /// Or why the card is not the one.
    fn of(image: &'a Image, carrier: Carrier) -> Result<Self, String> {
        let wanted = match (image, carrier) {
            (Image::Classic { image, size }, Carrier::Classic(found)) => match *size {
                Some(size) if size != found => Carrier::Classic(size),
                Some(_) | None => return Ok(Self::Classic(image, found)),
            },
            (Image::Type2 { image, kind }, Carrier::Type2(found)) => match *kind {
                Some(kind) if kind != found => Carrier::Type2(kind),
                Some(_) | None => return Ok(Self::Type2(image, found)),
            },
            (Image::Classic { size: Some(size), .. }, Carrier::Type2(_)) => Carrier::Classic(*size),
            (Image::Type2 { kind: Some(kind), .. }, Carrier::Classic(_)) => Carrier::Type2(*kind),
            (Image::Classic { size: None, .. }, Carrier::Type2(kind)) => {
                return Err(format!("it writes blocks of a MIFARE Classic card, and this is a {kind}"));
            }
            (Image::Type2 { kind: None, .. }, Carrier::Classic(size)) => {
                return Err(format!("it writes pages of an Ultralight or NTAG card, and this is a {size}"));
            }
        };
        Err(format!("it is for a {wanted}, and this is a {carrier}"))
    }
}

/// One image on its way to one card.
struct Writing<'a> {
    order: &'a RawOrder,
    target: Target,
    work: Work<'a>,
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
        let plan = match self.work {
            Work::Classic(image, size) => self.plan_blocks(session, image, size).await?,
            Work::Type2(image, kind) => self.plan_pages(session, image, kind).await?,
        };
        self.report.unchanged = plan.unchanged.iter().copied().collect();
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

    /// What this property may know of the card.
    fn keys(&self) -> Vec<CardKeys> {
        match &self.order.others {
            OtherKeys::Known { key: Some(key), .. } => key.key.each_for_card(&self.target.uid),
            OtherKeys::Known { key: None, .. } | OtherKeys::Transport => Vec::new(),
        }
    }

    async fn plan_blocks(
        &self,
        session: &mut Session,
        image: &ClassicImage,
        size: ClassicSize,
    ) -> Result<RawPlan, Halt> {
        let keys = self.keys();
        let todo = image.keys_to_try(|sector| match &self.order.others {
            OtherKeys::Transport => Vec::from([Key::transport_a()]),
            OtherKeys::Known { more, .. } => candidates(sector, &keys, more),
        });
        let memory = read(session, ReadMemory::new(size, KeysWanted::Both, todo), |_, _| {}).await?;
        raw(image, &memory).map_err(refused)
    }

    async fn plan_pages(&self, session: &mut Session, image: &Type2Image, kind: Type2Kind) -> Result<RawPlan, Halt> {
        image.check(kind).map_err(refused)?;
        let others = self.keys().iter().filter_map(|keys| unlock(kind, keys)).collect();
        let mut machine = ReadPages::new(kind, image, others);
        examine(session, &mut machine).await?;
        let seen = machine.outcome().map_err(refused)?;
        raw_pages(image, &seen).map_err(refused)
    }

    /// Leave to write: there is time, the daemon is not stopping, and the journal knows of it.
    async fn may_write(&self, plan: &str) -> Result<(), Halt> {
        if self.order.stop.is_cancelled() && !self.touched {
            return Err(FaultKind::Stopping.into());
        }
        if !self.touched && self.order.limits.first_write.has_passed() {
            return Err(FaultKind::Expired.into());
        }
        write_down(&self.order.intent, &self.target, plan).await?;
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
        once: &mut BTreeSet<u8>,
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
        let block = |number: BlockNumber| vec![number.get()];
        let (writes, reads) = match &step {
            PersonalizeStep::WriteTrailer { sector, .. } => (block(sector.trailer()), vec![]),
            PersonalizeStep::Step(Step::Write { block: number, .. }) => (block(number.number()), vec![]),
            PersonalizeStep::Step(Step::ReadBack { block: number, .. }) => (vec![], block(number.number())),
            PersonalizeStep::Step(Step::WritePage { page, .. }) => (vec![page.number().get()], vec![]),
            PersonalizeStep::Step(Step::ReadBackPages { first, expect }) => {
                (vec![], (first.get()..).take(expect.len()).collect())
            }
            PersonalizeStep::Step(Step::Reached(point)) => {
                *reached = *point;
                (vec![], vec![])
            }
            PersonalizeStep::Step(Step::NewSession) => {
                tell(&self.order.progress, Progress::Verifying);
                (vec![], vec![])
            }
            PersonalizeStep::Step(Step::Login { .. } | Step::Unlock(_)) | PersonalizeStep::WriteConfigPage { .. } => {
                (vec![], vec![])
            }
        };
        if !writes.is_empty() {
            self.touched = true;
            self.report.written.extend(writes);
        }
        let end = self.order.limits.end;
        Run::new(session, &self.target, end, &self.order.stop).from(*reached).step(step).await?;
        self.report.verified.extend(reads.into_iter().filter(|number| !once.insert(*number)));
        Ok(())
    }
}
