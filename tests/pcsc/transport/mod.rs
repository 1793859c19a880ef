//! The monitor, lines and discovery against a real pcscd.
//!
//! libpcsclite reads from the environment which pcscd it is to talk to, and a process may not change its own: each test
//! runs its own binary again, for itself alone, with the environment set, and what it tests happens there.

mod line;
mod monitor;
mod own_process;
mod readers;
mod script;
