//! One exchange with the chip: command, ACK, answer, with retries; and the barrier after one that did not go smoothly.
//!
//! A command that is sent again or given up leaves bytes on their way: an ACK, an answer, both twice. An answer
//! carries its command's code and nothing else, so the late answer of one READ looks like the answer of the next. So
//! whenever an exchange did not go smoothly, the next one waits behind a barrier: a communication line test with a
//! number that changes. What comes before its echo belongs to the past and is dropped.
//!
//! This relies on the line: it may lose, damage and delay, but it keeps the order and repeats nothing by itself.
//!
//! No `Debug` here: frames may hold a key.

use super::Command;
use super::frame::{Decoder, Frame, Payload};
use crate::dialect::{Input, Output};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use zeroize::Zeroizing;

/// How long and how often the chip is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until the ACK. The manual says 15 ms (UM0701-02, 6.2.3, as quoted in libnfc's history); USB bridges and
    /// busy hosts take their share.
    pub(super) ack: Duration,
    /// How often the command is sent again when no ACK comes.
    pub(super) resends: u8,
    /// Until the answer.
    pub(super) answer: Duration,
    /// Silence after which a damaged answer will not be completed. Longer than the chip takes for the command, so that it
    /// never sees a NACK while it works: it could only repeat the answer before.
    pub(super) damaged: Duration,
}

impl Patience {
    /// For commands that end in the chip within 100 ms.
    pub(super) const NORMAL: Self = Self {
        ack: Duration::from_millis(100),
        resends: 1,
        answer: Duration::from_secs(1),
        damaged: Duration::from_millis(150),
    };
    /// For a search, whose time the chip's own tries make: four times what they take in the model.
    pub(super) const SEARCH: Self =
        Self { answer: Duration::from_millis(1600), damaged: Duration::from_millis(1600), ..Self::NORMAL };
}

/// How often the chip is asked to send an answer again.
const NACKS: u8 = 2;
/// How long a repeated answer may take; the chip has it ready.
const REPEATED: Duration = Duration::from_millis(300);
/// After a cancelled command the chip needs a moment: a command sent at once gets no ACK (libnfc issue 167; nfcpy
/// waits 10 ms).
const AFTER_ABORT: Duration = Duration::from_millis(10);
/// How many bytes are passed over before a command is given up: more than sixteen of the longest frames.
const PASSED_BYTES_MAX: usize = 4096;
/// How many barriers are tried for one command. One that was itself repeated is none.
const BARRIERS: u8 = 3;

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing that could be an answer came.
    NoAnswer,
    /// Bytes came that are no frames, or frames that do not belong here.
    Garbled { skipped: usize },
    /// The chip cannot understand the command.
    SyntaxError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ack,
    /// The ACK has come; so many bytes had been skipped by then.
    Answer {
        skipped_before: usize,
    },
    /// The answer has been asked for again.
    Repeated,
}

struct Exchange {
    command: Payload,
    frame: Zeroizing<Vec<u8>>,
    /// Only the echo of all parameters is an answer.
    barrier: bool,
    phase: Phase,
    patience: Patience,
    nacks_left: u8,
    /// Nothing was repeated, and but for a barrier nothing was missing or foreign. What was skipped does not matter:
    /// the line keeps the order, so it belongs to the past.
    smooth: bool,
}

/// The line to the chip.
#[derive(Default)]
pub(super) struct Link {
    decoder: Decoder,
    outputs: VecDeque<Output>,
    exchange: Option<Exchange>,
    behind_barrier: Option<(Payload, Patience)>,
    /// Something of an earlier exchange may still be on its way.
    suspect: bool,
    /// The number of the last barrier.
    barrier_number: u16,
    barriers_left: u8,
    /// Bytes passed over in this card command, before the decoder was last cleared, and in frames of no use.
    passed: usize,
    /// The same without zeros, which are padding as often as damage.
    damaged: usize,
}

impl Link {
    /// A new card command begins. Cancels what still runs; true when something did.
    pub(super) fn begin(&mut self) -> bool {
        self.outputs.clear();
        self.behind_barrier = None;
        let abandoned = self.exchange.take().is_some();
        if abandoned {
            self.abort();
        }
        self.look_for_leftovers();
        self.decoder_cleared();
        (self.passed, self.damaged) = (0, 0);
        self.barriers_left = BARRIERS;
        abandoned
    }

