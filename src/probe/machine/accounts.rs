//! Users and groups, and what file modes let them do.

use super::{Machine, Unit, text};
use crate::control::StatusAnswer;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct User {
    /// Its name.
    pub(in crate::probe) name: String,
    /// Its number.
    pub(in crate::probe) uid: u32,
    /// Its own group first, then the others.
    pub(in crate::probe) groups: Vec<u32>,
}

/// How the service's user is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Source {
    /// The running daemon has it.
    Daemon,
    /// The service's unit names it.
    Unit,
    /// There is no service: who asks would start encoderd by hand.
    Asker,
}

/// Who encoderd is, or will be.
#[derive(Clone, Debug)]
pub(in crate::probe) struct ServiceUser {
    /// How that is known.
    pub(in crate::probe) source: Source,
    /// The name that it goes by.
    pub(in crate::probe) name: String,
    /// The user; `None` where no such user exists.
    pub(in crate::probe) user: Option<User>,
}

impl ServiceUser {
    /// The running daemon's user, else the one that the unit names, else who asks.
    pub(in crate::probe) fn find(machine: &Machine, unit: &Unit, status: Option<&StatusAnswer>) -> Self {
        let daemon = status.and_then(|status| of_process(machine, status.pid));
        let (source, user, name) = match (daemon, &unit.user) {
            (Some(user), _) => (Source::Daemon, Some(user), None),
            (None, Some(name)) => (Source::Unit, by_name(machine, name, &unit.groups), Some(name.clone())),
            (None, None) => (Source::Asker, Some(asker(machine)), None),
        };
        let name = name.or_else(|| user.as_ref().map(|user| user.name.clone())).unwrap_or_default();
        Self { source, name, user }
    }
}

impl User {
    /// Whether file modes let this user do this, in the bits of one class: read 4, write 2, pass or execute 1.
    pub(in crate::probe) fn may(&self, about: &Metadata, wanted: u32) -> bool {
        if self.uid == 0 {
            return true;
        }
        let mode = about.mode();
        let class = if about.uid() == self.uid {
            mode >> 6
        } else if self.groups.contains(&about.gid()) {
            mode >> 3
        } else {
            mode
        };
        class & wanted == wanted
    }

    /// Whether the directories above let this user through. A test's own directories above the root count as open.
    pub(in crate::probe) fn reaches<'a>(&self, machine: &Machine, path: &'a Path) -> Result<(), &'a Path> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        let closed = above.into_iter().find(|folder| {
            folder.starts_with(&machine.root)
                && *folder != machine.root
                && std::fs::metadata(folder).is_ok_and(|about| !self.may(&about, 1))
        });
        closed.map_or(Ok(()), Err)
    }
}

fn asker(machine: &Machine) -> User {
    let uid = rustix::process::geteuid().as_raw();
    let mut groups = vec![rustix::process::getegid().as_raw()];
    groups.extend(rustix::process::getgroups().unwrap_or_default().iter().map(|group| group.as_raw()));
    User { name: name_of(machine, "etc/passwd", uid), uid, groups }
}

/// What a process really is: a group that its user was put into later is none of its own until it starts anew.
fn of_process(machine: &Machine, pid: u32) -> Option<User> {
    let status = text(&machine.proc.join(pid.to_string()).join("status"))?;
    let numbers = |key: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.split_whitespace().filter_map(|number| number.parse().ok()).collect())
    };
    // Real, effective, saved, file system. Source: proc(5).
    let uid = *numbers("Uid:")?.get(1)?;
    let mut groups = vec![*numbers("Gid:")?.get(1)?];
    groups.extend(numbers("Groups:").unwrap_or_default());
    Some(User { name: name_of(machine, "etc/passwd", uid), uid, groups })
}

fn by_name(machine: &Machine, name: &str, with_groups: &[String]) -> Option<User> {
    let passwd = machine.text("etc/passwd").unwrap_or_default();
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = fields.into_iter().find(|fields| fields.first() == Some(&name))?;
    let number = |index: usize| line.get(index)?.parse::<u32>().ok();
    let mut groups = vec![number(3)?];
    for line in machine.text("etc/group").unwrap_or_default().lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [group, _, gid, members] = fields.as_slice() else { continue };
        if members.split(',').any(|member| member == name) || with_groups.iter().any(|with| with == group) {
            groups.extend(gid.parse::<u32>().ok());
        }
    }
    Some(User { name: name.to_owned(), uid: number(2)?, groups })
}

/// The name of the group with this number.
pub(in crate::probe) fn group_name(machine: &Machine, gid: u32) -> String {
    name_of(machine, "etc/group", gid)
}

fn name_of(machine: &Machine, file: &str, id: u32) -> String {
    let (text, id) = (machine.text(file).unwrap_or_default(), id.to_string());
    let mut fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2) == Some(&id.as_str()));
    found.and_then(|fields| fields.first().map(|&name| name.to_owned())).unwrap_or(id)
}

/// Owner, group and mode, for people.
pub(in crate::probe) fn shown(machine: &Machine, about: &Metadata) -> String {
    let owner = name_of(machine, "etc/passwd", about.uid());
    format!("{owner}:{}, mode {}", group_name(machine, about.gid()), mode_text(about))
}

/// The mode in octal, as chmod takes it.
pub(in crate::probe) fn mode_text(about: &Metadata) -> String {
    format!("{:04o}", about.mode() & 0o7777)
}
