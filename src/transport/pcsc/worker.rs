//! The thread behind a line: makes the blocking calls to one reader, one after the other.

use super::attributes::{UsbAddress, atr, leave, usb_address};
use super::error::{Meaning, meaning};
use crate::transport::Gone;
use encoder_protocols::apdu::Apdu;
use encoder_protocols::dialect::CardFailure;
use pcsc::{Card, Context, Disposition, MAX_BUFFER_SIZE, Protocols, Scope, ShareMode};
use std::ffi::CString;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use zeroize::{Zeroize, Zeroizing};

/// What a line asks of its thread.
#[derive(Debug)]
pub(in crate::transport) enum Call {
    /// Connect, and begin a transaction.
    Connect,
    /// Switch the card's power off and on.
    PowerCycle,
    /// Send an APDU.
    Transmit(Apdu),
    /// Send bytes to the reader itself.
    Escape(Zeroizing<Vec<u8>>),
    /// Let go of the card.
    Disconnect,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::transport) enum Answer {
    /// The card has power; its ATR, if the driver says it.
    Powered(Option<Vec<u8>>),
    /// The answer to an APDU or an escape.
    Response(Zeroizing<Vec<u8>>),
    /// The card is left to others.
    Disconnected,
    /// It did not work.
    Failed(CardFailure),
    /// The reader or the service is gone.
    Gone,
}

/// A call on its way to the thread.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) call: Call,
    /// Closed when nobody waits any more: what the call brought about is then undone.
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Pauses between attempts to connect while another program has the reader for itself: 600 ms in all. Programs that ask
/// a card who it is are done sooner.
const IN_USE_PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(120),
    Duration::from_millis(200),
    Duration::from_millis(200),
];

/// Resets in a row by others that a connect puts up with.
const RESETS_MAX: usize = 5;

/// The control code for bytes to the reader itself: `SCARD_CTL_CODE(1)`, `IOCTL_SMARTCARD_VENDOR_IFD_EXCHANGE` of
/// libccid and acsccid.
const ESCAPE: u32 = 1;

const PROTOCOLS: Protocols = Protocols::T0.union(Protocols::T1);

/// Carries out requests until the line is dropped.
pub(super) fn serve(
    reader: CString,
    address: Option<UsbAddress>,
    requests: &Receiver<Request>,
    completed: &watch::Sender<u64>,
) {
    let mut worker = Worker { reader, address, context: None, card: None };
    while let Ok(Request { call, answer }) = requests.recv() {
        let outcome = worker.carry_out(&call);
        if matches!(outcome, Err(Trouble::Gone)) {
            worker.forget();
        }
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(Trouble::Card(failure)) => Answer::Failed(failure),
            Err(Trouble::Gone) => Answer::Gone,
        };
        if answer.send(outcome).is_err() {
            // Given up by whoever asked: nothing may stay locked for a card that nobody works on.
            worker.leave();
        }
        completed.send_modify(|count| *count += 1);
    }
    worker.leave();
}

/// One reader as its thread holds it. A card that is held is in a transaction.
struct Worker {
    reader: CString,
    /// Where the reader was when it was last connected to.
    address: Option<UsbAddress>,
    context: Option<Context>,
    card: Option<Card>,
}

/// Why a call did not work.
enum Trouble {
    Card(CardFailure),
    Gone,
}

impl From<Gone> for Trouble {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<pcsc::Error> for Trouble {
    fn from(error: pcsc::Error) -> Self {
        match meaning(error) {
            // A line is opened anew when the monitor says that the service lets us in.
            Meaning::ServiceGone | Meaning::ReaderGone | Meaning::Denied => Self::Gone,
            Meaning::NoCard => Self::Card(CardFailure::NoCard),
            Meaning::Mute => Self::Card(CardFailure::Mute),
            Meaning::Reset => Self::Card(CardFailure::Reset),
            Meaning::InUse => Self::Card(CardFailure::InUse),
            Meaning::NotTransacted | Meaning::Unsupported | Meaning::TimedOut | Meaning::Cancelled => {
                Self::Card(CardFailure::NotTransacted)
            }
        }
    }
}

impl Worker {
    fn carry_out(&mut self, call: &Call) -> Result<Answer, Trouble> {
        match call {
            Call::Connect => self.connect(),
            Call::PowerCycle => self.power_cycle(),
            Call::Transmit(apdu) => self.transmit(apdu),
            Call::Escape(bytes) => self.escape(bytes),
            Call::Disconnect => {
                self.leave();
                Ok(Answer::Disconnected)
            }
        }
    }

    /// Lets go of the card. Ends the transaction, too: pcscd releases all locks of the handle (`RFUnlockAllSharing`).
    fn leave(&mut self) {
        if let Some(card) = self.card.take() {
            leave(card);
        }
    }

    /// Drops what belongs to a service or a reader that is gone.
    fn forget(&mut self) {
        self.leave();
        self.context = None;
    }

    fn context(&mut self) -> Result<&Context, pcsc::Error> {
        let context = match self.context.take() {
            Some(context) => context,
            None => Context::establish(Scope::System)?,
        };
        Ok(self.context.insert(context))
    }

    fn connect(&mut self) -> Result<Answer, Trouble> {
        if let Some(card) = &mut self.card {
            // Asking tells whether it is still the same card, with its power on.
            match atr(card) {
                Ok(atr) => return Ok(Answer::Powered(atr)),
                Err(_reset_or_removed) => self.leave(),
            }
        }
        let card = self.connect_shared()?;
        let card = self.card.insert(card);
        match begin(card) {
            Ok(atr) => {
                self.stays_at_its_address()?;
                Ok(Answer::Powered(atr))
            }
            Err(error) => {
                self.leave();
                Err(error.into())
            }
        }
    }

