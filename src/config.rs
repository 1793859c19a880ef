//! The configuration file: read once, checked whole, unknown keys refused with file, line and key.

use encoder_protocols::dialect::{READERS, Reader, reader};
use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::layout::form::Place;
use encoder_protocols::layout::ndef::Ndef;
use jiff::SignedDuration;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the file lies unless something else is said.
pub const DEFAULT_PATH: &str = "/etc/encoderd/encoderd.toml";

/// The control socket's name in the runtime or state directory.
const CONTROL_SOCKET: &str = "encoderd.sock";

/// Where systemd makes the service's runtime directory.
const SERVICE_RUNTIME_DIR: &str = "/run/encoderd";

/// The environment variable that names another file.
pub const PATH_VARIABLE: &str = "ENCODERD_CONFIG";

/// The environment variable that holds the embedded hub's API key.
pub const API_KEY_VARIABLE: &str = "ENCODERD_API_KEY";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong kind. The text names line and key.
    #[error("{path}: {source}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be meant.
    #[error("{path}: {key}: {problem}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key, such as `serial[0].dialect`.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// Everything that can be configured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[cloud]`; absent: the embedded hub.
    pub cloud: Option<Cloud>,
    /// `[hub]`
    pub hub: Hub,
    /// `[desk]`
    pub desk: Desk,
    /// `[discovery]`
    pub discovery: Discovery,
    /// `[card]`
    pub card: Card,
    /// `[[serial]]`
    pub serial: Vec<SerialPort>,
    /// `[property]`
    pub property: Option<Property>,
    /// `[backup]`
    pub backup: Backup,
    /// `[retention]`
    pub retention: Retention,
    /// The file that it was read from; none: there is none, and everything has its default.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// `[daemon]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// Where links, journal, keys and the embedded hub's database live.
    pub state_dir: PathBuf,
    /// How long an attempt waits for a card. The whole deadline is five seconds more.
    #[serde(deserialize_with = "duration")]
    pub card_wait: Duration,
    /// Where a daemon without an embedded hub serves `/healthz`, `/readyz` and `/metrics`; absent: nowhere.
    pub status_listen: Option<SocketAddr>,
}

impl Default for Daemon {
    fn default() -> Self {
        Self { state_dir: PathBuf::from("/var/lib/encoderd"), card_wait: Duration::from_secs(8), status_listen: None }
    }
}

/// `[cloud]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// The hub's address.
    pub url: String,
    /// The file that holds the bridge token.
    pub token_file: PathBuf,
    /// The file that holds an API key of the account, to pick its encoders by their names.
    pub api_key_file: Option<PathBuf>,
}

/// `[hub]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hub {
    /// Address and port to serve on.
    pub listen: SocketAddr,
    /// Its database; absent: `hub.db` in the state directory.
    pub database: Option<String>,
    /// Whether the simulation endpoints are there.
    pub allow_simulate: bool,
    /// Whether webhooks may go to loopback and private addresses.
    pub webhook_allow_private: bool,
    /// How many requests a second each key may make; 0: without a bound.
    pub requests_per_second: u32,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8765)),
            database: None,
            allow_simulate: false,
            webhook_allow_private: false,
            requests_per_second: 1000,
        }
    }
}

/// `[desk]`: the clerk's page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Desk {
    /// What is asked for on this PC before the page does anything; absent: nothing.
    #[serde(deserialize_with = "pin")]
    pub pin: Option<SecretString>,
}

/// `[discovery]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Which serial ports are looked at.
    pub serial: SerialDiscovery,
    /// Whether PC/SC readers are looked at.
    pub pcsc: bool,
    /// Whether the first sight of a device makes an encoder for it; absent: only with the embedded hub.
    pub auto_link: Option<bool>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { serial: SerialDiscovery::Known, pcsc: true, auto_link: None }
    }
}

