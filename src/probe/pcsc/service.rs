//! pcscd on this machine: whether it is there, how it is started, and what is in the way to its socket.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where distributions install pcscd.
const PROGRAMS: &[&str] = &["usr/sbin/pcscd", "usr/bin/pcscd", "usr/local/sbin/pcscd"];

/// Where systemd keeps its units: the administrator's first.
const UNITS: &[&str] = &["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// pcscd as the file system shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Installation {
    /// pcscd is installed.
    pub(in crate::probe) is_installed: bool,
    /// How it is started.
    pub(in crate::probe) starter: Starter,
    /// How it would be installed.
    pub(in crate::probe) installer: Installer,
    /// `/proc` hides processes from each other, and so from polkit, which cannot tell then who asks.
    pub(in crate::probe) hides_processes: bool,
}

/// How a service is started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Starter {
    /// By systemd, when the first client comes.
    Systemd,
    /// Not at all: the administrator has masked the unit.
    Masked,
    /// By a script in `/etc/init.d`.
    Script,
    /// By nobody.
    Nobody,
}

/// What installs packages here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Installer {
    /// Debian's.
    Apt,
    /// Fedora's.
    Dnf,
    /// Another one.
    Other,
}

/// What came of a knock at the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Reach {
    /// It was taken; whether somebody answers is another matter.
    Taken,
    /// There is no socket.
    Missing {
        /// Somebody listens at a socket of this name whose file is gone.
        is_orphaned: bool,
    },
    /// A file, and nobody behind it.
    Refused,
    /// This user may not.
    Denied,
}

/// What keeps a user from the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Barrier {
    /// The directory or the socket.
    pub(in crate::probe) path: PathBuf,
    /// It is the socket.
    pub(in crate::probe) is_socket: bool,
    /// Who is in this group passes.
    pub(in crate::probe) group: Option<String>,
}

impl Installation {
    /// Looks below this root.
    pub(super) fn look(root: &Path) -> Self {
        let is_there = |path: &str| root.join(path).exists();
        let starter = if is_there("run/systemd/system") {
            let unit = UNITS.iter().map(|folder| root.join(folder).join("pcscd.socket"));
            let is_masked = |unit: PathBuf| std::fs::read_link(unit).is_ok_and(|to| to == Path::new("/dev/null"));
            if unit.into_iter().any(is_masked) { Starter::Masked } else { Starter::Systemd }
        } else if is_there("etc/init.d/pcscd") {
            Starter::Script
        } else {
            Starter::Nobody
        };
        let installer = if is_there("usr/bin/apt-get") {
            Installer::Apt
        } else if is_there("usr/bin/dnf") {
            Installer::Dnf
        } else {
            Installer::Other
        };
        Self {
            is_installed: PROGRAMS.iter().any(|program| is_there(program)),
            starter,
            installer,
            hides_processes: hides_processes(&read(root, "proc/mounts")),
        }
    }
}

/// Knocks at the socket.
pub(super) async fn knock(root: &Path, socket: &Path) -> Reach {
    match tokio::net::UnixStream::connect(socket).await {
        Ok(_) => Reach::Taken,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Reach::Missing { is_orphaned: is_listening(&read(root, "proc/net/unix"), socket) }
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Reach::Denied,
        // All places in its queue are taken.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Reach::Taken,
        Err(_) => Reach::Refused,
    }
}

/// What is in the way of a user who is neither the owner nor in a group: the first directory that may not be passed, or
/// the socket itself. `None`: by the modes, nothing is.
pub(super) fn barrier(root: &Path, socket: &Path) -> Option<Barrier> {
    // A socket is connected to with the right to write, a directory passed with the right to execute.
    let (write, pass) = (0o002, 0o001);
    let mut ways: Vec<&Path> = socket.ancestors().collect();
    ways.reverse();
    ways.into_iter().find_map(|path| {
        let about = std::fs::metadata(path).ok()?;
        let is_socket = path == socket;
        let right = if is_socket { write } else { pass };
        if about.mode() & right != 0 {
            return None;
        }
        let has_group = about.mode() & (right << 3) != 0 && about.gid() != 0;
        let group = has_group.then(|| name_of(&read(root, "etc/group"), about.gid()));
        Some(Barrier { path: path.to_path_buf(), is_socket, group })
    })
}

/// The name of the user with this id.
pub(super) fn user(root: &Path, uid: u32) -> String {
    name_of(&read(root, "etc/passwd"), uid)
}

fn name_of(lines: &str, id: u32) -> String {
    let id = id.to_string();
    let mut fields = lines.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2) == Some(&id.as_str()));
    found.and_then(|fields| fields.first().map(|&name| name.to_owned())).unwrap_or(id)
}

