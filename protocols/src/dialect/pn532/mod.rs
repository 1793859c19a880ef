//! PN532 on its high-speed UART (HSU): the NFC chip on most USB-serial encoder boards.
//!
//! | what | support |
//! | --- | --- |
//! | MIFARE Classic (detect, authenticate, read, write) | yes |
//! | line speeds 9600 to 921600 baud, found again after a crash | yes, works at 115200 |
//! | Type 2 (Ultralight, NTAG): pages, version, fast read, password, 3DES authentication | yes |
//! | ISO/IEC 14443-4 | SELECT, to tell what it is |
//! | `FeliCa`, type B, peer to peer, card emulation | no |
//!
//! | file | what |
//! | --- | --- |
//! | `frame` | the frames, for both directions |
//! | `host` | [`Pn532Host`]: card commands as exchanges with the chip |
//! | `link` | one exchange with its retries, and the barrier after a failed one |
//! | `device` | [`Pn532Device`]: the same chip from its own end |
//!
//! What its firmware gets wrong:
//! - It starts asleep (`LowVbat`) and is asleep after `PowerDown`; the first bytes wake it and are lost.
//! - A card that rests on it is found every second time only, unless it may retry (Adafruit-PN532 issue 52).
//! - Out of the box it looks for a card for ever and answers nothing meanwhile (`MxRtyPassiveActivation` FF).
//! - A command sent at once after a cancelled one gets no ACK (libnfc issue 167).
//! - A refused or failed card command deselects the card without saying so.
//! - Its line speed survives the program that changed it.
//!
//! Source: NXP UM0701-02 (PN532 user manual), as quoted and implemented in libnfc `libnfc/chips/pn53x.c`,
//! `libnfc/drivers/pn532_uart.c` and nfcpy `src/nfc/clf/pn532.py`.

mod device;
pub mod frame;
mod host;
mod link;

pub use device::Pn532Device;
pub use host::Pn532Host;

use super::Reader;
use alloc::boxed::Box;

/// The line in the table of readers.
pub const READER: Reader = Reader {
    dialect: "pn532",
    description: "PN532 on a serial line (HSU)",
    // None: PN532 boards sit behind generic bridge chips (CH340, CP210x, FT232), whose ids they share with receipt
    // printers and PIN pads. Such a port is used only when it is configured.
    usb_ids: &[],
    baud: BAUD,
    host: || Box::new(Pn532Host::new()),
    device: || Box::new(Pn532Device::new()),
};

/// Makes an enum of codes that a document defines, with `Other` for the rest, and `from`/`into` as an exact pair.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// Not in the list.
            Other(u8),
        }

        impl From<u8> for $name {
            fn from(value: u8) -> Self {
                match value {
                    $($value => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $value,)*
                    $name::Other(other) => other,
                }
            }
        }
    };
}

codes! {
    /// Command codes. An answer's code is its command's plus one.
    ///
    /// Source: libnfc `libnfc/chips/pn53x-internal.h`, nfcpy `src/nfc/clf/pn532.py`.
    Command {
        /// Self tests; 00 is the communication line test, which echoes.
        Diagnose = 0x00,
        /// IC, version, revision, support.
        GetFirmwareVersion = 0x02,
        /// Last error, field, targets.
        GetGeneralStatus = 0x04,
        /// Reads registers by 16-bit address.
        ReadRegister = 0x06,
        /// Writes registers by 16-bit address.
        WriteRegister = 0x08,
        /// Reads the ports.
        ReadGpio = 0x0C,
        /// Writes the ports.
        WriteGpio = 0x0E,
        /// Changes the line speed, after the host's ACK.
        SetSerialBaudRate = 0x10,
        /// Flags such as automatic RATS.
        SetParameters = 0x12,
        /// Leaves `LowVbat`; 01 is normal mode.
        SamConfiguration = 0x14,
        /// Sleeps until one of the given sources wakes it.
        PowerDown = 0x16,
        /// Field, timings, retries, analog settings.
        RfConfiguration = 0x32,
        /// Sends a command to a listed card, MIFARE commands included.
        InDataExchange = 0x40,
        /// Sends bytes to the card as they are.
        InCommunicateThru = 0x42,
        /// Sends a card to HALT and keeps it listed.
        InDeselect = 0x44,
        /// Peer to peer.
        InJumpForPsl = 0x46,
        /// Looks for cards and activates them.
        InListPassiveTarget = 0x4A,
        /// Peer to peer.
        InPsl = 0x4E,
        /// Peer to peer.
        InAtr = 0x50,
        /// Sends a card to HALT and forgets it.
        InRelease = 0x52,
        /// Selects a listed card.
        InSelect = 0x54,
        /// Peer to peer.
        InJumpForDep = 0x56,
        /// Transmits for ever, for measurements.
        RfRegulationTest = 0x58,
        /// Looks for cards of several kinds repeatedly.
        InAutoPoll = 0x60,
        /// Plays card.
        TgInitAsTarget = 0x8C,
    }
}

