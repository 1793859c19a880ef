//! What a card without sectors is asked: pages, passwords, keys, applications.
//!
//! READ and WRITE go through InDataExchange, whose status tells a refusal from a card that left. The rest goes through
//! InCommunicateThru, as the firmware takes some of it for something else (60 is a MIFARE authentication to it). There a
//! refusal, which is four bits on the air, looks like a wrong CRC; cards that just stay silent are known as well. So after
//! either the card is looked for again: a card that is still there has refused.
//!
//! Source: libnfc `utils/nfc-mfultralight.c`, nfcpy `src/nfc/tag/tt2.py` and `src/nfc/clf/pn53x.py`; nfc-pcsc issue 36.

use super::{Command, LOOK_RETRIES, Listing, Pn532Host, Selection, Status, Then, exchanged, found_status, unexpected};
use super::{Job, Payload};
use crate::apdu::Apdu;
use crate::command::{CardReply, DialectError, Secret};
use crate::dialect::pn532::mifare;
use crate::family::type2::{FAST_READ_PAGES_MAX, GET_VERSION, PageNumber, Password, UltralightCKey};
use crate::family::ultralight_c::{AUTHENTICATE, Challenge, DONE, MORE};
use alloc::vec::Vec;

/// What a card is asked.
pub(super) enum Ask {
    /// Four pages.
    Pages(PageNumber),
    /// A page.
    Write(PageNumber, Secret<4>),
    Version,
    /// Pages from `next` to `last`, behind those that have been read.
    FastRead {
        next: u8,
        last: u8,
        read: Vec<u8>,
    },
    Password(Password),
    /// The first half.
    Authenticate {
        key: UltralightCKey,
        random: [u8; 8],
    },
    /// The second half.
    Prove(Challenge),
    Application(Vec<u8>),
}

impl Ask {
    pub(super) fn fast_read(first: PageNumber, last: PageNumber) -> Self {
        Self::FastRead { next: first.get(), last: last.get(), read: Vec::new() }
    }
}

/// Last page of the exchange that begins with `next`.
fn last_of_exchange(next: u8, last: u8) -> u8 {
    last.min(next.saturating_add(FAST_READ_PAGES_MAX - 1))
}

impl Pn532Host {
    /// Asks the card, after it was selected again where a failure has deselected it. What was open then is closed.
    pub(super) fn ask(&mut self, ask: Ask) {
        self.open_sector = None;
        match self.selection {
            Selection::Nothing => self.finish(Err(DialectError::CardGone)),
            Selection::Several => self.finish(Err(DialectError::Several)),
            Selection::Active(_) => self.tell(ask),
            Selection::Lost(target) => self.list(LOOK_RETRIES, Listing::Relist { target, then: Then::Ask(ask) }),
        }
    }

    pub(super) fn tell(&mut self, ask: Ask) {
        let command = match &ask {
            Ask::Pages(first) => exchange(&[mifare::READ, first.get()], &[]),
            Ask::Write(page, data) => exchange(&[mifare::WRITE_PAGE, page.get()], data.expose()),
            Ask::Version => through(&[GET_VERSION], &[]),
            Ask::FastRead { next, last, .. } => {
                through(&[mifare::FAST_READ, *next, last_of_exchange(*next, *last)], &[])
            }
            Ask::Password(password) => through(&[mifare::PASSWORD], password.expose()),
            Ask::Authenticate { .. } => through(&[AUTHENTICATE, 0x00], &[]),
            Ask::Prove(challenge) => through(&[MORE], &challenge.token),
            Ask::Application(name) => exchange(&[], &Apdu::select(name)),
        };
        match command {
            Some(command) => self.start(Job::Ask(ask), command),
            // An application's name that no frame holds; ISO/IEC 7816-4 has at most 16 bytes.
            None => self.finish(Err(DialectError::Unsupported)),
        }
    }

