//! The simulated card against the data sheets.

use super::*;
use crate::card_sim::{Card, Field, Part4Card, Part4Kind, Torn};
use hex_literal::hex;

fn uid() -> Uid {
    Uid::new(&hex!("04A1B2C3D4E5F6")).unwrap()
}

/// A field with this card selected.
fn with(card: Card) -> Field {
    let uid = card.uid();
    let mut field = Field::new();
    field.place(card).unwrap();
    assert!(field.select(uid));
    field
}

fn field(kind: Type2Kind) -> Field {
    with(Card::Type2(Type2Card::blank(kind, uid())))
}

fn answer(field: &mut Field, command: &[u8]) -> Result<Vec<u8>, CardError> {
    match field.exchange(command)? {
        AirAnswer::Bytes(bytes) => Ok(bytes),
        AirAnswer::Ack => Ok(vec![]),
    }
}

/// The same after the card was selected again, as a refusal makes necessary.
fn afresh(field: &mut Field, command: &[u8]) -> Result<Vec<u8>, CardError> {
    field.select(uid());
    answer(field, command)
}

fn reset(field: &mut Field) {
    field.power_off();
    field.select(uid());
}

fn memory(field: &Field, page: u8) -> [u8; 4] {
    *field.type2().unwrap().memory(PageNumber::new(page)).unwrap()
}

#[test]
fn delivered_memory_is_that_of_the_data_sheets() {
    // NTAG213/215/216 data sheet, figure 5 and tables 4 to 6: check bytes, capability container, factory message, CFG0, CFG1.
    let ntag213 = field(Type2Kind::Ntag213);
    let pages = |field: &Field, pages: &[u8]| pages.iter().map(|page| memory(field, *page)).collect::<Vec<_>>();
    assert_eq!(
        pages(&ntag213, &[0, 1, 2, 3, 4, 5, 6, 40, 41, 42, 43, 44]).concat(),
        hex!(
            "04A1B29F C3D4E5F6 04480000 E1101200 0103A00C 340300FE 00000000 000000BD 040000FF 00050000 FFFFFFFF 00000000"
        )
    );
    assert_eq!(
        pages(&field(Type2Kind::Ntag215), &[3, 4, 130, 131, 132, 133, 134]).concat(),
        hex!("E1103E00 0300FE00 000000BD 040000FF 00050000 FFFFFFFF 00000000")
    );
    assert_eq!(
        pages(&field(Type2Kind::Ntag216), &[3, 4, 226, 227, 228, 229, 230]).concat(),
        hex!("E1106D00 0300FE00 000000BD 040000FF 00050000 FFFFFFFF 00000000")
    );
    // MF0ICU2 data sheet, 7.5.8.
    let c = field(Type2Kind::UltralightC);
    assert_eq!(pages(&c, &[42, 43]).concat(), hex!("30000000 00000000"));
    assert_eq!(pages(&c, &[44, 45, 46, 47]).concat(), *b"BREAKMEIFYOUCAN!");
}

#[test]
fn lock_and_otp_bits_are_only_ever_set() {
    for kind in Type2Kind::ALL {
        let mut field = field(kind);
        answer(&mut field, &hex!("A2 02 FFFF 20 40")).unwrap();
        assert_eq!(memory(&field, 2)[..2], hex!("0448"), "{kind}: the first bytes are not touched");
        answer(&mut field, &hex!("A2 02 0000 00 00")).unwrap();
        assert_eq!(memory(&field, 2)[2..], hex!("2040"), "{kind}");
        // L5 and L14.
        for (page, is_locked) in [(4, false), (5, true), (6, false), (13, false), (14, true), (15, false)] {
            let written = afresh(&mut field, &[0xA2, page, 1, 2, 3, 4]);
            assert_eq!(written, if is_locked { Err(CardError::Nak) } else { Ok(vec![]) }, "{kind}: {page}");
        }
        afresh(&mut field, &hex!("A2 03 0F000000")).unwrap();
        answer(&mut field, &hex!("A2 03 F0000000")).unwrap();
        assert_eq!(memory(&field, 3)[0] | 0x01, 0xFF, "{kind}: OTP bits add up");
        // The lock bit of page 3, then what freezes the lock bits.
        answer(&mut field, &hex!("A2 02 0000 08 00")).unwrap();
        assert_eq!(answer(&mut field, &hex!("A2 03 00FF0000")), Err(CardError::Nak), "{kind}");
        afresh(&mut field, &hex!("A2 02 0000 06 00")).unwrap();
        answer(&mut field, &hex!("A2 02 0000 F0 FF")).unwrap();
        assert_eq!(memory(&field, 2)[2..], hex!("2E40"), "{kind}: frozen");
        assert_eq!(answer(&mut field, &hex!("A2 00 00000000")), Err(CardError::Nak), "{kind}: the UID stays");
    }
}

