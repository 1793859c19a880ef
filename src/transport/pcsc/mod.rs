//! Readers behind PC/SC: what the service says of them, and a line to each.
//!
//! The calls of libpcsclite block, some of them for as long as another program likes: a transaction of somebody else
//! holds up a connect, a transmit and an escape for ever. So no call is made on a thread of the runtime. The monitor has
//! a thread and a context of its own, and so has each line; the asynchronous side waits for answers with a bound.
//!
//! Read in pcsc-lite 1.9.9 (`winscard.c`, `winscard_clnt.c`, `readerfactory.c`), which Debian 12 has, and 2.5.1:
//!
//! - libpcsclite keeps what it knows of all readers in one table for the whole process, and `SCardGetStatusChange`
//!   finds new readers by counting in that table. A call that refreshes it on another thread (`SCardStatus`,
//!   `SCardListReaders`) can make it miss one. **Only the monitor's thread makes these calls.**
//! - `SCardConnect` waits inside pcscd while another client is in a transaction; so does a connect to the bare reader.
//! - `SCardDisconnect` ends the transactions of its handle whatever has happened, `SCardEndTransaction` refuses after a
//!   reset and then keeps the reader locked. So a disconnect is what ends a transaction here.
//! - Dropping a [`pcsc::Card`] resets the card: others would lose what they had open. Cards are left by
//!   `disconnect(LeaveCard)`.

mod attributes;
mod error;
mod line;
mod monitor;
mod worker;

pub use attributes::{Attributes, UsbAddress, attributes};
pub use error::{Meaning, ServiceProblem, meaning};
#[cfg(test)]
pub(super) use line::{Calls, exchange};
pub use line::{PcscLine, PcscOpenError};
pub use monitor::{CardState, Monitor, ReaderState, Service, Snapshot};
#[cfg(test)]
pub(super) use worker::{Answer, Call};
