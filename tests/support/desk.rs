//! A front desk for tests: the built program with a configuration of its own, virtual encoders, the API. A test binary
//! says with its `READERS` whether its encoders are on ptys or behind a private pcscd.
#![allow(dead_code, reason = "each test binary uses its part")]

#[path = "pcscd.rs"]
pub mod pcscd;

use crate::READERS;
use encoderd::control::{Answer, Request, StatusAnswer, ask};
use pcscd::Pcscd;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_encoderd");

/// How long a state may take to come about before a test gives up. Not a measure of speed: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How a test binary's virtual encoders are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// PN532 on ptys.
    Serial,
    /// Readers of this profile, on the virtual USB bus of a private pcscd.
    Pcsc {
        /// Which.
        profile: &'static str,
    },
}

/// A PC/SC reader on the virtual bus.
pub struct ReaderSetup<'a> {
    pub profile: &'a str,
    pub usb_port: String,
    pub serial: Option<&'a str>,
}

/// A virtual encoder, in a process of its own.
pub struct VirtualEncoder {
    child: Child,
    /// The path of its pty, or its serial number on USB.
    pub link: PathBuf,
    /// Its control socket.
    pub control: PathBuf,
}

impl VirtualEncoder {
    /// Plugs one in.
    pub fn start(directory: &Path, name: &str, card: Option<&str>, options: &[&str]) -> Self {
        let link = directory.join(format!("{name}.tty"));
        let control = directory.join(format!("{name}.sock"));
        let mut command = Command::new(PROGRAM);
        command.args(["emulate", "pn532", "--link"]).arg(&link).arg("--control").arg(&control).args(options);
        if let Some(card) = card {
            command.args(["--card", card]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut path = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut path).expect("the emulator prints its path");
        assert!(path.starts_with("/dev/pts/"), "{path}");
        Self { child, link, control }
    }

    /// Plugs a PC/SC reader in at this port of the virtual bus.
    pub fn start_reader(
        bus: &Path,
        name: &str,
        reader: &ReaderSetup<'_>,
        card: Option<&str>,
        options: &[&str],
    ) -> Self {
        let control = bus.join(format!("{name}.sock"));
        let mut command = Command::new(PROGRAM);
        command.args(["emulate", "pcsc", "--profile", reader.profile, "--usb-port", &reader.usb_port]);
        command.arg("--bus").arg(bus).arg("--control").arg(&control).args(options);
        if let Some(serial) = reader.serial {
            command.args(["--serial", serial]);
        }
        if let Some(card) = card {
            command.args(["--card", card]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut first).expect("the emulator says where it is");
        assert!(!first.trim().is_empty(), "the emulator ended at its start");
        Self { child, link: PathBuf::from(name), control }
    }

    /// Whether this is its port, as the API shows it.
    pub fn is_at(&self, port: &str) -> bool {
        let name = self.link.to_string_lossy();
        port == name || port.contains(&format!("({name})"))
    }

    /// Sends one control command, expects `ok …`, returns what follows.
    pub fn control(&self, command: &str) -> String {
        let answer = self.ask(command);
        let Some(rest) = answer.strip_prefix("ok") else { panic!("{command}: {answer}") };
        rest.trim().to_owned()
    }

    fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(&self.control).expect("the control socket is there");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{command}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let stats: Value = serde_json::from_str(&self.ask("stats")).expect("stats are JSON");
        let count = |name: &str| stats[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"));
        Stats {
            round_trips: count("round_trips"),
            bytes_in: count("bytes_in"),
            bytes_out: count("bytes_out"),
            writes: count("writes"),
            auths: count("auths"),
            detects: count("detects"),
        }
    }

    /// The memory of the card that lies there, or that last lay there.
    pub fn dump(&self) -> Vec<u8> {
        let file = self.control.with_extension("mfd");
        self.control(&format!("dump {}", file.display()));
        std::fs::read(file).unwrap()
    }
}

impl Drop for VirtualEncoder {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What an emulator counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    pub round_trips: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub writes: u64,
    pub auths: u64,
    pub detects: u64,
}

impl Stats {
    /// What was counted since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            round_trips: self.round_trips - before.round_trips,
            bytes_in: self.bytes_in - before.bytes_in,
            bytes_out: self.bytes_out - before.bytes_out,
            writes: self.writes - before.writes,
            auths: self.auths - before.auths,
            detects: self.detects - before.detects,
        }
    }

