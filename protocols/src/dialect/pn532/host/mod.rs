//! The daemon's end of the line: card commands as exchanges with the chip.

mod backdoor;
mod card;

use super::link::{Link, Patience, Trouble};
use super::{BAUD, BAUD_RATES, Command, STATUS_FLAGS, STATUS_SYNTAX_ERROR, Status, mifare};
use crate::command::{CardCommand, CardReply, DialectError, ReaderInfo, Secret};
use crate::dialect::pn532::frame::{Frame, Payload};
use crate::dialect::{Dialect, Input, Output};
use crate::family::classic::{BlockNumber, Key, SectorNumber};
use crate::id::{Detection, Target, Uid};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use backdoor::{Registers, Step};
use card::Ask;
use core::time::Duration;

/// Wakes a sleeping chip and is skipped by an awake one. Source: libnfc `libnfc/drivers/pn532_uart.c`.
const WAKE_UP: [u8; 16] = [0x55, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What is tried to find the chip: its speed after power-up, then those that a program may have left it at, then once
/// more with the patience that a slow host needs, whose first byte from a ttyUSB can take more than a second (comment
/// in nfcpy `src/nfc/clf/pn532.py`). With nothing there it takes 2.6 s.
const OPENINGS: [(u32, Patience); 6] = [
    (BAUD, QUICK),
    (921_600, QUICK),
    (460_800, QUICK),
    (230_400, QUICK),
    (9_600, QUICK),
    (
        BAUD,
        Patience {
            ack: Duration::from_millis(1500),
            resends: 0,
            answer: Duration::from_millis(500),
            ..Patience::NORMAL
        },
    ),
];
const QUICK: Patience = Patience { answer: Duration::from_millis(300), ..Patience::NORMAL };

/// Retries of a look: at least 1, since a resting card misses the first request.
const LOOK_RETRIES: u8 = 2;
/// Retries of a search. Never FF, with which a search ends only when a card comes. How long one try takes no document
/// tells; in the model of time it is 5 ms, and these make 0.4 s. UNVERIFIED on a real chip: whoever searches must not
/// count on it.
const SEARCH_RETRIES: u8 = 0x4F;
/// What the chip has after power-up. Source: libnfc `pn53x_set_property_bool`.
const ENDLESS_RETRIES: u8 = 0xFF;

/// How long the field stays off: a card needs 5 ms without power to forget (ISO/IEC 14443-3, 5.4), and the margin.
const FIELD_OFF: Duration = Duration::from_millis(10);
/// How long the chip takes to switch its line speed. nfcpy waits 1 ms.
const SPEED_CHANGE: Duration = Duration::from_millis(10);
/// Wake-up sources of the sleep at the end: I²C, GPIO, SPI, serial line. Source: libnfc `pn53x_PowerDown`.
const WAKE_UP_SOURCES: u8 = 0xF0;
/// IC byte of the firmware version. Source: libnfc `pn53x_decode_firmware_version`.
const IC_PN532: u8 = 0x32;

/// What the chip has listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selection {
    Nothing,
    Several,
    /// The card can be told something.
    Active(Target),
    /// A failed command has deselected the card; it must be listed again first.
    Lost(Target),
}

/// What the exchange that runs is for.
enum Job {
    Idle,
    Wake { opening: usize },
    LowerSpeed,
    Version,
    Opened(ReaderInfo),
    Retries { retries: u8, then: Listing },
    Detect,
    FieldOff,
    FieldOn,
    Relist { target: Target, then: Then },
    Authenticate { sector: SectorNumber },
    Ask(Ask),
    Backdoor(Step),
    Read,
    Write,
    Release,
    CloseFieldOff,
    PowerDown,
}

/// What the cards are listed for.
enum Listing {
    Detect,
    Relist { target: Target, then: Then },
}

/// What a card is selected again for.
enum Then {
    Authenticate {
        sector: SectorNumber,
        key: Key,
    },
    Ask(Ask),
    /// To tell a card that has refused, or answered, from one that has left.
    Say(Result<CardReply, DialectError>),
    /// To send it to HALT, and knock.
    Probe,
}

