//! Whatever the line does.

use crate::support::{Pair, authenticate, card, content, read};
use crate::{as_sent, run_script, script_answers, script_dump};
use encoder_protocols::card_sim::Field;
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::{Counters, Device, READERS, Reader, Transmission, TransmissionKind};
use proptest::prelude::*;
use std::time::Duration;

/// An absent or silent reader is reported within this.
const OPEN_TAKES_MAX: Duration = Duration::from_secs(4);
/// A command that fails for want of answers is over within this.
const FAILURE_TAKES_MAX: Duration = Duration::from_secs(3);

/// Runs the script with some fault on the line and expects that nobody notices.
fn script_survives(reader: &Reader, what: &str, fault: impl FnOnce(&mut Pair)) {
    let mut pair = Pair::with_card(reader, card());
    pair.restart_counts();
    fault(&mut pair);
    assert_eq!(run_script(&mut pair), script_answers(), "{}: {what}", reader.dialect);
    assert!(pair.dump() == script_dump(), "{}: {what}: the card", reader.dialect);
}

/// How many transmissions and writes the script takes.
fn script_lengths(reader: &Reader) -> (Vec<usize>, Vec<usize>) {
    let mut pair = Pair::with_card(reader, card());
    pair.restart_counts();
    let lengths = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = lengths.clone();
    pair.to_host = Box::new(move |_, sent| {
        seen.borrow_mut().push(sent.bytes.len());
        as_sent(sent)
    });
    assert_eq!(run_script(&mut pair), script_answers());
    let writes = pair.sent.iter().map(Vec::len).collect();
    (lengths.take(), writes)
}

#[test]
fn a_session_reads_what_it_wrote() {
    for reader in READERS {
        script_survives(reader, "nothing wrong", |_| ());
    }
}

