//! Whatever lies on the reader.

use crate::support::pcsc::{CardPair, Fate, SECRET, secret_card};
use crate::support::{Answer, authenticate, authenticate_with, card, content, read, sector, uid4, uid7, write};
use encoder_protocols::apdu::instruction;
use encoder_protocols::card_sim::{Card, ClassicCard, CloneKind, Torn, UnknownCard};
use encoder_protocols::command::{CardCommand, CardReply, DialectError, Signal};
use encoder_protocols::dialect::pcsc_storage::{Direct, PROFILES, Profile};
use encoder_protocols::dialect::{CardDevice, CardFailure, CardOutput};
use encoder_protocols::family::classic::{AccessBits, ClassicSize, KeyA, KeyB, SectorKey, SectorTrailer};
use encoder_protocols::family::{CardKind, identify};
use encoder_protocols::id::{Detection, Target};

fn one(answer: &Answer) -> Target {
    match answer {
        Ok(CardReply::Detected(Detection::One(target))) => *target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_family_is_detected_and_told_apart() {
    let unknown = |atqa, sak| Card::Unknown(UnknownCard::new(Target::type_a(uid7(), atqa, sak)));
    let mut samples = vec![
        // A payment card, a phone, a DESFire card.
        (unknown([0x00, 0x04], 0x20), CardKind::Iso14443Part4),
        (unknown([0x03, 0x44], 0x20), CardKind::Iso14443Part4),
        // Ultralight or NTAG, MIFARE Plus in level 2.
        (unknown([0x00, 0x44], 0x00), CardKind::Type2),
        (unknown([0x00, 0x04], 0x10), CardKind::Unknown),
    ];
    for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
        for uid in [uid4(), uid7()] {
            samples.push((Card::Classic(ClassicCard::blank(size, uid)), CardKind::Classic(size)));
        }
    }
    for profile in PROFILES {
        for (card, kind) in &samples {
            let mut pair = CardPair::new(profile);
            pair.place(card.clone());
            let target = one(&pair.run(&CardCommand::Detect));
            assert_eq!((target.uid, identify(&target)), (card.uid(), *kind), "{}", profile.name);
        }
    }
}

#[test]
fn what_is_no_classic_card_opens_for_nobody() {
    for profile in PROFILES {
        for sak in [0x20, 0x00] {
            let mut pair = CardPair::new(profile);
            pair.place(Card::Unknown(UnknownCard::new(Target::type_a(uid4(), [0x00, 0x04], sak))));
            pair.run(&CardCommand::Detect).unwrap();
            let error = pair.run(&authenticate(1)).unwrap_err();
            assert!(matches!(error, DialectError::AuthenticationFailed | DialectError::Refused), "{error:?}");
            assert_eq!(pair.run(&write(4)), Err(DialectError::NotAuthenticated));
            assert_eq!(pair.run(&CardCommand::Release), Ok(CardReply::Done));
        }
    }
}

#[test]
fn a_whole_card_of_every_size_is_read() {
    for profile in PROFILES {
        for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
            for uid in [uid4(), uid7()] {
                let mut pair = CardPair::with_card(profile, ClassicCard::blank(size, uid));
                pair.run(&CardCommand::Detect).unwrap();
                let mut dump = Vec::new();
                for sector in size.sector_numbers() {
                    pair.run(&authenticate(sector.get())).unwrap();
                    for block in sector.first_block().get()..=sector.trailer().get() {
                        match pair.run(&read(block)) {
                            Ok(CardReply::Block(content)) => dump.extend(content),
                            other => panic!("{size}: block {block}: {other:?}"),
                        }
                    }
                }
                let mut expected = pair.dump();
                // Key A reads as zeros.
                for sector in size.sector_numbers() {
                    let at = usize::from(sector.trailer().get()) * 16;
                    expected[at..at + 6].fill(0);
                }
                assert!(dump == expected, "{}: {size}", profile.name);
                assert_eq!(pair.count(instruction::LOAD_KEYS), 1, "one key, one load");
            }
        }
    }
}

