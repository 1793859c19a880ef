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
//! | [`secret`] | bytes that are wiped and never printed |
//! | [`plan`] | looking at a card and the steps that change it, as data |
//! | [`card_sim`] | simulated cards and the field they lie in |
//!
//! Without the feature `alloc`, which is on by default, what is left is what a lock needs to verify a card:
//! [`layout::verify`] and what lies below it.
#![no_std]
#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
pub mod apdu;
#[cfg(feature = "alloc")]
pub mod atr;
#[cfg(feature = "alloc")]
pub mod card_sim;
#[cfg(feature = "alloc")]
pub mod command;
#[cfg(feature = "alloc")]
pub mod dialect;
pub mod family;
pub mod id;
pub mod layout;
#[cfg(feature = "alloc")]
pub mod plan;
pub mod secret;
