//! APDUs with their sources; none comes from our own encoder.

use hex_literal::hex;

/// A Classic 1K's ATR: ACR122U API 2.04, section 3.1, "ATR generation", as printed there.
pub const ATR_CLASSIC_1K: [u8; 20] = hex!("3B8F8001804F0CA000000306030001000000006A");

/// Get Data: UID. ACR122U API 2.04, section 4.1.
pub const GET_UID: [u8; 5] = hex!("FFCA000000");
/// Load Authentication Keys: FF… into slot 00. ACR122U API 2.04, section 5.1, its example.
pub const LOAD_KEY: [u8; 11] = hex!("FF82000006FFFFFFFFFFFF");
/// Authentication of block 04 with key A from slot 00. ACR122U API 2.04, section 5.2, its example.
pub const AUTHENTICATE: [u8; 10] = hex!("FF860000050100046000");
/// Read Binary Blocks: 16 bytes of block 04. ACR122U API 2.04, section 5.3, its example.
pub const READ: [u8; 5] = hex!("FFB0000410");
/// Update Binary Blocks: 00 to 0F into block 04. ACR122U API 2.04, section 5.4, its example.
pub const WRITE: [u8; 21] = hex!("FFD6000410000102030405060708090A0B0C0D0E0F");
/// What it writes.
pub const WRITTEN: [u8; 16] = hex!("000102030405060708090A0B0C0D0E0F");
/// Get firmware version, which answers with text and no status word. ACR122U API 2.04, section 6.3.
pub const FIRMWARE: [u8; 5] = hex!("FF00480000");

/// The operation completed successfully. ACR122U API 2.04, in every table of response codes.
pub const OK: [u8; 2] = hex!("9000");
/// The operation failed. The same.
pub const FAILED: [u8; 2] = hex!("6300");

/// UID deadbeef and success.
pub const UID_DEADBEEF: [u8; 6] = hex!("DEADBEEF9000");
