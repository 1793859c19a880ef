//! What the chip does for each command.
//!
//! Source for the forms: libnfc `libnfc/chips/pn53x.c`, nfcpy `src/nfc/clf/pn53x.py` and `pn532.py`.

use super::pace::Air;
use super::{Awake, Outcome, Pn532Device, Power, WAKE_UP_EDGES};
use crate::card_sim::{AirAnswer, Card, CardError, KeySlot, RATS, Request, ValueOperation};
use crate::dialect::crc_a::{crc_a, strip_crc_a};
use crate::dialect::pn532::frame::Payload;
use crate::dialect::pn532::{BAUD_RATES, Command, Status, mifare};
use crate::family::classic::BlockNumber;
use crate::id::{Target, Uid};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// IC, version, revision, support. Source: nfcpy issue 131, log of a real chip.
const FIRMWARE: [u8; 4] = [0x32, 0x01, 0x06, 0x07];
/// Source: libnfc `pn53x_set_property_bool`, "`MxRtyPassiveActivation`, default: 0xff".
pub(super) const PASSIVE_RETRIES_AFTER_POWER_UP: u8 = 0xFF;
/// UNVERIFIED: what the pins read on a bare board.
pub(super) const GPIO_AFTER_POWER_UP: [u8; 2] = [0x3F, 0x06];

const TX_MODE: u16 = 0x6302;
const RX_MODE: u16 = 0x6303;
const BIT_FRAMING: u16 = 0x633D;
const CRC_ENABLE: u8 = 0x80;
const TX_LAST_BITS: u8 = 0x07;
/// Wake-up source "serial line" of `PowerDown`. Source: nfcpy `Chipset.power_down_wakeup_src`.
const WAKE_UP_BY_SERIAL_LINE: u8 = 0x10;

/// Flag of `SetParameters`; set after power-up. Source: libnfc `pn53x.h`, `PARAM_AUTO_RATS`.
const AUTOMATIC_RATS: u8 = 0x10;
/// A card's four bits of ACK as the byte that they come in. Source: nfcpy `src/nfc/tag/tt2.py`, `Type2Tag.write`.
const ACK_BITS: u8 = 0x0A;
/// The same for NAK. UNVERIFIED: cards have four values, of which 0 is the one for a refusal.
const NAK_BITS: u8 = 0x00;

/// The frames that open a gen1a clone. Source: libnfc `utils/nfc-mfclassic.c`, `unlock_card`.
const MAGIC_FIRST: u8 = 0x40;
const MAGIC_SECOND: u8 = 0x43;

/// A search that goes on until a card comes or the host stops it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    command: Command,
    targets_max: usize,
    /// The kind that `InAutoPoll` reports.
    kind: u8,
}

/// Registers that are not zero. The CRC is handled by the chip until somebody switches it off.
pub(super) fn registers_after_power_up() -> BTreeMap<u16, u8> {
    BTreeMap::from([(TX_MODE, CRC_ENABLE), (RX_MODE, CRC_ENABLE)])
}

pub(super) fn answered_in_low_vbat(command: &Payload) -> bool {
    matches!(Command::from(command.code()), Command::SamConfiguration | Command::GetFirmwareVersion)
}

fn status(status: Status) -> Outcome {
    Outcome::Answer(vec![status.into()])
}

fn done() -> Outcome {
    Outcome::Answer(Vec::new())
}