/// The host side of the PN532.
///
/// Round trips when nothing goes wrong: `Open` four, `ResetField`, `Close` and `UltralightCAuth` two, `FastRead` one for
/// each 60 pages, `ProbeBackdoor` ten, everything else one; and one more for the first look after a search and the first
/// search after a look. A refused version, password or key takes one more, to see that the card is still there.
///
/// A command whose ACK is lost is sent again and may be carried out twice. That is harmless but for a trailer that
/// takes away the right to write it: the second write is then `Refused` though the first one is on the card. Whoever
/// writes trailers verifies them by logging in, whatever the answer.
pub struct Pn532Host {
    link: Link,
    job: Job,
    selection: Selection,
    open_sector: Option<SectorNumber>,
    /// How often the chip tries again to find a card, as it was last told.
    retries: u8,
    /// Registers that are not, or perhaps not, as every other command needs them: they come first.
    altered: Option<Registers>,
    result: Option<Result<CardReply, DialectError>>,
}

impl Pn532Host {
    /// A host that knows nothing of its chip.
    pub fn new() -> Self {
        Self {
            link: Link::default(),
            job: Job::Idle,
            selection: Selection::Nothing,
            open_sector: None,
            retries: ENDLESS_RETRIES,
            altered: None,
            result: None,
        }
    }

    fn start(&mut self, job: Job, command: Payload) {
        self.job = job;
        self.link.start(command, Patience::NORMAL);
    }

    /// Lists the cards, when the chip knows how often to try.
    fn list(&mut self, retries: u8, listing: Listing) {
        if self.retries != retries {
            // As long as it has not said so, it may have either.
            self.retries = ENDLESS_RETRIES;
            return self.start(Job::Retries { retries, then: listing }, retry(retries));
        }
        let patience = if retries == SEARCH_RETRIES { Patience::SEARCH } else { Patience::NORMAL };
        self.job = match listing {
            Listing::Detect => Job::Detect,
            Listing::Relist { target, then } => Job::Relist { target, then },
        };
        // Up to two targets, 106 kbit/s type A.
        self.link.start(Payload::of([Command::InListPassiveTarget.into(), 0x02, 0x00]), patience);
    }

    fn finish(&mut self, result: Result<CardReply, DialectError>) {
        self.job = Job::Idle;
        self.result = Some(result);
    }

    fn wake(&mut self, opening: usize) {
        let Some((baud, patience)) = OPENINGS.get(opening) else {
            let heard = self.link.heard_something();
            return self.finish(Err(if heard { DialectError::WrongDialect } else { DialectError::NoAnswer }));
        };
        self.job = Job::Wake { opening };
        self.link.put(Output::SetBaud(*baud));
        self.link.put(Output::Send(WAKE_UP.to_vec()));
        self.link.start_without_barrier(Payload::of([Command::SamConfiguration.into(), 0x01]), *patience);
    }

    /// Tells the selected card something, or refuses for what is known without asking.
    fn in_open_sector(&mut self, job: Job, block: BlockNumber, command: u8, data: &[u8]) {
        if self.selection == Selection::Several {
            return self.finish(Err(DialectError::Several));
        }
        if self.open_sector != Some(block.sector()) {
            return self.finish(Err(DialectError::NotAuthenticated));
        }
        self.start(job, exchange(command, block, data));
    }

    fn authenticate(&mut self, target: &Target, sector: SectorNumber, key: &Key) {
        let command = match key {
            Key::A(_) => mifare::AUTHENTICATE_A,
            Key::B(_) => mifare::AUTHENTICATE_B,
        };
        self.open_sector = None;
        let data = zeroize::Zeroizing::new([&key.secret().expose()[..], &target.uid.last_four()].concat());
        self.start(Job::Authenticate { sector }, exchange(command, sector.first_block(), &data));
    }

    /// The card no longer listens, whatever the reason.
    fn lose_card(&mut self) {
        self.open_sector = None;
        if let Selection::Active(target) = self.selection {
            self.selection = Selection::Lost(target);
        }
    }

