//! Small cards, which say the end of a credential's id and not all of it.

use crate::support::{API_KEY, CARD, Desk, ISSUED_AT, OTHER_CARD, World, encoded, encoded_at, failed};
use encoderd::api::bridge::{CompactCredential, CredentialFlags, Encoded, Outcome, Scanned};
use encoderd::fault::FaultKind;
use encoderd::store::hub::SCHEMA;
use encoderd::store::{Database, Realm};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a small card says of the credential of [`World::credential`], whose times are whole minutes.
fn small(number: u32) -> CompactCredential {
    CompactCredential {
        number,
        starts_at: 1_752_418_800,
        ends_at: 1_752_663_600,
        doors: vec![101, 102],
        flags: CredentialFlags::default(),
    }
}

fn number(credential: &str) -> u32 {
    u32::from_str_radix(&credential[credential.len() - 8..], 16).unwrap()
}

fn scan(card_number: &str, compact: CompactCredential) -> Outcome {
    Outcome::Scanned(Scanned {
        card_number: card_number.to_owned(),
        credential: None,
        compact: Some(compact),
        simulated: true,
    })
}

/// Gives a credential an id that ends as another one's does.
async fn twin(world: &World, of: &str) -> String {
    let other = world.credential().await;
    let twin = format!("{}{}", &other[..other.len() - 8], &of[of.len() - 8..]);
    let store = Database::open(&world.database, SCHEMA).await.unwrap();
    let mut transaction = store.begin(Realm::Common).await.unwrap();
    let statements = format!(
        "INSERT INTO acs_credential (acs_credential_id, acs_system_id, acs_user_id, user_identity_id, display_name,
                starts_at, ends_at, times_changed_at, created_at)
             SELECT '{twin}', acs_system_id, acs_user_id, user_identity_id, display_name, starts_at, ends_at,
                times_changed_at, created_at FROM acs_credential WHERE acs_credential_id = '{other}';
             INSERT INTO acs_credential_entrance (acs_credential_id, acs_entrance_id)
             SELECT '{twin}', acs_entrance_id FROM acs_credential_entrance WHERE acs_credential_id = '{other}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
    twin
}

async fn scans(world: &World, desk: &Desk, encoder: Uuid, card_number: &str, of: &str) -> Value {
    desk.scans(world, encoder, &scan(card_number, small(number(of)))).await
}

#[tokio::test]
async fn a_small_card_is_its_credentials() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let result = scans(&world, &desk, encoder, CARD, &credential).await;
    assert_eq!(result["acs_credential_on_seam"]["acs_credential_id"], credential.as_str());
    assert_eq!(result["warnings"], json!([]));
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await, ["acs_credential.issued"]);
    // On a card that nobody has told of, the whole property is looked through.
    let unwritten = world.credential().await;
    let result = scans(&world, &desk, encoder, OTHER_CARD, &unwritten).await;
    assert_eq!(result["acs_credential_on_seam"]["acs_credential_id"], unwritten.as_str());
    assert_eq!(world.show(&unwritten).await["card_number"], OTHER_CARD, "a desk without a hub wrote it");
}

#[tokio::test]
async fn times_of_a_credential_may_be_finer_than_its_small_cards() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let times = json!({
        "acs_credential_id": credential, "starts_at": "2025-07-13T15:00:59Z", "ends_at": "2025-07-16T10:59:01Z",
    });
    let path = "/acs/credentials/update";
    world.send(reqwest::Method::PATCH, path, "", Some(&times), Some(API_KEY)).await.good("ok");
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let result = scans(&world, &desk, encoder, CARD, &credential).await;
    assert_eq!(result["warnings"], json!([]), "15:00:59 is 15:00 on the card, 10:59:01 is 11:00");
    let later = CompactCredential { ends_at: 1_752_663_660, ..small(number(&credential)) };
    let result = desk.scans(&world, encoder, &scan(CARD, later)).await;
    assert!(result["warnings"][0]["warning_message"].as_str().unwrap().ends_with(": ends_at"), "{result}");
}

#[tokio::test]
async fn a_number_that_nobody_has_is_an_unknown_credential() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let result = desk.scans(&world, encoder, &scan(CARD, small(number(&credential) ^ 1))).await;
    assert_eq!(result["acs_credential_on_seam"], json!(null));
    assert_eq!(result["acs_credential_on_encoder"]["card_number"], CARD);
    assert_eq!(result["warnings"][0]["warning_code"], "acs_credential_on_seam_not_found");
}

#[tokio::test]
async fn a_number_of_two_credentials_is_never_guessed() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let twin = twin(&world, &credential).await;
    let attempt = world.scan(encoder).await;
    let job = desk.started().await;
    assert!(desk.finish(&job, &scan(CARD, small(number(&credential)))).await);
    let attempt = world.attempt(&attempt["action_attempt_id"]).await;
    assert_eq!(attempt["error"]["message"], FaultKind::AmbiguousCredential.sentence());
    for id in [&credential, &twin] {
        assert_eq!(world.show(id).await["is_issued"], false);
    }
    // The one that is known to be on this card is meant.
    desk.encodes(&world, encoder, &twin, &encoded(CARD)).await;
    let result = scans(&world, &desk, encoder, CARD, &credential).await;
    assert_eq!(result["acs_credential_on_seam"]["acs_credential_id"], twin.as_str());
}

#[tokio::test]
async fn a_scan_of_a_small_card_settles_what_is_in_doubt() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &failed(FaultKind::CardLeft, Some(CARD), true)).await;
    assert_eq!(world.show(&credential).await["is_issued"], false);
    scans(&world, &desk, encoder, CARD, &credential).await;
    assert_eq!(world.show(&credential).await["card_number"], CARD);
}

#[tokio::test]
async fn an_old_copy_on_a_small_card_is_no_news() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let old = CompactCredential { ends_at: 1_752_577_200, ..small(number(&credential)) };
    let result = desk.scans(&world, encoder, &scan(CARD, old)).await;
    assert!(result["warnings"][0]["warning_message"].as_str().unwrap().ends_with(": ends_at"), "{result}");
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await, ["acs_credential.issued"]);
}

#[tokio::test]
async fn what_was_overwritten_on_a_small_card_is_invalidated() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (old, new) = (world.credential().await, world.credential().await);
    // The clock of the desk that wrote the old one ran ahead: only that the card showed it tells that it is gone.
    desk.encodes(&world, encoder, &old, &encoded_at(CARD, ISSUED_AT + 60, None)).await;
    let outcome = Outcome::Encoded(Encoded {
        card_number: CARD.to_owned(),
        issued_at: ISSUED_AT,
        overwritten: None,
        overwritten_number: Some(number(&old)),
        simulated: true,
    });
    desk.encodes(&world, encoder, &new, &outcome).await;
    assert_eq!(world.show(&old).await["is_issued"], false);
    assert_eq!(world.show(&new).await["card_number"], CARD);
}
