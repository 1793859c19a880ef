//! PN532 frames with their sources; none comes from our own encoder.
//!
//! "computed" means by hand from the frame format of NXP UM0701-02, section 6.2.1.

use hex_literal::hex;

/// NXP UM0701-02; libnfc `libnfc/chips/pn53x-internal.h`.
pub const ACK: [u8; 6] = hex!("0000ff00ff00");
/// The same: asks for the last answer once more.
pub const NACK: [u8; 6] = hex!("0000ffff0000");

/// nfcpy/nfcpy issue 131 (log of a real PN532).
pub const GET_FIRMWARE_VERSION: [u8; 9] = hex!("0000ff02fed4022a00");
/// Its answer there: IC 32, version 1.6.
pub const FIRMWARE_1_6: [u8; 13] = hex!("0000ff06fad50332010607e800");

/// nfc-tools/libnfc issues 742 and 528, behind the wake-up bytes of libnfc `libnfc/drivers/pn532_uart.c`.
pub const WAKE_AND_SAM_CONFIGURATION: [u8; 26] = hex!("55550000000000000000000000000000 0000ff03fdd414011700");
/// nfcpy/nfcpy issue 131.
pub const SAM_CONFIGURED: [u8; 9] = hex!("0000ff02fed5151600");

/// `MaxRetries` 00 01 02: nfc-tools/libnfc issue 684.
pub const RF_MAX_RETRIES: [u8; 13] = hex!("0000ff06fad43205000102f200");
/// Computed.
pub const RF_CONFIGURED: [u8; 9] = hex!("0000ff02fed533f800");

/// One target at 106 kbit/s type A: nfc-tools/libnfc issues 85 and 684.
pub const LIST: [u8; 11] = hex!("0000ff04fcd44a0100e100");
/// nfc-tools/libnfc issue 684: ATQA 0004, SAK 08, UID d610b626.
pub const FOUND_D610B626: [u8; 19] = hex!("0000ff0cf4d54b010100040804d610b6260c00");
/// The same with UID deadbeef: computed.
pub const FOUND_DEADBEEF: [u8; 19] = hex!("0000ff0cf4d54b010100040804deadbeef9600");
/// nfc-tools/libnfc issue 85.
pub const FOUND_NOTHING: [u8; 10] = hex!("0000ff03fdd54b00e000");

/// Authentication of block 4 with key A ff… for UID deadbeef: the form that libnfc 1.8.0 sends.
pub const AUTHENTICATE: [u8; 22] = hex!("0000ff0ff1d440016004ffffffffffffdeadbeef5500");
/// READ block 4: likewise.
pub const READ: [u8; 12] = hex!("0000ff05fbd440013004b700");
/// WRITE block 4 with 00 to 0f: likewise.
pub const WRITE: [u8; 28] = hex!("0000ff15ebd44001a004000102030405060708090a0b0c0d0e0fcf00");
/// What it writes.
pub const WRITTEN: [u8; 16] = hex!("000102030405060708090a0b0c0d0e0f");
/// InDataExchange ok: likewise.
pub const EXCHANGED: [u8; 10] = hex!("0000ff03fdd54100ea00");
/// Status 01, time-out: computed; the status as in nfcpy `src/nfc/clf/pn532.py`.
pub const TIMED_OUT: [u8; 10] = hex!("0000ff03fdd54101e900");
/// Block 4 with 00 to 0f read back: computed.
pub const READ_WRITTEN: [u8; 26] = hex!("0000ff13edd54100000102030405060708090a0b0c0d0e0f7200");

/// SetSerialBaudRate 921600: nfcpy/nfcpy issue 131.
pub const SET_921600: [u8; 10] = hex!("0000ff03fdd410071500");
/// Its answer there.
pub const BAUD_SET: [u8; 9] = hex!("0000ff02fed5111a00");
