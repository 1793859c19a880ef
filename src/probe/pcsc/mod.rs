//! What can be found out about readers behind PC/SC. Gathered once, from files, from pcscd and from the running daemon;
//! the checks only judge it, so that each fault can be planted as data.

mod drivers;
#[cfg(test)]
pub(super) mod planted;
mod programs;
mod service;
mod usb;

pub(super) use drivers::{Driver, driver_of};
pub(super) use programs::Program;
pub(super) use service::{Barrier, Installation, Installer, Reach, Starter};
pub(super) use usb::{Held, UsbReader};

use crate::control::{EncoderAnswer, StatusAnswer};
use crate::device::check::{PortCheck, PortCheckError, check_pcsc};
use crate::discovery::pcsc::{Readers, Role};
use crate::transport::pcsc::{
    CardState, Meaning, Monitor, ReaderState, Service, ServiceProblem, Snapshot, attributes, meaning,
};
use crate::transport::serial::holders;
use encoder_protocols::dialect::pcsc_storage::{Profile, not_an_encoder, profile_of};
use std::env;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// How long pcscd may take: it answers within milliseconds, and within a second or two where systemd starts it first and it
/// waits for its readers. Long enough, too, for a refusal to be believed.
const ANSWER_BOUND: Duration = Duration::from_secs(4);

/// Everything about PC/SC on this machine that the checks need.
#[derive(Clone, Debug)]
pub struct Facts {
    /// pcscd's installation.
    pub(super) installation: Installation,
    /// pcscd's socket.
    pub(super) socket: PathBuf,
    /// Clients have been told to use that socket instead of the system's.
    pub(super) is_socket_named: bool,
    /// What came of knocking there.
    pub(super) reach: Reach,
    /// What keeps others than its owner from the socket.
    pub(super) barrier: Option<Barrier>,
    /// Who is to use PC/SC: the user of the running daemon, else who asks.
    pub(super) user: String,
    /// What PC/SC says.
    pub(super) answer: PcscSight,
    /// PC/SC as the running daemon sees it.
    pub(super) daemon: Option<DaemonSight>,
    /// Card readers on USB.
    pub(super) usb: Vec<UsbReader>,
    /// pcscd's drivers.
    pub(super) drivers: Vec<Driver>,
    /// Programs that use PC/SC, as far as they may be seen.
    pub(super) programs: Vec<Program>,
}

/// What PC/SC says.
#[derive(Clone, Debug)]
pub(super) enum PcscSight {
    /// Nothing: the knock was taken and there is no answer.
    Silent,
    /// It cannot be used.
    Gone(ServiceProblem),
    /// Its readers.
    Running(Vec<Reader>),
}

/// PC/SC as the running daemon sees it.
#[derive(Clone, Debug)]
pub(super) struct DaemonSight {
    /// Why it cannot use it.
    pub(super) problem: Option<ServiceProblem>,
    /// It has used readers behind PC/SC, attached or not.
    pub(super) knows_readers: bool,
}

/// A reader in PC/SC.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Its full name there.
    pub(super) name: String,
    /// What lies on it.
    pub(super) card: CardState,
    /// Who has it.
    pub(super) hold: Hold,
    /// How it is spoken to.
    pub(super) profile: &'static Profile,
    /// Whether it is an encoder.
    pub(super) role: Role,
    /// Its lasting identity, where it is known.
    pub(super) device_id: Option<String>,
    /// What came of a look at it, where no daemon runs.
    pub(super) tried: Option<Result<PortCheck, PortCheckError>>,
    /// What the running daemon says of it.
    pub(super) encoder: Option<EncoderAnswer>,
    /// Not a real one.
    pub(super) simulated: bool,
}

/// Who has a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nobody.
    Nobody,
    /// Somebody is connected to the card, and others may be as well; maybe encoderd itself.
    Shared,
    /// Another program, for itself.
    Exclusive,
    /// pcscd does not give it to this user.
    Refused,
}

