//! One job on one card: wait for it, look at it, plan, run the plan.
//!
//! Nothing branches between two writes. When a step fails the card is looked at again and a new plan is made from what
//! is really there, a bounded number of times: a lost answer ends as a success, a card that left as an interruption.

use super::family::{self, Carrier, Family};
use super::media::{Looked, Media, Surveyed, current};
use super::order::{CardFormat, CardInfo, CardRead, EncodeEnd, EncodeOrder, Failure, Intent, Limits, ScanOrder, Whose};
use super::run::{Halt, Run};
use super::session::{Leave, Session, Trouble};
use crate::api::bridge::Progress;
use crate::config::Personalize;
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use encoder_protocols::id::{Detection, Target};
use encoder_protocols::layout::content::Content;
use encoder_protocols::layout::form::{Form, Spot};
use encoder_protocols::layout::ocl1::Slot;
use encoder_protocols::plan::{self, CardView, PlanError, SafePoint};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the field is looked at while a job waits for a card.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a card is looked at anew after a step failed. Two lost answers in one job are bad luck, three are a fault.
pub(super) const TRIES_MAX: u32 = 3;

/// Looks without a card after which a card that lay there counts as lifted.
const MISSES_FOR_LIFTED: u32 = 3;

/// How long a plan that has begun may go on behind the attempt's deadline, so that what was sealed is verified. The hub
/// gives a started attempt up 10 s behind it.
const FINISHING_TIME: Duration = Duration::from_secs(8);

/// A job's end: what the caller is told, and what the device itself has to mend.
pub(super) type End<T> = Result<T, (Failure, Option<Trouble>)>;

/// Writes a credential to the card.
pub(super) async fn encode(session: &mut Session, order: &EncodeOrder, see: impl FnMut(Detection)) -> End<EncodeEnd> {
    let idle = session.set_leave(Leave::of_job(&order.stop, order.limits));
    let end = encode_in_time(session, order, see).await;
    session.set_leave(idle);
    end
}

/// Reads the card.
pub(super) async fn scan(session: &mut Session, order: &ScanOrder, see: impl FnMut(Detection)) -> End<CardRead> {
    let idle = session.set_leave(Leave::of_job(&order.stop, order.limits));
    let end = scan_in_time(session, order, see).await;
    session.set_leave(idle);
    end
}

impl Leave {
    /// Until its first write a job may be dropped at any moment.
    pub(super) fn of_job(stop: &CancellationToken, limits: Limits) -> Self {
        Self { stop: Some(stop.clone()), until: Some(limits.end) }
    }

    /// A plan at work runs to a safe point, and is verified when it has sealed, also behind the attempt's deadline.
    pub(super) fn of_plan(limits: Limits) -> Self {
        Self { stop: None, until: Some(limits.end + FINISHING_TIME) }
    }
}

async fn encode_in_time(session: &mut Session, order: &EncodeOrder, mut see: impl FnMut(Detection)) -> End<EncodeEnd> {
    let mut wait =
        Wait { limits: order.limits, stop: &order.stop, progress: &order.progress, must_lift: order.new_presentation };
    let mut tries = 0;
    loop {
        let target = wait.for_card(session, &mut see).await?;
        if order.only_card.is_some_and(|only| only != target.uid) {
            return Err((Failure::with_card(FaultKind::CredentialOnAnotherCard, target.uid), None));
        }
        let carrier = match Family::of(session, &target).await {
            Ok(Family::Carrier(carrier)) => carrier,
            Ok(Family::Other(card)) => return Err((Failure::with_card(family::fault(card), target.uid), None)),
            Err(Trouble::CardLeft | Trouble::CardChanged) => continue,
            Err(trouble) => {
                tries += 1;
                retry(session, trouble, tries, Some(target), false).await?;
                continue;
            }
        };
        let mut encode = Encode::new(order, target, carrier);
        match encode.run(session).await {
            // Nothing was written, now or earlier: the clerk may still be putting the card down.
            Err((_, Some(Trouble::CardLeft | Trouble::CardChanged))) if !encode.touched && !encode.in_doubt => {}
            end => return end,
        }
    }
}

