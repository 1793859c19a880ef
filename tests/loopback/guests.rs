//! What callers ask for of guests is on the card: read by the hub's scan, and byte by byte from the card's memory.

use crate::desk::Desk;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::ocl1::{self, SealState, Slot};
use encoder_protocols::layout::record::{Flags, Record};
use encoderd::keys::CardKey;
use serde_json::{Value, json};

/// The record that a lock would take from the card on the first encoder: the sealed one with the highest sequence.
fn on_card(desk: &Desk, uid: &str) -> Record {
    let dump = desk.encoders[0].dump();
    let block = |number: u8| -> [u8; 16] {
        let start = usize::from(number) * 16;
        dump[start..start + 16].try_into().unwrap()
    };
    let key = CardKey::load(&desk.state_dir()).unwrap().expect("the desk has a card key");
    let uid: Uid = uid.parse().unwrap();
    let keys = key.key.for_card(&uid);
    let sealed = Slot::BOTH.into_iter().filter_map(|slot| {
        let SealState::Present(seal) = ocl1::judge_seal(&keys, &block(slot.seal_block().number().get())) else {
            return None;
        };
        let payload: Vec<_> = slot.payload_blocks().map(|at| block(at.number().get())).collect();
        let in_use = ocl1::payload_blocks_in_use(&payload[ocl1::DOOR_COUNT_BLOCK]).unwrap();
        Some(ocl1::open(&keys, slot, &seal, &payload[..in_use]).unwrap())
    });
    let current = sealed.max_by_key(|sealed| sealed.sequence).expect("a sealed record");
    current.content.record().expect("a full record").clone()
}

async fn credential(desk: &Desk, doors: &[usize], metadata: Value) -> String {
    let system = desk.get("/acs/systems/list", json!({}), "acs_systems").await[0]["acs_system_id"].clone();
    let entrances = desk.get("/acs/entrances/list", json!({}), "acs_entrances").await;
    let own: Vec<&Value> = doors.iter().map(|door| &entrances[*door]["acs_entrance_id"]).collect();
    let body = json!({
        "acs_system_id": system, "access_method": "card", "allowed_acs_entrance_ids": own,
        "starts_at": "2026-11-22T12:00:00Z", "ends_at": "2026-11-25T10:00:00Z", "visionline_metadata": metadata,
    });
    let made = desk.get("/acs/credentials/create", body, "acs_credential").await;
    made["acs_credential_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_and_common_doors_that_were_asked_for_are_on_the_card() {
    let desk = Desk::simple().await;
    let entrances = desk.get("/acs/entrances/list", json!({}), "acs_entrances").await;
    let lobby = &entrances[11]["acs_entrance_id"];
    let first = credential(&desk, &[0], json!({ "override": true })).await;
    for (id, flags, doors) in [
        (first.clone(), Flags::OVERRIDE_PREVIOUS_GUEST, vec![101]),
        (credential(&desk, &[0], json!({ "joiner_acs_credential_ids": [first] })).await, Flags::JOINER, vec![101]),
        (credential(&desk, &[1], json!({ "is_one_time_use": true })).await, Flags::ONE_TIME, vec![102]),
        (
            credential(&desk, &[2, 0], json!({ "common_acs_entrance_ids": [lobby] })).await,
            Flags::COMMON_DOOR,
            vec![101, 103, 112],
        ),
        (
            credential(
                &desk,
                &[4],
                json!({ "override": true, "is_one_time_use": true, "common_acs_entrance_ids": [lobby] }),
            )
            .await,
            Flags::OVERRIDE_PREVIOUS_GUEST | Flags::ONE_TIME | Flags::COMMON_DOOR,
            vec![105, 112],
        ),
        (credential(&desk, &[0], json!({})).await, Flags::NONE, vec![101]),
    ] {
        desk.encode_well(0, &id).await;
        let record = on_card(&desk, "deadbeef");
        assert_eq!((record.flags, record.doors), (flags, doors));
        let scan = desk.scan_well(0).await;
        assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], id.as_str());
        assert_eq!(scan["warnings"], json!([]), "in sync");
        assert_eq!(scan["acs_credential_on_seam"]["warnings"], json!([]));
    }
}
