//! A PC/SC reader as its driver meets it: power, APDUs, escapes, and the faults they run into.
//!
//! Faults and delay concern APDUs. What a driver asks by itself (power, presence) would use them up before a host's
//! command came.

use crate::emulator::engine::{Counts, corrupt, count, one_more, spend};
use crate::emulator::orders::{Fault, OrderError};
use encoder_protocols::card_sim::Field;
use encoder_protocols::dialect::pcsc_storage::{PcscStorageDevice, Profile};
use encoder_protocols::dialect::{CardAnswer, CardDevice as _};
use std::mem;
use std::time::Duration;

/// How long a driver waits for a reader that has fallen silent.
///
/// Source: libccid, `src/defs.h`, `DEFAULT_COM_READ_TIMEOUT`.
pub(super) const DRIVER_PATIENCE: Duration = Duration::from_secs(3);

/// A reader with the cards on it.
pub(super) struct CardReader {
    profile: &'static Profile,
    device: PcscStorageDevice,
    pace: bool,
    faults: Faults,
    delay: Duration,
    /// Whether the reader ignores everything.
    is_silent: bool,
    /// Whether cards do not answer to power.
    is_mute: bool,
    /// What was counted before the device was last plugged in, and what the device does not see.
    counts: Counts,
}

/// What is planned to go wrong.
#[derive(Default)]
struct Faults {
    /// So many answers to lose.
    drop: u32,
    /// So many answers in which to flip a bit.
    corrupt: u32,
    /// So many answers to empty.
    empty: u32,
    /// This status word, after so many other APDUs.
    status_word: Option<([u8; 2], u32)>,
}

impl CardReader {
    /// A reader without cards.
    pub(super) fn new(profile: &'static Profile, pace: bool) -> Self {
        let mut reader = Self {
            profile,
            device: PcscStorageDevice::new(profile),
            pace,
            faults: Faults::default(),
            delay: Duration::ZERO,
            is_silent: false,
            is_mute: false,
            counts: Counts::default(),
        };
        reader.device.set_pace(pace);
        reader
    }

    pub(super) fn field(&mut self) -> &mut Field {
        self.device.field()
    }

    pub(super) fn is_present(&self) -> bool {
        self.device.is_present()
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Switches the card's power off and on. The ATR; `None` when the card does not answer.
    pub(super) fn power_on(&mut self) -> Option<Vec<u8>> {
        if self.is_mute {
            self.device.power_off();
            return None;
        }
        self.device.power_on()
    }

    pub(super) fn power_off(&mut self) {
        self.device.power_off();
    }

    /// Answers an APDU; `None` when the answer is lost.
    pub(super) fn transmit(&mut self, apdu: &[u8]) -> Option<CardAnswer> {
        self.counts.bytes_in += count(apdu);
        if self.is_silent {
            return None;
        }
        let planned = match self.faults.status_word.take() {
            Some((sw, 0)) => Some(sw),
            Some((sw, others)) => {
                self.faults.status_word = Some((sw, others - 1));
                None
            }
            None => None,
        };
        let mut answer = if let Some(sw) = planned {
            self.counts.reader.round_trips += 1;
            CardAnswer { bytes: sw.to_vec(), takes: Duration::ZERO }
        } else {
            self.device.transmit(apdu)
        };
        answer.takes += self.delay;
        if spend(&mut self.faults.drop) {
            return None;
        }
        if spend(&mut self.faults.empty) {
            answer.bytes.clear();
        }
        if spend(&mut self.faults.corrupt) {
            corrupt(&mut answer.bytes);
        }
        Some(answer)
    }

    /// Answers bytes to the reader itself, when it is not silent; `None` where it takes none.
    pub(super) fn escape(&mut self, bytes: &[u8]) -> Option<CardAnswer> {
        self.counts.bytes_in += count(bytes);
        let answer = self.device.escape(bytes)?;
        Some(CardAnswer { takes: answer.takes + self.delay, ..answer })
    }

    /// An answer to an APDU or an escape is with the driver.
    pub(super) fn delivered(&mut self, answer: &[u8]) {
        self.counts.bytes_out += count(answer);
    }

    /// Loses its USB power: keys and settings are as delivered, cards stay where they are.
    pub(super) fn power_cycle(&mut self) {
        let mut fresh = PcscStorageDevice::new(self.profile);
        fresh.set_pace(self.pace);
        mem::swap(fresh.field(), self.device.field());
        fresh.field().power_off();
        self.counts = self.counts();
        self.device = fresh;
    }

    /// What was done since the emulator was started.
    pub(super) fn counts(&self) -> Counts {
        let (mut counts, device) = (self.counts, self.device.counters());
        counts.reader.round_trips += device.round_trips;
        counts.reader.detects += device.detects;
        counts
    }

    /// Lets something go wrong that is the reader's own affair. What concerns the way to the driver (delay, silence,
    /// the plug) is also for the end to see to.
    pub(super) fn suffer(&mut self, fault: Fault) -> Result<(), OrderError> {
        match fault {
            Fault::DropNext => one_more(&mut self.faults.drop),
            Fault::CorruptNext => one_more(&mut self.faults.corrupt),
            Fault::EmptyNext => one_more(&mut self.faults.empty),
            Fault::StatusWord { sw, nth } => self.faults.status_word = Some((sw, nth.get() - 1)),
            Fault::Mute(is_mute) => self.is_mute = is_mute,
            Fault::Silent(is_silent) => self.is_silent = is_silent,
            Fault::Delay(delay) => self.delay = delay,
            Fault::Unplug(_) => {}
            Fault::DropAck | Fault::Garbage(_) | Fault::Trickle(_) => return Err(OrderError::NeedsLine),
        }
        Ok(())
    }
}