    /// What the next exchange finds on the line may belong to the past.
    pub(super) fn distrust(&mut self) {
        self.suspect = true;
    }

    /// Whether the exchange that has just ended went smoothly, so that its command reached the card once.
    pub(super) fn was_smooth(&self) -> bool {
        !self.suspect
    }

    /// Whether anything other than zeros was passed over in this card command.
    pub(super) fn heard_something(&self) -> bool {
        self.damaged + self.decoder.skipped() > 0
    }

    /// Puts something between exchanges.
    pub(super) fn put(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Starts an exchange, behind a barrier when the line is not to be trusted.
    pub(super) fn start(&mut self, command: Payload, patience: Patience) {
        self.look_for_leftovers();
        if self.suspect {
            self.behind_barrier = Some((command, patience));
            self.raise_barrier();
        } else {
            self.send(command, patience, false);
        }
    }

    /// Starts an exchange with a chip of which nothing is known.
    pub(super) fn start_without_barrier(&mut self, command: Payload, patience: Patience) {
        self.send(command, patience, false);
    }

    /// What to do next; `None` when no exchange runs.
    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.exchange.as_ref().map(|exchange| Output::Wait(self.wait(exchange))))
    }

    /// Takes what arrived; the answer, or why there is none, when the exchange is over.
    pub(super) fn handle(&mut self, input: Input<'_>) -> Option<Result<Payload, Trouble>> {
        let silence = match input {
            Input::Bytes(bytes) => {
                self.decoder.push(bytes);
                false
            }
            Input::Timeout => true,
        };
        let mut frames = 0_usize;
        while self.exchange.is_some() {
            let frame = if silence { self.decoder.next_frame_after_silence() } else { self.decoder.next_frame() };
            let Some(frame) = frame else { break };
            frames += 1;
            if let Some(result) = self.take(frame) {
                return self.over(result);
            }
        }
        let passed = self.passed + self.decoder.skipped() + self.decoder.padding();
        if passed > PASSED_BYTES_MAX {
            return self.over(Err(Trouble::Garbled { skipped: passed }));
        }
        if silence && frames == 0 { self.timed_out() } else { None }
    }

    fn take(&mut self, frame: Frame) -> Option<Result<Payload, Trouble>> {
        let exchange = self.exchange.as_mut()?;
        let early = exchange.phase == Phase::Ack;
        match frame {
            Frame::Ack if early => {
                exchange.phase = Phase::Answer { skipped_before: self.decoder.skipped() };
                return None;
            }
            Frame::FromChip(answer) if exchange.is_answered_by(&answer) => {
                // Without its ACK: that got lost, the answer is as good. A barrier knows its own answer anyway.
                exchange.smooth &= !early || exchange.barrier;
                return Some(Ok(answer));
            }
            Frame::Error if !exchange.barrier => {
                exchange.smooth &= !early;
                return Some(Err(Trouble::SyntaxError));
            }
            // A second ACK, a frame of an earlier exchange, or what we have sent ourselves.
            Frame::Ack | Frame::Nack | Frame::Error | Frame::FromChip(_) | Frame::ToChip(_) => {}
        }
        exchange.smooth &= exchange.barrier;
        let len = frame.encode().len();
        self.passed += len;
        self.damaged += len;
        None
    }

    fn timed_out(&mut self) -> Option<Result<Payload, Trouble>> {
        let exchange = self.exchange.as_mut()?;
        exchange.smooth = false;
        match exchange.phase {
            Phase::Ack if exchange.patience.resends > 0 => {
                exchange.patience.resends -= 1;
                self.outputs.push_back(Output::Send(exchange.frame.to_vec()));
                None
            }
            Phase::Answer { .. } | Phase::Repeated if exchange.nacks_left > 0 => {
                exchange.nacks_left -= 1;
                exchange.phase = Phase::Repeated;
                self.outputs.push_back(Output::Send(Frame::Nack.encode()));
                None
            }
            Phase::Ack | Phase::Answer { .. } | Phase::Repeated => {
                let skipped = self.damaged + self.decoder.skipped();
                self.over(Err(if skipped > 0 { Trouble::Garbled { skipped } } else { Trouble::NoAnswer }))
            }
        }
    }

    /// Ends an exchange; goes on behind a barrier.
    fn over(&mut self, result: Result<Payload, Trouble>) -> Option<Result<Payload, Trouble>> {
        let exchange = self.exchange.take()?;
        let smooth = exchange.smooth;
        self.suspect = !smooth;
        match result {
            Err(Trouble::NoAnswer | Trouble::Garbled { .. }) => self.abort(),
            Err(Trouble::SyntaxError) | Ok(_) => {}
        }
        if !exchange.barrier {
            return Some(result);
        }
        let (command, patience) = self.behind_barrier.take()?;
        match result {
            Ok(_) if smooth => self.send(command, patience, false),
            Ok(_) if self.barriers_left > 0 => {
                self.behind_barrier = Some((command, patience));
                self.raise_barrier();
            }
            Ok(_) => {
                let skipped = self.damaged + self.decoder.skipped();
                return Some(Err(Trouble::Garbled { skipped }));
            }
            Err(trouble) => return Some(Err(trouble)),
        }
        None
    }

    /// Cancels what the chip does. Its answer may still come.
    fn abort(&mut self) {
        self.suspect = true;
        self.outputs.push_back(Output::Send(Frame::Ack.encode()));
        self.outputs.push_back(Output::Pause(AFTER_ABORT));
    }

    /// Whatever but padding came after the last answer and before this command belongs to the past.
    fn look_for_leftovers(&mut self) {
        let skipped = self.decoder.skipped();
        while self.decoder.next_frame().is_some() {
            self.suspect = true;
        }
        self.suspect |= self.decoder.skipped() > skipped || self.decoder.pending() > 2;
    }

    fn raise_barrier(&mut self) {
        self.barriers_left = self.barriers_left.saturating_sub(1);
        self.barrier_number = self.barrier_number.wrapping_add(1);
        let [high, low] = self.barrier_number.to_be_bytes();
        // Test 00, communication line: the parameters come back.
        self.send(Payload::of([Command::Diagnose.into(), 0x00, high, low]), Patience::NORMAL, true);
    }

    fn send(&mut self, command: Payload, patience: Patience, barrier: bool) {
        self.decoder_cleared();
        let frame = Zeroizing::new(Frame::ToChip(command.clone()).encode());
        self.outputs.push_back(Output::Send(frame.to_vec()));
        let phase = Phase::Ack;
        self.exchange = Some(Exchange { command, frame, barrier, phase, patience, nacks_left: NACKS, smooth: true });
    }

    fn decoder_cleared(&mut self) {
        self.passed += self.decoder.skipped() + self.decoder.padding() + self.decoder.pending();
        self.damaged += self.decoder.skipped();
        self.decoder.clear();
    }

    fn wait(&self, exchange: &Exchange) -> Duration {
        match exchange.phase {
            Phase::Ack => exchange.patience.ack,
            // Two pending zeros are the padding before a frame; more is an answer that has begun.
            Phase::Answer { skipped_before }
                if self.decoder.pending() > 2 || self.decoder.skipped() > skipped_before =>
            {
                exchange.patience.damaged
            }
            Phase::Answer { .. } => exchange.patience.answer,
            Phase::Repeated => REPEATED,
        }
    }
}

