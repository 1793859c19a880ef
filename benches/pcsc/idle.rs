//! What it costs to wait.

use crate::desk::pcscd::Pcscd;
use crate::desk::{Desk, PATIENCE, Setup, VirtualEncoder};
use crate::figures::{Goal, Report, number};
use crate::rig::{Bench, Client, Counted, Peer, memory_mb, pause, uid};
use crate::{CONFIG, LOG, Settings, note};
use std::time::Duration;

const READERS: usize = 4;

/// How long everybody gets to come to rest. pcscd switches a card off that nobody uses, after 5 s.
const SETTLE: Duration = Duration::from_secs(12);

/// The daemon's threads that have to do with PC/SC.
const PCSC_THREADS: &str = "pcsc-";

pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    report.say(&format!(
        "\n| {READERS} readers, {} s | wake-ups/s, no cards | with cards | processor, % of one, no cards | with cards | \
         memory, MB | threads | goal |",
        settings.idle.as_secs()
    ));
    report.say("| --- | --- | --- | --- | --- | --- | --- | --- |");
    note("idle: encoderd");
    let encoders = [("One", None), ("Two", None), ("Three", None), ("Four", None)];
    let desk = Desk::start(Setup { encoders: &encoders, config: CONFIG, log: Some(LOG), ..Setup::default() }).await;
    let pcscd = desk.pcscd.as_ref().expect("the readers are behind one");
    let pid = desk.daemon_pid();
    let rest = Rest::new(settings.idle, pid, pcscd, &[PCSC_THREADS, ""]);
    let empty = rest.measure();
    place(&desk.encoders);
    for (index, _) in desk.encoders.iter().enumerate() {
        desk.wait_for_card(index, Some(&uid(index + 1).to_uppercase())).await;
    }
    let full = rest.measure();
    let goal = |report: &mut Report, what: &str, goal: Goal, value: f64| {
        let met = report.judge(goal, value, || format!("idle: {what}: {}", number(value)));
        format!("{what} {}{met}", goal.text())
    };
    let worst = |index: usize, of: fn(&Cost) -> f64| of(&empty[index]).max(of(&full[index]));
    let goals = [
        goal(report, "wake-ups/s", Goal::AtMost(1.0), worst(0, |cost| cost.wakeups)),
        goal(report, "processor", Goal::AtMost(0.1), worst(0, |cost| cost.processor)),
    ];
    rest.row(report, "encoderd: its PC/SC threads", PCSC_THREADS, 0, &empty, &full, &goals.join("; "));
    let goals = [goal(report, "processor", Goal::AtMost(1.0), worst(1, |cost| cost.processor))];
    rest.row(report, "encoderd: the whole daemon with its hub", "", 1, &empty, &full, &goals.join("; "));
    rest.pcscd_row(report, "encoderd", &empty, &full);
    drop(desk);
    without_readers(settings, report).await;
    for peer in Peer::OTHERS {
        note(&format!("idle: {}", peer.name()));
        let bench = Bench::start(READERS, &[]);
        let client = Client::start(peer, "watch", &bench.pcscd, READERS);
        let rest = Rest::new(settings.idle, client.pid(), &bench.pcscd, &[""]);
        let empty = rest.measure();
        place(&bench.readers);
        for _ in &bench.readers {
            assert!(client.any_card(PATIENCE), "{} does not see a card", peer.name());
        }
        let full = rest.measure();
        rest.row(report, peer.name(), "", 0, &empty, &full, "–");
        rest.pcscd_row(report, peer.name(), &empty, &full);
    }
}

/// What the daemon and its hub do by themselves.
async fn without_readers(settings: &Settings, report: &mut Report) {
    note("idle: encoderd without readers");
    let config = format!("{CONFIG}pcsc = false\n");
    let desk = Desk::start(Setup { config: &config, log: Some(LOG), ..Setup::default() }).await;
    let pcscd = desk.pcscd.as_ref().expect("one is there, with no readers");
    let rest = Rest::new(settings.idle, desk.daemon_pid(), pcscd, &[""]);
    let cost = rest.measure();
    rest.row(report, "encoderd: daemon and hub, no readers, PC/SC off", "", 0, &cost, &[], "–");
}

fn place(readers: &[VirtualEncoder]) {
    for (index, reader) in readers.iter().enumerate() {
        reader.control(&format!("place classic-1k:{}", uid(index + 1)));
    }
}

/// What was used in the time.
struct Cost {
    /// A second.
    wakeups: f64,
    /// Per cent of one.
    processor: f64,
}

/// A program at rest, and the pcscd that it uses.
struct Rest<'a> {
    time: Duration,
    pid: u32,
    pcscd: u32,
    /// Groups of threads, by how their names begin.
    groups: &'a [&'a str],
}

impl<'a> Rest<'a> {
    fn new(time: Duration, pid: u32, pcscd: &Pcscd, groups: &'a [&'a str]) -> Self {
        let pcscd = pcscd.pid().as_raw_nonzero().get().try_into().unwrap();
        Self { time, pid, pcscd, groups }
    }

    /// Of each group, then of pcscd.
    fn measure(&self) -> Vec<Cost> {
        pause(SETTLE);
        let before = [Counted::of(self.pid), Counted::of(self.pcscd)];
        pause(self.time);
        let after = [Counted::of(self.pid), Counted::of(self.pcscd)];
        let float = |count: u64| f64::from(u32::try_from(count).unwrap());
        let cost = |(wakeups, ticks): (u64, u64)| Cost {
            wakeups: float(wakeups) / self.time.as_secs_f64(),
            // A tick is 10 ms, which is one per cent of a second.
            processor: float(ticks) / self.time.as_secs_f64(),
        };
        let ours = self.groups.iter().map(|group| cost(after[0].since(&before[0], group)));
        ours.chain([cost(after[1].since(&before[1], ""))]).collect()
    }

    #[expect(clippy::too_many_arguments, reason = "the cells of one row")]
    fn row(
        &self,
        report: &mut Report,
        what: &str,
        group: &str,
        index: usize,
        empty: &[Cost],
        full: &[Cost],
        goal: &str,
    ) {
        let memory = if group.is_empty() { number(memory_mb(self.pid)) } else { String::new() };
        let threads = Counted::of(self.pid).threads(group);
        cells(report, what, &empty[index], full.get(index), &memory, threads, goal);
    }

    fn pcscd_row(&self, report: &mut Report, client: &str, empty: &[Cost], full: &[Cost]) {
        let what = format!("its pcscd, with {client}");
        let threads = Counted::of(self.pcscd).threads("");
        cells(report, &what, empty.last().unwrap(), full.last(), &number(memory_mb(self.pcscd)), threads, "–");
    }
}

fn cells(report: &mut Report, what: &str, empty: &Cost, full: Option<&Cost>, memory: &str, threads: usize, goal: &str) {
    let with_cards = |of: fn(&Cost) -> f64| full.map_or_else(|| "–".to_owned(), |cost| number(of(cost)));
    report.say(&format!(
        "| {what} | {} | {} | {} | {} | {memory} | {threads} | {goal} |",
        number(empty.wakeups),
        with_cards(|cost| cost.wakeups),
        number(empty.processor),
        with_cards(|cost| cost.processor),
    ));
}
