//! Host and device of an APDU dialect on an in-memory transport, which can spoil any exchange.
#![allow(dead_code, reason = "each test binary uses its part")]

use super::{Answer, uid4};
use encoder_protocols::apdu::Apdu;
use encoder_protocols::card_sim::{Card, ClassicCard};
use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::dialect::pcsc_storage::{Learnt, PcscStorageDevice, PcscStorageHost, Profile};
use encoder_protocols::dialect::{CardDevice, CardDialect, CardFailure, CardInput, CardOutput};

/// More outputs than any command may take.
pub const OUTPUTS_MAX: usize = 48;

/// What becomes of one output of the host, counted from zero.
pub enum Fate {
    /// It is carried out.
    Through,
    /// It is carried out, and the answer is another one.
    Answer(Vec<u8>),
    /// It is not carried out, and the answer is another one.
    Instead(Vec<u8>),
    /// It is not carried out.
    Fails(CardFailure),
    /// All cards leave before it.
    CardsLeave,
}

pub type Fates = Box<dyn FnMut(usize, &CardOutput) -> Fate>;

pub struct CardPair {
    pub host: PcscStorageHost,
    pub device: PcscStorageDevice,
    /// Every output of the host but `Done`.
    pub sent: Vec<CardOutput>,
    pub fates: Fates,
    /// The driver takes escape commands.
    pub escapes: bool,
    /// The card does not answer to power.
    pub mute: bool,
    connected: bool,
    atr: Vec<u8>,
}

impl CardPair {
    pub fn new(profile: &'static Profile) -> Self {
        Self::between(profile, profile, Learnt::default())
    }

    /// A host that takes the reader for another one.
    pub fn between(host: &'static Profile, device: &'static Profile, learnt: Learnt) -> Self {
        Self {
            host: PcscStorageHost::new(host, learnt),
            device: PcscStorageDevice::new(device),
            sent: Vec::new(),
            fates: Box::new(|_, _| Fate::Through),
            escapes: true,
            mute: false,
            connected: false,
            atr: Vec::new(),
        }
    }

    /// With one card on it, opened.
    pub fn with_card(profile: &'static Profile, card: ClassicCard) -> Self {
        let mut pair = Self::new(profile);
        pair.place(Card::Classic(card));
        assert!(matches!(pair.run(&CardCommand::Open), Ok(CardReply::Reader(_))));
        pair
    }

    pub fn place(&mut self, card: Card) {
        self.device.field().place(card).expect("no card with this UID lies there");
    }

    pub fn is_connected(&self) -> bool {
        self.connected
    }

    pub fn mend(&mut self) {
        self.fates = Box::new(|_, _| Fate::Through);
    }

    /// Spoils the n-th output from now, counted from zero.
    pub fn spoil(&mut self, nth: usize, fate: impl Fn() -> Fate + 'static) {
        self.sent.clear();
        self.fates = Box::new(move |at, _| if at == nth { fate() } else { Fate::Through });
    }

    /// Decides the fate of every APDU; the rest goes through.
    pub fn on_apdus(&mut self, mut fate: impl FnMut(&Apdu) -> Fate + 'static) {
        self.fates =
            Box::new(move |_, output| if let CardOutput::Transmit(apdu) = output { fate(apdu) } else { Fate::Through });
    }

    /// APDUs and escapes of the host so far.
    pub fn apdus(&self) -> usize {
        self.sent.iter().filter(|output| matches!(output, CardOutput::Transmit(_) | CardOutput::Escape(_))).count()
    }

    /// How many APDUs had this instruction byte.
    pub fn count(&self, instruction: u8) -> usize {
        self.bytes().filter(|apdu| apdu[..2] == [0xFF, instruction]).count()
    }

    pub fn bytes(&self) -> impl Iterator<Item = Vec<u8>> {
        self.sent.iter().filter_map(|output| match output {
            CardOutput::Transmit(apdu) => Some(apdu.to_vec()),
            CardOutput::Escape(bytes) => Some(bytes.clone()),
            CardOutput::Connect | CardOutput::PowerCycle | CardOutput::Disconnect | CardOutput::Done(_) => None,
        })
    }

