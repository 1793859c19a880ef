//! Whatever Type 2 card lies on the reader.

use crate::rig::{
    blank, configure, fast_read, opaque_readers, page, password, read, readers, transparent_readers, write,
};
use crate::support::uid7;
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::family::CardKind;
use encoder_protocols::family::identify;
use encoder_protocols::family::type2::{Type2Kind, UltralightCKey};
use encoder_protocols::id::Detection;
use hex_literal::hex;

const HAVE_PASSWORDS: [Type2Kind; 5] = [
    Type2Kind::UltralightEv1Small,
    Type2Kind::UltralightEv1Large,
    Type2Kind::Ntag213,
    Type2Kind::Ntag215,
    Type2Kind::Ntag216,
];

#[test]
fn every_card_is_detected_as_its_family() {
    for kind in Type2Kind::ALL {
        for mut rig in readers(&blank(kind)) {
            let Ok(CardReply::Detected(Detection::One(target))) = rig.run(&CardCommand::Detect) else {
                panic!("{}: {kind} is not found", rig.name)
            };
            assert_eq!((target.uid, identify(&target)), (uid7(), CardKind::Type2), "{}", rig.name);
        }
    }
}

#[test]
fn a_version_is_that_of_the_data_sheet_and_older_cards_refuse_it() {
    // NTAG213/215/216 data sheet, table 28; MF0ULx1, table 15.
    let known = |kind| match kind {
        Type2Kind::Ultralight | Type2Kind::UltralightC => None,
        Type2Kind::UltralightEv1Small => Some(hex!("0004030101000B03")),
        Type2Kind::UltralightEv1Large => Some(hex!("0004030101000E03")),
        Type2Kind::Ntag213 => Some(hex!("0004040201000F03")),
        Type2Kind::Ntag215 => Some(hex!("0004040201001103")),
        Type2Kind::Ntag216 => Some(hex!("0004040201001303")),
    };
    for kind in Type2Kind::ALL {
        for mut rig in transparent_readers(&blank(kind)) {
            let expected = known(kind).map_or(Err(DialectError::Refused), |v| Ok(CardReply::Bytes(v.to_vec())));
            assert_eq!(rig.run(&CardCommand::GetVersion), expected, "{}: {kind}", rig.name);
            assert_eq!(known(kind).and_then(|v| Type2Kind::from_version(&v)), known(kind).map(|_| kind));
            // What comes next finds the card, refusal or not.
            assert!(matches!(rig.run(&read(0)), Ok(CardReply::Block(_))), "{}: {kind}", rig.name);
        }
    }
}

#[test]
fn a_reader_that_passes_nothing_on_says_so_and_the_card_stays_selected() {
    for mut rig in opaque_readers(&blank(Type2Kind::Ntag213)) {
        let key = UltralightCKey::new([1; 16]);
        let commands = [
            CardCommand::GetVersion,
            fast_read(4, 9),
            password(*b"desk"),
            CardCommand::UltralightCAuth { key, random: [2; 8] },
        ];
        let before = rig.round_trips();
        for command in commands {
            assert_eq!(rig.run(&command), Err(DialectError::Unsupported), "{}", rig.name);
        }
        assert_eq!(rig.round_trips(), before, "the reader is not even asked");
        assert_eq!(rig.run(&write(Type2Kind::Ntag213, 4, [1; 4])), Ok(CardReply::Done), "{}", rig.name);
    }
}

#[test]
fn pages_are_written_and_read_back_in_another_session() {
    for kind in Type2Kind::ALL {
        for mut rig in readers(&blank(kind)) {
            let last = kind.last_user_page();
            for number in [4, 5, 6, 7, last] {
                assert_eq!(rig.run(&write(kind, number, [number, 2, 3, 4])), Ok(CardReply::Done), "{}", rig.name);
            }
            rig.restart();
            let expected = hex!("04020304 05020304 06020304 07020304");
            assert_eq!(rig.run(&read(4)), Ok(CardReply::Block(expected)), "{}: {kind}", rig.name);
            assert_eq!(rig.card().memory(page(last)), Some(&[last, 2, 3, 4]));
            assert_eq!(rig.field().writes(), 5);
        }
    }
}

#[test]
fn a_read_at_the_end_goes_on_at_page_0() {
    // READ of the data sheets: behind the last page comes page 0; an Ultralight C shows nothing of its key.
    for kind in Type2Kind::ALL {
        for mut rig in readers(&blank(kind)) {
            let last = if kind == Type2Kind::UltralightC { 43 } else { kind.pages() - 1 };
            let Ok(CardReply::Block(bytes)) = rig.run(&read(last)) else { panic!("{}: {kind}", rig.name) };
            // UID 04A1B2 C3D4E5F6 with its check bytes 88^04^A1^B2 and C3^D4^E5^F6 (ISO/IEC 14443-3, 6.5.4), then 48.
            assert_eq!(bytes[4..14], hex!("04A1B29F C3D4E5F6 0448"), "{}: {kind}", rig.name);
            assert_eq!(rig.run(&read(last + 1)), Err(DialectError::Refused), "{}: {kind}", rig.name);
        }
    }
}