    fn answered(&mut self, result: Result<Payload, Trouble>) {
        let job = core::mem::replace(&mut self.job, Job::Idle);
        let answer = match (&job, result) {
            (_, Ok(answer)) => answer,
            (Job::Wake { opening }, Err(trouble)) => return self.wake_failed(*opening, trouble),
            (Job::LowerSpeed | Job::Version | Job::Opened(_), Err(Trouble::SyntaxError)) => {
                return self.finish(Err(DialectError::WrongDialect));
            }
            (Job::Backdoor(step), Err(trouble)) => return self.probe_failed(step, trouble),
            (_, Err(trouble)) => {
                self.lose_card();
                return self.finish(Err(dialect_error(trouble)));
            }
        };
        match job {
            Job::Idle => {}
            Job::Wake { opening } => self.awake(opening),
            Job::LowerSpeed => self.speed_lowered(),
            Job::Version => self.version(&answer),
            Job::Opened(reader) => {
                self.retries = LOOK_RETRIES;
                self.opened(reader);
            }
            Job::Retries { retries, then } => {
                self.retries = retries;
                self.list(retries, then);
            }
            Job::Detect => self.detected(&answer),
            Job::FieldOff => {
                self.link.put(Output::Pause(FIELD_OFF));
                self.start(Job::FieldOn, field(true));
            }
            Job::Relist { target, then } => self.relisted(&answer, &target, then),
            Job::Ask(ask) => self.card_answered(ask, &answer),
            Job::Backdoor(step) => self.probed(step, &answer),
            Job::Authenticate { sector } => self.authenticated(&answer, sector),
            Job::Read => self.block_read(&answer),
            Job::Write => {
                let result = self.card_said(&answer).map(|_| CardReply::Done);
                self.finish(result);
            }
            Job::CloseFieldOff => {
                self.start(Job::PowerDown, Payload::of([Command::PowerDown.into(), WAKE_UP_SOURCES]));
            }
            // The status of a release says whether there was a card to let go of, which is all the same.
            Job::FieldOn | Job::Release | Job::PowerDown => self.finish(Ok(CardReply::Done)),
        }
    }

    fn wake_failed(&mut self, opening: usize, trouble: Trouble) {
        match trouble {
            // Something knows the frames and not the command: another chip of the family.
            Trouble::SyntaxError => self.finish(Err(DialectError::WrongDialect)),
            Trouble::NoAnswer | Trouble::Garbled { .. } => self.wake(opening + 1),
        }
    }

    fn awake(&mut self, opening: usize) {
        // What an earlier program asked for may be answered after this.
        self.link.distrust();
        let at_power_up_speed = OPENINGS.get(opening).is_some_and(|(baud, _)| *baud == BAUD);
        let code = BAUD_RATES.iter().find_map(|(code, baud)| (*baud == BAUD).then_some(*code));
        match code {
            Some(code) if !at_power_up_speed => {
                self.start(Job::LowerSpeed, Payload::of([Command::SetSerialBaudRate.into(), code]));
            }
            Some(_) | None => self.start(Job::Version, Payload::of([Command::GetFirmwareVersion.into()])),
        }
    }

    /// The answer came at the old speed; the chip changes after our ACK.
    fn speed_lowered(&mut self) {
        self.link.put(Output::Send(Frame::Ack.encode()));
        self.link.put(Output::Pause(SPEED_CHANGE));
        self.link.put(Output::SetBaud(BAUD));
        self.link.distrust();
        self.start(Job::Version, Payload::of([Command::GetFirmwareVersion.into()]));
    }

    fn version(&mut self, answer: &Payload) {
        let [IC_PN532, version, revision, _support] = *answer.parameters() else {
            return self.finish(Err(DialectError::WrongDialect));
        };
        let reader = ReaderInfo { model: "PN532".to_string(), firmware: format!("{version}.{revision}") };
        self.start(Job::Opened(reader), retry(LOOK_RETRIES));
    }

    fn detected(&mut self, answer: &Payload) {
        let found = found(answer);
        self.selection = match found {
            Ok(Detection::One(target)) => Selection::Active(target),
            Ok(Detection::Several) => Selection::Several,
            Ok(Detection::None) | Err(_) => Selection::Nothing,
        };
        self.finish(found.map(CardReply::Detected));
    }

