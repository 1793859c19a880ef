//! The symlink that gives a pty a name that stays.

use crate::emulator::EmulatorError;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

/// Where ptys live; a link elsewhere is not an emulator's.
const PTY_DIR: &str = "/dev/pts";

/// A symlink to a pty, removed on drop.
pub(super) struct Link {
    path: PathBuf,
    pty: PathBuf,
}

impl Link {
    /// Makes the link; one that a dead emulator left is replaced, everything else that lies there is left alone.
    pub(super) fn make(path: &Path, pty: &Path) -> Result<Self, EmulatorError> {
        if !is_stale(path)? {
            return Err(EmulatorError::LinkTaken { path: path.into() });
        }
        let made = remove_if_there(path).and_then(|()| symlink(pty, path));
        made.map_err(|source| EmulatorError::Link { path: path.into(), source })?;
        Ok(Self { path: path.into(), pty: pty.into() })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Somebody may have put something else there meanwhile.
        if fs::read_link(&self.path).is_ok_and(|target| target == self.pty) {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the path is free: nothing is there, or a link to a pty that is gone.
///
/// The system gives a dead pty's number to the next terminal, so a target that exists proves nothing. An emulator
/// links to a pty that it opened before: a pty that is younger than the link is somebody else's.
fn is_stale(path: &Path) -> Result<bool, EmulatorError> {
    let link = match fs::symlink_metadata(path) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(EmulatorError::Link { path: path.into(), source }),
    };
    let target = link.is_symlink().then(|| fs::read_link(path)).and_then(Result::ok);
    let Some(target) = target.filter(|target| target.parent() == Some(Path::new(PTY_DIR))) else {
        return Err(EmulatorError::NotALink { path: path.into() });
    };
    let age = |metadata: &fs::Metadata| (metadata.ctime(), metadata.ctime_nsec());
    let is_live = fs::metadata(target).is_ok_and(|pty| age(&pty) <= age(&link));
    Ok(!is_live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, fchmod};
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
    use std::os::fd::OwnedFd;

    fn pty() -> (OwnedFd, OwnedFd, PathBuf) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap().into();
        (master, slave, path)
    }

    #[test]
    fn a_link_to_a_pty_that_was_opened_later_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let (_master, slave, pty) = pty();
        let path = dir.path().join("encoder");
        let link = Link::make(&path, &pty).unwrap();
        assert!(matches!(Link::make(&path, &pty), Err(EmulatorError::LinkTaken { .. })));
        // What a login does to its terminal: the system sets owner and mode afresh, and with them the time of change.
        let before = fs::symlink_metadata(&path).unwrap().ctime_nsec();
        let deadline = crate::clock::Deadline::after(std::time::Duration::from_secs(5));
        while fs::metadata(&pty).unwrap().ctime_nsec() == before || !is_stale(&path).unwrap() {
            fchmod(&slave, Mode::RUSR | Mode::WUSR).unwrap();
            assert!(!deadline.has_passed(), "still taken for live");
        }
        drop(Link::make(&path, &pty).unwrap());
        assert!(!path.exists());
        drop(link);
    }

    #[test]
    fn what_is_not_a_link_to_a_pty_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (_master, _slave, pty) = pty();
        let (file, elsewhere) = (dir.path().join("notes"), dir.path().join("ttyUSB0"));
        fs::write(&file, "mine").unwrap();
        symlink(&file, &elsewhere).unwrap();
        for path in [&file, &elsewhere] {
            assert!(matches!(Link::make(path, &pty), Err(EmulatorError::NotALink { .. })));
        }
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    }

    #[test]
    fn a_link_that_somebody_else_put_there_survives_the_drop() {
        let dir = tempfile::tempdir().unwrap();
        let (_master, _slave, pty) = pty();
        let path = dir.path().join("encoder");
        let link = Link::make(&path, &pty).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop(link);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