#[test]
fn fast_read_gives_the_whole_card_in_few_round_trips() {
    for kind in HAVE_PASSWORDS {
        for mut rig in transparent_readers(&blank(kind)) {
            for number in 4..=kind.last_user_page() {
                rig.card().set_memory(page(number), [number, 0xA5, 0x5A, !number]);
            }
            let last = kind.pages() - 1;
            let before = rig.round_trips();
            let answer = rig.run(&fast_read(0, last));
            let mut expected = rig.card().dump();
            let end = expected.len();
            expected[end - 8..].fill(0);
            assert_eq!(answer, Ok(CardReply::Bytes(expected)), "{}: {kind}", rig.name);
            assert_eq!(rig.round_trips() - before, u64::from(last / 60 + 1), "{}: {kind}", rig.name);
            assert_eq!(rig.run(&fast_read(4, last + 1)), Err(DialectError::Refused), "{}: {kind}", rig.name);
        }
    }
    for kind in [Type2Kind::Ultralight, Type2Kind::UltralightC] {
        for mut rig in transparent_readers(&blank(kind)) {
            assert_eq!(rig.run(&fast_read(4, 7)), Err(DialectError::Refused), "{}: {kind}", rig.name);
        }
    }
}

#[test]
fn a_password_acts_at_once_and_what_it_closes_after_the_field_was_off() {
    for kind in HAVE_PASSWORDS {
        for mut rig in transparent_readers(&blank(kind)) {
            let config = kind.pages() - 4;
            let set = [
                configure(kind, config + 2, *b"desk"),
                configure(kind, config + 3, hex!("CAFE0000")),
                configure(kind, config, hex!("00000004")),
            ];
            for command in set {
                assert_eq!(rig.run(&command), Ok(CardReply::Done), "{}: {kind}", rig.name);
            }
            assert_eq!(rig.run(&password(*b"desk")), Ok(CardReply::Bytes(hex!("CAFE").to_vec())), "{}", rig.name);
            rig.detect();
            assert_eq!(rig.run(&write(kind, 4, [1; 4])), Ok(CardReply::Done), "AUTH0 does not act yet: {}", rig.name);
            rig.restart();
            assert_eq!(rig.run(&write(kind, 4, [2; 4])), Err(DialectError::Refused), "{}: {kind}", rig.name);
            assert!(matches!(rig.run(&read(4)), Ok(CardReply::Block([1, 1, 1, 1, ..]))), "reading is open");
            assert_eq!(rig.run(&password(*b"DESK")), Err(DialectError::AuthenticationFailed), "{}: {kind}", rig.name);
            assert_eq!(rig.run(&write(kind, 4, [2; 4])), Err(DialectError::Refused));
            assert_eq!(rig.run(&password(*b"desk")), Ok(CardReply::Bytes(hex!("CAFE").to_vec())), "{}", rig.name);
            assert_eq!(rig.run(&write(kind, 4, [2; 4])), Ok(CardReply::Done), "{}: {kind}", rig.name);
            let Ok(CardReply::Block(shown)) = rig.run(&read(config)) else { panic!("{}", rig.name) };
            assert_eq!(shown[8..], [0; 8], "password and PACK are never shown");
        }
    }
}

#[test]
fn an_ultralight_c_opens_with_its_key_and_no_other() {
    let kind = Type2Kind::UltralightC;
    // The key as delivered: MF0ICU2 data sheet, 7.5.8.
    let delivered = UltralightCKey::new(hex!("49454D4B41455242214E4143554F5946"));
    let wrong = UltralightCKey::new([0x77; 16]);
    for mut rig in transparent_readers(&blank(kind)) {
        let login = |rig: &mut crate::rig::Rig, key: &UltralightCKey, random| {
            rig.run(&CardCommand::UltralightCAuth { key: key.clone(), random })
        };
        for command in [configure(kind, 42, hex!("04000000")), configure(kind, 43, hex!("01000000"))] {
            assert_eq!(rig.run(&command), Ok(CardReply::Done), "{}", rig.name);
        }
        rig.restart();
        assert_eq!(rig.run(&write(kind, 4, [1; 4])), Err(DialectError::Refused), "{}", rig.name);
        assert_eq!(login(&mut rig, &wrong, [9; 8]), Err(DialectError::AuthenticationFailed), "{}", rig.name);
        assert_eq!(rig.run(&write(kind, 4, [1; 4])), Err(DialectError::Refused), "{}", rig.name);
        assert_eq!(login(&mut rig, &delivered, [9; 8]), Ok(CardReply::Done), "{}", rig.name);
        assert_eq!(rig.run(&write(kind, 4, [1; 4])), Ok(CardReply::Done), "{}", rig.name);
        rig.restart();
        assert_eq!(rig.run(&write(kind, 4, [2; 4])), Err(DialectError::Refused), "a new session is closed");
    }
    for kind in [Type2Kind::Ultralight, Type2Kind::Ntag213] {
        for mut rig in transparent_readers(&blank(kind)) {
            let command = CardCommand::UltralightCAuth { key: delivered.clone(), random: [9; 8] };
            assert_eq!(rig.run(&command), Err(DialectError::Refused), "{}: {kind}", rig.name);
        }
    }
}
