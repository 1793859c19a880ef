//! A reader with storage card commands from its own end, for the virtual encoder and for tests.
//!
//! What it models: ATR by card, key slots, authentication that ends with any failure, status words by profile, LED and
//! buzzer, firmware, the PN532 inside an ACR122U, pages of Type 2 cards, APDUs to cards of ISO/IEC 14443-4. What it does not:
//! value blocks.
//!
//! UNVERIFIED: everything that the profiles do not cite; above all that a reader selects a card anew for `FF CA` and
//! `FF 86`, that of two cards it takes the one with the lowest UID, and that an ACR122U does not find its card again
//! after a search by direct command until power goes off and on. Readers would tell.

use super::profiles::{Direct, Errors, Feedback, FirmwareQuestion, KEY_FORMS, KeyForm, Profile};
use crate::apdu::{CLASS, instruction};
use crate::atr;
use crate::card_sim::{Card, CardError, Field, KeySlot, Request};
use crate::dialect::pn532::frame::{Decoder, Frame, Payload};
use crate::dialect::pn532::{self, Pn532Device};
use crate::dialect::{CardAnswer, CardDevice, Counters, Device};
use crate::family::classic::{BlockNumber, ClassicSize, SectorKey};
use crate::family::{CardKind, identify};
use crate::id::{Target, Uid};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// One bulk transfer to and fro, and the firmware between. UNVERIFIED: order of magnitude; a reader would tell.
const EXCHANGE: Duration = Duration::from_millis(1);
/// A card command on the air: two frames of about 20 bytes at 106 kbit/s and the chip's own time, as `pn532` models it.
const ON_AIR: Duration = Duration::from_millis(4);
/// What writing a block takes on top. Source: as for `pn532`.
const EEPROM_WRITE: Duration = Duration::from_micros(2_600);

/// A status word.
type Sw = [u8; 2];

const OK: Sw = [0x90, 0x00];

/// Why something was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Wrong number of bytes.
    Length,
    /// Not a command of this reader.
    Unknown,
    /// A key of the wrong length.
    KeyLength,
    /// A slot that does not exist.
    KeyNumber,
    /// Memory that keeps keys without power, which is not modelled.
    NonVolatile,
    /// A slot that holds no key.
    NoKey,
    /// The key does not open the sector.
    WrongKey,
    /// Not authenticated, or the access conditions say no.
    Access,
    /// The card cannot do this.
    WrongCard,
    /// The card has left.
    Gone,
}

/// A PC/SC reader of a profile, with nothing on it.
#[derive(Debug)]
pub struct PcscStorageDevice {
    profile: &'static Profile,
    /// The chip with the field. Its own commands can be reached where the profile says so.
    chip: Pn532Device,
    /// The card that the firmware has activated.
    active: Option<Uid>,
    /// The firmware knows which card is selected.
    in_step: bool,
    /// What slots hold, by P2.
    keys: BTreeMap<u8, SectorKey>,
    /// Bits 0 and 1: red and green.
    leds: u8,
    counters: Counters,
    pace: bool,
}

impl PcscStorageDevice {
    /// A reader of this profile that has just got power.
    pub fn new(profile: &'static Profile) -> Self {
        let mut device = Self {
            profile,
            chip: Pn532Device::new(),
            active: None,
            in_step: false,
            keys: BTreeMap::new(),
            leds: 0,
            counters: Counters::default(),
            pace: false,
        };
        // Wakes the chip, and lets a search end. UNVERIFIED: the number of retries that the firmware sets.
        device.chip.receive(&[0x55; 16], pn532::BAUD);
        device.chip_command(&[0x14, 0x01]);
        device.chip_command(&[0x32, 0x05, 0x00, 0x01, 0x02]);
        device
    }

    /// What the slots can be called: the profile's form, or the plainest.
    fn form(&self) -> Option<KeyForm> {
        self.profile.keys.or_else(|| KEY_FORMS.first().copied())
    }

    /// Code and parameters to the chip, code and parameters back; `None` when it does not answer or does not understand.
    fn chip_command(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        let frame = Frame::ToChip(Payload::new(command.to_vec())?);
        self.chip.receive(&frame.encode(), pn532::BAUD);
        let mut decoder = Decoder::new();
        while let Some(transmission) = self.chip.poll() {
            decoder.push(&transmission.bytes);
        }
        while let Some(frame) = decoder.next_frame() {
            match frame {
                Frame::FromChip(payload) => return Some(payload.as_bytes().to_vec()),
                Frame::Error | Frame::Ack | Frame::Nack | Frame::ToChip(_) => {}
            }
        }
        None
    }

