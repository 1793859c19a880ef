//! What people ask for at the command line about the card that lies there: reading it whole, preparing it. Nothing is
//! waited for.

use super::family::{self, Carrier, Family};
use super::media::{Looked, Media, Surveyed, examine_step};
use super::order::{CardInfo, Failure};
use super::ring::look_with_each;
use super::run::{Halt, Run};
use super::session::{Leave, Session, Trouble};
use super::work::{End, TRIES_MAX, failed, inspect, retry};
use super::{DeviceHandle, Order, split};
use crate::clock::Deadline;
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use encoder_protocols::family::classic::{Key, KeyA, KeyB, SectorKey, SectorNumber};
use encoder_protocols::id::{Detection, Target, Uid};
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::plan::{CardView, ClassicMemory, KeysWanted, LookOutcome, ReadMemory, SectorKeys};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Read the card whole.
#[derive(Debug)]
pub struct MemoryOrder {
    /// The property's card key.
    pub key: Option<CardKey>,
    /// More keys to try, as key A and as key B.
    pub more: Vec<SectorKey>,
    /// Which keys are to be found out.
    pub wanted: KeysWanted,
    /// Until when.
    pub end: Deadline,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
    /// Told how far it is: sectors done, and of how many. For show.
    pub progress: mpsc::Sender<Done>,
}

/// So much is done of so much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// So much.
    pub done: usize,
    /// Of so much.
    pub of: usize,
}

/// A card that was read.
#[derive(Debug)]
pub struct MemoryEnd {
    /// What it is.
    pub info: CardInfo,
    /// What its slots hold, on a card of ours, and the keys that opened it.
    pub view: Option<(CardView, CardKeys)>,
    /// What is in its memory; `None` for a family that is not read whole.
    pub memory: Option<ClassicMemory>,
}

/// Prepare a blank card, or finish preparing one.
#[derive(Debug)]
pub struct PersonalizeOrder {
    /// The property's card key.
    pub key: CardKey,
    /// The only card that may be written.
    pub card: Option<Uid>,
    /// Say what would be done and do nothing.
    pub dry_run: bool,
    /// Until when.
    pub end: Deadline,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
    /// Told how far it is, in steps. For show.
    pub progress: mpsc::Sender<Done>,
}

/// What came of preparing a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalizeEnd {
    /// The card.
    pub card: Uid,
    /// The plan's listing; `None` when nothing remained to be done.
    pub plan: Option<String>,
}

/// One of these orders.
pub(super) enum Ask {
    Memory(Box<MemoryOrder>, oneshot::Sender<Result<MemoryEnd, Failure>>),
    Personalize(Box<PersonalizeOrder>, oneshot::Sender<Result<PersonalizeEnd, Failure>>),
}

impl Ask {
    /// Answers while the device cannot be used. A caller that has gone away needs no answer.
    pub(super) fn decline(self, failure: Failure) {
        match self {
            Self::Memory(_, reply) => drop(reply.send(Err(failure))),
            Self::Personalize(_, reply) => drop(reply.send(Err(failure))),
        }
    }
}

impl DeviceHandle {
    /// Reads the card that lies there whole.
    pub async fn read_memory(&self, order: MemoryOrder) -> Result<MemoryEnd, Failure> {
        self.ask(|reply| Order::Direct(Ask::Memory(Box::new(order), reply))).await
    }

    /// Prepares the card that lies there.
    pub async fn personalize(&self, order: PersonalizeOrder) -> Result<PersonalizeEnd, Failure> {
        self.ask(|reply| Order::Direct(Ask::Personalize(Box::new(order), reply))).await
    }
}

/// Carries one out and answers it.
pub(super) async fn run(session: &mut Session, ask: Ask) -> (Option<Fault>, Option<Trouble>) {
    match ask {
        Ask::Memory(order, reply) => {
            let idle = session.set_leave(Leave { stop: Some(order.stop.clone()), until: Some(order.end) });
            let end = memory(session, &order).await;
            session.set_leave(idle);
            split(end, reply)
        }
        Ask::Personalize(order, reply) => {
            let idle = session.set_leave(Leave { stop: Some(order.stop.clone()), until: Some(order.end) });
            let end = personalize(session, &order).await;
            session.set_leave(idle);
            split(end, reply)
        }
    }
}

/// The card that lies there, alone.
pub(super) async fn one_card(session: &mut Session) -> End<Target> {
    match session.detect().await.map_err(|trouble| failed(trouble, None, false))? {
        Detection::One(target) => Ok(target),
        Detection::None => Err((Failure::without_card(FaultKind::NoCard), None)),
        Detection::Several => Err((Failure::without_card(FaultKind::SeveralCards), None)),
    }
}

async fn memory(session: &mut Session, order: &MemoryOrder) -> End<MemoryEnd> {
    let info = inspect(session, order.key.as_ref()).await?;
    let target = info.target;
    let mut keys = order.key.as_ref().map(|key| key.key.each_for_card(&target.uid)).unwrap_or_default();
    let mut tries = 0;
    loop {
        match whole(session, order, &target, &mut keys).await {
            Ok(None) => return Ok(MemoryEnd { info, view: None, memory: None }),
            Ok(Some((view, memory))) => {
                let view = view.zip(keys.into_iter().next());
                return Ok(MemoryEnd { info, view, memory: Some(memory) });
            }
            Err(trouble) => {
                tries += 1;
                retry(session, trouble, tries, Some(target), false).await?;
            }
        }
    }
}

