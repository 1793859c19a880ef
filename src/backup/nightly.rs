//! One backup a day, kept by the daemon.
//!
//! Which days have theirs is read off the names of the files, so that a restart makes none twice and a missed one is made
//! at the next start. The wall clock decides; it is looked at again and again, because it may be set, and because a PC
//! that sleeps does not count the time.
//!
//! Old ones are deleted when a new one has been read back, and never before.

use super::wrap::Passphrase;
use super::{BackupError, Places, create, sync_directory};
use crate::clock;
use crate::config::Config;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What every name begins with.
const PREFIX: &str = "encoderd-nightly-";
/// And ends with.
const SUFFIX: &str = ".tar.gz";
/// What stands between the PC's name and the end: the time, in UTC.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// The clock is looked at so often, whatever it said last.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// A backup that failed is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_hours(1);

/// One that was missed waits for so long after a start, so that it is in nobody's way.
const AFTER_START: Duration = Duration::from_mins(1);

/// A stamp further ahead than this is a clock's that ran wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// The last backup, as people are told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Where they are kept.
    pub directory: PathBuf,
    /// When the last one was made.
    pub last_at: Option<Timestamp>,
    /// The last one.
    pub last_file: Option<PathBuf>,
    /// Its size in bytes.
    pub last_bytes: Option<u64>,
    /// Whether backups hold the secrets, opened by a passphrase.
    pub with_secrets: bool,
    /// When the next one is made.
    pub next_at: Option<Timestamp>,
    /// Why the last one was not made.
    pub problem: Option<String>,
}

/// How backups are made by themselves.
#[derive(Clone, Debug)]
pub struct Nightly {
    /// What is backed up.
    pub places: Places,
    /// Where to.
    pub directory: PathBuf,
    /// How many are kept.
    pub keep: usize,
    /// When, in the property's time.
    pub at: Time,
    /// The property's time zone.
    pub time_zone: TimeZone,
    /// What opens the secrets.
    pub passphrase_file: Option<PathBuf>,
    /// This PC's name, by which its backups are told from another one's in the same directory.
    pub host: String,
    /// How long a missed one waits after the start.
    pub after_start: Duration,
}

impl Nightly {
    /// As the configuration says; `None`: not at all.
    pub fn of(config: &Config) -> Result<Option<Self>, BackupError> {
        if !config.backup.nightly {
            return Ok(None);
        }
        let zone = config.property.as_ref().and_then(|property| TimeZone::get(&property.time_zone).ok());
        Ok(Some(Self {
            places: Places::of(config)?,
            directory: config.backup_directory(),
            keep: usize::try_from(config.backup.keep).unwrap_or(usize::MAX),
            at: config.backup.at,
            time_zone: zone.unwrap_or_else(TimeZone::system),
            passphrase_file: config.backup.passphrase_file.clone(),
            host: host_name(),
            after_start: AFTER_START,
        }))
    }

    /// What is known before the first one.
    pub fn status(&self) -> BackupStatus {
        let now = clock::wall();
        let mut status = BackupStatus {
            directory: self.directory.clone(),
            with_secrets: self.passphrase_file.is_some(),
            next_at: Some(self.next(now)),
            ..BackupStatus::default()
        };
        let newest = self.found().into_iter().filter(|found| !is_ahead(found.at, now)).max_by_key(|found| found.at);
        if let Some(newest) = newest {
            status.last_at = Some(newest.at);
            status.last_bytes = std::fs::metadata(&newest.path).ok().map(|metadata| metadata.len());
            status.last_file = Some(newest.path);
        }
        status
    }