impl Pn532Device {
    pub(super) fn carry_out(&mut self, command: &Payload) -> Outcome {
        let parameters = command.parameters();
        match Command::from(command.code()) {
            Command::Diagnose => diagnose(parameters),
            Command::GetFirmwareVersion => Outcome::Answer(FIRMWARE.to_vec()),
            Command::GetGeneralStatus => Outcome::Answer(self.general_status()),
            Command::ReadRegister => self.read_registers(parameters),
            Command::WriteRegister => self.write_registers(parameters),
            Command::ReadGpio => Outcome::Answer([&self.gpio[..], &[0x00]].concat()),
            Command::WriteGpio => self.write_gpio(parameters),
            Command::SetSerialBaudRate => self.set_baud_rate(parameters),
            Command::SetParameters => {
                let [flags] = *parameters else { return Outcome::SyntaxError };
                self.automatic_rats = flags & AUTOMATIC_RATS != 0;
                done()
            }
            Command::SamConfiguration => self.configure_sam(parameters),
            Command::PowerDown => self.power_down(parameters),
            Command::RfConfiguration => self.configure_rf(parameters),
            Command::InDataExchange => self.exchange(parameters),
            Command::InCommunicateThru => self.communicate_through(parameters),
            Command::InListPassiveTarget => self.list(parameters),
            Command::InAutoPoll => self.auto_poll(parameters),
            Command::InDeselect => self.let_go(parameters, false),
            Command::InRelease => self.let_go(parameters, true),
            Command::InSelect => self.select(parameters),
            // No peer is in the field.
            Command::InJumpForPsl | Command::InJumpForDep | Command::InAtr | Command::InPsl => status(Status::TimedOut),
            // These end when the host says so, or a foreign field comes, which never happens.
            Command::RfRegulationTest | Command::TgInitAsTarget => Outcome::Busy,
            Command::Other(_) => Outcome::SyntaxError,
        }
    }

    /// A card that has come before a bounded search is over ends it.
    pub(super) fn search_ends_early(&mut self) -> bool {
        let Some(search) = self.bounded else { return false };
        let targets = self.field.list(search.targets_max, 2, None);
        if targets.is_empty() {
            return false;
        }
        self.bounded = None;
        self.targets = targets;
        self.pace.air(Air::Search);
        let listed = self.listed();
        self.answer(search.command.into(), listed);
        true
    }

    /// Goes on with a search that has found nothing yet.
    pub(super) fn search_on(&mut self) {
        let Some(search) = self.search else { return };
        let targets = self.field.list(search.targets_max, 2, None);
        if targets.is_empty() {
            return;
        }
        self.search = None;
        self.targets = targets;
        let parameters = if search.command == Command::InAutoPoll { self.polled(search.kind) } else { self.listed() };
        self.answer(search.command.into(), parameters);
    }

    fn general_status(&self) -> Vec<u8> {
        // Last error, external field, number of targets; per target its number, two bit rates and the kind; SAM.
        let count = u8::try_from(self.targets.len()).unwrap_or_default();
        let targets = (1..=count).flat_map(|number| [number, 0x00, 0x00, 0x00]);
        [0x00, 0x00, count].into_iter().chain(targets).chain([0x00]).collect()
    }

    fn read_registers(&self, parameters: &[u8]) -> Outcome {
        let (addresses, rest) = parameters.as_chunks::<2>();
        if addresses.is_empty() || !rest.is_empty() {
            return Outcome::SyntaxError;
        }
        let value = |address: &[u8; 2]| self.register(u16::from_be_bytes(*address));
        Outcome::Answer(addresses.iter().map(value).collect())
    }

    fn write_registers(&mut self, parameters: &[u8]) -> Outcome {
        let (writes, rest) = parameters.as_chunks::<3>();
        if writes.is_empty() || !rest.is_empty() {
            return Outcome::SyntaxError;
        }
        for [high, low, value] in writes {
            self.registers.insert(u16::from_be_bytes([*high, *low]), *value);
        }
        done()
    }

    fn register(&self, address: u16) -> u8 {
        self.registers.get(&address).copied().unwrap_or_default()
    }

    fn write_gpio(&mut self, parameters: &[u8]) -> Outcome {
        let [p3, p7] = *parameters else { return Outcome::SyntaxError };
        // Bit 7 says that the port is meant. Source: nfcpy `Chipset.write_gpio`.
        for (port, value) in self.gpio.iter_mut().zip([p3, p7]) {
            if value & 0x80 != 0 {
                *port = value & 0x7F;
            }
        }
        done()
    }