    fn field_ref(&mut self) -> &mut Field {
        self.chip.field()
    }

    /// The active card, selected again where it has fallen back.
    fn select(&mut self) -> Option<Uid> {
        let uid = self.active.filter(|_| self.in_step)?;
        let field = self.field_ref();
        (field.is_selected(uid) || field.activate(Request::WakeUp, Some(uid)).is_some()).then_some(uid)
    }

    fn status(&self, refusal: Refusal) -> Vec<u8> {
        match (self.profile.errors, refusal) {
            // Source: the response codes of each command in ACR122U API 2.04.
            (Errors::Acs, Refusal::Unknown) => [0x6A, 0x81].to_vec(),
            (Errors::Acs, _) => [0x63, 0x00].to_vec(),
            // As a driver with a card that has left.
            (Errors::PcScPart3, Refusal::Gone) => Vec::new(),
            (Errors::PcScPart3, Refusal::Length) => [0x67, 0x00].to_vec(),
            (Errors::PcScPart3, Refusal::Unknown) => [0x6D, 0x00].to_vec(),
            (Errors::PcScPart3, Refusal::KeyLength) => [0x69, 0x89].to_vec(),
            (Errors::PcScPart3, Refusal::KeyNumber) => [0x69, 0x88].to_vec(),
            (Errors::PcScPart3, Refusal::NonVolatile) => [0x69, 0x87].to_vec(),
            (Errors::PcScPart3, Refusal::NoKey) => [0x69, 0x84].to_vec(),
            (Errors::PcScPart3, Refusal::WrongKey | Refusal::Access) => [0x69, 0x82].to_vec(),
            (Errors::PcScPart3, Refusal::WrongCard) => [0x69, 0x81].to_vec(),
        }
    }

    fn answer(&self, result: Result<Vec<u8>, Refusal>) -> Vec<u8> {
        match result {
            Ok(mut data) => {
                data.extend(OK);
                data
            }
            Err(refusal) => self.status(refusal),
        }
    }

    fn carry_out(&mut self, apdu: &[u8]) -> Vec<u8> {
        if let Some(answer) = self.card_carries_out(apdu) {
            return answer;
        }
        let [CLASS, ins, p1, p2, rest @ ..] = apdu else {
            let result = Err(if apdu.len() < 4 { Refusal::Length } else { Refusal::Unknown });
            return self.answer(result);
        };
        let result = match *ins {
            instruction::GET_DATA => self.get_data(*p1, *p2),
            instruction::LOAD_KEYS => self.load_key(*p1, *p2, rest),
            instruction::GENERAL_AUTHENTICATE => self.general_authenticate(rest),
            instruction::AUTHENTICATE_OBSOLETE => match rest {
                [key_type, number] => self.authenticate(*p2, *key_type, *number),
                _ => Err(Refusal::Length),
            },
            instruction::READ_BINARY => self.read(*p2, rest),
            instruction::UPDATE_BINARY => self.write(*p2, rest),
            instruction::ACS => match self.own_command(apdu) {
                Some(answer) => return answer,
                None => Err(Refusal::Unknown),
            },
            _ => Err(Refusal::Unknown),
        };
        self.answer(result)
    }

    /// What is not for the reader is for a card that takes APDUs; it answers with a status word of its own, or has left.
    fn card_carries_out(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let uid = self.active?;
        let is_part4 = matches!(self.field_ref().card_mut(uid), Some(Card::Part4(_)));
        let is_for_it = is_part4 && apdu.first().is_some_and(|class| *class != CLASS);
        is_for_it.then(|| self.field_ref().command(apdu).unwrap_or_default())
    }

    fn historical_bytes(&mut self) -> Result<Vec<u8>, Refusal> {
        let uid = self.select().ok_or(Refusal::Gone)?;
        match self.field_ref().card_mut(uid) {
            Some(Card::Part4(card)) => Ok(card.historical_bytes().to_vec()),
            Some(Card::Classic(_) | Card::Type2(_) | Card::Unknown(_)) | None => Err(Refusal::Unknown),
        }
    }

