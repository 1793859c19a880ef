//! Numbers for Prometheus. All names are here; `docs/metrics.md` has the same table, and a test compares.
//!
//! Labels come from enums and from the hub's table of routes: however many cards, keys and encoders there are, the number
//! of series stays the same. Nothing is counted where no recorder is installed, as in most commands.

use crate::clock;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(const $constant: &str = $name;)*

        /// All metrics.
        pub const ALL: &[Metric] =
            &[$(Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help }),*];
    };
}

metrics! {
    BUILD = "encoderd_build_info", Gauge, ["version"], "1, with the program's version";
    JOBS = "encoderd_jobs_total", Counter, ["work", "outcome"],
        "jobs that this desk carried out, by `encode` or `scan` and `success` or the fault";
    JOB_TIME = "encoderd_job_duration_seconds", Histogram, ["work"],
        "from the moment a job was taken to its end, the wait for a card included";
    ENCODERS = "encoderd_encoders", Gauge, ["state"], "encoders of this desk by state";
    CARDS = "encoderd_card_events_total", Counter, ["event"], "cards that were `placed` on an encoder and `removed`";
    ROUND_TRIPS = "encoderd_reader_commands_total", Counter, ["outcome"],
        "commands to readers, `ok` or `failed`; one is one round trip or a few";
    RECOVERIES = "encoderd_reader_recoveries_total", Counter, ["step"],
        "what was done when a reader failed: `wake` it, `reopen` its port";
    OUTBOX = "encoderd_outbox_results", Gauge, [], "results that the hub has not acknowledged";
    OUTBOX_AGE = "encoderd_outbox_oldest_age_seconds", Gauge, [], "how long results have been waiting; 0: none waits";
    HUB_FAILURES = "encoderd_hub_request_failures_total", Counter, ["step"],
        "requests of this desk to its hub that failed, by what was asked: `next`, `sync`, `result`";
    WATCHDOG_AGE = "encoderd_supervisor_answer_age_seconds", Gauge, [],
        "time since the part that keeps the encoders last answered";
    RELOADS = "encoderd_configuration_reloads_total", Counter, ["outcome"],
        "times that the configuration was read again: `applied`, `refused`";
    ATTEMPTS = "encoderd_attempts_total", Counter, ["work", "outcome"],
        "action attempts that ended at this hub, by `encode`, `scan` or `assign` and `success` or the API's error type";
    REQUESTS = "encoderd_http_requests_total", Counter, ["route", "status"],
        "requests to this hub by path, `other` for unknown ones, and status";
    REQUEST_TIME = "encoderd_http_request_duration_seconds", Histogram, ["route"],
        "from a request's head to its answer's head";
    COMMITS = "encoderd_database_commits_total", Counter, ["outcome"], "transactions that were committed, `ok` or `failed`";
    WEBHOOKS = "encoderd_webhook_tries_total", Counter, ["outcome"],
        "tries to deliver to webhooks: `delivered`, `failed`, `gone`, `cut`";
}

/// What the numbers are sent as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the buckets, in seconds: a request takes below a millisecond, a job up to the wait for a card.
const BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

/// After so many samples they are sorted into buckets, so that they do not pile up where nobody asks for the numbers.
const UPKEEP_EVERY: u32 = 1000;

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
static SAMPLES: AtomicU32 = AtomicU32::new(0);
static SUPERVISOR_ANSWERED: Mutex<Option<Instant>> = Mutex::new(None);
static OUTBOX_SINCE: Mutex<Option<Instant>> = Mutex::new(None);

/// Counts from now on. In a process that counts already, nothing happens.
pub fn install() {
    let builder = ALL
        .iter()
        .filter(|metric| metric.kind == Kind::Histogram)
        .try_fold(PrometheusBuilder::new(), |builder, metric| {
            builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), BUCKETS)
        });
    let recorder = match builder {
        Ok(builder) => builder.build_recorder(),
        Err(error) => {
            tracing::error!(%error, "no metrics");
            return;
        }
    };
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        return;
    }
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let _already_there = RECORDER.set(handle);
}