#[test]
fn every_split_gives_the_same() {
    for reader in READERS {
        for split in [1, 2, 3, 5, 6, 7, 11, 64] {
            script_survives(reader, "split", |pair| pair.splits = vec![split]);
        }
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(splits in proptest::collection::vec(1_usize..20, 1..30)) {
        for reader in READERS {
            script_survives(reader, "split", |pair| pair.splits.clone_from(&splits));
        }
    }

    #[test]
    fn garbage_before_frames_is_skipped(garbage in proptest::collection::vec(any::<u8>(), 0..40), each in 1_usize..5) {
        for reader in READERS {
            let garbage = garbage.clone();
            script_survives(reader, "garbage", move |pair| {
                let noise = garbage.clone();
                pair.to_device = Box::new(move |index, bytes| {
                    if index % each == 0 { [&garbage, bytes].concat() } else { bytes.to_vec() }
                });
                pair.to_host = Box::new(move |index, sent| {
                    let garbage = if index % each == 0 { noise.clone() } else { Vec::new() };
                    vec![(Duration::ZERO, garbage), (Duration::ZERO, sent.bytes.clone())]
                });
            });
        }
    }
}

#[test]
fn one_lost_transmission_or_write_is_made_good() {
    for reader in READERS {
        let (transmissions, writes) = script_lengths(reader);
        for lost in 0..transmissions.len() {
            script_survives(reader, &format!("transmission {lost} lost"), |pair| {
                pair.to_host = Box::new(move |index, sent| if index == lost { vec![] } else { as_sent(sent) });
            });
        }
        for lost in 0..writes.len() {
            script_survives(reader, &format!("write {lost} lost"), |pair| {
                pair.to_device = Box::new(move |index, bytes| if index == lost { vec![] } else { bytes.to_vec() });
            });
        }
    }
}

#[test]
fn one_flipped_bit_is_made_good_wherever_it_is() {
    for reader in READERS {
        let (transmissions, writes) = script_lengths(reader);
        for (damaged, len) in transmissions.into_iter().enumerate() {
            for bit in 0..len * 8 {
                script_survives(reader, &format!("bit {bit} of transmission {damaged}"), |pair| {
                    pair.to_host = Box::new(move |index, sent| {
                        let mut bytes = sent.bytes.clone();
                        if index == damaged {
                            bytes[bit / 8] ^= 1 << (bit % 8);
                        }
                        vec![(Duration::ZERO, bytes)]
                    });
                });
            }
        }
        for (damaged, len) in writes.into_iter().enumerate() {
            for bit in 0..len * 8 {
                script_survives(reader, &format!("bit {bit} of write {damaged}"), |pair| {
                    pair.to_device = Box::new(move |index, bytes| {
                        let mut bytes = bytes.to_vec();
                        if index == damaged {
                            bytes[bit / 8] ^= 1 << (bit % 8);
                        }
                        bytes
                    });
                });
            }
        }
    }
}

/// Reads of blocks with different contents, one after the other, whatever the line does: a block or an error, but
/// never another block. And when the line is well again, so are the reads.
fn reads_are_never_mistaken(reader: &Reader, what: &str, fault: impl FnOnce(&mut Pair)) {
    let mut pair = Pair::with_card(reader, card());
    run_script(&mut pair);
    for command in [CardCommand::Detect, authenticate(1)] {
        pair.run(&command).unwrap();
    }
    pair.restart_counts();
    fault(&mut pair);
    let read_all = |pair: &mut Pair| {
        let mut errors = 0;
        for block in [4, 5, 6, 4, 5, 6, 4, 5, 6] {
            if let Ok(reply) = pair.run(&read(block)) {
                assert_eq!(reply, CardReply::Block(content(block)), "{}: {what}", reader.dialect);
            } else {
                errors += 1;
                let _ = pair.run(&CardCommand::Detect);
                let _ = pair.run(&authenticate(1));
            }
        }
        errors
    };
    read_all(&mut pair);
    pair.mend();
    // What was late may still come, and is to be recognised as such.
    let all_is_there = pair.now + Duration::from_mins(1);
    while pair.now < all_is_there {
        read_all(&mut pair);
        pair.now += Duration::from_millis(700);
    }
    assert_eq!(read_all(&mut pair), 0, "{}: {what}: errors on a well line", reader.dialect);
}

#[test]
fn a_late_answer_is_never_taken_for_another() {
    for reader in READERS {
        let delays = [50, 120, 250, 900, 1_050, 1_200, 1_500, 2_000, 3_000, 5_000];
        for (delay, split) in delays.into_iter().flat_map(|delay| [(delay, 1), (delay, usize::MAX)]) {
            for late in 0..8 {
                let what = format!("transmission {late} late by {delay} ms, read by {split}");
                reads_are_never_mistaken(reader, &what, |pair| {
                    pair.splits = vec![split];
                    pair.to_host = Box::new(move |index, sent| {
                        let delay = if index == late { delay } else { 0 };
                        vec![(Duration::from_millis(delay), sent.bytes.clone())]
                    });
                });
            }
        }
    }
}

proptest! {
    /// Several faults of all kinds at once.
    #[test]
    fn a_bad_line_never_gives_a_wrong_read(
        faults in proptest::collection::vec((0_u8..12, any::<prop::sample::Index>(), 0_u64..1_500), 1..30),
    ) {
        for reader in READERS {
            let faults = faults.clone();
            let commands = faults.clone();
            reads_are_never_mistaken(reader, "bad line", move |pair| {
                pair.to_host = Box::new(move |index, sent| {
                    let mut parts = as_sent(sent);
                    match faults.get(index) {
                        Some((0, ..)) => parts.clear(),
                        Some((1, at, _)) => {
                            let bit = at.index(sent.bytes.len() * 8);
                            parts[0].1[bit / 8] ^= 1 << (bit % 8);
                        }
                        Some((2, at, _)) => parts[0].1.truncate(at.index(sent.bytes.len())),
                        Some((3, _, delay)) => parts[0].0 = Duration::from_millis(*delay),
                        Some(_) | None => {}
                    }
                    parts
                });
                pair.to_device = Box::new(move |index, bytes| {
                    let mut bytes = bytes.to_vec();
                    match commands.get(index) {
                        Some((5, ..)) => bytes.clear(),
                        Some((6, at, _)) => {
                            let bit = at.index(bytes.len() * 8);
                            bytes[bit / 8] ^= 1 << (bit % 8);
                        }
                        Some((7, at, _)) => bytes.truncate(at.index(bytes.len())),
                        Some(_) | None => {}
                    }
                    bytes
                });
            });
        }
    }
}

#[test]
fn acks_without_answers_end_in_an_error_and_are_forgotten() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        pair.to_host = Box::new(|_, sent| if sent.kind == TransmissionKind::Ack { as_sent(sent) } else { vec![] });
        let before = pair.now;
        assert_eq!(pair.run(&CardCommand::Detect), Err(DialectError::NoAnswer));
        assert!(pair.since(before) < FAILURE_TAKES_MAX, "{:?}", pair.since(before));
        pair.to_host = Box::new(|_, sent| as_sent(sent));
        assert_eq!(run_script(&mut pair), script_answers());
    }
}

#[test]
fn answers_without_acks_are_accepted() {
    for reader in READERS {
        script_survives(reader, "no ACKs", |pair| {
            let mut lost = 0;
            pair.to_host = Box::new(move |_, sent| {
                // Every second one: a barrier that is never smooth ends in an error.
                lost += usize::from(sent.kind == TransmissionKind::Ack);
                if sent.kind == TransmissionKind::Ack && lost % 3 == 0 { vec![] } else { as_sent(sent) }
            });
        });
    }
}

