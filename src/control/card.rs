//! Work with the card on one device: reading it whole, preparing it, writing an image, erasing. The same whether the
//! running daemon does it or a command that holds the device itself.

use super::{Answer, Refusal};
use crate::api::bridge::raw::{RawBytes, RawImage, RawReport};
use crate::clock::Deadline;
use crate::device::DeviceHandle;
use crate::device::direct::{Done, Memory, MemoryEnd, MemoryOrder, PersonalizeOrder};
use crate::device::image;
use crate::device::order::{CardFormat, CardInfo, CloneKind, EraseOrder, Intent, Limits, Whose};
use crate::device::raw::{OtherKeys, RawOrder};
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use crate::store::StoreError;
use crate::store::state::State;
use encoder_protocols::family::classic::{BlockNumber, SectorKey};
use encoder_protocols::family::maker::maker;
use encoder_protocols::family::type2::{PageNumber, Type2Kind};
use encoder_protocols::id::Uid;
use encoder_protocols::layout::content::{Content, SlotState};
use encoder_protocols::layout::form::{Form, PageRole, Place};
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::mad::Mad;
use encoder_protocols::layout::ndef::Ndef;
use encoder_protocols::layout::ocl1::{self, Role, Slot};
use encoder_protocols::plan::{self, CardView, ClassicMemory, KeysWanted, SectorContents};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long one piece of work may take: a 4K card has 256 blocks, and its forty sectors may each refuse a dozen keys.
const TIME_MAX: Duration = Duration::from_mins(3);

/// How long erasing a card may take: some sixty exchanges with the reader, and a few of them again.
const ERASE_TIME_MAX: Duration = Duration::from_secs(15);

/// What is to be done with the card that lies on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum CardWork {
    /// Read it whole.
    Read {
        /// More sector keys to try.
        #[serde(default)]
        keys: Vec<RawBytes<6>>,
        /// Answer what is in its blocks, not only what they are for.
        #[serde(default)]
        contents: bool,
        /// Find out and answer its keys.
        #[serde(default)]
        with_keys: bool,
        /// See whether it is a clone that says so.
        #[serde(default)]
        tell_clone: bool,
    },
    /// Prepare it, or finish preparing it.
    Personalize {
        /// Say what would be done and do nothing.
        #[serde(default)]
        dry_run: bool,
    },
    /// Write an image.
    Write {
        /// What.
        image: RawImage,
        /// More sector keys to try.
        #[serde(default)]
        keys: Vec<RawBytes<6>>,
        /// Try what this desk knows too: the property's keys and those that everybody knows.
        #[serde(default)]
        known_keys: bool,
        /// Say what would be done and do nothing.
        #[serde(default)]
        dry_run: bool,
    },
    /// Say how its credential would be taken off.
    ErasePlan,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CardOutcome {
    /// It goes on.
    Progress {
        /// So much is done.
        done: usize,
        /// Of so much.
        of: usize,
    },
    /// To [`CardWork::Read`].
    Read(Box<ReadAnswer>),
    /// To [`CardWork::Personalize`]: the card is prepared, or would be.
    Prepared {
        /// The card's UID in hex.
        card_number: String,
        /// What was done; `None` when nothing remained to be done.
        plan: Option<String>,
    },
    /// To [`CardWork::Write`].
    Written(WrittenAnswer),
    /// To [`CardWork::ErasePlan`].
    ErasePlan {
        /// The card's UID in hex.
        card_number: String,
        /// What would be done.
        plan: String,
    },
}

/// A card that an image was written on, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenAnswer {
    /// The card's UID in hex, once one was seen.
    pub card_number: Option<String>,
    /// What was written and verified.
    pub report: RawReport,
    /// What was planned.
    pub plan: Option<String>,
    /// Why the image is not on the card.
    pub fault: Option<Fault>,
}