async fn whole(
    session: &mut Session,
    order: &MemoryOrder,
    target: &Target,
    keys: &mut [CardKeys],
) -> Result<Option<(Option<CardView>, ClassicMemory)>, Trouble> {
    let size = match Family::of(session, target).await? {
        Family::Carrier(Carrier::Classic(size)) => size,
        Family::Carrier(Carrier::Type2(_)) | Family::Other(_) => return Ok(None),
    };
    let view = match look_with_each(session, keys).await? {
        LookOutcome::Ours(view) => Some(view),
        LookOutcome::NotOurs => None,
    };
    let keys_to_try = |sector| SectorKeys { sector, keys: candidates(sector, keys, &order.more) };
    let todo = size.sector_numbers().map(keys_to_try).collect();
    let machine = ReadMemory::new(size, order.wanted, todo);
    let memory = read(session, machine, |done, of| {
        let _nobody_listens = order.progress.try_send(Done { done, of });
    });
    Ok(Some((view, memory.await?)))
}

/// Drives a reading of a whole card.
pub(super) async fn read(
    session: &mut Session,
    mut machine: ReadMemory,
    mut tell: impl FnMut(usize, usize),
) -> Result<ClassicMemory, Trouble> {
    let mut told = None;
    loop {
        let (done, of) = machine.progress();
        if told != Some(done) {
            tell(done, of);
            told = Some(done);
        }
        if !examine_step(session, &mut machine).await? {
            // A machine that is done has its outcome.
            return machine.outcome().ok_or(Trouble::CardRefused);
        }
    }
}

/// Keys that everybody knows: of directories and of NDEF sectors.
///
/// Source: NXP AN10787, section 3.7 (directory), NXP AN1304, section 5.1 (NDEF).
const PUBLIC_KEYS: [[u8; 6]; 2] = [[0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5], [0xD3, 0xF7, 0xD3, 0xF7, 0xD3, 0xF7]];

/// The keys that may open a sector, the likeliest first: this property's, the factory's, those that were given, those
/// that everybody knows.
pub(super) fn candidates(sector: SectorNumber, keys: &[CardKeys], more: &[SectorKey]) -> Vec<Key> {
    let public = PUBLIC_KEYS.into_iter().map(SectorKey::new);
    let others: Vec<SectorKey> =
        std::iter::once(SectorKey::transport()).chain(more.iter().cloned()).chain(public).collect();
    let key_a = keys.iter().map(|keys| Key::A(keys.key_a(sector)));
    let key_b = keys.iter().map(|keys| Key::B(keys.key_b(sector)));
    key_a
        .chain(others.iter().cloned().map(|key| Key::A(KeyA(key))))
        .chain(key_b)
        .chain(others.iter().cloned().map(|key| Key::B(KeyB(key))))
        .collect()
}

async fn personalize(session: &mut Session, order: &PersonalizeOrder) -> End<PersonalizeEnd> {
    let target = one_card(session).await?;
    if order.card.is_some_and(|card| card != target.uid) {
        return Err((Failure::with_card(FaultKind::CardLeft, target.uid), None));
    }
    let mut listing = None;
    let mut tries = 0;
    loop {
        match prepare(session, order, &target, &mut listing).await {
            Ok(()) => return Ok(PersonalizeEnd { card: target.uid, plan: listing }),
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

/// Looks, plans, runs the plan, looks again.
async fn prepare(
    session: &mut Session,
    order: &PersonalizeOrder,
    target: &Target,
    listing: &mut Option<String>,
) -> Result<(), Halt> {
    let carrier = match Family::of(session, target).await? {
        Family::Carrier(carrier) => carrier,
        Family::Other(card) => return Err(family::fault(card).into()),
    };
    let mut media = Media::new(carrier, &order.key, target);
    if let Looked::Ours(..) = media.look(session).await? {
        return Ok(());
    }
    let remaining = match media.survey(session).await? {
        Surveyed::Blank(remaining) | Surveyed::Unfinished(remaining) => remaining,
        Surveyed::Ready => return Ok(()),
        Surveyed::Foreign(fault) | Surveyed::Damaged(fault) => return Err(Halt::Fault(fault)),
    };
    let plan = media.plan(&remaining)?;
    listing.get_or_insert_with(|| plan.to_string());
    if order.dry_run {
        return Ok(());
    }
    tracing::info!(card = %target.uid, %plan, "a card is prepared");
    // A trailer that was begun is proved, whatever the caller does.
    let job = session.set_leave(Leave { stop: None, until: Some(order.end) });
    let of = plan.steps.len();
    let mut run = Run::new(session, target, order.end, &order.stop);
    let mut outcome = Ok(());
    for (done, step) in plan.steps.into_iter().enumerate() {
        let _nobody_listens = order.progress.try_send(Done { done, of });
        outcome = run.step(step).await;
        if outcome.is_err() {
            break;
        }
    }
    session.set_leave(job);
    outcome?;
    session.new_session(target).await?;
    match media.look(session).await? {
        Looked::Ours(..) => Ok(()),
        Looked::NotOurs => Err(FaultKind::DamagedCard.into()),
    }
}