    fn connect_shared(&mut self) -> Result<Card, pcsc::Error> {
        let mut pauses = IN_USE_PAUSES.iter();
        loop {
            let reader = self.reader.clone();
            match self.context()?.connect(&reader, ShareMode::Shared, PROTOCOLS) {
                // Reset: at this moment, or another program speaks another protocol with the card.
                Err(error) if matches!(meaning(error), Meaning::InUse | Meaning::Reset) => match pauses.next() {
                    Some(pause) => std::thread::park_timeout(*pause),
                    None => return Err(pcsc::Error::SharingViolation),
                },
                connected => return connected,
            }
        }
    }

    /// A reader that was unplugged and another one that took its name between two events would look the same by name
    /// and by count. The device number on the USB tells them apart.
    fn stays_at_its_address(&mut self) -> Result<(), Gone> {
        let address = self.card.as_ref().and_then(usb_address);
        if self.address.is_some() && address != self.address {
            tracing::debug!(reader = ?self.reader, before = ?self.address, now = ?address, "another reader has this name");
            return Err(Gone);
        }
        self.address = address;
        Ok(())
    }

    /// The connected card; connects first where a call that was given up has left it.
    fn held(&mut self) -> Result<&mut Card, Trouble> {
        if self.card.is_none() {
            self.connect()?;
            return Err(Trouble::Card(CardFailure::Reset));
        }
        self.card.as_mut().ok_or(Trouble::Gone)
    }

    /// Switches the card's power off and on. pcscd keeps the transaction meanwhile: `SCardReconnect` touches no lock.
    fn power_cycle(&mut self) -> Result<Answer, Trouble> {
        if self.card.is_none() {
            self.connect()?;
        }
        let card = self.card.as_mut().ok_or(Trouble::Gone)?;
        let cycled = card.reconnect(ShareMode::Shared, PROTOCOLS, Disposition::UnpowerCard).and_then(|()| atr(card));
        match cycled {
            Ok(atr) => Ok(Answer::Powered(atr)),
            Err(error) => {
                self.leave();
                Err(error.into())
            }
        }
    }

    fn transmit(&mut self, apdu: &[u8]) -> Result<Answer, Trouble> {
        let card = self.held()?;
        let mut buffer = Zeroizing::new([0; MAX_BUFFER_SIZE]);
        let error = match card.transmit(apdu, buffer.as_mut_slice()) {
            Ok(response) => return Ok(Answer::Response(Zeroizing::new(response.to_vec()))),
            Err(error) => error,
        };
        tracing::debug!(%error, bytes = apdu.len(), "an APDU was not answered");
        match meaning(error) {
            Meaning::Reset => match card.reconnect(ShareMode::Shared, PROTOCOLS, Disposition::LeaveCard) {
                Ok(()) => Err(Trouble::Card(CardFailure::Reset)),
                Err(error) => {
                    self.leave();
                    Err(error.into())
                }
            },
            Meaning::NoCard | Meaning::Mute => {
                self.leave();
                Err(error.into())
            }
            Meaning::ServiceGone
            | Meaning::Denied
            | Meaning::ReaderGone
            | Meaning::InUse
            | Meaning::NotTransacted
            | Meaning::Unsupported
            | Meaning::TimedOut
            | Meaning::Cancelled => Err(error.into()),
        }
    }

    fn escape(&mut self, bytes: &[u8]) -> Result<Answer, Trouble> {
        if let Some(card) = &self.card {
            return control(card, bytes);
        }
        let reader = self.reader.clone();
        let bare = self.context()?.connect(&reader, ShareMode::Direct, Protocols::UNDEFINED)?;
        let answered = control(&bare, bytes);
        leave(bare);
        answered
    }
}

/// Begins a transaction, and returns the card's ATR if the driver says it. A reset by somebody else before it is no
/// loss: nothing is authenticated yet.
fn begin(card: &mut Card) -> Result<Option<Vec<u8>>, pcsc::Error> {
    let mut resets = 0;
    loop {
        let begun = match card.transaction() {
            Ok(transaction) => {
                // Kept beyond this borrow: the disconnect ends it.
                std::mem::forget(transaction);
                Ok(())
            }
            Err(error) => Err(error),
        };
        match begun.and_then(|()| atr(card)) {
            Err(error) if meaning(error) == Meaning::Reset && resets < RESETS_MAX => {
                resets += 1;
                card.reconnect(ShareMode::Shared, PROTOCOLS, Disposition::LeaveCard)?;
            }
            result => return result,
        }
    }
}

fn control(card: &Card, bytes: &[u8]) -> Result<Answer, Trouble> {
    let mut buffer = [0; MAX_BUFFER_SIZE];
    let answered = card.control(pcsc::ctl_code(ESCAPE.into()), bytes, &mut buffer);
    let answered = match answered {
        Ok(response) => Ok(Answer::Response(Zeroizing::new(response.to_vec()))),
        Err(error) => match meaning(error) {
            Meaning::NotTransacted | Meaning::Unsupported => Err(Trouble::Card(CardFailure::Refused)),
            Meaning::ServiceGone
            | Meaning::Denied
            | Meaning::ReaderGone
            | Meaning::NoCard
            | Meaning::Mute
            | Meaning::Reset
            | Meaning::InUse
            | Meaning::TimedOut
            | Meaning::Cancelled => Err(error.into()),
        },
    };
    buffer.zeroize();
    answered
}