codes! {
    /// What the chip says about a command to a card: the low six bits of the status byte.
    ///
    /// Source: nfcpy `src/nfc/clf/pn532.py`, `Chipset.ERR`; libnfc `libnfc/chips/pn53x-internal.h`.
    Status {
        /// Carried out.
        Ok = 0x00,
        /// The card did not answer.
        TimedOut = 0x01,
        /// Wrong CRC from the card.
        Crc = 0x02,
        /// A parameter is out of range.
        InvalidParameter = 0x10,
        /// The card answered NAK or something malformed. Source for the NAK: libnfc `utils/mifare.c`.
        Format = 0x13,
        /// The key does not fit.
        MifareAuthentication = 0x14,
        /// Not acceptable in the current state.
        NotAcceptable = 0x27,
    }
}

/// NAD and "more information" flags of the status byte. Source: libnfc `pn53x_transceive`.
pub const STATUS_FLAGS: u8 = 0xC0;

/// The status of an error frame. Source: nfcpy `src/nfc/clf/pn532.py`, `Chipset.ERR`.
pub const STATUS_SYNTAX_ERROR: u8 = 0x7F;

/// Line speed after power-up, in bits a second.
pub const BAUD: u32 = 115_200;

/// Parameter of `SetSerialBaudRate` and its speed. Source: nfcpy `Chipset.set_serial_baudrate`.
pub const BAUD_RATES: [(u8, u32); 9] = [
    (0, 9_600),
    (1, 19_200),
    (2, 38_400),
    (3, 57_600),
    (4, BAUD),
    (5, 230_400),
    (6, 460_800),
    (7, 921_600),
    (8, 1_288_000),
];

/// MIFARE commands inside InDataExchange and on the air. Source: MF1S50yyX/V1 data sheet, section 9.
pub mod mifare {
    /// Authenticate with key A.
    pub const AUTHENTICATE_A: u8 = 0x60;
    /// Authenticate with key B.
    pub const AUTHENTICATE_B: u8 = 0x61;
    /// Read 16 bytes.
    pub const READ: u8 = 0x30;
    /// Write 16 bytes.
    pub const WRITE: u8 = 0xA0;
    /// Subtract from a value block.
    pub const DECREMENT: u8 = 0xC0;
    /// Add to a value block.
    pub const INCREMENT: u8 = 0xC1;
    /// Load a value block.
    pub const RESTORE: u8 = 0xC2;
    /// Store a value block.
    pub const TRANSFER: u8 = 0xB0;
    /// Write a page of four bytes. Source: NTAG213/215/216 data sheet, 10.4.
    pub const WRITE_PAGE: u8 = 0xA2;
    /// Read pages from one to another. Source: the same, 10.3.
    pub const FAST_READ: u8 = 0x3A;
    /// Open with a password. Source: the same, 10.7.
    pub const PASSWORD: u8 = 0x1B;
}
