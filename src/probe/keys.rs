//! The property's card key and the bridge token: there, private, and readable by the service.

use super::machine::{Source, shown};
use super::{Context, Finding, Who};
use crate::config::Config;
use crate::keys::{BRIDGE_TOKEN_FILE, CARD_KEY_FILE, CardKey, KeyError, token};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const NAME: &str = "keys";

/// A database there means that a daemon has run, and had a card key.
const STATE_FILE: &str = crate::store::state::FILE;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Ok(config) = &context.config else { return Vec::new() };
    vec![card_key(context, config)].into_iter().chain(bridge_token(context, config)).collect()
}

fn card_key(context: &Context, config: &Config) -> Finding {
    let directory = &config.daemon.state_dir;
    let file = directory.join(CARD_KEY_FILE);
    if let Some(closed) = closed(context, &file) {
        return closed;
    }
    match CardKey::load(directory) {
        Ok(Some(key)) => {
            Finding::fine(NAME, format!("property {}, card key {}", key.property_id, key.key.current().key_id()))
        }
        Ok(None) if config.cloud.is_some() => {
            let message = "no card key of the property: nothing is encoded";
            let remedy = "on a desk that has it: sudo encoderd keys export FILE; here: sudo encoderd keys import FILE";
            Finding::failed(NAME, message).remedy(remedy)
        }
        Ok(None) if directory.join(STATE_FILE).exists() => {
            let message = format!("{} is missing, and encoderd has run here before", file.display());
            let remedy =
                "put the copy back: sudo encoderd keys import FILE; a new key makes every card of the house foreign";
            Finding::failed(NAME, message).remedy(remedy)
        }
        Ok(None) => Finding::note(NAME, "no card key yet; the first start makes one"),
        Err(error) => unusable(&file, &error, "put the copy back that was exported: sudo encoderd keys import FILE"),
    }
}

/// The token for the hub, where the hub is another machine's.
fn bridge_token(context: &Context, config: &Config) -> Option<Finding> {
    let cloud = config.cloud.as_ref()?;
    let file = &cloud.token_file;
    if let Some(closed) = closed(context, file) {
        return Some(closed);
    }
    let pair =
        format!("sudo encoderd pair {} CODE; whoever runs the hub gets the code from `encoderd admin pair`", cloud.url);
    match token(file) {
        Ok(Some(_)) => None,
        Ok(None) => {
            let message = format!("there is no {BRIDGE_TOKEN_FILE} in {}: this desk is not paired", file.display());
            Some(Finding::failed(NAME, message).remedy(pair))
        }
        Err(error) => Some(unusable(file, &error, &pair)),
    }
}

fn unusable(file: &Path, error: &KeyError, replace: &str) -> Finding {
    let path = file.display();
    match error {
        KeyError::Exposed { .. } => Finding::failed(NAME, format!("other users may read {path}, so it is not used"))
            .remedy(format!("sudo chmod 600 {path}")),
        KeyError::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Finding::note(NAME, format!("this user may not read {path}, which is as it should be"))
                .remedy("sudo encoderd probe")
        }
        KeyError::Unreadable { .. }
        | KeyError::Unwritable { .. }
        | KeyError::Damaged { .. }
        | KeyError::Present { .. }
        | KeyError::Exists { .. }
        | KeyError::Absent { .. }
        | KeyError::OtherProperty { .. }
        | KeyError::Forked { .. }
        | KeyError::TooMany { .. }
        | KeyError::Current { .. }
        | KeyError::Unknown { .. }
        | KeyError::NoRandomness => {
            Finding::failed(NAME, error.to_string()).remedy(format!("sudo mv {path} {path}.old; {replace}")).by(Who::It)
        }
    }
}

fn is_private(about: &std::fs::Metadata) -> bool {
    let of_others = 0o077;
    about.mode() & of_others == 0
}

/// A key that root has put there, and that the service may not read.
fn closed(context: &Context, file: &Path) -> Option<Finding> {
    let service = &context.service;
    let user = service.user.as_ref().filter(|_| service.source != Source::Asker)?;
    let about = std::fs::metadata(file).ok()?;
    let (path, name) = (file.display(), &user.name);
    // One that all may read is exposed, which is said as that.
    (!user.may(&about, 4) && is_private(&about)).then(|| {
        let message =
            format!("{name}, who encoderd runs as, may not read {path} ({})", shown(&context.machine, &about));
        Finding::failed(NAME, message).remedy(format!("sudo chown {name}: {path}"))
    })
}
