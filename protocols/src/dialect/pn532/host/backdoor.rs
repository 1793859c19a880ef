//! The back door of gen1a clones: 40 in seven bits, which a card in HALT answers with four bits of ACK. A genuine card hears
//! nothing of it. The chip must neither add a CRC nor look for one meanwhile; its registers are put back whatever happens,
//! before anything else is told to the chip, and the field is switched off and on.
//!
//! Source: libnfc `utils/nfc-mfclassic.c`, `unlock_card`; the registers: UM0701-02 as in libnfc
//! `libnfc/chips/pn53x-internal.h`.

use super::{Command, Job, LOOK_RETRIES, Listing, Payload, Pn532Host, Selection, Status, Then, Trouble};
use super::{FIELD_OFF, dialect_error, exchanged, field, found_status, unexpected};
use crate::command::{CardCommand, CardReply, DialectError, ReaderInfo};
use crate::dialect::Output;
use crate::id::Target;

/// High byte of the addresses of these registers, and the low bytes of `CIU_TxMode`, `CIU_RxMode` and `CIU_BitFraming`.
const CIU: u8 = 0x63;
const TX_MODE: u8 = 0x02;
const RX_MODE: u8 = 0x03;
const BIT_FRAMING: u8 = 0x3D;
/// Of `CIU_TxMode` and `CIU_RxMode`.
const CRC_ENABLE: u8 = 0x80;
/// Of `CIU_BitFraming`: how many bits of the last byte are sent; 0 is all.
const TX_LAST_BITS: u8 = 0x07;

/// HLTA with its CRC.
const HALT: [u8; 4] = [0x50, 0x00, 0x57, 0xCD];
/// The first of the two frames, sent in so many bits.
const KNOCK: u8 = 0x40;
const KNOCK_BITS: u8 = 7;
/// ACK, in the low half of the byte. Source: nfcpy `src/nfc/tag/tt2.py`, `Type2Tag.write`.
const ACK: u8 = 0x0A;

/// What the registers held.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    tx_mode: u8,
    rx_mode: u8,
    bit_framing: u8,
}

/// Where a probe is.
pub(super) enum Step {
    ReadRegisters(Target),
    CrcOff(Target),
    Halt(Target),
    SevenBits(Target),
    Knock(Target),
    PutBack(After),
    FieldOff(After),
    FieldOn(After),
}

/// What comes when the chip is as it was.
pub(super) enum After {
    /// The card is active again, and this is said.
    Probe(Target, Result<CardReply, DialectError>),
    /// An earlier probe was left; this is what was asked for.
    Begin(CardCommand),
    /// The same while the reader was opened.
    Opened(ReaderInfo),
}

impl Pn532Host {
    /// Begins with a fresh selection: after a login the chip would encipher what it sends.
    pub(super) fn probe(&mut self) {
        self.open_sector = None;
        match self.selection {
            Selection::Nothing => self.finish(Err(DialectError::CardGone)),
            Selection::Several => self.finish(Err(DialectError::Several)),
            Selection::Active(target) | Selection::Lost(target) => {
                self.selection = Selection::Lost(target);
                self.list(LOOK_RETRIES, Listing::Relist { target, then: Then::Probe });
            }
        }
    }

    pub(super) fn knock_first(&mut self, target: Target) {
        self.selection = Selection::Lost(target);
        let all = [Command::ReadRegister.into(), CIU, TX_MODE, CIU, RX_MODE, CIU, BIT_FRAMING];
        self.step(Step::ReadRegisters(target), Payload::of(all));
    }

