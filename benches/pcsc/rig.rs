//! What all parts stand on: programs that say lines, with the moment of each; what the kernel counts of a process.

use crate::desk::pcscd::Pcscd;
use crate::desk::{Desk, PATIENCE, ReaderSetup, VirtualEncoder};
use encoderd::clock::{self, Deadline};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// Lines as they arrive, each with its moment.
pub(crate) struct Lines(Receiver<(Instant, String)>);

impl Lines {
    pub(crate) fn of(source: impl Read + Send + 'static) -> Self {
        let (send, lines) = sync_channel(4096);
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                if send.send((clock::now(), line)).is_err() {
                    break;
                }
            }
        });
        Self(lines)
    }

    /// The next line that is wanted, and when it came; none when none comes in this time.
    pub(crate) fn wait<T>(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Option<(Instant, T)> {
        let deadline = Deadline::after(patience);
        loop {
            let (moment, line) = self.0.recv_timeout(deadline.remaining()).ok()?;
            if let Some(found) = wanted(&line) {
                return Some((moment, found));
            }
        }
    }
}

/// The hub's stream of events, with the state of the encoders.
pub(crate) struct Events(Lines);

impl Events {
    pub(crate) fn open(desk: &Desk) -> Self {
        let address = desk.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        // By HTTP/1.0 the events are not cut into chunks.
        write!(
            stream,
            "GET /encoderd/v1/events?encoders=true HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
            desk.key
        )
        .unwrap();
        Self(Lines::of(stream))
    }

    /// When an encoder was first told of that is so.
    pub(crate) fn wait(&self, patience: Duration, is_so: impl Fn(&Value) -> bool) -> Option<Instant> {
        let told = self.0.wait(patience, |line| {
            let encoder: Value = serde_json::from_str(line.strip_prefix("data: ")?).unwrap();
            is_so(&encoder).then_some(())
        });
        told.map(|(moment, ())| moment)
    }

    /// When it was told that this card lies there; none: that none does.
    pub(crate) fn card(&self, patience: Duration, uid: Option<&str>) -> Option<Instant> {
        self.wait(patience, |encoder| {
            encoder["state"] == "online"
                && match (uid, encoder["card_number"].as_str()) {
                    (Some(uid), Some(found)) => encoder["presence"] == "present" && found.eq_ignore_ascii_case(uid),
                    (None, None) => encoder["presence"] == "absent",
                    (Some(_), None) | (None, Some(_)) => false,
                }
        })
    }
}

/// The programs that are measured beside the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This crate's own line to a reader, in a process of its own: what the daemon's device uses.
    Ours,
    NfcPcsc,
    Pyscard,
}

impl Peer {
    pub(crate) const OTHERS: [Self; 2] = [Self::NfcPcsc, Self::Pyscard];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "encoderd",
            Self::NfcPcsc => "nfc-pcsc",
            Self::Pyscard => "pyscard",
        }
    }

    fn command(self, what: &str, pcscd: &Pcscd) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Where `scripts/setup bench-pcsc` puts them.
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
        let there = |path: PathBuf| {
            assert!(path.exists(), "{} is missing: run this with `make bench-pcsc`", path.display());
            path
        };
        match self {
            Self::Ours => {
                let mut command = pcscd.client(std::env::current_exe().unwrap());
                command.arg(crate::OURS).arg(what);
                command
            }
            Self::NfcPcsc => {
                let modules = there(installed.join("peer-pcsc/node_modules"));
                let mut command = pcscd.client(there(modules.join(".bin/node")));
                command.env("NODE_PATH", modules).arg(root.join("benches/pcsc/peer.cjs")).arg(what);
                command
            }
            Self::Pyscard => {
                let mut command = pcscd.client(there(installed.join("venv/bin/python")));
                command.arg(root.join("benches/pcsc/peer.py")).arg(what);
                command
            }
        }
    }
}

/// Such a program at work. Ends with this value.
pub(crate) struct Client {
    child: Child,
    lines: Lines,
}