/// Which serial ports are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SerialDiscovery {
    /// Configured ports, and products that are known to be encoders.
    Known,
    /// Configured ports only.
    Configured,
    /// None.
    Off,
}

/// `[card]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Card {
    /// What happens to a blank card.
    pub personalize: Personalize,
    /// Ask for a lifted and replaced card before each encode.
    pub require_new_presentation: bool,
    /// A web address that phones are shown by NTAG cards, in front of the credential.
    pub ndef: Option<WebAddress>,
}

impl Default for Card {
    fn default() -> Self {
        Self { personalize: Personalize::Auto, require_new_presentation: false, ndef: None }
    }
}

/// A web address that fits a card, as the message that phones read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebAddress(pub Ndef);

impl TryFrom<String> for WebAddress {
    type Error = String;

    fn try_from(address: String) -> Result<Self, String> {
        let ndef = Ndef::uri(&address).map_err(|error| format!("card.ndef: {error}"))?;
        // The smallest room in front of the slots is an NTAG213's.
        match ndef.to_pages(Place::of(Type2Kind::Ntag213, true)) {
            Some(_) => Ok(Self(ndef)),
            None => Err("card.ndef: the address does not fit an NTAG213; take a shorter one".to_owned()),
        }
    }
}

/// What happens to a blank card on its first encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Personalize {
    /// It is personalised.
    Auto,
    /// It is refused.
    Manual,
}

/// `[[serial]]`: a port that discovery cannot know.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "SerialPortText")]
pub struct SerialPort {
    /// Which port.
    pub at: SerialAt,
    /// How the reader on it speaks.
    pub dialect: Reader,
    /// Line speed after power-up in bits a second; absent: the dialect's own.
    pub baud: Option<u32>,
    /// The encoder's name; absent: the product's.
    pub name: Option<String>,
}

/// Which port a `[[serial]]` means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SerialAt {
    /// `path`: a node or a link to one.
    Path(PathBuf),
    /// `usb_serial`: the port of the USB device that says this serial number.
    UsbSerial(String),
    /// `usb_port`: the port of the USB device in this socket, such as `1-1.2`.
    UsbPort(String),
}

impl SerialAt {
    /// The configured path, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::UsbSerial(_) | Self::UsbPort(_) => None,
        }
    }

    fn key(&self) -> &'static str {
        match self {
            Self::Path(_) => "path",
            Self::UsbSerial(_) => "usb_serial",
            Self::UsbPort(_) => "usb_port",
        }
    }
}

impl fmt::Display for SerialAt {
    /// The path; else key and value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::UsbSerial(text) | Self::UsbPort(text) => write!(f, "{}={text}", self.key()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SerialPortText {
    path: Option<PathBuf>,
    usb_serial: Option<String>,
    usb_port: Option<String>,
    #[serde(deserialize_with = "dialect")]
    dialect: Reader,
    baud: Option<u32>,
    name: Option<String>,
}

impl TryFrom<SerialPortText> for SerialPort {
    type Error = &'static str;

    fn try_from(text: SerialPortText) -> Result<Self, Self::Error> {
        let at = match (text.path, text.usb_serial, text.usb_port) {
            (Some(path), None, None) => SerialAt::Path(path),
            (None, Some(serial), None) => SerialAt::UsbSerial(serial.trim().to_owned()),
            (None, None, Some(port)) => SerialAt::UsbPort(port.trim().to_owned()),
            (None, None, None) => return Err("[[serial]] needs one of path, usb_serial and usb_port"),
            (_, _, _) => return Err("[[serial]] takes only one of path, usb_serial and usb_port"),
        };
        Ok(Self { at, dialect: text.dialect, baud: text.baud, name: text.name })
    }
}

/// `[property]`: what the embedded hub serves as its access system.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// The property's name.
    pub name: String,
    /// Its IANA time zone.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Its doors.
    #[serde(default)]
    pub entrances: Vec<Entrance>,
}