    fn set_baud_rate(&mut self, parameters: &[u8]) -> Outcome {
        let baud = BAUD_RATES.iter().find(|(code, _)| parameters == [*code]);
        let Some((_, baud)) = baud else { return Outcome::SyntaxError };
        self.baud_after_ack = Some(*baud);
        done()
    }

    fn configure_sam(&mut self, parameters: &[u8]) -> Outcome {
        if !matches!(parameters, [0x01..=0x04] | [0x01..=0x04, _] | [0x01..=0x04, _, _]) {
            return Outcome::SyntaxError;
        }
        self.power = Power::Awake(Awake::Normal);
        done()
    }

    fn power_down(&mut self, parameters: &[u8]) -> Outcome {
        let (&[sources] | &[sources, _]) = parameters else { return Outcome::SyntaxError };
        self.field.power_off();
        self.targets.clear();
        self.power = Power::Asleep {
            edges_left: WAKE_UP_EDGES,
            then: Awake::Normal,
            by_serial_line: sources & WAKE_UP_BY_SERIAL_LINE != 0,
        };
        status(Status::Ok)
    }

    fn configure_rf(&mut self, parameters: &[u8]) -> Outcome {
        match parameters {
            [0x01, field] => {
                if field & 0x01 == 0 {
                    self.field.power_off();
                } else {
                    self.pace.air(Air::FieldOn);
                }
            }
            [0x05, _, _, passive] => self.passive_retries = *passive,
            // Timings, communication retries, analog settings for A, F, B and ISO/IEC 14443-4.
            [0x02, _, _, _] | [0x04, _] => {}
            [0x0A, rest @ ..] if rest.len() == 11 => {}
            [0x0B, rest @ ..] if rest.len() == 8 => {}
            [0x0C, rest @ ..] if rest.len() == 3 => {}
            [0x0D, rest @ ..] if rest.len() == 9 => {}
            _ => return Outcome::SyntaxError,
        }
        done()
    }

    fn list(&mut self, parameters: &[u8]) -> Outcome {
        let [targets_max @ (1 | 2), kind @ 0..=4, wanted @ ..] = parameters else { return Outcome::SyntaxError };
        self.counters.detects += 1;
        self.targets.clear();
        let targets_max = usize::from(*targets_max);
        let tries = u16::from(self.passive_retries) + 1;
        if *kind == 0x00 {
            self.targets = self.field.list(targets_max, tries, wanted_uid(wanted));
            let search = Search { command: Command::InListPassiveTarget, targets_max, kind: 0x00 };
            match (self.targets.is_empty(), self.passive_retries) {
                (true, 0xFF) => {
                    self.search = Some(search);
                    return Outcome::Busy;
                }
                (true, _) => {
                    self.pace.air(Air::Nothing { tries });
                    self.bounded = wanted.is_empty().then_some(search);
                }
                (false, _) => self.pace.air(Air::Search),
            }
        } else if self.passive_retries == 0xFF {
            // FeliCa, type B and Jewel cards never come.
            return Outcome::Busy;
        }
        Outcome::Answer(self.listed())
    }

    fn auto_poll(&mut self, parameters: &[u8]) -> Outcome {
        let [rounds @ 1..=0xFF, 1..=0x0F, kinds @ ..] = parameters else { return Outcome::SyntaxError };
        // Generic passive 106 kbit/s type A, and MIFARE. Source: libnfc `pn53x.h`, `pn53x_target_type`.
        let type_a = kinds.iter().find(|kind| matches!(kind, 0x00 | 0x10)).copied();
        self.counters.detects += 1;
        self.targets.clear();
        self.pace.air(Air::Search);
        if let Some(kind) = type_a {
            self.targets = self.field.list(2, 2, None);
            if !self.targets.is_empty() {
                return Outcome::Answer(self.polled(kind));
            }
        }
        if *rounds == 0xFF {
            self.search = type_a.map(|kind| Search { command: Command::InAutoPoll, targets_max: 2, kind });
            return Outcome::Busy;
        }
        Outcome::Answer(vec![0x00])
    }

