//! The very bytes that go to a reader, from documents and logs, none of them from the code under test.

use crate::rig::{Rig, blank, fast_read, password, read, readers, write};
use encoder_protocols::card_sim::{Card, Part4Card, Part4Kind};
use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::family::type2::{Type2Kind, UltralightCKey};
use hex_literal::hex;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    pn532_frames: Vec<FrameVector>,
}

#[derive(Deserialize)]
struct FrameVector {
    hex: String,
    meaning: String,
}

/// The frame with this meaning.
fn frame(meaning: &str) -> String {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/pn532.json")).unwrap();
    vectors.pn532_frames.into_iter().find(|vector| vector.meaning == meaning).expect(meaning).hex
}

fn reader(name: &str, card: &Card) -> Rig {
    let mut rig = readers(card).into_iter().find(|rig| rig.name == name).unwrap();
    rig.said();
    rig
}

fn in_hex(said: &[Vec<u8>]) -> Vec<String> {
    let digits = |bytes: &Vec<u8>| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    said.iter().map(digits).collect()
}

/// What the host says for a command, in hex.
fn said(rig: &mut Rig, command: &CardCommand) -> Vec<String> {
    rig.run(command).unwrap();
    in_hex(&rig.said())
}

#[test]
fn frames_to_a_pn532_are_those_of_logs() {
    let mut rig = reader("pn532", &blank(Type2Kind::Ntag213));
    assert_eq!(said(&mut rig, &CardCommand::GetVersion), [frame("InCommunicateThru GET_VERSION")]);
    assert_eq!(
        said(&mut rig, &write(Type2Kind::Ntag213, 4, [1, 2, 3, 4])),
        [frame("InDataExchange Type 2 WRITE page 4")]
    );
    // READ has the same form on a Classic card's block and on pages.
    assert_eq!(said(&mut rig, &read(4)), [frame("InDataExchange READ block 4")]);
}

#[test]
fn apdus_to_an_acr122u_are_those_of_its_manual_and_of_people_who_have_one() {
    let mut rig = reader("acr122u", &blank(Type2Kind::Ntag213));
    // ACR122U API 2.04, 5.3 and 5.4.
    assert_eq!(said(&mut rig, &read(4)), ["ffb0000410"]);
    assert_eq!(said(&mut rig, &write(Type2Kind::Ntag213, 4, [1, 2, 3, 4])), ["ffd600040401020304"]);
    // nfc-pcsc issue 36; stackoverflow question 44237726 for the form of the password, here the delivered one.
    assert_eq!(said(&mut rig, &CardCommand::GetVersion), ["ff00000003d44260"]);
    assert_eq!(said(&mut rig, &password([0xFF; 4])), ["ff00000007d4421bffffffff"]);
    // FAST_READ 3A from page 4 to 9: NTAG213/215/216 data sheet, 10.3.
    assert_eq!(said(&mut rig, &fast_read(4, 9)), ["ff00000005d4423a0409"]);
}

#[test]
fn an_ultralight_c_is_opened_as_the_data_sheets_example_has_it() {
    // MF0ICU2 data sheet, table 9, in an ACR122U's APDUs.
    let mut rig = reader("acr122u", &blank(Type2Kind::UltralightC));
    rig.card().set_next_random(hex!("51E764602678DF2B"));
    let key = UltralightCKey::new(hex!("49454D4B41455242214E4143554F5946"));
    let command = CardCommand::UltralightCAuth { key, random: hex!("A8AF3B256C75ED40") };
    assert_eq!(said(&mut rig, &command), ["ff00000004d4421a00", "ff00000013d442af0a638559fc7737f9f15d7862ebbe967a"]);
}

#[test]
fn an_application_is_selected_by_a_plain_apdu_on_every_reader() {
    // EMV Contactless Book B, 3.3.2: 00 A4 04 00 0E "2PAY.SYS.DDF01" 00.
    let apdu = "00a404000e325041592e5359532e444446303100";
    let command = CardCommand::SelectApplication(b"2PAY.SYS.DDF01".to_vec());
    for (kind, status) in
        [(Part4Kind::Payment, [0x90, 0x00]), (Part4Kind::Desfire, [0x6A, 0x82]), (Part4Kind::Phone, [0x6A, 0x82])]
    {
        for mut rig in readers(&Card::Part4(Part4Card::new(kind, crate::support::uid4()))) {
            rig.said();
            let Ok(CardReply::Bytes(answer)) = rig.run(&command) else { panic!("{}", rig.name) };
            assert_eq!(answer[answer.len() - 2..], status, "{}: {kind:?}", rig.name);
            let said: Vec<String> = in_hex(&rig.said());
            match &said[..] {
                // D4 40 01 before it: InDataExchange with target 1 (UM0701-02 as in libnfc).
                [frame] if rig.name == "pn532" => assert!(frame.contains(&format!("d44001{apdu}")), "{frame}"),
                [one] => assert_eq!(one, apdu, "{}", rig.name),
                more => panic!("{}: {more:?}", rig.name),
            }
        }
    }
}