async fn scan_in_time(session: &mut Session, order: &ScanOrder, mut see: impl FnMut(Detection)) -> End<CardRead> {
    let mut wait = Wait { limits: order.limits, stop: &order.stop, progress: &order.progress, must_lift: false };
    let mut tries = 0;
    loop {
        let target = wait.for_card(session, &mut see).await?;
        let found = match (Family::of(session, &target).await, &order.key) {
            (Ok(Family::Carrier(carrier)), Some(key)) => Media::new(carrier, key, &target).read(session).await,
            (Ok(Family::Carrier(_)), None) => {
                return Err((Failure::with_card(FaultKind::NoCardKey, target.uid), None));
            }
            (Ok(Family::Other(_)), _) => Ok(Ok(None)),
            (Err(trouble), _) => Err(trouble),
        };
        match found {
            Ok(Ok(content)) => return Ok(CardRead { card: target.uid, content }),
            Ok(Err(fault)) => return Err((Failure::with_card(fault, target.uid), None)),
            Err(Trouble::CardLeft | Trouble::CardChanged) => {}
            Err(trouble) => {
                tries += 1;
                retry(session, trouble, tries, Some(target), false).await?;
            }
        }
    }
}

/// Says what lies on the reader. Reads at the most.
pub(super) async fn inspect(session: &mut Session, key: Option<&CardKey>) -> End<CardInfo> {
    let target = match session.detect().await.map_err(|trouble| failed(trouble, None, false))? {
        Detection::One(target) => target,
        Detection::None => return Err((Failure::without_card(FaultKind::NoCard), None)),
        Detection::Several => return Err((Failure::without_card(FaultKind::SeveralCards), None)),
    };
    let trouble = |trouble| failed(trouble, Some(&target), false);
    let family = Family::of(session, &target).await.map_err(trouble)?;
    let (kind, format, content) = match (family, key) {
        (Family::Carrier(carrier), Some(key)) => {
            let mut media = Media::new(carrier, key, &target);
            let looked = media.look(session).await.map_err(trouble)?;
            let format = match &looked {
                Looked::Ours(..) => CardFormat::Ours,
                Looked::NotOurs => match media.survey(session).await.map_err(trouble)? {
                    Surveyed::Blank(_) => CardFormat::Blank,
                    Surveyed::Foreign(_) => CardFormat::Foreign,
                    Surveyed::Unfinished(_) | Surveyed::Ready | Surveyed::Damaged(_) => CardFormat::Ours,
                },
            };
            (carrier.to_string(), format, current(&looked))
        }
        (Family::Carrier(carrier), None) => (carrier.to_string(), CardFormat::Unknown, None),
        (Family::Other(card), _) => (card.to_string(), CardFormat::Unknown, None),
    };
    Ok(CardInfo { target, kind, format, content })
}

/// Waiting for a card.
pub(super) struct Wait<'a> {
    pub(super) limits: Limits,
    pub(super) stop: &'a CancellationToken,
    pub(super) progress: &'a mpsc::Sender<Progress>,
    /// The card that lies there does not count until it was lifted.
    pub(super) must_lift: bool,
}

impl Wait<'_> {
    pub(super) async fn for_card(&mut self, session: &mut Session, see: &mut impl FnMut(Detection)) -> End<Target> {
        tell(self.progress, Progress::WaitingForCard);
        let (mut misses, mut several, mut tries) = (0, 0_u32, 0);
        loop {
            if self.stop.is_cancelled() {
                return Err((Failure::without_card(FaultKind::Stopping), None));
            }
            let detected = session.detect().await;
            let is_certain = session.hears_of_cards() && detected.is_ok();
            match detected {
                Ok(detection) => {
                    see(detection);
                    (misses, several) = match detection {
                        Detection::None => (misses + 1, 0),
                        Detection::One(_) => (0, 0),
                        Detection::Several => (0, several + 1),
                    };
                    let certain = session.hears_of_cards();
                    self.must_lift &= misses < if certain { 1 } else { MISSES_FOR_LIFTED };
                    if let (Detection::One(target), false) = (detection, self.must_lift) {
                        tell(self.progress, Progress::CardSeen);
                        return Ok(target);
                    }
                }
                Err(trouble) => {
                    tries += 1;
                    retry(session, trouble, tries, None, false).await?;
                }
            }
            if several > u32::from(!session.hears_of_cards()) {
                return Err((Failure::without_card(FaultKind::SeveralCards), None));
            }
            if self.limits.card.has_passed() {
                let kind = if self.must_lift { FaultKind::CardNotLifted } else { FaultKind::NoCard };
                return Err((Failure::without_card(kind), None));
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY.min(self.limits.card.remaining())), if !is_certain => {}
                () = session.next_look(Some(self.limits.card.instant())), if is_certain => {}
            }
        }
    }
}

