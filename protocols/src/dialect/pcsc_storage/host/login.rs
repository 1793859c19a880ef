//! Opening a sector: the key into a slot of the reader, then the sector with that slot.

use super::super::profiles::{KEY_FORMS, KeyForm, KeyPlace};
use super::{DUMMY, Doubt, Next, PcscStorageHost, Power, Selection, Stage, Trouble, uid_of};
use crate::apdu::{Apdu, Cause, Response, StatusWord, instruction};
use crate::command::{CardReply, DialectError};
use crate::family::classic::{Key, SectorNumber};
use alloc::vec::Vec;

/// Keys on their way into a sector.
#[derive(Clone)]
pub(super) struct Login {
    sector: SectorNumber,
    key: Key,
    /// Which form of key slots is tried.
    rung: usize,
    /// `FF 88` in place of `FF 86`.
    obsolete: bool,
    /// A key was taken and did not open the sector.
    tried: bool,
}

impl PcscStorageHost {
    pub(super) fn login(&mut self, sector: SectorNumber, key: &Key) {
        let obsolete = self.learnt.obsolete_authenticate;
        let login = Login { sector, key: key.clone(), rung: 0, obsolete, tried: false };
        match self.selection {
            Selection::Nothing => self.fail(DialectError::CardGone),
            Selection::Several => self.fail(DialectError::Several),
            Selection::Active(_) => self.load_key(login),
            Selection::Lost(_) => self.power(Power::Relist(Next::Login(login))),
        }
    }

    /// The forms of key slots in the order in which they are tried.
    fn form(&self, rung: usize) -> Option<KeyForm> {
        let mut forms: Vec<KeyForm> = Vec::new();
        for form in self.learnt.keys.iter().chain(&self.profile.keys).chain(KEY_FORMS) {
            if !forms.contains(form) {
                forms.push(*form);
            }
        }
        forms.get(rung).copied()
    }

    /// Whether a key that does not open the sector proves something about the key, and nothing about the slots.
    fn is_trusted(&self, login: &Login) -> bool {
        login.rung == 0 && self.learnt.keys.or(self.profile.keys).is_some()
    }

    pub(super) fn load_key(&mut self, login: Login) {
        let Some(place) = self.form(login.rung).map(|form| form.place(&login.key)) else {
            return self.transmit(Stage::Presence(Doubt::NoSlot(login)), Apdu::uid());
        };
        let secret = login.key.secret();
        if self.loaded.get(&place.p2) == Some(secret) {
            return self.authenticate(login, place);
        }
        self.loaded.remove(&place.p2);
        if *secret.expose() != DUMMY {
            self.dirty.insert(place.p2);
        }
        let apdu = Apdu::load_key(place.p2, secret);
        self.transmit(Stage::LoadKey(login), apdu);
    }

    pub(super) fn key_loaded(&mut self, response: &[u8], mut login: Login) {
        let Some(place) = self.form(login.rung).map(|form| form.place(&login.key)) else {
            return self.fail(DialectError::Unsupported);
        };
        match Response::parse(response).map(|response| response.status) {
            Ok(StatusWord::OK) => {
                let secret = login.key.secret().clone();
                if *secret.expose() == DUMMY {
                    self.dirty.remove(&place.p2);
                }
                self.loaded.insert(place.p2, secret);
                self.authenticate(login, place);
            }
            // Not taken: another place may be right. Identiv says 6988, ACS 6300.
            Ok(_) => {
                self.dirty.remove(&place.p2);
                if login.rung == 0 && self.learnt.keys.take().is_some() {
                    // What was learnt is of another reader; begin again without it.
                    return self.load_key(login);
                }
                login.rung += 1;
                self.load_key(login);
            }
            Err(_) => self.doubt(Doubt::Login(login, Trouble::Malformed(instruction::LOAD_KEYS))),
        }
    }

