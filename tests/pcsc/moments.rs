//! pcscd ends, or the reader is pulled out, at the worst moments: every attempt ends, the card holds the old credential
//! or the new one, the encoder is usable again by itself, and nothing is left over of what was cut off.

use crate::desk::{Desk, Setup, pcscd::Meanwhile};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes of a re-encode with two doors: four of payload, the seal, the old seal to zero.
const WRITES_TO_SEAL: u64 = 5;

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is going on when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Idle,
    WaitingForCard,
    BetweenTwoWrites,
    Verifying,
}

/// `CYCLES=100` runs so many of each kind.
fn cycles() -> usize {
    std::env::var("CYCLES").map_or(10, |text| text.parse().expect("CYCLES is a number"))
}

/// A desk whose reader takes its time, with a card that holds a credential.
struct Scene {
    desk: Desk,
    previous: String,
    id: String,
}

/// How it went.
#[derive(Default)]
struct Tally {
    back: Vec<Duration>,
    successes: usize,
    errors: usize,
}

impl Scene {
    async fn new() -> Self {
        let desk = Desk::start(Setup {
            encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
            emulator_options: &["--pace"],
            ..Setup::default()
        })
        .await;
        let previous = desk.credential(2).await;
        desk.encode_well(0, &previous).await;
        let id = desk.encoder(0).await;
        Self { desk, previous, id }
    }

    /// Goes on to the moment; returns the credential and the attempt that is under way.
    async fn reach(&self, moment: Moment) -> Option<(String, Value)> {
        let desk = &self.desk;
        if moment == Moment::Idle {
            return None;
        }
        if moment == Moment::WaitingForCard {
            desk.encoders[0].control("remove");
            desk.wait_for_card(0, None).await;
        }
        let credential = desk.credential(2).await;
        let before = desk.encoders[0].stats().writes;
        let attempt = desk.start_encode(0, &credential).await;
        let writes = match moment {
            Moment::Idle | Moment::WaitingForCard => 0,
            Moment::BetweenTwoWrites => 2,
            Moment::Verifying => WRITES_TO_SEAL,
        };
        let patience = Instant::now() + PATIENCE;
        while desk.encoders[0].stats().writes < before + writes {
            assert!(Instant::now() < patience, "{moment:?}: not so many writes\n{}", desk.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Some((credential, attempt))
    }

    /// The attempt ends; the encoder is back; the card holds what it may hold.
    async fn check(&self, moment: Moment, under_way: Option<(String, Value)>, since: Instant, tally: &mut Tally) {
        let desk = &self.desk;
        let under_way = match under_way {
            None => None,
            Some((credential, attempt)) => Some((credential, desk.settled(attempt).await)),
        };
        if moment == Moment::WaitingForCard {
            desk.encoders[0].control("place classic-1k:deadbeef");
        }
        desk.wait_for("online with its card", |encoders| {
            encoders[0]["state"] == "online" && encoders[0]["card_number"] == "deadbeef"
        })
        .await;
        tally.back.push(since.elapsed());
        assert_eq!(desk.encoder(0).await, self.id, "{moment:?}: another encoder");
        let credential = match under_way {
            None => None,
            Some((credential, attempt)) => {
                if attempt["status"] == "success" {
                    tally.successes += 1;
                    assert_eq!(moment, Moment::Verifying, "{attempt}");
                } else {
                    tally.errors += 1;
                    assert_eq!(attempt["error"]["type"], "encoder_not_online", "{moment:?}: {attempt}\n{}", desk.log());
                }
                Some((credential, attempt["status"] == "success"))
            }
        };
        let scan = desk.scan_well(0).await;
        let on_card = scan["acs_credential_on_seam"]["acs_credential_id"].as_str().unwrap_or_default();
        match credential {
            None => assert_eq!(on_card, self.previous, "{moment:?}: {scan}"),
            Some((new, true)) => assert_eq!(on_card, new, "{moment:?}: {scan}"),
            Some((new, false)) => assert!(on_card == new || on_card == self.previous, "{moment:?}: {scan}"),
        }
        desk.encode_well(0, &self.previous).await;
    }

    /// Threads that the daemon has for PC/SC, and all its descriptors.
    fn held(&self) -> (usize, usize) {
        let process = Path::new("/proc").join(self.desk.daemon_pid().to_string());
        let entries = |what: &str| std::fs::read_dir(process.join(what)).unwrap().flatten();
        let is_of_pcsc = |task: &std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("pcsc"))
        };
        (entries("task").filter(is_of_pcsc).count(), entries("fd").count())
    }