    fn get_data(&mut self, p1: u8, p2: u8) -> Result<Vec<u8>, Refusal> {
        match (p1, p2) {
            (0x01, 0x00) => self.historical_bytes(),
            (0x00, 0x00) => {
                self.counters.detects += 1;
                self.select().map(|uid| uid.as_bytes().to_vec()).ok_or(Refusal::Gone)
            }
            _ => Err(Refusal::Unknown),
        }
    }

    fn load_key(&mut self, p1: u8, p2: u8, rest: &[u8]) -> Result<Vec<u8>, Refusal> {
        let [lc, key @ ..] = rest else { return Err(Refusal::Length) };
        let (6, Ok(key)) = (*lc, <[u8; 6]>::try_from(key)) else { return Err(Refusal::KeyLength) };
        if p1 & 0x20 != 0 {
            return Err(Refusal::NonVolatile);
        }
        let known = self.form().is_some_and(|form| p1 == 0 && (form.a.p2 == p2 || form.b.p2 == p2));
        if !known {
            return Err(Refusal::KeyNumber);
        }
        self.keys.insert(p2, SectorKey::new(key));
        Ok(Vec::new())
    }

    fn general_authenticate(&mut self, rest: &[u8]) -> Result<Vec<u8>, Refusal> {
        match rest {
            [0x05, 0x01, 0x00, block, key_type, number] => self.authenticate(*block, *key_type, *number),
            _ => Err(Refusal::Length),
        }
    }

    fn authenticate(&mut self, block: u8, key_type: u8, number: u8) -> Result<Vec<u8>, Refusal> {
        let slot = match key_type {
            0x60 => KeySlot::A,
            0x61 => KeySlot::B,
            _ => return Err(Refusal::KeyNumber),
        };
        let form = self.form().ok_or(Refusal::KeyNumber)?;
        // Where the slot says which kind of key it holds, the kind chooses it; elsewhere the number does.
        let by_kind = if slot == KeySlot::A { form.a } else { form.b };
        let place = [by_kind, form.a, form.b].into_iter().find(|place| place.number == number);
        let key = self.keys.get(&place.ok_or(Refusal::KeyNumber)?.p2).ok_or(Refusal::NoKey)?.clone();
        let uid = self.select().ok_or(Refusal::Gone)?;
        let opened = self.field_ref().authenticate(BlockNumber::new(block), slot, key.expose(), uid.last_four());
        opened.map(|()| Vec::new()).map_err(|error| self.refusal(uid, error, Refusal::WrongKey))
    }

    fn read(&mut self, block: u8, rest: &[u8]) -> Result<Vec<u8>, Refusal> {
        let [0x00 | 0x10] = rest else { return Err(Refusal::Length) };
        let uid = self.opened()?;
        match self.field_ref().read(BlockNumber::new(block)) {
            Ok(data) => Ok(data.to_vec()),
            Err(error) => Err(self.refusal(uid, error, Refusal::Access)),
        }
    }

    fn write(&mut self, block: u8, rest: &[u8]) -> Result<Vec<u8>, Refusal> {
        let [lc, data @ ..] = rest else { return Err(Refusal::Length) };
        if data.len() != usize::from(*lc) {
            return Err(Refusal::Length);
        }
        let uid = self.opened()?;
        let is_type2 = matches!(self.field_ref().card_mut(uid), Some(Card::Type2(_)));
        let written = match (data.first_chunk::<16>(), data) {
            (Some(block_data), _) if data.len() == 16 && !is_type2 => {
                self.field_ref().write(BlockNumber::new(block), block_data)
            }
            (None, [b0, b1, b2, b3]) if is_type2 => {
                self.field_ref().exchange(&[pn532::mifare::WRITE_PAGE, block, *b0, *b1, *b2, *b3]).map(drop)
            }
            _ => return Err(Refusal::Length),
        };
        match written {
            Ok(()) => Ok(Vec::new()),
            Err(error) => Err(self.refusal(uid, error, Refusal::Access)),
        }
    }

    /// The card that blocks are read from and written to. Whether a sector is open, it knows itself.
    fn opened(&mut self) -> Result<Uid, Refusal> {
        self.active.filter(|_| self.in_step).ok_or(Refusal::Gone)
    }

