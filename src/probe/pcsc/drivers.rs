//! The drivers of pcscd, as their `Info.plist` describes them: which USB devices each takes, and by which name.
//!
//! Source: pcsc-lite 2.5.1, `hotplug_libudev.c`: a device is matched by vendor and product id against these lists and by
//! nothing else, a driver of its own before the class driver, and its reader is named by `ifdFriendlyName`.

use std::path::{Path, PathBuf};

/// Where distributions have pcscd look for drivers.
const FOLDERS: &[&str] = &["usr/lib/pcsc/drivers", "usr/lib64/pcsc/drivers", "usr/local/lib/pcsc/drivers"];

/// What the class driver, libccid, is called inside.
const CLASS_DRIVER: &str = "CCIDCLASSDRIVER";

/// Bit 0 of `ifdDriverOptions`: escape commands pass. Source: libccid 1.5.2, comments of its `Info.plist`.
const ESCAPE_ALLOWED: u32 = 0x0001;

/// A driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Driver {
    /// Its bundle's name, such as `ifd-ccid`.
    pub(in crate::probe) name: String,
    /// The file that describes it, no symbolic link.
    pub(in crate::probe) plist: PathBuf,
    /// It takes what no other driver takes.
    pub(in crate::probe) takes_a_class: bool,
    /// `ifdDriverOptions`.
    pub(in crate::probe) options: u32,
    /// The readers that it knows.
    pub(in crate::probe) readers: Vec<Known>,
}

/// A reader that a driver knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Known {
    /// USB vendor and product id.
    pub(in crate::probe) ids: (u16, u16),
    /// What its name in PC/SC starts with.
    pub(in crate::probe) name: String,
}

impl Driver {
    /// Whether escape commands pass: lamp, buzzer and firmware without a card.
    pub(in crate::probe) fn lets_escapes_pass(&self) -> bool {
        self.options & ESCAPE_ALLOWED != 0
    }

    /// The options with escape commands allowed.
    pub(in crate::probe) fn options_with_escapes(&self) -> u32 {
        self.options | ESCAPE_ALLOWED
    }
}

/// The driver that pcscd would take for a device with these ids, and the name that its reader gets.
pub(in crate::probe) fn driver_of(drivers: &[Driver], ids: (u16, u16)) -> Option<(&Driver, &str)> {
    let mut own_first: Vec<&Driver> = drivers.iter().collect();
    own_first.sort_by_key(|driver| driver.takes_a_class);
    own_first.into_iter().find_map(|driver| {
        let known = driver.readers.iter().find(|known| known.ids == ids)?;
        Some((driver, known.name.as_str()))
    })
}

/// The drivers below this root.
pub(super) fn installed(root: &Path) -> Vec<Driver> {
    let mut drivers = Vec::new();
    for folder in FOLDERS {
        let Ok(bundles) = std::fs::read_dir(root.join(folder)) else { continue };
        let mut bundles: Vec<PathBuf> = bundles.flatten().map(|bundle| bundle.path()).collect();
        bundles.sort();
        for bundle in bundles {
            let plist = without_link(root, bundle.join("Contents/Info.plist"));
            let Ok(text) = std::fs::read_to_string(&plist) else { continue };
            let name = bundle.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            drivers.push(described(name, plist, &text));
        }
    }
    drivers
}

/// The file itself: Debian has a link in the bundle, and an editor that writes a new file would replace the link.
fn without_link(root: &Path, path: PathBuf) -> PathBuf {
    match std::fs::read_link(&path) {
        Ok(to) => match to.strip_prefix("/") {
            Ok(absolute) => root.join(absolute),
            Err(_) => path.parent().map_or(to.clone(), |folder| folder.join(&to)),
        },
        Err(_) => path,
    }
}

fn described(name: String, plist: PathBuf, text: &str) -> Driver {
    let text = without_comments(text);
    let all = |key| strings(&text, key);
    let number = |text: &String| u16::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let options = all("ifdDriverOptions").first().map(|text| text.trim_start_matches("0x").to_owned());
    let (vendors, products, names) = (all("ifdVendorID"), all("ifdProductID"), all("ifdFriendlyName"));
    let readers = vendors.iter().zip(&products).zip(&names).filter_map(|((vendor, product), name)| {
        Some(Known { ids: (number(vendor)?, number(product)?), name: name.clone() })
    });
    Driver {
        name,
        plist,
        takes_a_class: all("CFBundleName").first().is_some_and(|name| name == CLASS_DRIVER),
        options: options.and_then(|text| u32::from_str_radix(&text, 16).ok()).unwrap_or(0),
        readers: readers.collect(),
    }
}

