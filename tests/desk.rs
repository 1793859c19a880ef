//! The clerk's page: who may use it, by plain HTTP; and what a clerk does with it, in a real browser, on the built daemon with
//! virtual encoders on ptys.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "support/desk.rs"]
mod desk;
#[path = "desk/http.rs"]
mod http;

use desk::{Desk, Setup};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the virtual encoders of these tests are attached.
const READERS: desk::Readers = desk::Readers::Serial;

/// One encoder with a blank card on it.
const WITH_CARD: &[(&str, Option<&str>)] = &[("Front Desk", Some("classic-1k:deadbeef"))];

/// One encoder without a card.
const WITHOUT_CARD: &[(&str, Option<&str>)] = &[("Front Desk", None)];

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser").join(path);
    assert!(path.exists(), "{} is missing: `scripts/setup test` installs it", path.display());
    path
}

/// Debian's Chromium, or another one by another name.
fn chromium() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|candidate| candidate.exists());
    found.expect("no Chromium on PATH: `apt-get install chromium`, or `scripts/setup test`")
}

/// Drives a browser on the desk's page with one of the scripts beside this file.
fn browse(desk: &Desk, script: &str) {
    let controls: Vec<_> = desk.encoders.iter().map(|encoder| encoder.control.to_str().unwrap()).collect();
    let output = Command::new(installed("node_modules/.bin/node"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/desk").join(script))
        .env("DESK_MODULES", installed("node_modules"))
        .env("DESK_CHROMIUM", chromium())
        .env("DESK_URL", &desk.url)
        .env("DESK_KEY", &desk.key)
        .env("DESK_CONTROLS", serde_json::to_string(&controls).unwrap())
        .env("DESK_DIRECTORY", desk.directory.path())
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}:\n{out}{error}");
}

async fn passes(script: &str, setup: Setup<'_>) {
    browse(&Desk::start(setup).await, script);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stay_is_made_read_extended_and_ended_by_clicking() {
    passes("encode.mjs", Setup { encoders: WITHOUT_CARD, ..Setup::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_said_and_mended() {
    passes("faults.mjs", Setup { encoders: WITHOUT_CARD, card_wait: Some("2s"), ..Setup::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_without_a_mouse() {
    passes("keyboard.mjs", Setup { encoders: WITH_CARD, ..Setup::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_fits_and_is_accessible_in_every_size_colour_and_language() {
    passes("looks.mjs", Setup { encoders: WITH_CARD, ..Setup::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encoders_are_chosen_named_and_linked() {
    let encoders = &[("Front Desk", Some("classic-1k:deadbeef")), ("Concierge", None)];
    passes("encoders.mjs", Setup { encoders, ..Setup::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_and_a_key_let_in_who_should_be() {
    passes("access.mjs", Setup { encoders: WITHOUT_CARD, config: "[desk]\npin = \"2468\"\n", ..Setup::default() })
        .await;
}
