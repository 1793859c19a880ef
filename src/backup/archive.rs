//! The backup's file: a tar in gzip that everybody can open, with a checksum over all of it.
//!
//! gzip alone does not notice every changed bit (its header has none, and its last byte has some that mean nothing), and
//! has no room for a strong sum. So the header's extra field, which other programs pass over, holds the SHA-256 of the
//! whole file with zeroes in the sum's own place. It is compared before anything is unpacked.
//!
//! | in it | what |
//! | --- | --- |
//! | `manifest.json` | first: what the rest is, with the size and SHA-256 of each |
//! | `hub.db`, `state.db` | copies of the databases, without secrets |
//! | `encoderd.toml` | the configuration, if no password is in it |
//! | `secrets.json` | what only the passphrase opens |

use super::BackupError;
use super::wrap::{bytes, hex};
use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The folder that everything lies in, for those who unpack it with tar.
const FOLDER: &str = "encoderd-backup";

const MANIFEST: &str = "manifest.json";

/// What is no database is small.
const SMALL_MAX: u64 = 1024 * 1024;

/// gzip's magic, deflate, a header with an extra field. Source: RFC 1952, section 2.3.
const GZIP: [u8; 4] = [0x1F, 0x8B, 0x08, 0x04];
/// Our part of the extra field, and the length of the sum in it. Source: RFC 1952, section 2.3.1.1.
const EXTRA: [u8; 4] = [b'e', b'd', 32, 0];
/// Where the sum stands: behind gzip's ten bytes, the extra field's length and our part's head.
const SUM_AT: usize = 16;
const HEAD: usize = SUM_AT + 32;

/// What can be in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Name {
    /// The hub's database.
    #[serde(rename = "hub.db")]
    Hub,
    /// The daemon's state.
    #[serde(rename = "state.db")]
    State,
    /// The configuration.
    #[serde(rename = "encoderd.toml")]
    Configuration,
    /// The wrapped secrets.
    #[serde(rename = "secrets.json")]
    Secrets,
}

impl Name {
    const ALL: [Self; 4] = [Self::Hub, Self::State, Self::Configuration, Self::Secrets];

    /// The file's name.
    pub fn file(self) -> &'static str {
        match self {
            Self::Hub => "hub.db",
            Self::State => "state.db",
            Self::Configuration => "encoderd.toml",
            Self::Secrets => "secrets.json",
        }
    }

    fn is_small(self) -> bool {
        match self {
            Self::Hub | Self::State => false,
            Self::Configuration | Self::Secrets => true,
        }
    }
}

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A hub with its database in a file, which is in the backup.
    Sqlite,
    /// A hub with its database on a PostgreSQL server, which is not.
    Postgres,
    /// A desk that works for a hub elsewhere.
    Remote,
}

/// One file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which.
    pub name: Name,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The encoderd that made it.
    pub encoderd: String,
    /// When, in UTC.
    pub made_at: jiff::Timestamp,
    /// The property's name, if it is known.
    pub property: Option<String>,
    /// The property's id, as its cards name it.
    pub property_id: Option<uuid::Uuid>,
    /// What it is of.
    pub role: Role,
    /// The version of the hub's database.
    pub hub_schema: Option<i64>,
    /// The version of the daemon's state.
    pub state_schema: Option<i64>,
    /// What somebody would look for and not find, as sentences.
    pub missing: Vec<String>,
    /// The other files.
    pub members: Vec<Member>,
}

/// A manifest of any version: enough to say that it is newer.
#[derive(Deserialize)]
struct AnyManifest {
    format: u32,
    encoderd: Option<String>,
}

