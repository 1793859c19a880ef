//! A test in a process of its own, with a bus and a pcscd of its own.

use crate::pcscd::Pcscd;
use encoderd::clock::{self, Deadline};
use encoderd::transport::pcsc::{Monitor, ReaderState, Service, Snapshot};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::sync::watch;

/// Where the test's own process finds its bus.
const BUS: &str = "ENCODERD_TEST_BUS";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the body in a process of its own whose libpcsclite looks for pcscd on a new bus. `test` is the test's whole name.
#[expect(clippy::print_stdout, reason = "what the test's own process measured")]
pub fn in_own_process<F: Future<Output = ()>>(test: &str, body: impl FnOnce(PathBuf) -> F) {
    if let Some(bus) = std::env::var_os(BUS) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(body(bus.into()));
    }
    let bus = tempfile::tempdir().unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(BUS, bus.path())
        .env("PCSCLITE_CSOCK_NAME", bus.path().join("pcscd.comm"))
        .env("SYSFS_PATH", bus.path().join("sys"))
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "no test {test}: {said}");
    println!("{said}");
}

/// A pcscd and a monitor that has heard of it.
pub async fn watched(bus: &Path) -> (Pcscd, Monitor, watch::Receiver<Snapshot>) {
    let pcscd = Pcscd::start(bus);
    let monitor = Monitor::start();
    let mut snapshot = monitor.snapshot();
    until(&mut snapshot, |seen| seen.service == Service::Running).await;
    (pcscd, monitor, snapshot)
}

/// Waits until the snapshot is so; returns it, and how long it took.
pub async fn until(
    snapshot: &mut watch::Receiver<Snapshot>,
    mut is_so: impl FnMut(&Snapshot) -> bool,
) -> (Snapshot, Duration) {
    let start = clock::now();
    let waited = tokio::time::timeout(PATIENCE, snapshot.wait_for(|seen| is_so(seen))).await.map(drop);
    let seen = snapshot.borrow().clone();
    assert!(waited.is_ok(), "still: {seen:?}");
    (seen, clock::now() - start)
}

/// Waits until there are this many readers; returns them.
pub async fn readers(snapshot: &mut watch::Receiver<Snapshot>, count: usize) -> Vec<ReaderState> {
    until(snapshot, |seen| seen.readers.len() == count).await.0.readers
}

/// Waits until something is so that nothing announces.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Deadline::after(PATIENCE);
    while !is_so() {
        assert!(!deadline.has_passed(), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The threads of this process with this name, and the descriptors that are open.
pub fn threads(name: &str) -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
        .count()
}

/// The sockets that this process has open.
pub fn sockets() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:")))
        .count()
}
