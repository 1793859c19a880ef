//! A configuration that is read again while the daemon runs: all of it is checked before any of it is applied.

use crate::config::{Config, Daemon, Discovery};

/// A new configuration, as far as it can be applied to a running daemon.
#[derive(Clone, Debug)]
pub(super) struct Reload {
    /// What the daemon runs with from now on.
    pub(super) config: Config,
    /// Keys that only a restart applies, and that are different.
    pub(super) needs_restart: Vec<&'static str>,
    /// Whether the property is another one.
    pub(super) property: bool,
}

impl Reload {
    /// Sorts what is different.
    pub(super) fn new(running: &Config, read: Config) -> Self {
        let changed = [
            ("daemon.state_dir", running.daemon.state_dir != read.daemon.state_dir),
            ("daemon.card_wait", running.daemon.card_wait != read.daemon.card_wait),
            ("daemon.status_listen", running.daemon.status_listen != read.daemon.status_listen),
            ("[cloud]", running.cloud != read.cloud),
            ("[hub]", running.hub != read.hub),
            ("discovery.pcsc", running.discovery.pcsc != read.discovery.pcsc),
        ];
        let needs_restart = changed.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        Self {
            needs_restart,
            property: running.property != read.property,
            config: Config {
                daemon: Daemon {
                    state_dir: running.daemon.state_dir.clone(),
                    card_wait: running.daemon.card_wait,
                    status_listen: running.daemon.status_listen,
                    ..read.daemon
                },
                cloud: running.cloud.clone(),
                hub: running.hub.clone(),
                discovery: Discovery { pcsc: running.discovery.pcsc, ..read.discovery },
                ..read
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("test")).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays_and_the_rest_is_taken() {
        let running = config("[daemon]\ncard_wait = \"8s\"\n[hub]\nlisten = \"127.0.0.1:1\"\n");
        let read = config(
            "[daemon]\ncard_wait = \"9s\"\n[hub]\nlisten = \"127.0.0.1:2\"\n[discovery]\npcsc = false\nauto_link = false\n\
             [card]\nrequire_new_presentation = true\n[[serial]]\npath = \"/dev/x\"\ndialect = \"pn532\"\n\
             [property]\nname = \"Hotel\"\n",
        );
        let reload = Reload::new(&running, read);
        assert_eq!(reload.needs_restart, ["daemon.card_wait", "[hub]", "discovery.pcsc"]);
        assert!(reload.property);
        let now = reload.config;
        assert_eq!((now.daemon.card_wait, now.hub.listen), (running.daemon.card_wait, running.hub.listen));
        assert!(now.discovery.pcsc && !now.auto_link() && now.card.require_new_presentation);
        assert_eq!(now.serial.len(), 1);
        let same = Reload::new(&now, now.clone());
        assert!(same.needs_restart.is_empty() && !same.property);
    }
}
