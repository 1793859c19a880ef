//! Messages as vpcd and our test driver send them: a length of two bytes, most significant first, then as many bytes.
//!
//! Source: vsmartcard, `virtualsmartcard/src/vpcd/vpcd.c`, `sendToVICC` and `recvFromVICC`.

/// The longest message, with its length.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 + 0xFFFF;

/// A message with its length in front; `None` when it is too long for one.
pub(super) fn message(body: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(body.len()).ok()?;
    Some([&len.to_be_bytes(), body].concat())
}

/// Messages that arrive in any split.
#[derive(Default)]
pub(super) struct Messages(Vec<u8>);

impl Messages {
    /// Takes what arrived. False when more has piled up than a host that waits for its answers sends.
    #[must_use]
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        self.0.extend_from_slice(bytes);
        self.0.len() <= 2 * MESSAGE_BYTES_MAX
    }

    /// The next whole message.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let (len, rest) = self.0.split_first_chunk::<2>()?;
        let body = rest.get(..usize::from(u16::from_be_bytes(*len)))?.to_vec();
        self.0.drain(..2 + body.len());
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_through_any_split() {
        // One byte of control, as vpcd sends it to power a card up, an APDU, and nothing at all.
        let sent = [0x00, 0x01, 0x01, 0x00, 0x05, 0xFF, 0xCA, 0x00, 0x00, 0x00, 0x00, 0x00];
        let bodies: [&[u8]; 3] = [&[0x01], &[0xFF, 0xCA, 0x00, 0x00, 0x00], &[]];
        assert_eq!(bodies.map(|body| message(body).unwrap()).concat(), sent);
        for split in 0..=sent.len() {
            let mut messages = Messages::default();
            let mut taken: Vec<Vec<u8>> = Vec::new();
            for part in [&sent[..split], &sent[split..]] {
                assert!(messages.push(part));
                taken.extend(core::iter::from_fn(|| messages.take()));
            }
            assert_eq!(taken, bodies, "split at {split}");
        }
    }

    #[test]
    fn what_nobody_waits_for_does_not_pile_up() {
        assert_eq!(message(&vec![0; 0x1_0000]), None);
        let mut messages = Messages::default();
        let longest = message(&vec![0; 0xFFFF]).unwrap();
        assert!(messages.push(&longest) && messages.push(&longest) && !messages.push(&[0]));
    }
}
