//! A reader on the virtual USB bus that the test itself plays (`tests/support/ifd/wire.h` has the bus and its messages).

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// What a MIFARE Classic 1K has as its ATR (PC/SC part 3, §3.1.3.2.3.1; Gemalto Prox-DU manual, p. 101).
pub const CLASSIC_1K: [u8; 20] = [
    0x3B, 0x8F, 0x80, 0x01, 0x80, 0x4F, 0x0C, 0xA0, 0x00, 0x00, 0x03, 0x06, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
    0x6A,
];

/// What a reader tells the kernel when it is plugged in.
#[derive(Clone, Debug)]
pub struct Device {
    pub port: String,
    pub devnum: u8,
    pub vendor_id: &'static str,
    pub product_id: &'static str,
    pub serial: Option<String>,
    pub interface: Option<&'static str>,
    pub manufacturer: Option<&'static str>,
    pub vendor: Option<&'static str>,
}

impl Device {
    /// An ACR122U as they mostly are: without a serial number.
    pub fn acr122u(port: &str, devnum: u8) -> Self {
        Self {
            port: port.to_owned(),
            devnum,
            vendor_id: "072f",
            product_id: "2200",
            serial: None,
            interface: None,
            manufacturer: Some("ACS"),
            vendor: None,
        }
    }
}

enum Answer {
    Response(Vec<u8>),
    /// None, since the card leaves.
    Leave,
}

/// The reader's next answers, and what it has seen.
#[derive(Default)]
struct State {
    card: Option<Vec<u8>>,
    unplugged: bool,
    connections: Vec<UnixStream>,
    listeners: Vec<UnixStream>,
    /// For the next APDUs; when there are none, `90 00`.
    answers: VecDeque<Answer>,
    hold: bool,
    refuse_escapes: bool,
    requests: Vec<Vec<u8>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A plugged-in reader. Unplugged with this value.
pub struct Fake {
    shared: Arc<Shared>,
    folder: PathBuf,
    socket: PathBuf,
    server: Option<JoinHandle<()>>,
}

impl Fake {
    /// Plugs it in.
    pub fn plug(bus: &Path, device: &Device) -> Self {
        let devices = bus.join("sys/bus/usb/devices");
        fs::create_dir_all(&devices).unwrap();
        let socket = bus.join(format!("001-{:03}.sock", device.devnum));
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        let server = std::thread::spawn(move || serve(&listener, &serving));
        let unfinished = devices.join(format!("new {}", device.port));
        fs::create_dir(&unfinished).unwrap();
        let write = |name: &str, text: Option<&str>| {
            if let Some(text) = text {
                fs::write(unfinished.join(name), format!("{text}\n")).unwrap();
            }
        };
        write("busnum", Some("1"));
        write("devnum", Some(&device.devnum.to_string()));
        write("idVendor", Some(device.vendor_id));
        write("idProduct", Some(device.product_id));
        write("manufacturer", device.manufacturer);
        write("serial", device.serial.as_deref());
        write("bInterfaceName", device.interface);
        write("vendor", device.vendor);
        let folder = devices.join(&device.port);
        fs::rename(unfinished, &folder).unwrap();
        Self { shared, folder, socket, server: Some(server) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Puts a card with this ATR on it; an empty one is mute.
    pub fn place(&self, atr: &[u8]) {
        self.set_card(Some(atr.to_vec()));
    }

    pub fn remove(&self) {
        self.set_card(None);
    }

    fn set_card(&self, card: Option<Vec<u8>>) {
        let mut state = self.state();
        state.card = card;
        tell_presence(&mut state);
    }

    /// The next APDU gets this response.
    pub fn answer_next(&self, response: &[u8]) {
        self.state().answers.push_back(Answer::Response(response.to_vec()));
    }

    /// The card leaves at the next APDU.
    pub fn leave_at_next(&self) {
        self.state().answers.push_back(Answer::Leave);
    }

    /// Keeps its answers back, or lets them go.
    pub fn hold(&self, hold: bool) {
        self.state().hold = hold;
        self.shared.changed.notify_all();
    }

    pub fn refuse_escapes(&self) {
        self.state().refuse_escapes = true;
    }

    /// Everything that it was asked, kind first, since this was last called.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state().requests)
    }

    /// The device is gone and the kernel has not said so yet.
    pub fn hang_up(&self) {
        let mut state = self.state();
        state.unplugged = true;
        for connection in state.connections.drain(..) {
            let _gone_already = connection.shutdown(Shutdown::Both);
        }
        state.listeners.clear();
        self.shared.changed.notify_all();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.hang_up();
        // Wakes the server, which waits for connections.
        let _ = UnixStream::connect(&self.socket);
        let _ = fs::remove_file(&self.socket);
        let gone = self.folder.with_file_name(format!("old {}", self.folder.file_name().unwrap().display()));
        let _ = fs::rename(&self.folder, &gone);
        let _ = fs::remove_dir_all(gone);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn tell_presence(state: &mut State) {
    let present = u8::from(state.card.is_some());
    state.listeners.retain_mut(|listener| send(listener, &[present]).is_ok());
}

fn serve(listener: &UnixListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut state = shared.state.lock().unwrap();
        if state.unplugged {
            break;
        }
        state.connections.push(connection.try_clone().unwrap());
        drop(state);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || match receive(&mut connection).as_deref() {
            Ok(b"C") => answer_requests(connection, &shared),
            Ok(b"E") => {
                let mut state = shared.state.lock().unwrap();
                let present = u8::from(state.card.is_some());
                if send(&mut connection, &[present]).is_ok() {
                    state.listeners.push(connection);
                }
            }
            Ok(other) => panic!("not a hello: {other:02x?}"),
            // It hung up at once.
            Err(_) => {}
        });
    }
}

fn answer_requests(mut connection: UnixStream, shared: &Shared) {
    while let Ok(request) = receive(&mut connection) {
        let mut state = shared.state.lock().unwrap();
        state.requests.push(request.clone());
        let answer = match request[0] {
            0 => Vec::new(),
            1 | 2 => state.card.clone().unwrap_or_default(),
            3 if state.card.is_none() => Vec::new(),
            3 => match state.answers.pop_front() {
                Some(Answer::Response(response)) => response,
                Some(Answer::Leave) => {
                    state.card = None;
                    tell_presence(&mut state);
                    Vec::new()
                }
                None => vec![0x90, 0x00],
            },
            4 if state.refuse_escapes => vec![0x01],
            // What it was sent, backwards.
            4 => std::iter::once(0x00).chain(request[1..].iter().rev().copied()).collect(),
            5 => vec![u8::from(state.card.is_some())],
            other => panic!("no such request: {other:02x}"),
        };
        drop(shared.changed.wait_while(state, |state| state.hold && !state.unplugged).unwrap());
        if send(&mut connection, &answer).is_err() {
            break;
        }
    }
}

fn send(connection: &mut UnixStream, message: &[u8]) -> std::io::Result<()> {
    let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    connection.write_all(&bytes)
}

fn receive(connection: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    connection.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    connection.read_exact(&mut message)?;
    Ok(message)
}
