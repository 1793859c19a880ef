//! A whole USB reader on a virtual bus directory, for the driver that our tests load into a real pcscd.
//!
//! The driver connects to the reader's socket and says on each connection first what it is for:
//!
//! | first message | then |
//! | --- | --- |
//! | `C` | requests, each with one answer; see [`Request`] |
//! | `E` | nothing more; the reader says at once and at each change whether a card lies there: `00` or `01` |
//!
//! A reader that has lost an answer says nothing: the driver gives it up as it would a real one.

use super::messages::{Messages, message};
use super::plug::{Device, Plugged, UsbPort};
use super::reader::CardReader;
use crate::clock;
use crate::emulator::EmulatorError;
use crate::emulator::engine::{Counts, End, TICK_HALF, reached};
use crate::emulator::orders::{Fault, OrderError};
use encoder_protocols::card_sim::Field;
use encoder_protocols::dialect::pcsc_storage::Profile;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// How many connections are served; a driver has two.
const CONNECTIONS_MAX: usize = 16;

/// What a read takes at once.
const READ_BYTES_MAX: usize = 4096;

/// A request of the driver: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request<'a> {
    /// `00`: power off. Answer: nothing, a message without bytes.
    PowerOff,
    /// `01` power on, `02` reset. Answer: the ATR, or nothing from a mute card or none.
    PowerOn,
    /// `03` and an APDU. Answer: the response, or nothing when the card left.
    Transmit(&'a [u8]),
    /// `04` and an escape. Answer: `00` and the response, or `01`: refused.
    Escape(&'a [u8]),
    /// `05`: is a card there? Answer: `00` or `01`.
    Presence,
}

impl<'a> Request<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        match message {
            [0x00] => Some(Self::PowerOff),
            [0x01 | 0x02] => Some(Self::PowerOn),
            [0x03, apdu @ ..] => Some(Self::Transmit(apdu)),
            [0x04, escape @ ..] => Some(Self::Escape(escape)),
            [0x05] => Some(Self::Presence),
            _ => None,
        }
    }
}

/// A USB reader.
pub(in crate::emulator) struct BusEnd {
    reader: CardReader,
    device: Device,
    plug: Plug,
    /// Whether the events say that a card lies there.
    is_told_present: bool,
    /// The reader's socket, for whoever follows it across an unplugging.
    path: watch::Sender<PathBuf>,
}

/// The reader's cable.
enum Plug {
    In(Socket),
    Out { until: Instant },
}

/// What a plugged in reader listens to.
struct Socket {
    connections: Vec<Connection>,
    listener: UnixListener,
    plugged: Plugged,
}

struct Connection {
    stream: UnixStream,
    messages: Messages,
    purpose: Option<Purpose>,
    /// An answer on its way.
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Commands,
    Events,
}

struct Held {
    answer: Vec<u8>,
    due: Instant,
    /// Whether it comes from a card, which may leave meanwhile.
    is_apdu: bool,
}

impl BusEnd {
    /// Plugs the reader in.
    pub(in crate::emulator) fn new(
        profile: &'static Profile,
        (directory, port): (PathBuf, UsbPort),
        serial: Option<String>,
        pace: bool,
    ) -> Result<Self, EmulatorError> {
        let device = Device { directory, port, profile, serial };
        let socket = Socket::open(&device)?;
        let path = watch::Sender::new(socket.plugged.socket.clone());
        let reader = CardReader::new(profile, pace);
        Ok(Self { reader, device, plug: Plug::In(socket), is_told_present: false, path })
    }

    /// The reader's socket, the latest one while it is unplugged.
    pub(in crate::emulator) fn path(&self) -> watch::Receiver<PathBuf> {
        self.path.subscribe()
    }

    fn plug_in_if_due(&mut self) -> Result<(), EmulatorError> {
        let Plug::Out { until } = self.plug else { return Ok(()) };
        if until > clock::now() {
            return Ok(());
        }
        self.reader.power_cycle();
        let socket = Socket::open(&self.device)?;
        self.path.send_replace(socket.plugged.socket.clone());
        self.plug = Plug::In(socket);
        Ok(())
    }

    /// Says on the event connections what has changed.
    fn tell_presence(&mut self) {
        let is_present = self.reader.is_present();
        let Plug::In(socket) = &mut self.plug else { return };
        if is_present == self.is_told_present || self.reader.is_silent() {
            return;
        }
        self.is_told_present = is_present;
        let now = clock::now();
        socket.connections.retain_mut(|connection| {
            if let Some(held) = connection.held.as_mut().filter(|held| held.is_apdu && !is_present) {
                // The card left while it was at work.
                held.answer.clear();
                held.due = now;
            }
            connection.purpose != Some(Purpose::Events) || connection.send(&[u8::from(is_present)])
        });
    }

    /// Answers what was asked and sends what is due.
    fn serve(&mut self) {
        let Plug::In(socket) = &mut self.plug else { return };
        let (reader, is_told_present) = (&mut self.reader, self.is_told_present);
        socket.connections.retain_mut(|connection| connection.serve(reader, is_told_present));
    }

    fn due(&self) -> Option<Instant> {
        match &self.plug {
            Plug::Out { until } => Some(*until),
            Plug::In(socket) => {
                let held = socket.connections.iter().filter_map(|connection| connection.held.as_ref());
                held.map(|held| held.due - TICK_HALF).min()
            }
        }
    }
}