#[test]
fn dynamic_lock_bits_close_their_pages() {
    // Lock page, bytes, then a page that is closed by them and one that is not. NTAG213/215/216 data sheet, figures 9 to 11;
    // MF0ULx1 figure 8.
    let cases = [
        (Type2Kind::UltralightEv1Large, 36, hex!("00020000"), 35, 33),
        (Type2Kind::Ntag213, 40, hex!("01000000"), 17, 18),
        (Type2Kind::Ntag213, 40, hex!("00080000"), 39, 37),
        (Type2Kind::Ntag215, 130, hex!("80000000"), 129, 127),
        (Type2Kind::Ntag216, 226, hex!("00200000"), 225, 223),
        (Type2Kind::UltralightC, 40, hex!("80000000"), 39, 35),
        (Type2Kind::UltralightC, 40, hex!("00800000"), 44, 43),
    ];
    for (kind, lock, bytes, closed, open) in cases {
        let mut field = field(kind);
        answer(&mut field, &[&[0xA2, lock][..], &bytes].concat()).unwrap();
        assert_eq!(answer(&mut field, &[0xA2, closed, 1, 2, 3, 4]), Err(CardError::Nak), "{kind}: {closed}");
        assert_eq!(afresh(&mut field, &[0xA2, open, 1, 2, 3, 4]), Ok(vec![]), "{kind}: {open}");
        answer(&mut field, &[0xA2, lock, 0, 0, 0, 0xFF]).unwrap();
        let expected = [&bytes[..3], &[if kind == Type2Kind::UltralightC { 0x00 } else { 0xBD }]].concat();
        assert_eq!(memory(&field, lock).to_vec(), expected, "{kind}");
    }
}

#[test]
fn protected_reading_ends_before_auth0() {
    for kind in [Type2Kind::UltralightEv1Large, Type2Kind::Ntag213, Type2Kind::Ntag216] {
        let mut field = field(kind);
        let config = kind.pages() - 4;
        answer(&mut field, &[0xA2, config, 0, 0, 0, 10]).unwrap();
        answer(&mut field, &[0xA2, config + 1, 0x80, 0x05, 0, 0]).unwrap();
        assert!(answer(&mut field, &[0x30, 12]).is_ok(), "{kind}: not yet");
        reset(&mut field);
        let rolled = answer(&mut field, &[0x30, 8]).unwrap();
        assert_eq!(rolled[8..12], hex!("04A1B29F"), "{kind}: behind page 9 comes page 0");
        for command in [&[0x30, 10][..], &[0x3A, 4, 10], &[0xA2, 10, 0, 0, 0, 0]] {
            assert_eq!(afresh(&mut field, command), Err(CardError::Nak), "{kind}: {command:02X?}");
        }
        assert_eq!(afresh(&mut field, &hex!("1B FFFFFFFF")), Ok(vec![0, 0]), "{kind}");
        assert!(answer(&mut field, &[0x3A, 4, 10]).is_ok(), "{kind}");
    }
}

#[test]
fn too_many_wrong_passwords_close_the_card_for_ever_and_a_right_one_counts_anew() {
    let mut field = field(Type2Kind::Ntag213);
    answer(&mut field, &hex!("A2 29 040000 04")).unwrap();
    answer(&mut field, &hex!("A2 2A 03050000")).unwrap();
    reset(&mut field);
    let (right, wrong) = (hex!("1B FFFFFFFF"), hex!("1B 00000000"));
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(afresh(&mut field, &wrong), Err(CardError::Nak));
            reset(&mut field);
        }
        assert_eq!(field.type2().unwrap().failures(), 2);
        assert_eq!(afresh(&mut field, &right), Ok(vec![0, 0]));
    }
    for _ in 0..3 {
        assert_eq!(afresh(&mut field, &wrong), Err(CardError::Nak));
    }
    reset(&mut field);
    assert_eq!(afresh(&mut field, &right), Err(CardError::Nak), "three were too many");
    assert_eq!(afresh(&mut field, &hex!("A2 04 00000000")), Err(CardError::Nak));
}

