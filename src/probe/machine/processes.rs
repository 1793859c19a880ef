//! Which processes there are, which have a file open, and which listens at an address.

use super::{Machine, link_name, list, text};
use std::net::SocketAddr;
use std::path::Path;

/// A process: its name and its number.
pub(in crate::probe) type Process = (String, u32);

/// The processes of this machine, as far as they may be seen.
fn all(machine: &Machine) -> Vec<Process> {
    let pids = list(&machine.proc).into_iter().filter_map(|name| name.parse::<u32>().ok());
    let mut all: Vec<Process> =
        pids.filter_map(|pid| Some((text(&machine.proc.join(pid.to_string()).join("comm"))?, pid))).collect();
    all.sort_by_key(|(_, pid)| *pid);
    all
}

/// The processes of this name. The kernel keeps 15 characters of it.
pub(in crate::probe) fn named(machine: &Machine, name: &str) -> Vec<u32> {
    let short: String = name.chars().take(15).collect();
    all(machine).into_iter().filter(|(comm, _)| *comm == short).map(|(_, pid)| pid).collect()
}

/// The processes, without this one, that have this node open, as far as this user may see: root all of them.
pub(in crate::probe) fn holders(machine: &Machine, node: &Path) -> Vec<Process> {
    let Ok(node) = node.canonicalize() else { return Vec::new() };
    others_with(machine, |target| target == node)
}

/// The processes, without this one, that have a file open whose target is so.
pub(in crate::probe) fn others_with(machine: &Machine, is_wanted: impl Fn(&Path) -> bool) -> Vec<Process> {
    let others = all(machine).into_iter().filter(|(_, pid)| *pid != std::process::id());
    others.filter(|(_, pid)| has_open(machine, *pid, &is_wanted)).collect()
}

fn has_open(machine: &Machine, pid: u32, is_wanted: &impl Fn(&Path) -> bool) -> bool {
    let folder = machine.proc.join(pid.to_string()).join("fd");
    list(&folder).iter().any(|fd| std::fs::read_link(folder.join(fd)).is_ok_and(|target| is_wanted(&target)))
}

/// Who listens at this port; `None` where it cannot be seen.
///
/// Source: proc(5), `/proc/net/tcp`: local address in hex, state 0A for a listener, inode in the tenth field.
pub(in crate::probe) fn listener(machine: &Machine, address: SocketAddr) -> Option<Process> {
    let port = format!("{:04X}", address.port());
    let tables = ["net/tcp", "net/tcp6"].iter().filter_map(|table| text(&machine.proc.join(table)));
    let inodes: Vec<String> = tables
        .flat_map(|table| {
            let listening = table.lines().filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let (_, at) = fields.get(1)?.rsplit_once(':')?;
                (at == port && fields.get(3) == Some(&"0A")).then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
            });
            listening.collect::<Vec<_>>()
        })
        .collect();
    let is_socket = |target: &Path| {
        let target = target.to_string_lossy();
        inodes.iter().any(|inode| target == format!("socket:[{inode}]"))
    };
    all(machine).into_iter().find(|(_, pid)| has_open(machine, *pid, &is_socket))
}

/// The file that a process runs, and whether it was deleted or replaced since.
pub(in crate::probe) fn program(machine: &Machine, pid: u32) -> Option<(String, bool)> {
    let link = std::fs::read_link(machine.proc.join(pid.to_string()).join("exe")).ok()?;
    let shown = link.to_string_lossy().into_owned();
    let is_gone = link_name(&machine.proc.join(pid.to_string()).join("exe"))?.ends_with(" (deleted)");
    Some((shown.trim_end_matches(" (deleted)").to_owned(), is_gone))
}

/// Whether a process has made a pty, as virtual encoders and terminals do.
pub(in crate::probe) fn has_multiplexer(machine: &Machine, pid: u32) -> bool {
    has_open(machine, pid, &|target: &Path| target == Path::new("/dev/ptmx") || target == Path::new("/dev/pts/ptmx"))
}
