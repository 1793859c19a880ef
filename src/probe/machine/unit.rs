//! The service's unit: installed, enabled, and how it is.

use super::{Machine, text};
use std::path::Path;

/// The service's name.
const NAME: &str = "encoderd.service";

/// Where units lie: the administrator's first.
const FOLDERS: &[&str] = &["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// encoderd as a service of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::probe) struct Unit {
    /// Its file, as the machine names it; `None` where encoderd is no service here.
    pub(in crate::probe) file: Option<String>,
    /// The administrator has forbidden it.
    pub(in crate::probe) is_masked: bool,
    /// It starts with the machine.
    pub(in crate::probe) is_enabled: bool,
    /// The user that it names.
    pub(in crate::probe) user: Option<String>,
    /// The groups that it adds.
    pub(in crate::probe) groups: Vec<String>,
    /// What systemd says of it; `None` where it cannot be asked.
    pub(in crate::probe) state: Option<State>,
}

/// A unit as systemd has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::probe) struct State {
    /// `active`, `inactive`, `failed`, `activating`.
    pub(in crate::probe) active: String,
    /// `running`, `auto-restart`, …
    pub(in crate::probe) sub: String,
    /// How it last ended: `success`, `exit-code`, `watchdog`, …
    pub(in crate::probe) result: String,
    /// How often systemd has started it anew.
    pub(in crate::probe) restarts: u32,
}

impl Unit {
    /// Looks at the files, and asks systemd.
    pub(in crate::probe) async fn look(machine: &Machine) -> Self {
        let Some(file) = FOLDERS.iter().map(|folder| format!("{folder}/{NAME}")).find(|path| machine.is_there(path))
        else {
            return Self::default();
        };
        let path = machine.path(&file);
        let is_masked = std::fs::read_link(&path).is_ok_and(|to| to == Path::new("/dev/null"));
        let mut settings = text(&path).unwrap_or_default();
        // What the administrator adds counts behind what the package says.
        for (_, more) in machine.texts(&["etc/systemd/system/encoderd.service.d"], ".conf") {
            settings += "\n";
            settings += &more;
        }
        let of = |key: &str| {
            let values = settings.lines().filter_map(move |line| line.trim().strip_prefix(key)?.strip_prefix('='));
            values.map(|value| value.trim().to_owned()).collect::<Vec<_>>()
        };
        let folders = machine.list("etc/systemd/system");
        let wants = folders.iter().filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "wants"));
        Self {
            file: Some(format!("/{file}")),
            is_masked,
            is_enabled: wants
                .into_iter()
                .any(|folder| machine.is_there(&format!("etc/systemd/system/{folder}/{NAME}"))),
            user: of("User").pop().or_else(|| (!is_masked).then(|| "root".to_owned())),
            groups: of("SupplementaryGroups")
                .iter()
                .flat_map(|line| line.split_whitespace())
                .map(str::to_owned)
                .collect(),
            state: state(machine).await,
        }
    }
}

async fn state(machine: &Machine) -> Option<State> {
    if !machine.has_systemd() {
        return None;
    }
    let wanted = ["show", NAME, "--property=ActiveState,SubState,Result,NRestarts"];
    let told = machine.output("systemctl", &wanted).await?;
    let of = |key: &str| told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    Some(State {
        active: of("ActiveState").to_owned(),
        sub: of("SubState").to_owned(),
        result: of("Result").to_owned(),
        restarts: of("NRestarts").parse().unwrap_or(0),
    })
}
