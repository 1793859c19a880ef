//! Card encoder protocols as pure state machines.
#![no_std]
extern crate alloc;

pub mod card_sim;
pub mod command;
pub mod family;
pub mod id;
pub mod layout;
pub mod plan;
