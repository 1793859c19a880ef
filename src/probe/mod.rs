//! Diagnostics: what `encoderd probe` checks, one file a check and one line each in [`CHECKS`].
//!
//! What is found out is gathered once ([`Context::gather`]): from files below a root, from the running daemon, from the hub,
//! hop by hop, and from ports that nobody holds. The checks only judge it. A fault can so be planted as data, and nothing is
//! asked twice.

mod address;
mod autosuspend;
mod binary;
mod cards;
mod clock;
mod collect;
mod configuration;
mod daemon;
mod disk;
mod encoders;
mod escape;
#[cfg(test)]
mod faults;
mod firmware;
mod grabbers;
mod holders;
mod hub;
mod identity;
mod journal;
mod kernel;
mod keys;
mod latency;
mod links;
mod machine;
mod outbox;
mod pcsc;
mod pcscd;
mod permission;
mod polkit;
mod ports;
mod readers;
mod round_trip;
mod state_dir;
mod trial;
mod udev;
mod unit;
mod usb;
mod user;
mod webhooks;

pub use collect::{Collected, collect};
pub use machine::{Machine, Space};
pub use pcsc::Facts as PcscFacts;

use crate::config::{Config, ConfigError};
use crate::control::{Answer, ControlError, Request, StatusAnswer, ask};
use encoder_protocols::dialect::Reader;
use hub::Walk;
use machine::{ServiceUser, Tty, Unit, ttys};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trial::{Claimed, Trial};

/// How long the daemon may take. It answers within milliseconds, and asks its hub for at most three seconds.
const DAEMON_BOUND: Duration = Duration::from_secs(6);

/// A check: a line in [`CHECKS`].
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name in the output.
    pub name: &'static str,
    /// What it looks at, for people.
    pub about: &'static str,
    /// When it looks.
    pub scope: Scope,
    /// Looks.
    pub look: fn(&Context) -> Vec<Finding>,
}

/// When a check looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// When everything is checked.
    Everything,
    /// When one port is tried, too.
    Port,
}

const fn check(name: &'static str, about: &'static str, scope: Scope, look: fn(&Context) -> Vec<Finding>) -> Check {
    Check { name, about, scope, look }
}

use Scope::{Everything, Port};

/// All checks, in the order in which a cause comes before its effects.
pub const CHECKS: &[Check] = &[
    check("binary", "which encoderd this is, and whether the one that runs is the same", Everything, binary::look),
    check(
        "configuration",
        "the configuration file: there, readable by the service, understood",
        Port,
        configuration::look,
    ),
    check("user", "the user that encoderd runs as, and its groups", Everything, user::look),
    check("state", "the state directory: owner, mode, writable", Everything, state_dir::look),
    check("disk", "room on the disk for journal and database", Everything, disk::look),
    check("keys", "the property's card key and the bridge token: there, private, readable", Everything, keys::look),
    check("clock", "the time of day: plausible, synchronised, the hub's", Everything, clock::look),
    check("address", "the address that the embedded hub serves on", Everything, address::look),
    check("unit", "encoderd as a service of systemd", Everything, unit::look),
    check("daemon", "whether encoderd runs and answers", Port, daemon::look),
    check("udev", "the rules that give ports to encoderd and keep others away", Everything, udev::look),
    check("grabbers", "ModemManager, brltty and gpsd, which take serial ports for theirs", Port, grabbers::look),
    check("ports", "serial ports: what is plugged in, what is missing", Port, ports::look),
    check("permission", "whether encoderd may open its ports", Port, permission::look),
    check("holders", "other programs that hold a port", Port, holders::look),
    check("polkit", "the rule that lets a service use PC/SC", Everything, polkit::look),
    check("pcscd", "the PC/SC service: installed, running, open to encoderd", Everything, pcscd::look),
    check("kernel", "PC/SC readers that a driver of the kernel has taken", Everything, kernel::look),
    check("usb", "readers on USB that PC/SC does not list", Everything, usb::look),
    check("readers", "PC/SC readers: profile, identity, who has them", Everything, readers::look),
    check("escape", "whether drivers let lamp and buzzer be used", Everything, escape::look),
    check("autosuspend", "encoders that the kernel may put to sleep", Everything, autosuspend::look),
    check("latency", "what a serial chip's latency timer costs", Everything, latency::look),
    check("identity", "encoders that cannot be told apart", Everything, identity::look),
    check("links", "two devices linked to one encoder", Everything, links::look),
    check("encoders", "whether each encoder answers in its dialect", Port, encoders::look),
    check("firmware", "the firmware of each encoder", Port, firmware::look),
    check("round_trip", "how long an exchange with an encoder takes", Port, round_trip::look),
    check("cards", "cards on the encoders, and of which family", Port, cards::look),
    check("hub_dns", "the hub's name", Everything, hub::dns),
    check("hub_tcp", "a connection to the hub", Everything, hub::tcp),
    check("hub_tls", "the hub's certificate", Everything, hub::tls),
    check("hub_http", "whether it is a hub that answers there", Everything, hub::http),
    check("hub_token", "whether the hub takes this desk's token", Everything, hub::token),
    check("hub_link", "encoders that the hub knows nothing of", Everything, hub::link),
    check("journal", "jobs that were begun and have not ended", Everything, journal::look),
    check("outbox", "results that the hub has not acknowledged", Everything, outbox::look),
    check("webhooks", "webhooks that do not take their events", Everything, webhooks::look),
];

