//! The built daemon under a service manager: what it says, and that neither a restart nor a new configuration costs a job.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/manager.rs"]
mod manager;

/// How the virtual encoders of these tests are attached.
const READERS: desk::Readers = desk::Readers::Serial;

use desk::{PROGRAM, VirtualEncoder, pcsc_environment};
use manager::Manager;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const KEY: &str = "seam_key_of_the_service_tests";

/// A desk that a service manager runs.
struct Service {
    directory: TempDir,
    manager: Manager,
    address: String,
    encoders: Vec<VirtualEncoder>,
}

impl Service {
    fn new(encoders: &[&str], options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let encoders: Vec<VirtualEncoder> = encoders
            .iter()
            .enumerate()
            .map(|(index, card)| VirtualEncoder::start(directory.path(), &format!("e{index}"), Some(card), options))
            .collect();
        // Free a moment ago; the service has to have the same one each time.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut manager = Manager::new(directory.path());
        let environment = pcsc_environment(directory.path(), None);
        manager.environment = environment.map(|(name, path)| (name.to_owned(), path.display().to_string())).to_vec();
        manager.environment.push(("ENCODERD_API_KEY".to_owned(), KEY.to_owned()));
        manager.environment.push(("ENCODERD_LOG".to_owned(), "warn,encoderd=debug".to_owned()));
        let service = Self { directory, manager, address, encoders };
        service.configure(0);
        service
    }