#[test]
fn a_silent_reader_is_reported_in_time() {
    for reader in READERS {
        let mut pair = Pair::new(reader);
        pair.to_device = Box::new(|_, _| vec![]);
        assert_eq!(pair.run(&CardCommand::Open), Err(DialectError::NoAnswer));
        assert!(pair.now < OPEN_TAKES_MAX, "{:?}", pair.now);

        let mut pair = Pair::with_card(reader, card());
        run_script(&mut pair);
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        pair.to_device = Box::new(|_, _| vec![]);
        for command in [read(4), CardCommand::Detect, CardCommand::ResetField, CardCommand::Release, CardCommand::Close]
        {
            let before = pair.now;
            assert_eq!(pair.run(&command), Err(DialectError::NoAnswer), "{command:?}");
            assert!(pair.since(before) < FAILURE_TAKES_MAX, "{command:?}: {:?}", pair.since(before));
        }
    }
}

#[test]
fn endless_garbage_ends_in_an_error() {
    for reader in READERS {
        for garbage in [0x00, 0x55, 0xFF, b'$'] {
            let mut pair = Pair::new(reader);
            // A device that talks all the time, in whatever it says to us.
            pair.to_host = Box::new(move |_, _| vec![(Duration::ZERO, vec![garbage; 5_000])]);
            let opened = pair.run(&CardCommand::Open);
            assert!(matches!(opened, Err(DialectError::WrongDialect | DialectError::NoAnswer)), "{opened:?}");

            let mut pair = Pair::with_card(reader, card());
            pair.to_host = Box::new(move |_, _| vec![(Duration::ZERO, vec![garbage; 100_000])]);
            pair.splits = vec![1, 100];
            let result = pair.run(&CardCommand::Detect);
            assert!(matches!(result, Err(DialectError::Garbled { .. })), "{garbage:02x}: {result:?}");
        }
    }
}

#[test]
fn an_echo_is_no_reader() {
    for reader in READERS {
        let mut pair = Pair::new(reader);
        pair.device = Box::new(Echo { to_send: None, inner: (reader.device)() });
        assert_eq!(pair.run(&CardCommand::Open), Err(DialectError::WrongDialect));
    }
}

#[test]
fn an_abandoned_command_is_cancelled_and_never_answers_the_next() {
    for reader in READERS {
        for outputs in 0..6 {
            let mut pair = Pair::with_card(reader, card());
            run_script(&mut pair);
            pair.run(&CardCommand::Detect).unwrap();
            pair.run(&authenticate(1)).unwrap();
            pair.to_host = Box::new(|_, sent| vec![(Duration::from_millis(40), sent.bytes.clone())]);
            pair.host.begin(&read(4));
            let _ = pair.run_on(outputs);
            let abandoned = pair.run(&read(5));
            assert!(
                matches!(abandoned, Err(DialectError::NotAuthenticated))
                    || abandoned == Ok(CardReply::Block(content(5))),
                "{outputs}: {abandoned:?}"
            );
            pair.to_host = Box::new(|_, sent| as_sent(sent));
            assert_eq!(run_script(&mut pair), script_answers(), "{outputs}");
        }
    }
}

#[test]
fn after_a_power_failure_the_reader_is_opened_again() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        pair.device.power_cycle();
        assert!(pair.run(&CardCommand::Detect).is_err());
        pair.run(&CardCommand::Open).unwrap();
        assert_eq!(run_script(&mut pair), script_answers());
        pair.run(&CardCommand::Close).unwrap();
        pair.run(&CardCommand::Open).unwrap();
        assert_eq!(run_script(&mut pair), script_answers());
    }
}

#[test]
fn pace_makes_time_pass() {
    for reader in READERS {
        let mut pair = Pair::with_card(reader, card());
        pair.device.set_pace(true);
        let before = pair.now;
        assert_eq!(run_script(&mut pair), script_answers());
        assert!(pair.since(before) > Duration::from_millis(40), "{:?}", pair.since(before));
        assert!(pair.since(before) < Duration::from_millis(200), "{:?}", pair.since(before));
    }
}

/// A line whose ends are wired together.
struct Echo {
    to_send: Option<Transmission>,
    inner: Box<dyn Device>,
}

impl Device for Echo {
    fn receive(&mut self, bytes: &[u8], baud: u32) {
        let kind = TransmissionKind::Answer;
        self.to_send = Some(Transmission { bytes: bytes.to_vec(), takes: Duration::ZERO, baud, kind });
    }

    fn poll(&mut self) -> Option<Transmission> {
        self.to_send.take()
    }

    fn withdraws(&mut self, _: bool) -> bool {
        false
    }

    fn field(&mut self) -> &mut Field {
        self.inner.field()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn set_pace(&mut self, _pace: bool) {}

    fn power_cycle(&mut self) {}
}