/// One card as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardAnswer {
    /// The encoder it lies on.
    pub encoder: String,
    /// It lies on a virtual encoder.
    pub simulated: bool,
    /// UID in hex.
    pub card_number: String,
    /// ATQA in hex; `None` where the reader does not tell it, as behind PC/SC.
    pub atqa: Option<String>,
    /// SAK in hex, likewise.
    pub sak: Option<String>,
    /// What it is.
    pub kind: String,
    /// What is on it.
    pub format: CardFormat,
    /// The valid credential on it.
    pub credential: Option<CardCredential>,
}

/// A credential on a card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardCredential {
    /// Whose; `None` where the card has no room for it.
    pub acs_credential_id: Option<Uuid>,
    /// The last eight digits of whose it is.
    pub number: String,
    /// Start of validity.
    pub starts_at: Option<Timestamp>,
    /// End of validity; `None`: no end.
    pub ends_at: Option<Timestamp>,
    /// Moment of issue.
    pub issued_at: Option<Timestamp>,
    /// Door numbers.
    pub doors: Vec<u16>,
}

impl From<&Content> for CardCredential {
    fn from(content: &Content) -> Self {
        let time = |seconds: u32| Timestamp::from_second(i64::from(seconds)).ok();
        Self {
            acs_credential_id: content.credential_id().map(|id| Uuid::from_bytes(id.0)),
            number: content.number().to_string(),
            starts_at: time(content.starts_at()),
            ends_at: if content.ends_at() == u32::MAX { None } else { time(content.ends_at()) },
            issued_at: content.issued_at().and_then(time),
            doors: content.doors().to_vec(),
        }
    }
}

/// A card that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// What it is.
    pub card: CardAnswer,
    /// Who made the chip, where its UID tells.
    pub made_by: Option<String>,
    /// It is a clone that says so.
    #[serde(default)]
    pub clone: Option<CloneKind>,
    /// What its two slots hold, on a card of this property.
    pub slots: Option<[SlotAnswer; 2]>,
    /// The sectors of a MIFARE Classic card.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<SectorAnswer>,
    /// The pages of an Ultralight or NTAG card.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<PageAnswer>,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotAnswer {
    /// `A` or `B`.
    pub slot: String,
    /// `valid`, `empty`, `invalid` or `unreadable`.
    pub state: String,
    /// Why it is not valid.
    pub why: Option<String>,
    /// Its place in the order of this card's credentials.
    pub sequence: Option<u32>,
    /// What it says.
    pub credential: Option<CardCredential>,
}

/// A sector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorAnswer {
    /// Which.
    pub sector: u8,
    /// Key A, if it was found and asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_a: Option<RawBytes<6>>,
    /// Key B, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_b: Option<RawBytes<6>>,
    /// Bytes 6 to 8 of the trailer.
    pub access_bits: Option<RawBytes<3>>,
    /// Byte 9 of the trailer.
    pub general_purpose: Option<RawBytes<1>>,
    /// Its blocks in order, the trailer last.
    pub blocks: Vec<BlockAnswer>,
}

/// A page of four bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageAnswer {
    /// Which.
    pub page: u8,
    /// What it is for.
    pub holds: Holds,
    /// Its content, where it could be read and was asked for; a password or key only when keys were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawBytes<4>>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockAnswer {
    /// Which, counted over the whole card.
    pub block: u8,
    /// What it is for.
    pub holds: Holds,
    /// Its content, where it could be read and was asked for; never a trailer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawBytes<16>>,
}

/// What a piece of memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// The manufacturer's.
    Manufacturer,
    /// The directory.
    Directory,
    /// Slot A of a credential.
    SlotA,
    /// Slot B of a credential.
    SlotB,
    /// A sector's keys and access bits.
    Trailer,
    /// Capability container, or one-time programmable bits.
    CapabilityContainer,
    /// Lock bytes, protection, password, key, counters.
    Configuration,
    /// In front of the slots: what phones are shown.
    Front,
    /// Nothing: all zero.
    Blank,
    /// Something of somebody else's.
    Foreign,
    /// It cannot be read: no key at hand opens it.
    Closed,
}