    fn refusal(&mut self, uid: Uid, error: CardError, refused: Refusal) -> Refusal {
        let kind = self.field_ref().card_mut(uid).map(|card| identify(&card.target()));
        match (kind, error) {
            (None, _) => Refusal::Gone,
            (Some(CardKind::Classic(_) | CardKind::Type2), CardError::Nak | CardError::Silent) => refused,
            (Some(CardKind::Iso14443Part4 | CardKind::Unknown), _) => Refusal::WrongCard,
        }
    }

    /// `FF 00 …`: LEDs, firmware and the chip of an ACR122U.
    fn own_command(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        match apdu {
            [CLASS, 0x00, 0x40, state, 0x04, _on, _off, _times, _buzzer]
                if self.profile.feedback == Some(Feedback::LedAndBuzzer) =>
            {
                let mask = state >> 2 & 0x03;
                self.leds = self.leds & !mask | state & mask;
                Some([0x90, self.leds].to_vec())
            }
            [CLASS, 0x00, 0x48, 0x00, 0x00] if self.profile.firmware == Some(FirmwareQuestion::Acr122) => {
                // The manual's example.
                Some(b"ACR122U201".to_vec())
            }
            [CLASS, 0x00, 0x00, 0x00, _lc, 0xD4, command @ ..] if self.profile.direct == Some(Direct::Pn532) => {
                Some(self.direct(command))
            }
            _ => None,
        }
    }

    fn direct(&mut self, command: &[u8]) -> Vec<u8> {
        match command.first() {
            // Search, deselect, release, select, field: the firmware is not told.
            Some(0x4A) => {
                self.counters.detects += 1;
                self.in_step = false;
            }
            Some(0x32 | 0x44 | 0x52 | 0x54) => self.in_step = false,
            _ => {}
        }
        let answer = self.chip_command(command);
        let mut bytes = match answer {
            Some(answer) => [&[0xD5], &answer[..]].concat(),
            // UNVERIFIED: how the firmware passes on that the chip did not understand or did not answer.
            None => return [0x63, 0x00].to_vec(),
        };
        bytes.extend(OK);
        bytes
    }

    /// `E0 …`: what other readers of ACS take by escape.
    fn peripheral(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        match bytes {
            [0xE0, 0x00, 0x00, 0x18, 0x00] if self.profile.firmware == Some(FirmwareQuestion::Peripheral) => {
                // The manuals' examples.
                let firmware = if self.profile.name == "acr1252u" { "ACR1252U_V202.2" } else { "ACR1281U_V503.1" };
                let len = u8::try_from(firmware.len()).unwrap_or_default();
                Some([&[0xE1, 0x00, 0x00, 0x00, len], firmware.as_bytes()].concat())
            }
            [0xE0, 0x00, 0x00, 0x28, 0x01, _duration] if self.profile.feedback == Some(Feedback::Buzzer) => {
                Some([0xE1, 0x00, 0x00, 0x00, 0x01, 0x00].to_vec())
            }
            _ => None,
        }
    }

    fn count(&mut self, apdu: &[u8], bytes: Vec<u8>) -> CardAnswer {
        self.counters.round_trips += 1;
        let on_air = match apdu.get(1).copied() {
            Some(instruction::UPDATE_BINARY) => ON_AIR + EEPROM_WRITE,
            Some(
                instruction::GET_DATA
                | instruction::GENERAL_AUTHENTICATE
                | instruction::AUTHENTICATE_OBSOLETE
                | instruction::READ_BINARY,
            ) => ON_AIR,
            _ => Duration::ZERO,
        };
        CardAnswer { bytes, takes: if self.pace { EXCHANGE + on_air } else { Duration::ZERO } }
    }
}

impl CardDevice for PcscStorageDevice {
    fn is_present(&self) -> bool {
        !self.chip.cards().is_empty()
    }

    fn power_on(&mut self) -> Option<Vec<u8>> {
        self.power_off();
        // Field on, search for one card: this is how a polling firmware finds it.
        self.chip_command(&[0x32, 0x01, 0x01]);
        self.chip_command(&[0x4A, 0x01, 0x00]);
        let target = self.field_ref().selected_target()?;
        self.active = Some(target.uid);
        self.in_step = true;
        Some(self.atr(&target))
    }

    fn power_off(&mut self) {
        self.active = None;
        self.in_step = false;
        self.chip_command(&[0x32, 0x01, 0x00]);
    }

    fn transmit(&mut self, apdu: &[u8]) -> CardAnswer {
        let bytes = self.carry_out(apdu);
        self.count(apdu, bytes)
    }

