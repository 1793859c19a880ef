//! A reader in memory with its session, and whole jobs on it.

use super::super::order::{CardRead, EncodeEnd, EncodeOrder, EraseEnd, EraseOrder, Failure, Intent, Limits, ScanOrder};
use super::super::session::{Session, Trouble};
use super::super::{erase, work};
use super::cards::Item;
use super::wrong::{self, Wrong};
use crate::clock::Deadline;
use crate::config::Personalize;
use crate::fault::FaultKind;
use crate::keys::CardKey;
use crate::transport::Link;
use crate::transport::memory::Memory;
use encoder_protocols::card_sim::Torn;
use encoder_protocols::dialect::pcsc_storage::profile;
use encoder_protocols::dialect::reader;
use encoder_protocols::id::{Detection, Uid};
use encoder_protocols::layout::keys::PropertyKey;
use encoder_protocols::layout::ndef::Ndef;
use encoder_protocols::layout::record::Record;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The readers that everything is run on.
pub(super) const READERS: &[&str] = &["pn532", "acr122u"];

/// The property that the cards are made for.
pub(super) const PROPERTY: [u8; 16] = [0xB2; 16];

/// Runs a future to its end in simulated time: what waits for a moment gets there at once.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without input and output").block_on(future)
}

/// What is to be done with a card.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Encode(Record),
    Erase,
}

/// How a job ended.
pub(super) type End = Result<(), Failure>;

/// When the card goes away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tear {
    /// At which write, counted from 1.
    pub(super) nth: u32,
    /// What that leaves.
    pub(super) torn: Torn,
    /// Whether it lies there again at once, while the job goes on.
    pub(super) comes_back: bool,
}

/// A reader and its session.
pub(super) struct Rig {
    session: Session,
    key: CardKey,
    intent: mpsc::Sender<(Intent, oneshot::Sender<bool>)>,
    /// What phones are shown.
    pub(super) ndef: Option<Ndef>,
    /// Exchanges with the reader that the last job made, from its first search for the card on.
    pub(super) trips: u64,
    /// Encodes by a layout that is wrong.
    pub(super) wrong: Option<Wrong>,
    /// What the last job said of a card that should be replaced.
    pub(super) worn: Option<FaultKind>,
    /// The card that lies there.
    uid: Option<Uid>,
    /// What the journal knows of cards that were begun and not verified.
    begun: Arc<Mutex<BTreeSet<Uid>>>,
}

