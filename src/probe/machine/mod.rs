//! The machine that the checks look at, and what of it they share. Everything lies below a root, so that a test can plant
//! a machine with a fault in a directory.

mod accounts;
mod processes;
mod tty;
mod unit;

pub(super) use accounts::{ServiceUser, Source, User, group_name, mode_text, shown};
pub(super) use processes::{has_multiplexer, holders, listener, named, program};
pub(super) use tty::{BRIDGE_CHIPS, Tty, portless, ttys};
pub(super) use unit::Unit;

use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a program of the system may take to answer. `systemctl show` takes milliseconds; a bus that hangs must not.
const PROGRAM_BOUND: Duration = Duration::from_secs(3);

/// Where things are on a machine, and what cannot be read from files there.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `/`, or where a test has planted its files.
    pub root: PathBuf,
    /// sysfs.
    pub sysfs: PathBuf,
    /// procfs.
    pub proc: PathBuf,
    /// Where programs are looked for by name.
    pub path: Vec<PathBuf>,
    /// The wall clock when the probe began.
    pub now: Timestamp,
    /// Asks a file system for its free space.
    pub space: fn(&Path) -> std::io::Result<Space>,
}

/// A file system's room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that a user who is not root may still write.
    pub free_bytes: u64,
    /// Files that may still be made; `None` where the file system does not count them.
    pub free_files: Option<u64>,
    /// Nothing can be written.
    pub is_read_only: bool,
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        let sysfs = std::env::var_os("SYSFS_PATH").map_or_else(|| PathBuf::from("/sys"), PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            root: PathBuf::from("/"),
            sysfs,
            proc: PathBuf::from("/proc"),
            path: std::env::split_paths(&path).collect(),
            now: crate::clock::wall(),
            space,
        }
    }

    /// A path below the root; written without a slash in front.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Where an absolute path of this machine really is.
    pub(super) fn real(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_path_buf(), |path| self.root.join(path))
    }

    pub(super) fn is_there(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// A file's text, without what surrounds it.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        text(&self.path(path))
    }

    /// What a directory holds, sorted.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        list(&self.path(path))
    }

    /// The files in these directories whose names end so, with their texts.
    pub(super) fn texts(&self, folders: &[&str], extension: &str) -> Vec<(String, String)> {
        let named = |folder: &&str| {
            let names = self.list(folder).into_iter().filter(|name| name.ends_with(extension));
            names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
        };
        let paths = folders.iter().flat_map(named);
        paths.filter_map(|path| Some((path.clone(), self.text(&path)?))).collect()
    }

    /// What a program of this machine prints; `None` where there is none, it fails, or takes too long.
    pub(super) async fn output(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let program = ["usr/bin", "bin"].iter().map(|folder| self.root.join(folder).join(program));
        let program = program.into_iter().find(|program| program.exists())?;
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null());
        let run = tokio::task::spawn_blocking(move || command.output().ok());
        let output = tokio::time::timeout(PROGRAM_BOUND, run).await.ok()?.ok()??;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether systemd starts this machine's services.
    pub(super) fn has_systemd(&self) -> bool {
        self.is_there("run/systemd/system")
    }
}

pub(super) fn text(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

pub(super) fn list(path: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

pub(super) fn link_name(link: &Path) -> Option<String> {
    Some(std::fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

fn space(path: &Path) -> std::io::Result<Space> {
    let about = rustix::fs::statvfs(path)?;
    Ok(Space {
        free_bytes: about.f_bavail.saturating_mul(about.f_frsize),
        // btrfs and others count no files: none there, none free.
        free_files: (about.f_files > 0).then_some(about.f_favail),
        is_read_only: about.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}
