//! encoderd: the bridge between card encoders at a front desk and the Seam API.
//!
//! Floors, from the ground; a module imports only from lower floors (`tests/tidy.rs` keeps this):
//!
//! | module | what it does |
//! | --- | --- |
//! | [`fault`] | turns every failure into an API error type and one sentence for the clerk |
//! | [`clock`] | reads time, alone |
//! | [`api`] | objects of the Seam API and of the bridge protocol: serde only |
//! | [`store`] | the databases of the hub and of the daemon, alone with SQL |
//! | [`hub`] | the cloud's side: an HTTP server with the Seam API, which knows nothing of devices |

pub mod api;
pub mod clock;
pub mod fault;
pub mod hub;
pub mod store;