#[test]
fn an_empty_reader_has_no_card_and_its_card_comes_and_goes() {
    for profile in PROFILES {
        let none = Ok(CardReply::Detected(Detection::None));
        let mut pair = CardPair::new(profile);
        assert_eq!(pair.run(&CardCommand::Detect), none);
        assert_eq!(pair.run(&CardCommand::ResetField), Ok(CardReply::Done));
        assert_eq!(pair.run(&CardCommand::Release), Ok(CardReply::Done));
        pair.place(Card::Classic(card()));
        for _ in 0..5 {
            assert_eq!(one(&pair.run(&CardCommand::Detect)).uid, uid4());
        }
        pair.device.field().remove_all();
        assert_eq!(pair.run(&CardCommand::Detect), none);
        pair.place(Card::Classic(ClassicCard::blank(ClassicSize::K4, uid7())));
        let target = one(&pair.run(&CardCommand::Detect));
        assert_eq!((target.uid, identify(&target)), (uid7(), CardKind::Classic(ClassicSize::K4)), "{}", profile.name);
    }
}

/// With two cards on it, and the one with the lower UID.
fn two_cards(profile: &'static Profile) -> CardPair {
    let mut pair = CardPair::with_card(profile, card());
    pair.place(Card::Classic(ClassicCard::blank(ClassicSize::K1, uid7())));
    pair
}

#[test]
fn two_cards_are_several_where_the_reader_can_tell_and_nothing_is_written() {
    for profile in PROFILES.iter().filter(|profile| profile.direct == Some(Direct::Pn532)) {
        let mut pair = two_cards(profile);
        for _ in 0..5 {
            assert_eq!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::Several)));
            let sent = pair.sent.len();
            for command in [authenticate(1), read(4), write(4)] {
                assert_eq!(pair.run(&command), Err(DialectError::Several), "{command:?}");
            }
            assert_eq!(pair.sent.len(), sent, "the reader is not even asked");
            pair.run(&CardCommand::ResetField).unwrap();
        }
        assert_eq!((pair.device.field().writes(), pair.device.field().auths()), (0, 0));
        // One of them is taken away.
        pair.device.field().remove_all();
        pair.place(Card::Classic(card()));
        assert_eq!(one(&pair.run(&CardCommand::Detect)).uid, uid4());
        assert_eq!(pair.run(&authenticate(1)), Ok(CardReply::Done));
    }
    assert!(PROFILES.iter().any(|profile| profile.direct.is_some()));
}

#[test]
fn where_the_reader_cannot_tell_one_card_is_used_and_the_other_untouched() {
    for profile in PROFILES.iter().filter(|profile| profile.direct.is_none()) {
        let mut pair = two_cards(profile);
        let target = one(&pair.run(&CardCommand::Detect));
        let other = if target.uid == uid4() { uid7() } else { uid4() };
        pair.run(&authenticate(1)).unwrap();
        pair.run(&write(4)).unwrap();
        let Some(Card::Classic(untouched)) = pair.device.field().card_mut(other) else { panic!("it lies there") };
        assert_eq!(untouched.dump(), ClassicCard::blank(ClassicSize::K1, other).dump());
    }
}

#[test]
fn cards_are_counted_once_a_connection_and_only_those_that_could_be_written() {
    let counts = |pair: &CardPair| pair.bytes().filter(|apdu| apdu[..4] == [0xFF, 0, 0, 0]).count();
    for profile in PROFILES.iter().filter(|profile| profile.direct.is_some()) {
        let mut pair = CardPair::with_card(profile, card());
        for _ in 0..3 {
            pair.run(&CardCommand::Detect).unwrap();
            pair.run(&CardCommand::ResetField).unwrap();
        }
        assert_eq!(counts(&pair), 1);
        pair.run(&CardCommand::Release).unwrap();
        pair.run(&CardCommand::Detect).unwrap();
        assert_eq!(counts(&pair), 2);

        let mut phone = CardPair::new(profile);
        phone.place(Card::Unknown(UnknownCard::new(Target::type_a(uid4(), [0x03, 0x44], 0x20))));
        phone.run(&CardCommand::Detect).unwrap();
        assert_eq!(counts(&phone), 0);
    }
}