/// What the checks work with.
#[derive(Debug)]
pub struct Context {
    /// The configuration, or why there is none.
    pub config: Result<Config, ConfigError>,
    /// Where it was looked for.
    pub config_file: PathBuf,
    /// The running daemon's view, if one runs.
    pub status: Option<StatusAnswer>,
    /// Why the daemon does not answer, if it does not.
    pub silence: Option<ControlError>,
    /// What was found out about PC/SC; `None` where it is not looked at.
    pub pcsc: Option<PcscFacts>,
    /// Only this port, with this dialect.
    pub port: Option<(PathBuf, Reader)>,
    /// Where all this is.
    machine: Machine,
    /// encoderd as a service.
    unit: Unit,
    /// Who encoderd is, or will be.
    service: ServiceUser,
    /// Serial ports on USB.
    ttys: Vec<Tty>,
    /// Those ports that encoderd uses.
    claimed: Vec<Claimed>,
    /// What came of trying ports, where no daemon runs.
    trials: Vec<Trial>,
    /// The way to the hub.
    hub: Walk,
    /// Whether the clock is kept right, as the system says it.
    timekeeping: clock::Timekeeping,
}

impl Context {
    /// Finds everything out. Opens ports only while no daemon runs, and writes to no card.
    pub async fn gather(machine: Machine, named: Option<&Path>, port: Option<(PathBuf, Reader)>) -> Self {
        let config_file = match (named, machine.root == Path::new("/")) {
            (None, false) => machine.real(&Config::path(None)),
            (Some(_) | None, _) => Config::path(named),
        };
        let named = named.or_else(|| (machine.root != Path::new("/")).then_some(config_file.as_path()));
        let config = Config::load(named);
        let asked = match &config {
            Ok(config) => Some(asked(&config.running_control_socket()).await),
            Err(_) => None,
        };
        let (status, silence) = match asked {
            Some(Ok(Answer::Status(status))) => (Some(status), None),
            Some(Ok(
                Answer::Card(_)
                | Answer::CardWork(_)
                | Answer::Erased { .. }
                | Answer::AccountEncoders(_)
                | Answer::Done
                | Answer::Error { .. },
            )) => (None, Some(ControlError::BadAnswer("not a status".to_owned()))),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let pcsc = match &config {
            Ok(config) if config.discovery.pcsc && port.is_none() => Some(PcscFacts::gather(status.as_ref()).await),
            Ok(_) | Err(_) => None,
        };
        let unit = Unit::look(&machine).await;
        let service = ServiceUser::find(&machine, &unit, status.as_ref());
        let ttys = ttys(&machine);
        let claimed = trial::claimed(config.as_ref().ok(), &ttys, port.as_ref());
        // A daemon that runs has the ports, whether it tells of them or not.
        let is_held = status.is_some() || runs_unseen(silence.as_ref());
        let trials = if is_held && port.is_none() {
            Vec::new()
        } else {
            trial::all(&claimed, status.as_ref(), port.as_ref()).await
        };
        let hub = match &config {
            Ok(config) if port.is_none() => Walk::walk(config, status.as_ref()).await,
            Ok(_) | Err(_) => Walk::default(),
        };
        let timekeeping = clock::Timekeeping::ask(&machine).await;
        Self {
            config,
            config_file,
            status,
            silence,
            pcsc,
            port,
            machine,
            unit,
            service,
            ttys,
            claimed,
            trials,
            hub,
            timekeeping,
        }
    }

    /// One in which nothing was found out.
    #[cfg(test)]
    fn bare(config: Result<Config, ConfigError>) -> Self {
        Self {
            config,
            config_file: PathBuf::from("encoderd.toml"),
            status: None,
            silence: None,
            pcsc: None,
            port: None,
            machine: Machine { root: PathBuf::from("/nonexistent"), ..Machine::this() },
            unit: Unit::default(),
            service: ServiceUser { source: machine::Source::Asker, name: String::new(), user: None },
            ttys: Vec::new(),
            claimed: Vec::new(),
            trials: Vec::new(),
            hub: Walk::default(),
            timekeeping: clock::Timekeeping::default(),
        }
    }
}

/// Asks the daemon; one that was stopped in its tracks must not stop the probe.
async fn asked(socket: &Path) -> Result<Answer, ControlError> {
    let asked = tokio::time::timeout(DAEMON_BOUND, ask(socket, &Request::Status)).await;
    asked.unwrap_or_else(|_| Err(ControlError::BadAnswer(format!("nothing came within {} s", DAEMON_BOUND.as_secs()))))
}

/// Whether a daemon runs that does not say how it is.
fn runs_unseen(silence: Option<&ControlError>) -> bool {
    match silence {
        Some(ControlError::PermissionDenied { .. } | ControlError::BadAnswer(_) | ControlError::Refused(_)) => true,
        Some(ControlError::NotRunning { .. } | ControlError::Bind { .. } | ControlError::Ended) | None => false,
    }
}

/// How a look turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Something does not work.
    Failed,
}