    /// Waits until the daemon holds no more threads for PC/SC than before. Of descriptors the databases' pools and HTTP take
    /// some more now and then, but never one a cycle.
    async fn assert_nothing_left_over(&self, before: (usize, usize), cycles: usize) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let now = self.held();
            if now.0 <= before.0 && now.1 < before.1 + cycles {
                return;
            }
            assert!(Instant::now() < patience, "threads and descriptors: {before:?} before, {now:?} after");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Tally {
    /// Two seconds are promised. The machine may be busy with other tests now and then, not half of the time.
    #[expect(clippy::print_stdout, reason = "figures beside the words of the test")]
    fn report(mut self, what: &str) {
        self.back.sort_unstable();
        let (median, most) = (self.back[self.back.len() / 2], *self.back.last().unwrap());
        println!(
            "{what}: {} cycles, {} successes, {} errors, usable again after {median:?} (median), {most:?} (most)",
            self.back.len(),
            self.successes,
            self.errors
        );
        assert!(median < Duration::from_secs(2), "{what}: {:?}", self.back);
    }
}

async fn pcscd_ends_at(moment: Moment) {
    let mut scene = Scene::new().await;
    let (mut terminated, mut killed) = (Tally::default(), Tally::default());
    let mut before = None;
    for cycle in 0..2 * cycles() {
        let under_way = scene.reach(moment).await;
        let meanwhile = [Meanwhile::Refused, Meanwhile::Absent, Meanwhile::Queued][cycle % 3];
        let pcscd = scene.desk.pcscd.as_mut().unwrap();
        let (tally, _status) = if cycle % 2 == 0 {
            (&mut terminated, pcscd.term(meanwhile))
        } else {
            (&mut killed, pcscd.kill(meanwhile))
        };
        scene.desk.wait_for("offline", |encoders| encoders[0]["state"] == "offline").await;
        scene.desk.pcscd.as_mut().unwrap().start_again();
        scene.check(moment, under_way, Instant::now(), tally).await;
        // After the first cycle: everything that is made once has been made.
        before = before.or_else(|| Some(scene.held()));
    }
    scene.assert_nothing_left_over(before.unwrap(), 2 * cycles()).await;
    terminated.report(&format!("pcscd terminated, {moment:?}"));
    killed.report(&format!("pcscd killed, {moment:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pcscd_ends_and_comes_back() {
    // Four side by side: most of the time each waits.
    let moments = [Moment::Idle, Moment::WaitingForCard, Moment::BetweenTwoWrites, Moment::Verifying];
    let running: Vec<_> = moments.into_iter().map(|moment| tokio::spawn(pcscd_ends_at(moment))).collect();
    for moment in running {
        moment.await.unwrap();
    }
}

async fn reader_is_unplugged_at(moment: Moment) {
    let scene = Scene::new().await;
    let mut tally = Tally::default();
    let mut before = None;
    for _ in 0..cycles() {
        let under_way = scene.reach(moment).await;
        scene.desk.encoders[0].control("unplug 400");
        if under_way.is_none() {
            scene.desk.wait_for("offline", |encoders| encoders[0]["state"] == "offline").await;
        }
        scene.check(moment, under_way, Instant::now(), &mut tally).await;
        before = before.or_else(|| Some(scene.held()));
    }
    scene.assert_nothing_left_over(before.unwrap(), cycles()).await;
    tally.report(&format!("reader unplugged for 0.4 s, {moment:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_unplugged_and_comes_back() {
    let moments = [Moment::Idle, Moment::WaitingForCard, Moment::BetweenTwoWrites, Moment::Verifying];
    let running: Vec<_> = moments.into_iter().map(|moment| tokio::spawn(reader_is_unplugged_at(moment))).collect();
    for moment in running {
        moment.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_starts_before_pcscd_serves_serial_encoders_and_then_readers() {
    let mut desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        on_ptys: &[("Concierge", Some("classic-1k:0badcafe"))],
        ..Setup::default()
    })
    .await;
    desk.terminate();
    desk.pcscd.as_mut().unwrap().term(Meanwhile::Absent);
    desk.start_daemon().await;
    desk.wait_for("the serial one online", |encoders| {
        encoders.iter().any(|encoder| encoder["display_name"] == "Concierge" && encoder["state"] == "online")
    })
    .await;
    let credential = desk.credential(1).await;
    assert_eq!(desk.encode_well(1, &credential).await["card_number"], "0badcafe");
    let problem = desk.status().await.pcsc.unwrap().problem;
    assert!(problem.is_some_and(|problem| problem.to_string().contains("pcscd")), "{problem:?}");
    desk.pcscd.as_mut().unwrap().start_again();
    desk.wait_for("both online", |encoders| {
        encoders.iter().filter(|encoder| encoder["state"] == "online").count() == 2
    })
    .await;
    let credential = desk.credential(1).await;
    assert_eq!(desk.encode_well(0, &credential).await["card_number"], "deadbeef");
}
