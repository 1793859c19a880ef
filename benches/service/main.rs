//! `make bench-service`: what the daemon costs a PC that it is installed on: start, memory, wake-ups while idle.
//!
//! Prints Markdown tables on stdout and what it is doing on stderr; ends with 1 when a goal was missed.
//!
//! | variable | means |
//! | --- | --- |
//! | `ENCODERD_BENCH_PARTS` | some of `starts,idle`; without it all |
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
#[allow(dead_code, reason = "shared with the other benchmarks")]
#[path = "../hub/figures.rs"]
mod figures;

use desk::{Desk, PROGRAM, Setup, pcsc_environment};
use figures::{Figure, Goal, Report, ms, number};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How the encoders of a desk are attached; those on ptys come besides.
const READERS: desk::Readers = desk::Readers::Pcsc { profile: "acr122u" };

/// How long everything gets to come to rest.
const SETTLE: Duration = Duration::from_secs(12);

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_quick() -> bool {
    variable("ENCODERD_BENCH_QUICK").is_some_and(|value| value != "0")
}

fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap().to_owned()
}

fn note(text: &str) {
    eprintln!("bench-service: {text} (load {})", load());
}

fn main() -> anyhow::Result<ExitCode> {
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("this is a benchmark: `make bench-service` runs it");
        return Ok(ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) && !is_quick() {
        anyhow::bail!("built for development; `make bench-service` measures what is released");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    report.say(&format!("Load average at the start: {}.", load()));
    let parts = variable("ENCODERD_BENCH_PARTS").unwrap_or_else(|| "starts,idle".to_owned());
    for part in parts.split(',').map(str::trim) {
        match part {
            "starts" => starts(&mut report),
            "idle" => runtime.block_on(idle(&mut report)),
            unknown => panic!("ENCODERD_BENCH_PARTS: there is no part {unknown}; there are starts,idle"),
        }
    }
    report.say(&format!("\nLoad average at the end: {}.", load()));
    print!("{}", report.text());
    for line in report.missed() {
        eprintln!("bench-service: missed: {line}");
    }
    Ok(if report.missed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A daemon with an embedded hub and no encoder, which ends when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts the daemon on this directory; the time until its hub answers.
fn start(directory: &Path) -> (Daemon, Duration) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = directory.join("encoderd.toml");
    let text = format!(
        "[daemon]\nstate_dir = \"{}\"\n[hub]\nlisten = \"{address}\"\n[property]\nname = \"Bench\"\n",
        directory.join("state").display()
    );
    fs::write(&config, text).unwrap();
    let begun = Instant::now();
    let child = Command::new(PROGRAM)
        .args(["run", "--config"])
        .arg(&config)
        .envs(pcsc_environment(directory, None))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let daemon = Daemon(child);
    loop {
        if let Ok(mut connection) = TcpStream::connect(address) {
            connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            return (daemon, begun.elapsed());
        }
        assert!(begun.elapsed() < desk::PATIENCE, "it does not answer");
        std::thread::yield_now();
    }
}

fn starts(report: &mut Report) {
    note("starts");
    let times = if is_quick() { 3 } else { 30 };
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let directory = tempfile::tempdir().unwrap();
        fresh.push(ms(start(directory.path()).1));
        again.push(ms(start(directory.path()).1));
    }
    report.say(&format!("\n| from the spawn to the first answer, {times} times: median (least–most) | | goal |"));
    report.say("| --- | --- | --- |");
    report.alone("start, making the databases", "ms", &Figure::new(fresh), Goal::AtMost(250.0));
    report.alone("start, the databases are there", "ms", &Figure::new(again), Goal::AtMost(50.0));
}

async fn idle(report: &mut Report) {
    let time = Duration::from_secs(if is_quick() { 5 } else { 30 });
    report.say(&format!(
        "\n| the daemon with its hub, {} s at rest | wake-ups/s | goal | memory: PSS, MB | RSS, MB | goal | threads |",
        time.as_secs()
    ));
    report.say("| --- | --- | --- | --- | --- | --- | --- |");
    let off = "[discovery]\nserial = \"off\"\npcsc = false\n";
    let only_serial = "[discovery]\nserial = \"configured\"\npcsc = false\n";
    let only_pcsc = "[discovery]\nserial = \"off\"\n";
    // A chip takes its time for a search, and its host sleeps meanwhile. One that answers at once is asked again sooner.
    let paced: &[&str] = &["--pace"];
    let cases: [(&str, Setup<'_>, Goal, Goal); 6] = [
        ("no encoder, nothing looked for", Setup { config: off, ..Setup::default() }, Goal::AtMost(0.5), Goal::None),
        ("no encoder, as installed", Setup::default(), Goal::None, Goal::None),
        (
            "a PC/SC reader",
            Setup { encoders: &[("One", None)], config: only_pcsc, ..Setup::default() },
            Goal::AtMost(1.0),
            Goal::None,
        ),
        (
            "two PC/SC readers",
            Setup { encoders: &[("One", None), ("Two", None)], config: only_pcsc, ..Setup::default() },
            Goal::None,
            Goal::AtMost(20.0),
        ),
        (
            "a PN532",
            Setup { on_ptys: &[("One", None)], emulator_options: paced, config: only_serial, ..Setup::default() },
            Goal::AtMost(8.0),
            Goal::None,
        ),
        (
            "two PN532",
            Setup {
                on_ptys: &[("One", None), ("Two", None)],
                emulator_options: paced,
                config: only_serial,
                ..Setup::default()
            },
            Goal::None,
            Goal::AtMost(20.0),
        ),
    ];
    for (what, setup, wakeups_goal, memory_goal) in cases {
        note(what);
        let desk = Desk::start(Setup { log: Some("info"), ..setup }).await;
        let pid = desk.daemon_pid();
        std::thread::park_timeout(if is_quick() { time } else { SETTLE });
        let before = wakeups(pid);
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let woken = f64::from(u32::try_from(wakeups(pid) - before).unwrap()) / time.as_secs_f64();
        let (pss, rss) = memory_mb(pid);
        let line = |value: f64, unit: &str| format!("{what}: {} {unit}", number(value));
        let met = report.judge(wakeups_goal, woken, || line(woken, "wake-ups/s"));
        let memory_met = report.judge(memory_goal, pss, || line(pss, "MB"));
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
        let mut row = String::new();
        write!(row, "| {what} | {} | {}{met} | ", number(woken), wakeups_goal.text()).unwrap();
        write!(row, "{} | {} | {}{memory_met} | {threads} |", number(pss), number(rss), memory_goal.text()).unwrap();
        report.say(&row);
    }
}

/// Voluntary context switches of all threads so far.
fn wakeups(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of = |status: String| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    };
    // A thread may have ended since it was listed.
    threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).map(of).sum()
}

/// Proportional and resident set, in MB of a million bytes.
fn memory_mb(pid: u32) -> (f64, f64) {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let kb = |name: &str| -> f64 {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (kb("Pss:") * 1024.0 / 1e6, kb("Rss:") * 1024.0 / 1e6)
}
