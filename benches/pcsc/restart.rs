//! pcscd ends and comes back.

use crate::desk::pcscd::{Meanwhile, Pcscd};
use crate::desk::{Desk, PATIENCE, Setup};
use crate::figures::{Goal, Report, Times, number};
use crate::rig::{Bench, Client, Events, Peer, pause, uid};
use crate::{CONFIG, LOG, Settings, note};
use encoderd::clock;
use std::time::Duration;

/// How long pcscd is away.
const AWAY: Duration = Duration::from_millis(500);

/// Who has not seen a card by then does not see it.
const UNSEEN_AFTER: Duration = Duration::from_secs(10);

pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    report.say("\n| pcscd ends and starts again | what it does | goal |");
    report.say("| --- | --- | --- |");
    note("restart: encoderd");
    let setup = Setup { encoders: &[("Front Desk", None)], config: CONFIG, log: Some(LOG), ..Setup::default() };
    let mut desk = Desk::start(setup).await;
    let events = Events::open(&desk);
    assert!(events.card(PATIENCE, None).is_some(), "the stream does not tell of the encoder");
    let (mut offline, mut usable) = (Vec::new(), Vec::new());
    for cycle in 0..settings.restarts {
        let uid = uid(cycle + 1);
        let mut pcscd = desk.pcscd.take().expect("the reader is behind one");
        let begun = clock::now();
        end(&mut pcscd, cycle);
        let told = events.wait(PATIENCE, |encoder| encoder["state"] == "offline").expect("the daemon says so");
        offline.push(told.duration_since(begun));
        pause(AWAY);
        // A card comes while nobody can see it.
        desk.encoders[0].control(&format!("place classic-1k:{uid}"));
        let begun = clock::now();
        pcscd.start_again();
        let told = events.card(PATIENCE, Some(&uid)).expect("the card is seen");
        usable.push(told.duration_since(begun));
        desk.pcscd = Some(pcscd);
        desk.scan_well(0).await;
        desk.encoders[0].control("remove");
        events.card(PATIENCE, None).expect("the removal is seen");
    }
    let (offline, usable) = (Times::new(offline), Times::new(usable));
    let most = usable.most_ms();
    let met = report.judge(Goal::AtMost(2000.0), most, || format!("restart: {most:.0} ms until the card is seen"));
    report.say(&format!(
        "| encoderd, {} times, SIGTERM and SIGKILL in turn | offline after {} ms (most {}); from the start of pcscd \
         until the card on the reader is told of {} ms (most {}); each time a scan succeeds | ≤ 2000 ms{met} |",
        usable.len(),
        number(offline.quantile_ms(50)),
        number(offline.most_ms()),
        number(usable.quantile_ms(50)),
        number(most),
    ));
    drop(desk);
    for peer in Peer::OTHERS {
        note(&format!("restart: {}", peer.name()));
        for cycle in 0..2 {
            let does = peer_does(peer, cycle);
            let signal = if is_term(cycle) { "SIGTERM" } else { "SIGKILL" };
            report.say(&format!("| {}, {signal} | {does} | – |", peer.name()));
        }
    }
}

fn is_term(cycle: usize) -> bool {
    cycle.is_multiple_of(2)
}

/// As pcscd ends in order, and as it is killed.
fn end(pcscd: &mut Pcscd, cycle: usize) {
    if is_term(cycle) {
        pcscd.term(Meanwhile::Absent);
    } else {
        pcscd.kill(Meanwhile::Refused);
    }
}

fn peer_does(peer: Peer, cycle: usize) -> String {
    let mut bench = Bench::start(1, &[]);
    let mut client = Client::start(peer, "watch", &bench.pcscd, 1);
    let place = |bench: &Bench, client: &Client, number: usize, patience| {
        let begun = clock::now();
        bench.readers[0].control(&format!("place classic-1k:{}", uid(number)));
        client.card(patience, &uid(number)).map(|moment| moment.duration_since(begun))
    };
    assert!(place(&bench, &client, 1, PATIENCE).is_some(), "{} sees no card", peer.name());
    bench.readers[0].control("remove");
    assert!(client.gone(PATIENCE).is_some(), "{} does not see the removal", peer.name());
    end(&mut bench.pcscd, cycle);
    let ended = client.ended(AWAY * 4);
    bench.pcscd.start_again();
    if let Some(status) = ended.or_else(|| client.ended(AWAY * 4)) {
        return format!("its process ends ({status})");
    }
    let count = |seen: usize| {
        format!("stays; sees {seen} of 3 cards that are placed, waiting {} s for each", UNSEEN_AFTER.as_secs())
    };
    let mut seen = 0;
    for number in 2..5 {
        seen += usize::from(place(&bench, &client, number, UNSEEN_AFTER).is_some());
        bench.readers[0].control("remove");
    }
    count(seen)
}