/// The property's card key.
pub(super) fn property_key() -> PropertyKey {
    PropertyKey::new(1, *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xAA\xBB\xCC\xDD\xEE\xFF")
}

impl Rig {
    /// An open reader with nothing on it.
    pub(super) async fn new(name: &str) -> Self {
        let memory = match (reader(name), profile(name)) {
            (Some(reader), _) => Memory::line(reader),
            (None, Some(profile)) => Memory::pcsc(profile),
            (None, None) => panic!("no reader {name}"),
        };
        let mut session = Session::new(Link::Memory(memory), CancellationToken::new());
        session.open().await.expect("the reader opens");
        let (intent, mut intents) = mpsc::channel::<(Intent, oneshot::Sender<bool>)>(1);
        let begun = Arc::new(Mutex::new(BTreeSet::new()));
        let journal = begun.clone();
        tokio::spawn(async move {
            while let Some((intent, written)) = intents.recv().await {
                journal.lock().unwrap().insert(intent.card);
                let _the_job_has_ended = written.send(true);
            }
        });
        Self {
            session,
            key: CardKey { property_id: Uuid::from_bytes(PROPERTY), key: property_key().into() },
            intent,
            ndef: None,
            trips: 0,
            wrong: None,
            worn: None,
            begun,
            uid: None,
        }
    }

    fn memory(&mut self) -> &mut Memory {
        match self.session.link() {
            Link::Memory(memory) => memory,
            Link::Serial(..) | Link::Pcsc(..) => unreachable!("made in memory"),
        }
    }

    /// Reads the card, as a scan does.
    pub(super) async fn scan(&mut self, item: &Item) -> CardRead {
        self.try_scan(item).await.expect("nothing is in its way")
    }

    /// Whose jobs they are.
    pub(super) fn set_property(&mut self, property: [u8; 16]) {
        self.key.property_id = Uuid::from_bytes(property);
    }

    /// The same with cards that may have something wrong.
    pub(super) async fn try_scan(&mut self, item: &Item) -> Result<CardRead, Failure> {
        self.memory().field().place(item.card.clone()).expect("nothing lies there");
        self.see().await;
        let minute = Deadline::after(Duration::from_mins(1));
        let order = ScanOrder {
            key: Some(self.key.clone()),
            limits: Limits { card: minute, first_write: minute, end: minute },
            stop: CancellationToken::new(),
            progress: mpsc::channel(1).0,
        };
        let before = self.round_trips();
        let read = work::scan(&mut self.session, &order, |_| {}).await.map_err(|(failure, _)| failure);
        self.trips = self.round_trips() - before;
        self.session.rest().await;
        self.memory().field().remove_all();
        read
    }

    fn round_trips(&mut self) -> u64 {
        self.memory().counters().round_trips
    }

    /// Writes that have reached a card so far, torn ones included.
    pub(super) fn writes(&mut self) -> u64 {
        self.memory().field().writes()
    }

    /// Puts a card on, does the job as the device's task would, and takes the card away.
    pub(super) async fn run(&mut self, item: &mut Item, job: &Job, tear: Option<Tear>) -> End {
        let uid = item.card.uid();
        self.uid = Some(uid);
        *self.begun.lock().unwrap() = item.begun.then_some(uid).into_iter().collect();
        self.memory().field().place(item.card.clone()).expect("nothing lies there");
        self.see().await;
        if let Some(tear) = tear {
            self.memory().set_comes_back(tear.comes_back);
            self.memory().field().tear(tear.nth, tear.torn);
        }
        let before = self.round_trips();
        let end = self.job(job).await;
        self.trips = self.round_trips() - before;
        let end = match end {
            Ok(()) => {
                self.begun.lock().unwrap().clear();
                Ok(())
            }
            Err((failure, trouble)) => {
                if let Some(trouble) = trouble {
                    self.session.recover(trouble).await.expect("a reader in memory is never lost");
                }
                Err(failure)
            }
        };
        self.session.rest().await;
        self.memory().set_comes_back(false);
        let mut cards = self.memory().field().remove_all();
        item.card = cards.pop().expect("the card is somewhere");
        assert!(cards.is_empty(), "one card");
        item.begun = !self.begun.lock().unwrap().is_empty();
        end
    }

    /// The looks in between jobs, after which a card is known to lie there.
    async fn see(&mut self) {
        for _ in 0..2 {
            if matches!(self.session.detect().await, Ok(Detection::One(_))) {
                return;
            }
        }
        panic!("the card is not seen");
    }

    async fn job(&mut self, job: &Job) -> Result<(), (Failure, Option<Trouble>)> {
        match job {
            Job::Encode(record) => {
                if let Some(wrong) = self.wrong {
                    return wrong::encode(&mut self.session, wrong, record, &self.key).await;
                }
                let end = self.encode(record).await?;
                self.worn = end.worn.map(|fault| fault.kind);
                Ok(())
            }
            Job::Erase => self.erase().await.map(drop),
        }
    }

    async fn encode(&mut self, record: &Record) -> work::End<EncodeEnd> {
        let minute = Deadline::after(Duration::from_mins(1));
        let order = EncodeOrder {
            record: record.clone(),
            key: self.key.clone(),
            only_card: None,
            personalize: Personalize::Auto,
            ndef: self.ndef.clone(),
            begun: self.begun.lock().unwrap().clone(),
            new_presentation: false,
            limits: Limits { card: minute, first_write: minute, end: minute },
            stop: CancellationToken::new(),
            intent: self.intent.clone(),
            progress: mpsc::channel(1).0,
        };
        work::encode(&mut self.session, &order, |_| {}).await
    }

    async fn erase(&mut self) -> work::End<EraseEnd> {
        let card = self.uid.expect("a card lies there");
        let order = EraseOrder {
            card,
            key: self.key.clone(),
            begun: self.begun.lock().unwrap().contains(&card),
            intent: self.intent.clone(),
            end: Deadline::after(Duration::from_mins(1)),
            stop: CancellationToken::new(),
        };
        erase::run(&mut self.session, &order).await
    }
}
