//! What every reader must do with Ultralight and NTAG.
//!
//! | file | what |
//! | --- | --- |
//! | `cards` | pages, versions, passwords, keys, refusals |
//! | `faults` | cards that leave, tear and change, lines that lose |
//! | `vectors` | the very bytes, from documents and logs |
//! | `rig` | every reader with a card on it |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends there"
)]

mod cards;
mod faults;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod vectors;
