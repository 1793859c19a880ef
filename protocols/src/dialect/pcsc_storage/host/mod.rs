//! The daemon's end: card commands as APDUs to a reader that carries them out.

mod card;
mod login;

use super::profiles::{Direct, Feedback, FirmwareQuestion, LIST_TWO, LISTED, Profile};
use super::{Learnt, signals};
use crate::apdu::{Apdu, Cause, Response, StatusWord, instruction};
use crate::atr;
use crate::command::{CardCommand, CardReply, DialectError, ReaderInfo, Secret};
use crate::dialect::{CardDialect, CardFailure, CardInput, CardOutput};
use crate::family::classic::{BlockNumber, SectorKey, SectorNumber};
use crate::family::{CardKind, identify};
use crate::id::{Activation, AtrCard, Detection, Target, Uid};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use card::Ask;
use login::Login;

/// What an empty slot is left with, and what every new card has: no secret.
const DUMMY: [u8; 6] = SectorKey::TRANSPORT;

/// Whether there is a connection to a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Apart,
    Joined,
    /// A command was abandoned: perhaps.
    Unknown,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selection {
    Nothing,
    Several,
    /// The card can be told something.
    Active(Target),
    /// A command failed; the card must be started anew and looked at first.
    Lost(Target),
}

/// Why it is asked whether the card is still there.
enum Doubt {
    /// No slot took the key.
    NoSlot(Login),
    /// The sector was not opened.
    Login(Login, Trouble),
    /// A block was not read or written.
    Access(u8, Trouble),
    /// The card has refused, or was not there.
    Refused(DialectError),
}

/// What the card is started anew for.
enum Next {
    Login(Login),
    Ask(Ask),
}

/// How a command to the card went wrong.
#[derive(Clone, Copy)]
enum Trouble {
    Status(StatusWord),
    /// Fewer than two bytes, or data of the wrong length, in answer to this instruction.
    Malformed(u8),
    NotTransacted,
}

/// What power is for.
enum Power {
    Look,
    /// Look, after the cards were counted; `None` where that told nothing.
    Counted(Option<Detection>),
    LookAgain,
    Relist(Next),
    Reset,
}

/// What the last output is for.
enum Stage {
    Idle,
    Firmware(FirmwareQuestion),
    Connect(Power),
    PowerCycle(Power),
    Count,
    Uid { again: bool },
    Relist(Next),
    LoadKey(Login),
    Authenticate(Login),
    Read,
    Write,
    Ask(Ask),
    Presence(Doubt),
    Overwrite(u8),
    Disconnect,
    Signal(Feedback),
}

/// The host side of a reader with storage card commands.
///
/// APDUs when nothing goes wrong: `Detect` one, `Authenticate` one, and one more for a key that is not in its slot
/// yet, `UltralightCAuth` two, `FastRead` one for each 60 pages, everything else that is said to a card one, `Release` one
/// for each slot that held a secret; the rest none.
///
/// A key is loaded in the transaction in which it is used, and only into volatile memory. A key that is still in a slot
/// when the card leaves can only be overwritten at the next card, since readers take APDUs with a card only.
pub struct PcscStorageHost {
    profile: &'static Profile,
    learnt: Learnt,
    line: Line,
    selection: Selection,
    open_sector: Option<SectorNumber>,
    /// What the reader made of the card.
    atr_card: AtrCard,
    /// The cards of this connection were counted, and there was one.
    counted: bool,
    /// Counting told nothing; if the card is there after all, the reader cannot count.
    count_failed: bool,
    /// What was loaded since power came, by P2.
    loaded: BTreeMap<u8, SectorKey>,
    /// Slots that may hold a secret, by P2.
    dirty: BTreeSet<u8>,
    stage: Stage,
    output: Option<CardOutput>,
}

impl PcscStorageHost {
    /// A host for a reader of this profile, with what an earlier one has found out about it.
    pub fn new(profile: &'static Profile, learnt: Learnt) -> Self {
        Self {
            profile,
            learnt,
            line: Line::Apart,
            selection: Selection::Nothing,
            open_sector: None,
            atr_card: AtrCard::Other,
            counted: false,
            count_failed: false,
            loaded: BTreeMap::new(),
            dirty: BTreeSet::new(),
            stage: Stage::Idle,
            output: None,
        }
    }

