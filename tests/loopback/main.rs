//! The whole path on real ptys: the built daemon, a virtual PN532 in a process of its own, a card with real rules, the
//! HTTP API. Every failure has its physical cause.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "../support/canary.rs"]
mod canary_search;
#[path = "../support/desk.rs"]
mod desk;
#[path = "../support/sysfs.rs"]
mod sysfs;

/// How the virtual encoders of these tests are attached.
const READERS: desk::Readers = desk::Readers::Serial;

mod canary;
mod causes;
mod clients;
mod families;
mod faults;
mod guests;
mod hotplug;
mod keys;
mod links;
mod ports;
mod presence;
mod sdk;
mod tears;
mod trips;
