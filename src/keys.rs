//! The property's card key and the other secrets that live in files of mode 0600.
//!
//! With the embedded hub the first start makes a random card key and property id. With a remote hub it never does:
//! each desk would make its own key and refuse the others' cards.

use encoder_protocols::layout::keys::PropertyKey;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// The card key's file in the state directory.
pub const CARD_KEY_FILE: &str = "card-key.toml";
/// The embedded hub's API key, in the state directory.
pub const API_KEY_FILE: &str = "api-key";
/// The token between the daemon and the embedded hub, in the state directory.
pub const BRIDGE_TOKEN_FILE: &str = "bridge-token";

/// Where systemd puts what `LoadCredential=` names. What lies there goes before the files in the state directory.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The card key's name among the credentials.
const CARD_KEY_CREDENTIAL: &str = "card-key";

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
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

/// A property's identity on its cards, and the key that all its card keys come from.
#[derive(Clone, Debug)]
pub struct CardKey {
    /// The property, as its cards name it.
    pub property_id: Uuid,
    /// The key.
    pub key: PropertyKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardKeyFile {
    property_id: Uuid,
    key_id: u8,
    /// 16 bytes in hex.
    key: String,
}

impl Drop for CardKeyFile {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl CardKey {
    /// Reads the card key; `None` when there is none.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, KeyError> {
        if let Some((path, text)) = credential(CARD_KEY_CREDENTIAL)? {
            return Self::parse(&text, &path).map(Some);
        }
        let path = state_dir.join(CARD_KEY_FILE);
        let Some(text) = read_secret(&path)? else { return Ok(None) };
        Self::parse(&text, &path).map(Some)
    }

    /// Makes a random card key and property id; refused where there is a key already.
    pub fn create(state_dir: &Path) -> Result<Self, KeyError> {
        let mut master = Zeroizing::new([0; 16]);
        getrandom::fill(master.as_mut()).map_err(|_| KeyError::NoRandomness)?;
        let mut hex = Zeroizing::new(String::with_capacity(32));
        for byte in master.iter() {
            use std::fmt::Write as _;
            let _infallible = write!(hex, "{byte:02x}");
        }
        Self::store(state_dir, Uuid::new_v4(), 1, &hex)?;
        Self::load(state_dir)?.ok_or(KeyError::Damaged { path: state_dir.join(CARD_KEY_FILE), problem: "it vanished" })
    }

    /// Takes over a card key from a file that another desk exported; refused where there is a key already.
    pub fn import(state_dir: &Path, from: &Path) -> Result<Self, KeyError> {
        let text = read_secret(from)?.ok_or_else(|| KeyError::Unreadable {
            path: from.to_path_buf(),
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        })?;
        Self::import_text(state_dir, &text, from)
    }

    /// Takes over a card key from its text, which came from this file; refused where there is a key already.
    pub fn import_text(state_dir: &Path, text: &str, from: &Path) -> Result<Self, KeyError> {
        let key = Self::parse(text, from)?;
        let path = state_dir.join(CARD_KEY_FILE);
        if path.exists() {
            return Err(KeyError::Present { path });
        }
        write_secret(&path, text.as_bytes())?;
        Ok(key)
    }

    /// Copies the card key into a new file of mode 0600; an existing file is not overwritten.
    pub fn export(state_dir: &Path, to: &Path) -> Result<Self, KeyError> {
        Self::export_as::<KeyError>(state_dir, to, |text| Ok(Zeroizing::new(text.as_bytes().to_vec())))
    }

    /// Writes what is made of the card key's text into a new file of mode 0600; an existing file is not overwritten.
    pub fn export_as<E: From<KeyError>>(
        state_dir: &Path,
        to: &Path,
        make: impl FnOnce(&str) -> Result<Zeroizing<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let path = state_dir.join(CARD_KEY_FILE);
        let text = read_secret(&path)?.ok_or_else(|| KeyError::Unreadable {
            path: path.clone(),
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        })?;
        let key = Self::parse(&text, &path)?;
        if to.exists() {
            return Err(KeyError::Exists { path: to.to_path_buf() }.into());
        }
        write_secret(to, &make(&text)?)?;
        Ok(key)
    }