    /// Makes backups until `stop`, and tells how it went.
    pub async fn run(self, status: watch::Sender<BackupStatus>, stop: CancellationToken) {
        let mut pause = self.after_start;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            let now = clock::wall();
            pause = if self.is_due(now) {
                let made = tokio::select! {
                    made = self.make(now) => made,
                    () = stop.cancelled() => return,
                };
                self.tell(made, &status)
            } else {
                LOOK_EVERY
            };
            let now = clock::wall();
            let next = self.next(now);
            status.send_if_modified(|status| status.next_at.replace(next) != Some(next));
            let until = Duration::try_from(next.duration_since(now)).unwrap_or_default();
            pause = pause.min(until.max(Duration::from_secs(1)));
        }
    }

    fn tell(
        &self,
        made: Result<(PathBuf, u64, Timestamp), BackupError>,
        status: &watch::Sender<BackupStatus>,
    ) -> Duration {
        match made {
            Ok((path, bytes, at)) => {
                tracing::info!(file = %path.display(), bytes, "backup made");
                status.send_modify(|status| {
                    (status.last_at, status.last_bytes, status.problem) = (Some(at), Some(bytes), None);
                    status.last_file = Some(path);
                });
                LOOK_EVERY
            }
            Err(error) => {
                let text = with_causes(&error);
                tracing::error!(directory = %self.directory.display(), error = text, "no backup was made");
                status.send_modify(|status| status.problem = Some(text));
                AGAIN_AFTER
            }
        }
    }

    /// Makes one now, and then deletes those that are too many.
    async fn make(&self, now: Timestamp) -> Result<(PathBuf, u64, Timestamp), BackupError> {
        let passphrase = self.passphrase_file.as_deref().map(Passphrase::from_file).transpose()?;
        let failed = |source| BackupError::File { path: self.directory.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        self.clear_up()?;
        let name = format!("{PREFIX}{}-{}{SUFFIX}", self.host, now.strftime(STAMP));
        let path = self.directory.join(name);
        let made = create::create(&self.places, &path, passphrase.as_ref()).await?;
        for old in self.too_many(now) {
            std::fs::remove_file(&old).map_err(|source| BackupError::File { path: old.clone(), source })?;
        }
        sync_directory(&self.directory)?;
        Ok((path, made.bytes, now))
    }

    /// Removes what a nightly backup left behind that was killed. There is one daemon at a time, so nobody works on it.
    fn clear_up(&self) -> Result<(), BackupError> {
        let (front, back) = (format!(".{PREFIX}{}-", self.host), format!("{SUFFIX}.partial"));
        let failed = |source| BackupError::File { path: self.directory.clone(), source };
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let is_ours = name.to_str().is_some_and(|name| name.starts_with(&front) && name.ends_with(&back));
            if is_ours {
                let is_free = OpenOptions::new()
                    .write(true)
                    .open(entry.path().join("lock"))
                    .is_ok_and(|lock| lock.try_lock().is_ok());
                if is_free {
                    std::fs::remove_dir_all(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the last moment for a backup has passed without one.
    fn is_due(&self, now: Timestamp) -> bool {
        let last = self.last(now);
        !self.found().iter().any(|found| found.at >= last && !is_ahead(found.at, now))
    }

    /// The last moment for a backup, up to now.
    fn last(&self, now: Timestamp) -> Timestamp {
        let today = now.to_zoned(self.time_zone.clone()).date();
        let at = |date: DateTime| date.to_zoned(self.time_zone.clone()).map(|zoned| zoned.timestamp());
        let moments = [today.to_datetime(self.at), today.saturating_sub(1.day()).to_datetime(self.at)];
        moments.into_iter().filter_map(|moment| at(moment).ok()).find(|moment| *moment <= now).unwrap_or(now)
    }

    /// The next moment for a backup: now, if one is due.
    fn next(&self, now: Timestamp) -> Timestamp {
        if self.is_due(now) {
            return now;
        }
        let today = now.to_zoned(self.time_zone.clone()).date();
        let at = |date: DateTime| date.to_zoned(self.time_zone.clone()).map(|zoned| zoned.timestamp());
        let moments = [today.to_datetime(self.at), today.saturating_add(1.day()).to_datetime(self.at)];
        moments.into_iter().filter_map(|moment| at(moment).ok()).find(|moment| *moment > now).unwrap_or(now)
    }

    /// What is to be deleted: all but the newest. One from the future was made by a clock that ran wrong and counts as
    /// the oldest, or it would push out each new one.
    fn too_many(&self, now: Timestamp) -> Vec<PathBuf> {
        let mut found = self.found();
        found.sort_by_key(|found| (!is_ahead(found.at, now), found.at));
        let many = found.len().saturating_sub(self.keep.max(1));
        found.into_iter().take(many).map(|found| found.path).collect()
    }

    /// This PC's nightly backups.
    fn found(&self) -> Vec<Found> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let front = format!("{PREFIX}{}-", self.host);
        let found = |path: PathBuf| {
            let stamp = path.file_name()?.to_str()?.strip_prefix(&front)?.strip_suffix(SUFFIX)?;
            let at = DateTime::strptime(STAMP, stamp).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
            Some(Found { at, path })
        };
        entries.filter_map(Result::ok).filter_map(|entry| found(entry.path())).collect()
    }
}

/// A nightly backup.
#[derive(Clone, Debug)]
struct Found {
    at: Timestamp,
    path: PathBuf,
}

fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > AHEAD
}

/// The name of this PC, of letters that a file name may have everywhere.
fn host_name() -> String {
    // The service's own sandbox hides the second one.
    let name =
        ["/etc/hostname", "/proc/sys/kernel/hostname"].iter().find_map(|file| std::fs::read_to_string(file).ok());
    let name: String = name.unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').take(60).collect();
    if name.is_empty() { "pc".to_owned() } else { name.to_ascii_lowercase() }
}

/// An error with its causes, each once.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::HubAt;
    use jiff::civil::time;
    use std::path::Path;

    fn nightly(directory: &Path, zone: &str) -> Nightly {
        Nightly {
            places: Places {
                state_dir: directory.to_path_buf(),
                hub: HubAt::Remote,
                configuration: None,
                bridge_token: directory.join("bridge-token"),
                property: None,
            },
            directory: directory.to_path_buf(),
            keep: 3,
            at: time(3, 30, 0, 0),
            time_zone: TimeZone::get(zone).unwrap(),
            passphrase_file: None,
            host: "desk".to_owned(),
            after_start: Duration::ZERO,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn put(directory: &Path, moment: &str) {
        let stamp = at(moment).strftime(STAMP).to_string();
        std::fs::write(directory.join(format!("{PREFIX}desk-{stamp}{SUFFIX}")), "x").unwrap();
    }

    #[test]
    fn there_is_one_a_day_in_the_propertys_time() {
        let directory = tempfile::tempdir().unwrap();
        let nightly = nightly(directory.path(), "Europe/Zurich");
        assert!(nightly.is_due(at("2026-11-22T12:00:00Z")), "there is none");
        // 03:30 in Zurich, in winter.
        put(directory.path(), "2026-11-22T02:30:00Z");
        assert!(!nightly.is_due(at("2026-11-22T02:30:00Z")));
        assert!(!nightly.is_due(at("2026-11-23T02:29:59Z")));
        assert_eq!(nightly.next(at("2026-11-22T12:00:00Z")), at("2026-11-23T02:30:00Z"));
        assert!(nightly.is_due(at("2026-11-23T02:30:00Z")));
        // A missed one that was made at noon does not push the next one.
        put(directory.path(), "2026-11-23T11:00:00Z");
        assert_eq!(nightly.next(at("2026-11-23T11:00:01Z")), at("2026-11-24T02:30:00Z"));
    }

    #[test]
    fn each_day_has_one_where_the_clocks_change() {
        let directory = tempfile::tempdir().unwrap();
        let mut nightly = nightly(directory.path(), "Europe/Zurich");
        // 02:30 is not there on one Sunday, and twice on another.
        nightly.at = time(2, 30, 0, 0);
        for (before, due) in
            [("2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"), ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z")]
        {
            put(directory.path(), before);
            assert_eq!(nightly.next(at(before)), at(due));
            put(directory.path(), due);
            assert!(!nightly.is_due(at(due) + SignedDuration::from_hours(3)), "{due}");
        }
    }

    #[test]
    fn a_clock_that_jumps_makes_no_second_one_and_stops_none() {
        let directory = tempfile::tempdir().unwrap();
        let nightly = nightly(directory.path(), "UTC");
        put(directory.path(), "2026-11-22T03:30:00Z");
        // An hour back, and a few minutes back over the moment itself.
        assert!(!nightly.is_due(at("2026-11-22T02:30:00Z")));
        assert!(!nightly.is_due(at("2026-11-22T03:29:00Z")));
        // A year ahead, and back again: what was made there stops nothing here.
        put(directory.path(), "2027-11-22T03:30:00Z");
        assert!(!nightly.is_due(at("2026-11-22T12:00:00Z")));
        assert!(nightly.is_due(at("2026-11-23T03:30:00Z")));
        for day in 23..=25 {
            put(directory.path(), &format!("2026-11-{day}T03:30:00Z"));
        }
        let mut gone = nightly.too_many(at("2026-11-25T03:31:00Z"));
        gone.sort();
        let names: Vec<_> = gone.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(
            names,
            ["encoderd-nightly-desk-20261122T033000Z.tar.gz", "encoderd-nightly-desk-20271122T033000Z.tar.gz"]
        );
    }
}
