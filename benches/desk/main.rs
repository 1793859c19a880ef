//! `make bench-desk`: how soon a card that is put on an encoder is seen on the clerk's page.
//!
//! A whole desk, the built daemon with a virtual PN532 on a pty, and Chromium with the page. `place.mjs` puts cards on and takes the time
//! from just before the emulator is told until the page's own observer has seen the sentence change, on the same clock.
//! Prints a table on stdout; ends with 1 when the goal is missed. `ENCODERD_BENCH_QUICK=1`: few placements.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "what cannot be measured ends it; the table is what it is for"
)]

#[path = "../../tests/support/desk.rs"]
mod desk;

use desk::{Desk, Setup};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How the encoders of a desk are attached.
const READERS: desk::Readers = desk::Readers::Serial;

/// What a clerk takes for at once.
const GOAL_MS: f64 = 300.0;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let log = Some("warn,encoderd=info");
    let desk = runtime.block_on(Desk::start(Setup { encoders: &[("Front Desk", None)], log, ..Setup::default() }));
    let quick = std::env::var("ENCODERD_BENCH_QUICK").is_ok_and(|value| value != "0" && !value.is_empty());
    let mut taken = placements(&desk, if quick { 10 } else { 200 });
    taken.sort_by(f64::total_cmp);
    let at = |per_mille: usize| taken[(taken.len() - 1) * per_mille / 1000];
    println!("| card placed → on the page | ms |\n| --- | --- |");
    println!("| placements | {} |", taken.len());
    for (name, per_mille) in [("median", 500), ("p99", 990), ("slowest", 1000)] {
        println!("| {name} | {:.0} |", at(per_mille));
    }
    if at(500) <= GOAL_MS { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The time that each of so many placements took, in milliseconds.
fn placements(desk: &Desk, count: usize) -> Vec<f64> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join("target/browser/node_modules");
    let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let chromium = chromium.into_iter().find(|path| path.exists()).expect("Chromium: `scripts/setup bench-desk`");
    let output = Command::new(modules.join(".bin/node"))
        .arg(root.join("benches/desk/place.mjs"))
        .arg(count.to_string())
        .env("DESK_MODULES", &modules)
        .env("DESK_CHROMIUM", chromium)
        .env("DESK_URL", &desk.url)
        .env("DESK_KEY", &desk.key)
        .env("DESK_CONTROLS", serde_json::to_string(&[&desk.encoders[0].control]).unwrap())
        .output()
        .expect("Node: `scripts/setup bench-desk`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let taken: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    taken.iter().map(|time| time.as_f64().unwrap()).collect()
}