    pub(super) fn card_answered(&mut self, ask: Ask, answer: &super::Payload) {
        let goes_through = match ask {
            Ask::Pages(_) | Ask::Write(..) | Ask::Application(_) => false,
            Ask::Version | Ask::FastRead { .. } | Ask::Password(_) | Ask::Authenticate { .. } | Ask::Prove(_) => true,
        };
        let code = if goes_through { Command::InCommunicateThru } else { Command::InDataExchange };
        if goes_through && matches!(found_status(answer), Some(Status::TimedOut | Status::Crc | Status::Format)) {
            return self.refused(&ask);
        }
        let data = match exchanged(answer, code) {
            Ok(data) => data,
            Err(error) => {
                self.lose_card();
                return self.finish(Err(error));
            }
        };
        let reply = match (ask, data) {
            (Ask::Pages(_), data) => data.try_into().ok().map(CardReply::Block),
            (Ask::Version, [_, ..]) | (Ask::Password(_), [_, _]) | (Ask::Application(_), [.., _, _]) => {
                Some(CardReply::Bytes(data.to_vec()))
            }
            (Ask::FastRead { next, last, mut read }, data) => {
                let end = last_of_exchange(next, last);
                read.extend_from_slice(data);
                match end.checked_add(1) {
                    _ if data.len() != 4 * (usize::from(end.saturating_sub(next)) + 1) => None,
                    Some(next) if end < last => return self.tell(Ask::FastRead { next, last, read }),
                    Some(_) | None => Some(CardReply::Bytes(read)),
                }
            }
            (Ask::Authenticate { key, random }, [MORE, encrypted @ ..]) => match encrypted.try_into() {
                Ok(encrypted) => return self.tell(Ask::Prove(Challenge::answer(&key, random, encrypted))),
                Err(_) => None,
            },
            // A card that does not know the key has answered: it is not the one it plays.
            (Ask::Prove(challenge), [DONE, proof @ ..]) if !challenge.is_proven_by(proof) => {
                self.lose_card();
                return self.finish(Err(DialectError::AuthenticationFailed));
            }
            (Ask::Write(..), []) | (Ask::Prove(_), [DONE, ..]) => Some(CardReply::Done),
            (
                Ask::Write(..)
                | Ask::Version
                | Ask::Password(_)
                | Ask::Authenticate { .. }
                | Ask::Prove(_)
                | Ask::Application(_),
                _,
            ) => None,
        };
        if reply.is_none() {
            self.lose_card();
        }
        self.finish(reply.ok_or(unexpected(code)));
    }

    /// Four bits, or nothing: looks whether the card is still there before anything is said.
    fn refused(&mut self, ask: &Ask) {
        self.lose_card();
        let Selection::Lost(target) = self.selection else { return self.finish(Err(DialectError::CardGone)) };
        let error = match ask {
            // Where the command was sent twice, the second may have been refused and not the first.
            _ if !self.link.was_smooth() => DialectError::NoAnswer,
            Ask::Password(_) | Ask::Prove(_) => DialectError::AuthenticationFailed,
            Ask::Pages(_)
            | Ask::Write(..)
            | Ask::Version
            | Ask::FastRead { .. }
            | Ask::Authenticate { .. }
            | Ask::Application(_) => DialectError::Refused,
        };
        self.list(LOOK_RETRIES, Listing::Relist { target, then: Then::Say(Err(error)) });
    }
}

/// InDataExchange with target 1.
fn exchange(command: &[u8], data: &[u8]) -> Option<Payload> {
    payload(&[Command::InDataExchange.into(), 0x01], command, data)
}

/// InCommunicateThru.
fn through(command: &[u8], data: &[u8]) -> Option<Payload> {
    payload(&[Command::InCommunicateThru.into()], command, data)
}

/// In one piece that never grows, so that no copy of a secret is left behind.
fn payload(code: &[u8], command: &[u8], data: &[u8]) -> Option<Payload> {
    let mut bytes = Vec::with_capacity(code.len() + command.len() + data.len());
    for part in [code, command, data] {
        bytes.extend_from_slice(part);
    }
    Payload::new(bytes)
}