    /// What was found out about the reader.
    pub fn learnt(&self) -> Learnt {
        self.learnt
    }

    fn put(&mut self, stage: Stage, output: CardOutput) {
        self.stage = stage;
        self.output = Some(output);
    }

    fn transmit(&mut self, stage: Stage, apdu: Apdu) {
        self.put(stage, CardOutput::Transmit(apdu));
    }

    fn finish(&mut self, result: Result<CardReply, DialectError>) {
        self.put(Stage::Idle, CardOutput::Done(result));
    }

    fn fail(&mut self, error: DialectError) {
        self.finish(Err(error));
    }

    fn detected(&mut self, detection: Detection) {
        self.selection = match detection {
            Detection::None => Selection::Nothing,
            Detection::One(target) => Selection::Active(target),
            Detection::Several => Selection::Several,
        };
        self.finish(Ok(CardReply::Detected(detection)));
    }

    fn forget_card(&mut self) {
        self.selection = Selection::Nothing;
        self.open_sector = None;
    }

    /// The card no longer listens, whatever the reason.
    fn lose_card(&mut self) {
        self.open_sector = None;
        if let Selection::Active(target) = self.selection {
            self.selection = Selection::Lost(target);
        }
    }

    fn part(&mut self) {
        self.line = Line::Apart;
        self.counted = false;
        self.loaded.clear();
        self.lose_card();
    }

    /// Power on, or off and on.
    fn power(&mut self, power: Power) {
        match self.line {
            Line::Joined => self.put(Stage::PowerCycle(power), CardOutput::PowerCycle),
            Line::Apart | Line::Unknown => self.put(Stage::Connect(power), CardOutput::Connect),
        }
    }

    fn connected(&mut self, atr: &[u8], power: Power) {
        let was_unknown = self.line == Line::Unknown;
        self.line = Line::Joined;
        // Nobody knows in which state an abandoned command has left the card.
        if was_unknown && matches!(power, Power::Relist(_) | Power::Reset) {
            self.power(power);
        } else {
            self.powered(atr, power);
        }
    }

    fn powered(&mut self, atr: &[u8], power: Power) {
        self.atr_card = atr::parse(atr, self.profile.names);
        match power {
            Power::Look if self.must_count() => self.transmit(Stage::Count, Apdu::direct(&LIST_TWO)),
            Power::Look => self.transmit(Stage::Uid { again: false }, Apdu::uid()),
            Power::LookAgain | Power::Counted(None) => self.transmit(Stage::Uid { again: true }, Apdu::uid()),
            Power::Counted(Some(detection)) => {
                self.counted = matches!(detection, Detection::One(_));
                self.detected(detection);
            }
            Power::Relist(next) => self.transmit(Stage::Relist(next), Apdu::uid()),
            Power::Reset => self.finish(Ok(CardReply::Done)),
        }
    }

    /// Two cards matter where one of them could be written, and counting has a price: it takes the chip out of the
    /// firmware's hands, and power has to go off and on before the firmware knows the card again.
    ///
    /// UNVERIFIED: that an ACR122U needs that; that it counts cards of type A while its own polling runs. A reader with
    /// two cards on it would tell. Where counting fails, the reader is used without.
    fn must_count(&self) -> bool {
        // What it is does not depend on the UID.
        let can_be_written = || {
            let kind = Uid::new(&[0; 4]).map(|uid| identify(&self.target(uid)));
            matches!(kind, Some(CardKind::Classic(_) | CardKind::Type2))
        };
        self.profile.direct == Some(Direct::Pn532) && !self.learnt.direct_refused && !self.counted && can_be_written()
    }

    fn target(&self, uid: Uid) -> Target {
        Target { uid, activation: Activation::Atr(self.atr_card) }
    }

    // Detect.

    fn cards_counted(&mut self, response: &[u8]) {
        let listed = listed(response);
        self.count_failed = listed == Listed::Unreadable;
        let detection = match listed {
            Listed::One(uid) => Some(Detection::One(self.target(uid))),
            Listed::Several => Some(Detection::Several),
            Listed::Nothing | Listed::Unreadable => None,
        };
        self.put(Stage::PowerCycle(Power::Counted(detection)), CardOutput::PowerCycle);
    }

