//! The property's card key: a ring of keys with the property's id, in one file.
//!
//! With the embedded hub the first start makes a random card key and property id. With a remote hub it never does:
//! each desk would make its own key and refuse the others' cards.
//!
//! A file with one key and no `older` is a ring of one.

use super::{CARD_KEY_CREDENTIAL, CARD_KEY_FILE, KeyError, credential, read_secret, write_secret};
use encoder_protocols::layout::keys::{KeyRing, PropertyKey, RING_KEYS_MAX, aes_cmac};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::Path;
use tokio::sync::watch;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// A property's identity on its cards, and the keys that all its card keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardKey {
    /// The property, as its cards name it.
    pub property_id: Uuid,
    /// The key that seals, and the older ones that are still read.
    pub key: KeyRing,
}

/// The card key that a daemon works with. A reload may put another generation in its place; what has begun with one ends
/// with it.
#[derive(Clone, Debug)]
pub struct KeyInUse(watch::Receiver<Option<CardKey>>);

impl KeyInUse {
    /// A key that may be replaced through the sender.
    pub fn new(key: Option<CardKey>) -> (watch::Sender<Option<CardKey>>, Self) {
        let (sender, receiver) = watch::channel(key);
        (sender, Self(receiver))
    }

    /// The key that this sender replaces.
    pub fn of(sender: &watch::Sender<Option<CardKey>>) -> Self {
        Self(sender.subscribe())
    }

    /// As it is at the moment; `None`: there is none.
    pub fn now(&self) -> Option<CardKey> {
        self.0.borrow().clone()
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.0.borrow().is_some()
    }
}

