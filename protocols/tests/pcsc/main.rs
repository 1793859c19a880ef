//! What every reader behind PC/SC must do: a table of profiles, which a new one inherits.
//!
//! | file | what |
//! | --- | --- |
//! | `bounds` | whatever comes back, every command ends |
//! | `cards` | what lies there, what it refuses, what leaves |
//! | `encode` | whole credentials, beside the PN532 |
//! | `faults` | every status word, short answer and failure at every step |
//! | `ladder` | key slots of a reader that nothing is known of |
//! | `smooth` | every command, and what it costs |
//! | `vectors` | bytes of manuals, logs and other programs |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends there"
)]

mod bounds;
mod cards;
mod encode;
mod faults;
mod ladder;
mod smooth;
#[path = "../support/mod.rs"]
mod support;
mod vectors;