    fn listed(&mut self) -> Vec<u8> {
        self.targets_data().into_iter().fold(count(&self.targets), |answer, data| [answer, data].concat())
    }

    fn polled(&mut self, kind: u8) -> Vec<u8> {
        self.targets_data().into_iter().fold(count(&self.targets), |answer, data| {
            let len = u8::try_from(data.len()).unwrap_or_default();
            [answer, vec![kind, len], data].concat()
        })
    }

    fn targets_data(&mut self) -> Vec<Vec<u8>> {
        let targets = self.targets.clone();
        (1..).zip(&targets).map(|(number, target)| [target_data(number, target), self.ats(target)].concat()).collect()
    }

    /// What a listed card has answered to the chip's RATS: of two cards the last one, which stays selected.
    ///
    /// UNVERIFIED: that a chip that lists two such cards sends RATS to one only.
    fn ats(&mut self, target: &Target) -> Vec<u8> {
        let speaks_part4 = matches!(self.field.card_mut(target.uid), Some(Card::Part4(_)));
        if !self.automatic_rats || !speaks_part4 || !self.field.is_selected(target.uid) {
            return Vec::new();
        }
        match self.field.exchange(&[RATS, 0x50]) {
            Ok(AirAnswer::Bytes(ats)) => ats,
            Ok(AirAnswer::Ack) | Err(_) => Vec::new(),
        }
    }

    fn let_go(&mut self, parameters: &[u8], forget: bool) -> Outcome {
        let [number] = *parameters else { return Outcome::SyntaxError };
        if number != 0 && self.target(number).is_none() {
            return status(Status::NotAcceptable);
        }
        if !self.targets.is_empty() {
            self.pace.air(Air::Short);
            self.field.halt();
        }
        if forget {
            self.targets.clear();
        }
        status(Status::Ok)
    }

    fn select(&mut self, parameters: &[u8]) -> Outcome {
        let [number] = *parameters else { return Outcome::SyntaxError };
        let Some(uid) = self.target(number) else { return status(Status::NotAcceptable) };
        self.pace.air(Air::Search);
        status(if self.field.select(uid) { Status::Ok } else { Status::TimedOut })
    }

    fn target(&self, number: u8) -> Option<Uid> {
        self.targets.get(usize::from(number).checked_sub(1)?).map(|target| target.uid)
    }

    fn exchange(&mut self, parameters: &[u8]) -> Outcome {
        let [number, data @ ..] = parameters else { return Outcome::SyntaxError };
        let Some(uid) = self.target(number & 0x3F) else { return status(Status::NotAcceptable) };
        if self.targets.len() > 1 {
            self.field.select(uid);
        }
        if !self.field.is_selected(uid) {
            self.pace.air(Air::Short);
            return status(Status::TimedOut);
        }
        let is_part4 = matches!(self.field.card_mut(uid), Some(Card::Part4(_)));
        let answer = if is_part4 { self.part4(data) } else { self.mifare(data) };
        match answer {
            Ok(answer) => Outcome::Answer([&[Status::Ok.into()], &answer[..]].concat()),
            Err(failure) => status(failure),
        }
    }

    /// A command in blocks of ISO/IEC 14443-4, which are the firmware's affair.
    fn part4(&mut self, command: &[u8]) -> Result<Vec<u8>, Status> {
        let answer = self.field.command(command);
        let bytes = command.len() + answer.as_ref().map_or(0, Vec::len);
        self.pace.air(Air::Long { bytes: u16::try_from(bytes).unwrap_or(u16::MAX) });
        answer.map_err(refusal)
    }

