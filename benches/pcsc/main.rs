//! `make bench-pcsc`: readers behind PC/SC, our daemon beside nfc-pcsc and pyscard, on the same virtual readers.
//!
//! Prints Markdown tables on stdout and what it is doing on stderr; ends with 1 when a goal was missed.
//!
//! | variable | means |
//! | --- | --- |
//! | `ENCODERD_BENCH_PARTS` | some of `presence,jobs,idle,restart`; without it all |
//! | `ENCODERD_BENCH_QUICK` | `1`: everything small, to see whether it works |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what cannot be measured ends it; the tables are what it is for"
)]

#[path = "../../tests/support/desk.rs"]
mod desk;
#[allow(dead_code, reason = "shared with the other benchmark")]
#[path = "../hub/figures.rs"]
mod figures;
mod idle;
mod jobs;
mod ours;
mod presence;
mod restart;
mod rig;

use figures::Report;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

/// How the encoders of a desk are attached.
const READERS: desk::Readers = desk::Readers::Pcsc { profile: "acr122u" };

/// The argument that makes this program one of those that are measured.
const OURS: &str = "--play-ours";

/// How a desk is configured: no look at serial ports, which is not what is measured.
const CONFIG: &str = "[discovery]\nserial = \"off\"\n";

/// What a daemon logs unless it is told otherwise.
const LOG: &str = "info";

/// How much is measured.
struct Settings {
    placements: usize,
    peer_placements: usize,
    jobs: usize,
    idle: Duration,
    restarts: usize,
}

impl Settings {
    fn from_environment() -> Self {
        let is_quick = variable("ENCODERD_BENCH_QUICK").is_some_and(|value| value != "0");
        let pick = |whole, quick| if is_quick { quick } else { whole };
        Self {
            placements: pick(1_000, 50),
            peer_placements: pick(200, 20),
            jobs: pick(20, 3),
            idle: Duration::from_secs(if is_quick { 3 } else { 15 }),
            restarts: pick(10, 2),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says what is being done, and how busy the machine is.
fn note(text: &str) {
    eprintln!("bench-pcsc: {text} (load {})", load());
}

/// The load average of the last minute.
fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap().to_owned()
}

fn main() -> anyhow::Result<ExitCode> {
    let is_asked = |name: &str| std::env::args().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if is_asked(OURS) {
        runtime.block_on(ours::run())?;
        return Ok(ExitCode::SUCCESS);
    }
    if !is_asked("--bench") {
        eprintln!("this is a benchmark: `make bench-pcsc` runs it");
        return Ok(ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) {
        anyhow::bail!("built for development; `make bench-pcsc` measures what is released");
    }
    let report = runtime.block_on(run(&Settings::from_environment()));
    print!("{}", report.text());
    for line in report.missed() {
        eprintln!("bench-pcsc: missed: {line}");
    }
    Ok(if report.missed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(settings: &Settings) -> Report {
    const PARTS: &str = "presence,jobs,idle,restart";
    let parts = variable("ENCODERD_BENCH_PARTS").unwrap_or_else(|| PARTS.to_owned());
    let mut report = Report::default();
    report.say(&machine());
    let mut loads = vec![load()];
    for part in parts.split(',').map(str::trim) {
        match part {
            "presence" => presence::measure(settings, &mut report).await,
            "jobs" => jobs::measure(settings, &mut report).await,
            "idle" => idle::measure(settings, &mut report).await,
            "restart" => restart::measure(settings, &mut report).await,
            unknown => panic!("ENCODERD_BENCH_PARTS: there is no part {unknown}; there are {PARTS}"),
        }
        loads.push(load());
    }
    report.say(&format!("\nLoad average before, between and after the parts: {}.", loads.join(", ")));
    report
}

/// What it was measured on.
fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap();
    let models = processors.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let models: Vec<&str> = models.map(|(_, model)| model).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    format!("Machine: {} × {}, Linux {}.", models.len(), models.first().unwrap_or(&"unknown"), kernel.trim())
}