    /// Writes the configuration; each version has other names for encoders and doors, and one more door.
    fn configure(&self, version: usize) {
        let mut text = format!(
            "[daemon]\nstate_dir = \"{}\"\n[hub]\nlisten = \"{}\"\nrequests_per_second = 0\n",
            self.directory.path().join("state").display(),
            self.address
        );
        for (index, encoder) in self.encoders.iter().enumerate() {
            let path = encoder.link.display();
            writeln!(text, "[[serial]]\npath = \"{path}\"\ndialect = \"pn532\"\nname = \"E{index} v{version}\"")
                .unwrap();
        }
        let doors = 101..=(103 + u16::try_from(version).unwrap());
        let rooms: Vec<String> = doors.map(|door| format!("{{name = \"Room {door}\", door = {door}}}")).collect();
        write!(text, "[property]\nname = \"Hotel {version}\"\nentrances = [{}]\n", rooms.join(", ")).unwrap();
        std::fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> std::path::PathBuf {
        self.directory.path().join("encoderd.toml")
    }

    /// Starts it and waits until it says that it is ready.
    fn start(&mut self) {
        let from = self.manager.lines();
        let config = self.config();
        self.manager.start(PROGRAM, &["run", "--config", config.to_str().unwrap()]);
        self.manager.wait_until_ready(from);
    }

    /// Has it read its configuration again, and waits until it says that it has.
    fn reload(&mut self) -> Vec<String> {
        let from = self.manager.lines();
        self.manager.reload();
        self.manager.wait_until_ready(from);
        self.manager.heard(from)
    }

    fn caller(&self) -> Caller {
        Caller { address: self.address.clone(), connection: None }
    }

    /// The encoders' ids, in the order of the configuration, once all are there.
    fn encoder_ids(&self) -> Vec<String> {
        let mut caller = self.caller();
        let patience = Instant::now() + desk::PATIENCE;
        loop {
            let live = caller.get("/encoderd/v1/encoders", &json!({}), "encoders").unwrap();
            let ids: Vec<String> = self
                .encoders
                .iter()
                .filter_map(|encoder| {
                    let is_it = |live: &&Value| {
                        live["state"] == "online" && live["port"].as_str().is_some_and(|port| encoder.is_at(port))
                    };
                    live.as_array()?.iter().find(is_it)?["acs_encoder_id"].as_str().map(str::to_owned)
                })
                .collect();
            if ids.len() == self.encoders.len() {
                return ids;
            }
            assert!(Instant::now() < patience, "{live}\n{}", self.manager.log());
        }
    }
}

/// A caller who keeps his connection as long as he may, and asks everything once: what fails has failed.
struct Caller {
    address: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Caller {
    /// As HTTP clients do before they use a connection again: one that was closed meanwhile is not used.
    fn still_open(stream: &TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        let looked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        matches!(looked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn call(&mut self, path: &str, body: &Value) -> Result<(u16, Value), String> {
        let open = self.connection.take().filter(|open| Self::still_open(open.get_ref()));
        let mut connection = match open {
            Some(open) => open,
            None => BufReader::new(TcpStream::connect(&self.address).map_err(|error| format!("connect: {error}"))?),
        };
        let failed = |error: std::io::Error| format!("{path}: {error}");
        connection.get_ref().set_read_timeout(Some(desk::PATIENCE)).map_err(failed)?;
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: desk\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.get_mut().write_all(request.as_bytes()).map_err(failed)?;
        let (mut status, mut length, mut closes) = (0, 0, false);
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).map_err(failed)? == 0 {
                return Err(format!("{path}: closed without an answer"));
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            } else if line == "connection: close" {
                closes = true;
            }
        }
        let mut answer = vec![0; length];
        connection.read_exact(&mut answer).map_err(failed)?;
        self.connection = (!closes).then_some(connection);
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }

    fn get(&mut self, path: &str, body: &Value, key: &str) -> Result<Value, String> {
        match self.call(path, body)? {
            (200, answer) => Ok(answer[key].clone()),
            (status, answer) => Err(format!("{path}: {status} {answer}")),
        }
    }

    /// A new credential for two doors.
    fn credential(&mut self) -> Result<Value, String> {
        let system = self.get("/acs/systems/list", &json!({}), "acs_systems")?[0]["acs_system_id"].clone();
        let entrances = self.get("/acs/entrances/list", &json!({}), "acs_entrances")?;
        let user = json!({"acs_system_id": system, "full_name": "Ada"});
        let user = self.get("/acs/users/create", &user, "acs_user")?["acs_user_id"].clone();
        let credential = json!({
            "acs_user_id": user, "access_method": "card", "starts_at": "2026-11-22T12:00:00Z",
            "allowed_acs_entrance_ids": [entrances[0]["acs_entrance_id"], entrances[1]["acs_entrance_id"]],
            "ends_at": "2026-11-25T10:00:00Z",
        });
        Ok(self.get("/acs/credentials/create", &credential, "acs_credential")?["acs_credential_id"].clone())
    }

    /// Writes a new credential to the card on an encoder; what went wrong if it was not a success.
    fn encode(&mut self, encoder: &str) -> Result<(), String> {
        let credential = self.credential()?;
        let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
        let mut attempt = self.get("/acs/encoders/encode_credential", &body, "action_attempt")?;
        while attempt["status"] == "pending" {
            std::thread::park_timeout(Duration::from_millis(50));
            let id = json!({"action_attempt_id": attempt["action_attempt_id"]});
            attempt = self.get("/action_attempts/get", &id, "action_attempt")?;
        }
        if attempt["status"] == "success" { Ok(()) } else { Err(attempt.to_string()) }
    }
}

/// Callers that encode without a pause, one an encoder, and some who only ask.
struct Load {
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(service: &Service, encoders: &[String]) -> Self {
        let mut load = Self { done: Arc::default(), failed: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for encoder in encoders {
            let encoder = encoder.clone();
            let done = load.done.clone();
            load.spawn(service, move |caller| {
                caller.encode(&encoder)?;
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        for keeps in [true, false] {
            load.spawn(service, move |caller| {
                caller.get("/acs/systems/list", &json!({}), "acs_systems")?;
                if !keeps {
                    caller.connection = None;
                }
                std::thread::park_timeout(Duration::from_millis(5));
                Ok(())
            });
        }
        load
    }

    fn spawn(&mut self, service: &Service, ask: impl Fn(&mut Caller) -> Result<(), String> + Send + 'static) {
        let (mut caller, stop, failed) = (service.caller(), self.stop.clone(), self.failed.clone());
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Err(error) = ask(&mut caller) {
                    failed.lock().unwrap().push(error);
                }
            }
        }));
    }

