//! What every reader behind PC/SC must do: a table of profiles, which a new one inherits.
//!
//! | file | what |
//! | --- | --- |
//! | `smooth` | what lies there, every command, and what it costs |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends there"
)]

mod smooth;
#[path = "../support/mod.rs"]
mod support;
