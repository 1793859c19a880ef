//! What a job costs: APDUs, bytes, authentications, time.

use crate::desk::{Desk, PATIENCE, Setup, Stats};
use crate::figures::{Goal, Report, Times, number};
use crate::rig::{Bench, Client, Peer, pause, uid};
use crate::{CONFIG, LOG, Settings, note};
use encoderd::clock::{self, Deadline};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    report.say("\n| UID, read a sector, write 48 bytes, verify | encoderd | nfc-pcsc | pyscard | goal |");
    report.say("| --- | --- | --- | --- | --- |");
    peers_job(settings, report);
    report.say(
        "\n| job for two doors | APDUs | authentications | median, ms | most, ms | with `--pace`: median, ms | goal |",
    );
    report.say("| --- | --- | --- | --- | --- | --- | --- |");
    our_job(settings, report).await;
}

/// What one program did, card by card.
struct Done {
    counts: Vec<Stats>,
    times: Times,
    /// Cards that nothing came of.
    missed: u64,
}

fn peers_job(settings: &Settings, report: &mut Report) {
    let all = [Peer::Ours, Peer::NfcPcsc, Peer::Pyscard];
    let plain = all.map(|peer| cards(settings, peer, &[]));
    let paced = all.map(|peer| cards(settings, peer, &["--pace"]));
    let mut count = |what: &str, goal: Goal, of: fn(&Stats) -> u64| {
        let cells: Vec<String> = plain.iter().map(|done| range(done.counts.iter().map(of))).collect();
        let most = plain[0].counts.iter().map(of).max().expect("ours does it");
        let met =
            report.judge(goal, f64::from(u32::try_from(most).unwrap()), || format!("the peers' job: {most} {what}"));
        report.say(&format!("| {what} | {} | {}{met} |", cells.join(" | "), goal.text()));
    };
    count("APDUs", Goal::AtMost(12.0), |stats| stats.round_trips);
    count("authentications", Goal::AtMost(1.0), |stats| stats.auths);
    count("bytes to the reader", Goal::None, |stats| stats.bytes_in);
    count("bytes from the reader", Goal::None, |stats| stats.bytes_out);
    let missed: Vec<u64> = plain.iter().zip(&paced).map(|(plain, paced)| plain.missed + paced.missed).collect();
    let cells: Vec<String> = missed.iter().map(u64::to_string).collect();
    let goal = Goal::AtMost(0.0);
    let ours = f64::from(u32::try_from(missed[0]).unwrap());
    let met = report.judge(goal, ours, || format!("the peers' job: {ours} cards missed"));
    report.say(&format!("| cards missed of {} | {} | {}{met} |", settings.jobs * 2, cells.join(" | "), goal.text()));
    for (what, done) in [("median, ms", &plain), ("median with `--pace`, ms", &paced)] {
        let cells: Vec<String> = done.iter().map(|done| number(done.times.quantile_ms(50))).collect();
        report.say(&format!("| card placed → job done, {what} | {} | – |", cells.join(" | ")));
    }
}

/// The least and the most.
fn range(values: impl Iterator<Item = u64> + Clone) -> String {
    let (Some(least), Some(most)) = (values.clone().min(), values.max()) else { return "–".to_owned() };
    if least == most { most.to_string() } else { format!("{least}–{most}") }
}

/// How long a card that was taken away stays away.
const BETWEEN_CARDS: Duration = Duration::from_millis(100);

/// When a card counts as missed.
const MISSED_AFTER: Duration = Duration::from_secs(5);

fn cards(settings: &Settings, peer: Peer, options: &[&str]) -> Done {
    note(&format!("jobs: {} {}", peer.name(), options.join(" ")));
    let bench = Bench::start(1, options);
    let reader = &bench.readers[0];
    let client = Client::start(peer, "job", &bench.pcscd, 1);
    let (mut counts, mut times, mut missed) = (Vec::new(), Vec::new(), 0);
    for number in 1..=settings.jobs {
        // nfc-pcsc misses a card that comes while it still lets go of the one before.
        pause(BETWEEN_CARDS);
        let uid = uid(number);
        let before = reader.stats();
        let begun = clock::now();
        reader.control(&format!("place classic-1k:{uid}"));
        let Some(done) = client.card(MISSED_AFTER, &uid) else {
            note(&format!("jobs: {} has missed a card", peer.name()));
            missed += 1;
            reader.control("remove");
            continue;
        };
        times.push(done.duration_since(begun));
        reader.control("remove");
        client.gone(PATIENCE).expect("the card's removal is seen");
        counts.push(reader.stats().since(before));
        let wanted = u32::from_str_radix(&uid, 16).unwrap().to_be_bytes().repeat(12);
        assert_eq!(reader.dump()[64..112], wanted, "{} has not written it", peer.name());
    }
    Done { counts, times: Times::new(times), missed }
}

