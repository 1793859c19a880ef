//! Secrets in a file that a passphrase opens: Argon2id makes a key of the passphrase, XChaCha20-Poly1305 seals with it.
//!
//! The file is JSON with everything in it that another program needs, beside the passphrase; docs/backup.md has the
//! recipe. What can be read without the passphrase (format, purpose, salt, parameters) is the seal's associated data, so
//! that none of it can be changed.
//!
//! Sources: RFC 9106 for Argon2id and its parameters; draft-irtf-cfrg-xchacha-03 for XChaCha20-Poly1305.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

/// The one format there is.
const FORMAT: &str = "encoderd-wrapped/1";
/// How the key is made.
const KDF: &str = "argon2id";
/// How the secret is sealed.
const CIPHER: &str = "xchacha20poly1305";

/// The second recommendation of RFC 9106, section 4: 64 MiB, three passes, four lanes. A front-desk PC has the memory for
/// a second, and needs about a quarter of one.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

/// What a file may ask of this PC. More would be an attack on its memory, or a hundredfold of what anybody needs.
const COST_MAX: Cost = Cost { memory_kib: 512 * 1024, passes: 32, lanes: 16 };

/// The shortest passphrase, in characters. With 64 MiB a try, twelve random letters and digits are out of reach.
pub const PASSPHRASE_CHARACTERS_MIN: usize = 12;

/// The longest passphrase file, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;

/// The largest sealed secret, in base64. A property's secrets are a kilobyte, and its configuration some more.
const SEALED_MAX: usize = 4 * 1024 * 1024;

/// Why a secret cannot be wrapped or opened. The texts hold neither passphrase nor secret.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The passphrase is too easy to try out.
    #[error("the passphrase has fewer than {PASSPHRASE_CHARACTERS_MIN} characters: take a longer one")]
    TooShort,
    /// The passphrase file cannot be read.
    #[error("cannot read the passphrase in {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read the passphrase file.
    #[error("{path} can be read by other users: run `chmod 600 {path}`", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase file holds something else.
    #[error("{path} must hold the passphrase as its one line of text", path = path.display())]
    NotOneLine {
        /// The file.
        path: PathBuf,
    },
    /// A newer encoderd, or another program, has made it.
    #[error("its secrets are wrapped as `{found}`, which this encoderd does not know: install a newer one")]
    Unknown {
        /// What it says it is.
        found: String,
    },
    /// It is not what it says it is, or asks for more than any PC should give.
    #[error("its wrapped secrets are damaged: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
    /// The seal does not open.
    #[error("the passphrase is wrong, or the wrapped secrets were changed")]
    Wrong,
    /// There is not enough memory to make the key.
    #[error("there is not enough memory for the passphrase: {memory_mib} MiB are needed for a moment")]
    Memory {
        /// How much.
        memory_mib: u32,
    },
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

/// What a wrapped secret is for. One is never taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The secrets of a backup.
    Backup,
    /// A card key on its way to another desk or into the safe.
    CardKey,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::CardKey => "card-key",
        }
    }
}