#[test]
fn a_locked_configuration_keeps_all_but_password_and_pack() {
    let mut field = field(Type2Kind::Ntag215);
    answer(&mut field, &[0xA2, 132, 0x40, 0x05, 0, 0]).unwrap();
    answer(&mut field, &[0xA2, 131, 0x04, 0, 0, 0xFF]).unwrap();
    reset(&mut field);
    for page in [131, 132] {
        assert_eq!(afresh(&mut field, &[0xA2, page, 0, 0, 0, 4]), Err(CardError::Nak), "{page}");
    }
    for page in [133, 134] {
        assert_eq!(afresh(&mut field, &[0xA2, page, 1, 2, 3, 4]), Ok(vec![]), "{page}");
    }
}

#[test]
fn the_data_sheets_authentication_opens_the_card() {
    // MF0ICU2 data sheet, table 9.
    let mut field = field(Type2Kind::UltralightC);
    match field.card_mut(uid()) {
        Some(Card::Type2(card)) => card.set_next_random(hex!("51E764602678DF2B")),
        other => panic!("{other:?}"),
    }
    answer(&mut field, &hex!("A2 2A 03000000")).unwrap();
    reset(&mut field);
    assert_eq!(answer(&mut field, &hex!("30 04")), Err(CardError::Nak), "AUTH1 0 closes reading as well");
    assert_eq!(afresh(&mut field, &hex!("1A 00")), Ok(hex!("AF 577293FD2F34CA51").to_vec()));
    let token = hex!("AF 0A638559FC7737F9F15D7862EBBE967A");
    assert_eq!(answer(&mut field, &token), Ok(hex!("00 3B884FA07C137CE1").to_vec()));
    assert!(answer(&mut field, &hex!("30 04")).is_ok());
    // The token once more, for another random number.
    answer(&mut field, &hex!("1A 00")).unwrap();
    assert_eq!(answer(&mut field, &token), Err(CardError::Nak));
}

#[test]
fn a_torn_page_holds_what_was_planned_and_lock_bytes_stay_whole() {
    let old = hex!("11223344");
    let cases = [
        (Torn::Before, old),
        (Torn::Old, old),
        (Torn::New, hex!("A5A5A5A5")),
        (Torn::Zero, [0; 4]),
        (Torn::Ones, [0xFF; 4]),
        (Torn::Prefix(3), hex!("A5A5A544")),
        (Torn::Mask([0xF0; 16]), hex!("A1A2A3A4")),
        (Torn::Exact([0x3C; 16]), [0x3C; 4]),
    ];
    for (torn, expected) in cases {
        let mut field = field(Type2Kind::Ntag213);
        answer(&mut field, &[&[0xA2, 7][..], &old].concat()).unwrap();
        field.tear(1, torn);
        assert_eq!(answer(&mut field, &hex!("A2 07 A5A5A5A5")), Err(CardError::Silent));
        assert!(field.cards().is_empty());
        field.put_back();
        assert_eq!(memory(&field, 7), expected, "{torn:?}");
        assert_eq!(field.writes(), if torn == Torn::Before { 1 } else { 2 });
    }
    let mut field = field(Type2Kind::Ntag213);
    field.tear(1, Torn::Ones);
    answer(&mut field, &hex!("A2 02 00000100")).unwrap_err();
    field.put_back();
    assert_eq!(memory(&field, 2), hex!("04480000"));
}

#[test]
fn weak_bits_flicker_and_worn_pages_fail_each_in_its_way() {
    let mut card = Type2Card::blank(Type2Kind::Ntag213, uid());
    card.set_weak_bits(PageNumber::new(8), hex!("00000001"));
    card.wear_out(PageNumber::new(16), Wear::Stuck);
    card.wear_out(PageNumber::new(20), Wear::Dead);
    let mut field = with(Card::Type2(card));
    let shown: Vec<_> = (0..4).map(|_| answer(&mut field, &hex!("30 08")).unwrap()[3]).collect();
    assert_eq!(shown, [0, 1, 0, 1]);
    answer(&mut field, &hex!("A2 08 00000000")).unwrap();
    assert_eq!(answer(&mut field, &hex!("30 08")).unwrap(), answer(&mut field, &hex!("30 08")).unwrap());
    assert_eq!(answer(&mut field, &hex!("A2 10 01020304")), Ok(vec![]), "it says that it was written");
    assert_eq!(memory(&field, 16), [0; 4]);
    for command in [&hex!("A2 14 01020304")[..], &hex!("30 14"), &hex!("30 11"), &hex!("3A 10 20")] {
        assert_eq!(afresh(&mut field, command), Err(CardError::Nak), "{command:02X?}");
    }
    assert!(afresh(&mut field, &hex!("30 15")).is_ok());
}

