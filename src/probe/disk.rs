//! Room on the disk: without it nothing is journalled, and without a journal no card is touched.

use super::{Context, Finding};
use std::path::Path;

const NAME: &str = "disk";

/// Below this nothing works for long: the databases' logs alone grow to some megabytes.
const BYTES_MIN: u64 = 32 << 20;

/// Below this somebody should look.
const BYTES_LOW: u64 = 512 << 20;

/// The databases and keys are a dozen files.
const FILES_MIN: u64 = 100;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Ok(config) = &context.config else { return Vec::new() };
    let directory = &config.daemon.state_dir;
    let Some(there) = directory.ancestors().find(|path| path.exists()) else { return Vec::new() };
    let Ok(space) = (context.machine.space)(there) else { return Vec::new() };
    let path = directory.display();
    if space.is_read_only {
        let message = format!("the file system of {path} is read-only: the kernel makes it so when the disk fails");
        let remedy = format!(
            "sudo dmesg | grep -i error; then: sudo mount -o remount,rw $(df --output=target {path} | tail -n 1)"
        );
        return vec![Finding::failed(NAME, message).remedy(remedy)];
    }
    if let Some(files) = space.free_files.filter(|files| *files < FILES_MIN) {
        let message = format!("the file system of {path} has room for {files} more files only");
        let remedy = "find the folder with the many files: sudo du --inodes -x / | sort -n | tail; then remove them";
        return vec![Finding::failed(NAME, message).remedy(remedy)];
    }
    let shown = megabytes(space.free_bytes);
    if space.free_bytes < BYTES_MIN {
        let message = format!("{shown} are free for {path}: no room for journal and database");
        return vec![Finding::failed(NAME, message).remedy(remedy(there))];
    }
    if space.free_bytes < BYTES_LOW {
        return vec![Finding::note(NAME, format!("{shown} are free for {path}")).remedy(remedy(there))];
    }
    vec![Finding::fine(NAME, format!("{shown} are free for {path}"))]
}

fn remedy(there: &Path) -> String {
    let there = there.display();
    format!(
        "sudo journalctl --vacuum-size=200M; what else is large: sudo du -xh $(df --output=target {there} | tail -n 1) | sort -h | tail"
    )
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes >> 20)
}