impl Reader {
    fn new(state: &ReaderState, role: Role) -> Self {
        Self {
            name: state.name.clone(),
            card: state.card,
            hold: match (state.exclusive, state.in_use) {
                (true, _) => Hold::Exclusive,
                (false, true) => Hold::Shared,
                (false, false) => Hold::Nobody,
            },
            profile: profile_of(&state.name, None),
            role,
            device_id: None,
            tried: None,
            encoder: None,
            simulated: false,
        }
    }

    /// Whether encoderd would use it.
    pub(super) fn is_encoder(&self) -> bool {
        match self.role {
            Role::Encoder | Role::Ambiguous { .. } | Role::Unidentified => true,
            Role::NotAnEncoder { .. } => false,
        }
    }
}

/// Where things are on a machine.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// `/`, or where a test has planted its files.
    pub(super) root: PathBuf,
    /// sysfs.
    pub(super) sysfs: PathBuf,
    /// pcscd's socket.
    pub(super) socket: PathBuf,
    /// Clients have been told to use that socket instead of the system's.
    pub(super) is_socket_named: bool,
}

impl Places {
    fn of_this_machine() -> Self {
        let named = env::var_os("PCSCLITE_CSOCK_NAME");
        Self {
            root: PathBuf::from("/"),
            sysfs: env::var_os("SYSFS_PATH").map_or_else(|| PathBuf::from("/sys"), PathBuf::from),
            is_socket_named: named.is_some(),
            socket: named.map_or_else(|| PathBuf::from("/run/pcscd/pcscd.comm"), PathBuf::from),
        }
    }
}

impl Facts {
    /// Finds everything out. Connects to readers, to ask who they are and for the card's number, only while no daemon
    /// runs, and shares them with whoever uses them.
    pub async fn gather(status: Option<&StatusAnswer>) -> Self {
        let places = Places::of_this_machine();
        let reach = service::knock(&places.root, &places.socket).await;
        let answer = answer(&reach, status).await;
        Self::look(&places, reach, answer, status)
    }

    /// Adds to what the service says what the file system says.
    fn look(places: &Places, reach: Reach, answer: PcscSight, status: Option<&StatusAnswer>) -> Self {
        let Places { root, sysfs, socket, is_socket_named } = places;
        Self {
            installation: Installation::look(root),
            socket: socket.clone(),
            is_socket_named: *is_socket_named,
            reach,
            barrier: service::barrier(root, socket),
            user: service::user(root, user_id(status)),
            answer,
            daemon: status.and_then(of_daemon),
            usb: usb::readers(sysfs, &holders),
            drivers: drivers::installed(root),
            programs: programs::users_of_pcsc(root),
        }
    }

    /// The readers in PC/SC, as far as it says any.
    pub(super) fn readers(&self) -> &[Reader] {
        match &self.answer {
            PcscSight::Running(readers) => readers,
            PcscSight::Silent | PcscSight::Gone(_) => &[],
        }
    }

    /// The readers on USB that are known to be encoders.
    pub(super) fn usb_encoders(&self) -> impl Iterator<Item = &UsbReader> {
        self.usb.iter().filter(|reader| reader.profile().is_some())
    }

    /// Whether somebody needs PC/SC here: an encoder for it is plugged in, or was used before.
    pub(super) fn is_needed(&self) -> bool {
        self.usb.iter().any(|reader| reader.profile().is_some())
            || self.daemon.as_ref().is_some_and(|daemon| daemon.knows_readers)
    }
}

/// Whose PC/SC it is: the running daemon's process tells its user.
fn user_id(status: Option<&StatusAnswer>) -> u32 {
    let daemon = status.and_then(|status| std::fs::metadata(format!("/proc/{}", status.pid)).ok());
    daemon.map_or_else(|| rustix::process::geteuid().as_raw(), |process| process.uid())
}