    fn escape(&mut self, bytes: &[u8]) -> Option<CardAnswer> {
        // An ACR122U takes its own commands without a card this way. Source: ACR122U API 2.04, section 6.0.
        let answer = match bytes {
            [0xE0, ..] => self.peripheral(bytes)?,
            [CLASS, 0x00, ..] => self.own_command(bytes)?,
            _ => return None,
        };
        Some(self.count(bytes, answer))
    }

    fn field(&mut self) -> &mut Field {
        self.field_ref()
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn set_pace(&mut self, pace: bool) {
        self.pace = pace;
    }
}

impl PcscStorageDevice {
    /// Historical bytes of a card that has an ATS.
    fn history(&self, target: &Target) -> &'static [u8] {
        let card = self.chip.cards().iter().find(|card| card.uid() == target.uid);
        match card {
            Some(Card::Part4(card)) => card.historical_bytes(),
            Some(Card::Classic(_) | Card::Type2(_) | Card::Unknown(_)) | None => &[],
        }
    }

    fn atr(&self, target: &Target) -> Vec<u8> {
        match identify(target) {
            CardKind::Classic(ClassicSize::Mini) => atr::storage_card(atr::name::CLASSIC_MINI),
            CardKind::Classic(ClassicSize::K1) => atr::storage_card(atr::name::CLASSIC_1K),
            CardKind::Classic(ClassicSize::K4) => atr::storage_card(atr::name::CLASSIC_4K),
            CardKind::Type2 => atr::storage_card(atr::name::ULTRALIGHT),
            CardKind::Iso14443Part4 => atr::part4_card(self.history(target)),
            CardKind::Unknown => match (target.atqa_sak(), self.profile.errors) {
                (Some((_, sak)), Errors::Acs) => atr::storage_card(u16::from_be_bytes([0xFF, sak])),
                (Some(_) | None, _) => atr::storage_card(0x0000),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile;
    use super::*;
    use crate::card_sim::{Card, ClassicCard};
    use hex_literal::hex;

    fn device(name: &str) -> PcscStorageDevice {
        let mut device = PcscStorageDevice::new(profile(name).unwrap());
        let card = ClassicCard::blank(ClassicSize::K1, "deadbeef".parse().unwrap());
        device.field().place(Card::Classic(card)).unwrap();
        device.power_on().unwrap();
        device
    }

    #[test]
    fn a_search_past_the_firmware_lasts_until_power_goes_off_and_on() {
        let mut device = device("acr122u");
        assert_eq!(device.transmit(&hex!("FFCA000000")).bytes, hex!("DEADBEEF9000"));
        device.transmit(&hex!("FF00000004D44A0200"));
        assert_eq!(device.transmit(&hex!("FFCA000000")).bytes, hex!("6300"));
        device.power_on().unwrap();
        assert_eq!(device.transmit(&hex!("FFCA000000")).bytes, hex!("DEADBEEF9000"));
        assert_eq!(device.counters(), Counters { round_trips: 4, detects: 4 });
    }

    #[test]
    fn a_failure_closes_the_sector() {
        for (name, refused) in [("acr122u", hex!("6300")), ("generic", hex!("6982"))] {
            let mut device = device(name);
            device.transmit(&hex!("FF82000006FFFFFFFFFFFF"));
            assert_eq!(device.transmit(&hex!("FF860000050100046000")).bytes, hex!("9000"));
            assert_eq!(device.transmit(&hex!("FFB0000410")).bytes.len(), 18);
            assert_eq!(device.transmit(&hex!("FFB0000810")).bytes, refused, "another sector");
            assert_eq!(device.transmit(&hex!("FFB0000410")).bytes, refused, "{name}");
        }
    }

    #[test]
    fn time_passes_on_the_air_only_with_pace() {
        let mut device = device("acr1252u");
        assert_eq!(device.transmit(&hex!("FFCA000000")).takes, Duration::ZERO);
        device.set_pace(true);
        let write = device.transmit(&hex!("FFD6000410000102030405060708090A0B0C0D0E0F")).takes;
        let uid = device.transmit(&hex!("FFCA000000")).takes;
        let key = device.transmit(&hex!("FF82000006FFFFFFFFFFFF")).takes;
        assert!(write > uid && uid > key && key > Duration::ZERO);
    }
}
