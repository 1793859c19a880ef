//! Other programs that hold a port that encoderd uses.

use super::grabbers::GRABBERS;
use super::machine::holders;
use super::{Context, Finding};

const NAME: &str = "holders";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let daemon = context.status.as_ref().map(|status| status.pid);
    let mut findings = Vec::new();
    for port in &context.claimed {
        let path = port.path.display();
        for (name, pid) in holders(&context.machine, &port.path) {
            let is_said = GRABBERS.iter().any(|grabber| grabber.name == name);
            // A virtual encoder holds the other end of its own pty.
            if Some(pid) == daemon || is_said || is_far_end(context, pid) {
                continue;
            }
            let who = if name == "encoderd" { "another encoderd".to_owned() } else { name.clone() };
            let message = format!("{who} (pid {pid}) holds {path}");
            findings.push(Finding::failed(NAME, message).remedy(format!("close {name}, or: sudo kill {pid}")));
        }
    }
    findings
}

/// Whether a process plays the virtual encoder at the far end: it has the multiplexer open.
fn is_far_end(context: &Context, pid: u32) -> bool {
    super::machine::has_multiplexer(&context.machine, pid)
}
