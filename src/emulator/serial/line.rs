//! The line from the reader to the host: when bytes arrive, and which faults they meet on the way.
//!
//! Pure: gets `now`, says what has arrived.

use crate::emulator::engine::{TICK_HALF, corrupt, spend};
use encoder_protocols::dialect::{Transmission, TransmissionKind};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// What may be under way to the host at once. One frame is less than 300 bytes and a host waits for it, so this is
/// reached only by a host that keeps asking into a long delay; what exceeds it is lost.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// The time between two bytes that arrive one at a time: more than a tick of the runtime's clock, so that a host that
/// waits for them reads each alone.
const TRICKLE_GAP: Duration = Duration::from_millis(2);

/// What was asked of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// So many answers to lose.
    pub(super) drop_answers: u32,
    /// So many acknowledgements to lose.
    pub(super) drop_acks: u32,
    /// So many answers in which to flip a bit.
    pub(super) corrupt_answers: u32,
}

/// Bytes from the reader that are not with the host yet.
pub(super) struct Line {
    /// Faults still to happen.
    pub(super) faults: Faults,
    /// What the reader is sending, and when that is over.
    sending: Option<(Transmission, Instant)>,
    /// When the reader was last ready to send.
    ready: Instant,
    /// What is on its way, in order.
    held: VecDeque<(Transmission, Instant)>,
    held_bytes: usize,
    delay: Duration,
    /// So many bytes of garbage go in front of each transmission.
    pub(super) garbage: usize,
    /// Bytes arrive one at a time.
    pub(super) trickle: bool,
}

impl Line {
    /// A line without delay or faults.
    pub(super) fn new(now: Instant) -> Self {
        let (faults, held) = (Faults::default(), VecDeque::new());
        let (garbage, trickle) = (0, false);
        Self { faults, sending: None, ready: now, held, held_bytes: 0, delay: Duration::ZERO, garbage, trickle }
    }

    /// Whether the reader is still sending its last transmission.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether an answer's time has not come yet.
    pub(super) fn is_answer_unsent(&self) -> bool {
        self.sending.as_ref().is_some_and(|(sending, _)| sending.kind == TransmissionKind::Answer)
    }

    /// The reader does not say what it had begun to prepare.
    pub(super) fn withdraw(&mut self, now: Instant) {
        self.sending = None;
        self.ready = now;
    }

    /// The reader has something to do from `now` on.
    pub(super) fn reader_woke(&mut self, now: Instant) {
        self.ready = self.ready.max(now);
    }

    /// The reader starts on a transmission. It follows the one before without a gap, however late that was noticed.
    pub(super) fn send(&mut self, transmission: Transmission) {
        let over = self.ready + transmission.takes;
        self.sending = Some((transmission, over));
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        let sent = self.sending.as_ref().map(|(_, over)| *over);
        let arrives = self.held.front().map(|(_, arrival)| *arrival);
        sent.into_iter().chain(arrives).min().map(|due| due - TICK_HALF)
    }

    /// Takes one transmission that has arrived with the host by `now`.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Transmission> {
        let has_passed = |moment: &mut (Transmission, Instant)| moment.1 <= now + TICK_HALF;
        if let Some((transmission, over)) = self.sending.take_if(has_passed) {
            self.ready = over;
            self.hold(transmission, over);
        }
        let (transmission, _) = self.held.pop_front_if(has_passed)?;
        self.held_bytes -= transmission.bytes.len();
        Some(transmission)
    }

    fn hold(&mut self, mut transmission: Transmission, sent: Instant) {
        if self.is_lost(&mut transmission) {
            return;
        }
        // Half a frame's beginning among it, so that a receiver has something to be taken in by.
        let garbage = [0x00, 0x00, 0xFF, 0x0C, 0xA5, 0xFF].into_iter().cycle().take(self.garbage);
        transmission.bytes.splice(..0, garbage);
        let len = transmission.bytes.len();
        if self.held_bytes + len > HELD_BYTES_MAX {
            return;
        }
        self.held_bytes += len;
        // Behind one that is held for longer it waits its turn: only the front of the queue is looked at.
        let arrival = sent + self.delay;
        if self.trickle {
            let bytes = core::mem::take(&mut transmission.bytes);
            let arrivals = (1..).map(|nth| arrival + TRICKLE_GAP * nth);
            self.held.extend(
                bytes
                    .into_iter()
                    .zip(arrivals)
                    .map(|(byte, at)| (Transmission { bytes: vec![byte], ..transmission }, at)),
            );
        } else {
            self.held.push_back((transmission, arrival));
        }
    }

    /// Lets the next fault happen to a transmission; true when it is lost altogether.
    fn is_lost(&mut self, transmission: &mut Transmission) -> bool {
        match transmission.kind {
            TransmissionKind::Ack => spend(&mut self.faults.drop_acks),
            TransmissionKind::Answer if spend(&mut self.faults.drop_answers) => true,
            TransmissionKind::Answer => {
                if spend(&mut self.faults.corrupt_answers) {
                    corrupt(&mut transmission.bytes);
                }
                false
            }
        }
    }

    /// Makes everything that is sent from now on arrive this much later. Zero also lets go of what is held.
    pub(super) fn set_delay(&mut self, delay: Duration, now: Instant) {
        self.delay = delay;
        if delay.is_zero() {
            self.held.iter_mut().for_each(|(_, arrival)| *arrival = now);
        }
    }

    /// Loses everything under way.
    pub(super) fn cut(&mut self, now: Instant) {
        self.sending = None;
        self.held.clear();
        self.held_bytes = 0;
        self.ready = now;
    }
}

