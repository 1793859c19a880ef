//! What a credential's metadata says of guests, and what of it goes onto a card.

use crate::support::{CARD, ISSUED_AT, OTHER_CARD, World, card, encoded, encoded_at, scanned};
use encoderd::api::bridge::{CredentialFlags, EncodeWork, JobWork};
use serde_json::{Value, json};
use uuid::Uuid;

const NONE: CredentialFlags =
    CredentialFlags { override_previous: false, joiner: false, one_time: false, common_doors: false };
const OVERRIDE: CredentialFlags = CredentialFlags { override_previous: true, ..NONE };
const JOINER: CredentialFlags = CredentialFlags { joiner: true, ..NONE };

/// Parameters for a credential for door 101 in July 2025, with more.
async fn asked(world: &World, more: Value) -> Value {
    let mut body = json!({
        "acs_system_id": world.system().await, "access_method": "card",
        "allowed_acs_entrance_ids": [world.entrances().await[0]],
        "starts_at": "2025-07-13T15:00:00.000Z", "ends_at": "2025-07-16T11:00:00.000Z",
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn made(world: &World, more: Value) -> Value {
    world.made("/acs/credentials/create", asked(world, more).await, "acs_credential").await
}

fn id(credential: &Value) -> &str {
    credential["acs_credential_id"].as_str().unwrap()
}

/// What a desk is asked to write; it writes it.
async fn written(
    world: &World,
    (desk, encoder): &(crate::support::Desk, Uuid),
    credential: &Value,
    on: &str,
) -> EncodeWork {
    let attempt = world.encode(*encoder, id(credential)).await;
    assert_eq!(attempt["status"], "pending", "{attempt}");
    let job = desk.started().await;
    assert!(desk.finish(&job, &encoded(on)).await);
    assert_eq!(world.show(id(credential)).await["warnings"], json!([]), "the card has what was asked for");
    match job.work {
        JobWork::Encode(work) => work,
        JobWork::Scan | JobWork::Raw(_) => panic!("not an encode"),
    }
}

#[tokio::test]
async fn metadata_becomes_flags_and_doors() {
    let world = World::new().await;
    let desk = world.desk().await;
    let doors = world.entrances().await;
    let first = made(&world, json!({})).await;
    for (index, (metadata, flags, opened)) in [
        (json!({}), NONE, vec![101]),
        (json!({ "visionline_metadata": { "card_format": "TLCode" } }), NONE, vec![101]),
        (json!({ "visionline_metadata": { "override": true } }), OVERRIDE, vec![101]),
        (json!({ "visionline_metadata": { "is_override_key": true } }), OVERRIDE, vec![101]),
        (json!({ "visionline_metadata": { "override": false } }), NONE, vec![101]),
        (json!({ "visionline_metadata": { "joiner_acs_credential_ids": [id(&first)] } }), JOINER, vec![101]),
        (json!({ "visionline_metadata": { "joiner_acs_credential_ids": [] } }), NONE, vec![101]),
        (
            json!({ "visionline_metadata": { "is_one_time_use": true } }),
            CredentialFlags { one_time: true, ..NONE },
            vec![101],
        ),
        (
            json!({ "visionline_metadata": {
                "guest_acs_entrance_ids": [doors[1]], "common_acs_entrance_ids": [doors[2]], "override": true,
            } }),
            CredentialFlags { common_doors: true, ..OVERRIDE },
            vec![101, 102, 103],
        ),
        (
            json!({ "visionline_metadata": { "common_acs_entrance_ids": [doors[0]] } }),
            CredentialFlags { common_doors: true, ..NONE },
            vec![101],
        ),
        (json!({ "visionline_metadata": { "card_function_type": "staff" } }), NONE, vec![101]),
        (json!({ "assa_abloy_vostio_metadata": { "override_all_guest_acs_entrances": true } }), OVERRIDE, vec![101]),
        (
            json!({ "assa_abloy_vostio_metadata": { "override_guest_acs_entrance_ids": [doors[0]] } }),
            OVERRIDE,
            vec![101],
        ),
        (json!({ "assa_abloy_vostio_metadata": { "join_all_guest_acs_entrances": true } }), JOINER, vec![101]),
        (json!({ "hotek_metadata": { "override": true } }), OVERRIDE, vec![101]),
        (json!({ "salto_space_metadata": { "assign_new_key": true } }), NONE, vec![101]),
    ]
    .into_iter()
    .enumerate()
    {
        let credential = made(&world, metadata.clone()).await;
        let work = written(&world, &desk, &credential, &format!("04BB{index:04X}")).await;
        assert_eq!((work.flags, work.doors), (flags, opened), "{metadata}");
        assert_eq!(credential["is_one_time_use"], json!(flags.one_time));
    }
}

#[tokio::test]
async fn the_object_has_of_metadata_what_the_types_have() {
    let world = World::new().await;
    let doors = world.entrances().await;
    let joined = made(&world, json!({})).await;
    let given = json!({
        "visionline_metadata": {
            "assa_abloy_credential_service_mobile_endpoint_id": Uuid::new_v4(), "auto_join": false,
            "card_format": "rfid48", "joiner_acs_credential_ids": [id(&joined)],
            "guest_acs_entrance_ids": [doors[1]], "common_acs_entrance_ids": [doors[2]], "nobody_knows": 1,
        },
        "assa_abloy_vostio_metadata": { "auto_join": false, "override_guest_acs_entrance_ids": [] },
        "hotek_metadata": { "auto_join": false }, "salto_space_metadata": { "update_current_key": true },
    });
    let credential = made(&world, given).await;
    let expected = json!({
        "auto_join": false, "card_function_type": "guest", "joiner_acs_credential_ids": [id(&joined)],
        "guest_acs_entrance_ids": [doors[1]], "common_acs_entrance_ids": [doors[2]],
    });
    assert_eq!(credential["visionline_metadata"], expected);
    let expected = json!({ "auto_join": false, "override_guest_acs_entrance_ids": [] });
    assert_eq!(credential["assa_abloy_vostio_metadata"], expected);
    assert!(credential.get("hotek_metadata").is_none() && credential.get("salto_space_metadata").is_none());
    assert_eq!(world.show(id(&credential)).await, credential, "kept");
    assert!(joined.get("visionline_metadata").is_none(), "not given, not there");
}

#[tokio::test]
async fn what_contradicts_itself_or_fits_no_card_is_refused() {
    let world = World::new().await;
    let doors = world.entrances().await;
    let joined = made(&world, json!({})).await;
    for (metadata, parameter) in [
        (
            json!({ "visionline_metadata": { "override": true, "joiner_acs_credential_ids": [id(&joined)] } }),
            "visionline_metadata.joiner_acs_credential_ids",
        ),
        (json!({ "visionline_metadata": { "override": true, "auto_join": true } }), "visionline_metadata.auto_join"),
        (
            json!({ "visionline_metadata": { "override": true }, "hotek_metadata": { "auto_join": true } }),
            "hotek_metadata.auto_join",
        ),
        (
            json!({ "visionline_metadata": { "card_function_type": "staff", "override": true } }),
            "visionline_metadata.override",
        ),
        (
            json!({ "assa_abloy_vostio_metadata": { "override_guest_acs_entrance_ids": [doors[1]] } }),
            "assa_abloy_vostio_metadata.override_guest_acs_entrance_ids",
        ),
        (json!({ "visionline_metadata": { "card_format": "guest" } }), "visionline_metadata.card_format"),
        (json!({ "visionline_metadata": { "override": "yes" } }), "visionline_metadata.override"),
        (json!({ "hotek_metadata": [] }), "hotek_metadata"),
        (json!({ "code": "1234" }), "code"),
    ] {
        world.post("/acs/credentials/create", asked(&world, metadata).await).await.invalid(parameter);
    }
    let unknown = json!({ "visionline_metadata": { "joiner_acs_credential_ids": [Uuid::new_v4()] } });
    let answer = world.post("/acs/credentials/create", asked(&world, unknown).await).await;
    answer.refused(404, "acs_credential_not_found");
    let unknown = json!({ "visionline_metadata": { "common_acs_entrance_ids": [Uuid::new_v4()] } });
    let answer = world.post("/acs/credentials/create", asked(&world, unknown).await).await;
    answer.refused(404, "acs_entrance_not_found");
}

#[tokio::test]
async fn auto_join_overrides_alone_and_joins_others_of_the_same_stay() {
    let world = World::new().await;
    let desk = world.desk().await;
    let doors = world.entrances().await;
    let lobby = json!({ "common_acs_entrance_ids": [doors[2]] });
    let neighbour = json!({ "allowed_acs_entrance_ids": [doors[1]], "visionline_metadata": lobby });
    let neighbour = made(&world, neighbour).await;
    written(&world, &desk, &neighbour, "04000001").await;
    let staff = json!({ "visionline_metadata": { "card_function_type": "staff" } });
    written(&world, &desk, &made(&world, staff).await, "04000002").await;
    let auto = json!({ "visionline_metadata": { "auto_join": true, "common_acs_entrance_ids": [doors[2]] } });
    let (first, second) = (made(&world, auto.clone()).await, made(&world, auto.clone()).await);
    let common = CredentialFlags { common_doors: true, ..NONE };
    let work = written(&world, &desk, &first, CARD).await;
    assert_eq!(work.flags, CredentialFlags { override_previous: true, ..common }, "a lobby and staff are no company");
    let work = written(&world, &desk, &second, OTHER_CARD).await;
    assert_eq!(work.flags, CredentialFlags { joiner: true, ..common });
    assert_eq!(world.show(id(&first)).await["warnings"], json!([]), "company that comes later changes nothing");
    // Each card keeps its meaning when it is written again.
    let (desk_itself, encoder) = &desk;
    for (credential, on, joiner) in [(&first, CARD, false), (&second, OTHER_CARD, true)] {
        world.encode(*encoder, id(credential)).await;
        let job = desk_itself.started().await;
        let JobWork::Encode(work) = &job.work else { panic!("a scan") };
        assert_eq!((work.flags.joiner, work.flags.override_previous), (joiner, !joiner));
        assert!(desk_itself.finish(&job, &encoded_at(on, ISSUED_AT + 60, None)).await);
    }
    // The next stay begins when this one is over.
    let mut next = asked(&world, auto).await;
    next["starts_at"] = json!("2025-07-16T15:00:00.000Z");
    next["ends_at"] = json!("2025-07-19T11:00:00.000Z");
    let next = world.made("/acs/credentials/create", next, "acs_credential").await;
    let work = written(&world, &desk, &next, "04000003").await;
    assert_eq!(work.flags, CredentialFlags { override_previous: true, ..common });
}

#[tokio::test]
async fn a_scan_names_flags_that_differ_and_the_credential_asks_for_a_new_issue() {
    let world = World::new().await;
    let desk = world.desk().await;
    let credential = made(&world, json!({ "visionline_metadata": { "override": true } })).await;
    written(&world, &desk, &credential, CARD).await;
    let (desk, encoder) = &desk;
    let mut on_card = card(id(&credential));
    on_card.doors = vec![101];
    on_card.flags = OVERRIDE;
    let result = desk.scans(&world, *encoder, &scanned(CARD, Some(on_card.clone()))).await;
    assert_eq!(result["warnings"], json!([]));
    // A newer issue that the hub was not told of, with other flags and doors.
    on_card.flags = NONE;
    on_card.doors = vec![101, 103];
    on_card.issued_at += 60;
    let result = desk.scans(&world, *encoder, &scanned(CARD, Some(on_card))).await;
    let message = result["warnings"][0]["warning_message"].as_str().unwrap();
    assert!(message.ends_with(": doors, flags"), "{message}");
    let warning = world.show(id(&credential)).await["warnings"][0].clone();
    assert_eq!(warning["warning_code"], "needs_to_be_reissued");
    assert!(warning["message"].as_str().unwrap().contains("doors and rules for guests"), "{warning}");
}
