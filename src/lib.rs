//! encoderd: the bridge between card encoders at a front desk and the Seam API.
//!
//! Floors, from the ground; a module imports only from lower floors (`tests/tidy.rs` keeps this):
//!
//! | module | what it does |
//! | --- | --- |
//! | [`fault`] | turns every failure into an API error type and one sentence for the clerk |
//! | [`clock`] | reads time, alone |
//! | [`api`] | objects of the Seam API and of the bridge protocol: serde only |
//! | [`emulator`] | plays a virtual encoder on a pty |
//! | [`cli`] | the command line, one file a subcommand |

pub mod api;
pub mod cli;
pub mod clock;
pub mod emulator;
pub mod fault;