#[test]
fn one_card_that_is_listed_twice_is_one() {
    for profile in PROFILES.iter().filter(|profile| profile.direct.is_some()) {
        let mut pair = CardPair::with_card(profile, card());
        let listed = [&[1, 0x00, 0x04, 0x08, 4][..], uid4().as_bytes()].concat();
        let answer = [&[0xD5, 0x4B, 2][..], &listed, &listed, &[0x90, 0x00]].concat();
        pair.spoil(1, move || Fate::Instead(answer.clone()));
        assert_eq!(one(&pair.run(&CardCommand::Detect)).uid, uid4());
    }
}

#[test]
fn a_reader_that_cannot_count_is_used_without() {
    for profile in PROFILES.iter().filter(|profile| profile.direct.is_some()) {
        for refusal in [vec![], vec![0x63, 0x00], vec![0xD5, 0x4B, 0x01, 0x90, 0x00], vec![0xD5, 0x7F, 0x90, 0x00]] {
            let mut pair = CardPair::with_card(profile, card());
            let answer = refusal.clone();
            pair.on_apdus(move |apdu| match apdu[..4] {
                [0xFF, 0, 0, 0] => Fate::Instead(answer.clone()),
                _ => Fate::Through,
            });
            assert_eq!(one(&pair.run(&CardCommand::Detect)).uid, uid4(), "{refusal:02X?}");
            assert!(pair.host.learnt().direct_refused);
            pair.run(&CardCommand::Release).unwrap();
            pair.sent.clear();
            assert_eq!(one(&pair.run(&CardCommand::Detect)).uid, uid4());
            assert_eq!(pair.apdus(), 1);
        }
        let mut pair = CardPair::with_card(profile, card());
        pair.spoil(1, || Fate::Fails(CardFailure::NotTransacted));
        assert_eq!(one(&pair.run(&CardCommand::Detect)).uid, uid4());
        assert!(pair.host.learnt().direct_refused);
        // That no card was found says nothing about the reader.
        let mut pair = CardPair::with_card(profile, card());
        pair.spoil(1, || Fate::Instead(vec![0xD5, 0x4B, 0x00, 0x90, 0x00]));
        assert_eq!(one(&pair.run(&CardCommand::Detect)).uid, uid4());
        assert!(!pair.host.learnt().direct_refused);
    }
}

#[test]
fn without_an_open_sector_the_reader_is_not_asked() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, card());
        pair.sent.clear();
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::CardGone), "nothing was detected");
        assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
        assert!(pair.sent.is_empty());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        pair.sent.clear();
        for command in [read(8), write(8), CardCommand::WriteTrailer(sector(2), trailer())] {
            assert_eq!(pair.run(&command), Err(DialectError::NotAuthenticated), "{command:?}");
        }
        assert!(pair.sent.is_empty());
    }
}

#[test]
fn a_wrong_key_closes_the_sector_and_the_right_one_opens_it_again() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, secret_card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate_with(1, SECRET)).unwrap();
        for wrong in 0..3 {
            let answer = pair.run(&authenticate_with(1, [wrong; 6]));
            assert_eq!(answer, Err(DialectError::AuthenticationFailed), "{}", profile.name);
            assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
        }
        assert_eq!(pair.run(&authenticate_with(1, SECRET)), Ok(CardReply::Done));
        assert_eq!(pair.run(&read(4)), Ok(CardReply::Block([0; 16])));
    }
}

