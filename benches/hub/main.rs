//! `make bench-hub`: our hub beside `@seamapi/fake-seam-connect`, and our hub alone.
//!
//! Prints Markdown tables on stdout and what it is doing on stderr; ends with 1 when a goal was missed.
//!
//! | variable | means |
//! | --- | --- |
//! | `ENCODERD_BENCH_DATABASE` | the PostgreSQL server for our hub, `postgres://…`: each of its starts gets a schema there, which stays; without it SQLite files below `target/tmp` |
//! | `ENCODERD_BENCH_PARTS` | some of `reads,starts,alone`; without it all |
//! | `ENCODERD_BENCH_POLLS` | how many desks wait; without it 10,000 |
//! | `ENCODERD_BENCH_QUICK` | `1`: everything small, to see whether it works |

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the tables are what it is for")]

mod alone;
mod beside;
mod desk;
mod figures;
mod http;
mod server;

use anyhow::{Context as _, bail};
use encoderd::clock;
use figures::{Report, Times};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The PostgreSQL server for our hub; none: SQLite.
    pub(crate) database: Option<String>,
    /// Rounds of reads.
    pub(crate) rounds: usize,
    /// Requests of a round that do not count, and those that do.
    pub(crate) warm_up: usize,
    pub(crate) timed: usize,
    /// Starts of each side.
    pub(crate) starts: usize,
    /// Rounds of encodes, and how long one lasts where it is not counted.
    pub(crate) encode_rounds: usize,
    pub(crate) encode_time: Duration,
    pub(crate) dispatch_seconds: u32,
    pub(crate) idle_polls: usize,
    pub(crate) idle_seconds: usize,
}

impl Settings {
    fn from_environment() -> anyhow::Result<Self> {
        let is_quick = variable("ENCODERD_BENCH_QUICK").is_some_and(|value| value != "0");
        let pick = |whole, quick| if is_quick { quick } else { whole };
        let polls = variable("ENCODERD_BENCH_POLLS").map(|value| value.parse()).transpose();
        Ok(Self {
            database: variable("ENCODERD_BENCH_DATABASE"),
            rounds: pick(9, 3),
            warm_up: 100,
            timed: pick(2_000, 300),
            starts: pick(9, 3),
            encode_rounds: pick(3, 1),
            encode_time: Duration::from_secs(if is_quick { 2 } else { 10 }),
            dispatch_seconds: if is_quick { 3 } else { 20 },
            idle_polls: polls.context("ENCODERD_BENCH_POLLS is no number")?.unwrap_or(pick(10_000, 300)),
            idle_seconds: pick(40, 3),
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says what is being done, and how busy the machine is.
pub(crate) fn note(text: &str) -> anyhow::Result<()> {
    eprintln!("bench-hub: {text} (load {})", load()?);
    Ok(())
}

/// The load average of the last minute.
fn load() -> anyhow::Result<String> {
    let all = fs::read_to_string("/proc/loadavg")?;
    Ok(all.split(' ').next().unwrap_or_default().to_owned())
}

fn main() -> anyhow::Result<ExitCode> {
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("this is a benchmark: `make bench-hub` runs it");
        return Ok(ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) {
        bail!("built for development; `make bench-hub` measures what is released");
    }
    // One thread: what it takes from the servers' processors is little, and nothing wakes another thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&Settings::from_environment()?))?;
    print!("{}", report.text());
    for line in report.missed() {
        eprintln!("bench-hub: missed: {line}");
    }
    Ok(if report.missed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let parts = variable("ENCODERD_BENCH_PARTS").unwrap_or_else(|| "reads,starts,alone".to_owned());
    let parts: Vec<&str> = parts.split(',').map(str::trim).collect();
    if let Some(unknown) = parts.iter().find(|part| !["reads", "starts", "alone"].contains(part)) {
        bail!("ENCODERD_BENCH_PARTS: there is no part {unknown}; reads, starts and alone are");
    }
    // Below `target`, since `/tmp` is often memory, where a durable write costs nothing.
    let directory = tempfile::Builder::new().prefix("bench-hub-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Report::default();
    report.say(&machine(settings, directory.path())?);
    if parts.contains(&"reads") || parts.contains(&"starts") {
        report.say("\n| what | encoderd hub | fake-seam-connect | ratio | goal |\n| --- | --- | --- | --- | --- |");
    }
    let before = load()?;
    if parts.contains(&"reads") {
        beside::reads(settings, directory.path(), &mut report).await?;
    }
    if parts.contains(&"starts") {
        beside::starts(settings, directory.path(), &mut report).await?;
    }
    let between = load()?;
    if parts.contains(&"alone") {
        report.say("\n| what | encoderd hub | goal |\n| --- | --- | --- |");
        // What was measured until then is worth seeing.
        if let Err(error) = alone::all(settings, directory.path(), &mut report).await {
            report.fail(format!("{error:#}"));
        }
    }
    report.say(&format!("\nLoad average before, between and after the two tables: {before}, {between}, {}.", load()?));
    Ok(report)
}

/// What it was measured on.
fn machine(settings: &Settings, directory: &Path) -> anyhow::Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models = processors.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let models: Vec<&str> = models.map(|(_, model)| model).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let writes = durable_writes(directory)?;
    Ok(format!(
        "Machine: {} × {}, Linux {}. Our hub on {}. A write of 4 kB with fsync on its disk: p50 {:.2} ms, p99 {:.2} ms.",
        models.len(),
        models.first().unwrap_or(&"unknown processor"),
        kernel.trim(),
        if settings.database.is_some() { "PostgreSQL" } else { "SQLite" },
        writes.quantile_ms(50),
        writes.quantile_ms(99),
    ))
}

/// What durability costs on this disk: every accepted encode contains at least one of these.
fn durable_writes(directory: &Path) -> anyhow::Result<Times> {
    let mut file = File::create(directory.join("fsync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = clock::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(clock::now().duration_since(begun));
    }
    Ok(Times::new(times))
}