    /// Round trips since `before` of one job that looked for its card `detects` times; what the presence watch did
    /// meanwhile, one search a look, is left out.
    pub fn job_round_trips(self, before: Self, detects: u64) -> u64 {
        (self.round_trips - before.round_trips) - (self.detects - before.detects) + detects
    }
}

/// A daemon on another PC: it works for a desk's hub.
pub struct RemoteDesk {
    pub encoder: VirtualEncoder,
    pub state_dir: PathBuf,
    daemon: Child,
}

impl RemoteDesk {
    /// Starts it with one encoder, "Remote", with a blank card on it. It does not yet have the property's card key.
    pub fn start(hub: &Desk, card_key: Option<&Path>, options: &[&str]) -> Self {
        let directory = hub.directory.path().join("remote");
        let state_dir = directory.join("state");
        std::fs::create_dir(&directory).unwrap();
        let encoder = VirtualEncoder::start(&directory, "remote", Some("classic-1k:0badcafe"), options);
        let config = format!(
            "[daemon]\nstate_dir = \"{}\"\n[cloud]\nurl = \"{}\"\ntoken_file = \"{}\"\n\
             [discovery]\nauto_link = true\n[[serial]]\npath = \"{}\"\ndialect = \"pn532\"\nname = \"Remote\"\n",
            state_dir.display(),
            hub.url,
            hub.state_dir().join("bridge-token").display(),
            encoder.link.display()
        );
        let file = directory.join("encoderd.toml");
        std::fs::write(&file, config).unwrap();
        if let Some(key) = card_key {
            let import = Command::new(PROGRAM).args(["keys", "import"]).arg(key).arg("--config").arg(&file).status();
            assert!(import.unwrap().success());
        }
        let daemon = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(&file)
            .envs(pcsc_environment(&directory, None))
            .spawn()
            .unwrap();
        Self { encoder, state_dir, daemon }
    }
}

impl Drop for RemoteDesk {
    fn drop(&mut self) {
        let _ended_already = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

/// A desk.
pub struct Desk {
    /// The PC/SC service of a desk with such readers. Ends before its directory does.
    pub pcscd: Option<Pcscd>,
    pub directory: TempDir,
    pub encoders: Vec<VirtualEncoder>,
    daemon: Option<Child>,
    log: String,
    pub url: String,
    pub key: String,
    client: reqwest::Client,
}

/// How a desk is set up.
#[derive(Default)]
pub struct Setup<'a> {
    /// Name and card of each virtual encoder.
    pub encoders: &'a [(&'a str, Option<&'a str>)],
    /// Name and card of virtual encoders on ptys, behind the others in `Desk::encoders`.
    pub on_ptys: &'a [(&'a str, Option<&'a str>)],
    /// Options for the emulators.
    pub emulator_options: &'a [&'a str],
    /// How long an attempt waits for a card.
    pub card_wait: Option<&'a str>,
    /// More configuration, whole tables.
    pub config: &'a str,
    /// What the daemon logs, where that is not everything of its own.
    pub log: Option<&'a str>,
}

impl Desk {
    /// One encoder, "Front Desk", with a blank Classic 1K on it.
    pub async fn simple() -> Self {
        Self::start(Setup { encoders: &[("Front Desk", Some("classic-1k:deadbeef"))], ..Setup::default() }).await
    }

