//! What people ask for at the command line about the card that lies there: reading it whole, preparing it. Nothing is
//! waited for.

use super::family::{self, Carrier, Family};
use super::media::{Looked, Media, Surveyed, examine_step};
use super::order::{CardInfo, CloneKind, Failure, Intent};
use super::run::{Halt, Run};
use super::session::{Leave, Session, Trouble};
use super::work::{End, TRIES_MAX, failed, inspect, retry, write_down};
use super::{DeviceHandle, Order, split};
use crate::clock::Deadline;
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use encoder_protocols::family::classic::{Key, KeyA, KeyB, SectorKey, SectorNumber};
use encoder_protocols::family::type2::{PageNumber, Type2Kind};
use encoder_protocols::id::{Detection, Target, Uid};
use encoder_protocols::layout::form::Form;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ndef::Ndef;
use encoder_protocols::plan::{CardView, ClassicMemory, KeysWanted, ReadMemory, SectorKeys};
use std::collections::BTreeSet;
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
    /// See whether it is a clone that says so, where the reader can.
    pub tell_clone: bool,
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
    /// What its slots hold and where they lie, on a card of ours, and the keys that opened it.
    pub view: Option<(CardView, Form, CardKeys)>,
    /// What is in its memory; `None` for a family that is not read whole.
    pub memory: Option<Memory>,
    /// It is a clone that says so; `None` where it does not, was not asked, or the reader cannot ask.
    pub clone: Option<CloneKind>,
}

/// What is in a card's memory.
#[derive(Debug)]
pub enum Memory {
    /// MIFARE Classic.
    Classic(ClassicMemory),
    /// Ultralight or NTAG: its pages in order; `None` for what it does not give.
    Type2(Type2Kind, Vec<Option<[u8; 4]>>),
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
    /// The cards that this desk has begun to write and not verified.
    pub begun: BTreeSet<String>,
    /// What phones are to be shown of it.
    pub ndef: Option<Ndef>,
    /// Told before the card is written; `true` comes back when it is on the disk.
    pub intent: mpsc::Sender<(Intent, oneshot::Sender<bool>)>,
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
    let mut tries = 0;
    loop {
        match whole(session, order, &target).await {
            Ok((view, memory)) => {
                let is_classic = matches!(memory, Some(Memory::Classic(_)));
                let clone = if order.tell_clone && is_classic { clone_kind(session).await } else { None };
                return Ok(MemoryEnd { info, view, memory, clone });
            }
            Err(Halt::Trouble(trouble) | Halt::AfterSuccess(trouble)) => {
                tries += 1;
                retry(session, trouble, tries, Some(target), false).await?;
            }
            Err(Halt::Fault(fault)) => return Err((Failure::with_card(fault, target.uid), None)),
            Err(Halt::Mismatch | Halt::Flaky) => {
                return Err((Failure::with_card(FaultKind::FlakyCard, target.uid), None));
            }
        }
    }
}

/// Asks the card whether it is a clone, after everything else was read. It is for naming only: a card that leaves meanwhile
/// was read all the same.
async fn clone_kind(session: &mut Session) -> Option<CloneKind> {
    match session.backdoor().await {
        Ok(true) => Some(CloneKind::Gen1a),
        Ok(false) | Err(Trouble::Cannot) => None,
        Err(trouble) => {
            tracing::debug!(?trouble, "whether the card is a clone was not found out");
            if let Err(trouble) = session.recover(trouble).await {
                tracing::debug!(?trouble, "the reader was not mended; the next look will");
            }
            None
        }
    }
}

type Whole = (Option<(CardView, Form, CardKeys)>, Option<Memory>);

async fn whole(session: &mut Session, order: &MemoryOrder, target: &Target) -> Result<Whole, Halt> {
    let carrier = match Family::of(session, target).await? {
        Family::Carrier(carrier) => carrier,
        Family::Other(_) => return Ok((None, None)),
    };
    let mut all = Vec::new();
    let mut view = None;
    if let Some(key) = &order.key {
        let mut media = Media::new(carrier, key, target);
        if let Looked::Ours(found, form) = media.look(session).await? {
            view = Some((found, form, media.keys()?.clone()));
        }
        all = key.key.each_for_card(&target.uid);
    }
    let memory = match carrier {
        Carrier::Classic(size) => {
            let keys_to_try = |sector| SectorKeys { sector, keys: candidates(sector, &all, &order.more) };
            let todo = size.sector_numbers().map(keys_to_try).collect();
            let machine = ReadMemory::new(size, order.wanted, todo);
            let tell = |done, of| {
                let _nobody_listens = order.progress.try_send(Done { done, of });
            };
            Memory::Classic(read(session, machine, tell).await?)
        }
        Carrier::Type2(kind) => Memory::Type2(kind, pages(session, kind).await?),
    };
    Ok((view, Some(memory)))
}

/// Reads a Type 2 card whole: in as few exchanges as it takes, and by four pages where it refuses some.
async fn pages(session: &mut Session, kind: Type2Kind) -> Result<Vec<Option<[u8; 4]>>, Trouble> {
    match session.pages(PageNumber::new(0), kind.pages().into()).await {
        Ok(pages) => return Ok(pages.into_iter().map(Some).collect()),
        Err(Trouble::CardRefused) => {}
        Err(trouble) => return Err(trouble),
    }
    let mut pages = Vec::new();
    for first in (0..kind.pages()).step_by(4) {
        let four: Vec<Option<[u8; 4]>> = match session.read_pages(PageNumber::new(first)).await {
            Ok(data) => data.as_chunks::<4>().0.iter().copied().map(Some).collect(),
            Err(Trouble::CardRefused) => vec![None; 4],
            Err(trouble) => return Err(trouble),
        };
        // Behind the last page a card begins anew with its first.
        pages.extend(four);
    }
    pages.truncate(kind.pages().into());
    Ok(pages)
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
            Err(Halt::Mismatch | Halt::Flaky) => {
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
    let mut media = Media::new(carrier, &order.key, target).with_ndef(order.ndef.clone());
    media.set_begun(order.begun.contains(&target.uid.to_string()));
    if let Looked::Ours(..) = media.look(session).await? {
        return Ok(());
    }
    let plan = match media.survey(session).await? {
        Surveyed::Blank(remaining) | Surveyed::Unfinished(remaining) => media.plan(&remaining)?,
        Surveyed::Ready => return Ok(()),
        Surveyed::Damaged(fault) | Surveyed::Foreign(fault) => return Err(Halt::Fault(fault)),
    };
    listing.get_or_insert_with(|| plan.to_string());
    if order.dry_run {
        return Ok(());
    }
    tracing::info!(card = %target.uid, %plan, "a card is prepared");
    write_down(&order.intent, target, &plan.to_string()).await?;
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
    media.set_begun(true);
    match media.look(session).await? {
        Looked::Ours(..) => Ok(()),
        Looked::NotOurs => Err(FaultKind::DamagedCard.into()),
    }
}
