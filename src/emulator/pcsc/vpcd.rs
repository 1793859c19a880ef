//! A card behind vsmartcard's vpcd, a driver of pcscd that asks for its cards over TCP.
//!
//! vpcd listens, one port a slot. A connection is a card that lies there. Messages from vpcd of one byte are
//! [`Control`]s, of which only [`Control::Atr`] is answered; all others are APDUs. The ATR is asked for at each look at
//! the slot, every 400 ms.
//!
//! | what happens | what vpcd makes of it |
//! | --- | --- |
//! | connection closed | no card; an APDU under way gets an answer of no bytes |
//! | connection reset | the same; an APDU under way fails |
//! | a message of no bytes | vpcd waits for a byte more, for ever: an answer of no bytes is given by closing |
//! | no answer | vpcd waits for ever, and pcscd with it. [`DRIVER_PATIENCE`] stands for a driver's own bound: the connection is then reset |
//! | an ATR that is longer than any | a card that does not answer to power: the one way to show a mute one, since no ATR means no card |
//!
//! There are no escapes, and a reader that is unplugged looks like a card that was removed.
//!
//! Source: vsmartcard 3.3, `virtualsmartcard/src/vpcd/vpcd.c` and `ifd-vpcd.c`.

use super::messages::{Messages, message};
use super::reader::{CardReader, DRIVER_PATIENCE};
use crate::clock;
use crate::emulator::EmulatorError;
use crate::emulator::engine::{Counts, End, TICK_HALF, reached};
use crate::emulator::orders::{Fault, OrderError};
use encoder_protocols::card_sim::Field;
use encoder_protocols::dialect::CardAnswer;
use encoder_protocols::dialect::pcsc_storage::Profile;
use rustix::net::sockopt::set_tcp_quickack;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long to wait before vpcd is looked for again. It is there within the same time after pcscd was restarted, and
/// asking on loopback costs nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// How long no card is to be seen when one has left: longer than vpcd is looked at by, or the next card would be taken
/// for the one that left.
const ABSENCE: Duration = Duration::from_millis(600);

/// What a read takes at once.
const READ_BYTES_MAX: usize = 4096;

/// Longer than an ATR can be, which is 33 bytes: ISO/IEC 7816-3, 8.1.
const NO_ATR: [u8; 64] = [0; 64];

/// Where vpcd listens: `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcdAddress {
    host: String,
    port: u16,
}

/// What is not `HOST:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as HOST:PORT, such as 127.0.0.1:35963")]
pub struct VpcdAddressError;

impl FromStr for VpcdAddress {
    type Err = VpcdAddressError;

    fn from_str(text: &str) -> Result<Self, VpcdAddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(VpcdAddressError)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        // A colon that is left belongs to an IPv6 address, whose last group is no port.
        let is_host = !host.is_empty() && (bracketed.is_some() || !host.contains(':'));
        let port = port.parse().ok().filter(|port| *port > 0).filter(|_| is_host).ok_or(VpcdAddressError)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for VpcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// What a message of one byte asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Off,
    On,
    Reset,
    Atr,
}

impl Control {
    /// Source: `vpcd.h`, `VPCD_CTRL_*`.
    fn of(message: &[u8]) -> Option<Self> {
        match message {
            [0] => Some(Self::Off),
            [1] => Some(Self::On),
            [2] => Some(Self::Reset),
            [4] => Some(Self::Atr),
            _ => None,
        }
    }
}

/// A reader that shows its card to vpcd.
pub(in crate::emulator) struct VpcdEnd {
    reader: CardReader,
    address: VpcdAddress,
    connection: Connection,
    /// The reader is unplugged until then.
    unplugged: Option<Instant>,
    /// When the next card may be shown.
    absent_until: Instant,
    /// What the card that lies there last answered to power.
    atr: Option<Vec<u8>>,
    /// Whether it was told that vpcd is not there.
    has_complained: bool,
}

enum Connection {
    /// No card is to be seen.
    None,
    /// vpcd was not there; look again then.
    Later(Instant),
    Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>),
    Connected(Link),
}

struct Link {
    stream: TcpStream,
    messages: Messages,
    /// What vpcd waits for.
    awaited: Option<Awaited>,
    /// Whether vpcd has taken the connection: it has said something.
    is_taken: bool,
}

