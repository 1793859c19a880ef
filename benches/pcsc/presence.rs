//! From a card that is put down to those who want to know.

use crate::desk::{Desk, Setup, VirtualEncoder};
use crate::figures::{Goal, Report, Times, number};
use crate::rig::{Bench, Client, Events, Peer, pause, uid};
use crate::{CONFIG, LOG, Settings, note};
use encoderd::api::bridge::Presence;
use encoderd::clock;
use encoderd::control::{Answer, Request, ask};
use std::time::Duration;
use tokio::time::Instant;

/// What is not told by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    report.say("\n| card placed → known | placements | lost | median, ms | 99 of 100, ms | most, ms | goal |");
    report.say("| --- | --- | --- | --- | --- | --- | --- |");
    note("presence: encoderd");
    let setup = Setup { encoders: &[("Front Desk", None)], config: CONFIG, log: Some(LOG), ..Setup::default() };
    let mut desk = Desk::start(setup).await;
    let events = Events::open(&desk);
    assert!(events.card(LOST_AFTER, None).is_some(), "the stream does not tell of the encoder");
    let times = placements(
        &desk.encoders[0],
        settings.placements,
        |uid| events.card(LOST_AFTER, Some(uid)),
        || events.card(LOST_AFTER, None),
    );
    row(report, "encoderd: `encoder` event of the hub's stream", &times, true);
    let times = by_status(&mut desk, settings.peer_placements).await;
    row(report, "encoderd: `encoderd.sock`, asked again and again", &times, false);
    drop(desk);
    for peer in Peer::OTHERS {
        note(&format!("presence: {}", peer.name()));
        let bench = Bench::start(1, &[]);
        let client = Client::start(peer, "watch", &bench.pcscd, 1);
        let times = placements(
            &bench.readers[0],
            settings.peer_placements,
            |uid| client.card(LOST_AFTER, uid),
            || client.gone(LOST_AFTER),
        );
        row(report, &format!("{}: event with the UID", peer.name()), &times, false);
    }
}

/// Puts cards down and takes them away, each after the one before was known of. From the order to the reader until it is
/// known; none where it was not.
fn placements(
    reader: &VirtualEncoder,
    count: usize,
    known: impl Fn(&str) -> Option<Instant>,
    gone: impl Fn() -> Option<Instant>,
) -> Vec<Option<Duration>> {
    let place = |number: usize| {
        let uid = uid(number);
        let begun = clock::now();
        reader.control(&format!("place classic-1k:{uid}"));
        let time = known(&uid).map(|moment| moment.duration_since(begun));
        between(number);
        reader.control("remove");
        let is_gone = gone().is_some();
        between(number * 7);
        // A removal that is lost is as bad.
        time.filter(|_| is_gone)
    };
    (1..=count).map(place).collect()
}

/// So that nothing that happens at fixed intervals is always or never met.
fn between(number: usize) {
    pause(Duration::from_micros((number * 1_733 % 10_000).try_into().unwrap()));
}

/// The same by asking the daemon's own socket without a pause.
async fn by_status(desk: &mut Desk, count: usize) -> Vec<Option<Duration>> {
    let socket = desk.state_dir().join("encoderd.sock");
    let mut times = Vec::new();
    for number in 1..=count {
        let begun = clock::now();
        desk.encoders[0].control(&format!("place classic-1k:{}", uid(number)));
        times.push(until(&socket, Presence::Present).await.map(|moment| moment.duration_since(begun)));
        between(number);
        desk.encoders[0].control("remove");
        until(&socket, Presence::Absent).await;
        between(number * 7);
    }
    times
}

async fn until(socket: &std::path::Path, wanted: Presence) -> Option<Instant> {
    let deadline = clock::Deadline::after(LOST_AFTER);
    while !deadline.has_passed() {
        let Ok(Answer::Status(status)) = ask(socket, &Request::Status).await else { panic!("no status") };
        if status.encoders.iter().all(|encoder| encoder.presence == wanted) {
            return Some(clock::now());
        }
    }
    None
}

fn row(report: &mut Report, what: &str, times: &[Option<Duration>], is_goal: bool) {
    let known: Vec<Duration> = times.iter().flatten().copied().collect();
    let lost = times.len() - known.len();
    let known = Times::new(known);
    let median = known.quantile_ms(50);
    let goal = if is_goal {
        let speed = report.judge(Goal::AtMost(5.0), median, || format!("{what}: median {median:.2} ms, goal ≤ 5"));
        let lost_goal = Goal::AtMost(0.0);
        let all = report.judge(lost_goal, f64::from(u32::try_from(lost).unwrap()), || format!("{what}: {lost} lost"));
        format!("median ≤ 5{speed}; none lost{all}")
    } else {
        "–".to_owned()
    };
    report.say(&format!(
        "| {what} | {} | {lost} | {} | {} | {} | {goal} |",
        times.len(),
        number(median),
        number(known.quantile_ms(99)),
        number(known.most_ms()),
    ));
}
