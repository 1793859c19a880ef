//! Where the log goes: to the journal with its fields where systemd runs the program, else to stderr.

use std::io::IsTerminal as _;
use std::os::linux::fs::MetadataExt as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Where systemd says that stderr is its journal's: `device:inode`. Source: `systemd.exec(5)`, `$JOURNAL_STREAM`.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Journal,
    Stderr,
}

impl Target {
    /// The journal if stderr leads there; not if somebody has redirected it since.
    fn of(stream: Option<&str>, stderr: Option<(u64, u64)>) -> Self {
        let named = stream.and_then(|stream| {
            let (device, inode) = stream.split_once(':')?;
            Some((device.parse().ok()?, inode.parse().ok()?))
        });
        if named.is_some() && named == stderr { Self::Journal } else { Self::Stderr }
    }
}

/// Begins to log what the filter lets through.
pub fn init(filter: EnvFilter) {
    let stream = std::env::var(JOURNAL_STREAM).ok();
    let stderr = std::fs::metadata("/proc/self/fd/2").ok().map(|file| (file.st_dev(), file.st_ino()));
    let journal = match Target::of(stream.as_deref(), stderr) {
        // Without its socket, as in some sandboxes, lines still reach it through stderr.
        Target::Journal => tracing_journald::layer().ok(),
        Target::Stderr => None,
    };
    let Some(journal) = journal else {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false);
        tracing_subscriber::registry().with(filter).with(layer).init();
        return;
    };
    // Our fields are named as they are: ACTION_ATTEMPT_ID, DEVICE_ID, ACS_ENCODER_ID.
    let journal = journal.with_field_prefix(None).with_syslog_identifier("encoderd".to_owned());
    tracing_subscriber::registry().with(filter).with(journal).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_used_only_if_stderr_is_the_one_that_systemd_made() {
        assert_eq!(Target::of(Some("8:1234"), Some((8, 1234))), Target::Journal);
        for (stream, stderr) in [
            (None, Some((8, 1234))),
            (Some("8:1234"), Some((8, 1235))),
            (Some("8:1234"), None),
            (Some("8-1234"), Some((8, 1234))),
            (Some(""), None),
        ] {
            assert_eq!(Target::of(stream, stderr), Target::Stderr, "{stream:?} {stderr:?}");
        }
    }
}
