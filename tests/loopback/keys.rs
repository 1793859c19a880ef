//! The property's card key: rotated while cards of the older key are in the house, and never used for another property.

use crate::desk::{Desk, PROGRAM, RemoteDesk, Setup, Stats};
use encoder_protocols::family::classic::SectorNumber;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ocl1::Slot;
use encoderd::keys::CardKey;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn keys(config: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("keys").args(arguments).arg("--config").arg(config).output().unwrap()
}

fn keys_well(desk: &Desk, arguments: &[&str]) -> String {
    let output = keys(&desk.config_file(), arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Rotates, and has the running daemon take the new key over.
async fn rotate(desk: &Desk) {
    keys_well(desk, &["rotate", "--yes"]);
    reload_keys(desk).await;
}

async fn reload_keys(desk: &Desk) {
    let applied = |desk: &Desk| desk.log().matches("card key read again and applied").count();
    let before = applied(desk);
    desk.reload();
    desk.wait_for("the new card key", |_| applied(desk) > before).await;
}

fn block(dump: &[u8], number: u8) -> [u8; 16] {
    dump[usize::from(number) * 16..][..16].try_into().unwrap()
}

/// The key ids in the seals of slots A and B; 0: no seal.
fn sealed_by(desk: &Desk) -> [u8; 2] {
    let dump = desk.encoders[0].dump();
    Slot::BOTH.map(|slot| block(&dump, slot.seal_block().number().get())[1])
}

/// Keys A and B of sectors 1 to 4 as they stand on the card.
fn sector_keys(desk: &Desk) -> Vec<[u8; 12]> {
    let dump = desk.encoders[0].dump();
    (1..=4_u8)
        .map(|sector| {
            let trailer = block(&dump, sector * 4 + 3);
            [&trailer[..6], &trailer[10..]].concat().try_into().unwrap()
        })
        .collect()
}

/// Those that a key of the ring gives this card.
fn derived(desk: &Desk, key_id: u8, uid: &str) -> Vec<[u8; 12]> {
    let ring = CardKey::load(&desk.state_dir()).unwrap().unwrap().key;
    let uid: Uid = uid.parse().unwrap();
    let keys: CardKeys = ring.keys().find(|key| key.key_id() == key_id).unwrap().for_card(&uid);
    (1..=4)
        .map(|sector| {
            let sector = SectorNumber::new(sector).unwrap();
            let (a, b) = (keys.key_a(sector), keys.key_b(sector));
            [&a.0.expose()[..], b.0.expose()].concat().try_into().unwrap()
        })
        .collect()
}

async fn on_card(desk: &Desk) -> Value {
    desk.scan_well(0).await["acs_credential_on_seam"]["acs_credential_id"].clone()
}

async fn place(desk: &Desk, card: &str, uid: &str) {
    desk.encoders[0].control("remove");
    desk.wait_for_card(0, None).await;
    desk.encoders[0].control(&format!("place {card}"));
    desk.wait_for_card(0, Some(uid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_of_an_older_key_is_read_and_written_after_a_rotation() {
    let desk = Desk::simple().await;
    let first = desk.credential(2).await;
    desk.encode_well(0, &first).await;
    assert_eq!(sealed_by(&desk), [1, 0]);
    let opened_by_one = derived(&desk, 1, "deadbeef");
    assert_eq!(sector_keys(&desk), opened_by_one);

    rotate(&desk).await;
    assert_eq!(on_card(&desk).await, first.as_str(), "the older key's seal is read");
    let (second, third) = (desk.credential(2).await, desk.credential(2).await);
    desk.encode_well(0, &second).await;
    assert_eq!(sealed_by(&desk), [0, 2], "sealed with the new key, the old one's credential retired");
    assert_eq!(sector_keys(&desk), opened_by_one, "no trailer is written");
    assert_eq!(on_card(&desk).await, second.as_str());
    rotate(&desk).await;
    desk.encode_well(0, &third).await;
    assert_eq!((sealed_by(&desk), sector_keys(&desk)), ([3, 0], opened_by_one));

    // A card that is new to the house has the new key throughout.
    place(&desk, "classic-1k:0badcafe", "0badcafe").await;
    let fourth = desk.credential(2).await;
    desk.encode_well(0, &fourth).await;
    assert_eq!((sealed_by(&desk), sector_keys(&desk)), ([3, 0], derived(&desk, 3, "0badcafe")));

    // Key 1 is dropped: its card is another system's, also when the seal is the current key's.
    keys_well(&desk, &["forget", "1", "--yes"]);
    reload_keys(&desk).await;
    assert_eq!(on_card(&desk).await, fourth.as_str());
    place(&desk, "classic-1k:deadbeef", "deadbeef").await;
    let attempt = desk.encode(0, &first).await;
    assert_eq!(attempt["error"]["type"], "incompatible_card_format", "{attempt}");
    assert_eq!(sealed_by(&desk), [3, 0], "left untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personalisation_that_an_older_key_began_is_finished_with_that_key() {
    let desk = Desk::simple().await;
    let credential = desk.credential(2).await;
    // The second trailer's write does not happen; one sector has its keys.
    desk.encoders[0].control("tear 2");
    assert_eq!(desk.encode(0, &credential).await["error"]["type"], "encoding_interrupted");
    rotate(&desk).await;
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for_card(0, Some("deadbeef")).await;
    desk.encode_well(0, &credential).await;
    assert_eq!((sealed_by(&desk), sector_keys(&desk)), ([2, 0], derived(&desk, 1, "deadbeef")));
    assert_eq!(on_card(&desk).await, credential.as_str());
}

/// The page of PWD or of the 3DES key, and what the emulator shows of a page.
fn page(dump: &[u8], number: usize) -> [u8; 4] {
    dump[number * 4..][..4].try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_card_is_opened_by_its_own_key_and_sealed_by_the_current_one() {
    // Kind, the pages of its seals, the pages of its password or key.
    for (card, seals, secret) in
        [("ntag213:04a1b2c3d4e5f6", [4, 22], 43..45), ("ultralight-c:04a1b2c3d4e5f6", [4, 22], 44..48)]
    {
        let desk = Desk::start(Setup { encoders: &[("Front Desk", Some(card))], ..Setup::default() }).await;
        let secrets = |dump: &[u8]| secret.clone().map(|at| page(dump, at)).collect::<Vec<_>>();
        let sealed_by = |dump: &[u8]| seals.map(|at| page(dump, at)[1]);
        let first = desk.credential(1).await;
        desk.encode_well(0, &first).await;
        let before = desk.encoders[0].dump();
        assert_eq!(sealed_by(&before), [1, 0], "{card}");
        let keys = CardKey::load(&desk.state_dir()).unwrap().unwrap().key.for_card(&"04a1b2c3d4e5f6".parse().unwrap());
        if card.starts_with("ntag") {
            assert_eq!(secrets(&before)[0], *keys.password().expose(), "{card}");
        }
        rotate(&desk).await;
        assert_eq!(on_card(&desk).await, first.as_str(), "{card}");
        let second = desk.credential(1).await;
        desk.encode_well(0, &second).await;
        let after = desk.encoders[0].dump();
        assert_eq!((sealed_by(&after), secrets(&after)), ([0, 2], secrets(&before)), "{card}");
        assert_eq!(on_card(&desk).await, second.as_str(), "{card}");
    }
}

/// What an older key costs beyond the current one, in the emulator's own counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_key_costs_two_refused_logins_each() {
    let desk = Desk::simple().await;
    let credential = desk.credential(2).await;
    desk.encode_well(0, &credential).await;
    let mut auths = Vec::new();
    for _ in 0..3 {
        let before: Stats = desk.encoders[0].stats();
        desk.scan_well(0).await;
        auths.push(desk.encoders[0].stats().since(before).auths);
        rotate(&desk).await;
    }
    assert_eq!(auths, [3, 5, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_another_property_is_refused_and_no_card_is_touched() {
    let hub = Desk::start(Setup::default()).await;
    let other = hub.directory.path().join("other.toml");
    std::fs::write(&other, format!("[daemon]\nstate_dir = \"{}\"\n", hub.directory.path().join("o").display()))
        .unwrap();
    assert!(keys(&other, &["init"]).status.success());
    let key = hub.directory.path().join("o/card-key.toml");
    let remote = RemoteDesk::start(&hub, Some(&key), &[]);
    let is_online = |encoders: &[Value]| encoders.iter().any(|encoder| encoder["state"] == "online");
    hub.wait_for("the remote encoder", is_online).await;
    let encoder = hub.live().await[0]["acs_encoder_id"].clone();
    let credential = hub.credential(2).await;
    let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
    let attempt = hub.get("/acs/encoders/encode_credential", body, "action_attempt").await;
    let attempt = hub.settled(attempt).await;
    assert_eq!(attempt["status"], "error", "{attempt}");
    let message = attempt["error"]["message"].as_str().unwrap();
    assert!(message.contains("another property"), "{attempt}");
    assert_eq!(remote.encoder.stats().writes, 0);
}
