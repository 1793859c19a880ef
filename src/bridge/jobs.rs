//! Asks the hub for work and carries each job out: journal, leave to start, device, journal, outbox.

use super::{Backoff, Bridge, translate};
use crate::api::bridge::{
    EncodeWork, Failed, Job, JobWork, LONG_POLL_SECONDS, LONG_POLL_SECONDS_MAX, NextRequest, Outcome, Progress,
    ProgressRequest, RawEnded, RawWork, ResultRequest, StartRequest, StartResponse,
};
use crate::clock::{self, Deadline};
use crate::device::DeviceHandle;
use crate::device::image;
use crate::device::order::{EncodeOrder, Failure, Intent, Limits, ScanOrder};
use crate::device::raw::{OtherKeys, RawOrder};
use crate::fault::{Fault, FaultKind, Loudness};
use crate::store::state::JournalRow;
use crate::telemetry::{Hop, metrics};
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use uuid::Uuid;

/// Kept free at the end of an attempt for writing and verifying: a job that finds its card later than this is refused.
/// An encode of sixteen doors takes about 40 round trips, below a second at 115200 baud; this is twice that.
const WRITING_TIME: Duration = Duration::from_secs(2);

/// The same for each block of a raw image: looking, writing and reading back twice are some five exchanges.
const TIME_OF_RAW_WRITE: Duration = Duration::from_millis(60);

/// How much longer than its wait for a card an attempt can live: the time to write, and the hub's patience behind it.
/// A job that a restart interrupted is waited for that long before it is reported as it stands.
const LIFE_BEYOND_CARD_WAIT: Duration = Duration::from_secs(17);

/// How often is looked for a device that is coming up.
const LOOK_FOR_DEVICE: Duration = Duration::from_millis(20);

/// Jobs that are being carried out.
#[derive(Clone, Debug, Default)]
struct InHand(Arc<Mutex<BTreeSet<Uuid>>>);

impl InHand {
    fn with<T>(&self, use_set: impl FnOnce(&mut BTreeSet<Uuid>) -> T) -> T {
        use_set(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs until `stop`, then waits for the jobs in hand.
pub async fn run(bridge: Arc<Bridge>, coming_up: Deadline, stop: CancellationToken) {
    let wait_seconds = if bridge.own_hub { LONG_POLL_SECONDS_MAX } else { LONG_POLL_SECONDS };
    let in_hand = InHand::default();
    let tracker = TaskTracker::new();
    tracker.spawn(finish_leftovers(bridge.clone(), in_hand.clone(), stop.clone()));
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let request =
            NextRequest { bridge_id: bridge.bridge_id, wait_seconds, in_hand: known(&bridge, &in_hand).await };
        let answer = tokio::select! {
            answer = bridge.hub.next(&request) => answer,
            () = stop.cancelled() => break,
        };
        match answer {
            Ok(answer) => {
                backoff.reset();
                bridge.readiness.up(Hop::Hub);
                if let Some(job) = answer.job {
                    take(&tracker, &bridge, job, &in_hand, coming_up, &stop);
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "no work from the hub");
                bridge.readiness.down(Hop::Hub, error.to_string());
                metrics::hub_failed("next");
                bridge.sync_wanted.notify_one();
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
    tracker.close();
    tracker.wait().await;
}

/// The jobs that need no new offer: those that are being carried out, and those whose result is on its way. Without the
/// latter a desk with many encoders is offered a job again before its result has arrived, which is then late.
async fn known(bridge: &Bridge, in_hand: &InHand) -> Vec<Uuid> {
    // In this order: a job that ends in between is in both.
    let mut known: BTreeSet<Uuid> = in_hand.with(|set| set.clone());
    match bridge.state.outbox().await {
        Ok(results) => known.extend(results.iter().map(|result| result.action_attempt_id)),
        Err(error) => tracing::error!(error = &error as &dyn Error, "cannot read the outbox"),
    }
    known.into_iter().collect()
}

fn take(
    tracker: &TaskTracker,
    bridge: &Arc<Bridge>,
    job: Job,
    in_hand: &InHand,
    coming_up: Deadline,
    stop: &CancellationToken,
) {
    let action_attempt_id = job.action_attempt_id;
    if !in_hand.with(|set| set.insert(action_attempt_id)) {
        return;
    }
    let device_id = bridge.links.device_of(job.acs_encoder_id);
    let span = tracing::info_span!("job", %action_attempt_id, acs_encoder_id = %job.acs_encoder_id, device_id);
    let (bridge, in_hand, stop) = (bridge.clone(), in_hand.clone(), stop.clone());
    let work = async move {
        carry_out(&bridge, &job, coming_up, &stop).await;
        in_hand.with(|set| set.remove(&action_attempt_id));
    };
    tracker.spawn(work.instrument(span));
}

/// Jobs that a crash left behind and the hub does not offer again end here; a card that may have been written is
/// reported as in doubt, so that the next sight of it settles the matter.
async fn finish_leftovers(bridge: Arc<Bridge>, in_hand: InHand, stop: CancellationToken) {
    let begun = unfinished(&bridge).await;
    let Some(card_wait_ms) = begun.iter().map(|row| row.job.card_wait_ms).max() else { return };
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(card_wait_ms) + LIFE_BEYOND_CARD_WAIT) => {}
        () = stop.cancelled() => return,
    }
    for row in unfinished(&bridge).await {
        let attempt = row.job.action_attempt_id;
        let is_old = begun.iter().any(|old| old.job.action_attempt_id == attempt);
        if is_old && !in_hand.with(|set| set.contains(&attempt)) {
            let simulated = is_simulated(&bridge, &row.job);
            let failed = translate::interrupted(&row, "encoderd was restarted in the middle of it", simulated);
            finish(&bridge, &row.job, Outcome::Failed(failed)).await;
        }
    }
}

async fn unfinished(bridge: &Bridge) -> Vec<JournalRow> {
    bridge.state.unfinished().await.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn Error, "cannot read the journal");
        Vec::new()
    })
}

