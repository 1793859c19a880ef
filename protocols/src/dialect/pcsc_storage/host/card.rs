//! What a card without sectors is asked: pages, passwords, keys, applications.
//!
//! Pages are read and written by the reader's own commands, as PC/SC part 3 has them for every storage card. A version, a
//! password and a 3DES authentication it does not know: they go through to the card where the profile says how, and are
//! [`DialectError::Unsupported`] elsewhere. A card of ISO/IEC 14443-4 takes APDUs itself.

use super::super::profiles::Direct;
use super::{Doubt, Next, PcscStorageHost, Power, Selection, Stage, Trouble};
use crate::apdu::{Apdu, Response, StatusWord, instruction};
use crate::command::{CardReply, DialectError, Secret};
use crate::dialect::pn532::{self, Status};
use crate::family::type2::{FAST_READ_PAGES_MAX, GET_VERSION, PageNumber, Password, UltralightCKey};
use crate::family::ultralight_c::{AUTHENTICATE, Challenge, DONE, MORE};
use alloc::vec::Vec;

/// What a card is asked.
#[derive(Clone)]
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

    /// What the reader is told. `None`: it would have to be passed on, and this reader does not.
    fn apdu(&self, direct: Option<Direct>) -> Option<Apdu> {
        let through = |command: &[u8], data: &[u8]| direct.map(|Direct::Pn532| Apdu::through_pn532(command, data));
        match self {
            Self::Pages(first) => Some(Apdu::read_pages(*first)),
            Self::Write(page, data) => Some(Apdu::write_page(*page, data.expose())),
            Self::Version => through(&[GET_VERSION], &[]),
            Self::FastRead { next, last, .. } => {
                through(&[pn532::mifare::FAST_READ, *next, last_of_exchange(*next, *last)], &[])
            }
            Self::Password(password) => through(&[pn532::mifare::PASSWORD], password.expose()),
            Self::Authenticate { .. } => through(&[AUTHENTICATE, 0x00], &[]),
            Self::Prove(challenge) => through(&[MORE], &challenge.token),
            Self::Application(name) => Some(Apdu::select(name)),
        }
    }

    /// What the card means by a refusal.
    fn refusal(&self) -> DialectError {
        match self {
            Self::Password(_) | Self::Prove(_) => DialectError::AuthenticationFailed,
            Self::Pages(_)
            | Self::Write(..)
            | Self::Version
            | Self::FastRead { .. }
            | Self::Authenticate { .. }
            | Self::Application(_) => DialectError::Refused,
        }
    }
}

/// Last page of the exchange that begins with `next`.
fn last_of_exchange(next: u8, last: u8) -> u8 {
    last.min(next.saturating_add(FAST_READ_PAGES_MAX - 1))
}

impl PcscStorageHost {
    /// Asks the card, after power was off where a failure has deselected it. What was open then is closed.
    pub(super) fn ask(&mut self, ask: Ask) {
        self.open_sector = None;
        match self.selection {
            Selection::Nothing => self.fail(DialectError::CardGone),
            Selection::Several => self.fail(DialectError::Several),
            Selection::Active(_) => self.tell(ask),
            Selection::Lost(_) => self.power(Power::Relist(Next::Ask(ask))),
        }
    }

    pub(super) fn tell(&mut self, ask: Ask) {
        let direct = self.profile.direct.filter(|_| !self.learnt.direct_refused);
        match ask.apdu(direct) {
            Some(apdu) => self.transmit(Stage::Ask(ask), apdu),
            None => self.fail(DialectError::Unsupported),
        }
    }

    pub(super) fn card_answered(&mut self, ask: Ask, response: &[u8]) {
        match ask {
            Ask::Pages(_) => self.block_read(response),
            Ask::Write(..) => self.block_written(response),
            Ask::Application(_) => self.application_selected(response),
            Ask::Version | Ask::FastRead { .. } | Ask::Password(_) | Ask::Authenticate { .. } | Ask::Prove(_) => {
                self.passed_through(ask, response);
            }
        }
    }

    /// The card's own answer, status word and all.
    fn application_selected(&mut self, response: &[u8]) {
        if response.len() < 2 {
            return self.doubt(Doubt::Access(instruction::SELECT, Trouble::Malformed(instruction::SELECT)));
        }
        self.finish(Ok(CardReply::Bytes(response.to_vec())));
    }

    /// `D5 43`, the chip's status, and what the card has said.
    fn passed_through(&mut self, ask: Ask, response: &[u8]) {
        let malformed = Trouble::Malformed(instruction::ACS);
        let data = match Response::parse(response) {
            Ok(Response { data: [0xD5, 0x43, status, data @ ..], status: StatusWord::OK }) => {
                match Status::from(*status) {
                    Status::Ok => data,
                    // Nothing, or the four bits of a refusal, which have no CRC.
                    Status::TimedOut | Status::Crc | Status::Format => {
                        return self.doubt(Doubt::Refused(ask.refusal()));
                    }
                    Status::InvalidParameter
                    | Status::MifareAuthentication
                    | Status::NotAcceptable
                    | Status::Other(_) => {
                        return self.doubt(Doubt::Refused(DialectError::Status { status: (*status).into() }));
                    }
                }
            }
            Ok(Response { status: StatusWord::OK, .. }) | Err(_) => {
                return self.doubt(Doubt::Access(instruction::ACS, malformed));
            }
            Ok(Response { status, .. }) => {
                return self.doubt(Doubt::Access(instruction::ACS, Trouble::Status(status)));
            }
        };
        let reply = match (ask, data) {
            (Ask::Version, [_, ..]) | (Ask::Password(_), [_, _]) => Some(CardReply::Bytes(data.to_vec())),
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
                return self.fail(DialectError::AuthenticationFailed);
            }
            (Ask::Prove(_), [DONE, ..]) => Some(CardReply::Done),
            (
                Ask::Pages(_)
                | Ask::Write(..)
                | Ask::Version
                | Ask::Password(_)
                | Ask::Authenticate { .. }
                | Ask::Prove(_)
                | Ask::Application(_),
                _,
            ) => None,
        };
        match reply {
            Some(reply) => self.finish(Ok(reply)),
            None => self.doubt(Doubt::Access(instruction::ACS, malformed)),
        }
    }
}
