//! Frames on the PN532's serial line: one encoder and one decoder for both directions.
//!
//! | frame | bytes |
//! | --- | --- |
//! | normal | `00 00 FF LEN LCS TFI PD.. DCS 00`, up to 254 bytes of payload |
//! | extended | `00 00 FF FF FF LENm LENl LCS TFI PD.. DCS 00`, up to 264 |
//! | ACK | `00 00 FF 00 FF 00` |
//! | NACK | `00 00 FF FF 00 00`, host only: send the last answer again |
//! | error | `00 00 FF 01 FF 7F 81 00`, chip only: the command cannot be understood |
//!
//! TFI is D4 towards the chip and D5 back. LEN counts TFI and payload; LEN + LCS and TFI + .. + DCS are 0 modulo 256.
//!
//! Source: NXP UM0701-02, sections 6.2.1.1 to 6.2.1.5, as quoted in libnfc `libnfc/chips/pn53x-internal.h`.

use alloc::vec::Vec;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The longest payload, command code included. Source: libnfc, `PN53x_EXTENDED_FRAME__DATA_MAX_LEN`.
pub const PAYLOAD_BYTES_MAX: usize = 264;
/// The longest payload of a normal frame: LEN is one byte and counts TFI as well.
const NORMAL_PAYLOAD_BYTES_MAX: usize = 254;

const TO_CHIP: u8 = 0xD4;
const FROM_CHIP: u8 = 0xD5;
const ERROR: u8 = 0x7F;

/// Command or answer code with its parameters: 1 to 264 bytes. Wiped on drop, since it may hold a key.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Takes code and parameters; `None` when there is no code or too much.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (1..=PAYLOAD_BYTES_MAX).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// Code and parameters of a length known beforehand.
    pub fn of<const N: usize>(bytes: [u8; N]) -> Self {
        const { assert!(1 <= N && N <= PAYLOAD_BYTES_MAX, "a payload has a code and at most 264 bytes") }
        Self(bytes.to_vec())
    }

    /// The code: even for commands, the command's plus one for answers.
    pub fn code(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// What follows the code.
    pub fn parameters(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Code and parameters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    /// Only the code and the length: the parameters may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({:02x}, {} bytes)", self.code(), self.0.len())
    }
}

/// A frame of either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The command has been received; from the host: stop what you do.
    Ack,
    /// Send the last answer again.
    Nack,
    /// The command cannot be understood.
    Error,
    /// A command, TFI D4.
    ToChip(Payload),
    /// An answer, TFI D5.
    FromChip(Payload),
}

impl Frame {
    /// The frame's bytes with one preamble and one postamble byte.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ack => [0x00, 0x00, 0xFF, 0x00, 0xFF, 0x00].to_vec(),
            Self::Nack => [0x00, 0x00, 0xFF, 0xFF, 0x00, 0x00].to_vec(),
            Self::Error => [0x00, 0x00, 0xFF, 0x01, 0xFF, ERROR, 0x81, 0x00].to_vec(),
            Self::ToChip(payload) => information(TO_CHIP, payload),
            Self::FromChip(payload) => information(FROM_CHIP, payload),
        }
    }
}