/// Source: proc(5): `hidepid` 1, 2 and 4, or by word; 0 and `off` are the default.
fn hides_processes(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        fields.get(1) == Some(&"/proc")
            && fields.get(3).is_some_and(|options| {
                let hidden = options.split(',').find_map(|option| option.strip_prefix("hidepid="));
                hidden.is_some_and(|how| how != "0" && how != "off")
            })
    })
}

/// Whether the kernel knows of a listener with this path. Source: proc(5), `/proc/net/unix`: the flags of a listening
/// socket are 00010000, the path is the last field.
fn is_listening(sockets: &str, path: &Path) -> bool {
    let path = path.display().to_string();
    sockets.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"00010000") && fields.get(7) == Some(&path.as_str())
    })
}

fn read(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use std::os::unix::net::UnixListener;

    fn put(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    #[test]
    fn how_it_is_installed_and_started_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let bare = Installation {
            is_installed: false,
            starter: Starter::Nobody,
            installer: Installer::Other,
            hides_processes: false,
        };
        assert_eq!(Installation::look(root.path()), bare);
        put(root.path(), "usr/bin/dnf", "");
        put(root.path(), "usr/sbin/pcscd", "");
        put(root.path(), "etc/init.d/pcscd", "");
        put(root.path(), "proc/mounts", "proc /proc proc rw,nosuid,hidepid=invisible 0 0\n");
        let script = Installation {
            is_installed: true,
            starter: Starter::Script,
            installer: Installer::Dnf,
            hides_processes: true,
        };
        assert_eq!(Installation::look(root.path()), script);
        put(root.path(), "usr/bin/apt-get", "");
        put(root.path(), "proc/mounts", "proc /proc proc rw,nosuid,hidepid=0 0 0\n");
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        put(root.path(), "lib/systemd/system/pcscd.socket", "");
        let systemd =
            Installation { starter: Starter::Systemd, installer: Installer::Apt, hides_processes: false, ..script };
        assert_eq!(Installation::look(root.path()), systemd);
        fs::create_dir_all(root.path().join("etc/systemd/system")).unwrap();
        symlink("/dev/null", root.path().join("etc/systemd/system/pcscd.socket")).unwrap();
        assert_eq!(Installation::look(root.path()), Installation { starter: Starter::Masked, ..systemd });
    }

    #[tokio::test]
    async fn a_socket_that_is_missing_dead_or_alive_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("pcscd.comm");
        assert_eq!(knock(root.path(), &socket).await, Reach::Missing { is_orphaned: false });
        let listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(knock(root.path(), &socket).await, Reach::Taken);
        drop(listener);
        assert_eq!(knock(root.path(), &socket).await, Reach::Refused);
        fs::remove_file(&socket).unwrap();
        // The format of Linux 6.1, with the listener of a file that somebody has deleted.
        let sockets = format!(
            "Num       RefCount Protocol Flags    Type St Inode Path\n\
             ffff8d8a1c4d6a80: 00000003 00000000 00000000 0001 03 21873 {path}\n\
             ffff8d8a1c4d6a80: 00000002 00000000 00010000 0001 01 21874 {path}2\n",
            path = socket.display()
        );
        put(root.path(), "proc/net/unix", &sockets);
        assert_eq!(knock(root.path(), &socket).await, Reach::Missing { is_orphaned: false });
        put(root.path(), "proc/net/unix", &sockets.replace("comm2", "comm"));
        assert_eq!(knock(root.path(), &socket).await, Reach::Missing { is_orphaned: true });
    }

    #[test]
    fn what_is_in_the_way_is_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("run");
        let socket = folder.join("pcscd.comm");
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(root.path(), 0o755);
        fs::create_dir(&folder).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        mode(&folder, 0o755);
        mode(&socket, 0o666);
        assert_eq!(barrier(root.path(), &socket), None);
        mode(&socket, 0o600);
        let at_socket = Barrier { path: socket.clone(), is_socket: true, group: None };
        assert_eq!(barrier(root.path(), &socket), Some(at_socket.clone()));
        mode(&folder, 0o700);
        let at_folder = Barrier { path: folder.clone(), is_socket: false, group: None };
        assert_eq!(barrier(root.path(), &socket), Some(at_folder));
        // A group that passes; only root can give files away, and for others there is their own group.
        mode(&folder, 0o755);
        mode(&socket, 0o660);
        let _only_as_root = chown(&socket, None, Some(4242));
        let group = fs::metadata(&socket).unwrap().gid();
        put(root.path(), "etc/group", &format!("root:x:0:\nscard:x:{group}:clerk\n"));
        assert_ne!(group, 0, "this test runs as root, or as a user with a group");
        assert_eq!(barrier(root.path(), &socket), Some(Barrier { group: Some("scard".into()), ..at_socket }));
    }

    #[test]
    fn users_have_names() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nencoderd:x:998:997::/:/usr/sbin/nologin\n");
        assert_eq!(user(root.path(), 998), "encoderd");
        assert_eq!(user(root.path(), 997), "997");
    }
}
