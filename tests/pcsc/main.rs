//! A real pcscd with readers on a virtual USB bus: the rig itself, and clients that nobody here wrote.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod client;
mod clients;
mod fake;
#[path = "../support/pcscd.rs"]
mod pcscd;
mod rig;
#[path = "../support/virtual_reader.rs"]
mod virtual_reader;
