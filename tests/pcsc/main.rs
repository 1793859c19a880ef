//! Readers behind a real pcscd: Debian's, a private one for each test, with readers on a virtual USB bus.
//!
//! What a clerk meets at a desk must not depend on how its encoder is attached: the tests of the desk with a PN532 on a
//! pty are run here once more.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "../support/desk.rs"]
mod desk;

use desk::{Readers, pcscd};

/// How the virtual encoders of these tests are attached.
const READERS: Readers = Readers::Pcsc { profile: "acr122u" };

#[path = "../loopback/causes.rs"]
mod causes;
mod client;
mod clients;
mod fake;
#[path = "../loopback/families.rs"]
mod families;
#[path = "../loopback/guests.rs"]
mod guests;
mod many;
mod moments;
mod others;
mod pages;
#[path = "../loopback/presence.rs"]
mod presence;
mod probe;
mod profiles;
mod rig;
#[path = "../loopback/sdk.rs"]
mod sdk;
#[path = "../loopback/tears.rs"]
mod tears;
mod transport;
#[path = "../support/virtual_reader.rs"]
mod virtual_reader;