enum Awaited {
    /// An answer that is on its way until then.
    Answer { body: Vec<u8>, due: Instant, is_apdu: bool },
    /// An answer that never comes; vpcd is rid of waiting then.
    Nothing { until: Instant },
}

impl Awaited {
    fn due(&self) -> Instant {
        match self {
            Self::Answer { due, .. } => *due,
            Self::Nothing { until } => *until,
        }
    }
}

impl VpcdEnd {
    pub(in crate::emulator) fn new(profile: &'static Profile, address: VpcdAddress, pace: bool) -> Self {
        Self {
            reader: CardReader::new(profile, pace),
            address,
            connection: Connection::None,
            unplugged: None,
            absent_until: clock::now(),
            atr: None,
            has_complained: false,
        }
    }

    /// Connects when there is a card to be seen, hangs up when there is none.
    fn show_card(&mut self) {
        let now = clock::now();
        let is_shown = self.reader.is_present() && self.unplugged.is_none();
        match &self.connection {
            Connection::None if !is_shown || self.reader.is_silent() => {}
            Connection::None if now < self.absent_until => self.connection = Connection::Later(self.absent_until),
            Connection::None => self.connect(),
            Connection::Later(_) | Connection::Connecting(_) | Connection::Connected(_) if !is_shown => {
                if matches!(self.connection, Connection::Connected(_)) {
                    self.absent_until = now + ABSENCE;
                }
                self.connection = Connection::None;
                self.reader.power_off();
                self.atr = None;
            }
            Connection::Later(_) | Connection::Connecting(_) | Connection::Connected(_) => {}
        }
    }