/// `[backup]`: the copies that are made by themselves, and what opens the secrets of every backup.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Whether one is made each day.
    pub nightly: bool,
    /// When, in the property's time.
    #[serde(deserialize_with = "time_of_day")]
    pub at: jiff::civil::Time,
    /// Where to; absent: `backups` in the state directory.
    pub directory: Option<PathBuf>,
    /// How many are kept.
    pub keep: u32,
    /// The file with the passphrase; absent: backups hold no secrets.
    pub passphrase_file: Option<PathBuf>,
}

impl Default for Backup {
    fn default() -> Self {
        let at = jiff::civil::time(3, 30, 0, 0);
        Self { nightly: true, at, directory: None, keep: 14, passphrase_file: None }
    }
}

/// `[retention]`: for how many days a hub keeps what happened; 0: for ever.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Events.
    pub events_days: u32,
    /// Action attempts.
    pub attempts_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events_days: 90, attempts_days: 90 }
    }
}

/// One door.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entrance {
    /// Its name, such as `Room 101`.
    pub name: String,
    /// Its number, as locks and cards know it.
    pub door: u16,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| serde::de::Error::custom(format!("\"{text}\" is not a duration; write it like \"8s\"")))
}

fn time_of_day<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<jiff::civil::Time, D::Error> {
    let text = String::deserialize(deserializer)?;
    jiff::civil::Time::strptime("%H:%M", &text)
        .map_err(|_| serde::de::Error::custom(format!("\"{text}\" is not a time of day; write it like \"03:30\"")))
}

fn pin<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_pin = (4..=12).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    // What was written there is not repeated: logs and terminals keep it.
    is_pin.then(|| Some(text.into())).ok_or_else(|| serde::de::Error::custom("a PIN has 4 to 12 digits"))
}

fn dialect<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Reader, D::Error> {
    let text = String::deserialize(deserializer)?;
    reader(&text).copied().ok_or_else(|| {
        let known: Vec<_> = READERS.iter().map(|reader| reader.dialect).collect();
        serde::de::Error::custom(format!("unknown dialect \"{text}\"; known are: {}", known.join(", ")))
    })
}

