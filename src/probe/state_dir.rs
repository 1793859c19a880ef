//! The state directory: whether the service may use it, and nobody else.

use super::machine::{mode_text, shown};
use super::{Context, Finding};
use std::os::unix::fs::MetadataExt as _;

const NAME: &str = "state";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Ok(config) = &context.config else { return Vec::new() };
    let (directory, machine) = (&config.daemon.state_dir, &context.machine);
    let path = directory.display();
    let Some(user) = &context.service.user else { return Vec::new() };
    let name = &user.name;
    if let Err(folder) = user.reaches(machine, directory) {
        let folder = folder.display();
        let message = format!("{name}, who encoderd runs as, may not enter {folder}, where the state directory is");
        return vec![Finding::failed(NAME, message).remedy(format!("sudo chmod o+x {folder}"))];
    }
    let about = match std::fs::metadata(directory) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![Finding::note(NAME, format!("{path} is not there yet; the first start makes it"))];
        }
        Err(error) => {
            return vec![Finding::note(NAME, format!("{path}: {error}")).remedy("sudo encoderd probe")];
        }
    };
    if !about.is_dir() {
        let message = format!("{path} is no directory, and encoderd keeps its state there");
        return vec![Finding::failed(NAME, message).remedy(format!("sudo mv {path} {path}.old"))];
    }
    if !user.may(&about, 7) {
        let message = format!("{name}, who encoderd runs as, may not use {path} ({})", shown(machine, &about));
        let remedy = format!("sudo chown -R {name}: {path} && sudo chmod 700 {path}");
        return vec![Finding::failed(NAME, message).remedy(remedy)];
    }
    if about.mode() & 0o022 != 0 {
        let message = format!("others may write to {path} (mode {}), and the keys are there", mode_text(&about));
        return vec![Finding::failed(NAME, message).remedy(format!("sudo chmod 700 {path}"))];
    }
    vec![Finding::fine(NAME, format!("{path}: {}", shown(machine, &about)))]
}