    pub async fn start(setup: Setup<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = setup.emulator_options;
        let on_pty = |(name, card): &(&str, Option<&str>)| {
            let encoder = VirtualEncoder::start(directory.path(), &file_name(name), *card, options);
            ((*name).to_owned(), encoder)
        };
        let on_ptys = setup.on_ptys.iter();
        let (pcscd, readers, on_ptys) = match READERS {
            Readers::Serial => (None, Vec::new(), setup.encoders.iter().chain(on_ptys).map(on_pty).collect()),
            Readers::Pcsc { profile } => {
                let bus = directory.path().join("bus");
                let pcscd = Pcscd::start(&bus);
                let plug_in = |(index, (name, card)): (usize, &(&str, Option<&str>))| {
                    let file = file_name(name);
                    let reader = ReaderSetup { profile, usb_port: format!("1-{}", index + 1), serial: Some(&file) };
                    VirtualEncoder::start_reader(&bus, &file, &reader, *card, options)
                };
                let readers: Vec<VirtualEncoder> = setup.encoders.iter().enumerate().map(plug_in).collect();
                (Some(pcscd), readers, on_ptys.map(on_pty).collect::<Vec<_>>())
            }
        };
        let config = config(directory.path(), &setup, &on_ptys);
        std::fs::write(directory.path().join("encoderd.toml"), config).unwrap();
        let readers_count = readers.len();
        let encoders = readers.into_iter().chain(on_ptys.into_iter().map(|(_, encoder)| encoder)).collect();
        let mut desk = Self {
            directory,
            encoders,
            pcscd,
            daemon: None,
            log: setup.log.unwrap_or("warn,encoderd=debug").to_owned(),
            url: String::new(),
            key: String::new(),
            client: reqwest::Client::new(),
        };
        desk.start_daemon().await;
        let count = desk.encoders.len();
        desk.wait_for("all encoders online and linked", |encoders| {
            encoders.iter().filter(|encoder| encoder["state"] == "online").count() == count
        })
        .await;
        for (index, (name, _)) in setup.encoders.iter().enumerate().take(readers_count) {
            desk.rename(index, name).await;
        }
        desk
    }

