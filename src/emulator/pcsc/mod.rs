//! Readers behind PC/SC: what their driver talks to.
//!
//! | file | what |
//! | --- | --- |
//! | `reader` | the reader: power, APDUs, escapes, faults |
//! | `messages` | how vpcd and the test driver pack what they say |
//! | `vpcd` | a card behind vsmartcard's virtual reader |
//! | `bus`, `plug` | a whole USB reader on a virtual bus directory, for the tests' own driver |

mod bus;
mod messages;
mod plug;
mod reader;
mod vpcd;

pub(super) use bus::BusEnd;
pub use plug::{UsbPort, UsbPortError};
pub(super) use vpcd::VpcdEnd;
pub use vpcd::{VpcdAddress, VpcdAddressError};