impl Socket {
    fn open(device: &Device) -> Result<Self, EmulatorError> {
        let (listener, plugged) = device.plug_in()?;
        Ok(Self { connections: Vec::new(), listener, plugged })
    }

    /// Takes connections and what arrives on them; ready when there was something.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut is_news = false;
        while self.connections.len() < CONNECTIONS_MAX
            && let Poll::Ready(accepted) = self.listener.poll_accept(context)
        {
            let (stream, _) = accepted?;
            let messages = Messages::default();
            self.connections.push(Connection { stream, messages, purpose: None, held: None });
            is_news = true;
        }
        self.connections.retain_mut(|connection| {
            let polled = connection.poll(context);
            is_news |= polled.is_ready();
            polled != Poll::Ready(false)
        });
        if is_news { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Connection {
    /// Takes what arrives; ready when there was something, with false when the driver is gone.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut is_news = false;
        let mut bytes = [0; READ_BYTES_MAX];
        while self.stream.poll_read_ready(context).is_ready() {
            is_news = true;
            match self.stream.try_read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(len) if len > 0 && self.messages.push(bytes.get(..len).unwrap_or_default()) => {}
                Ok(_) | Err(_) => return Poll::Ready(false),
            }
        }
        if is_news { Poll::Ready(true) } else { Poll::Pending }
    }

    /// Answers what was asked, one after the other, and sends what is due; false when the driver does not keep to the
    /// protocol, or does not read.
    fn serve(&mut self, reader: &mut CardReader, is_told_present: bool) -> bool {
        loop {
            let now = clock::now();
            if let Some(held) = self.held.take_if(|held| held.due <= now + TICK_HALF) {
                reader.delivered(held.answer.get(usize::from(!held.is_apdu)..).unwrap_or_default());
                if !self.send(&held.answer) {
                    return false;
                }
            }
            if self.held.is_some() {
                return true;
            }
            let Some(message) = self.messages.take() else { return true };
            let is_served = match (self.purpose, message.as_slice()) {
                (None, b"C") => {
                    self.purpose = Some(Purpose::Commands);
                    true
                }
                (None, b"E") => {
                    self.purpose = Some(Purpose::Events);
                    self.send(&[u8::from(is_told_present)])
                }
                (Some(Purpose::Commands), request) => self.request(reader, request, now),
                (None | Some(Purpose::Events), _) => false,
            };
            if !is_served {
                return false;
            }
        }
    }

    fn request(&mut self, reader: &mut CardReader, request: &[u8], now: Instant) -> bool {
        let Some(request) = Request::of(request) else { return false };
        match request {
            Request::Transmit(apdu) => {
                let answer = reader.transmit(apdu);
                self.held = answer.map(|answer| Held { answer: answer.bytes, due: now + answer.takes, is_apdu: true });
                true
            }
            _ if reader.is_silent() => true,
            Request::PowerOff => {
                reader.power_off();
                self.send(&[])
            }
            Request::PowerOn => self.send(&reader.power_on().unwrap_or_default()),
            Request::Presence => self.send(&[u8::from(reader.is_present())]),
            Request::Escape(escape) => match reader.escape(escape) {
                Some(answer) => {
                    let bytes = [&[0x00], answer.bytes.as_slice()].concat();
                    self.held = Some(Held { answer: bytes, due: now + answer.takes, is_apdu: false });
                    true
                }
                None => self.send(&[0x01]),
            },
        }
    }

    /// False when the driver does not read.
    fn send(&self, body: &[u8]) -> bool {
        message(body).is_some_and(|message| self.stream.try_write(&message).is_ok_and(|len| len == message.len()))
    }
}

impl End for BusEnd {
    fn field(&mut self) -> &mut Field {
        self.reader.field()
    }

    fn counts(&self) -> Counts {
        self.reader.counts()
    }

    fn suffer(&mut self, fault: Fault, now: Instant) -> Result<(), OrderError> {
        self.reader.suffer(fault)?;
        if let Fault::Unplug(time) = fault {
            let until = match &self.plug {
                Plug::In(_) => now + time,
                Plug::Out { until } => (*until).max(now + time),
            };
            self.plug = Plug::Out { until };
        }
        let Plug::In(socket) = &mut self.plug else { return Ok(()) };
        for connection in &mut socket.connections {
            if fault == Fault::Silent(true) {
                connection.held = None;
            }
            if let (Fault::Delay(Duration::ZERO), Some(held)) = (fault, &mut connection.held) {
                // Zero also lets go of what is held.
                held.due = now;
            }
        }
        Ok(())
    }

    fn ordered(&mut self, _now: Instant) {
        self.tell_presence();
    }

    async fn step(&mut self) -> Result<(), EmulatorError> {
        let due = self.due();
        let plug = &mut self.plug;
        let news = poll_fn(|context| match plug {
            Plug::In(socket) => socket.poll(context),
            Plug::Out { .. } => Poll::Pending,
        });
        let news = tokio::select! {
            news = news => news,
            () = reached(due) => Ok(()),
        };
        if let Err(error) = news {
            tracing::warn!(%error, "cannot take a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.plug_in_if_due()?;
        self.serve();
        // An APDU may have been the end of a card's stay.
        self.tell_presence();
        Ok(())
    }
}