/// A device with what its work needs.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The device.
    pub device: DeviceHandle,
    /// Its name.
    pub name: String,
    /// The property's card key.
    pub key: Option<CardKey>,
    /// What phones are to be shown of cards that are prepared.
    pub ndef: Option<Ndef>,
    /// Where is written down which cards were begun; `None`: nowhere, where no daemon runs.
    pub journal: Option<State>,
    /// Cancelled when the work is to be left.
    pub stop: CancellationToken,
}

impl Bench {
    /// Does what is asked for; tells how far it is.
    pub async fn carry_out(&self, work: CardWork, progress: mpsc::Sender<Done>) -> Result<CardOutcome, Refusal> {
        let end = Deadline::after(TIME_MAX);
        match work {
            CardWork::Read { keys, contents, with_keys, tell_clone } => {
                let order = self.read_order(sector_keys(&keys), with_keys, end, progress);
                let read = self.device.read_memory(MemoryOrder { tell_clone, ..order }).await?;
                Ok(CardOutcome::Read(Box::new(self.read_answer(&read, contents, with_keys))))
            }
            CardWork::Personalize { dry_run } => {
                let key = self.key.clone().ok_or(Fault::from(FaultKind::NoCardKey))?;
                let (intent, intents) = mpsc::channel(1);
                let begun = self.begun().await?;
                let (ndef, stop) = (self.ndef.clone(), self.stop.clone());
                let order = PersonalizeOrder { key, card: None, dry_run, begun, ndef, intent, end, stop, progress };
                let done = self.noting(self.device.personalize(order), intents).await?;
                self.settled(&done.card).await?;
                Ok(CardOutcome::Prepared { card_number: done.card.to_string(), plan: done.plan })
            }
            CardWork::Write { image, keys, known_keys, dry_run } => {
                let others = if known_keys {
                    OtherKeys::Known { key: self.key.clone(), more: sector_keys(&keys) }
                } else {
                    OtherKeys::Transport
                };
                self.write(&image, others, dry_run, end, progress).await.map(CardOutcome::Written)
            }
            CardWork::ErasePlan => {
                let key = self.key.clone().ok_or(Fault::from(FaultKind::NoCardKey))?;
                let order = self.read_order(Vec::new(), false, end, progress);
                let read = self.device.read_memory(order).await?;
                let found = read.view.filter(|(view, _, _)| !of_another_property(view, &key));
                let (view, form, keys) = found.ok_or(Fault::from(FaultKind::ForeignCard))?;
                let uid = read.info.target.uid;
                let plan = plan::erase(&view, &keys, form)
                    .map_err(|error| Fault::with_detail(FaultKind::DamagedCard, error))?;
                Ok(CardOutcome::ErasePlan { card_number: uid.to_string(), plan: plan.to_string() })
            }
        }
    }

    fn read_order(
        &self,
        more: Vec<SectorKey>,
        with_keys: bool,
        end: Deadline,
        progress: mpsc::Sender<Done>,
    ) -> MemoryOrder {
        let wanted = if with_keys { KeysWanted::Both } else { KeysWanted::ForReading };
        let stop = self.stop.clone();
        MemoryOrder { key: self.key.clone(), more, wanted, tell_clone: false, end, stop, progress }
    }

