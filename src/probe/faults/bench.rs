//! A PC for the planted faults: a directory with what its `/etc`, `/usr` and `/sys` would hold, a virtual encoder on a real
//! pty, a hub that really serves, and a daemon that is played.

use crate::api::bridge::{EncoderState, Presence};
use crate::control::{Answer, EncoderAnswer, StatusAnswer};
use crate::emulator::{self, Emulator};
use crate::hub;
use crate::keys::{API_KEY_FILE, BRIDGE_TOKEN_FILE, CardKey, token_or_create};
use crate::probe::pcsc::planted;
use crate::probe::{Context, Finding, Machine, run};
use encoder_protocols::dialect::READERS;
use secrecy::SecretString;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::BufRead as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The service's user and the group of serial ports, where the test may give files away.
const USER: u32 = 4242;

/// A PC in order.
pub(super) struct Bench {
    directory: TempDir,
    pub(super) machine: Machine,
    /// What the played daemon answers; `None`: nobody runs.
    pub(super) status: Option<StatusAnswer>,
    /// PC/SC, where it is part of the fault.
    pub(super) pcsc: Option<planted::Machine>,
    /// More of the configuration.
    pub(super) config: String,
    pub(super) api_key: SecretString,
    /// What lasts as long as the fault.
    pub(super) keep: Vec<Box<dyn Send>>,
    children: Vec<Child>,
    players: CancellationToken,
    stop: CancellationToken,
}