    fn relisted(&mut self, answer: &Payload, target: &Target, then: Then) {
        match found(answer) {
            Ok(Detection::One(now)) if now == *target => {
                self.selection = Selection::Active(*target);
                match then {
                    Then::Authenticate { sector, key } => self.authenticate(target, sector, &key),
                    Then::Ask(ask) => self.tell(ask),
                    Then::Say(result) => self.finish(result),
                    Then::Probe => self.knock_first(*target),
                }
            }
            Ok(Detection::One(_)) => self.finish(Err(DialectError::CardChanged)),
            Ok(Detection::Several) => self.finish(Err(DialectError::Several)),
            Ok(Detection::None) => self.finish(Err(DialectError::CardGone)),
            Err(error) => self.finish(Err(error)),
        }
    }

    fn authenticated(&mut self, answer: &Payload, sector: SectorNumber) {
        let result = self.card_said(answer);
        if result.is_ok() {
            self.open_sector = Some(sector);
        }
        self.finish(result.map(|_| CardReply::Done));
    }

    fn block_read(&mut self, answer: &Payload) {
        let result = self.card_said(answer).and_then(|data| {
            let block = data.as_slice().try_into().map_err(|_| unexpected(Command::InDataExchange))?;
            Ok(CardReply::Block(block))
        });
        self.finish(result);
    }

    /// The card's data from the answer to an InDataExchange. After any other status the card is no longer selected.
    fn card_said(&mut self, answer: &Payload) -> Result<Vec<u8>, DialectError> {
        let data = exchanged(answer, Command::InDataExchange);
        if data.is_err() {
            self.lose_card();
        }
        data.map(<[u8]>::to_vec)
    }
}

