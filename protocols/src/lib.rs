//! Card encoder protocols as pure state machines.
//!
//! | module | what |
//! | --- | --- |
//! | [`apdu`], [`atr`] | what PC/SC readers are told and answer |
//! | [`id`] | what a card answers at activation |
//! | [`command`] | what can be asked of a card through any reader |
//! | [`family`] | what a card is: MIFARE Classic and others |
//! | [`dialect`] | how reader families speak, both ends of the line |
//! | [`layout`] | what lies where on a card, and what makes it authentic |
//! | [`plan`] | looking at a card and the steps that change it, as data |
//! | [`card_sim`] | simulated cards and the field they lie in |
#![no_std]
extern crate alloc;

pub mod apdu;
pub mod atr;
pub mod card_sim;
pub mod command;
pub mod dialect;
pub mod family;
pub mod id;
pub mod layout;
pub mod plan;
