//! A real pcscd with readers on a virtual USB bus.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod client;
mod fake;
#[path = "../support/pcscd.rs"]
mod pcscd;
mod rig;
mod transport;
