//! The property's card key and the other secrets that live in files of mode 0600.

mod card_key;

pub use card_key::{CardKey, Imported, KeyInUse};

use encoder_protocols::layout::keys::RING_KEYS_MAX;
use secrecy::{ExposeSecret, SecretString};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The card key's file in the state directory.
pub const CARD_KEY_FILE: &str = "card-key.toml";
/// The embedded hub's API key, in the state directory.
pub const API_KEY_FILE: &str = "api-key";
/// The token between the daemon and the embedded hub, in the state directory.
pub const BRIDGE_TOKEN_FILE: &str = "bridge-token";

/// Where systemd puts what `LoadCredential=` names. What lies there goes before the files in the state directory.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The card key's name among the credentials.
pub const CARD_KEY_CREDENTIAL: &str = "card-key";

/// Why a secret cannot be used. The texts never hold the secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}; check that the directory exists and belongs to the user of encoderd", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("{path} can be read by other users: run `chmod 600 {path}`", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold what it should.
    #[error("{path} is damaged: {problem}; restore it from a backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        problem: &'static str,
    },
    /// There is a card key already.
    #[error("{path} holds a card key already; cards made with it would become foreign. Move it away first", path = path.display())]
    Present {
        /// The file.
        path: PathBuf,
    },
    /// The file that was to be made is there.
    #[error("{path} is there already: choose a new file", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no card key to work on.
    #[error("{path} is not there. If the service manager keeps the card key, write its credential there for as long as this takes", path = path.display())]
    Absent {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key to take over is another property's.
    #[error("the key in {path} is property {theirs}'s, and this desk is property {ours}'s: it is not taken", path = path.display())]
    OtherProperty {
        /// The file.
        path: PathBuf,
        /// The property in it.
        theirs: Uuid,
        /// This desk's.
        ours: Uuid,
    },
    /// Two keys of one id.
    #[error(
        "key {key_id} in {path} is not the key {key_id} of this desk: both were rotated by themselves. Rotate at one desk only; \
         move this desk's file away before the import if no card was made with its key {key_id}",
        path = path.display()
    )]
    Forked {
        /// The file.
        path: PathBuf,
        /// The id that both have.
        key_id: u8,
    },
    /// The ring is full.
    #[error(
        "there are {RING_KEYS_MAX} keys: `encoderd keys forget {oldest}` first, when no card is left that was made with it"
    )]
    TooMany {
        /// The oldest key.
        oldest: u8,
    },
    /// The key that seals cannot be forgotten.
    #[error("key {key_id} is the one that cards are made with: rotate first")]
    Current {
        /// Which.
        key_id: u8,
    },
    /// There is no such key.
    #[error("there is no key {key_id}; there are {known}")]
    Unknown {
        /// The one asked for.
        key_id: u8,
        /// Those that there are.
        known: String,
    },
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

/// What the service manager hands over under this name, with its path. Who may read it is the manager's business: it
/// sets an access list, which looks like a group's permission.
pub fn credential(name: &str) -> Result<Option<(PathBuf, Zeroizing<String>)>, KeyError> {
    let Some(directory) = std::env::var_os(CREDENTIALS_VARIABLE) else { return Ok(None) };
    let path = PathBuf::from(directory).join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, Zeroizing::new(text)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyError::Unreadable { path, source }),
    }
}

/// The token or API key that the service manager hands over under this name, if it does.
pub fn token_credential(name: &str) -> Result<Option<SecretString>, KeyError> {
    credential(name)?.map(|(path, text)| one_word(&text, &path)).transpose()
}

/// Reads a token or API key of one line; makes a random one, `prefix` in front, where there is none.
pub fn token_or_create(path: &Path, prefix: &str) -> Result<SecretString, KeyError> {
    if let Some(token) = token(path)? {
        return Ok(token);
    }
    let token = random_token(prefix)?;
    write_token(path, &token)?;
    Ok(token)
}

/// Makes a token: `prefix` and 256 random bits in hex.
pub fn random_token(prefix: &str) -> Result<SecretString, KeyError> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut()).map_err(|_| KeyError::NoRandomness)?;
    let mut text = Zeroizing::new(prefix.to_owned());
    for byte in random.iter() {
        use std::fmt::Write as _;
        let _infallible = write!(text, "{byte:02x}");
    }
    Ok(SecretString::from(text.as_str()))
}

/// Writes a token into its file of mode 0600, which may be there already.
pub fn write_token(path: &Path, token: &SecretString) -> Result<(), KeyError> {
    write_secret(path, Zeroizing::new(format!("{}\n", token.expose_secret())).as_bytes())
}

/// Reads a token or API key of one line; `None` when there is none.
pub fn token(path: &Path) -> Result<Option<SecretString>, KeyError> {
    read_secret(path)?.map(|text| one_word(&text, path)).transpose()
}

fn one_word(text: &str, path: &Path) -> Result<SecretString, KeyError> {
    let token = SecretString::from(text.trim());
    if token.expose_secret().is_empty() || token.expose_secret().contains(char::is_whitespace) {
        return Err(KeyError::Damaged { path: path.to_path_buf(), problem: "it must hold one word" });
    }
    Ok(token)
}

/// Reads a file that only its owner may read; `None` when it is not there.
pub fn read_secret(path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.to_path_buf(), source };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_path_buf() });
    }
    std::fs::read_to_string(path).map(|text| Some(Zeroizing::new(text))).map_err(unreadable)
}

/// Writes a new file of mode 0600 whole or not at all: beside it, flushed to the disk, then renamed. A file that takes
/// another's place keeps its owner: root may rotate a key that the service has to read.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let beside = path.with_extension("new");
    let before = std::fs::metadata(path).ok();
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let own = file.metadata()?;
        if let Some(before) = before.filter(|before| (before.uid(), before.gid()) != (own.uid(), own.gid())) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        // The parent of a bare file name has no name.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| KeyError::Unwritable { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_keeps_its_prefix_and_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(API_KEY_FILE);
        let token = token_or_create(&path, "seam_").unwrap();
        assert!(token.expose_secret().starts_with("seam_"));
        assert_eq!(token_or_create(&path, "seam_").unwrap().expose_secret(), token.expose_secret());
    }
}