impl Config {
    /// Reads the file that the command line or `ENCODERD_CONFIG` names, else the default one. Only the default one
    /// may be missing: then everything has its default.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = Self::path(named);
        let may_be_missing = path == Path::new(DEFAULT_PATH);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let config = Self::parse(&text, &path)?;
                Ok(Self { file: Some(path), ..config })
            }
            Err(error) if may_be_missing && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }

    /// Where the file is looked for.
    pub fn path(named: Option<&Path>) -> PathBuf {
        let variable = || std::env::var_os(PATH_VARIABLE).map(PathBuf::from);
        named.map(Path::to_path_buf).or_else(variable).unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
    }

    /// Reads a configuration from its text; `path` is for the errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Malformed { path: path.to_path_buf(), source: Box::new(source) })?;
        config.check().map_err(|(key, problem)| ConfigError::Invalid { path: path.to_path_buf(), key, problem })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wait = self.daemon.card_wait;
        if wait.is_zero() || wait > Duration::from_mins(2) {
            return Err(("daemon.card_wait".into(), "must lie between 1ms and 120s".into()));
        }
        let mut ports = BTreeSet::new();
        for (index, port) in self.serial.iter().enumerate() {
            let key = format!("serial[{index}].{}", port.at.key());
            match &port.at {
                SerialAt::UsbSerial(text) | SerialAt::UsbPort(text) if text.is_empty() => {
                    return Err((key, "must not be empty; `encoderd probe` shows what is plugged in".into()));
                }
                SerialAt::Path(_) | SerialAt::UsbSerial(_) | SerialAt::UsbPort(_) => {}
            }
            if !ports.insert(&port.at) {
                return Err((key, format!("{} is configured twice", port.at)));
            }
            if port.baud == Some(0) {
                return Err((format!("serial[{index}].baud"), "must be a line speed such as 115200".into()));
            }
            if port.name.as_deref().is_some_and(|name| name.trim().is_empty()) {
                return Err((format!("serial[{index}].name"), "must not be empty; leave it out instead".into()));
            }
        }
        if let Some(cloud) = &self.cloud {
            let url = reqwest::Url::parse(&cloud.url)
                .map_err(|error| ("cloud.url".into(), format!("\"{}\" is not an address: {error}", cloud.url)))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(("cloud.url".into(), "must start with https:// (or http:// for a hub on this PC)".into()));
            }
        }
        if let Some(property) = &self.property {
            check_property(property)?;
        }
        if self.backup.keep == 0 {
            return Err(("backup.keep".into(), "must be 1 or more; `nightly = false` makes none".into()));
        }
        Ok(())
    }

    /// Whether the first sight of a device makes an encoder for it.
    pub fn auto_link(&self) -> bool {
        self.discovery.auto_link.unwrap_or(self.cloud.is_none())
    }

    /// The hub's database.
    pub fn hub_database(&self) -> String {
        self.hub
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.daemon.state_dir.join("hub.db").display()))
    }

    /// Where the nightly backups are kept.
    pub fn backup_directory(&self) -> PathBuf {
        self.backup.directory.clone().unwrap_or_else(|| self.daemon.state_dir.join("backups"))
    }

    /// Where the daemon makes its control socket: in the runtime directory that the service manager made, else beside
    /// the state.
    pub fn control_socket(&self) -> PathBuf {
        std::env::var_os("RUNTIME_DIRECTORY")
            .map_or_else(|| self.daemon.state_dir.clone(), PathBuf::from)
            .join(CONTROL_SOCKET)
    }

    /// Where the other commands look for the daemon's control socket. They are not told of the service's runtime
    /// directory, so they look at its usual place too.
    pub fn running_control_socket(&self) -> PathBuf {
        let own = self.control_socket();
        let service = Path::new(SERVICE_RUNTIME_DIR).join(CONTROL_SOCKET);
        if !own.exists() && service.exists() { service } else { own }
    }
}

fn check_property(property: &Property) -> Result<(), (String, String)> {
    if property.name.trim().is_empty() {
        return Err(("property.name".into(), "must not be empty".into()));
    }
    if jiff::tz::TimeZone::get(&property.time_zone).is_err() {
        let problem = format!("\"{}\" is not an IANA time zone such as Europe/Zurich", property.time_zone);
        return Err(("property.time_zone".into(), problem));
    }
    let mut doors = BTreeSet::new();
    for (index, entrance) in property.entrances.iter().enumerate() {
        if entrance.name.trim().is_empty() {
            return Err((format!("property.entrances[{index}].name"), "must not be empty".into()));
        }
        if !doors.insert(entrance.door) {
            let problem = format!("door {} is there twice", entrance.door);
            return Err((format!("property.entrances[{index}].door"), problem));
        }
    }
    Ok(())
}

/// The embedded hub's API key from the environment, if it is there.
pub fn api_key_from_environment() -> Result<Option<SecretString>, String> {
    match std::env::var(API_KEY_VARIABLE) {
        Ok(key) if is_api_key(&key) => Ok(Some(key.into())),
        Ok(_) => Err(format!(
            "{API_KEY_VARIABLE} must start with `seam_`, have 16 characters or more, letters, digits and `_` only, and \
             not start with `seam_at`, `seam_cst` or `seam_pk`, which are other kinds of tokens: the SDKs refuse those"
        )),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{API_KEY_VARIABLE} is not text")),
    }
}