    pub(super) fn probed(&mut self, step: Step, answer: &Payload) {
        match step {
            Step::ReadRegisters(target) => {
                let [tx_mode, rx_mode, bit_framing] = *answer.parameters() else {
                    return self.finish(Err(unexpected(Command::ReadRegister)));
                };
                // Whatever an earlier program has left: this is what every other command needs.
                self.altered = Some(Registers {
                    tx_mode: tx_mode | CRC_ENABLE,
                    rx_mode: rx_mode | CRC_ENABLE,
                    bit_framing: bit_framing & !TX_LAST_BITS,
                });
                let (tx_mode, rx_mode) = (tx_mode & !CRC_ENABLE, rx_mode & !CRC_ENABLE);
                let off = [Command::WriteRegister.into(), CIU, TX_MODE, tx_mode, CIU, RX_MODE, rx_mode];
                self.step(Step::CrcOff(target), Payload::of(off));
            }
            Step::CrcOff(target) => {
                let [a, b, c, d] = HALT;
                self.step(Step::Halt(target), Payload::of([Command::InCommunicateThru.into(), a, b, c, d]));
            }
            // Nothing answers HLTA: the status is that of a card that stays silent.
            Step::Halt(target) => {
                let before = self.altered.map(|registers| registers.bit_framing).unwrap_or_default();
                let seven = Payload::of([Command::WriteRegister.into(), CIU, BIT_FRAMING, before | KNOCK_BITS]);
                self.step(Step::SevenBits(target), seven);
            }
            Step::SevenBits(target) => {
                self.step(Step::Knock(target), Payload::of([Command::InCommunicateThru.into(), KNOCK]));
            }
            Step::Knock(target) => {
                let said = self.said(answer);
                self.put_back(After::Probe(target, said));
            }
            Step::PutBack(after) => {
                self.altered = None;
                self.step(Step::FieldOff(after), field(false));
            }
            Step::FieldOff(after) => {
                self.link.put(Output::Pause(FIELD_OFF));
                self.step(Step::FieldOn(after), field(true));
            }
            Step::FieldOn(After::Probe(target, result)) => {
                self.list(LOOK_RETRIES, Listing::Relist { target, then: Then::Say(result) });
            }
            Step::FieldOn(After::Begin(command)) => self.carry_out(&command),
            Step::FieldOn(After::Opened(reader)) => self.finish(Ok(CardReply::Reader(reader))),
        }
    }

    /// What the card's answer to 40 means.
    fn said(&self, answer: &Payload) -> Result<CardReply, DialectError> {
        let silent = matches!(found_status(answer), Some(Status::TimedOut | Status::Crc | Status::Format));
        match exchanged(answer, Command::InCommunicateThru) {
            Ok([bits]) if bits & 0x0F == ACK => Ok(CardReply::Done),
            // A clone that has heard it twice may be silent the second time.
            Ok(_) | Err(_) if !self.link.was_smooth() => Err(DialectError::NoAnswer),
            Ok(_) => Err(DialectError::Refused),
            Err(_) if silent => Err(DialectError::Refused),
            Err(error) => Err(error),
        }
    }

    pub(super) fn probe_failed(&mut self, step: &Step, trouble: Trouble) {
        let knows_it = trouble != Trouble::SyntaxError;
        let error = if knows_it { dialect_error(trouble) } else { DialectError::Unsupported };
        match step {
            Step::ReadRegisters(_) => self.finish(Err(error)),
            Step::CrcOff(target) | Step::Halt(target) | Step::SevenBits(target) | Step::Knock(target) => {
                self.put_back(After::Probe(*target, Err(error)));
            }
            Step::PutBack(_) | Step::FieldOff(_) | Step::FieldOn(_) => {
                if !knows_it {
                    // What cannot be written was never altered.
                    self.altered = None;
                }
                self.finish(Err(error));
            }
        }
    }

    /// An earlier probe was left half-way: its traces come first.
    pub(super) fn put_back_before(&mut self, command: &CardCommand) {
        self.put_back(After::Begin(command.clone()));
    }

    pub(super) fn opened(&mut self, reader: ReaderInfo) {
        match self.altered {
            Some(_) => self.put_back(After::Opened(reader)),
            None => self.finish(Ok(CardReply::Reader(reader))),
        }
    }

    fn put_back(&mut self, after: After) {
        self.open_sector = None;
        let Some(Registers { tx_mode, rx_mode, bit_framing }) = self.altered else {
            return self.step(Step::FieldOff(after), field(false));
        };
        let write = Command::WriteRegister.into();
        let back = [write, CIU, TX_MODE, tx_mode, CIU, RX_MODE, rx_mode, CIU, BIT_FRAMING, bit_framing];
        self.step(Step::PutBack(after), Payload::of(back));
    }

    fn step(&mut self, step: Step, command: Payload) {
        self.start(Job::Backdoor(step), command);
    }
}