impl Bench {
    /// encoderd as a service with one encoder behind an FTDI chip.
    pub(super) async fn service() -> Self {
        let mut bench = Self::by_hand().await;
        bench.put("run/systemd/system/x", "");
        bench.put("usr/lib/systemd/system/encoderd.service", "[Service]\nUser=encoderd\nSupplementaryGroups=dialout\n");
        fs::create_dir_all(bench.path("etc/systemd/system/multi-user.target.wants")).unwrap();
        symlink(
            "/usr/lib/systemd/system/encoderd.service",
            bench.path("etc/systemd/system/multi-user.target.wants/encoderd.service"),
        )
        .unwrap();
        bench.unit("active", "running", "success", 0);
        bench.put(
            "usr/lib/udev/rules.d/70-encoderd.rules",
            "# encoderd\nATTRS{idVendor}==\"0403\", ATTRS{idProduct}==\"6001\", ENV{ENCODERD_SERIAL}=\"pn532\"\n",
        );
        let url = bench.start_hub(true).await;
        bench.status = Some(StatusAnswer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // Nobody's: the service's user then comes from its unit.
            pid: u32::MAX,
            hub_url: url,
            hub_reachable: true,
            card_key: true,
            encoders: vec![bench.encoder("Front Desk", "usb-0403:6001-A1")],
            pcsc: None,
            outbox: crate::control::Backlog::default(),
            journal: crate::control::Backlog::default(),
            backup: None,
        });
        bench
    }

    /// encoderd started by hand; nobody runs now.
    pub(super) async fn by_hand() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let machine = Machine { sysfs: root.join("sys"), path: Vec::new(), root, ..Machine::this() };
        let mut bench = Self {
            directory,
            machine,
            status: None,
            pcsc: None,
            config: String::new(),
            api_key: SecretString::from(""),
            keep: Vec::new(),
            children: Vec::new(),
            players: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        let (uid, gid) = (uid(), gid());
        bench.put("etc/passwd", &format!("root:x:0:0::/:/bin/sh\nencoderd:x:{uid}:{gid}::/:/bin/false\n"));
        bench.put("etc/group", &format!("root:x:0:\nencoderd:x:{gid}:\ndialout:x:20:encoderd\n"));
        let state = bench.state();
        fs::create_dir_all(&state).unwrap();
        set_mode(&state, 0o700);
        CardKey::create(&state).unwrap();
        token_or_create(&state.join(BRIDGE_TOKEN_FILE), "bridge_").unwrap();
        bench.api_key = token_or_create(&state.join(API_KEY_FILE), "seam_").unwrap();
        bench.plug("ttyUSB0", "1-1.2", (0x0403, 0x6001), Some("A1"));
        bench.play("ttyUSB0");
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        bench.config = format!(
            "[daemon]\nstate_dir = \"{}\"\n[hub]\nlisten = \"{free}\"\n[discovery]\npcsc = false\n{}",
            state.display(),
            bench.serial("ttyUSB0")
        );
        give(&state);
        bench
    }

    /// The hub of the running daemon, on the real port; with other tokens than the desk's where it is another one's.
    pub(super) async fn start_hub(&self, is_own: bool) -> String {
        let state = self.state();
        let token = |file| token_or_create(&state.join(file), "x").unwrap();
        let other = || SecretString::from("seam_0123456789abcdef");
        let settings = hub::Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            database: format!("sqlite://{}", state.join("hub.db").display()),
            card_wait: Duration::from_secs(8),
            api_key: if is_own { token(API_KEY_FILE) } else { other() },
            bridge_token: if is_own { token(BRIDGE_TOKEN_FILE) } else { other() },
            property: None,
            property_id: None,
            allow_simulate: false,
            webhook_allow_private: true,
            requests_per_second: 0,
            retention: hub::Retention::default(),
            service: hub::Service::default(),
            front: None,
        };
        let running = hub::serve(settings, self.stop.clone()).await.unwrap();
        let url = format!("http://{}", running.address);
        tokio::spawn(running.stopped());
        give(&state);
        url
    }

    /// What the probe finds.
    pub(super) async fn probe(&self) -> Vec<Finding> {
        let file = self.config_file();
        if !file.exists() {
            self.put("etc/encoderd/encoderd.toml", &self.config);
            give(&file);
        }
        let stop = CancellationToken::new();
        if let Some(status) = &self.status {
            self.play_daemon(status.clone(), stop.clone());
        }
        let mut context = Context::gather(self.machine.clone(), Some(&file), None).await;
        stop.cancel();
        let _no_daemon = fs::remove_file(self.state().join("encoderd.sock"));
        if let Some(pcsc) = &self.pcsc {
            context.pcsc = Some(pcsc.facts());
            context.config.as_mut().unwrap().discovery.pcsc = true;
        }
        run(&context)
    }

    /// Answers status requests as a daemon would.
    fn play_daemon(&self, status: StatusAnswer, stop: CancellationToken) {
        let listener = UnixListener::bind(self.state().join("encoderd.sock")).unwrap();
        tokio::spawn(async move {
            let serve = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let (read, mut write) = stream.into_split();
                    let mut line = String::new();
                    BufReader::new(read).read_line(&mut line).await.unwrap();
                    let answer = serde_json::to_string(&Answer::Status(status.clone())).unwrap();
                    write.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
                }
            };
            tokio::select! {
                () = serve => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// An HTTP server that says this to whoever comes. Returns its address.
    pub(super) async fn answers(&self, answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let serve = async {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _request = stream.read(&mut [0; 4096]).await;
                    let _gone = stream.write_all(answer.as_bytes()).await;
                }
            };
            tokio::select! {
                () = serve => {}
                () = stop.cancelled() => {}
            }
        });
        format!("http://{address}")
    }

    /// Has this desk work for a hub at this address.
    pub(super) fn work_for(&mut self, url: &str) {
        let token = self.state().join(BRIDGE_TOKEN_FILE);
        writeln!(self.config, "[cloud]\nurl = \"{url}\"\ntoken_file = \"{}\"", token.display()).unwrap();
        if let Some(status) = &mut self.status {
            status.hub_url = url.to_owned();
            status.hub_reachable = false;
        }
    }

    /// Plugs a serial chip in, as the kernel shows it.
    pub(super) fn plug(&self, name: &str, port: &str, (vendor, product): (u16, u16), serial: Option<&str>) {
        let device = format!("sys/devices/usb1/{port}");
        for (file, text) in [
            ("idVendor", format!("{vendor:04x}")),
            ("idProduct", format!("{product:04x}")),
            ("product", "FT232R".into()),
        ] {
            self.put(&format!("{device}/{file}"), &text);
        }
        if let Some(serial) = serial {
            self.put(&format!("{device}/serial"), serial);
        }
        self.put(&format!("{device}/power/control"), "on");
        self.put(&format!("{device}/{port}:1.0/{name}/latency_timer"), "1");
        fs::create_dir_all(self.path("sys/bus/usb/devices")).unwrap();
        symlink(self.path(&device), self.path(&format!("sys/bus/usb/devices/{port}"))).unwrap();
        fs::create_dir_all(self.path(&format!("sys/class/tty/{name}"))).unwrap();
        let line = self.path(&format!("{device}/{port}:1.0/{name}"));
        symlink(line, self.path(&format!("sys/class/tty/{name}/device"))).unwrap();
    }

    /// Plays a PN532 at the end of this port.
    pub(super) fn play(&self, name: &str) {
        fs::create_dir_all(self.path("dev")).unwrap();
        let reader = READERS.iter().find(|reader| reader.dialect == "pn532").unwrap();
        let kind = emulator::Kind::Serial { reader, link: Some(self.path("dev").join(name)) };
        let settings = emulator::Settings { kind, control: None, card: None, pace: false };
        let emulator = Emulator::start(settings).unwrap();
        give(&self.node(name));
        tokio::spawn(emulator.run(self.players.clone()));
    }

    /// Replaces what answers at a port by a pty that nobody answers at.
    pub(super) fn silence(&mut self, name: &str) {
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let far = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&far).unwrap();
        let near = rustix::pty::ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
        fs::remove_file(self.path("dev").join(name)).unwrap();
        symlink(near, self.path("dev").join(name)).unwrap();
        self.keep.push(Box::new(far));
    }

    /// Ends the processes that the bench has started.
    pub(super) fn end_children(&mut self) {
        for mut child in self.children.drain(..) {
            let _ended_already = child.kill();
            let _reaped = child.wait();
        }
    }

    /// The pty behind a port.
    pub(super) fn node(&self, name: &str) -> PathBuf {
        self.path("dev").join(name).canonicalize().unwrap()
    }

    /// Has a process of this name hold a port until the bench is cleared away. Returns its number.
    pub(super) fn hold(&mut self, name: &str, port: &str) -> u32 {
        let program = self.path(name);
        fs::copy("/bin/sleep", &program).unwrap();
        let script = format!("exec {} 600 <>{}", program.display(), self.node(port).display());
        let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let pid = child.id();
        self.children.push(child);
        let comm = PathBuf::from(format!("/proc/{pid}/comm"));
        while fs::read_to_string(&comm).unwrap().trim() != name {
            std::thread::yield_now();
        }
        pid
    }

    /// What systemd says of the service.
    pub(super) fn unit(&self, active: &str, sub: &str, result: &str, restarts: u32) {
        let says = format!("ActiveState={active}\nSubState={sub}\nResult={result}\nNRestarts={restarts}");
        self.put("usr/bin/systemctl", &format!("#!/bin/sh\necho '{says}'\n"));
        set_mode(&self.path("usr/bin/systemctl"), 0o755);
    }

    /// An encoder as the daemon tells of it.
    pub(super) fn encoder(&self, name: &str, device_id: &str) -> EncoderAnswer {
        EncoderAnswer {
            device_id: device_id.to_owned(),
            acs_encoder_id: Some(Uuid::new_v4()),
            display_name: name.to_owned(),
            port: self.path("dev/ttyUSB0").display().to_string(),
            dialect: "pn532".to_owned(),
            model: Some("PN532".to_owned()),
            firmware: Some("1.6".to_owned()),
            simulated: false,
            state: EncoderState::Online,
            presence: Presence::Absent,
            card_number: None,
            fault: None,
        }
    }

    pub(super) fn serial(&self, name: &str) -> String {
        format!("[[serial]]\npath = \"{}\"\ndialect = \"pn532\"\n", self.path("dev").join(name).display())
    }

    pub(super) fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn delete(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.machine.root.join(path)
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path("var/lib/encoderd")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.path("etc/encoderd/encoderd.toml")
    }

    /// Runs a remedy's command as an administrator would. The names of users are this PC's, not the test machine's.
    pub(super) fn mend(&mut self, command: &str) {
        let command = command.replace("sudo ", "").replace("chown -R encoderd: ", "chown encoderd: ");
        let command = command.replace("encoderd: ", &format!("-R {}:{} ", uid(), gid()));
        let command = command.replace("chgrp encoderd ", &format!("chgrp {} ", gid()));
        let command = command.replace("chgrp dialout ", "chgrp 20 ");
        let done = Command::new("sh").args(["-c", &command]).current_dir(self.directory.path()).status().unwrap();
        assert!(done.success(), "{command}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
        self.players.cancel();
        self.end_children();
    }
}

