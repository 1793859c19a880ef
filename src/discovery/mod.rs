//! Finds attached encoders and gives each an identity that lasts.

pub mod serial;