/// How often it is asked whether an attempt has ended.
const ASK_EVERY: Duration = Duration::from_millis(5);

#[derive(Clone, Copy)]
enum Job {
    Scan,
    Encode,
}

async fn our_job(settings: &Settings, report: &mut Report) {
    let desks = [doors(settings, &[]).await, doors(settings, &["--pace"]).await];
    for (index, (what, apdus_max)) in
        [("scan", None), ("encode over an earlier credential", Some(44.0))].iter().enumerate()
    {
        let [plain, paced] = [&desks[0][index], &desks[1][index]];
        let most = plain.counts.iter().chain(&paced.counts).map(|stats| stats.round_trips).max().unwrap();
        let goal = apdus_max.map_or(Goal::None, Goal::AtMost);
        let met = report.judge(goal, f64::from(u32::try_from(most).unwrap()), || format!("{what}: {most} APDUs"));
        let both = plain.counts.iter().chain(&paced.counts);
        let asked = apdus_max.map_or_else(|| "–".to_owned(), |most| format!("≤ {most} APDUs{met}"));
        report.say(&format!(
            "| {what} | {} | {} | {} | {} | {} | {asked} |",
            range(both.clone().map(|stats| stats.round_trips)),
            range(both.map(|stats| stats.auths)),
            number(plain.times.quantile_ms(50)),
            number(plain.times.most_ms()),
            number(paced.times.quantile_ms(50)),
        ));
    }
}

/// Scans and encodes of one card that lies there all the time, for two doors.
async fn doors(settings: &Settings, options: &[&str]) -> [Done; 2] {
    note(&format!("jobs: two doors {}", options.join(" ")));
    let setup = Setup {
        encoders: &[("Front Desk", Some("classic-1k:04c0ffee"))],
        emulator_options: options,
        config: CONFIG,
        log: Some(LOG),
        ..Setup::default()
    };
    let desk = Desk::start(setup).await;
    // The first encode makes the card ours, the second is the first with a credential to retire.
    for _ in 0..2 {
        desk.encode_well(0, &desk.credential(2).await).await;
    }
    let mut done = [Job::Scan, Job::Encode].map(|job| (job, Vec::new(), Vec::new()));
    for _ in 0..settings.jobs {
        for (job, counts, times) in &mut done {
            let encoder = desk.encoder(0).await;
            let (path, body) = match job {
                Job::Scan => ("/acs/encoders/scan_credential", json!({"acs_encoder_id": encoder})),
                Job::Encode => {
                    let credential = desk.credential(2).await;
                    let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
                    ("/acs/encoders/encode_credential", body)
                }
            };
            let before = quiet(&desk);
            let begun = clock::now();
            let attempt = settled(&desk, desk.get(path, body, "action_attempt").await).await;
            times.push(clock::now().duration_since(begun));
            assert_eq!(attempt["status"], "success", "{attempt}");
            // With what the daemon does when the attempt has ended: its lamp, and leaving the card to others.
            counts.push(quiet(&desk).since(before));
        }
    }
    done.map(|(_, counts, times)| Done { counts, times: Times::new(times), missed: 0 })
}

async fn settled(desk: &Desk, mut attempt: Value) -> Value {
    let deadline = Deadline::after(PATIENCE);
    while attempt["status"] == "pending" {
        assert!(!deadline.has_passed(), "{attempt}");
        tokio::time::sleep(ASK_EVERY).await;
        let id = json!({"action_attempt_id": attempt["action_attempt_id"]});
        attempt = desk.get("/action_attempts/get", id, "action_attempt").await;
    }
    attempt
}

/// The counters, once nothing has moved for a while.
fn quiet(desk: &Desk) -> Stats {
    let mut stats = desk.encoders[0].stats();
    loop {
        pause(Duration::from_millis(150));
        let now = desk.encoders[0].stats();
        if now == stats {
            return now;
        }
        stats = now;
    }
}
