//! Diagnostics: what `encoderd probe` checks, one file a check and one line each in [`CHECKS`].

mod cards;
mod configuration;
mod daemon;
mod encoders;
mod escape;
mod hub;
mod kernel;
mod pcsc;
mod pcscd;
mod ports;
mod readers;
mod state_dir;
mod usb;

pub use pcsc::Facts as PcscFacts;

use crate::config::{Config, ConfigError};
use crate::control::StatusAnswer;
use encoder_protocols::dialect::Reader;
use serde::Serialize;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// A check: a line in [`CHECKS`].
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name in the output.
    pub name: &'static str,
    /// What it looks at, for people.
    pub about: &'static str,
    /// Looks.
    pub run: for<'a> fn(&'a Context) -> Looking<'a>,
}

/// A check at work.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// A look that need not wait.
fn at_once(findings: Vec<Finding>) -> Looking<'static> {
    Box::pin(std::future::ready(findings))
}

/// All checks, in the order in which a cause comes before its effects.
pub const CHECKS: &[Check] = &[
    Check {
        name: "configuration",
        about: "the configuration file",
        run: |context| at_once(configuration::look(context)),
    },
    Check {
        name: "state",
        about: "the state directory and the card key",
        run: |context| at_once(state_dir::look(context)),
    },
    Check { name: "daemon", about: "whether encoderd runs", run: |context| at_once(daemon::look(context)) },
    Check {
        name: "ports",
        about: "serial ports: permission, who holds them",
        run: |context| at_once(ports::look(context)),
    },
    Check {
        name: "pcscd",
        about: "the PC/SC service: installed, running, open to encoderd",
        run: |context| at_once(pcscd::look(context)),
    },
    Check {
        name: "kernel",
        about: "PC/SC readers that a driver of the kernel has taken",
        run: |context| at_once(kernel::look(context)),
    },
    Check { name: "usb", about: "readers on USB that PC/SC does not list", run: |context| at_once(usb::look(context)) },
    Check {
        name: "readers",
        about: "PC/SC readers: profile, identity, who has them",
        run: |context| at_once(readers::look(context)),
    },
    Check {
        name: "escape",
        about: "whether drivers let lamp and buzzer be used",
        run: |context| at_once(escape::look(context)),
    },
    Check {
        name: "cards",
        about: "cards on PC/SC readers that say too little",
        run: |context| at_once(cards::look(context)),
    },
    Check { name: "encoders", about: "dialect, firmware, card", run: |context| Box::pin(encoders::look(context)) },
    Check { name: "hub", about: "whether the hub answers", run: |context| Box::pin(hub::look(context)) },
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
    /// What was found out about PC/SC; `None` where it is not looked at.
    pub pcsc: Option<PcscFacts>,
    /// Only this port, with this dialect.
    pub port: Option<(PathBuf, Reader)>,
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
    /// It concerns a virtual encoder.
    pub simulated: bool,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { check, verdict, message: message.into(), remedy: None, simulated: false }
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

    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub(crate) fn simulated(mut self, simulated: bool) -> Self {
        self.simulated = simulated;
        self
    }
}

/// Runs all checks.
pub async fn run(context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in CHECKS {
        findings.extend((check.run)(context).await);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[tokio::test]
    async fn a_broken_configuration_is_the_first_finding() {
        let context = Context {
            config: Config::parse("[hub]\nlisen = \"x\"", Path::new("encoderd.toml")),
            config_file: PathBuf::from("encoderd.toml"),
            status: None,
            pcsc: None,
            port: None,
        };
        let findings = run(&context).await;
        assert_eq!((findings[0].check, findings[0].verdict), ("configuration", Verdict::Failed));
        assert!(findings[0].message.contains("lisen"), "{}", findings[0].message);
    }

    #[test]
    fn names_are_unique() {
        for check in CHECKS {
            assert_eq!(CHECKS.iter().filter(|other| other.name == check.name).count(), 1, "{}", check.about);
        }
    }
}