/// What bytes look like to a receiver at another speed: as many, each of them wrong.
pub(super) fn noise(bytes: &[u8]) -> Vec<u8> {
    // A receiver at another speed samples other bits of the wave. Which ones does not matter here, only that no byte
    // comes through: the mask is odd, so never zero, and changes so that a frame's zeros do not stay alike.
    let mut mask = 0x5B_u8;
    let garble = |byte: &u8| {
        mask = mask.wrapping_mul(0x1D).wrapping_add(0x36) | 1;
        byte ^ mask
    };
    bytes.iter().map(garble).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transmission(kind: TransmissionKind, first: u8, takes_ms: u64) -> Transmission {
        Transmission { bytes: vec![first, 2, 3, 4, 5], takes: Duration::from_millis(takes_ms), baud: 115_200, kind }
    }

    fn answer(first: u8) -> Transmission {
        transmission(TransmissionKind::Answer, first, 0)
    }

    /// Sends and takes what has arrived at once.
    fn pass(line: &mut Line, transmission: Transmission, now: Instant) -> Option<Vec<u8>> {
        line.send(transmission);
        line.arrived(now).map(|transmission| transmission.bytes)
    }

    #[test]
    fn faults_meet_answers_and_acknowledgements_apart() {
        let now = crate::clock::now();
        let mut line = Line::new(now);
        line.faults = Faults { drop_answers: 1, drop_acks: 0, corrupt_answers: 1 };
        let ack = || transmission(TransmissionKind::Ack, 9, 0);
        assert_eq!(pass(&mut line, ack(), now), Some(vec![9, 2, 3, 4, 5]));
        assert_eq!(pass(&mut line, answer(1), now), None, "dropped");
        assert_eq!(pass(&mut line, answer(1), now), Some(vec![1, 2, 2, 4, 5]), "one bit flipped");
        assert_eq!(pass(&mut line, answer(1), now), Some(vec![1, 2, 3, 4, 5]));
        line.faults.drop_acks = 1;
        assert_eq!(pass(&mut line, answer(1), now), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(pass(&mut line, ack(), now), None);
        assert_eq!(line.faults, Faults::default());
    }

    #[test]
    fn delayed_transmissions_keep_their_order_and_are_let_go_together() {
        let now = crate::clock::now();
        let mut line = Line::new(now);
        line.set_delay(Duration::from_mins(1), now);
        assert_eq!(pass(&mut line, answer(1), now), None);
        line.set_delay(Duration::from_secs(1), now);
        assert_eq!(pass(&mut line, answer(2), now), None);
        assert_eq!(line.arrived(now + Duration::from_secs(59)), None, "the second does not overtake the first");
        let arrived = |line: &mut Line, at| line.arrived(at).map(|transmission| transmission.bytes[0]);
        assert_eq!(arrived(&mut line, now + Duration::from_mins(1)), Some(1));
        line.set_delay(Duration::ZERO, now);
        assert_eq!(arrived(&mut line, now), Some(2));
        assert_eq!(line.due(), None);
    }

    #[test]
    fn paced_transmissions_follow_each_other_however_late_the_clock_wakes() {
        let now = crate::clock::now();
        let mut line = Line::new(now);
        line.send(transmission(TransmissionKind::Ack, 1, 10));
        assert_eq!(line.arrived(now + Duration::from_millis(9)), None);
        assert!(line.arrived(now + Duration::from_millis(15)).is_some());
        line.send(transmission(TransmissionKind::Answer, 2, 20));
        assert_eq!(line.due(), Some(now + Duration::from_millis(30) - TICK_HALF));
    }

    #[test]
    fn a_delay_that_nobody_waits_for_holds_a_bounded_amount() {
        let now = crate::clock::now();
        let mut line = Line::new(now);
        line.set_delay(Duration::from_mins(1), now);
        for _ in 0..HELD_BYTES_MAX {
            pass(&mut line, answer(1), now);
        }
        assert!(line.held_bytes <= HELD_BYTES_MAX);
        line.cut(now);
        line.set_delay(Duration::ZERO, now);
        assert_eq!(pass(&mut line, answer(7), now), Some(vec![7, 2, 3, 4, 5]));
    }

    #[test]
    fn garbage_goes_ahead_and_bytes_may_come_one_at_a_time() {
        let now = crate::clock::now();
        let mut line = Line::new(now);
        line.garbage = 2;
        assert_eq!(pass(&mut line, answer(1), now), Some(vec![0, 0, 1, 2, 3, 4, 5]));
        (line.garbage, line.trickle) = (0, true);
        assert_eq!(pass(&mut line, answer(1), now), None);
        let later = now + Duration::from_secs(1);
        let bytes: Vec<Vec<u8>> = core::iter::from_fn(|| line.arrived(later)).map(|arrived| arrived.bytes).collect();
        assert_eq!(bytes, [[1], [2], [3], [4], [5]]);
        assert_eq!(line.held_bytes, 0);
    }

    #[test]
    fn no_byte_comes_through_noise() {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        let noise = noise(&bytes);
        assert_eq!(noise.len(), bytes.len());
        assert!(noise.iter().zip(&bytes).all(|(garbled, byte)| garbled != byte));
    }
}