    /// Runs a command to its end.
    pub fn run(&mut self, command: &CardCommand) -> Answer {
        self.host.begin(command);
        self.run_on(OUTPUTS_MAX).unwrap_or_else(|| panic!("{command:?} does not end: {:?}", self.sent))
    }

    /// Runs what has begun for some outputs; `None` when it is not over by then.
    pub fn run_on(&mut self, outputs_max: usize) -> Option<Answer> {
        for _ in 0..outputs_max {
            let output = self.host.poll();
            if let CardOutput::Done(result) = output {
                return Some(result);
            }
            let fate = (self.fates)(self.sent.len(), &output);
            self.sent.push(output.clone());
            match fate {
                Fate::Through => self.carry_out(&output, None),
                Fate::Answer(bytes) => self.carry_out(&output, Some(bytes)),
                Fate::Instead(bytes) => self.host.handle(CardInput::Response(&bytes)),
                Fate::Fails(failure) => {
                    self.connected &= !matches!(failure, CardFailure::NoCard | CardFailure::Mute | CardFailure::InUse);
                    if failure == CardFailure::Reset {
                        self.device.power_on();
                    }
                    self.host.handle(CardInput::Failed(failure));
                }
                Fate::CardsLeave => {
                    self.device.field().remove_all();
                    self.carry_out(&output, None);
                }
            }
        }
        None
    }

    fn carry_out(&mut self, output: &CardOutput, instead: Option<Vec<u8>>) {
        match output {
            // Nothing, where it is so already.
            CardOutput::Connect if self.connected => {
                let atr = self.atr.clone();
                self.host.handle(CardInput::Powered(&atr));
            }
            CardOutput::Connect | CardOutput::PowerCycle => self.power(),
            CardOutput::Transmit(apdu) if self.connected => {
                let answer = instead.unwrap_or(self.device.transmit(apdu).bytes);
                self.host.handle(CardInput::Response(&answer));
            }
            CardOutput::Transmit(_) => self.host.handle(CardInput::Failed(CardFailure::NoCard)),
            CardOutput::Escape(bytes) => {
                let answer = if self.escapes { self.device.escape(bytes) } else { None };
                match answer {
                    Some(answer) => self.host.handle(CardInput::Response(&instead.unwrap_or(answer.bytes))),
                    None => self.host.handle(CardInput::Failed(CardFailure::Refused)),
                }
            }
            CardOutput::Disconnect => {
                self.connected = false;
                self.host.handle(CardInput::Disconnected);
            }
            CardOutput::Done(_) => unreachable!("the command has ended"),
        }
    }

    fn power(&mut self) {
        let atr = if self.mute { None } else { self.device.power_on() };
        self.connected = atr.is_some();
        match atr {
            Some(atr) => {
                self.atr.clone_from(&atr);
                self.host.handle(CardInput::Powered(&atr));
            }
            None if self.device.is_present() => self.host.handle(CardInput::Failed(CardFailure::Mute)),
            None => self.host.handle(CardInput::Failed(CardFailure::NoCard)),
        }
    }

    /// The memory of the only card, wherever it is.
    pub fn dump(&mut self) -> Vec<u8> {
        self.device.field().classic().expect("one Classic card").dump()
    }
}

/// A card that no transport key opens: sector 1 has these.
pub const SECRET: [u8; 6] = [0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6];

/// A blank card whose sectors have [`SECRET`] as key A and, read from the same bytes backwards, as key B.
pub fn secret_card() -> ClassicCard {
    let mut card = ClassicCard::blank(encoder_protocols::family::classic::ClassicSize::K1, uid4());
    for sector in card.size().sector_numbers() {
        let mut trailer = *card.memory(sector.trailer()).expect("the card has it");
        trailer[..6].copy_from_slice(&SECRET);
        trailer[10..].copy_from_slice(&SECRET.map(|byte| !byte));
        card.set_memory(sector.trailer(), trailer);
    }
    card
}