/// The numbers as Prometheus reads them.
pub fn render() -> String {
    let Some(recorder) = RECORDER.get() else { return String::new() };
    let age = |since: &Mutex<Option<Instant>>| {
        let since = *since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| clock::now().saturating_duration_since(since).as_secs_f64())
    };
    if let Some(age) = age(&SUPERVISOR_ANSWERED) {
        gauge!(WATCHDOG_AGE).set(age);
        gauge!(OUTBOX_AGE).set(0.0);
    }
    if let Some(age) = age(&OUTBOX_SINCE) {
        gauge!(OUTBOX_AGE).set(age);
    }
    recorder.run_upkeep();
    recorder.render()
}

fn sampled() {
    if SAMPLES.fetch_add(1, Ordering::Relaxed) % UPKEEP_EVERY == UPKEEP_EVERY - 1
        && let Some(recorder) = RECORDER.get()
    {
        recorder.run_upkeep();
    }
}

/// A job ended; `outcome` is `success` or the fault's name.
pub fn job_ended(work: &'static str, outcome: String, took: Duration) {
    counter!(JOBS, "work" => work, "outcome" => outcome).increment(1);
    histogram!(JOB_TIME, "work" => work).record(took);
    sampled();
}

/// How many encoders are in each state; all states are named each time.
pub fn encoders(states: &[(&'static str, usize)]) {
    for (state, count) in states {
        gauge!(ENCODERS, "state" => *state).set(f64::from(u32::try_from(*count).unwrap_or(u32::MAX)));
    }
}

/// A card was placed or removed.
pub fn card(event: &'static str) {
    counter!(CARDS, "event" => event).increment(1);
}

/// A command to a reader ended.
pub fn command(ok: bool) {
    counter!(ROUND_TRIPS, "outcome" => if ok { "ok" } else { "failed" }).increment(1);
}

/// A reader is being made usable again.
pub fn recovery(step: &'static str) {
    counter!(RECOVERIES, "step" => step).increment(1);
}

/// So many results wait for the hub.
pub fn outbox(results: usize) {
    gauge!(OUTBOX).set(f64::from(u32::try_from(results).unwrap_or(u32::MAX)));
    let mut since = OUTBOX_SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    *since = if results == 0 { None } else { since.or_else(|| Some(clock::now())) };
}

/// The hub did not answer this desk, or refused.
pub fn hub_failed(step: &'static str) {
    counter!(HUB_FAILURES, "step" => step).increment(1);
}

/// The part that keeps the encoders answered.
pub fn supervisor_answered() {
    *SUPERVISOR_ANSWERED.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
}

/// The configuration was read again.
pub fn reloaded(applied: bool) {
    counter!(RELOADS, "outcome" => if applied { "applied" } else { "refused" }).increment(1);
}

/// An attempt was settled; `outcome` is `success` or the error type.
pub fn attempt_settled(work: &'static str, outcome: &'static str) {
    counter!(ATTEMPTS, "work" => work, "outcome" => outcome).increment(1);
}

/// A request was answered. `route` is a path of the table of routes.
pub fn request(route: String, status: u16, took: Duration) {
    counter!(REQUESTS, "route" => route.clone(), "status" => status.to_string()).increment(1);
    histogram!(REQUEST_TIME, "route" => route).record(took);
    sampled();
}

/// A transaction was to be committed.
pub fn commit(ok: bool) {
    counter!(COMMITS, "outcome" => if ok { "ok" } else { "failed" }).increment(1);
}

/// A try to deliver to a webhook ended.
pub fn webhook(outcome: &'static str) {
    counter!(WEBHOOKS, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_count() {
        for metric in ALL {
            assert!(metric.name.starts_with("encoderd_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_seconds") && metric.name.contains("duration"),
                metric.kind == Kind::Histogram,
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn what_is_counted_is_shown_and_ages_grow() {
        install();
        job_ended("encode", "success".to_owned(), Duration::from_millis(40));
        outbox(2);
        outbox(1);
        supervisor_answered();
        let text = render();
        for line in [
            "encoderd_jobs_total{work=\"encode\",outcome=\"success\"} 1",
            "encoderd_job_duration_seconds_bucket{work=\"encode\",le=\"0.05\"} 1",
            "encoderd_job_duration_seconds_bucket{work=\"encode\",le=\"0.025\"} 0",
            "encoderd_outbox_results 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let age = |text: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(OUTBOX_AGE)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        assert!(age(&render()) > 0.0, "{text}");
        outbox(0);
        assert!(age(&render()).abs() < f64::EPSILON);
    }
}