/// Gives a file, or a directory with what is in it, to the service's user.
pub(super) fn give(path: &Path) {
    if !is_root() {
        return; // It is the service's user.
    }
    chown(path, Some(USER), Some(USER)).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten() {
        give(&entry.unwrap().path());
    }
}

/// The service's user.
pub(super) fn uid() -> u32 {
    if is_root() { USER } else { rustix::process::geteuid().as_raw() }
}

/// Its group.
pub(super) fn gid() -> u32 {
    if is_root() { USER } else { rustix::process::getegid().as_raw() }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Serves with a certificate that nobody has signed but itself, and has the desk work for that.
pub(super) fn start_tls(bench: &mut Bench) {
    // Made once with `openssl req -x509` for localhost; it protects nothing.
    bench.put("self-signed.pem", include_str!("self-signed.pem"));
    let script = "import socket, ssl, sys\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain(sys.argv[1])\n\
        listener = socket.create_server(('127.0.0.1', 0))\n\
        print(listener.getsockname()[1], flush=True)\n\
        while True:\n\
        \tclient, _ = listener.accept()\n\
        \ttry: context.wrap_socket(client, server_side=True).recv(1)\n\
        \texcept OSError: pass\n";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(bench.path("self-signed.pem")).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python3 is there");
    let mut port = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    bench.children.push(child);
    bench.work_for(&format!("https://localhost:{}", port.trim()));
}
