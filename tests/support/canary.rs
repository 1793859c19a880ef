//! Looks for keys where none may be: in logs, databases, answers and files, in every form in which somebody writes bytes.
#![allow(dead_code, reason = "each test binary uses its part")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use encoder_protocols::family::classic::SectorNumber;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::keys::{KeyRing, Purpose};
use flate2::read::GzDecoder;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

/// A secret that must not be found.
#[derive(Clone)]
pub struct Secret {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Every key that a ring gives: the masters, their sub-keys, and all that these cards have of them.
pub fn secrets(ring: &KeyRing, uids: &[&str]) -> Vec<Secret> {
    let mut all = Vec::new();
    for key in ring.keys() {
        let mut add = |name: String, bytes: &[u8]| {
            all.push(Secret { name: format!("key {}: {name}", key.key_id()), bytes: bytes.to_vec() });
        };
        add("master".to_owned(), key.master().expose());
        for purpose in [Purpose::Seal, Purpose::Sector, Purpose::Password] {
            add(format!("{purpose:?}"), key.sub_key(purpose).expose());
        }
        for uid in uids {
            let keys = key.for_card(&uid.parse::<Uid>().unwrap());
            add(format!("seal key of {uid}"), keys.seal_key().expose());
            for sector in 0..=4 {
                let sector = SectorNumber::new(sector).unwrap();
                if sector.get() > 0 {
                    add(format!("key A of {uid}, sector {sector}"), keys.key_a(sector).0.expose());
                }
                add(format!("key B of {uid}, sector {sector}"), keys.key_b(sector).0.expose());
            }
            let (password, pack) = (keys.password(), keys.pack());
            add(format!("password of {uid}"), password.expose());
            add(format!("password and PACK of {uid}"), &[&password.expose()[..], pack.expose()].concat());
            add(format!("3DES key of {uid}"), keys.ultralight_c_key().expose());
        }
    }
    all
}

/// The longest secret that turns up by chance where there is much data: it is looked for as text that stands alone.
const SHORT: usize = 4;

/// How people and programs write bytes.
pub fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let join = |each: &dyn Fn(&u8) -> String, between: &str| {
        secret.iter().map(each).collect::<Vec<_>>().join(between).into_bytes()
    };
    let mut forms = BTreeSet::new();
    for between in ["", " ", ":", "-", ", ", ","] {
        forms.insert(join(&|byte| format!("{byte:02x}"), between));
        forms.insert(join(&|byte| format!("{byte:02X}"), between));
        if !between.is_empty() {
            forms.insert(join(&|byte| byte.to_string(), between));
            forms.insert(join(&|byte| format!("{byte:x}"), between));
            forms.insert(join(&|byte| format!("{byte:X}"), between));
            forms.insert(join(&|byte| format!("0x{byte:02x}"), between));
            forms.insert(join(&|byte| format!("0x{byte:02X}"), between));
        }
    }
    // Words of two bytes, as hex dumps print them, an escaped string, and `{:#?}`.
    for upper in [false, true] {
        let words = secret.chunks(2).map(|word| {
            word.iter()
                .map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") })
                .collect::<String>()
        });
        forms.insert(words.collect::<Vec<_>>().join(" ").into_bytes());
    }
    for indent in (2..=16).step_by(2) {
        forms.insert(join(&|byte| byte.to_string(), &format!(",\n{}", " ".repeat(indent))));
    }
    if secret.len() <= SHORT {
        return forms.into_iter().collect();
    }
    forms.insert(secret.to_vec());
    forms.insert(secret.escape_ascii().to_string().into_bytes());
    // Base64 alone, and within something longer: what the bytes give at each of the three places in a group, less the
    // letters that depend on the neighbours.
    for engine in [&STANDARD, &URL_SAFE] {
        for lead in 0..3 {
            let text = engine.encode([&vec![0; lead], secret].concat());
            let first = (lead * 8).div_ceil(6);
            let end = (lead + secret.len()) * 8 / 6;
            forms.insert(text.as_bytes()[first..end].to_vec());
        }
    }
    forms.into_iter().collect()
}

/// Whether no further letter or digit stands at either end.
fn stands_alone(bytes: &[u8], at: usize, len: usize) -> bool {
    let is_free = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    is_free(at.checked_sub(1)) && is_free(Some(at + len))
}

/// Finds secrets in bytes.
pub struct Search {
    /// Name of the secret, and a form of it; by the first two bytes of the form.
    needles: Vec<Vec<(String, Vec<u8>)>>,
}

impl Search {
    pub fn new(secrets: &[Secret]) -> Self {
        let mut needles = vec![Vec::new(); 1 << 16];
        for secret in secrets {
            for form in forms(&secret.bytes) {
                let name = format!("{} as {:?}", secret.name, String::from_utf8_lossy(&form));
                needles[usize::from(form[0]) << 8 | usize::from(form[1])].push((name, form));
            }
        }
        Self { needles }
    }

    /// What is in these bytes, each with where.
    pub fn hits(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let mut hits = Vec::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            for (name, form) in &self.needles[usize::from(pair[0]) << 8 | usize::from(pair[1])] {
                if bytes[at..].starts_with(form) && (form.len() > 2 * SHORT || stands_alone(bytes, at, form.len())) {
                    hits.push(format!("{place}, byte {at}: {name}"));
                }
            }
        }
        hits
    }

    /// The same for a file; an archive is looked into too.
    pub fn hits_in_file(&self, file: &Path) -> Vec<String> {
        let place = file.display().to_string();
        let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{place}: {error}"));
        let mut hits = self.hits(&place, &bytes);
        if bytes.starts_with(&[0x1F, 0x8B]) {
            let mut unpacked = Vec::new();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
            hits.extend(self.hits(&format!("{place} unpacked"), &unpacked));
        }
        hits
    }

    /// The same for all regular files below a directory but these names.
    pub fn hits_below(&self, directory: &Path, but: &[&str], files: &mut usize) -> Vec<String> {
        let mut hits = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let (path, about) = (entry.path(), entry.file_type().unwrap());
            if about.is_dir() {
                hits.extend(self.hits_below(&path, but, files));
            } else if about.is_file() && !but.iter().any(|but| entry.file_name() == *but) {
                hits.extend(self.hits_in_file(&path));
                *files += 1;
            }
        }
        hits
    }
}
