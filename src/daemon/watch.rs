//! Asks the part that keeps the encoders whether it is alive, and tells the service manager only if it is.
//!
//! A timer that tells it by itself would keep a daemon running that serves nobody: the supervisor may hang in a driver
//! while everything else works.

use super::systemd;
use crate::telemetry::{Hop, Readiness, metrics};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the supervisor is asked where no service manager waits for it.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// Asks until `stop`. While no answer comes, nobody is told anything.
pub(super) async fn run(
    supervisor: mpsc::Sender<oneshot::Sender<()>>,
    readiness: Readiness,
    alive_every: Option<Duration>,
    alive: impl Fn(),
    stop: CancellationToken,
) {
    let every = alive_every.unwrap_or(ASK_EVERY);
    while !stop.is_cancelled() {
        let (answer, mut answered) = oneshot::channel();
        if supervisor.send(answer).await.is_err() {
            return;
        }
        let said = tokio::select! {
            said = tokio::time::timeout(every, &mut answered) => said,
            () = stop.cancelled() => return,
        };
        if said.is_err() {
            tracing::error!("what keeps the encoders does not answer; the service manager is not told that it is well");
            readiness.down(Hop::Desk, "what keeps the encoders does not answer");
            // It may be back. Until then there is nothing to tell.
            tokio::select! {
                _ = answered => {}
                () = stop.cancelled() => return,
            }
        }
        metrics::supervisor_answered();
        readiness.up(Hop::Desk);
        if alive_every.is_some() {
            alive();
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// As [`run`], for the service manager that has started this program.
pub(super) async fn for_the_manager(
    supervisor: mpsc::Sender<oneshot::Sender<()>>,
    readiness: Readiness,
    stop: CancellationToken,
) {
    run(supervisor, readiness, systemd::alive_every(), systemd::alive, stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let all = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap_or_else(|_| panic!("not so: {what}"));
    }

    #[tokio::test]
    async fn a_supervisor_that_hangs_is_not_told_to_be_well_and_one_that_comes_back_is() {
        let (supervisor, mut asked) = mpsc::channel(1);
        let (readiness, stop, told) = (Readiness::default(), CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let count = told.clone();
        let alive = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let told = move || told.load(Ordering::Relaxed);
        let every = Duration::from_millis(50);
        let watch = tokio::spawn(run(supervisor, readiness.clone(), Some(every), alive, stop.clone()));
        for times in 1..=3 {
            asked.recv().await.unwrap().send(()).unwrap();
            until("told", || told() == times).await;
        }
        assert_eq!(readiness.all()[&Hop::Desk], None);
        let held = asked.recv().await.unwrap();
        // By now a timer would have told it again.
        until("missed", || readiness.all()[&Hop::Desk].is_some()).await;
        assert_eq!(told(), 3, "told while nothing answered");
        held.send(()).unwrap();
        until("told of its return", || told() == 4).await;
        assert_eq!(readiness.all()[&Hop::Desk], None);
        stop.cancel();
        watch.await.unwrap();
    }
}
