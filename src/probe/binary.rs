//! Which encoderd this is, whether another one hides it, and whether the one that runs is as new.

use super::machine::program;
use super::{Context, Finding};
use std::path::{Path, PathBuf};

const NAME: &str = "binary";

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let mut findings = vec![running(context).unwrap_or_else(|| Finding::fine(NAME, format!("encoderd {VERSION}")))];
    findings.extend(others(context));
    findings
}

fn running(context: &Context) -> Option<Finding> {
    let status = context.status.as_ref()?;
    let pid = status.pid;
    let restart = if context.unit.file.is_some() {
        "sudo systemctl restart encoderd".to_owned()
    } else {
        format!("end it with `kill {pid}`, then start it again: encoderd run")
    };
    if status.version != VERSION {
        let message = format!("encoderd {} runs (pid {pid}), and this is encoderd {VERSION}", status.version);
        return Some(Finding::failed(NAME, message).remedy(restart));
    }
    let (file, is_gone) = program(&context.machine, pid)?;
    let message = format!("the encoderd that runs (pid {pid}) is older than {file}, which was replaced since");
    is_gone.then(|| Finding::failed(NAME, message).remedy(restart))
}

/// Programs of this name further along the path: whoever types `encoderd` gets the first one.
fn others(context: &Context) -> Option<Finding> {
    let mut seen: Vec<PathBuf> = Vec::new();
    for folder in &context.machine.path {
        let Ok(file) = context.machine.real(&folder.join("encoderd")).canonicalize() else { continue };
        if file.is_file() && !seen.contains(&file) {
            seen.push(file);
        }
    }
    let (first, rest) = seen.split_first()?;
    let different: Vec<String> =
        rest.iter().filter(|other| !is_same(first, other)).map(|other| other.display().to_string()).collect();
    (!different.is_empty()).then(|| {
        let message = format!("{} hides another encoderd: {}", first.display(), different.join(", "));
        Finding::note(NAME, message).remedy(format!("remove the one that is not wanted: sudo rm {}", first.display()))
    })
}

fn is_same(a: &Path, b: &Path) -> bool {
    let bytes = |path: &Path| std::fs::metadata(path).map(|about| about.len()).ok();
    bytes(a) == bytes(b)
}