    fn uid_told(&mut self, response: &[u8], again: bool) {
        let Ok(response) = Response::parse(response) else {
            return if again { self.detected(Detection::None) } else { self.look_again() };
        };
        match (response.status.cause(), Uid::new(response.data)) {
            // 6282 says that the UID is shorter than Le, which is 256 here.
            (Cause::Ok | Cause::EndReached, Some(uid)) => {
                self.learnt.direct_refused |= core::mem::take(&mut self.count_failed);
                self.detected(Detection::One(self.target(uid)));
            }
            (Cause::Failed, _) if !again => self.look_again(),
            // A card that has no UID, or one of a length that no card of type A has.
            _ => self.fail(DialectError::NoUid),
        }
    }

    fn look_again(&mut self) {
        self.counted = false;
        self.put(Stage::PowerCycle(Power::LookAgain), CardOutput::PowerCycle);
    }

    // Read and write.

    /// Tells the card something, or refuses for what is known without asking.
    fn in_open_sector(&mut self, stage: Stage, block: BlockNumber, apdu: Apdu) {
        if self.selection == Selection::Several {
            return self.fail(DialectError::Several);
        }
        if self.open_sector != Some(block.sector()) {
            return self.fail(DialectError::NotAuthenticated);
        }
        self.transmit(stage, apdu);
    }

    fn block_read(&mut self, response: &[u8]) {
        let trouble = match Response::parse(response) {
            Ok(Response { data, status: StatusWord::OK }) => match data.try_into() {
                Ok(block) => return self.finish(Ok(CardReply::Block(block))),
                Err(_) => Trouble::Malformed(instruction::READ_BINARY),
            },
            Ok(Response { status, .. }) => Trouble::Status(status),
            Err(_) => Trouble::Malformed(instruction::READ_BINARY),
        };
        self.doubt(Doubt::Access(instruction::READ_BINARY, trouble));
    }

    fn block_written(&mut self, response: &[u8]) {
        let trouble = match Response::parse(response) {
            Ok(Response { status: StatusWord::OK, .. }) => return self.finish(Ok(CardReply::Done)),
            Ok(Response { status, .. }) => Trouble::Status(status),
            Err(_) => Trouble::Malformed(instruction::UPDATE_BINARY),
        };
        self.doubt(Doubt::Access(instruction::UPDATE_BINARY, trouble));
    }

    fn access_refused(&mut self, command: u8, trouble: Trouble) {
        let status = match trouble {
            Trouble::Status(status) => status,
            Trouble::Malformed(command) => return self.fail(DialectError::UnexpectedAnswer { command }),
            Trouble::NotTransacted => return self.fail(DialectError::NoAnswer),
        };
        self.fail(match status.cause() {
            Cause::Failed
            | Cause::NotCarriedOut
            | Cause::NotNow
            | Cause::SecurityStatus
            | Cause::KeyStore
            | Cause::WrongCardType
            | Cause::NoSuchBlock => DialectError::Refused,
            Cause::NotSupported | Cause::WrongLength | Cause::WrongParameters => DialectError::Unsupported,
            Cause::Ok | Cause::Corrupted | Cause::EndReached | Cause::WrongLe { .. } => {
                DialectError::UnexpectedAnswer { command }
            }
            Cause::MemoryFailure | Cause::Other => DialectError::Status { status: status.0 },
        });
    }

    /// Asks whether the card is still there, before anything is said about a failure.
    ///
    /// UNVERIFIED: that `FF CA` asks the card and is not answered from the reader's memory. If it is, a card that has just
    /// left looks like a wrong key once; the next command starts the card anew and finds it gone.
    fn doubt(&mut self, doubt: Doubt) {
        self.lose_card();
        self.transmit(Stage::Presence(doubt), Apdu::uid());
    }