fn device_of(bridge: &Bridge, job: &Job) -> Option<DeviceHandle> {
    bridge.devices.get(&bridge.links.device_of(job.acs_encoder_id)?)
}

fn is_simulated(bridge: &Bridge, job: &Job) -> bool {
    device_of(bridge, job).is_some_and(|device| device.status().simulated)
}

async fn carry_out(bridge: &Arc<Bridge>, job: &Job, coming_up: Deadline, stop: &CancellationToken) {
    let issued_at = u32::try_from(clock::wall().as_second()).unwrap_or(u32::MAX);
    // A raw image stays in memory: the hub has it for as long as the attempt is open.
    let row = match bridge.state.journal_begin(&job.without_secrets(), issued_at).await {
        Ok(row) => {
            bridge.readiness.up(Hop::Journal);
            row
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "cannot write the journal; no card is touched");
            bridge.readiness.down(Hop::Journal, error.to_string());
            let failed = Failed {
                fault: FaultKind::JournalUnwritable.into(),
                card_number: None,
                in_doubt: false,
                simulated: is_simulated(bridge, job),
            };
            send_unwritten(bridge, &result(bridge, job, Outcome::Failed(failed))).await;
            return;
        }
    };
    if let Some(outcome) = row.outcome {
        tracing::info!("offered again after its end; its result is sent again");
        if let Err(error) = bridge.state.queue_again(&result(bridge, job, outcome)).await {
            tracing::error!(error = &error as &dyn Error, "cannot write the outbox");
        }
        bridge.outbox_filled.notify_one();
        return;
    }
    let sent = clock::now();
    let start =
        StartRequest { bridge_id: bridge.bridge_id, action_attempt_id: job.action_attempt_id, fence: job.fence };
    let remaining = match bridge.hub.start(&start).await {
        Ok(StartResponse::Go { remaining_ms }) => Duration::from_millis(remaining_ms),
        Ok(StartResponse::Refused { reason }) => {
            tracing::info!(reason, "the hub takes the job back");
            let failed = translate::interrupted(&row, &reason, is_simulated(bridge, job));
            finish(bridge, job, Outcome::Failed(failed)).await;
            return;
        }
        // Without leave no card is touched. The journal keeps the job; the hub offers it again or lets it expire.
        Err(error) => {
            tracing::warn!(error = &error as &dyn Error, "no leave to start");
            return;
        }
    };
    let latest = remaining.saturating_sub(writing_time(&job.work));
    let limits = Limits {
        card: Deadline::since(sent, latest.min(Duration::from_millis(job.card_wait_ms))),
        first_write: Deadline::since(sent, latest),
        end: Deadline::since(sent, remaining),
    };
    let outcome = run_in_time(bridge, job, &row, limits, coming_up, stop).await;
    if stop.is_cancelled() && is_stopped(&outcome) {
        // The journal keeps it. The hub offers it again to the daemon that comes next, which looks at the card first.
        tracing::info!("given back: the daemon stops");
        return;
    }
    let work = match &job.work {
        JobWork::Scan => "scan",
        JobWork::Encode(_) => "encode",
        JobWork::Raw(_) => "raw",
    };
    let ended = fault_of(&outcome).map_or_else(|| "success".to_owned(), |fault| fault.kind.name());
    metrics::job_ended(work, ended, clock::now().saturating_duration_since(sent));
    finish(bridge, job, outcome).await;
}

