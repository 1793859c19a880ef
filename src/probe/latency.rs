//! The latency timer of FTDI chips: how long they keep what a reader has said.

use super::{Context, Finding};

const NAME: &str = "latency";

/// Round trips of an encode over an earlier credential with two doors. Source: docs/performance.md, "Round trips and
/// writes", measured.
const ROUND_TRIPS: u32 = 35;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let ttys = context.claimed.iter().filter_map(|port| port.tty.as_ref());
    ttys.filter_map(|tty| {
        let (file, ms) = tty.latency.as_ref()?;
        let (node, file) = (tty.node.display(), file.display());
        if *ms <= 1 {
            return Some(Finding::fine(NAME, format!("{node}: {ms} ms")));
        }
        let cost = (ms - 1) * ROUND_TRIPS;
        let message = format!(
            "{node}: its chip keeps answers for up to {ms} ms, where 1 ms is possible: up to {cost} ms for a key of {ROUND_TRIPS} round trips"
        );
        Some(Finding::note(NAME, message).remedy(format!("echo 1 | sudo tee {file}; encoderd's udev rules do it at each plugging in")))
    })
    .collect()
}