impl Exchange {
    fn is_answered_by(&self, answer: &Payload) -> bool {
        answer.code() == self.command.code().wrapping_add(1)
            && (!self.barrier || answer.parameters() == self.command.parameters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    const ACK: [u8; 6] = hex!("0000FF00FF00");
    /// READ of block 4, a good answer to it, and the answer to a list.
    const READ: [u8; 4] = hex!("40013004");
    const READ_ANSWER: [u8; 26] = hex!("0000FF13EDD54100 000102030405060708090A0B0C0D0E0F 7200");
    const LIST_ANSWER: [u8; 10] = hex!("0000FF03FDD54B00E000");

    /// What is written before the next wait.
    fn writes(link: &mut Link) -> Vec<Vec<u8>> {
        let mut writes = Vec::new();
        loop {
            match link.poll() {
                Some(Output::Send(bytes)) => writes.push(bytes),
                Some(Output::SetBaud(_) | Output::Pause(_)) => {}
                Some(Output::Wait(_) | Output::Done(_)) | None => return writes,
            }
        }
    }

    fn started() -> Link {
        let mut link = Link::default();
        link.begin();
        link.start(Payload::of(READ), Patience::NORMAL);
        assert_eq!(writes(&mut link).len(), 1);
        link
    }

    /// A line test's frame: TFI and code of either direction, and the barrier's number.
    fn line_test(direction: [u8; 2], number: u8) -> Vec<u8> {
        let [tfi, code] = direction;
        let check = [tfi, code, number].iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        [&hex!("0000FF05FB")[..], &[tfi, code, 0x00, 0x00, number, check, 0x00]].concat()
    }

    fn barrier(number: u8) -> Vec<u8> {
        line_test(hex!("D400"), number)
    }

    fn echo(number: u8) -> Vec<u8> {
        line_test(hex!("D501"), number)
    }

    #[test]
    fn the_answer_of_another_command_is_none() {
        let mut link = started();
        assert_eq!(link.handle(Input::Bytes(&ACK)), None);
        assert_eq!(link.handle(Input::Bytes(&LIST_ANSWER)), None);
        assert!(matches!(link.handle(Input::Bytes(&READ_ANSWER)), Some(Ok(answer)) if answer.code() == 0x41));
    }

    #[test]
    fn an_answer_without_its_ack_is_one_and_raises_a_barrier() {
        let mut link = started();
        assert!(matches!(link.handle(Input::Bytes(&READ_ANSWER)), Some(Ok(_))));
        link.start(Payload::of(READ), Patience::NORMAL);
        assert_eq!(writes(&mut link), [barrier(1)]);
    }

    #[test]
    fn only_the_echo_of_its_own_number_lowers_a_barrier() {
        let mut link = Link::default();
        link.begin();
        link.distrust();
        link.start(Payload::of(READ), Patience::NORMAL);
        assert_eq!(writes(&mut link), [barrier(1)]);
        for past in [&READ_ANSWER[..], &ACK, &READ_ANSWER, &hex!("0000FF01FF7F8100"), &echo(0), &echo(2)] {
            assert_eq!(link.handle(Input::Bytes(past)), None);
            assert_eq!(writes(&mut link), Vec::<Vec<u8>>::new());
        }
        assert_eq!(link.handle(Input::Bytes(&echo(1))), None);
        assert_eq!(writes(&mut link), [hex!("0000FF05FBD440013004B700")]);
    }

    #[test]
    fn a_barrier_that_was_repeated_is_none() {
        let mut link = Link::default();
        link.begin();
        link.distrust();
        link.start(Payload::of(READ), Patience::NORMAL);
        for number in 1..=BARRIERS {
            assert_eq!(writes(&mut link), [barrier(number)]);
            assert_eq!(link.handle(Input::Timeout), None);
            assert_eq!(writes(&mut link), [barrier(number)]);
            assert_eq!(link.handle(Input::Bytes(&ACK)), None);
            let over = link.handle(Input::Bytes(&echo(number)));
            let expected = (number == BARRIERS).then_some(Err(Trouble::Garbled { skipped: 0 }));
            assert_eq!(over, expected, "{number}");
        }
    }

    #[test]
    fn what_was_cancelled_is_distrusted() {
        let mut link = started();
        assert_eq!(link.handle(Input::Timeout), None);
        assert_eq!(link.handle(Input::Timeout), Some(Err(Trouble::NoAnswer)));
        link.begin();
        link.start(Payload::of(READ), Patience::NORMAL);
        assert_eq!(writes(&mut link), [barrier(1)]);
    }

    #[test]
    fn what_is_abandoned_is_cancelled_first() {
        let mut link = started();
        assert!(link.begin());
        link.start(Payload::of(READ), Patience::NORMAL);
        assert_eq!(link.poll(), Some(Output::Send(ACK.to_vec())));
        assert_eq!(link.poll(), Some(Output::Pause(AFTER_ABORT)));
        assert_eq!(link.poll(), Some(Output::Send(barrier(1))));
    }

    #[test]
    fn what_follows_an_answer_raises_a_barrier() {
        let mut link = started();
        link.handle(Input::Bytes(&ACK));
        let twice = [READ_ANSWER, READ_ANSWER].concat();
        assert!(matches!(link.handle(Input::Bytes(&twice)), Some(Ok(_))));
        link.begin();
        link.start(Payload::of(READ), Patience::NORMAL);
        assert_eq!(writes(&mut link), [barrier(1)]);
    }
}
