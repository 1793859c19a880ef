//! How long the chip takes.
//!
//! Source: one public log of a real chip with timestamps, nfcpy issue 131 (a READ takes about 5 ms from ACK to answer,
//! 7 ms as a round trip); ISO/IEC 14443-2 for the bit time. UNVERIFIED: the share of each part.

use crate::dialect::TransmissionKind;
use core::time::Duration;

const ACK: Duration = Duration::from_micros(700);
const FIRMWARE: Duration = Duration::from_micros(500);
const CARD_COMMAND: Duration = Duration::from_millis(2);
/// One bit at 106 kbit/s: 128 periods of 13.56 MHz.
const RF_BIT: Duration = Duration::from_nanos(9_440);
const EEPROM_WRITE: Duration = Duration::from_micros(2_600);
const FIELD_ON: Duration = Duration::from_millis(5);
/// One try to find a card where none is. UNVERIFIED: no document and no log tells.
const EMPTY_TRY: Duration = Duration::from_millis(5);

/// What a command does on the air. Bits include parity, start and stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Air {
    /// REQA, two anticollision rounds and a select with their answers.
    Search,
    /// So many tries that nothing answers.
    Nothing { tries: u16 },
    /// Command, nonce, two tokens.
    Authenticate,
    /// Command and 18 bytes.
    Read,
    /// Command, ACK, 18 bytes, ACK, and the memory's own time.
    Write,
    /// Any short exchange.
    Short,
    /// An exchange with so many bytes.
    Long { bytes: u16 },
    /// The field goes on.
    FieldOn,
}

impl Air {
    fn takes(self) -> Duration {
        match self {
            Self::Search | Self::Read => CARD_COMMAND + RF_BIT * 200,
            Self::Nothing { tries } => CARD_COMMAND + EMPTY_TRY * u32::from(tries),
            Self::Authenticate => CARD_COMMAND + RF_BIT * 180,
            Self::Write => CARD_COMMAND + RF_BIT * 210 + EEPROM_WRITE,
            Self::Short => CARD_COMMAND + RF_BIT * 50,
            Self::Long { bytes } => CARD_COMMAND + RF_BIT * (50 + 9 * u32::from(bytes)),
            Self::FieldOn => FIELD_ON,
        }
    }
}

/// The model of time; without it everything takes none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    on: bool,
    /// Line time of what the host has sent and no ACK has accounted for.
    incoming: Duration,
    /// Time on the air of the command that runs.
    air: Duration,
}

impl Pace {
    pub(super) fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    pub(super) fn is_on(self) -> bool {
        self.on
    }

    pub(super) fn received(&mut self, bytes: usize, baud: u32) {
        self.incoming += line_time(bytes, baud);
    }

    pub(super) fn air(&mut self, air: Air) {
        self.air += air.takes();
    }

    /// How long a transmission takes from the end of what came before it.
    pub(super) fn takes(&mut self, kind: TransmissionKind, bytes: usize, baud: u32) -> Duration {
        let before = match kind {
            TransmissionKind::Ack => core::mem::take(&mut self.incoming) + ACK,
            TransmissionKind::Answer => core::mem::take(&mut self.air) + FIRMWARE,
        };
        if self.on { before + line_time(bytes, baud) } else { Duration::ZERO }
    }
}

/// Ten bits a byte.
fn line_time(bytes: usize, baud: u32) -> Duration {
    let bits = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_mul(10);
    Duration::from_secs(1) * bits / baud.max(1)
}