/// Who can do what mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Whoever stands at the desk: cables, cards, other programs.
    Clerk,
    /// Whoever administers this PC: it takes a password.
    It,
    /// Whoever runs the hub, or what the hub sends to.
    HubOperator,
    /// Whoever sold the encoder.
    Vendor,
}

impl Who {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clerk => "at the desk",
            Self::It => "IT",
            Self::HubOperator => "who runs the hub",
            Self::Vendor => "the encoder's vendor",
        }
    }
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// How it turned out.
    pub verdict: Verdict,
    /// What was found, with its cause.
    pub message: String,
    /// The command or step that mends it.
    pub remedy: Option<String>,
    /// Who can do that.
    pub who: Option<Who>,
    /// It concerns a virtual encoder.
    pub simulated: bool,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { check, verdict, message: message.into(), remedy: None, who: None, simulated: false }
    }

    pub(crate) fn fine(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fine, message)
    }

    pub(crate) fn note(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Note, message)
    }

    pub(crate) fn failed(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Failed, message)
    }

    /// What mends it. A command with `sudo` is for whoever administers the PC, a step for whoever stands there.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        let is_command = remedy.contains("sudo ") || remedy.contains("encoderd ");
        self.who = Some(if is_command { Who::It } else { Who::Clerk });
        self.remedy = Some(remedy);
        self
    }

    /// Who can do it, where the remedy does not show it.
    #[must_use]
    pub(crate) fn by(mut self, who: Who) -> Self {
        self.who = Some(who);
        self
    }

    #[must_use]
    pub(crate) fn simulated(mut self, simulated: bool) -> Self {
        self.simulated = simulated;
        self
    }
}

/// Runs all checks.
pub fn run(context: &Context) -> Vec<Finding> {
    let wanted = CHECKS.iter().filter(|check| context.port.is_none() || check.scope == Port);
    wanted.flat_map(|check| (check.look)(context)).collect()
}

/// What is wrong first: the cause of what is wrong behind it, as far as causes are known.
pub fn first(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().find(|finding| finding.verdict == Verdict::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_configuration_is_the_first_failure() {
        let context = Context::bare(Config::parse("[hub]\nlisen = \"x\"", Path::new("encoderd.toml")));
        let findings = run(&context);
        let first = first(&findings).unwrap();
        assert_eq!(first.check, "configuration");
        assert!(first.message.contains("lisen"), "{}", first.message);
    }

    #[test]
    fn there_are_many_checks_and_their_names_are_unique() {
        assert!(CHECKS.len() >= 25, "{}", CHECKS.len());
        for check in CHECKS {
            assert_eq!(CHECKS.iter().filter(|other| other.name == check.name).count(), 1, "{}", check.about);
            let readme = include_str!("../../README.md");
            assert!(readme.contains(&format!("`{}`", check.name)), "README.md does not tell of `{}`", check.name);
        }
    }
}