    /// The MIFARE commands that the firmware knows.
    ///
    /// UNVERIFIED: status 10 for malformed ones.
    fn mifare(&mut self, data: &[u8]) -> Result<Vec<u8>, Status> {
        let [command, block, rest @ ..] = data else { return Err(Status::InvalidParameter) };
        let block = BlockNumber::new(*block);
        match *command {
            mifare::AUTHENTICATE_A => self.authenticate(block, KeySlot::A, rest),
            mifare::AUTHENTICATE_B => self.authenticate(block, KeySlot::B, rest),
            mifare::READ => {
                self.pace.air(Air::Read);
                self.field.read(block).map(Vec::from).map_err(refusal)
            }
            mifare::WRITE => {
                let data = rest.try_into().map_err(|_| Status::InvalidParameter)?;
                self.pace.air(Air::Write);
                self.field.write(block, data).map(|()| Vec::new()).map_err(refusal)
            }
            mifare::INCREMENT => self.value(ValueOperation::Increment, block, rest),
            mifare::DECREMENT => self.value(ValueOperation::Decrement, block, rest),
            mifare::RESTORE => self.value(ValueOperation::Restore, block, rest),
            mifare::TRANSFER => {
                self.pace.air(Air::Write);
                self.field.transfer(block).map(|()| Vec::new()).map_err(refusal)
            }
            mifare::WRITE_PAGE => {
                if rest.len() != 4 {
                    return Err(Status::InvalidParameter);
                }
                self.pace.air(Air::Write);
                self.field.exchange(data).map(|_| Vec::new()).map_err(refusal)
            }
            // Whatever else the card is told, it does not know it.
            _ => {
                self.pace.air(Air::Short);
                self.field.disturb();
                Err(Status::TimedOut)
            }
        }
    }

    fn authenticate(&mut self, block: BlockNumber, slot: KeySlot, rest: &[u8]) -> Result<Vec<u8>, Status> {
        let (Some(key), Some(uid), 10) = (rest.first_chunk::<6>(), rest.last_chunk::<4>(), rest.len()) else {
            return Err(Status::InvalidParameter);
        };
        self.pace.air(Air::Authenticate);
        match self.field.authenticate(block, slot, key, *uid) {
            Ok(()) => Ok(Vec::new()),
            Err(CardError::Nak | CardError::Silent) => Err(Status::MifareAuthentication),
        }
    }

    fn value(&mut self, operation: ValueOperation, block: BlockNumber, rest: &[u8]) -> Result<Vec<u8>, Status> {
        let operand = rest.try_into().map_err(|_| Status::InvalidParameter)?;
        self.pace.air(Air::Short);
        let done = self.field.value(operation, block, u32::from_le_bytes(operand));
        done.map(|()| Vec::new()).map_err(refusal)
    }

    /// Bytes for the selected card as they are, with or without the chip's help with the CRC.
    fn communicate_through(&mut self, data: &[u8]) -> Outcome {
        if data.is_empty() {
            return Outcome::SyntaxError;
        }
        if self.register(BIT_FRAMING) & TX_LAST_BITS == 7 {
            self.pace.air(Air::Short);
            return self.short_frame(data);
        }
        let sent = if self.register(TX_MODE) & CRC_ENABLE != 0 { Some(data) } else { strip_crc_a(data) };
        let answer = match sent {
            Some([0x50, 0x00]) => {
                self.field.halt();
                Err(CardError::Silent)
            }
            // A Classic card whose sector is open: the chip has the cipher.
            Some([mifare::READ, block]) => {
                self.field.read(BlockNumber::new(*block)).map(|block| AirAnswer::Bytes(block.to_vec()))
            }
            // A gen1a clone takes its second frame as it is, without CRC.
            _ if data == [MAGIC_SECOND] && self.field.magic(MAGIC_SECOND) => Ok(AirAnswer::Ack),
            Some(command) => self.field.exchange(command),
            None => {
                self.field.disturb();
                Err(CardError::Silent)
            }
        };
        self.pace.air(match (&answer, data.first()) {
            (Ok(AirAnswer::Ack), Some(&(mifare::WRITE | mifare::WRITE_PAGE))) => Air::Write,
            (Ok(AirAnswer::Bytes(bytes)), _) => {
                Air::Long { bytes: u16::try_from(data.len() + bytes.len()).unwrap_or(u16::MAX) }
            }
            (Ok(AirAnswer::Ack) | Err(_), _) => Air::Short,
        });
        self.passed_on(answer)
    }

