//! `encoderd card` on virtual encoders: with a daemon and without one, against libnfc's own tools and the card's memory.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "../support/desk.rs"]
mod desk;

mod alone;
mod daemon;
mod raw;

/// How the virtual encoders of these tests are attached.
const READERS: desk::Readers = desk::Readers::Serial;

use desk::PROGRAM;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `encoderd card …` on a configuration.
fn card(config: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .arg("card")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .env_remove("ENCODERD_CONFIG")
        .env("PCSCLITE_CSOCK_NAME", "/nonexistent/pcscd.comm")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program starts")
}

/// The same, which must succeed; what it prints.
fn ok(config: &Path, arguments: &[&str]) -> String {
    let output = card(config, arguments);
    assert!(output.status.success(), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
