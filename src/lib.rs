//! encoderd: the bridge between card encoders at a front desk and the Seam API.
//!
//! Floors, from the ground; a module imports only from lower floors (`tests/tidy.rs` keeps this):
//!
//! | module | what it does |
//! | --- | --- |
//! | [`fault`] | turns every failure into an API error type and one sentence for the clerk |
//! | [`clock`] | reads time, alone |
//! | [`api`] | objects of the Seam API and of the bridge protocol: serde only |
//! | [`config`] | the configuration file |
//! | [`presence`] | debounces what a reader sees |
//! | [`telemetry`] | which parts work, and numbers |
//! | [`transport`] | lines to readers, and the pump |
//! | [`discovery`] | finds encoders and gives them lasting identities |
//! | [`emulator`] | virtual encoders on ptys |
//! | [`udev`] | rules for udev, made from the tables of readers, and for one configured port |
//! | [`device`] | the task that owns one encoder; the only writer of cards |
//! | [`keys`] | the property's card key and other secrets in files |
//! | [`store`] | the databases of the hub and of the daemon, alone with SQL |
//! | [`link`] | which device is which encoder of the cloud |
//! | [`upstream`] | the cloud as the bridge sees it |
//! | [`bridge`] | takes a job, writes it down, has it run, reports it |
//! | [`hub`] | the Seam API |
//! | [`backup`] | backup, restore, and the daemon's nightly copies |
//! | [`control`] | the control socket: what the running daemon is asked and told |
//! | [`desk`] | the clerk's page, and who may use it |
//! | [`daemon`] | puts the parts together |
//! | [`probe`] | diagnostics, one file a check |
//! | [`cli`] | the command line, one file a subcommand |

pub mod api;
pub mod backup;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod desk;
pub mod device;
pub mod discovery;
pub mod emulator;
pub mod fault;
pub mod hub;
pub mod keys;
pub mod link;
pub mod presence;
pub mod probe;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod udev;
pub mod upstream;
