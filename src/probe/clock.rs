//! The time of day. Keys open doors from one time to another; a wrong clock makes cards that open nothing.

use super::{Context, Finding, Machine};
use jiff::{SignedDuration, Timestamp};

const NAME: &str = "clock";

/// This program was not there before: 2026-01-01.
const EARLIEST_S: i64 = 1_767_225_600;

/// Files may be a little newer than a clock that is being set.
const BACK_MAX: SignedDuration = SignedDuration::from_mins(10);

/// Between hub and desk. Doors and cards count in minutes.
const APART_MAX: SignedDuration = SignedDuration::from_secs(120);

/// What the system says of its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Timekeeping {
    /// A time service is on.
    pub(super) is_on: Option<bool>,
    /// It has set the clock.
    pub(super) is_synchronised: Option<bool>,
}

impl Timekeeping {
    /// Asks timedated, which knows of systemd's time service, chrony and ntpd.
    pub(super) async fn ask(machine: &Machine) -> Self {
        if !machine.has_systemd() {
            return Self::default();
        }
        let told = machine.output("timedatectl", &["show", "--property=NTP", "--property=NTPSynchronized"]).await;
        let of = |key: &str| {
            let told = told.as_ref()?;
            told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|value| value == "yes")
        };
        Self { is_on: of("NTP"), is_synchronised: of("NTPSynchronized") }
    }
}

pub(super) fn look(context: &Context) -> Vec<Finding> {
    vec![judge(context)]
}

fn judge(context: &Context) -> Finding {
    let now = context.machine.now;
    let set = "sudo timedatectl set-ntp true; without a network: sudo timedatectl set-time 'YYYY-MM-DD HH:MM'";
    if now.as_second() < EARLIEST_S {
        let message =
            format!("the clock says {now:.0}, before this program was made: an empty battery on the main board?");
        return Finding::failed(NAME, message).remedy(set);
    }
    if let Some(written) = last_written(context).filter(|written| now.duration_until(*written) > BACK_MAX) {
        let message =
            format!("the clock says {now:.0} and has gone back: encoderd has written its state at {written:.0}");
        return Finding::failed(NAME, message).remedy(set);
    }
    if let Some((hub, here)) = context.hub.date
        && here.duration_until(hub).abs() > APART_MAX
    {
        let message = format!("the clock says {here:.0}, and the hub's says {hub:.0}");
        return Finding::failed(NAME, message).remedy(set);
    }
    match context.timekeeping {
        Timekeeping { is_synchronised: Some(true), .. } => Finding::fine(NAME, format!("{now:.0}, set by the network")),
        Timekeeping { is_on: Some(false), .. } => {
            Finding::note(NAME, format!("{now:.0}, and nothing keeps it right")).remedy("sudo timedatectl set-ntp true")
        }
        Timekeeping { is_on: Some(true), .. } => {
            Finding::note(NAME, format!("{now:.0}, not yet set by the network: no time server answers"))
                .remedy("timedatectl timesync-status; sudo systemctl restart systemd-timesyncd")
        }
        Timekeeping { is_on: None, .. } => Finding::fine(NAME, format!("{now:.0}")),
    }
}

/// When the daemon last wrote something down.
fn last_written(context: &Context) -> Option<Timestamp> {
    let directory = &context.config.as_ref().ok()?.daemon.state_dir;
    let files = ["state.db", "state.db-wal", "hub.db", "hub.db-wal"].iter().map(|file| directory.join(file));
    let times = files.filter_map(|file| std::fs::metadata(file).ok()?.modified().ok());
    times.filter_map(|time| Timestamp::try_from(time).ok()).max()
}
