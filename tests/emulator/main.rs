//! The virtual encoder as outside tools meet it: its command line, its pty, its control socket, and libnfc as its host.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod apdus;
mod bus;
mod control;
mod faults;
mod frames;
mod libnfc;
mod lifetime;
mod rig;