    fn doubt_settled(&mut self, response: &[u8], doubt: Doubt) {
        let (Selection::Active(target) | Selection::Lost(target)) = self.selection else {
            return self.fail(DialectError::CardGone);
        };
        match uid_of(response) {
            Some(uid) if uid == target.uid => match doubt {
                Doubt::NoSlot(login) => self.no_slot(&login),
                Doubt::Login(login, trouble) => self.login_refused(login, trouble),
                Doubt::Access(command, trouble) => self.access_refused(command, trouble),
                Doubt::Refused(error) => self.fail(error),
            },
            Some(_) => {
                self.lose_card();
                self.fail(DialectError::CardChanged);
            }
            None => {
                self.lose_card();
                self.fail(DialectError::CardGone);
            }
        }
    }

    // Release, signal, firmware.

    fn release(&mut self) {
        self.forget_card();
        self.loaded.clear();
        match (self.line, self.dirty.first()) {
            (Line::Apart, _) => self.finish(Ok(CardReply::Done)),
            (Line::Joined | Line::Unknown, Some(p2)) => {
                let p2 = *p2;
                self.transmit(Stage::Overwrite(p2), Apdu::load_key(p2, &SectorKey::new(DUMMY)));
            }
            (Line::Joined | Line::Unknown, None) => self.put(Stage::Disconnect, CardOutput::Disconnect),
        }
    }

    fn signal(&mut self, signal: crate::command::Signal) {
        let Some(feedback) = self.profile.feedback.filter(|_| !self.learnt.feedback_refused) else {
            return self.fail(DialectError::Unsupported);
        };
        let bytes = signals::command(feedback, signal);
        if feedback == Feedback::LedAndBuzzer && self.line == Line::Joined {
            self.transmit(Stage::Signal(feedback), Apdu::new(bytes));
        } else if self.learnt.escape_refused {
            self.fail(DialectError::Unsupported);
        } else {
            self.put(Stage::Signal(feedback), CardOutput::Escape(bytes));
        }
    }

    fn signalled(&mut self, response: &[u8], feedback: Feedback) {
        if signals::is_carried_out(feedback, response) {
            return self.finish(Ok(CardReply::Done));
        }
        // No status word is no refusal: the card left meanwhile, or the reader was not ready.
        self.learnt.feedback_refused |= Response::parse(response).is_ok();
        self.fail(DialectError::Unsupported);
    }

    fn open(&mut self) {
        self.forget_card();
        self.loaded.clear();
        match self.profile.firmware.filter(|_| !self.learnt.escape_refused) {
            Some(question) => {
                self.put(Stage::Firmware(question), CardOutput::Escape(signals::firmware_question(question)));
            }
            None => self.reader(None),
        }
    }

    fn reader(&mut self, firmware: Option<String>) {
        let firmware = firmware.unwrap_or_else(|| "unknown".to_string());
        self.finish(Ok(CardReply::Reader(ReaderInfo { model: self.profile.description.to_string(), firmware })));
    }

    // What comes back.

    fn responded(&mut self, stage: Stage, bytes: &[u8]) {
        match stage {
            Stage::Firmware(question) => self.reader(signals::firmware(question, bytes)),
            Stage::Count => self.cards_counted(bytes),
            Stage::Uid { again } => self.uid_told(bytes, again),
            Stage::Relist(next) => self.relisted(bytes, next),
            Stage::LoadKey(login) => self.key_loaded(bytes, login),
            Stage::Authenticate(login) => self.authenticated(bytes, login),
            Stage::Read => self.block_read(bytes),
            Stage::Write => self.block_written(bytes),
            Stage::Ask(ask) => self.card_answered(ask, bytes),
            Stage::Presence(doubt) => self.doubt_settled(bytes, doubt),
            // Refused or not, there is nothing else to be done about it.
            Stage::Overwrite(p2) => {
                self.dirty.remove(&p2);
                self.release();
            }
            Stage::Signal(feedback) => self.signalled(bytes, feedback),
            Stage::Idle | Stage::Connect(_) | Stage::PowerCycle(_) | Stage::Disconnect => {
                self.fail(DialectError::UnexpectedAnswer { command: 0 });
            }
        }
    }