#[test]
fn what_lies_there_after_a_failure_is_said() {
    for profile in PROFILES {
        let other = || Card::Classic(ClassicCard::blank(ClassicSize::K1, uid7()));
        let same = || Card::Classic(card());
        let cases: [(Vec<Card>, Answer); 3] = [
            (vec![], Err(DialectError::CardGone)),
            (vec![other()], Err(DialectError::CardChanged)),
            (vec![same()], Ok(CardReply::Done)),
        ];
        for (cards, expected) in cases {
            let mut pair = CardPair::with_card(profile, card());
            pair.run(&CardCommand::Detect).unwrap();
            pair.run(&authenticate_with(1, [0; 6])).unwrap_err();
            pair.device.field().remove_all();
            for card in cards {
                pair.place(card);
            }
            assert_eq!(pair.run(&authenticate(1)), expected, "{}", profile.name);
        }
    }
}

#[test]
fn a_card_that_leaves_is_gone_and_welcome_back() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        pair.device.field().tear(2, Torn::Prefix(8));
        assert_eq!(pair.run(&write(4)), Ok(CardReply::Done));
        assert_eq!(pair.run(&write(5)), Err(DialectError::CardGone), "{}", profile.name);
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::CardGone));
        assert_eq!(pair.run(&CardCommand::Detect), Ok(CardReply::Detected(Detection::None)));
        pair.device.field().put_back();
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        let mut torn = [0; 16];
        torn[..8].copy_from_slice(&content(5)[..8]);
        assert_eq!(pair.run(&read(4)), Ok(CardReply::Block(content(4))));
        assert_eq!(pair.run(&read(5)), Ok(CardReply::Block(torn)));
    }
}

fn trailer() -> SectorTrailer {
    SectorTrailer {
        key_a: KeyA(SectorKey::new([0xA1; 6])),
        access_bits: AccessBits::PERSONALIZED,
        general_purpose: 0x69,
        key_b: KeyB(SectorKey::new([0xB2; 6])),
    }
}

#[test]
fn a_trailer_is_written_and_its_rights_hold() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        assert_eq!(pair.run(&CardCommand::WriteTrailer(sector(1), trailer())), Ok(CardReply::Done));
        let at = 7 * 16;
        assert_eq!(pair.dump()[at..at + 16], trailer().to_bytes());
        assert_eq!(pair.run(&authenticate(1)), Err(DialectError::AuthenticationFailed));
        assert_eq!(pair.run(&authenticate_with(1, [0xA1; 6])), Ok(CardReply::Done));
        assert_eq!(pair.run(&write(4)), Err(DialectError::Refused), "only key B may write: {}", profile.name);
        assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
    }
}

#[test]
fn a_field_reset_forgets_card_and_key() {
    for profile in PROFILES {
        let mut pair = CardPair::with_card(profile, card());
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        pair.sent.clear();
        assert_eq!(pair.run(&CardCommand::ResetField), Ok(CardReply::Done));
        assert_eq!(pair.sent, [CardOutput::PowerCycle], "{}", profile.name);
        assert_eq!(pair.run(&read(4)), Err(DialectError::NotAuthenticated));
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        assert_eq!(pair.count(instruction::LOAD_KEYS), 1);
        assert_eq!(pair.run(&write(4)), Ok(CardReply::Done));
    }
}

#[test]
fn the_reader_says_who_it_is_without_a_card() {
    for profile in PROFILES {
        let mut pair = CardPair::new(profile);
        let Ok(CardReply::Reader(reader)) = pair.run(&CardCommand::Open) else { panic!("no card is needed") };
        assert_eq!(reader.model, profile.description);
        // As the manuals' examples have it.
        let expected = match profile.name {
            "acr122u" => "ACR122U201",
            "acr1252u" => "ACR1252U_V202.2",
            "acr1281u" => "ACR1281U_V503.1",
            _ => "unknown",
        };
        assert_eq!(reader.firmware, expected);

        let mut pair = CardPair::new(profile);
        pair.escapes = false;
        let Ok(CardReply::Reader(reader)) = pair.run(&CardCommand::Open) else { panic!("a refusal is no failure") };
        assert_eq!(reader.firmware, "unknown");
        assert_eq!(pair.host.learnt().escape_refused, profile.firmware.is_some());
    }
}