impl Client {
    /// Starts it and waits until it is ready for cards on so many readers.
    pub(crate) fn start(peer: Peer, what: &str, pcscd: &Pcscd, readers: usize) -> Self {
        let mut command = peer.command(what, pcscd);
        // What they say to people is not looked at: a pcscd that ends makes them complain.
        command.arg(readers.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", peer.name()));
        let lines = Lines::of(child.stdout.take().unwrap());
        let client = Self { child, lines };
        let ready = client.lines.wait(PATIENCE, |line| (line == "ready").then_some(()));
        assert!(ready.is_some(), "{} is not ready", peer.name());
        client
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When it said that it has seen this card, or has done its work on it.
    pub(crate) fn card(&self, patience: Duration, uid: &str) -> Option<Instant> {
        let said = self.lines.wait(patience, |line| {
            let (word, rest) = line.split_once(' ')?;
            assert_ne!(word, "failed", "{rest}");
            (["card", "done"].contains(&word) && rest.eq_ignore_ascii_case(uid)).then_some(())
        });
        said.map(|(moment, ())| moment)
    }

    /// Whether it says that it has seen a card.
    pub(crate) fn any_card(&self, patience: Duration) -> bool {
        self.lines.wait(patience, |line| line.starts_with("card ").then_some(())).is_some()
    }

    /// When it said that a card was taken away.
    pub(crate) fn gone(&self, patience: Duration) -> Option<Instant> {
        self.lines.wait(patience, |line| (line == "gone").then_some(())).map(|(moment, ())| moment)
    }

    /// How it ended, if it does so within this time.
    pub(crate) fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Deadline::after(patience);
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || deadline.has_passed() {
                return ended;
            }
            pause(Duration::from_millis(5));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A private pcscd with readers on its bus.
pub(crate) struct Bench {
    // Fields are dropped in this order.
    pub(crate) readers: Vec<VirtualEncoder>,
    pub(crate) pcscd: Pcscd,
    _bus: TempDir,
}

impl Bench {
    pub(crate) fn start(readers: usize, options: &[&str]) -> Self {
        let bus = tempfile::tempdir().unwrap();
        let pcscd = Pcscd::start(bus.path());
        let plug_in = |number: usize| {
            let serial = format!("BENCH{number}");
            let reader = ReaderSetup { profile: "acr122u", usb_port: format!("1-{number}"), serial: Some(&serial) };
            VirtualEncoder::start_reader(bus.path(), &serial, &reader, None, options)
        };
        let readers = (1..=readers).map(plug_in).collect();
        Self { readers, pcscd, _bus: bus }
    }
}

/// The n-th card: its UID in hexadecimal. The first byte is that of NXP, which no random UID has.
pub(crate) fn uid(number: usize) -> String {
    format!("04{number:06x}")
}

/// Blocks this thread, on which nothing else runs.
pub(crate) fn pause(time: Duration) {
    let deadline = Deadline::after(time);
    while !deadline.has_passed() {
        std::thread::park_timeout(deadline.remaining());
    }
}

/// What the kernel has counted of a process.
pub(crate) struct Counted {
    /// By thread: its name, how often it gave up the processor by itself, processor time in ticks of 10 ms.
    threads: BTreeMap<u32, (String, u64, u64)>,
}

impl Counted {
    pub(crate) fn of(pid: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        // A thread may end while it is looked at.
        let threads = tasks.filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?.trim().to_owned();
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let switches = status_line(&status, "voluntary_ctxt_switches")?.parse().ok()?;
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            // The name in parentheses may hold blanks; user and system time are fields 14 and 15 of the line.
            let (_, fields) = stat.rsplit_once(") ")?;
            let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
            Some((task.file_name().to_str()?.parse().ok()?, (name, switches, ticks)))
        });
        Self { threads: threads.collect() }
    }

    /// How often threads whose names begin so were woken since `before`, and the ticks that they took.
    pub(crate) fn since(&self, before: &Self, prefix: &str) -> (u64, u64) {
        let mut sums = (0, 0);
        for (id, (name, switches, ticks)) in &self.threads {
            if name.starts_with(prefix) {
                let (earlier_switches, earlier_ticks) =
                    before.threads.get(id).map_or((0, 0), |thread| (thread.1, thread.2));
                sums.0 += switches - earlier_switches;
                sums.1 += ticks - earlier_ticks;
            }
        }
        sums
    }

    /// How many threads have names that begin so.
    pub(crate) fn threads(&self, prefix: &str) -> usize {
        self.threads.values().filter(|(name, _, _)| name.starts_with(prefix)).count()
    }
}

/// Resident memory (`VmRSS`), in MB.
pub(crate) fn memory_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kilobytes: u32 = status_line(&status, "VmRSS").unwrap().trim_end_matches(" kB").parse().unwrap();
    // What the kernel calls kB are 1024 bytes.
    f64::from(kilobytes) * 1024.0 / 1e6
}

fn status_line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
