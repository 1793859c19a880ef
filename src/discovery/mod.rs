//! Finds attached encoders and gives each an identity that lasts.

pub mod pcsc;
pub mod serial;