/// A passphrase; wiped when it is dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// Takes what somebody typed, if it is long enough.
    pub fn new(text: Zeroizing<String>) -> Result<Self, WrapError> {
        if text.chars().count() < PASSPHRASE_CHARACTERS_MIN { Err(WrapError::TooShort) } else { Ok(Self(text)) }
    }

    /// Reads the first and only line of a file that nobody else may read.
    pub fn from_file(path: &Path) -> Result<Self, WrapError> {
        let unreadable = |source| WrapError::Unreadable { path: path.to_path_buf(), source };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
            return Err(WrapError::Exposed { path: path.to_path_buf() });
        }
        let mut text = Zeroizing::new(String::with_capacity(4096));
        (&mut file).take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(['\n', '\r', '\0']) {
            return Err(WrapError::NotOneLine { path: path.to_path_buf() });
        }
        Self::new(Zeroizing::new(line.to_owned()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A secret that a passphrase opens, as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    format: String,
    purpose: Purpose,
    kdf: String,
    cost: Cost,
    /// Hex.
    salt: String,
    cipher: String,
    /// Hex.
    nonce: String,
    /// Base64; the last 16 bytes are the tag.
    sealed: String,
}

impl Wrapped {
    /// Seals a secret.
    pub fn seal(purpose: Purpose, secret: &[u8], passphrase: &Passphrase) -> Result<Self, WrapError> {
        let mut random = [0; SALT_BYTES + NONCE_BYTES];
        getrandom::fill(&mut random).map_err(|_| WrapError::NoRandomness)?;
        let (salt, nonce) = random.split_at(SALT_BYTES);
        let mut wrapped = Self {
            format: FORMAT.to_owned(),
            purpose,
            kdf: KDF.to_owned(),
            cost: COST,
            salt: hex(salt),
            cipher: CIPHER.to_owned(),
            nonce: hex(nonce),
            sealed: String::new(),
        };
        let key = key(passphrase, salt, COST)?;
        let associated = wrapped.associated();
        let nonce = XNonce::try_from(nonce).map_err(|_| WrapError::Malformed { problem: "its nonce" })?;
        let sealed = XChaCha20Poly1305::new((&*key).into())
            .encrypt(&nonce, Payload { msg: secret, aad: associated.as_bytes() })
            .map_err(|_| WrapError::Malformed { problem: "the secret is too long" })?;
        wrapped.sealed = STANDARD.encode(sealed);
        Ok(wrapped)
    }

    /// Opens the seal.
    pub fn open(&self, purpose: Purpose, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let malformed = |problem| WrapError::Malformed { problem };
        for (found, known) in [(&self.format, FORMAT), (&self.kdf, KDF), (&self.cipher, CIPHER)] {
            if found != known {
                return Err(WrapError::Unknown { found: found.chars().take(40).collect() });
            }
        }
        if self.purpose != purpose {
            return Err(malformed("they are for another purpose"));
        }
        let cost = self.cost;
        if cost.memory_kib > COST_MAX.memory_kib || cost.passes > COST_MAX.passes || cost.lanes > COST_MAX.lanes {
            return Err(malformed("opening them would cost too much"));
        }
        if self.sealed.len() > SEALED_MAX {
            return Err(malformed("they are too long"));
        }
        let salt = bytes::<SALT_BYTES>(&self.salt).ok_or(malformed("the salt must be 32 hex digits"))?;
        let nonce = bytes::<NONCE_BYTES>(&self.nonce).ok_or(malformed("the nonce must be 48 hex digits"))?;
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| malformed("the seal must be base64"))?;
        let key = key(passphrase, &salt, cost)?;
        XChaCha20Poly1305::new((&*key).into())
            .decrypt(&XNonce::from(nonce), Payload { msg: &sealed, aad: self.associated().as_bytes() })
            .map(Zeroizing::new)
            .map_err(|_| WrapError::Wrong)
    }

    /// What the seal binds beside the secret.
    fn associated(&self) -> String {
        let Self { format, kdf, cost: Cost { memory_kib, passes, lanes }, salt, cipher, .. } = self;
        let purpose = self.purpose.word();
        format!("{format} {purpose} {kdf} v=19 m={memory_kib} t={passes} p={lanes} salt={salt} {cipher}")
    }
}

/// The key of a passphrase.
fn key(passphrase: &Passphrase, salt: &[u8], cost: Cost) -> Result<Zeroizing<[u8; KEY_BYTES]>, WrapError> {
    let malformed = |_| WrapError::Malformed { problem: "their cost cannot be meant" };
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).map_err(malformed)?;
    let mut memory: Vec<Block> = Vec::new();
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| WrapError::Memory { memory_mib: cost.memory_kib / 1024 })?;
    memory.resize_with(params.block_count(), Block::default);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let made = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        passphrase.0.as_bytes(),
        salt,
        key.as_mut(),
        &mut memory,
    );
    // A look at what is left there would save an attacker the work.
    for block in &mut memory {
        block.zeroize();
    }
    made.map_err(malformed)?;
    Ok(key)
}

/// Bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Exactly so many bytes from small hex digits; there is one way to write them.
pub(super) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex as literal;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn a_wrapped_secret_opens_with_its_passphrase_and_no_other() {
        let right = passphrase("correct horse battery");
        let wrapped = Wrapped::seal(Purpose::Backup, b"the card key", &right).unwrap();
        assert_eq!(*wrapped.open(Purpose::Backup, &right).unwrap(), b"the card key");
        let wrong = wrapped.open(Purpose::Backup, &passphrase("correct horse batterz")).unwrap_err();
        assert!(matches!(wrong, WrapError::Wrong), "{wrong}");
        assert!(wrapped.open(Purpose::CardKey, &right).is_err(), "one purpose for another");
        let again = Wrapped::seal(Purpose::Backup, b"the card key", &right).unwrap();
        assert_ne!((again.salt, again.nonce), (wrapped.salt, wrapped.nonce));
    }

    #[test]
    fn whatever_is_changed_in_it_keeps_it_shut() {
        let right = passphrase("correct horse battery");
        let wrapped = Wrapped::seal(Purpose::Backup, b"the card key", &right).unwrap();
        let other = |digit: &str, text: &str| {
            let first = if text.starts_with(digit) { "0" } else { digit };
            format!("{first}{}", &text[1..])
        };
        let cheaper = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let changed = [
            Wrapped { cost: cheaper, ..wrapped.clone() },
            Wrapped { cost: Cost { passes: 4, ..COST }, ..wrapped.clone() },
            Wrapped { salt: other("f", &wrapped.salt), ..wrapped.clone() },
            Wrapped { nonce: other("f", &wrapped.nonce), ..wrapped.clone() },
            Wrapped { sealed: other("A", &wrapped.sealed), ..wrapped.clone() },
            Wrapped { sealed: STANDARD.encode("short"), ..wrapped.clone() },
        ];
        for changed in changed {
            let error = changed.open(Purpose::Backup, &right).unwrap_err();
            assert!(matches!(error, WrapError::Wrong), "{error}: {changed:?}");
        }
    }

    #[test]
    fn a_file_cannot_ask_for_all_memory_or_for_what_is_not_known() {
        let right = passphrase("correct horse battery");
        let wrapped = Wrapped::seal(Purpose::Backup, b"x", &right).unwrap();
        let greedy = Wrapped { cost: Cost { memory_kib: u32::MAX, ..COST }, ..wrapped.clone() };
        assert!(greedy.open(Purpose::Backup, &right).unwrap_err().to_string().contains("too much"));
        let nothing = Wrapped { cost: Cost { memory_kib: 0, passes: 0, lanes: 0 }, ..wrapped.clone() };
        assert!(matches!(nothing.open(Purpose::Backup, &right), Err(WrapError::Malformed { .. })));
        let newer = Wrapped { format: "encoderd-wrapped/2".to_owned(), ..wrapped };
        assert!(newer.open(Purpose::Backup, &right).unwrap_err().to_string().contains("newer"));
    }

    #[test]
    fn a_passphrase_is_long_and_private_and_never_printed() {
        assert!(matches!(Passphrase::new(Zeroizing::new("elevenchars".to_owned())), Err(WrapError::TooShort)));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        std::fs::write(&path, "zwölf zeichen\r\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Passphrase::from_file(&path), Err(WrapError::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let read = Passphrase::from_file(&path).unwrap();
        assert_eq!(*read.0, "zwölf zeichen");
        assert_eq!(format!("{read:?}"), "Passphrase(..)");
        std::fs::write(&path, "two lines of\ntext are too many").unwrap();
        assert!(matches!(Passphrase::from_file(&path), Err(WrapError::NotOneLine { .. })));
    }

    /// RFC 9106, section 5.3: Argon2id without secret and associated data is not among its vectors, so this one is the
    /// reference implementation's own test: `hashtest(version, 2, 16, 1, "password", "somesalt", …)` for Argon2id.
    /// Source: P-H-C/phc-winner-argon2, src/test.c.
    #[test]
    fn argon2id_makes_the_published_key() {
        let cost = Cost { memory_kib: 65536, passes: 2, lanes: 1 };
        let made = key(&Passphrase(Zeroizing::new("password".to_owned())), b"somesalt", cost).unwrap();
        assert_eq!(*made, literal!("09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"));
    }

    /// The draft's own example. Source: draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_seal_is_the_published_one() {
        let key = literal!("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
        let nonce = literal!("404142434445464748494a4b4c4d4e4f5051525354555657");
        let aad = literal!("50515253c0c1c2c3c4c5c6c7");
        let message = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let sealed = XChaCha20Poly1305::new((&key).into())
            .encrypt(&XNonce::from(nonce), Payload { msg: message, aad: &aad })
            .unwrap();
        assert_eq!(sealed[..16], literal!("bd6d179d3e83d43b9576579493c0e939"));
        assert_eq!(sealed[sealed.len() - 16..], literal!("c0875924c1c7987947deafd8780acf49"));
    }
}
