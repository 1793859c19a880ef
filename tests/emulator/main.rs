//! The virtual encoder as outside tools meet it: its command line, its pty, its control socket, and
//! libnfc and a real pcscd as its hosts.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod apdus;
mod bus;
mod control;
mod faults;
mod frames;
mod libnfc;
mod lifetime;
mod nfcpy;
#[allow(dead_code, reason = "what concerns readers on a bus is used by the tests of PC/SC")]
#[path = "../support/pcscd.rs"]
mod pcscd;
mod rig;
mod vpcd;