/// One credential on its way to one card.
#[expect(clippy::struct_excessive_bools, reason = "five independent facts about the card, each set in one place")]
struct Encode<'a> {
    order: &'a EncodeOrder,
    target: Target,
    media: Media,
    /// A byte of this card may have been changed, now or by an attempt that was interrupted.
    touched: bool,
    /// The new credential may be valid on the card, unverified.
    in_doubt: bool,
    /// The new credential is on the card, verified. From then on the job is a success, whatever happens.
    verified: bool,
    overwritten: Option<Whose>,
    /// The plan at work only finishes what is on the card.
    finishing: bool,
    /// Something did not read back the same twice: its weak bits are written anew.
    renew: bool,
    /// Where the plan at work writes, and where it last did something.
    at: Option<(Slot, Spot)>,
    /// A slot that takes no write: the other one is used.
    dead: Option<(Slot, Spot)>,
    /// What the plan at work says is dead.
    worn: Option<Spot>,
}

impl<'a> Encode<'a> {
    fn new(order: &'a EncodeOrder, target: Target, carrier: Carrier) -> Self {
        let mut media = Media::new(carrier, &order.key, &target).with_ndef(order.ndef.clone());
        media.set_begun(order.begun.contains(&target.uid));
        Self {
            order,
            target,
            media,
            touched: false,
            in_doubt: false,
            verified: false,
            overwritten: None,
            finishing: false,
            renew: false,
            at: None,
            dead: None,
            worn: None,
        }
    }
}