#[test]
fn none_asks_for_a_back_door_and_the_card_is_not_disturbed() {
    for profile in PROFILES {
        let clone = ClassicCard::blank_clone(CloneKind::Gen1a, ClassicSize::K1, uid4());
        let mut pair = CardPair::with_card(profile, clone);
        pair.run(&CardCommand::Detect).unwrap();
        pair.run(&authenticate(1)).unwrap();
        pair.sent.clear();
        assert_eq!(pair.run(&CardCommand::ProbeBackdoor), Err(DialectError::Unsupported), "{}", profile.name);
        assert!(pair.sent.is_empty());
        assert_eq!(pair.run(&write(4)), Ok(CardReply::Done), "the sector is still open");
    }
}

#[test]
fn what_is_no_text_is_no_firmware() {
    for profile in PROFILES.iter().filter(|profile| profile.firmware.is_some()) {
        for answer in [vec![], vec![0x63, 0x00], vec![0x6D, 0x00], vec![0xE1, 0, 0, 0, 9, b'A'], vec![b'A'; 200]] {
            let mut pair = CardPair::new(profile);
            let bytes = answer.clone();
            pair.fates = Box::new(move |_, _| Fate::Instead(bytes.clone()));
            let Ok(CardReply::Reader(reader)) = pair.run(&CardCommand::Open) else { panic!("no failure") };
            assert_eq!(reader.firmware, "unknown", "{answer:02X?}");
        }
    }
}

#[test]
fn signals_are_shown_and_a_refusal_is_remembered() {
    for profile in PROFILES {
        for signal in [Signal::Success, Signal::Failure, Signal::Wink] {
            let signal = CardCommand::Signal(signal);
            let expected = profile.feedback.map_or(Err(DialectError::Unsupported), |_| Ok(CardReply::Done));
            let mut pair = CardPair::with_card(profile, card());
            assert_eq!(pair.run(&signal), expected, "{}: without a connection", profile.name);
            pair.run(&CardCommand::Detect).unwrap();
            pair.run(&authenticate(1)).unwrap();
            assert_eq!(pair.run(&signal), expected, "{}: with one", profile.name);
            assert_eq!(pair.run(&write(4)), Ok(CardReply::Done), "the sector is still open");

            pair.fates = Box::new(|_, _| Fate::Instead(vec![0x63, 0x00]));
            assert_eq!(pair.run(&signal), Err(DialectError::Unsupported));
            pair.mend();
            pair.sent.clear();
            assert_eq!(pair.run(&signal), Err(DialectError::Unsupported));
            assert!(pair.sent.is_empty(), "it is not asked again");
            assert_eq!(pair.run(&write(4)), Ok(CardReply::Done));
        }
    }
}

#[test]
fn a_driver_without_escapes_shows_what_it_can_with_a_card() {
    for profile in PROFILES.iter().filter(|profile| profile.feedback.is_some()) {
        let mut pair = CardPair::with_card(profile, card());
        pair.escapes = false;
        let signal = CardCommand::Signal(Signal::Success);
        assert_eq!(pair.run(&signal), Err(DialectError::Unsupported));
        pair.sent.clear();
        assert_eq!(pair.run(&signal), Err(DialectError::Unsupported));
        assert!(pair.sent.is_empty());
        pair.run(&CardCommand::Detect).unwrap();
        let shown = if profile.name == "acr122u" { Ok(CardReply::Done) } else { Err(DialectError::Unsupported) };
        assert_eq!(pair.run(&signal), shown, "{}", profile.name);
    }
}