/// How much time to keep free for writing.
fn writing_time(work: &JobWork) -> Duration {
    match work {
        JobWork::Encode(_) | JobWork::Scan => WRITING_TIME,
        JobWork::Raw(work) => WRITING_TIME + TIME_OF_RAW_WRITE * u32::try_from(work.image.len()).unwrap_or(u32::MAX),
    }
}

/// What went wrong, if anything did.
fn fault_of(outcome: &Outcome) -> Option<&Fault> {
    match outcome {
        Outcome::Encoded(_) | Outcome::Scanned(_) => None,
        Outcome::Raw(ended) => ended.fault.as_ref(),
        Outcome::Failed(failed) => Some(&failed.fault),
    }
}

/// Runs a job, again where its device's task has ended under it: the port was configured anew.
async fn run_in_time(
    bridge: &Arc<Bridge>,
    job: &Job,
    row: &JournalRow,
    limits: Limits,
    coming_up: Deadline,
    stop: &CancellationToken,
) -> Outcome {
    let known_by = coming_up.min(limits.first_write);
    while device_of(bridge, job).is_none() && !known_by.has_passed() && !stop.is_cancelled() {
        tokio::time::sleep(LOOK_FOR_DEVICE).await;
    }
    loop {
        let outcome = run_on_device(bridge, job, row, limits, stop).await;
        if !is_stopped(&outcome) || stop.is_cancelled() || limits.first_write.has_passed() {
            return outcome;
        }
        tokio::time::sleep(LOOK_FOR_DEVICE).await;
    }
}

/// Whether a job was left because its device's task ends; nothing is wrong with it.
fn is_stopped(outcome: &Outcome) -> bool {
    fault_of(outcome).is_some_and(|fault| fault.kind == FaultKind::Stopping)
}

async fn run_on_device(
    bridge: &Arc<Bridge>,
    job: &Job,
    row: &JournalRow,
    limits: Limits,
    stop: &CancellationToken,
) -> Outcome {
    let Some(device) = device_of(bridge, job) else {
        let failure = Failure::without_card(FaultKind::EncoderNotLinked);
        return Outcome::Failed(translate::failed(failure, row, false));
    };
    let progress = progress_reporter(bridge.clone(), job.action_attempt_id);
    let outcome = match &job.work {
        JobWork::Scan => device
            .scan(ScanOrder { key: bridge.card_key.now(), limits, stop: stop.clone(), progress })
            .await
            .map(|read| Outcome::Scanned(translate::scanned(&read, device.status().simulated))),
        JobWork::Encode(work) => match encode_order(bridge, row, work, limits, stop, progress).await {
            Ok((order, intents)) => journaled(bridge, job, device.encode(order), intents)
                .await
                .map(|end| Outcome::Encoded(translate::encoded(&end, device.status().simulated))),
            Err(fault) => Err(Failure::without_card(fault)),
        },
        JobWork::Raw(work) => match raw_order(bridge, row, work, limits, stop, progress) {
            Ok((order, intents)) => {
                let end = journaled(bridge, job, device.write_raw(order), intents).await;
                translate::raw(end, row, device.status().simulated)
            }
            Err(fault) => Err(Failure::without_card(fault)),
        },
    };
    outcome.unwrap_or_else(|failure| Outcome::Failed(translate::failed(failure, row, device.status().simulated)))
}

type Intents = mpsc::Receiver<(Intent, oneshot::Sender<bool>)>;

/// Has the device work, and writes its intent to touch a card into the journal before it may.
async fn journaled<T>(bridge: &Bridge, job: &Job, work: impl Future<Output = T>, mut intents: Intents) -> T {
    let journal = async {
        while let Some((intent, answer)) = intents.recv().await {
            let card = intent.card.to_string();
            let written = bridge.state.journal_touch(job.action_attempt_id, &card, &intent.plan).await;
            if let Err(error) = &written {
                tracing::error!(error = error as &dyn Error, "cannot write the journal");
            }
            let _device_gone = answer.send(written.is_ok());
        }
    };
    // The journal's side ends when the device drops its end, just before it answers.
    tokio::join!(work, journal).0
}