    /// A card's answer as the chip shows it. Four bits have no CRC: they are an error unless nobody looks for one.
    ///
    /// Source: nfcpy `src/nfc/clf/pn53x.py`, which switches the check off for that.
    fn passed_on(&self, answer: Result<AirAnswer, CardError>) -> Outcome {
        let checks = self.register(RX_MODE) & CRC_ENABLE != 0;
        let four_bits =
            |bits| if checks { status(Status::Crc) } else { Outcome::Answer(vec![Status::Ok.into(), bits]) };
        match answer {
            Ok(AirAnswer::Ack) => four_bits(ACK_BITS),
            Err(CardError::Nak) => four_bits(NAK_BITS),
            Err(CardError::Silent) => status(Status::TimedOut),
            Ok(AirAnswer::Bytes(bytes)) => {
                let crc = crc_a(&bytes);
                let crc = if checks { &[][..] } else { &crc };
                Outcome::Answer([&[Status::Ok.into()], &bytes[..], crc].concat())
            }
        }
    }

    /// Seven bits: REQA or WUPA by hand.
    fn short_frame(&mut self, data: &[u8]) -> Outcome {
        let request = match data {
            [0x26] => Request::Idle,
            [0x52] => Request::WakeUp,
            [MAGIC_FIRST] if self.field.magic(MAGIC_FIRST) => {
                return self.passed_on(Ok(AirAnswer::Ack));
            }
            _ => return status(Status::TimedOut),
        };
        match self.field.activate(request, None) {
            // On the air the ATQA comes low byte first.
            Some(target) => {
                let ([high, low], _) = target.atqa_sak().unwrap_or_default();
                Outcome::Answer(vec![Status::Ok.into(), low, high])
            }
            None => status(Status::TimedOut),
        }
    }
}

fn diagnose(parameters: &[u8]) -> Outcome {
    match parameters {
        // Communication line test: all parameters come back, the test's number first. Source: libnfc
        // `pn53x_check_communication`.
        [0x00, ..] => Outcome::Answer(parameters.to_vec()),
        // ROM, RAM and antenna test: passed.
        [0x01 | 0x02] | [0x07, _] => status(Status::Ok),
        // Attention request: there is no ISO/IEC 14443-4 card to ask.
        [0x06] => status(Status::NotAcceptable),
        _ => Outcome::SyntaxError,
    }
}

fn refusal(error: CardError) -> Status {
    match error {
        CardError::Nak => Status::Format,
        CardError::Silent => Status::TimedOut,
    }
}

fn count(targets: &[Target]) -> Vec<u8> {
    vec![u8::try_from(targets.len()).unwrap_or_default()]
}

/// Number, ATQA, SAK, UID with its length.
fn target_data(number: u8, target: &Target) -> Vec<u8> {
    let ([atqa_high, atqa_low], sak) = target.atqa_sak().unwrap_or_default();
    let uid = target.uid.as_bytes();
    let len = u8::try_from(uid.len()).unwrap_or_default();
    [number, atqa_high, atqa_low, sak, len].into_iter().chain(uid.iter().copied()).collect()
}

/// The UID that a list command asks for, without the cascade tags 88 in front of all but the last four bytes.
///
/// Source: libnfc `iso14443_cascade_uid`.
fn wanted_uid(bytes: &[u8]) -> Option<Uid> {
    let uid: Vec<u8> = match bytes {
        [0x88, first @ .., _, _, _, _] if bytes.len() == 8 => {
            first.iter().chain(bytes.last_chunk::<4>()?).copied().collect()
        }
        [0x88, first @ .., _, _, _, _] if bytes.len() == 12 => {
            let (first, second) = first.split_at_checked(3)?;
            let second = second.strip_prefix(&[0x88])?;
            first.iter().chain(second).chain(bytes.last_chunk::<4>()?).copied().collect()
        }
        _ => bytes.to_vec(),
    };
    Uid::new(&uid)
}