    async fn write(
        &self,
        image: &RawImage,
        others: OtherKeys,
        dry_run: bool,
        end: Deadline,
        progress: mpsc::Sender<Done>,
    ) -> Result<WrittenAnswer, Refusal> {
        let parsed = image::parse(image)?;
        let (intent, mut intents) = mpsc::channel(1);
        let (told, _nobody_looks) = mpsc::channel(1);
        let order = RawOrder {
            image: parsed.image,
            only_card: parsed.only_card,
            others,
            wait: false,
            new_presentation: false,
            dry_run,
            limits: Limits { card: end, first_write: end, end },
            stop: self.stop.clone(),
            intent,
            progress: told,
            steps: progress,
        };
        // No attempt stands behind it that could be taken up again: the log is what remains of the intent.
        let log = async {
            while let Some((intent, answer)) = intents.recv().await {
                let intent: Intent = intent;
                tracing::info!(card = %intent.card, plan = intent.plan, "an image is written");
                let _device_gone = answer.send(true);
            }
        };
        let (end, ()) = tokio::join!(self.device.write_raw(order), log);
        Ok(match end {
            Ok(end) => WrittenAnswer {
                card_number: Some(end.card.to_string()),
                report: end.report.into(),
                plan: Some(end.plan),
                fault: None,
            },
            Err(failed) => WrittenAnswer {
                card_number: failed.failure.card.map(|uid| uid.to_string()),
                report: failed.report.into(),
                plan: None,
                fault: Some(failed.failure.fault),
            },
        })
    }

    /// Takes the credentials off the card with this UID.
    pub async fn erase(&self, card_number: &str) -> Result<Answer, Refusal> {
        let key = self.key.clone().ok_or(Fault::from(FaultKind::NoCardKey))?;
        let card: Uid =
            card_number.parse().map_err(|_| format!("\"{card_number}\" is not the UID of a card in hex"))?;
        let end = Deadline::after(ERASE_TIME_MAX);
        let begun = self.begun().await?.contains(&card.to_string());
        let (intent, intents) = mpsc::channel(1);
        let order = EraseOrder { card, key, begun, intent, end, stop: self.stop.clone() };
        let done = self.noting(self.device.erase(order), intents).await?;
        self.settled(&card).await?;
        let (acs_credential_id, number) = match done.erased {
            Some(Whose::Credential(id)) => (Some(Uuid::from_bytes(id.0)), None),
            Some(Whose::Number(number)) => (None, Some(number.to_string())),
            None => (None, None),
        };
        Ok(Answer::Erased { acs_credential_id, number })
    }

    /// The cards that this desk has begun and not verified.
    async fn begun(&self) -> Result<BTreeSet<String>, Refusal> {
        match &self.journal {
            Some(journal) => Ok(journal.begun_cards().await.map_err(|error| unwritable(&error))?),
            None => Ok(BTreeSet::new()),
        }
    }

    /// Has the device work, and writes down which card it is about to write: one that is left in the middle may show by
    /// this alone whose it is.
    async fn noting<T>(&self, work: impl Future<Output = T>, mut intents: Intents) -> T {
        let notes = async {
            while let Some((intent, answer)) = intents.recv().await {
                let written = match &self.journal {
                    Some(journal) => {
                        journal.card_begun(&intent.card.to_string()).await.map_err(|error| unwritable(&error)).is_ok()
                    }
                    None => true,
                };
                let _device_gone = answer.send(written);
            }
        };
        tokio::join!(work, notes).0
    }

    /// What is on a card has been verified.
    async fn settled(&self, card: &Uid) -> Result<(), Refusal> {
        match &self.journal {
            Some(journal) => Ok(journal.card_settled(&card.to_string()).await.map_err(|error| unwritable(&error))?),
            None => Ok(()),
        }
    }

    /// A card as people are told of it.
    pub fn card_answer(&self, info: &CardInfo) -> CardAnswer {
        let told = info.target.atqa_sak();
        let (atqa, sak) = told.map(|([high, low], sak)| (format!("{high:02x}{low:02x}"), format!("{sak:02x}"))).unzip();
        CardAnswer {
            encoder: self.name.clone(),
            simulated: self.device.status().simulated,
            card_number: info.target.uid.to_string(),
            atqa,
            sak,
            kind: info.kind.clone(),
            format: info.format,
            credential: info.content.as_ref().map(CardCredential::from),
        }
    }