impl Encode<'_> {
    async fn run(&mut self, session: &mut Session) -> End<EncodeEnd> {
        let mut tries = 0;
        loop {
            let halt = match self.attempt(session).await {
                Ok(()) => return Ok(self.success()),
                Err(halt) => halt,
            };
            self.verified |= matches!(halt, Halt::AfterSuccess(_));
            tracing::debug!(?halt, tries, touched = self.touched, in_doubt = self.in_doubt, "step failed");
            tries += 1;
            match halt {
                Halt::AfterSuccess(trouble) | Halt::Trouble(trouble) if self.verified => {
                    // A seal that looked empty and then did not holds weak bits: by the next look it may look empty again.
                    self.renew |= self.finishing && trouble == Trouble::CardRefused;
                    // What is left to retire is retired now if the card still lies there, else it waits.
                    if retry(session, trouble, tries, Some(self.target), false).await.is_err() {
                        return Ok(self.success_unretired());
                    }
                }
                Halt::Mismatch | Halt::Flaky | Halt::Fault(_) if self.verified => {
                    return Ok(self.success_unretired());
                }
                // What was written does not hold, or is not taken, however often: the other slot may be better.
                Halt::Mismatch | Halt::Flaky | Halt::Trouble(Trouble::CardRefused)
                    if tries >= TRIES_MAX && self.dead.is_none() && self.at.is_some() =>
                {
                    (self.dead, tries) = (self.at, 0);
                    let again = session.new_session(&self.target).await;
                    again.map_err(|trouble| failed(trouble, Some(&self.target), self.in_doubt))?;
                }
                Halt::Fault(fault) => {
                    return Err((Failure { fault, card: Some(self.target.uid), in_doubt: self.in_doubt }, None));
                }
                halt @ (Halt::Mismatch | Halt::Flaky) if tries >= TRIES_MAX => {
                    let is_flaky = halt == Halt::Flaky;
                    let kind = if is_flaky { FaultKind::FlakyCard } else { FaultKind::VerificationFailed };
                    let fault = kind.into();
                    return Err((Failure { fault, card: Some(self.target.uid), in_doubt: self.in_doubt }, None));
                }
                Halt::Mismatch | Halt::Flaky => {
                    // What reads differently from one time to the next is written anew, also where it looks right.
                    self.renew = true;
                    let again = session.new_session(&self.target).await;
                    again.map_err(|trouble| failed(trouble, Some(&self.target), self.in_doubt))?;
                }
                Halt::Trouble(trouble)
                    if !self.touched
                        && !self.in_doubt
                        && matches!(trouble, Trouble::CardLeft | Trouble::CardChanged) =>
                {
                    return Err(failed(trouble, Some(&self.target), false));
                }
                Halt::Trouble(trouble) | Halt::AfterSuccess(trouble) => {
                    retry(session, trouble, tries, Some(self.target), self.in_doubt).await?;
                }
            }
        }
    }

    fn success_unretired(&self) -> EncodeEnd {
        tracing::info!("the previous credential is not retired; the next encode does it");
        self.success()
    }

    fn success(&self) -> EncodeEnd {
        EncodeEnd {
            card: self.target.uid,
            issued_at: self.order.record.issued_at,
            overwritten: self.overwritten,
            worn: self.worn.map(|at| Fault::with_detail(FaultKind::WornCard, at)),
        }
    }

    /// Looks, plans, runs the plan once.
    async fn attempt(&mut self, session: &mut Session) -> Result<(), Halt> {
        self.at = None;
        let (view, form) = match self.media.look(session).await? {
            Looked::Ours(view, form) => (view, form),
            Looked::NotOurs => self.prepare(session).await?,
        };
        if self.media.is_anothers(&view) {
            return Err(FaultKind::OtherPropertyCard.into());
        }
        let view = match self.dead {
            Some((slot, at)) => view.with_dead(slot, at),
            None => view,
        };
        let content = Content::fit(&self.order.record, form).map_err(PlanError::from).map_err(refusal)?;
        let is_there = view.current().is_some_and(|(_, sealed)| sealed.content == content);
        // What an interrupted write has left may read as it should today and otherwise tomorrow: all of it is written.
        let in_full = self.renew || (!is_there && (self.touched || self.order.begun.contains(&self.target.uid)));
        let plan_for = if in_full { plan::renew::<Form> } else { plan::encode::<Form> };
        self.media.find_opening(session).await?;
        let plan = plan_for(&view, &self.order.record, self.media.keys()?, form).map_err(refusal)?;
        self.finishing = plan.is_finishing();
        self.in_doubt = self.finishing;
        if let Some(older) = &plan.overwritten {
            self.overwritten = Some(older.into());
        }
        self.worn = plan.worn;
        self.may_write(&plan.to_string()).await?;
        self.run_plan(session, Some(plan.slot), plan.steps.into_iter().map(Into::into)).await
    }

    /// Prepares a blank card, or finishes preparing one; afterwards it is ours and empty.
    async fn prepare(&mut self, session: &mut Session) -> Result<(CardView, Form), Halt> {
        let remaining = match self.media.survey(session).await? {
            Surveyed::Blank(_) if self.order.personalize == Personalize::Manual => {
                return Err(FaultKind::BlankCard.into());
            }
            Surveyed::Blank(remaining) | Surveyed::Unfinished(remaining) => Some(remaining),
            Surveyed::Ready => None,
            Surveyed::Damaged(fault) | Surveyed::Foreign(fault) => return Err(Halt::Fault(fault)),
        };
        if let Some(remaining) = remaining {
            // What does not fit is refused before a byte is written.
            Content::fit(&self.order.record, remaining.form()).map_err(PlanError::from).map_err(refusal)?;
            let plan = self.media.plan(&remaining)?;
            if !plan.steps.is_empty() {
                self.may_write(&plan.to_string()).await?;
                self.run_plan(session, None, plan.steps.into_iter()).await?;
            }
        }
        // What nothing closes shows by nothing that it is prepared.
        self.media.set_begun(true);
        session.new_session(&self.target).await?;
        match self.media.look(session).await? {
            Looked::Ours(view, form) => Ok((view, form)),
            Looked::NotOurs => Err(FaultKind::DamagedCard.into()),
        }
    }

    /// Leave to write: there is time, the daemon is not stopping, and the journal knows of it.
    async fn may_write(&self, plan: &str) -> Result<(), Halt> {
        if self.order.stop.is_cancelled() {
            return Err(FaultKind::Stopping.into());
        }
        if !self.touched && self.order.limits.first_write.has_passed() {
            return Err(FaultKind::Expired.into());
        }
        write_down(&self.order.intent, &self.target, plan).await?;
        tell(&self.order.progress, Progress::Writing);
        Ok(())
    }

    async fn run_plan(
        &mut self,
        session: &mut Session,
        slot: Option<Slot>,
        steps: impl Iterator<Item = plan::PersonalizeStep>,
    ) -> Result<(), Halt> {
        let job = session.set_leave(Leave::of_plan(self.order.limits));
        let mut run = Run::new(session, &self.target, self.order.limits.end, &self.order.stop);
        let mut outcome = Ok(());
        for step in steps {
            let before = run.reached();
            outcome = run.step(step).await;
            if outcome.is_err() {
                break;
            }
            if before != SafePoint::Sealed && run.reached() == SafePoint::Sealed {
                tell(&self.order.progress, Progress::Verifying);
            }
        }
        self.touched |= run.touched();
        self.at = slot.zip(run.at());
        self.in_doubt = (self.in_doubt || run.may_be_sealed()) && !run.reached().is_success();
        session.set_leave(job);
        outcome
    }
}