    fn failed(&mut self, stage: Stage, failure: CardFailure) {
        match failure {
            CardFailure::NoCard | CardFailure::Mute | CardFailure::InUse | CardFailure::Silent => self.part(),
            CardFailure::Reset => {
                self.line = Line::Joined;
                self.counted = false;
                self.loaded.clear();
                self.lose_card();
            }
            CardFailure::NotTransacted | CardFailure::Refused => {}
        }
        let is_look = matches!(
            stage,
            Stage::Connect(Power::Look | Power::LookAgain | Power::Counted(_))
                | Stage::PowerCycle(Power::Look | Power::LookAgain | Power::Counted(_))
                | Stage::Count
                | Stage::Uid { .. }
        );
        match (stage, failure) {
            (Stage::Firmware(_), failure) => {
                self.learnt.escape_refused |= failure == CardFailure::Refused;
                self.reader(None);
            }
            (Stage::Signal(_), failure) => {
                self.learnt.escape_refused |= failure == CardFailure::Refused;
                self.fail(DialectError::Unsupported);
            }
            // A failure to leave in order is nobody's trouble: the card is let go of all the same.
            (
                Stage::Overwrite(_),
                CardFailure::NoCard | CardFailure::Mute | CardFailure::InUse | CardFailure::Silent,
            )
            | (Stage::Disconnect, _) => {
                self.part();
                self.finish(Ok(CardReply::Done));
            }
            (Stage::Overwrite(_), CardFailure::Reset | CardFailure::NotTransacted | CardFailure::Refused) => {
                self.put(Stage::Disconnect, CardOutput::Disconnect);
            }
            (
                Stage::Connect(Power::Reset) | Stage::PowerCycle(Power::Reset),
                CardFailure::NoCard | CardFailure::Mute,
            ) => {
                self.finish(Ok(CardReply::Done));
            }
            (_, CardFailure::NoCard) if is_look => self.detected(Detection::None),
            (Stage::Count, CardFailure::NotTransacted) => {
                self.count_failed = true;
                self.put(Stage::PowerCycle(Power::Counted(None)), CardOutput::PowerCycle);
            }
            (Stage::Uid { again: false }, CardFailure::NotTransacted) => self.look_again(),
            (Stage::LoadKey(login) | Stage::Authenticate(login), CardFailure::NotTransacted) => {
                self.doubt(Doubt::Login(login, Trouble::NotTransacted));
            }
            (Stage::Read, CardFailure::NotTransacted) => {
                self.doubt(Doubt::Access(instruction::READ_BINARY, Trouble::NotTransacted));
            }
            (Stage::Ask(_), CardFailure::NotTransacted) => {
                self.doubt(Doubt::Access(instruction::ACS, Trouble::NotTransacted));
            }
            (Stage::Write, CardFailure::NotTransacted) => {
                self.doubt(Doubt::Access(instruction::UPDATE_BINARY, Trouble::NotTransacted));
            }
            (_, failure) => {
                self.lose_card();
                self.fail(match failure {
                    CardFailure::NoCard => DialectError::CardGone,
                    CardFailure::Mute => DialectError::CardMute,
                    CardFailure::Reset => DialectError::CardReset,
                    CardFailure::InUse => DialectError::InUse,
                    CardFailure::NotTransacted | CardFailure::Silent => DialectError::NoAnswer,
                    CardFailure::Refused => DialectError::Unsupported,
                });
            }
        }
    }
}