    fn read_answer(&self, read: &MemoryEnd, contents: bool, with_keys: bool) -> ReadAnswer {
        let (mut sectors, mut pages) = (Vec::new(), Vec::new());
        match &read.memory {
            Some(Memory::Classic(memory)) => {
                let of = |sector| sector_answer(memory, sector, read.view.is_some(), contents, with_keys);
                sectors = memory.sectors.iter().map(of).collect();
            }
            Some(Memory::Type2(kind, memory)) => {
                let view = read.view.as_ref();
                pages = page_answers(*kind, memory, view.map(|(_, form, keys)| (*form, keys)), contents, with_keys);
            }
            None => {}
        }
        let uid: &Uid = &read.info.target.uid;
        ReadAnswer {
            card: self.card_answer(&read.info),
            made_by: maker(uid).map(str::to_owned),
            clone: read.clone,
            slots: read.view.as_ref().map(|(view, _, _)| slots(view)),
            sectors,
            pages,
        }
    }
}

/// Two properties may share a key; each erases its own cards only.
fn of_another_property(view: &CardView, key: &CardKey) -> bool {
    let mut valid = Slot::BOTH.into_iter().filter_map(|slot| view.slot(slot).valid());
    valid.any(|sealed| sealed.content.property_id().0 != key.property_id.into_bytes())
}

type Intents = mpsc::Receiver<(Intent, oneshot::Sender<bool>)>;

fn unwritable(error: &StoreError) -> Fault {
    tracing::error!(error = error as &dyn std::error::Error, "cannot use the journal");
    FaultKind::JournalUnwritable.into()
}

fn sector_keys(keys: &[RawBytes<6>]) -> Vec<SectorKey> {
    keys.iter().map(|key| SectorKey::new(key.0)).collect()
}

fn slots(view: &CardView) -> [SlotAnswer; 2] {
    Slot::BOTH.map(|slot| {
        let (state, why) = match view.slot(slot) {
            SlotState::Empty => ("empty", None),
            SlotState::Invalid(fault) => ("invalid", Some(fault.to_string())),
            SlotState::Unreadable { at } => ("unreadable", Some(format!("{at} cannot be read"))),
            SlotState::Valid(_) => ("valid", None),
        };
        let sealed = view.slot(slot).valid();
        SlotAnswer {
            slot: slot.to_string(),
            state: state.to_owned(),
            why,
            sequence: sealed.map(|sealed| sealed.sequence),
            credential: sealed.map(|sealed| CardCredential::from(&sealed.content)),
        }
    })
}

fn sector_answer(
    memory: &ClassicMemory,
    sector: &SectorContents,
    ours: bool,
    contents: bool,
    with_keys: bool,
) -> SectorAnswer {
    let first = sector.sector.first_block().get();
    let mut blocks: Vec<BlockAnswer> = (first..)
        .zip(&sector.blocks)
        .map(|(block, data)| BlockAnswer {
            block,
            holds: data.map_or(Holds::Closed, |data| holds(memory, BlockNumber::new(block), &data, ours)),
            data: data.filter(|_| contents).map(RawBytes),
        })
        .collect();
    let trailer = if sector.opened() { Holds::Trailer } else { Holds::Closed };
    blocks.push(BlockAnswer { block: sector.sector.trailer().get(), holds: trailer, data: None });
    let key = |key: Option<&SectorKey>| key.filter(|_| with_keys).map(|key| RawBytes(*key.expose()));
    SectorAnswer {
        sector: sector.sector.get(),
        key_a: key(sector.key_a.as_ref().map(|key| &key.0)),
        key_b: key(sector.key_b.as_ref().map(|key| &key.0)),
        access_bits: sector.trailer.map(|trailer| RawBytes(trailer.access_bits)),
        general_purpose: sector.trailer.map(|trailer| RawBytes([trailer.general_purpose])),
        blocks,
    }
}