/// Size and SHA-256 of a file.
pub fn measure(name: Name, path: &Path) -> Result<Member, BackupError> {
    let failed = |source| BackupError::File { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut sum = Summing::new(std::io::sink());
    let bytes = std::io::copy(&mut file, &mut sum).map_err(failed)?;
    Ok(Member { name, bytes, sha256: hex(&sum.sum.finalize()) })
}

/// Writes a backup of these files, which lie in a directory under their own names, and flushes it to the disk.
pub fn write(to: &Path, manifest: &Manifest, directory: &Path) -> Result<u64, BackupError> {
    let failed = |source| BackupError::File { path: to.to_path_buf(), source };
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    let extra: Vec<u8> = EXTRA.into_iter().chain([0; 32]).collect();
    let summing = Summing::new(BufWriter::new(file));
    let mut tar = Builder::new(GzBuilder::new().mtime(0).extra(extra).write(summing, Compression::default()));
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| failed(error.into()))?;
    let made_at = u64::try_from(manifest.made_at.as_second()).unwrap_or(0);
    append(&mut tar, MANIFEST, text.len() as u64, made_at, text.as_slice()).map_err(failed)?;
    for member in &manifest.members {
        let path = directory.join(member.name.file());
        let file = File::open(&path).map_err(|source| BackupError::File { path: path.clone(), source })?;
        append(&mut tar, member.name.file(), member.bytes, made_at, BufReader::new(file)).map_err(failed)?;
    }
    let summing = tar.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(failed)?;
    let sum = summing.sum.finalize();
    let mut file = summing.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    file.seek(SeekFrom::Start(SUM_AT as u64)).and_then(|_| file.write_all(&sum)).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(file.metadata().map_err(failed)?.len())
}

fn append<W: Write>(
    tar: &mut Builder<W>,
    name: &str,
    bytes: u64,
    made_at: u64,
    data: impl Read,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(made_at);
    header.set_entry_type(EntryType::Regular);
    tar.append_data(&mut header, format!("{FOLDER}/{name}"), data.take(bytes))
}

/// A backup whose checksum is right.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    file: File,
}

impl Backup {
    /// Opens a file and compares its checksum.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let unreadable = |source| BackupError::Unreadable { path: path.to_path_buf(), source };
        let not_one = || BackupError::NotABackup { path: path.to_path_buf() };
        let mut file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(not_one());
        }
        let mut head = [0; HEAD];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(not_one()),
            Err(error) => return Err(unreadable(error)),
        }
        let (front, found) = head.split_at(SUM_AT);
        if !front.starts_with(&GZIP) || !front.ends_with(&EXTRA) {
            return Err(not_one());
        }
        let mut sum = Summing::new(std::io::sink());
        sum.sum.update(front);
        sum.sum.update([0; 32]);
        std::io::copy(&mut file, &mut sum).map_err(unreadable)?;
        if sum.sum.finalize().as_slice() != found {
            return Err(damaged(path, "its checksum does not fit"));
        }
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Reads all of it, compares every member with the manifest, and unpacks into an existing directory, if one is given.
    pub fn read(&mut self, into: Option<&Path>) -> Result<Manifest, BackupError> {
        let Self { path, file } = self;
        let unreadable = |error: std::io::Error| damaged(path, &error.to_string());
        file.rewind().map_err(unreadable)?;
        let mut gzip = GzDecoder::new(BufReader::new(&*file));
        let mut tar = Archive::new(&mut gzip);
        let mut manifest: Option<Manifest> = None;
        let mut seen = Vec::new();
        // Raw: extensions of the format, which could name any path and any size, are entries of no known name.
        for entry in tar.entries().map_err(unreadable)?.raw(true) {
            let mut entry = entry.map_err(unreadable)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let bytes = entry.size();
            if entry.header().entry_type() != EntryType::Regular {
                return Err(damaged(path, &format!("`{}` is no file", name.escape_debug())));
            }
            let Some(manifest) = &manifest else {
                if name != format!("{FOLDER}/{MANIFEST}") || bytes > SMALL_MAX {
                    return Err(damaged(path, "it does not begin with its manifest"));
                }
                let mut text = Vec::new();
                entry.read_to_end(&mut text).map_err(unreadable)?;
                manifest = Some(parse(path, &text)?);
                continue;
            };
            let member = manifest.members.iter().find(|member| name == format!("{FOLDER}/{}", member.name.file()));
            let Some(member) = member.filter(|member| member.bytes == bytes && !seen.contains(&member.name)) else {
                return Err(damaged(path, &format!("`{}` is not as its manifest says", name.escape_debug())));
            };
            seen.push(member.name);
            let sha256 = match into {
                None => copy(&mut entry, std::io::sink()).map_err(unreadable)?,
                Some(directory) => unpack(&mut entry, &directory.join(member.name.file()))?,
            };
            if sha256 != member.sha256 {
                return Err(damaged(path, &format!("`{name}` is not what its manifest says")));
            }
        }
        let manifest = manifest.ok_or_else(|| damaged(path, "it is empty"))?;
        if let Some(lost) = manifest.members.iter().find(|member| !seen.contains(&member.name)) {
            return Err(damaged(path, &format!("`{}` is missing", lost.name.file())));
        }
        Ok(manifest)
    }
}

