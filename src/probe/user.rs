//! The user that encoderd runs as: whether it exists, and whether it is in the group of serial ports.

use super::machine::{Source, User, group_name};
use super::trial::Claimed;
use super::{Context, Finding};
use std::os::unix::fs::MetadataExt as _;

const NAME: &str = "user";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let service = &context.service;
    let name = &service.name;
    let Some(user) = &service.user else {
        let message = format!("the service's user {name} does not exist on this PC");
        let remedy = "sudo systemd-sysusers && sudo systemctl restart encoderd";
        return vec![Finding::failed(NAME, message).remedy(remedy)];
    };
    let who = match service.source {
        Source::Daemon => format!("encoderd runs as {name}"),
        Source::Unit => format!("encoderd is to run as {name}"),
        Source::Asker => format!("encoderd would run as {name}, who asks"),
    };
    if user.uid == 0 {
        return vec![Finding::note(NAME, format!("{who}: it needs no such rights"))];
    }
    let groups: Vec<u32> = context.claimed.iter().filter_map(|port| group(port, user)).collect();
    if let Some(gid) = groups.first() {
        let group = group_name(&context.machine, *gid);
        let ports: Vec<String> = context.claimed.iter().map(|port| port.path.display().to_string()).collect();
        let message = format!("{who}, which is not in the group {group} that may open {}", ports.join(", "));
        let again = if service.source == Source::Asker { "log in again" } else { "sudo systemctl restart encoderd" };
        let remedy = match service.source {
            Source::Asker => format!("sudo usermod -aG {group} {name}, then {again}"),
            Source::Daemon | Source::Unit => format!("sudo usermod -aG {group} {name} && {again}"),
        };
        return vec![Finding::failed(NAME, message).remedy(remedy)];
    }
    vec![Finding::fine(NAME, who)]
}

/// The group that may open this port, where this user may not and would in that group.
fn group(port: &Claimed, user: &User) -> Option<u32> {
    let about = std::fs::metadata(&port.path).ok()?;
    let of_group = about.mode() & 0o060 == 0o060 && about.gid() != 0 && !user.groups.contains(&about.gid());
    (of_group && !user.may(&about, 6)).then(|| about.gid())
}