fn of_daemon(status: &StatusAnswer) -> Option<DaemonSight> {
    let pcsc = status.pcsc.as_ref()?;
    Some(DaemonSight { problem: pcsc.problem, knows_readers: status.encoders.iter().any(is_behind_pcsc) })
}

fn is_behind_pcsc(encoder: &EncoderAnswer) -> bool {
    encoder.dialect == "pcsc"
}

/// Asks PC/SC for its readers and what lies on them.
async fn answer(reach: &Reach, status: Option<&StatusAnswer>) -> PcscSight {
    let monitor = Monitor::start();
    let mut snapshots = monitor.snapshot();
    // The knock was taken: pcscd may be starting, ending, or about to refuse again.
    let may_change = |why| why == ServiceProblem::NotRunning && *reach == Reach::Taken;
    let is_last_word = |snapshot: &Snapshot| match snapshot.service {
        Service::Starting => false,
        Service::Running => true,
        Service::Gone { why } => !may_change(why),
    };
    // When the time is up, what there is by then counts.
    drop(tokio::time::timeout(ANSWER_BOUND, snapshots.wait_for(is_last_word)).await);
    let snapshot = snapshots.borrow().clone();
    let answer = match snapshot.service {
        Service::Starting => PcscSight::Silent,
        Service::Gone { why } => PcscSight::Gone(why),
        Service::Running => PcscSight::Running(match status {
            Some(status) => told_by_daemon(&snapshot, status),
            None => asked(&snapshots).await,
        }),
    };
    monitor.stop().await;
    answer
}

/// The running daemon has asked the readers already; it is not disturbed.
fn told_by_daemon(snapshot: &Snapshot, status: &StatusAnswer) -> Vec<Reader> {
    let described = snapshot.readers.iter().map(|state| {
        let encoder = status.encoders.iter().find(|encoder| encoder.port == state.name);
        let role = not_an_encoder(&state.name).map_or(Role::Encoder, |why| Role::NotAnEncoder { why });
        Reader {
            device_id: encoder.map(|encoder| encoder.device_id.clone()),
            simulated: encoder.map_or(state.name.starts_with("Virtual PCD"), |encoder| encoder.simulated),
            encoder: encoder.cloned(),
            ..Reader::new(state, role)
        }
    });
    described.collect()
}

/// Without a daemon the readers are asked themselves: who they are, and what lies on them.
async fn asked(snapshots: &watch::Receiver<Snapshot>) -> Vec<Reader> {
    let snapshot = snapshots.borrow().clone();
    let mut asked = Vec::new();
    for seen in Readers::new().look(&snapshot).await {
        let Some(state) = snapshot.reader(&seen.reader_name) else { continue };
        let reader = Reader {
            device_id: (seen.role != Role::Unidentified).then(|| seen.device_id.clone()),
            simulated: seen.simulated,
            ..Reader::new(state, seen.role.clone())
        };
        asked.push(match &seen.role {
            Role::Encoder if !state.exclusive => {
                Reader { tried: Some(check_pcsc(&seen, snapshots.clone()).await), ..reader }
            }
            Role::Unidentified if !state.exclusive && is_refused(seen.reader_name.clone()).await => {
                Reader { hold: Hold::Refused, ..reader }
            }
            Role::Encoder | Role::Ambiguous { .. } | Role::Unidentified | Role::NotAnEncoder { .. } => reader,
        });
    }
    asked
}

/// Whether pcscd refuses this user the reader, although it tells him of it: polkit has an action for each.
async fn is_refused(reader_name: String) -> bool {
    let asked = tokio::task::spawn_blocking(move || attributes(&reader_name).err());
    let answered = tokio::time::timeout(ANSWER_BOUND, asked).await;
    answered.is_ok_and(|asked| asked.is_ok_and(|error| error.is_some_and(|error| meaning(error) == Meaning::Denied)))
}