fn raw_order(
    bridge: &Bridge,
    row: &JournalRow,
    work: &RawWork,
    limits: Limits,
    stop: &CancellationToken,
    progress: mpsc::Sender<Progress>,
) -> Result<(RawOrder, Intents), Fault> {
    let parsed = image::parse(&work.image)?;
    // A card that was begun before a crash is the only one that may be finished.
    let begun = row.card_number.as_deref().and_then(|number| number.parse().ok());
    let (intent, intents) = mpsc::channel(1);
    let (steps, _nobody_looks) = mpsc::channel(1);
    let order = RawOrder {
        image: parsed.image,
        only_card: parsed.only_card.or(begun),
        // What a lock vendor's server sends is never written with this property's keys.
        others: OtherKeys::Transport,
        wait: true,
        new_presentation: bridge.config.borrow().card.require_new_presentation,
        dry_run: false,
        limits,
        stop: stop.clone(),
        intent,
        progress,
        steps,
    };
    Ok((order, intents))
}

async fn encode_order(
    bridge: &Bridge,
    row: &JournalRow,
    work: &EncodeWork,
    limits: Limits,
    stop: &CancellationToken,
    progress: mpsc::Sender<Progress>,
) -> Result<(EncodeOrder, Intents), Fault> {
    let key = bridge.card_key.now().ok_or(FaultKind::NoCardKey)?;
    let card = bridge.config.borrow().card.clone();
    let begun = bridge.state.begun_cards().await.map_err(|error| {
        tracing::error!(error = &error as &dyn Error, "cannot read the journal");
        FaultKind::JournalUnwritable
    })?;
    // One intent at a time: the device waits until each is written down.
    let (intent, intents) = mpsc::channel(1);
    let order = EncodeOrder {
        record: translate::record(work, &key, row.issued_at)?,
        only_card: translate::only_card(work, row)?,
        key,
        personalize: card.personalize,
        ndef: card.ndef.map(|address| address.0),
        // What is no UID was never written by this daemon.
        begun: begun.iter().filter_map(|card| card.parse().ok()).collect(),
        new_presentation: card.require_new_presentation,
        limits,
        stop: stop.clone(),
        intent,
        progress,
    };
    Ok((order, intents))
}

fn result(bridge: &Bridge, job: &Job, outcome: Outcome) -> ResultRequest {
    ResultRequest { bridge_id: bridge.bridge_id, action_attempt_id: job.action_attempt_id, fence: job.fence, outcome }
}

/// Writes the outcome down; the outbox delivers it. When the disk refuses, it is sent unwritten, so that the caller
/// still hears of it.
async fn finish(bridge: &Bridge, job: &Job, outcome: Outcome) {
    log(&outcome);
    let result = result(bridge, job, outcome);
    if let Err(error) = bridge.state.journal_finish(&result).await {
        tracing::error!(error = &error as &dyn Error, "cannot write the journal; the result is sent unwritten");
        send_unwritten(bridge, &result).await;
    }
    bridge.outbox_filled.notify_one();
}

async fn send_unwritten(bridge: &Bridge, result: &ResultRequest) {
    if let Err(error) = bridge.hub.result(result).await {
        tracing::error!(error = &error as &dyn Error, "the result is lost; the hub lets the attempt expire");
    }
}

fn log(outcome: &Outcome) {
    match outcome {
        Outcome::Encoded(encoded) => tracing::info!(issued_at = encoded.issued_at, "card encoded"),
        Outcome::Scanned(scanned) => tracing::info!(ours = scanned.credential.is_some(), "card scanned"),
        Outcome::Raw(RawEnded { fault: None, report, .. }) => {
            tracing::info!(written = report.written.len(), verified = report.verified.len(), "image written");
        }
        Outcome::Raw(RawEnded { fault: Some(fault), .. }) => log_fault(fault, false),
        Outcome::Failed(failed) => log_fault(&failed.fault, failed.in_doubt),
    }
}

fn log_fault(Fault { kind, message }: &Fault, in_doubt: bool) {
    match kind.loudness() {
        Loudness::Info => tracing::info!(fault.kind = ?kind, in_doubt, message),
        Loudness::Warn => tracing::warn!(fault.kind = ?kind, in_doubt, message),
        Loudness::Error => tracing::error!(fault.kind = ?kind, in_doubt, message),
    }
}

/// Tells the hub how far a job is, for show: what does not get through is forgotten. Ends with its sender.
fn progress_reporter(bridge: Arc<Bridge>, action_attempt_id: Uuid) -> mpsc::Sender<Progress> {
    let (sender, mut receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(progress) = receiver.recv().await {
            let request = ProgressRequest { bridge_id: bridge.bridge_id, action_attempt_id, progress };
            if let Err(error) = bridge.hub.progress(&request).await {
                tracing::debug!(error = &error as &dyn Error, "progress not told");
            }
        }
    });
    sender
}