impl Default for Pn532Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Dialect for Pn532Host {
    fn begin(&mut self, command: &CardCommand) {
        if self.link.begin() {
            self.lose_card();
        }
        self.job = Job::Idle;
        self.result = None;
        match (&self.altered, command) {
            // A chip that sleeps or has lost its speed hears nothing before it is woken.
            (Some(_), CardCommand::Open) | (None, _) => self.carry_out(command),
            (Some(_), _) => self.put_back_before(command),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        if let Some(result) = self.link.handle(input) {
            self.answered(result);
        }
    }

    fn poll(&mut self) -> Output {
        match self.link.poll() {
            Some(output) => output,
            None => Output::Done(self.result.take().unwrap_or(Err(DialectError::NoAnswer))),
        }
    }
}

impl Pn532Host {
    fn carry_out(&mut self, command: &CardCommand) {
        match command {
            CardCommand::Open => {
                self.selection = Selection::Nothing;
                self.open_sector = None;
                self.retries = ENDLESS_RETRIES;
                self.wake(0);
            }
            CardCommand::Detect | CardCommand::Search => {
                self.selection = Selection::Nothing;
                self.open_sector = None;
                let is_search = *command == CardCommand::Search;
                self.list(if is_search { SEARCH_RETRIES } else { LOOK_RETRIES }, Listing::Detect);
            }
            CardCommand::ResetField => {
                self.selection = Selection::Nothing;
                self.open_sector = None;
                self.start(Job::FieldOff, field(false));
            }
            CardCommand::Authenticate { sector, key } => match self.selection {
                Selection::Nothing => self.finish(Err(DialectError::CardGone)),
                Selection::Several => self.finish(Err(DialectError::Several)),
                Selection::Active(target) => self.authenticate(&target, *sector, key),
                Selection::Lost(target) => {
                    let then = Then::Authenticate { sector: *sector, key: key.clone() };
                    self.list(LOOK_RETRIES, Listing::Relist { target, then });
                }
            },
            CardCommand::Read(block) => self.in_open_sector(Job::Read, *block, mifare::READ, &[]),
            CardCommand::Write(block, data) => {
                self.in_open_sector(Job::Write, block.number(), mifare::WRITE, data);
            }
            CardCommand::WriteTrailer(sector, trailer) => {
                let data = zeroize::Zeroizing::new(trailer.to_bytes());
                self.in_open_sector(Job::Write, sector.trailer(), mifare::WRITE, &data[..]);
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
            CardCommand::ProbeBackdoor => self.probe(),
            CardCommand::Release => {
                self.selection = Selection::Nothing;
                self.open_sector = None;
                // Target 0 is all of them.
                self.start(Job::Release, Payload::of([Command::InRelease.into(), 0x00]));
            }
            CardCommand::Signal(_) => self.finish(Err(DialectError::Unsupported)),
            CardCommand::Close => {
                self.selection = Selection::Nothing;
                self.open_sector = None;
                self.start(Job::CloseFieldOff, field(false));
            }
        }
    }
}

/// InDataExchange with target 1.
fn exchange(command: u8, block: BlockNumber, data: &[u8]) -> Payload {
    let mut bytes = Vec::with_capacity(4 + data.len());
    bytes.extend([Command::InDataExchange.into(), 0x01, command, block.get()]);
    bytes.extend(data);
    // A MIFARE command has at most 16 bytes of data.
    Payload::new(bytes).unwrap_or_else(|| Payload::of([Command::InDataExchange.into()]))
}

/// RFConfiguration, item 5: retries of `ATR_REQ` 0, of `PSL_REQ` 1, of passive activation these.
///
/// Source: libnfc `pn53x_set_property_bool`, `NP_INFINITE_SELECT` off.
fn retry(passive: u8) -> Payload {
    Payload::of([Command::RfConfiguration.into(), 0x05, 0x00, 0x01, passive])
}

/// RFConfiguration, item 1: the field.
fn field(on: bool) -> Payload {
    Payload::of([Command::RfConfiguration.into(), 0x01, u8::from(on)])
}

/// Reads a list answer: number of targets, then for each its number, ATQA, SAK, UID with its length, perhaps an ATS.
fn found(answer: &Payload) -> Result<Detection, DialectError> {
    match answer.parameters() {
        [0x00, ..] => Ok(Detection::None),
        [0x01, _number, atqa_high, atqa_low, sak, len, rest @ ..] => {
            let uid = rest.get(..usize::from(*len)).and_then(Uid::new);
            let uid = uid.ok_or(unexpected(Command::InListPassiveTarget))?;
            Ok(Detection::One(Target::type_a(uid, [*atqa_high, *atqa_low], *sak)))
        }
        [0x02, ..] => Ok(Detection::Several),
        _ => Err(unexpected(Command::InListPassiveTarget)),
    }
}

/// The status in an answer from a card.
fn found_status(answer: &Payload) -> Option<Status> {
    answer.parameters().first().map(|status| Status::from(status & !STATUS_FLAGS))
}

/// Reads the answer to an InDataExchange or InCommunicateThru: status, then data.
fn exchanged(answer: &Payload, command: Command) -> Result<&[u8], DialectError> {
    let [status, data @ ..] = answer.parameters() else {
        return Err(unexpected(command));
    };
    let code = status & !STATUS_FLAGS;
    match Status::from(code) {
        // More to come, or a node address: nothing that is asked here has such an answer.
        Status::Ok if *status != code => Err(unexpected(command)),
        Status::Ok => Ok(data),
        Status::TimedOut => Err(DialectError::CardGone),
        Status::Format => Err(DialectError::Refused),
        Status::MifareAuthentication => Err(DialectError::AuthenticationFailed),
        Status::NotAcceptable => Err(DialectError::NotAuthenticated),
        Status::Crc | Status::InvalidParameter | Status::Other(_) => Err(DialectError::Status { status: code.into() }),
    }
}

fn unexpected(command: Command) -> DialectError {
    DialectError::UnexpectedAnswer { command: command.into() }
}

fn dialect_error(trouble: Trouble) -> DialectError {
    match trouble {
        Trouble::NoAnswer => DialectError::NoAnswer,
        Trouble::Garbled { skipped } => DialectError::Garbled { skipped },
        Trouble::SyntaxError => DialectError::Status { status: STATUS_SYNTAX_ERROR.into() },
    }
}