/// What the Seam SDKs take for an API key. Source: `seam` 3.18.0 for Python and 1.245.0 for JavaScript, the checks of their tokens.
fn is_api_key(key: &str) -> bool {
    key.starts_with("seam_")
        && key.len() >= 16
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !["seam_at", "seam_cst", "seam_pk"].iter().any(|other| key.starts_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("encoderd.toml")).unwrap_err().to_string()
    }

    #[test]
    fn the_documented_example_is_accepted() {
        let config = Config::parse(include_str!("../tests/support/encoderd.toml"), Path::new("x")).unwrap();
        assert_eq!(config.serial[0].dialect.dialect, "pn532");
        assert_eq!(config.daemon.card_wait, Duration::from_secs(8));
        assert!(!config.auto_link());
        assert_eq!(config.property.unwrap().entrances[1].door, 102);
    }

    #[test]
    fn an_unknown_key_is_named_with_file_and_line() {
        let text = error("[daemon]\nstate_dir = \"/tmp\"\ncard_wate = \"8s\"\n");
        assert!(text.contains("encoderd.toml") && text.contains("line 3") && text.contains("card_wate"), "{text}");
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused_with_their_key() {
        for (text, expected) in [
            ("[daemon]\ncard_wait = \"8 parsecs\"", "8 parsecs"),
            ("[daemon]\ncard_wait = \"0s\"", "daemon.card_wait"),
            ("[desk]\npin = \"123\"", "4 to 12 digits"),
            ("[desk]\npin = \"12345x\"", "4 to 12 digits"),
            ("[[serial]]\npath = \"/dev/x\"\ndialect = \"pn535\"", "pn532"),
            ("[[serial]]\npath = \"/dev/x\"\ndialect = \"pn532\"\nbaud = 0", "serial[0].baud"),
            ("[[serial]]\ndialect = \"pn532\"", "needs one of path, usb_serial and usb_port"),
            (
                "[[serial]]\npath = \"/dev/x\"\nusb_port = \"1-1\"\ndialect = \"pn532\"",
                "only one of path, usb_serial and usb_port",
            ),
            ("[[serial]]\nusb_port = \" \"\ndialect = \"pn532\"", "serial[0].usb_port"),
            (
                "[[serial]]\nusb_serial = \"A1\"\ndialect = \"pn532\"\n[[serial]]\nusb_serial = \"A1\"\ndialect = \"pn532\"",
                "serial[1].usb_serial",
            ),
            ("[[serial]]\nusb_prot = \"1-1\"\ndialect = \"pn532\"", "usb_prot"),
            ("[cloud]\nurl = \"ftp://x\"\ntoken_file = \"t\"", "cloud.url"),
            ("[property]\nname = \"H\"\ntime_zone = \"Mars/Olympus\"", "property.time_zone"),
            ("[card]\nndef = \"hotel.example\"", "card.ndef"),
            (&format!("[card]\nndef = \"https://{}\"", "a".repeat(100)), "shorter"),
            ("[backup]\nat = \"half past three\"", "03:30"),
            ("[backup]\nkeep = 0", "backup.keep"),
            ("[retention]\nevents_days = -1", "events_days"),
            (
                "[property]\nname = \"H\"\nentrances = [{name=\"a\",door=1},{name=\"b\",door=1}]",
                "property.entrances[1].door",
            ),
            ("[property]\nname = \"H\"\nentrances = [{name=\"a\",door=70000}]", "70000"),
        ] {
            assert!(error(text).contains(expected), "{}", error(text));
        }
    }

    #[test]
    fn an_api_key_is_one_that_the_sdks_take() {
        assert!(is_api_key("seam_1234567890abcdef"));
        for other in
            ["seam_short", "my_own_key_of_length", "seam_at1234567890", "seam_cst1234567890", "seam_pk1234567890"]
        {
            assert!(!is_api_key(other), "{other}");
        }
        assert!(!is_api_key("seam_with a blank in it") && !is_api_key("seam_line\nbreak_1234"));
    }

    #[test]
    fn a_named_file_must_exist() {
        let missing = Path::new("/nonexistent/encoderd.toml");
        assert!(matches!(Config::load(Some(missing)), Err(ConfigError::Unreadable { .. })));
    }
}