impl CardDialect for PcscStorageHost {
    fn begin(&mut self, command: &CardCommand) {
        if !matches!(self.stage, Stage::Idle) {
            self.lose_card();
            self.loaded.clear();
            self.counted = false;
            self.line = Line::Unknown;
        }
        self.count_failed = false;
        match command {
            CardCommand::Open => self.open(),
            // The reader says by itself when a card comes: there is nothing to search for.
            CardCommand::Detect | CardCommand::Search => {
                self.forget_card();
                self.put(Stage::Connect(Power::Look), CardOutput::Connect);
            }
            CardCommand::ResetField => {
                self.forget_card();
                match self.line {
                    Line::Apart => self.finish(Ok(CardReply::Done)),
                    Line::Joined | Line::Unknown => self.power(Power::Reset),
                }
            }
            CardCommand::Authenticate { sector, key } => self.login(*sector, key),
            CardCommand::Read(block) => self.in_open_sector(Stage::Read, *block, Apdu::read(*block)),
            CardCommand::Write(block, data) => {
                let block = block.number();
                self.in_open_sector(Stage::Write, block, Apdu::write(block, data));
            }
            CardCommand::WriteTrailer(sector, trailer) => {
                let (block, data) = (sector.trailer(), zeroize::Zeroizing::new(trailer.to_bytes()));
                self.in_open_sector(Stage::Write, block, Apdu::write(block, &data));
            }
            CardCommand::GetVersion => self.ask(Ask::Version),
            CardCommand::ReadPages(first) => self.ask(Ask::Pages(*first)),
            CardCommand::FastRead { first, last } => self.ask(Ask::fast_read(*first, *last)),
            CardCommand::WritePage(page, data) => self.ask(Ask::Write(page.number(), Secret::new(*data))),
            CardCommand::WriteConfigPage(page, data) => self.ask(Ask::Write(page.number(), data.clone())),
            CardCommand::PasswordAuth(password) => self.ask(Ask::Password(password.clone())),
            CardCommand::UltralightCAuth { key, random } => {
                self.ask(Ask::Authenticate { key: key.clone(), random: *random });
            }
            CardCommand::SelectApplication(name) => self.ask(Ask::Application(name.clone())),
            // What a reader's own firmware makes of registers that are changed behind its back no manual tells.
            CardCommand::ProbeBackdoor => self.fail(DialectError::Unsupported),
            CardCommand::Release | CardCommand::Close => self.release(),
            CardCommand::Signal(signal) => self.signal(*signal),
        }
    }

    fn handle(&mut self, input: CardInput<'_>) {
        let stage = core::mem::replace(&mut self.stage, Stage::Idle);
        match (input, stage) {
            (CardInput::Powered(atr), Stage::Connect(power)) => self.connected(atr, power),
            (CardInput::Powered(atr), Stage::PowerCycle(power)) => {
                self.loaded.clear();
                self.powered(atr, power);
            }
            (CardInput::Response(bytes), stage) => self.responded(stage, bytes),
            (CardInput::Disconnected, Stage::Disconnect) => {
                self.part();
                self.finish(Ok(CardReply::Done));
            }
            (CardInput::Failed(failure), stage) => self.failed(stage, failure),
            // An answer to something else: nothing is known any more.
            (CardInput::Powered(_) | CardInput::Disconnected, _) => {
                self.part();
                self.line = Line::Unknown;
                self.fail(DialectError::UnexpectedAnswer { command: 0 });
            }
        }
    }

    fn poll(&mut self) -> CardOutput {
        self.output.take().unwrap_or(CardOutput::Done(Err(DialectError::NoAnswer)))
    }
}

/// The UID in the answer to `FF CA 00 00 00`, if it is one.
fn uid_of(response: &[u8]) -> Option<Uid> {
    let response = Response::parse(response).ok()?;
    matches!(response.status.cause(), Cause::Ok | Cause::EndReached).then_some(response.data).and_then(Uid::new)
}

/// What the chip inside has found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Nothing,
    One(Uid),
    Several,
    Unreadable,
}

/// Reads the answer to `InListPassiveTarget`: `D5 4B`, number of cards, then for each its number, ATQA, SAK, UID with its
/// length, perhaps an ATS. A copy of the reader may list one card several times (mfoc issue 80).
fn listed(response: &[u8]) -> Listed {
    let Ok(Response { data: [0xD5, LISTED, count, cards @ ..], status: StatusWord::OK }) = Response::parse(response)
    else {
        return Listed::Unreadable;
    };
    let first = listed_card(cards);
    let second = first.and_then(|(_, rest)| listed_card(rest));
    match (count, first, second) {
        (0, _, _) => Listed::Nothing,
        (1, Some((uid, _)), _) => Listed::One(uid),
        (2, Some((first, _)), Some((second, _))) if first == second => Listed::One(first),
        (2, _, _) => Listed::Several,
        _ => Listed::Unreadable,
    }
}

/// The UID of the first card, and what follows it.
fn listed_card(cards: &[u8]) -> Option<(Uid, &[u8])> {
    let [_number, _atqa_high, _atqa_low, _sak, len, rest @ ..] = cards else { return None };
    let (uid, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((Uid::new(uid)?, rest))
}