/// Has the journal say that this card is about to be written, and how; without it nothing is written.
pub(super) async fn write_down(
    journal: &mpsc::Sender<(Intent, oneshot::Sender<bool>)>,
    card: &Target,
    plan: &str,
) -> Result<(), Halt> {
    let (answer, written) = oneshot::channel();
    let intent = Intent { card: card.uid, plan: plan.to_owned() };
    if journal.send((intent, answer)).await.is_err() || !written.await.unwrap_or(false) {
        return Err(FaultKind::JournalUnwritable.into());
    }
    Ok(())
}

/// Makes the reader usable again and finds the same card, or says how the job ends.
pub(super) async fn retry(
    session: &mut Session,
    trouble: Trouble,
    tries: u32,
    card: Option<Target>,
    in_doubt: bool,
) -> End<()> {
    let give_up = |trouble| failed(trouble, card.as_ref(), in_doubt);
    if tries >= TRIES_MAX || trouble == Trouble::Cannot {
        return Err(give_up(trouble));
    }
    session.recover(trouble).await.map_err(give_up)?;
    let Some(card) = card else { return Ok(()) };
    // A card at the edge of the field may be missed once.
    let mut last = trouble;
    for _ in 0..2 {
        match session.new_session(&card).await {
            Ok(()) => return Ok(()),
            Err(again) => last = again,
        }
    }
    Err(give_up(last))
}

/// What a trouble means for the caller, and that the device has to mend it.
pub(super) fn failed(trouble: Trouble, card: Option<&Target>, in_doubt: bool) -> (Failure, Option<Trouble>) {
    let kind = match trouble {
        Trouble::PortGone => FaultKind::EncoderOffline,
        // The attempt's time was used up by a line that is too slow or too noisy.
        Trouble::Silent | Trouble::WrongDialect | Trouble::Reader(_) | Trouble::TimeUp => FaultKind::EncoderSilent,
        Trouble::Stopped => FaultKind::Stopping,
        Trouble::CardLeft | Trouble::CardChanged => FaultKind::CardLeft,
        Trouble::Several => FaultKind::SeveralCards,
        Trouble::KeyRefused => FaultKind::DamagedCard,
        Trouble::CardRefused => FaultKind::WriteProtectedCard,
        Trouble::CardMute => FaultKind::MuteCard,
        Trouble::NoUid => FaultKind::OtherTechnologyCard,
        Trouble::InUse => FaultKind::ReaderInUse,
        Trouble::Cannot => FaultKind::ReaderCannot,
    };
    (Failure { fault: kind.into(), card: card.map(|card| card.uid), in_doubt }, Some(trouble))
}

pub(super) fn refusal(error: PlanError) -> Halt {
    Halt::Fault(match error {
        PlanError::Misfit(_) => Fault::with_detail(FaultKind::CardTooSmall, error),
        PlanError::SlotUnreadable { .. } => Fault::with_detail(FaultKind::WornCard, error),
        PlanError::SequenceExhausted | PlanError::OtherForm => Fault::with_detail(FaultKind::DamagedCard, error),
    })
}

/// Says how far a job is; nobody has to listen.
pub(super) fn tell(progress: &mpsc::Sender<Progress>, how_far: Progress) {
    let _nobody_listens = progress.try_send(how_far);
}
