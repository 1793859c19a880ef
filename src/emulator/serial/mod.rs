//! The reader's end of a serial line: a pty with a device behind it.
//!
//! | file | what |
//! | --- | --- |
//! | `port`, `link` | the pty, and the symlink that gives it a lasting name |
//! | `line` | when bytes arrive, and which faults they meet |

mod line;
mod link;
mod port;

use super::EmulatorError;
use super::engine::{Counts, End, count, one_more, reached};
use super::orders::{Fault, OrderError};
use crate::clock;
use encoder_protocols::card_sim::Field;
use encoder_protocols::dialect::{Device, Reader, Transmission};
use line::Line;
use port::{Chunk, Port};
use std::io;
use std::path::PathBuf;
use tokio::sync::watch;
use tokio::time::Instant;

/// Transmissions delivered before other events get their turn.
const TRANSMISSIONS_AT_ONCE: usize = 16;

/// The encoder's cable.
enum Plug {
    In(Port),
    Out { until: Instant },
}

/// A reader on a pty.
pub(super) struct SerialEnd {
    reader: &'static Reader,
    device: Box<dyn Device>,
    line: Line,
    plug: Plug,
    link: Option<PathBuf>,
    /// The pty's path, for whoever follows it across an unplugging.
    path: watch::Sender<PathBuf>,
    is_silent: bool,
    bytes_in: u64,
    bytes_out: u64,
}

impl SerialEnd {
    /// Plugs the reader in.
    pub(super) fn new(reader: &'static Reader, link: Option<PathBuf>, pace: bool) -> Result<Self, EmulatorError> {
        let port = Port::open(reader.baud, link.as_deref())?;
        let mut device = (reader.device)();
        device.set_pace(pace);
        Ok(Self {
            reader,
            device,
            line: Line::new(clock::now()),
            path: watch::Sender::new(port.path().to_owned()),
            plug: Plug::In(port),
            link,
            is_silent: false,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    /// The pty's path, the latest one while the encoder is unplugged.
    pub(super) fn path(&self) -> watch::Receiver<PathBuf> {
        self.path.subscribe()
    }

    fn receive(&mut self, chunk: &Chunk) {
        self.bytes_in += count(&chunk.bytes);
        if !self.is_silent {
            self.line.reader_woke(clock::now());
            self.device.receive(&chunk.bytes, chunk.baud);
            self.withdraw(clock::now());
        }
    }

    /// Takes back an answer that the reader does not give any more.
    fn withdraw(&mut self, now: Instant) {
        if self.device.withdraws(self.line.is_answer_unsent()) {
            self.line.withdraw(now);
        }
    }

    /// Moves what the reader has to say; true when there may be more at once.
    fn pump(&mut self) -> bool {
        let now = clock::now();
        for _ in 0..TRANSMISSIONS_AT_ONCE {
            let is_idle = !self.is_silent && !self.line.is_sending();
            let transmission = is_idle.then(|| self.device.poll()).flatten();
            let has_spoken = transmission.is_some();
            if let Some(transmission) = transmission {
                self.line.send(transmission);
            }
            match self.line.arrived(now) {
                Some(transmission) => self.deliver(&transmission),
                None if has_spoken => {}
                None => return false,
            }
        }
        true
    }

    fn deliver(&mut self, transmission: &Transmission) {
        let Plug::In(port) = &self.plug else { return };
        self.bytes_out += count(&transmission.bytes);
        if port.host_baud().is_ok_and(|baud| baud == transmission.baud) {
            port.send(&transmission.bytes);
        } else {
            port.send(&line::noise(&transmission.bytes));
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.plug {
            Plug::In(_) => self.line.due(),
            Plug::Out { until } => Some(*until),
        }
    }

    fn set_silent(&mut self, is_silent: bool, now: Instant) {
        self.is_silent = is_silent;
        if is_silent {
            self.line.cut(now);
            // What it was about to say it has forgotten when it speaks again.
            let _unsaid = (0..TRANSMISSIONS_AT_ONCE).map_while(|_| self.device.poll()).count();
        }
    }

    /// Pulls the plug, or leaves it out for longer.
    fn unplug(&mut self, until: Instant) {
        let until = match &self.plug {
            Plug::In(_) => until,
            Plug::Out { until: before } => until.max(*before),
        };
        // The old pty and its link go with the value that is replaced.
        self.plug = Plug::Out { until };
        self.line.cut(clock::now());
    }

    fn plug_in_if_due(&mut self) -> Result<(), EmulatorError> {
        let Plug::Out { until } = self.plug else { return Ok(()) };
        if until > clock::now() {
            return Ok(());
        }
        self.device.power_cycle();
        let port = Port::open(self.reader.baud, self.link.as_deref())?;
        self.path.send_replace(port.path().to_owned());
        self.plug = Plug::In(port);
        Ok(())
    }
}

impl End for SerialEnd {
    fn field(&mut self) -> &mut Field {
        self.device.field()
    }

    fn counts(&self) -> Counts {
        Counts { reader: self.device.counters(), bytes_in: self.bytes_in, bytes_out: self.bytes_out }
    }

    fn suffer(&mut self, fault: Fault, now: Instant) -> Result<(), OrderError> {
        match fault {
            Fault::DropNext => one_more(&mut self.line.faults.drop_answers),
            Fault::DropAck => one_more(&mut self.line.faults.drop_acks),
            Fault::CorruptNext => one_more(&mut self.line.faults.corrupt_answers),
            Fault::Garbage(count) => self.line.garbage = usize::from(count),
            Fault::Trickle(on) => self.line.trickle = on,
            Fault::Delay(delay) => self.line.set_delay(delay, now),
            Fault::Unplug(time) => self.unplug(now + time),
            Fault::Silent(is_silent) => self.set_silent(is_silent, now),
            Fault::Mute(_) | Fault::EmptyNext | Fault::StatusWord { .. } => return Err(OrderError::NeedsPcsc),
        }
        Ok(())
    }

    /// A reader that waits for a card begins to answer when one comes.
    fn ordered(&mut self, now: Instant) {
        self.line.reader_woke(now);
        self.withdraw(now);
    }

    async fn step(&mut self) -> Result<(), EmulatorError> {
        let wake = if self.pump() { Some(clock::now()) } else { self.due() };
        tokio::select! {
            chunk = received(&self.plug) => self.receive(&chunk.map_err(EmulatorError::Pty)?),
            () = reached(wake) => self.plug_in_if_due()?,
        }
        Ok(())
    }
}

async fn received(plug: &Plug) -> io::Result<Chunk> {
    match plug {
        Plug::In(port) => port.read().await,
        Plug::Out { .. } => std::future::pending().await,
    }
}