    fn authenticate(&mut self, login: Login, place: KeyPlace) {
        self.open_sector = None;
        let block = login.sector.first_block();
        let apdu = if login.obsolete {
            Apdu::authenticate_obsolete(block, &login.key, place.number)
        } else {
            Apdu::authenticate(block, &login.key, place.number)
        };
        self.transmit(Stage::Authenticate(login), apdu);
    }

    pub(super) fn authenticated(&mut self, response: &[u8], mut login: Login) {
        let Ok(response) = Response::parse(response) else {
            return self.doubt(Doubt::Login(login, Trouble::Malformed(instruction::GENERAL_AUTHENTICATE)));
        };
        let form = self.form(login.rung);
        match response.status.cause() {
            Cause::Ok => {
                self.open_sector = Some(login.sector);
                self.learnt.keys = form;
                self.learnt.obsolete_authenticate = login.obsolete;
                self.finish(Ok(CardReply::Done));
            }
            Cause::NotSupported | Cause::NotNow | Cause::WrongLength | Cause::WrongParameters if !login.obsolete => {
                login.obsolete = true;
                match form {
                    Some(form) => self.authenticate(login.clone(), form.place(&login.key)),
                    None => self.fail(DialectError::Unsupported),
                }
            }
            Cause::Failed
            | Cause::SecurityStatus
            | Cause::KeyStore
            | Cause::NotSupported
            | Cause::NotNow
            | Cause::WrongLength
            | Cause::WrongParameters
            | Cause::Corrupted
            | Cause::EndReached
            | Cause::NotCarriedOut
            | Cause::MemoryFailure
            | Cause::WrongLe { .. }
            | Cause::WrongCardType
            | Cause::NoSuchBlock
            | Cause::Other => self.doubt(Doubt::Login(login, Trouble::Status(response.status))),
        }
    }

    /// The card is there, and the key did not open the sector.
    pub(super) fn login_refused(&mut self, mut login: Login, trouble: Trouble) {
        let status = match trouble {
            Trouble::Status(status) => status,
            Trouble::Malformed(command) => return self.fail(DialectError::UnexpectedAnswer { command }),
            Trouble::NotTransacted => return self.fail(DialectError::NoAnswer),
        };
        match status.cause() {
            Cause::Failed | Cause::SecurityStatus | Cause::NotCarriedOut => {
                login.tried = true;
                if self.is_trusted(&login) {
                    return self.fail(DialectError::AuthenticationFailed);
                }
                self.next_rung(login);
            }
            Cause::KeyStore => self.next_rung(login),
            Cause::WrongCardType | Cause::NoSuchBlock | Cause::MemoryFailure => self.fail(DialectError::Refused),
            Cause::NotSupported | Cause::NotNow | Cause::WrongLength | Cause::WrongParameters => {
                self.fail(DialectError::Unsupported);
            }
            Cause::Ok | Cause::Corrupted | Cause::EndReached | Cause::WrongLe { .. } => {
                self.fail(DialectError::UnexpectedAnswer { command: instruction::GENERAL_AUTHENTICATE });
            }
            Cause::Other => self.fail(DialectError::Status { status: status.0 }),
        }
    }

    fn next_rung(&mut self, mut login: Login) {
        login.rung += 1;
        if self.form(login.rung).is_some() {
            self.power(Power::Relist(Next::Login(login)));
        } else {
            self.no_slot(&login);
        }
    }

    /// The card is there, and there is no other slot to try.
    pub(super) fn no_slot(&mut self, login: &Login) {
        self.lose_card();
        self.fail(if login.tried { DialectError::AuthenticationFailed } else { DialectError::Unsupported });
    }

    pub(super) fn relisted(&mut self, response: &[u8], next: Next) {
        let Selection::Lost(target) = self.selection else { return self.fail(DialectError::CardGone) };
        match uid_of(response) {
            Some(uid) if uid == target.uid => {
                self.selection = Selection::Active(target);
                match next {
                    Next::Login(login) => self.load_key(login),
                    Next::Ask(ask) => self.tell(ask),
                }
            }
            Some(_) => self.fail(DialectError::CardChanged),
            None => self.fail(DialectError::CardGone),
        }
    }
}