    fn connect(&mut self) {
        let VpcdAddress { host, port } = self.address.clone();
        self.connection = Connection::Connecting(Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }));
    }

    /// The connection is over; while a card lies there, another one follows. At once, so that vpcd's next look finds
    /// the card, unless this is not vpcd and hangs up again and again.
    fn hung_up(&mut self) {
        let is_vpcd = matches!(&self.connection, Connection::Connected(link) if link.is_taken);
        self.connection = if is_vpcd { Connection::None } else { Connection::Later(clock::now() + PAUSE) };
        self.show_card();
    }

    fn connected(&mut self, connected: io::Result<TcpStream>) {
        self.connection = match connected {
            Ok(stream) => {
                self.has_complained = false;
                Connection::Connected(Link { stream, messages: Messages::default(), awaited: None, is_taken: false })
            }
            Err(error) => {
                if !self.has_complained {
                    let address = &self.address;
                    tracing::warn!(%address, %error, "vpcd is not there; does pcscd run with it? looking for it again and again");
                    self.has_complained = true;
                }
                Connection::Later(clock::now() + PAUSE)
            }
        };
    }

    /// Takes what arrived; false when vpcd has hung up.
    fn receive(&mut self) -> bool {
        let Connection::Connected(link) = &mut self.connection else { return true };
        let mut bytes = [0; READ_BYTES_MAX];
        match link.stream.try_read(&mut bytes) {
            Ok(0) => false,
            Ok(len) => {
                link.is_taken = true;
                // vpcd 3.3 sends length and body one after the other, and its kernel holds the body back until the
                // length is acknowledged, which ours would put off for 40 ms. Has to be said again after each read.
                let _slower_without = set_tcp_quickack(&link.stream, true);
                link.messages.push(bytes.get(..len).unwrap_or_default())
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Answers what was asked, one after the other; false when the connection is over.
    fn answer(&mut self) -> bool {
        loop {
            let now = clock::now();
            let Connection::Connected(link) = &mut self.connection else { return true };
            match link.awaited.take_if(|awaited| awaited.due() <= now + TICK_HALF) {
                Some(Awaited::Answer { body, .. }) if body.is_empty() => return false,
                Some(Awaited::Answer { body, is_apdu, .. }) => {
                    let sent = message(&body).is_some_and(|message| {
                        // vpcd asks once and waits, so there is room, or vpcd is at fault.
                        link.stream.try_write(&message).is_ok_and(|len| len == message.len())
                    });
                    if !sent {
                        return false;
                    }
                    if is_apdu {
                        self.reader.delivered(&body);
                    }
                }
                Some(Awaited::Nothing { .. }) => {
                    let _closes_all_the_same = link.stream.set_zero_linger();
                    return false;
                }
                None if link.awaited.is_some() => return true,
                None => match link.messages.take() {
                    Some(message) => link.awaited = respond(&mut self.reader, &mut self.atr, &message, now),
                    None => return true,
                },
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let due = match &self.connection {
            Connection::None | Connection::Connecting(_) => None,
            Connection::Later(then) => Some(*then),
            Connection::Connected(link) => link.awaited.as_ref().map(|awaited| awaited.due() - TICK_HALF),
        };
        due.into_iter().chain(self.unplugged).min()
    }

    /// Does what is due by the clock.
    fn wake(&mut self) {
        let now = clock::now();
        if self.unplugged.take_if(|until| *until <= now).is_some() {
            self.reader.power_cycle();
            self.show_card();
        }
        if matches!(self.connection, Connection::Later(then) if then <= now) {
            self.connect();
        }
    }
}

/// Does what vpcd asks for; what it then waits for.
fn respond(reader: &mut CardReader, atr: &mut Option<Vec<u8>>, message: &[u8], now: Instant) -> Option<Awaited> {
    let nothing = Awaited::Nothing { until: now + DRIVER_PATIENCE };
    match Control::of(message) {
        Some(Control::Atr) if reader.is_silent() => Some(nothing),
        Some(Control::Off | Control::On | Control::Reset) if reader.is_silent() => None,
        Some(Control::Off) => {
            reader.power_off();
            None
        }
        Some(Control::On | Control::Reset) => {
            *atr = Some(power_on(reader));
            None
        }
        Some(Control::Atr) => {
            let body = atr.get_or_insert_with(|| power_on(reader)).clone();
            Some(Awaited::Answer { body, due: now, is_apdu: false })
        }
        None => Some(match reader.transmit(message) {
            Some(CardAnswer { bytes, takes }) => Awaited::Answer { body: bytes, due: now + takes, is_apdu: true },
            None => nothing,
        }),
    }
}

fn power_on(reader: &mut CardReader) -> Vec<u8> {
    reader.power_on().unwrap_or_else(|| NO_ATR.to_vec())
}

impl End for VpcdEnd {
    fn field(&mut self) -> &mut Field {
        self.reader.field()
    }

    fn counts(&self) -> Counts {
        self.reader.counts()
    }

    fn suffer(&mut self, fault: Fault, now: Instant) -> Result<(), OrderError> {
        self.reader.suffer(fault)?;
        if let Fault::Unplug(time) = fault {
            let until = now + time;
            self.unplugged = Some(self.unplugged.map_or(until, |before| before.max(until)));
        }
        let Connection::Connected(link) = &mut self.connection else { return Ok(()) };
        if let (Fault::Delay(Duration::ZERO), Some(Awaited::Answer { due, .. })) = (fault, &mut link.awaited) {
            // Zero also lets go of what is held.
            *due = now;
        }
        if let (Fault::Silent(true), Some(awaited)) = (fault, &mut link.awaited) {
            *awaited = Awaited::Nothing { until: now + DRIVER_PATIENCE };
        }
        Ok(())
    }

    fn ordered(&mut self, _now: Instant) {
        self.show_card();
    }

    async fn step(&mut self) -> Result<(), EmulatorError> {
        let due = self.due();
        let connected = async {
            match &mut self.connection {
                Connection::Connecting(connecting) => Some(connecting.await),
                Connection::Connected(link) => {
                    // Also ready when vpcd has hung up, which the read then finds.
                    let _readable = link.stream.readable().await;
                    None
                }
                Connection::None | Connection::Later(_) => std::future::pending().await,
            }
        };
        let connected = tokio::select! {
            connected = connected => connected,
            () = reached(due) => None,
        };
        if let Some(connected) = connected {
            self.connected(connected);
        }
        self.wake();
        if !(self.receive() && self.answer()) {
            self.hung_up();
        }
        // An APDU may have been the end of a card's stay.
        self.show_card();
        Ok(())
    }
}