    fn store(state_dir: &Path, property_id: Uuid, key_id: u8, hex: &str) -> Result<(), KeyError> {
        let path = state_dir.join(CARD_KEY_FILE);
        if path.exists() {
            return Err(KeyError::Present { path });
        }
        let text = Zeroizing::new(format!(
            "# The property's card key: whoever has it can make keys. Keep a copy in a safe; without it every card is foreign.\n\
             property_id = \"{property_id}\"\nkey_id = {key_id}\nkey = \"{hex}\"\n"
        ));
        write_secret(&path, text.as_bytes())
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KeyError> {
        let damaged = |problem| KeyError::Damaged { path: path.to_path_buf(), problem };
        // toml's own error would quote the line, and with it the key.
        let file: CardKeyFile =
            toml::from_str(text).map_err(|_| damaged("it must hold property_id, key_id and key"))?;
        let mut master = Zeroizing::new([0; 16]);
        if file.key.len() != 32 || !file.key.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(damaged("key must be 32 hex digits"));
        }
        for (byte, pair) in master.iter_mut().zip(file.key.as_bytes().chunks_exact(2)) {
            let pair = str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(|_| damaged("key must be 32 hex digits"))?;
        }
        Ok(Self { property_id: file.property_id, key: PropertyKey::new(file.key_id, *master) })
    }
}

/// What the service manager hands over under this name, with its path. Who may read it is the manager's business: it
/// sets an access list, which looks like a group's permission.
fn credential(name: &str) -> Result<Option<(PathBuf, Zeroizing<String>)>, KeyError> {
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

/// Writes a new file of mode 0600 whole or not at all: beside it, flushed to the disk, then renamed.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
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
    fn a_card_key_is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert!(CardKey::load(dir.path()).unwrap().is_none());
        let made = CardKey::create(dir.path()).unwrap();
        let again = CardKey::load(dir.path()).unwrap().unwrap();
        assert_eq!(made.property_id, again.property_id);
        let metadata = std::fs::metadata(dir.path().join(CARD_KEY_FILE)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(matches!(CardKey::create(dir.path()), Err(KeyError::Present { .. })));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        CardKey::create(dir.path()).unwrap();
        let path = dir.path().join(CARD_KEY_FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(CardKey::load(dir.path()), Err(KeyError::Exposed { .. })));
    }

    #[test]
    fn errors_and_debug_never_show_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CARD_KEY_FILE);
        let secret = "00112233445566778899aabbccddeeff";
        let good = format!("property_id = \"{}\"\nkey_id = 1\nkey = \"{secret}\"\n", Uuid::nil());
        write_secret(&path, good.as_bytes()).unwrap();
        assert!(!format!("{:?}", CardKey::load(dir.path()).unwrap()).contains("0011"));
        for bad in
            [format!("key = \"{secret}\""), good.replace("ff\"", "fg\""), good.replace("key_id = 1", "key_id = 1000")]
        {
            write_secret(&path, bad.as_bytes()).unwrap();
            let error = CardKey::load(dir.path()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("0011"), "{error}");
        }
    }

    #[test]
    fn an_imported_key_is_the_exported_one() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = CardKey::create(there.path()).unwrap();
        let exported = there.path().join("for-the-other-desk");
        CardKey::export(there.path(), &exported).unwrap();
        assert!(matches!(CardKey::export(there.path(), &exported), Err(KeyError::Exists { .. })));
        let imported = CardKey::import(here.path(), &exported).unwrap();
        assert_eq!(made.property_id, imported.property_id);
        assert_eq!(
            std::fs::read(here.path().join(CARD_KEY_FILE)).unwrap(),
            std::fs::read(there.path().join(CARD_KEY_FILE)).unwrap()
        );
        assert!(matches!(
            CardKey::import(here.path(), &there.path().join(CARD_KEY_FILE)),
            Err(KeyError::Present { .. })
        ));
    }

    #[test]
    fn a_token_keeps_its_prefix_and_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(API_KEY_FILE);
        let token = token_or_create(&path, "seam_").unwrap();
        assert!(token.expose_secret().starts_with("seam_"));
        assert_eq!(token_or_create(&path, "seam_").unwrap().expose_secret(), token.expose_secret());
    }
}