/// What an import has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What this desk has from now on.
    pub key: CardKey,
    /// The ids of the keys that it did not have.
    pub new: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardKeyFile {
    property_id: Uuid,
    key_id: u8,
    /// 16 bytes in hex.
    key: String,
    /// Newest first.
    #[serde(default)]
    older: Vec<OlderKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OlderKey {
    key_id: u8,
    key: String,
}

impl Drop for CardKeyFile {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Drop for OlderKey {
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
        Self::load_file(&state_dir.join(CARD_KEY_FILE))
    }

    /// Reads the card key from a file; `None` when it is not there.
    pub fn load_file(path: &Path) -> Result<Option<Self>, KeyError> {
        let Some(text) = read_secret(path)? else { return Ok(None) };
        Self::parse(&text, path).map(Some)
    }

    /// Makes a random card key and property id; refused where there is a key already.
    pub fn create(state_dir: &Path) -> Result<Self, KeyError> {
        let key = Self { property_id: Uuid::new_v4(), key: KeyRing::single(random_key(1)?) };
        key.store_new(&state_dir.join(CARD_KEY_FILE))?;
        Ok(key)
    }

    /// Takes over the keys of a file that another desk exported: as they are where there are none here, else those that
    /// are missing here.
    pub fn import(state_dir: &Path, from: &Path) -> Result<Imported, KeyError> {
        let text = read_secret(from)?.ok_or_else(|| KeyError::Absent { path: from.to_path_buf() })?;
        Self::import_text(state_dir, &text, from)
    }

    /// The same from the file's text.
    pub fn import_text(state_dir: &Path, text: &str, from: &Path) -> Result<Imported, KeyError> {
        let theirs = Self::parse(text, from)?;
        let path = state_dir.join(CARD_KEY_FILE);
        let Some(ours) = Self::load_file(&path)? else {
            theirs.store_new(&path)?;
            return Ok(Imported { new: theirs.ids(), key: theirs });
        };
        let (before, key) = (ours.ids(), ours.merged(&theirs, from)?);
        let new: Vec<u8> = key.ids().into_iter().filter(|id| !before.contains(id)).collect();
        if key != ours {
            write_secret(&path, key.text().as_bytes())?;
        }
        Ok(Imported { key, new })
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
        let text = read_secret(&path)?.ok_or_else(|| KeyError::Absent { path: path.clone() })?;
        let key = Self::parse(&text, &path)?;
        if to.exists() {
            return Err(KeyError::Exists { path: to.to_path_buf() }.into());
        }
        write_secret(to, &make(&text)?)?;
        Ok(key)
    }

    /// The card key of a desk, to change it.
    pub fn own(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(CARD_KEY_FILE);
        Self::load_file(&path)?.ok_or(KeyError::Absent { path })
    }

    /// With a new random key in front, which has the next id; the others stay to be read.
    pub fn rotated(&self) -> Result<Self, KeyError> {
        let ids = self.ids();
        let mut behind = (1..=u8::MAX).map(|step| self.key.current().key_id().wrapping_add(step));
        // There is always one: a ring is small. 0 is left out: an erased byte is no key.
        let next = behind.find(|id| *id != 0 && !ids.contains(id)).unwrap_or_default();
        let older: Vec<PropertyKey> = self.key.keys().cloned().collect();
        let oldest = older.last().map_or(next, PropertyKey::key_id);
        let key = KeyRing::new(random_key(next)?, older).ok_or(KeyError::TooMany { oldest })?;
        Ok(Self { property_id: self.property_id, key })
    }

    /// Without one of the older keys.
    pub fn without(&self, key_id: u8) -> Result<Self, KeyError> {
        if self.key.current().key_id() == key_id {
            return Err(KeyError::Current { key_id });
        }
        let ids = self.ids();
        if !ids.contains(&key_id) {
            let known: Vec<String> = ids.iter().map(u8::to_string).collect();
            return Err(KeyError::Unknown { key_id, known: known.join(", ") });
        }
        let older = self.key.keys().skip(1).filter(|key| key.key_id() != key_id).cloned().collect();
        // Fewer keys than before, each with its own id still.
        let key = KeyRing::new(self.key.current().clone(), older).unwrap_or_else(|| self.key.clone());
        Ok(Self { property_id: self.property_id, key })
    }

    /// Puts this in the place of the desk's card key, whole or not at all.
    pub fn replace(&self, state_dir: &Path) -> Result<(), KeyError> {
        write_secret(&state_dir.join(CARD_KEY_FILE), self.text().as_bytes())
    }

    /// The ids of the keys, newest first.
    pub fn ids(&self) -> Vec<u8> {
        self.key.keys().map(PropertyKey::key_id).collect()
    }

    /// Three bytes that say whether two desks have the same key, and nothing about it.
    pub fn check_value(key: &PropertyKey) -> String {
        let [c0, c1, c2, ..] = aes_cmac(key.master().expose(), b"OCL1 check");
        format!("{c0:02x}{c1:02x}{c2:02x}")
    }

    /// This desk's keys with those of a file. The file's current key becomes the current one unless it is known here.
    fn merged(&self, theirs: &Self, from: &Path) -> Result<Self, KeyError> {
        if theirs.property_id != self.property_id {
            let (theirs, ours) = (theirs.property_id, self.property_id);
            return Err(KeyError::OtherProperty { path: from.to_path_buf(), theirs, ours });
        }
        let own = |key_id| self.key.keys().find(|own| own.key_id() == key_id);
        if let Some(forked) = theirs.key.keys().find(|key| own(key.key_id()).is_some_and(|own| own != *key)) {
            return Err(KeyError::Forked { path: from.to_path_buf(), key_id: forked.key_id() });
        }
        let known = own(theirs.key.current().key_id()).is_some();
        let (first, second) = if known { (self, theirs) } else { (theirs, self) };
        let mut keys: Vec<PropertyKey> = first.key.keys().cloned().collect();
        keys.extend(second.key.keys().filter(|key| !first.ids().contains(&key.key_id())).cloned());
        let oldest = keys.last().map_or_else(|| first.key.current().key_id(), PropertyKey::key_id);
        let older = keys.split_off(1.min(keys.len()));
        let current = keys.pop().unwrap_or_else(|| first.key.current().clone());
        let key = KeyRing::new(current, older).ok_or(KeyError::TooMany { oldest })?;
        Ok(Self { property_id: self.property_id, key })
    }

    fn store_new(&self, path: &Path) -> Result<(), KeyError> {
        if path.exists() {
            return Err(KeyError::Present { path: path.to_path_buf() });
        }
        write_secret(path, self.text().as_bytes())
    }

    /// The file's text. It is as long as it will ever be from the start: a string that grows leaves copies behind.
    pub fn text(&self) -> Zeroizing<String> {
        const ROOM: usize = 512 + 128 * RING_KEYS_MAX;
        let mut text = Zeroizing::new(String::with_capacity(ROOM));
        let _infallible = write!(
            text,
            "# The property's card key: whoever has it can make keys. Keep a copy in a safe; without it every card is foreign.\n\
             property_id = \"{}\"\n",
            self.property_id
        );
        for (index, key) in self.key.keys().enumerate() {
            if index > 0 {
                text.push_str("\n# Made no cards any more; still read.\n[[older]]\n");
            }
            let _infallible = write!(text, "key_id = {}\nkey = \"", key.key_id());
            for byte in key.master().expose() {
                let _infallible = write!(text, "{byte:02x}");
            }
            text.push_str("\"\n");
        }
        text
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KeyError> {
        let damaged = |problem| KeyError::Damaged { path: path.to_path_buf(), problem };
        // toml's own error would quote the line, and with it the key.
        let file: CardKeyFile = toml::from_str(text)
            .map_err(|_| damaged("it must hold property_id, key_id and key, and older keys each under [[older]]"))?;
        let key = |key_id, hex| parse_key(key_id, hex).ok_or(damaged("key must be 32 hex digits"));
        let current = key(file.key_id, &file.key)?;
        let older = file.older.iter().map(|older| key(older.key_id, &older.key)).collect::<Result<_, _>>()?;
        let key =
            KeyRing::new(current, older).ok_or(damaged("it must hold four keys at the most, each with its own id"))?;
        Ok(Self { property_id: file.property_id, key })
    }
}

fn random_key(key_id: u8) -> Result<PropertyKey, KeyError> {
    let mut master = Zeroizing::new([0; 16]);
    getrandom::fill(master.as_mut()).map_err(|_| KeyError::NoRandomness)?;
    Ok(PropertyKey::new(key_id, *master))
}

fn parse_key(key_id: u8, hex: &str) -> Option<PropertyKey> {
    let mut master = Zeroizing::new([0; 16]);
    if hex.len() != 32 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in master.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(PropertyKey::new(key_id, *master))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_card_key_is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert!(CardKey::load(dir.path()).unwrap().is_none());
        let made = CardKey::create(dir.path()).unwrap();
        assert_eq!(CardKey::load(dir.path()).unwrap().unwrap(), made);
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

    const SECRET: &str = "00112233445566778899aabbccddeeff";

    fn one_key() -> String {
        format!("property_id = \"{}\"\nkey_id = 1\nkey = \"{SECRET}\"\n", Uuid::nil())
    }

    #[test]
    fn a_file_of_one_key_is_a_ring_of_one() {
        let key = CardKey::parse(&one_key(), Path::new("card-key.toml")).unwrap();
        assert_eq!(key.ids(), [1]);
        assert_eq!(key.key.current().master().expose()[..3], [0x00, 0x11, 0x22]);
    }

    #[test]
    fn errors_and_debug_never_show_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CARD_KEY_FILE);
        let good = format!("{}[[older]]\nkey_id = 2\nkey = \"{SECRET}\"\n", one_key());
        write_secret(&path, good.as_bytes()).unwrap();
        assert!(!format!("{:?}", CardKey::load(dir.path()).unwrap()).contains("0011"));
        let bad = [
            format!("key = \"{SECRET}\""),
            good.replace("ff\"", "fg\""),
            good.replace("key_id = 1", "key_id = 1000"),
            good.replace("key_id = 1", "key_id = 2"),
            good.replace("[[older]]", "[older]"),
        ];
        for bad in bad {
            write_secret(&path, bad.as_bytes()).unwrap();
            let error = CardKey::load(dir.path()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("0011"), "{error}");
        }
    }

    #[test]
    fn an_imported_key_is_the_exported_one() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        CardKey::create(there.path()).unwrap();
        let made = CardKey::own(there.path()).unwrap().rotated().unwrap();
        made.replace(there.path()).unwrap();
        let exported = there.path().join("for-the-other-desk");
        CardKey::export(there.path(), &exported).unwrap();
        assert!(matches!(CardKey::export(there.path(), &exported), Err(KeyError::Exists { .. })));
        let imported = CardKey::import(here.path(), &exported).unwrap();
        assert_eq!(imported, Imported { key: made, new: vec![2, 1] });
        let file = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(CARD_KEY_FILE)).unwrap();
        assert_eq!(file(&here), file(&there));
    }

    #[test]
    fn a_rotation_puts_a_new_key_in_front_and_keeps_the_others() {
        let mut key = CardKey::parse(&one_key(), Path::new("")).unwrap();
        for ids in [vec![2, 1], vec![3, 2, 1], vec![4, 3, 2, 1]] {
            let rotated = key.rotated().unwrap();
            assert_eq!(rotated.ids(), ids);
            assert_eq!(
                rotated.key.keys().skip(1).cloned().collect::<Vec<_>>(),
                key.key.keys().cloned().collect::<Vec<_>>()
            );
            assert_eq!(rotated.property_id, key.property_id);
            assert_eq!(CardKey::parse(&rotated.text(), Path::new("")).unwrap(), rotated);
            key = rotated;
        }
        assert!(matches!(key.rotated(), Err(KeyError::TooMany { oldest: 1 })));
        let fewer = key.without(1).unwrap();
        assert_eq!(fewer.ids(), [4, 3, 2]);
        assert_eq!(fewer.rotated().unwrap().ids(), [5, 4, 3, 2]);
        assert!(matches!(key.without(4), Err(KeyError::Current { key_id: 4 })));
        assert!(matches!(key.without(9), Err(KeyError::Unknown { key_id: 9, .. })));
    }

    #[test]
    fn ids_begin_anew_after_the_last_and_leave_out_zero_and_those_in_use() {
        let text =
            one_key().replace("key_id = 1", "key_id = 255") + "[[older]]\nkey_id = 1\nkey = \"" + SECRET + "\"\n";
        assert_eq!(CardKey::parse(&text, Path::new("")).unwrap().rotated().unwrap().ids(), [2, 255, 1]);
    }

    #[test]
    fn an_import_adds_the_keys_of_the_same_property_that_are_missing() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let old = CardKey::create(there.path()).unwrap();
        let exported = there.path().join(CARD_KEY_FILE);
        CardKey::import(here.path(), &exported).unwrap();
        let new = old.rotated().unwrap();
        new.replace(there.path()).unwrap();
        assert_eq!(CardKey::import(here.path(), &exported).unwrap(), Imported { key: new.clone(), new: vec![2] });
        assert_eq!(CardKey::own(here.path()).unwrap(), new);
        // An older generation changes nothing, and brings no older key in front again.
        old.replace(there.path()).unwrap();
        assert_eq!(CardKey::import(here.path(), &exported).unwrap(), Imported { key: new.clone(), new: vec![] });
        // A key alone, without its predecessors.
        let alone = new.rotated().unwrap().without(1).unwrap().without(2).unwrap();
        alone.replace(there.path()).unwrap();
        let imported = CardKey::import(here.path(), &exported).unwrap();
        assert_eq!((imported.key.ids(), imported.new), (vec![3, 2, 1], vec![3]));
    }

    #[test]
    fn an_import_of_another_property_or_of_a_key_rotated_elsewhere_is_refused() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ours = CardKey::create(here.path()).unwrap();
        CardKey::create(there.path()).unwrap();
        let exported = there.path().join(CARD_KEY_FILE);
        assert!(matches!(CardKey::import(here.path(), &exported), Err(KeyError::OtherProperty { .. })));
        ours.rotated().unwrap().replace(there.path()).unwrap();
        let rotated = ours.rotated().unwrap();
        rotated.replace(here.path()).unwrap();
        assert!(matches!(CardKey::import(here.path(), &exported), Err(KeyError::Forked { key_id: 2, .. })));
        assert_eq!(CardKey::own(here.path()).unwrap(), rotated);
    }

    #[test]
    fn a_rotated_file_keeps_its_mode_and_a_torn_one_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let made = CardKey::create(dir.path()).unwrap();
        // What a power cut in the middle of an earlier write leaves: the file beside.
        std::fs::write(dir.path().join("card-key.new"), "property_id = ").unwrap();
        assert_eq!(CardKey::own(dir.path()).unwrap(), made);
        made.rotated().unwrap().replace(dir.path()).unwrap();
        let metadata = std::fs::metadata(dir.path().join(CARD_KEY_FILE)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(!dir.path().join("card-key.new").exists());
    }
}
