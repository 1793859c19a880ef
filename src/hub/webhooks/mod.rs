//! Webhooks: events are sent to the addresses that callers gave.
//!
//! | module | what it does |
//! | --- | --- |
//! | `delivery` | finds what is due, makes tries, writes down what became of them |
//! | `schedule` | when a delivery is tried, and how many at a time |
//! | `request` | one try |
//! | `signature` | the secret, and what a delivery is signed with |
//! | `address` | which addresses may be connected to |
//!
//! A delivery is written down in the transaction of its event, and a try is counted before it is made. So a restart
//! loses nothing. A node that dies between a receiver's answer and its note makes the receiver get the event once
//! more, with the same `svix-id`: at least once, not exactly once.

mod address;
mod delivery;
mod request;
mod schedule;
mod signature;

pub(super) use delivery::{Mailroom, deliver};
pub use schedule::WebhookPatience;
pub(super) use signature::new_secret;