fn damaged(path: &Path, detail: &str) -> BackupError {
    BackupError::Damaged { path: path.to_path_buf(), detail: detail.to_owned() }
}

fn parse(path: &Path, text: &[u8]) -> Result<Manifest, BackupError> {
    let bad = |error: serde_json::Error| damaged(path, &format!("its manifest cannot be read: {error}"));
    let any: AnyManifest = serde_json::from_slice(text).map_err(bad)?;
    if any.format > FORMAT {
        let made_by = any.encoderd.unwrap_or_else(|| "an unknown one".to_owned()).chars().take(40).collect();
        return Err(BackupError::Newer { path: path.to_path_buf(), made_by });
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(bad)?;
    for name in Name::ALL {
        let mut members = manifest.members.iter().filter(|member| member.name == name);
        let first = members.next();
        let too_large = first.is_some_and(|member| name.is_small() && member.bytes > SMALL_MAX);
        let odd = first.is_some_and(|member| bytes::<32>(&member.sha256).is_none());
        if too_large || odd || members.next().is_some() {
            return Err(damaged(path, &format!("its manifest says of `{}` what cannot be", name.file())));
        }
    }
    Ok(manifest)
}

fn unpack(entry: &mut impl Read, to: &Path) -> Result<String, BackupError> {
    let failed = |source| BackupError::File { path: to.to_path_buf(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    copy(entry, BufWriter::new(file)).map_err(failed)
}

/// Copies to the end; returns the SHA-256.
fn copy(from: &mut impl Read, to: impl Write) -> std::io::Result<String> {
    let mut to = Summing::new(to);
    std::io::copy(from, &mut to)?;
    to.flush()?;
    Ok(hex(&to.sum.finalize()))
}

/// Passes on what is written and sums it up.
struct Summing<W> {
    inner: W,
    sum: Sha256,
}

impl<W> Summing<W> {
    fn new(inner: W) -> Self {
        Self { inner, sum: Sha256::new() }
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        if let Some(bytes) = bytes.get(..written) {
            self.sum.update(bytes);
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(members: Vec<Member>) -> Manifest {
        Manifest {
            format: FORMAT,
            encoderd: "0.1.0".to_owned(),
            made_at: jiff::Timestamp::UNIX_EPOCH,
            property: Some("Hotel".to_owned()),
            property_id: None,
            role: Role::Sqlite,
            hub_schema: Some(1),
            state_schema: Some(1),
            missing: Vec::new(),
            members,
        }
    }

    fn member(name: Name, content: &[u8]) -> Member {
        Member { name, bytes: content.len() as u64, sha256: hex(&Sha256::digest(content)) }
    }

    /// A file with a right checksum over whatever is in it: what somebody makes who knows the format.
    fn forged(path: &Path, entries: &[(Header, &str, Vec<u8>)]) {
        let extra: Vec<u8> = EXTRA.into_iter().chain([0; 32]).collect();
        let mut tar = Builder::new(GzBuilder::new().extra(extra).write(Vec::new(), Compression::default()));
        for (header, name, content) in entries {
            let mut header = header.clone();
            // As it is: the crate would refuse to write what these tests are about.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if header.entry_type() == EntryType::Regular && header.size().unwrap() == 0 {
                header.set_size(content.len() as u64);
            }
            header.set_cksum();
            tar.append(&header, content.as_slice()).unwrap();
        }
        let mut bytes = tar.into_inner().unwrap().finish().unwrap();
        let sum = Sha256::digest(&bytes);
        bytes[SUM_AT..HEAD].copy_from_slice(&sum);
        std::fs::write(path, bytes).unwrap();
    }

    fn regular() -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        header
    }

    fn with_manifest(manifest: &Manifest) -> (Header, &'static str, Vec<u8>) {
        (regular(), "encoderd-backup/manifest.json", serde_json::to_vec(manifest).unwrap())
    }

    #[track_caller]
    fn is_refused(entries: &[(Header, &str, Vec<u8>)], word: &str) {
        let directory = tempfile::tempdir().unwrap();
        let (file, into) = (directory.path().join("b.tar.gz"), directory.path().join("a/b"));
        std::fs::create_dir_all(&into).unwrap();
        forged(&file, entries);
        let error = Backup::open(&file).unwrap().read(Some(&into)).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        let there: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there.len(), 2, "{there:?}");
        assert_eq!(std::fs::read_dir(directory.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn what_was_written_is_read_and_the_file_is_a_tar_for_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let (from, into) = (directory.path().join("from"), directory.path().join("into"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&into).unwrap();
        std::fs::write(from.join("hub.db"), b"the hub").unwrap();
        let manifest = manifest(vec![measure(Name::Hub, &from.join("hub.db")).unwrap()]);
        assert_eq!(manifest.members, [member(Name::Hub, b"the hub")]);
        let file = directory.path().join("b.tar.gz");
        let bytes = write(&file, &manifest, &from).unwrap();
        assert_eq!(bytes, std::fs::metadata(&file).unwrap().len());
        assert_eq!(Backup::open(&file).unwrap().read(Some(&into)).unwrap(), manifest);
        assert_eq!(std::fs::read(into.join("hub.db")).unwrap(), b"the hub");
        let tar = std::process::Command::new("tar").arg("-tzf").arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&tar.stdout), "encoderd-backup/manifest.json\nencoderd-backup/hub.db\n");
    }

    #[test]
    fn nothing_is_unpacked_that_the_manifest_does_not_name() {
        let good = member(Name::Hub, b"hub");
        let plain = manifest(vec![good.clone()]);
        let hub = || (regular(), "encoderd-backup/hub.db", b"hub".to_vec());
        for name in ["../evil", "/tmp/evil", "encoderd-backup/../evil", "encoderd-backup/other", "hub.db"] {
            is_refused(&[with_manifest(&plain), (regular(), name, b"hub".to_vec())], "not as its manifest says");
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Directory, EntryType::Char, EntryType::GNULongName]
        {
            let mut header = regular();
            header.set_entry_type(kind);
            is_refused(&[with_manifest(&plain), (header, "encoderd-backup/hub.db", Vec::new())], "is no file");
        }
        is_refused(&[hub(), with_manifest(&plain)], "does not begin with its manifest");
        is_refused(&[with_manifest(&plain), hub(), hub()], "not as its manifest says");
        is_refused(&[with_manifest(&plain)], "`hub.db` is missing");
        is_refused(&[], "empty");
        let longer = manifest(vec![Member { bytes: 4, ..good.clone() }]);
        is_refused(&[with_manifest(&longer), hub()], "not as its manifest says");
        let other = manifest(vec![member(Name::Hub, b"bus")]);
        is_refused(&[with_manifest(&other), hub()], "not what its manifest says");
        is_refused(&[with_manifest(&manifest(vec![good.clone(), good])), hub()], "what cannot be");
    }

    #[test]
    fn sizes_are_bounded_before_anything_is_read() {
        let huge = Member { bytes: SMALL_MAX + 1, ..member(Name::Secrets, b"") };
        is_refused(&[with_manifest(&manifest(vec![huge]))], "what cannot be");
        let long = vec![b' '; usize::try_from(SMALL_MAX).unwrap() + 1];
        is_refused(&[(regular(), "encoderd-backup/manifest.json", long)], "does not begin with its manifest");
    }

    #[test]
    fn a_newer_format_is_named_with_what_to_install() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("b.tar.gz");
        // Its manifest may have any shape.
        let newer = br#"{"format": 2, "encoderd": "3.1.4", "members": "elsewhere"}"#.to_vec();
        forged(&file, &[(regular(), "encoderd-backup/manifest.json", newer)]);
        let error = Backup::open(&file).unwrap().read(None).unwrap_err();
        assert!(matches!(error, BackupError::Newer { .. }), "{error}");
        assert!(error.to_string().contains("3.1.4") && error.to_string().contains("install"), "{error}");
    }
}