/// The pages of a card; of a password or key what is known, when keys are asked for, for a card gives neither.
fn page_answers(
    kind: Type2Kind,
    memory: &[Option<[u8; 4]>],
    ours: Option<(Form, &CardKeys)>,
    contents: bool,
    with_keys: bool,
) -> Vec<PageAnswer> {
    let place = match ours {
        Some((Form::Type2(place), _)) => Some(place),
        Some((Form::Classic(_), _)) | None => None,
    };
    let role_of = |page| place.unwrap_or(Place::of(kind, false)).role(PageNumber::new(page));
    let secrets: Vec<(u8, [u8; 4])> = ours.map(|(_, keys)| secrets(kind, keys)).unwrap_or_default();
    let answer = |(page, data): (u8, &Option<[u8; 4]>)| {
        let secret = secrets.iter().find(|(of, _)| *of == page).map(|(_, secret)| *secret);
        let is_secret = is_secret(kind, page);
        let holds = match (role_of(page), data) {
            (PageRole::Configuration, _) => Holds::Configuration,
            (_, None) => Holds::Closed,
            (PageRole::Manufacturer, Some(_)) => Holds::Manufacturer,
            (PageRole::CapabilityContainer, Some(_)) => Holds::CapabilityContainer,
            (PageRole::Seal(Slot::A) | PageRole::Payload(Slot::A, _), Some(_)) if place.is_some() => Holds::SlotA,
            (PageRole::Seal(Slot::B) | PageRole::Payload(Slot::B, _), Some(_)) if place.is_some() => Holds::SlotB,
            (_, Some([0, 0, 0, 0])) => Holds::Blank,
            (PageRole::Front, Some(_)) if place.is_some() => Holds::Front,
            (PageRole::Seal(_) | PageRole::Payload(..) | PageRole::Front, Some(_)) => Holds::Foreign,
        };
        let told = if is_secret { secret.filter(|_| with_keys) } else { *data };
        PageAnswer { page, holds, data: told.filter(|_| contents).map(RawBytes) }
    };
    (0..).zip(memory).map(answer).collect()
}

/// Whether a page holds a password or a key.
fn is_secret(kind: Type2Kind, page: u8) -> bool {
    let last = kind.pages() - 1;
    match kind {
        Type2Kind::Ultralight => false,
        Type2Kind::UltralightC => page >= 44,
        Type2Kind::UltralightEv1Small
        | Type2Kind::UltralightEv1Large
        | Type2Kind::Ntag213
        | Type2Kind::Ntag215
        | Type2Kind::Ntag216 => page == last || page == last - 1,
    }
}

/// The pages with this property's password or key, as they were written.
fn secrets(kind: Type2Kind, keys: &CardKeys) -> Vec<(u8, [u8; 4])> {
    if kind.has_password() {
        let [p, q] = *keys.pack().expose();
        let last = kind.pages() - 1;
        return vec![(last - 1, *keys.password().expose()), (last, [p, q, 0, 0])];
    }
    if kind == Type2Kind::UltralightC {
        return (44..).zip(keys.ultralight_c_key().to_pages()).map(|(page, data)| (page, *data.expose())).collect();
    }
    Vec::new()
}

fn holds(memory: &ClassicMemory, block: BlockNumber, data: &[u8; 16], ours: bool) -> Holds {
    match ocl1::role(block) {
        Role::Manufacturer => return Holds::Manufacturer,
        Role::Trailer(_) => return Holds::Trailer,
        Role::Directory if is_directory(memory) => return Holds::Directory,
        Role::Seal(Slot::A) | Role::Payload(Slot::A, _) if ours => return Holds::SlotA,
        Role::Seal(Slot::B) | Role::Payload(Slot::B, _) if ours => return Holds::SlotB,
        Role::Directory | Role::Seal(_) | Role::Payload(..) | Role::Unused => {}
    }
    if *data == [0; 16] { Holds::Blank } else { Holds::Foreign }
}

/// Whether blocks 1 and 2 hold a directory, anybody's. Two blocks of zero have a checksum that does not hold.
fn is_directory(memory: &ClassicMemory) -> bool {
    let blocks = (memory.block(BlockNumber::new(1)), memory.block(BlockNumber::new(2)));
    matches!(blocks, (Some(one), Some(two)) if Mad::from_blocks([one, two]).is_some())
}