#[test]
fn a_dump_is_the_card_again_and_what_is_none_is_refused() {
    for kind in Type2Kind::ALL {
        let dump = Type2Card::blank(kind, uid()).dump();
        assert_eq!(dump.len(), usize::from(kind.pages()) * 4, "{kind}");
        assert_eq!(Type2Card::from_dump(kind, &dump), Ok(Type2Card::blank(kind, uid())), "{kind}");
        let error = Type2Card::from_dump(kind, &dump[1..]).unwrap_err();
        assert_eq!(error, DumpError::Length { need: dump.len(), have: dump.len() - 1 });
        for check_byte in [3, 8] {
            let mut wrong = dump.clone();
            wrong[check_byte] ^= 1;
            assert_eq!(Type2Card::from_dump(kind, &wrong), Err(DumpError::NoUid), "{kind}");
        }
    }
}

#[test]
fn compatibility_write_takes_four_of_sixteen_bytes() {
    let mut field = field(Type2Kind::Ultralight);
    assert_eq!(answer(&mut field, &hex!("A0 05")), Ok(vec![]));
    answer(&mut field, &hex!("000102030405060708090A0B0C0D0E0F")).unwrap();
    assert_eq!((memory(&field, 5), memory(&field, 6)), (hex!("00010203"), [0; 4]));
    assert_eq!(answer(&mut field, &hex!("A0 01")), Err(CardError::Nak), "refused before the data");
}

#[test]
fn cards_of_part_4_are_told_apart_by_what_they_select() {
    let names: [&[u8]; 2] = [&hex!("D2760000850100"), b"2PAY.SYS.DDF01"];
    for kind in Part4Kind::ALL {
        let card = Card::Part4(Part4Card::new(kind, Uid::new(&hex!("08A1B2C3")).unwrap()));
        let mut field = with(card);
        let select = |name: &[u8]| [&[0x00, 0xA4, 0x04, 0x00, name.len().try_into().unwrap()], name, &[0x00]].concat();
        assert_eq!(field.command(&select(names[0])), Err(CardError::Silent), "{kind:?}: before RATS");
        let uid = field.cards()[0].uid();
        field.select(uid);
        let ats = answer(&mut field, &hex!("E0 50")).unwrap();
        assert_eq!(usize::from(ats[0]), ats.len(), "{kind:?}: TL counts itself (ISO/IEC 14443-4, 5.2.2)");
        let found = names.map(|name| field.command(&select(name)).unwrap().ends_with(&hex!("9000")));
        assert_eq!(found, [kind == Part4Kind::Desfire, kind == Part4Kind::Payment], "{kind:?}");
        field.power_off();
        assert_eq!(field.cards()[0].uid() != uid, kind == Part4Kind::Phone, "{kind:?}: a UID for each field");
        assert_eq!(field.cards()[0].uid().as_bytes()[0], 0x08);
    }
}

#[test]
fn a_desfire_tells_its_version_in_both_forms() {
    let mut field = with(Card::Part4(Part4Card::new(Part4Kind::Desfire, uid())));
    answer(&mut field, &hex!("E0 50")).unwrap();
    let parts: Vec<_> = [&hex!("9060000000")[..], &hex!("90AF000000"), &hex!("90AF000000")]
        .into_iter()
        .map(|apdu| field.command(apdu).unwrap())
        .collect();
    // Lengths and status words as in kpn532 issue 3, a real card.
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [9, 9, 16]);
    assert!(
        parts[0].ends_with(&hex!("91AF")) && parts[1].ends_with(&hex!("91AF")) && parts[2].ends_with(&hex!("9100"))
    );
    assert_eq!(field.command(&[0x60]).unwrap()[0], 0xAF);
    assert_eq!(field.command(&[0xAF]).unwrap()[0], 0xAF);
    assert_eq!(field.command(&[0xAF]).unwrap()[0], 0x00);
}