    /// Names the n-th encoder, as `encoderd encoders rename` does.
    pub async fn rename(&mut self, index: usize, name: &str) {
        let status = self.status().await;
        let encoder = status.encoders.iter().find(|encoder| self.encoders[index].is_at(&encoder.port)).unwrap();
        let request = Request::Rename { device: encoder.device_id.clone(), name: name.to_owned() };
        let answer = ask(&self.state_dir().join("encoderd.sock"), &request).await;
        assert!(matches!(answer, Ok(Answer::Done)), "{answer:?}");
        self.wait_for(name, |encoders| encoders.iter().any(|encoder| encoder["display_name"] == name)).await;
    }

    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("encoderd.toml")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Starts the daemon and waits until its hub answers.
    pub async fn start_daemon(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("encoderd.log"))
            .unwrap();
        let child = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(self.config_file())
            .env("ENCODERD_LOG", &self.log)
            .envs(pcsc_environment(self.directory.path(), self.pcscd.as_ref()))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.daemon = Some(child);
        let status = self.status().await;
        self.url = status.hub_url;
        let key = std::fs::read_to_string(self.state_dir().join("api-key")).unwrap();
        self.key = key.trim().into();
    }

    /// The running daemon's view; waits for the daemon to be there.
    pub async fn status(&mut self) -> StatusAnswer {
        let socket = self.state_dir().join("encoderd.sock");
        let patience = tokio::time::Instant::now() + PATIENCE;
        loop {
            match ask(&socket, &Request::Status).await {
                Ok(Answer::Status(status)) => return status,
                Ok(other) => panic!("not a status: {other:?}"),
                Err(error) => {
                    let ended = self.daemon.as_mut().and_then(|child| child.try_wait().unwrap());
                    assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", self.log());
                    assert!(tokio::time::Instant::now() < patience, "{error}\n{}", self.log());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("encoderd.log")).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.daemon.as_ref().expect("the daemon runs"))
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// Ends the daemon with SIGTERM; returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.daemon.take().unwrap().wait().unwrap().code()
    }

    /// Has the daemon read its configuration again.
    pub fn reload(&self) {
        kill_process(self.pid(), Signal::HUP).unwrap();
    }

    /// Ends the daemon with SIGKILL.
    pub fn kill(&mut self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
        self.daemon.take().unwrap().wait().unwrap();
    }

    /// One API call: status and body.
    pub async fn call(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.key).json(&body);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()));
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// One API call that must succeed; returns what is under the key.
    pub async fn get(&self, path: &str, body: Value, key: &str) -> Value {
        let (status, answer) = self.call(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer[key].clone()
    }

    /// The encoders with their live state.
    pub async fn live(&self) -> Vec<Value> {
        let url = format!("{}/encoderd/v1/encoders", self.url);
        let answer = self.client.get(url).bearer_auth(&self.key).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body["encoders"].as_array().unwrap_or_else(|| panic!("{body}")).clone()
    }

    /// Waits for a state of the encoders.
    pub async fn wait_for(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) {
        let patience = tokio::time::Instant::now() + PATIENCE;
        loop {
            let live = self.live().await;
            if is_so(&live) {
                return;
            }
            assert!(tokio::time::Instant::now() < patience, "{what}: {live:#?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a card with this UID (or none) lies on the n-th encoder.
    pub async fn wait_for_card(&self, index: usize, uid: Option<&str>) {
        let id = self.encoder(index).await;
        self.wait_for(&format!("card {uid:?} on encoder {index}"), |encoders| {
            encoders.iter().any(|encoder| {
                encoder["acs_encoder_id"] == id.as_str()
                    && encoder["card_number"] == json!(uid)
                    && encoder["presence"] == if uid.is_some() { "present" } else { "absent" }
            })
        })
        .await;
    }

    /// The id of the n-th encoder, in the order of the setup.
    pub async fn encoder(&self, index: usize) -> String {
        let meant = &self.encoders[index];
        let is_it = |encoder: &&Value| encoder["port"].as_str().is_some_and(|port| meant.is_at(port));
        // After a restart the hub hears of the encoders in a moment.
        self.wait_for(&format!("encoder {index}"), |encoders| encoders.iter().any(|encoder| is_it(&encoder))).await;
        let live = self.live().await;
        let encoder = live.iter().find(is_it).unwrap_or_else(|| panic!("{} in {live:#?}", meant.link.display()));
        encoder["acs_encoder_id"].as_str().unwrap().to_owned()
    }

    /// Makes a card credential for so many doors; returns its id.
    pub async fn credential(&self, doors: usize) -> String {
        let system = self.get("/acs/systems/list", json!({}), "acs_systems").await[0]["acs_system_id"].clone();
        let entrances = self.get("/acs/entrances/list", json!({}), "acs_entrances").await;
        let entrances: Vec<Value> = entrances
            .as_array()
            .unwrap()
            .iter()
            .take(doors)
            .map(|entrance| entrance["acs_entrance_id"].clone())
            .collect();
        assert_eq!(entrances.len(), doors);
        let user =
            self.get("/acs/users/create", json!({"acs_system_id": system, "full_name": "Ada"}), "acs_user").await;
        let credential = json!({
            "acs_user_id": user["acs_user_id"],
            "access_method": "card",
            "allowed_acs_entrance_ids": entrances,
            "starts_at": "2026-11-22T12:00:00Z",
            "ends_at": "2026-11-25T10:00:00Z",
        });
        let credential = self.get("/acs/credentials/create", credential, "acs_credential").await;
        credential["acs_credential_id"].as_str().unwrap().to_owned()
    }

    pub async fn credential_state(&self, credential: &str) -> Value {
        self.get("/acs/credentials/get", json!({"acs_credential_id": credential}), "acs_credential").await
    }

    /// Starts an encode; returns the attempt as it was answered.
    pub async fn start_encode(&self, encoder: usize, credential: &str) -> Value {
        let body = json!({"acs_encoder_id": self.encoder(encoder).await, "acs_credential_id": credential});
        self.get("/acs/encoders/encode_credential", body, "action_attempt").await
    }

    /// Keeps the hub's port over a restart.
    pub fn pin_port(&self) {
        let config = std::fs::read_to_string(self.config_file()).unwrap();
        let address = self.url.trim_start_matches("http://");
        std::fs::write(self.config_file(), config.replace("127.0.0.1:0", address)).unwrap();
    }

    /// Waits for an attempt's end.
    pub async fn settled(&self, attempt: Value) -> Value {
        let patience = tokio::time::Instant::now() + PATIENCE;
        let mut attempt = attempt;
        while attempt["status"] == "pending" {
            assert!(tokio::time::Instant::now() < patience, "{attempt}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(30)).await;
            let id = json!({"action_attempt_id": attempt["action_attempt_id"]});
            attempt = self.get("/action_attempts/get", id, "action_attempt").await;
        }
        attempt
    }

    /// Encodes to the end.
    pub async fn encode(&self, encoder: usize, credential: &str) -> Value {
        self.settled(self.start_encode(encoder, credential).await).await
    }

    /// Encodes to the end, which must be a success; returns the credential.
    pub async fn encode_well(&self, encoder: usize, credential: &str) -> Value {
        let attempt = self.encode(encoder, credential).await;
        assert_eq!(attempt["status"], "success", "{attempt}\n{}", self.log());
        attempt["result"].clone()
    }

    /// Scans to the end.
    pub async fn scan(&self, encoder: usize) -> Value {
        let body = json!({"acs_encoder_id": self.encoder(encoder).await});
        self.settled(self.get("/acs/encoders/scan_credential", body, "action_attempt").await).await
    }

    /// Scans to the end, which must be a success; returns the result.
    pub async fn scan_well(&self, encoder: usize) -> Value {
        let attempt = self.scan(encoder).await;
        assert_eq!(attempt["status"], "success", "{attempt}\n{}", self.log());
        attempt["result"].clone()
    }

    /// Runs the official Python SDK's flow; returns its JSON.
    pub fn sdk(&self, arguments: &[&str]) -> Value {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), PathBuf::from)
            .join("venv/bin/python");
        assert!(python.exists(), "{} is missing: `make test` installs the Seam SDK there", python.display());
        let output = Command::new(python)
            .arg(root.join("tests/sdk/flow.py"))
            .args(arguments)
            .env("SEAM_ENDPOINT", &self.url)
            .env("SEAM_API_KEY", &self.key)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ended_already = daemon.kill();
            let _reaped = daemon.wait();
        }
        if std::thread::panicking() {
            let _nobody_reads = writeln!(std::io::stderr(), "--- the daemon's log ---\n{}", self.log());
        }
    }
}

fn file_name(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

/// Where PC/SC is for a daemon: at the private pcscd, or nowhere. No test meets the machine's own. Its serial
/// ports are those of a tree and a directory of the test.
pub fn pcsc_environment(directory: &Path, pcscd: Option<&Pcscd>) -> [(&'static str, PathBuf); 3] {
    let (socket, sysfs) = match pcscd {
        Some(pcscd) => (pcscd.socket(), directory.join("bus/sys")),
        None => (directory.join("no-pcscd"), directory.join("sysfs")),
    };
    [("PCSCLITE_CSOCK_NAME", socket), ("SYSFS_PATH", sysfs), ("DEV_PATH", directory.join("dev"))]
}

fn config(directory: &Path, setup: &Setup<'_>, on_ptys: &[(String, VirtualEncoder)]) -> String {
    let mut text = format!(
        "[daemon]\nstate_dir = \"{}\"\ncard_wait = \"{}\"\n[hub]\nlisten = \"127.0.0.1:0\"\nrequests_per_second = 0\n",
        directory.join("state").display(),
        setup.card_wait.unwrap_or("8s"),
    );
    for (name, encoder) in on_ptys {
        write!(text, "[[serial]]\npath = \"{}\"\ndialect = \"pn532\"\nname = \"{name}\"\n", encoder.link.display())
            .unwrap();
    }
    let rooms: Vec<String> = (101..=120).map(|door| format!("{{name = \"Room {door}\", door = {door}}}")).collect();
    write!(
        text,
        "[property]\nname = \"Test Hotel\"\ntime_zone = \"Europe/Zurich\"\nentrances = [{}]\n{}",
        rooms.join(", "),
        setup.config
    )
    .unwrap();
    text
}