    /// Waits until so many more jobs have ended well, or something failed.
    fn wait_for(&self, more: usize) {
        let (since, patience) = (self.done.load(Ordering::Relaxed), Instant::now() + desk::PATIENCE);
        while self.done.load(Ordering::Relaxed) < since + more && self.failed.lock().unwrap().is_empty() {
            assert!(Instant::now() < patience, "no jobs");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Ends it: how many jobs ended well, and what failed.
    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        (self.done.load(Ordering::Relaxed), std::mem::take(&mut self.failed.lock().unwrap()))
    }
}

#[test]
fn restarts_and_reloads_under_load_cost_no_job_and_refuse_no_caller() {
    let mut service = Service::new(&["classic-1k:deadbeef", "classic-1k:0badcafe"], &["--pace"]);
    service.start();
    assert_eq!(service.manager.kept(), ["hub"]);
    let encoders = service.encoder_ids();
    let load = Load::start(&service, &encoders);
    let mut version = 0;
    for restart in 0..6 {
        for _ in 0..4 {
            load.wait_for(1);
            version += 1;
            service.configure(version);
            service.reload();
        }
        // At another moment of a job each time.
        load.wait_for(1);
        std::thread::park_timeout(Duration::from_millis(90 * restart));
        assert_eq!(service.manager.stop(), Some(0));
        service.start();
    }
    load.wait_for(4);
    let (done, failed) = load.end();
    assert!(failed.is_empty(), "{} failed, {done} done: {failed:#?}", failed.len());
    assert!(done >= 34, "{done}");
    assert_eq!(service.manager.kept(), ["hub"]);
    let entrances = service.caller().get("/acs/entrances/list", &json!({}), "acs_entrances").unwrap();
    assert_eq!(entrances.as_array().unwrap().len(), 3 + version);
}

#[test]
fn a_bad_configuration_is_refused_and_a_good_one_is_applied_while_it_runs() {
    let mut service = Service::new(&["classic-1k:deadbeef"], &[]);
    service.start();
    let encoder = service.encoder_ids().remove(0);
    let name = |service: &Service| {
        let live = service.caller().get("/encoderd/v1/encoders", &json!({}), "encoders").unwrap();
        live[0]["display_name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(&service), "E0 v0");
    let good = std::fs::read_to_string(service.config()).unwrap();
    std::fs::write(service.config(), good.replace("pn532", "pn999")).unwrap();
    let said = service.reload();
    assert!(said[0] == "RELOADING=1" && said[1].starts_with("MONOTONIC_USEC="), "{said:?}");
    assert!(
        said.iter().any(|line| line.starts_with("STATUS=") && line.contains("refused") && line.contains("pn999")),
        "{said:?}"
    );
    service.caller().encode(&encoder).unwrap();
    // What needs a restart is named; the rest is applied.
    service.configure(1);
    let with_wait = std::fs::read_to_string(service.config()).unwrap().replace("[hub]", "card_wait = \"3s\"\n[hub]");
    std::fs::write(service.config(), with_wait).unwrap();
    let said = service.reload();
    assert!(said.iter().any(|line| line.starts_with("STATUS=") && line.contains("daemon.card_wait")), "{said:?}");
    let patience = Instant::now() + desk::PATIENCE;
    while name(&service) != "E0 v1" {
        assert!(Instant::now() < patience, "{}", name(&service));
    }
    assert_eq!(service.encoder_ids(), [encoder.clone()]);
    service.caller().encode(&encoder).unwrap();
    // A port that is not configured any more is closed, and opened again when it is.
    let without: String = good.replace("[[serial]]", "[discovery]\nserial = \"off\"\n[[serial]]");
    std::fs::write(service.config(), without).unwrap();
    service.reload();
    let state = |service: &Service| {
        service.caller().get("/encoderd/v1/encoders", &json!({}), "encoders").unwrap()[0]["state"].clone()
    };
    while state(&service) != "offline" {
        assert!(Instant::now() < patience, "{}", state(&service));
    }
    service.configure(2);
    service.reload();
    assert_eq!(service.encoder_ids(), [encoder.clone()]);
    service.caller().encode(&encoder).unwrap();
    assert_eq!(service.manager.stop(), Some(0));
}

#[test]
fn the_manager_hears_of_the_start_the_encoders_the_life_and_the_end() {
    let mut service = Service::new(&["classic-1k:deadbeef"], &[]);
    service.manager.environment.push(("WATCHDOG_USEC".to_owned(), "200000".to_owned()));
    service.start();
    service.manager.wait_for("one encoder", 0, |line| line == "STATUS=encoders: 1 online");
    for _ in 0..3 {
        let from = service.manager.lines();
        service.manager.wait_for("life", from, |line| line == "WATCHDOG=1");
    }
    let from = service.manager.lines();
    assert_eq!(service.manager.stop(), Some(0));
    assert!(service.manager.heard(from).iter().any(|line| line == "STOPPING=1"));
    // What the manager keeps is used again only where it is still wanted.
    let address = std::mem::take(&mut service.address);
    service.address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_ne!(service.address, address);
    service.configure(0);
    service.start();
    service.encoder_ids();
    assert!(TcpStream::connect(&address).is_err(), "the old address is not given up");
}

#[test]
fn credentials_of_the_manager_go_before_files() {
    let mut service = Service::new(&[], &[]);
    let credentials = service.directory.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("api-key"), format!("{KEY}_from_the_manager\n")).unwrap();
    std::fs::write(credentials.join("bridge-token"), "bridge_from_the_manager\n").unwrap();
    let card_key = "property_id = \"0b7f1d7e-0000-4000-8000-000000000001\"\nkey_id = 1\nkey = \"00112233445566778899aabbccddeeff\"\n";
    std::fs::write(credentials.join("card-key"), card_key).unwrap();
    service.manager.environment.retain(|(name, _)| name != "ENCODERD_API_KEY");
    service.manager.environment.push(("CREDENTIALS_DIRECTORY".to_owned(), credentials.display().to_string()));
    service.start();
    let (status, _) = service.caller().call("/acs/systems/list", &json!({})).unwrap();
    assert_eq!(status, 401, "the key of the tests is not the manager's");
    for file in ["api-key", "bridge-token", "card-key.toml"] {
        assert!(!Path::new(&service.directory.path().join("state").join(file)).exists(), "{file}");
    }
    let ready = get_openly(&service.address, "/readyz");
    assert!(ready.contains("\"card_key\":{\"ok\":true"), "{ready}");
}

/// The fields of an entry in the journal's own protocol: `NAME=value`, or the name, the value's length in eight bytes and
/// the value. Source: systemd, "Native Journal Protocol".
fn fields(mut entry: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&entry[..end]).into_owned();
        entry = &entry[end + 1..];
        match line.split_once('=') {
            Some((name, value)) => fields.push((name.to_owned(), value.to_owned())),
            None => {
                let length = usize::try_from(u64::from_le_bytes(entry[..8].try_into().unwrap())).unwrap();
                fields.push((line, String::from_utf8_lossy(&entry[8..8 + length]).into_owned()));
                entry = &entry[8 + length + 1..];
            }
        }
    }
    fields
}

#[test]
fn the_journal_gets_fields_and_one_filter_shows_a_job_from_request_to_end() {
    let mut service = Service::new(&["classic-1k:deadbeef"], &[]);
    let directory = service.directory.path().join("journal");
    std::fs::create_dir(&directory).unwrap();
    let journal = UnixDatagram::bind(directory.join("socket")).unwrap();
    let log = std::fs::File::create(service.directory.path().join("service.log")).unwrap().metadata().unwrap();
    service.manager.environment.push(("JOURNAL_STREAM".to_owned(), format!("{}:{}", log.st_dev(), log.st_ino())));
    service.manager.environment.push(("JOURNAL".to_owned(), directory.display().to_string()));
    // Its queue is short, and who writes to it waits for whoever reads.
    let (read, entries) = std::sync::mpsc::sync_channel(10_000);
    std::thread::spawn(move || {
        let mut entry = vec![0; 65536];
        while let Ok(length) = journal.recv(&mut entry) {
            if read.send(entry[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    // The journal's socket has one place, which is somebody else's on a PC with systemd.
    let namespace = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind \"$JOURNAL\" /run/systemd/journal \
                  && exec \"$@\"";
    let config = service.config();
    let arguments = [namespace, "sh", "-c", script, "sh", PROGRAM, "run", "--config", config.to_str().unwrap()];
    service.manager.start("unshare", &arguments);
    service.manager.wait_until_ready(0);
    let encoder = service.encoder_ids().remove(0);
    let credential = service.caller().credential().unwrap();
    let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
    let attempt = service.caller().get("/acs/encoders/encode_credential", &body, "action_attempt").unwrap();
    let attempt = attempt["action_attempt_id"].as_str().unwrap().to_owned();
    let mut story = Vec::new();
    while !story.iter().any(|(message, _)| message == "result delivered") {
        let entry = entries.recv_timeout(desk::PATIENCE).unwrap_or_else(|error| panic!("{error}: {story:?}"));
        let fields = fields(&entry);
        let get = |name: &str| fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        if get("ACTION_ATTEMPT_ID").as_deref() == Some(&attempt) {
            assert_eq!(get("SYSLOG_IDENTIFIER").as_deref(), Some("encoderd"));
            story.push((get("MESSAGE").unwrap(), (get("DEVICE_ID"), get("ACS_ENCODER_ID"))));
        }
    }
    for message in ["pending", "offered", "started", "card encoded", "finished"] {
        assert!(story.iter().any(|(other, _)| other == message), "{message}: {story:?}");
    }
    let (_, (device, named)) = story.iter().find(|(message, _)| message == "card encoded").unwrap();
    assert_eq!(named.as_deref(), Some(&*encoder));
    assert!(device.as_deref().is_some_and(|device| device.starts_with("path-")), "{device:?}");
    assert!(!service.manager.log().contains("card encoded"), "it is in the journal once");
}

#[test]
fn who_watches_the_status_is_told_of_changes_as_they_happen() {
    let mut service = Service::new(&["classic-1k:deadbeef"], &[]);
    service.start();
    service.encoder_ids();
    let mut watch = std::process::Command::new(PROGRAM)
        .args(["status", "--watch", "--json", "--config"])
        .arg(service.config())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = |card: &Value| {
        let is_it = |status: &Value| status["encoders"][0]["card_number"] == *card;
        let statuses = lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        statuses.into_iter().find(is_it).expect("it ended");
    };
    until(&json!("deadbeef"));
    service.encoders[0].control("remove");
    until(&Value::Null);
    service.encoders[0].control("place classic-1k:0badcafe");
    until(&json!("0badcafe"));
    assert_eq!(service.manager.stop(), Some(0));
    assert_eq!(watch.wait().unwrap().code(), Some(1), "it says that the daemon has stopped");
}

#[test]
fn a_desk_of_another_hub_serves_its_own_status() {
    let mut hub = Service::new(&[], &[]);
    hub.start();
    let mut desk = Service::new(&["classic-1k:deadbeef"], &[]);
    let token = hub.directory.path().join("state/bridge-token");
    let port = format!("[[serial]]\npath = \"{}\"\ndialect = \"pn532\"\n", desk.encoders[0].link.display());
    let config = format!(
        "[daemon]\nstate_dir = \"{}\"\nstatus_listen = \"{}\"\n[cloud]\nurl = \"http://{}\"\ntoken_file = \"{}\"\n{port}",
        desk.directory.path().join("state").display(),
        desk.address,
        hub.address,
        token.display()
    );
    std::fs::write(desk.config(), config).unwrap();
    desk.start();
    let patience = Instant::now() + desk::PATIENCE;
    loop {
        let ready = get_openly(&desk.address, "/readyz");
        let body: Value = serde_json::from_str(ready.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        let is_ok = |hop: &str| body["hops"][hop]["ok"] == true;
        if ["hub", "desk", "encoders", "journal"].iter().all(|hop| is_ok(hop)) {
            // It was not given the property's card key, without which nothing is encoded.
            assert!(ready.starts_with("HTTP/1.1 503") && !is_ok("card_key"), "{ready}");
            break;
        }
        assert!(Instant::now() < patience, "{ready}");
    }
    assert!(get_openly(&desk.address, "/metrics").contains("encoderd_encoders{state=\"online\"} 1"));
    assert!(get_openly(&desk.address, "/healthz").starts_with("HTTP/1.1 200"));
    hub.manager.stop();
    loop {
        let ready = get_openly(&desk.address, "/readyz");
        if ready.contains("\"hub\":{\"ok\":false") {
            break;
        }
        assert!(Instant::now() < patience, "{ready}");
    }
}

/// `GET` without a key; the whole answer.
fn get_openly(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: desk\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}
