//! Whether the configuration file is there, can be read by the service, and is understood.

use super::machine::{Source, shown};
use super::{Context, Finding};
use crate::config::ConfigError;
use std::io::ErrorKind;

const NAME: &str = "configuration";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let file = context.config_file.display();
    if let Some(closed) = closed(context) {
        return vec![closed];
    }
    vec![match &context.config {
        Ok(_) if !context.config_file.exists() => {
            Finding::note(NAME, format!("{file} is not there: everything has its default"))
        }
        Ok(config) => Finding::fine(NAME, format!("{file}: serial ports: {}", config.serial.len())),
        Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            Finding::note(NAME, format!("this user may not read {file}")).remedy("sudo encoderd probe")
        }
        Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Finding::failed(NAME, format!("{file} is not there"))
                .remedy("name the right file with --config or ENCODERD_CONFIG, or leave both away")
        }
        Err(error @ (ConfigError::Malformed { .. } | ConfigError::Invalid { .. } | ConfigError::Unreadable { .. })) => {
            let restart = if context.unit.file.is_some() { "sudo systemctl restart encoderd" } else { "encoderd run" };
            Finding::failed(NAME, error.to_string()).remedy(format!("sudoedit {file}, then: {restart}"))
        }
    }]
}

/// A file that who asks may read and the service may not.
fn closed(context: &Context) -> Option<Finding> {
    let (file, service) = (&context.config_file, &context.service);
    let user = service.user.as_ref().filter(|_| service.source != Source::Asker)?;
    let (path, name) = (file.display(), &user.name);
    if let Err(folder) = user.reaches(&context.machine, file) {
        let folder = folder.display();
        return Some(
            Finding::failed(NAME, format!("the service's user {name} may not enter {folder}, where {path} is"))
                .remedy(format!("sudo chmod o+x {folder}")),
        );
    }
    let about = std::fs::metadata(file).ok()?;
    (!user.may(&about, 4)).then(|| {
        let message = format!("the service's user {name} may not read {path} ({})", shown(&context.machine, &about));
        Finding::failed(NAME, message).remedy(format!("sudo chgrp {name} {path} && sudo chmod 640 {path}"))
    })
}