/// The strings of a key: one, or those of an array. Property lists of pcscd's drivers have nothing else.
fn strings(text: &str, key: &str) -> Vec<String> {
    let Some((_, after)) = text.split_once(&format!("<key>{key}</key>")) else { return Vec::new() };
    let of_this_key = after.split_once("<key>").map_or(after, |(value, _)| value);
    let parts = of_this_key.split("<string>").skip(1);
    parts.filter_map(|part| part.split_once("</string>")).map(|(value, _)| unescaped(value.trim())).collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let mut left = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        left += part.split_once("-->").map_or("", |(_, after)| after);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const ACR122U: (u16, u16) = (0x072F, 0x2200);

    fn plist(class_name: &str, options: &str, name: &str) -> String {
        format!(
            "<dict><key>CFBundleName</key>\n<string>{class_name}</string>
            <key>ifdDriverOptions</key><string>{options}</string>
            <!-- <key>ifdVendorID</key> <array><string>0xFFFF</string></array> -->
            <key>ifdVendorID</key><array><string>0x08E6</string><string>0x072F</string></array>
            <key>ifdProductID</key><array><string>0x2202</string><string>0x2200</string></array>
            <key>ifdFriendlyName</key><array><string>Gem &amp; Twin</string><string>{name}</string></array></dict>"
        )
    }

    fn bundle(root: &Path, name: &str) -> PathBuf {
        let contents = root.join("usr/lib/pcsc/drivers").join(name).join("Contents");
        fs::create_dir_all(&contents).unwrap();
        contents.join("Info.plist")
    }

    #[test]
    fn a_driver_of_its_own_goes_before_the_class_driver() {
        let root = tempfile::tempdir().unwrap();
        fs::write(bundle(root.path(), "ifd-ccid.bundle"), plist(CLASS_DRIVER, "0x0000", "ACS ACR122U PICC Interface"))
            .unwrap();
        let found = installed(root.path());
        assert_eq!(driver_of(&found, ACR122U).unwrap().1, "ACS ACR122U PICC Interface");
        assert_eq!(driver_of(&found, (0x08E6, 0x2202)).unwrap().1, "Gem & Twin");
        assert_eq!(driver_of(&found, (0xFFFF, 0x2202)), None, "it is in a comment");
        fs::write(bundle(root.path(), "zz-acs.bundle"), plist("ACSCCID", "0x0001", "ACS ACR122U")).unwrap();
        let found = installed(root.path());
        let (driver, name) = driver_of(&found, ACR122U).unwrap();
        assert_eq!((driver.name.as_str(), name, driver.lets_escapes_pass()), ("zz-acs", "ACS ACR122U", true));
    }

    #[test]
    fn the_file_behind_the_link_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        let file = root.path().join("etc/libccid_Info.plist");
        fs::write(&file, plist(CLASS_DRIVER, "0x0004", "ACS ACR122U PICC Interface")).unwrap();
        symlink("/etc/libccid_Info.plist", bundle(root.path(), "ifd-ccid.bundle")).unwrap();
        let found = installed(root.path());
        assert_eq!((found[0].plist.clone(), found[0].options), (file, 4));
        assert!(!found[0].lets_escapes_pass());
        assert_eq!(found[0].options_with_escapes(), 5);
    }

    #[test]
    fn the_driver_that_pcscd_has_on_this_machine_is_understood() {
        let found = installed(Path::new("/"));
        let (driver, name) =
            driver_of(&found, ACR122U).expect("libccid comes with pcscd; `make setup-test` installs it");
        // As libccid 1.5.2 has it; a driver of ACS's own may be installed as well.
        assert!(name.starts_with("ACS ACR122U"), "{name}");
        assert!(driver.readers.len() > 1, "{driver:?}");
    }
}