fn information(tfi: u8, payload: &Payload) -> Vec<u8> {
    let bytes = payload.as_bytes();
    // A payload has at most 264 bytes.
    let len = u16::try_from(bytes.len() + 1).unwrap_or_default();
    let [len_high, len_low] = len.to_be_bytes();
    // Exact, so that a key is not left behind by a growing buffer.
    let mut frame = Vec::with_capacity(bytes.len() + 11);
    frame.extend([0x00, 0x00, 0xFF]);
    if bytes.len() <= NORMAL_PAYLOAD_BYTES_MAX {
        frame.extend([len_low, len_low.wrapping_neg()]);
    } else {
        frame.extend([0xFF, 0xFF, len_high, len_low, len_high.wrapping_add(len_low).wrapping_neg()]);
    }
    frame.push(tfi);
    frame.extend(bytes);
    frame.extend([sum(bytes).wrapping_add(tfi).wrapping_neg(), 0x00]);
    frame
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Finds frames in whatever arrives, in any split, with garbage before and between them.
///
/// Never holds more than one incomplete frame once [`Decoder::next_frame`] has said `None`. Every byte that goes in
/// is counted once: in a frame, as skipped, as padding, or as pending.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    skipped: usize,
    padding: usize,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame; `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            match parse(&self.buffer) {
                Parsed::Frame(frame, used) => {
                    self.buffer.drain(..used);
                    return Some(frame);
                }
                Parsed::Skip(count) => self.skip(count),
                Parsed::Incomplete => return None,
            }
        }
    }

    /// The next complete frame when nothing more will come: what looks like the beginning of a frame was none.
    pub fn next_frame_after_silence(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.next_frame() {
                return Some(frame);
            }
            if self.buffer.is_empty() {
                return None;
            }
            self.skip(1);
        }
    }

    /// Forgets what has arrived, and the counts.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// How many bytes other than zeros were passed over.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// How many zeros were passed over: preambles may be longer than one byte.
    pub fn padding(&self) -> usize {
        self.padding
    }

    /// How many bytes wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    fn skip(&mut self, count: usize) {
        for byte in self.buffer.drain(..count.min(self.buffer.len())) {
            if byte == 0x00 {
                self.padding += 1;
            } else {
                self.skipped += 1;
            }
        }
    }
}

enum Parsed {
    /// A frame and how many bytes it took.
    Frame(Frame, usize),
    /// So many bytes cannot begin a frame.
    Skip(usize),
    Incomplete,
}

/// Looks at the front of the buffer. Whatever is wrong costs one byte only, so that a frame inside what looked like
/// another one is still found.
fn parse(buffer: &[u8]) -> Parsed {
    let Some(start) = buffer.windows(2).position(|pair| pair == [0x00, 0xFF]) else {
        // Two zeros at the end may be the preamble and the first half of a start code.
        let zeros = buffer.iter().rev().take(2).take_while(|byte| **byte == 0x00).count();
        let garbage = buffer.len() - zeros;
        return if garbage > 0 { Parsed::Skip(garbage) } else { Parsed::Incomplete };
    };
    let preamble = start.checked_sub(1).filter(|before| buffer.get(*before) == Some(&0x00));
    let begin = preamble.unwrap_or(start);
    if begin > 0 {
        return Parsed::Skip(begin);
    }
    let header = start + 2;
    let Some(rest) = buffer.get(header..) else { return Parsed::Incomplete };
    match *rest {
        [0x00, 0xFF, 0x00, ..] => Parsed::Frame(Frame::Ack, header + 3),
        [0xFF, 0x00, 0x00, ..] => Parsed::Frame(Frame::Nack, header + 3),
        [0x00, 0xFF] | [0xFF, 0x00] | [_] | [] => Parsed::Incomplete,
        [0x00, 0xFF, ..] | [0xFF, 0x00, ..] => Parsed::Skip(1),
        [0xFF, 0xFF, high, low, check, ..] => {
            if high.wrapping_add(low).wrapping_add(check) == 0 {
                parse_information(buffer, header + 5, usize::from(u16::from_be_bytes([high, low])))
            } else {
                Parsed::Skip(1)
            }
        }
        [0xFF, 0xFF, ..] => Parsed::Incomplete,
        [len, check, ..] => {
            if len.wrapping_add(check) == 0 {
                parse_information(buffer, header + 2, usize::from(len))
            } else {
                Parsed::Skip(1)
            }
        }
    }
}

/// TFI, payload, DCS and postamble from `at` on, `len` counting TFI and payload.
fn parse_information(buffer: &[u8], at: usize, len: usize) -> Parsed {
    if !(1..=PAYLOAD_BYTES_MAX + 1).contains(&len) {
        return Parsed::Skip(1);
    }
    // The direction is looked at first, so that a false start does not wait for its whole length.
    let tfi = match buffer.get(at) {
        None => return Parsed::Incomplete,
        Some(tfi @ (&TO_CHIP | &FROM_CHIP | &ERROR)) => *tfi,
        Some(_) => return Parsed::Skip(1),
    };
    let end = at + len;
    let Some(content) = buffer.get(at..=end) else { return Parsed::Incomplete };
    if sum(content) != 0 {
        return Parsed::Skip(1);
    }
    let payload = buffer.get(at + 1..end).map(<[u8]>::to_vec).and_then(Payload::new);
    let frame = match (tfi, payload) {
        (ERROR, None) => Frame::Error,
        (TO_CHIP, Some(payload)) => Frame::ToChip(payload),
        (FROM_CHIP, Some(payload)) => Frame::FromChip(payload),
        _ => return Parsed::Skip(1),
    };
    match buffer.get(end + 1) {
        None => Parsed::Incomplete,
        Some(0x00) => Parsed::Frame(frame, end + 2),
        Some(_) => Parsed::Skip(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use hex_literal::hex;
    use proptest::prelude::*;

    fn decode_all(bytes: &[u8]) -> (Vec<Frame>, Decoder) {
        let mut decoder = Decoder::new();
        decoder.push(bytes);
        let frames = core::iter::from_fn(|| decoder.next_frame()).collect();
        (frames, decoder)
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let payload = proptest::collection::vec(any::<u8>(), 1..=PAYLOAD_BYTES_MAX)
            .prop_map(|bytes| Payload::new(bytes).unwrap())
            .boxed();
        prop_oneof![
            Just(Frame::Ack),
            Just(Frame::Nack),
            Just(Frame::Error),
            payload.clone().prop_map(Frame::ToChip),
            payload.prop_map(Frame::FromChip),
        ]
    }

    #[test]
    fn frames_of_the_manual_are_read_and_written() {
        let version = Frame::ToChip(Payload::of([0x02]));
        assert_eq!(version.encode(), hex!("0000FF02FED4022A00"));
        assert_eq!(decode_all(&hex!("0000FF02FED4022A00")).0.first(), Some(&version));
        // libnfc `pn53x-internal.h` prints the same command as an extended frame.
        assert_eq!(decode_all(&hex!("0000FFFFFF0002FED4022A00")).0, [version]);
        assert_eq!(
            decode_all(&hex!("0000FF00FF00 0000FFFF0000 0000FF01FF7F8100")).0,
            [Frame::Ack, Frame::Nack, Frame::Error]
        );
    }

    #[test]
    fn long_payloads_use_the_extended_frame() {
        for (len, header) in [(254, hex!("0000FFFF01")), (255, hex!("0000FFFFFF")), (264, hex!("0000FFFFFF"))] {
            let frame = Frame::FromChip(Payload::new(vec![0xA5; len]).unwrap());
            assert_eq!(frame.encode()[..5], header, "{len}");
            assert_eq!(decode_all(&frame.encode()).0, [frame]);
        }
        assert_eq!(Payload::new(vec![0; 265]), None);
        assert_eq!(Payload::new(vec![]), None);
    }

    #[test]
    fn a_frame_inside_a_false_start_is_found_after_silence() {
        let mut decoder = Decoder::new();
        // 00 FF 20 E0 D4 announces 32 bytes that never come.
        decoder.push(&hex!("00FF20E0D4 0000FF00FF00"));
        assert_eq!(decoder.next_frame(), None);
        assert_eq!(decoder.next_frame_after_silence(), Some(Frame::Ack));
        assert_eq!((decoder.skipped(), decoder.pending()), (4, 0));
    }

    #[test]
    fn no_flipped_bit_of_a_short_frame_makes_another_one() {
        let short = [Frame::Ack, Frame::Nack, Frame::Error, Frame::FromChip(Payload::of([0x41, 0x00]))];
        for frame in short {
            let bytes = frame.encode();
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let mut decoder = Decoder::new();
                decoder.push(&bytes);
                // The first byte is padding, and may be anything.
                let expected = (bit < 8).then(|| frame.clone());
                assert_eq!(decoder.next_frame_after_silence(), expected, "bit {bit} of {frame:?}");
            }
        }
    }

    #[test]
    fn a_debug_print_shows_no_key() {
        let auth = alloc::format!("{:?}", Frame::ToChip(Payload::of([0x40, 0x01, 0x60, 0x04, 0xA7, 0xA7])));
        assert!(!auth.contains("167") && !auth.contains("a7"), "{auth}");
    }

    proptest! {
        #[test]
        fn decode_is_the_inverse_of_encode(frame in frames()) {
            let bytes = frame.encode();
            let (decoded, decoder) = decode_all(&bytes);
            prop_assert_eq!(decoded, [frame]);
            prop_assert_eq!((decoder.skipped(), decoder.padding(), decoder.pending()), (0, 0, 0));
        }

        #[test]
        fn every_split_gives_the_same(sent in proptest::collection::vec(frames(), 1..4), cut in 1_usize..40) {
            let bytes: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            for chunk in bytes.chunks(cut) {
                decoder.push(chunk);
                got.extend(core::iter::from_fn(|| decoder.next_frame()));
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn one_flipped_bit_never_gives_another_frame(frame in frames(), bit: prop::sample::Index) {
            let mut bytes = frame.encode();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // What follows on a real line: the next frame.
            bytes.extend(Frame::Ack.encode());
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            let got: Vec<Frame> = core::iter::from_fn(|| decoder.next_frame_after_silence()).collect();
            let damaged = got.iter().filter(|got| **got != frame && **got != Frame::Ack).count();
            prop_assert_eq!(damaged, 0, "{:?}", got);
            prop_assert!(got.ends_with(&[Frame::Ack]));
        }

        #[test]
        fn garbage_is_skipped_and_every_byte_counted(garbage: Vec<u8>, frame in frames(), zeros in 0_usize..20) {
            let mut bytes = garbage.clone();
            bytes.extend(vec![0; zeros]);
            let encoded = frame.encode();
            bytes.extend(&encoded);
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            let got: Vec<Frame> = core::iter::from_fn(|| decoder.next_frame_after_silence()).collect();
            prop_assert_eq!(got.last(), Some(&frame));
            let in_frames: usize = got.iter().map(|frame| frame.encode().len()).sum();
            prop_assert!(decoder.skipped() + decoder.padding() + in_frames >= bytes.len() - got.len());
            prop_assert_eq!(decoder.pending(), 0);
        }

        #[test]
        fn what_waits_is_at_most_one_frame(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (_, decoder) = decode_all(&bytes);
            prop_assert!(decoder.pending() <= PAYLOAD_BYTES_MAX + 11);
        }
    }
}
