//! Which programs use PC/SC at this moment.

use std::path::Path;

/// A library that every client of pcscd has loaded.
const CLIENT_LIBRARY: &str = "/libpcsclite";

/// A program that has PC/SC's client library loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Program {
    /// Its name.
    pub(in crate::probe) name: String,
    /// Its process.
    pub(in crate::probe) pid: u32,
}

/// The programs that use PC/SC, as far as this user may see: all of them for root, otherwise his own.
///
/// pcscd does not tell who its clients are; a program that never loaded the library cannot be one.
pub(super) fn users_of_pcsc(root: &Path) -> Vec<Program> {
    let Ok(processes) = std::fs::read_dir(root.join("proc")) else { return Vec::new() };
    let mut programs: Vec<Program> = processes
        .flatten()
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let maps = std::fs::read_to_string(process.path().join("maps")).ok()?;
            let name = std::fs::read_to_string(process.path().join("comm")).ok()?.trim().to_owned();
            let is_another = pid != std::process::id() && name != "encoderd" && name != "pcscd";
            (is_another && maps.contains(CLIENT_LIBRARY)).then_some(Program { name, pid })
        })
        .collect();
    programs.sort_by_key(|program| program.pid);
    programs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn programs_with_the_library_are_found_and_encoderd_is_none_of_them() {
        let root = tempfile::tempdir().unwrap();
        let process = |pid: &str, name: &str, library: &str| {
            let folder = root.path().join("proc").join(pid);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            fs::write(folder.join("maps"), format!("7f00-7f01 r-xp 00000000 08:01 12 /usr/lib/{library}\n")).unwrap();
        };
        process("12", "scdaemon", "x86_64-linux-gnu/libpcsclite.so.1.0.0");
        process("7", "firefox", "libpcsclite_real.so.1");
        process("13", "encoderd", "libpcsclite.so.1");
        process("14", "bash", "libc.so.6");
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let found = users_of_pcsc(root.path());
        let expected = [("firefox", 7), ("scdaemon", 12)].map(|(name, pid)| Program { name: name.to_owned(), pid });
        assert_eq!(found, expected);
    }
}
