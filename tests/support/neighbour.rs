//! A second workspace in the same hub, with one thing of each kind, that nobody of the first one may see.

use crate::support::{API_KEY, World};
use encoderd::api::id::{
    AcsEncoderId, AcsEntranceId, AcsSystemId, ApiKeyId, BridgeId, BridgeTokenId, ConnectedAccountId, WorkspaceId,
};
use encoderd::api::time::Time;
use encoderd::clock;
use encoderd::store::Database;
use encoderd::store::hub::acs_encoders::{self, Link};
use encoderd::store::hub::acs_entrances::{self, Door};
use encoderd::store::hub::acs_systems::{self, SystemIds};
use encoderd::store::hub::keys::KeyHash;
use encoderd::store::hub::{SCHEMA, bridge_tokens, events};
use reqwest::Method;
use serde_json::{Value, json};

/// The second workspace's API key.
pub const NEIGHBOURS_KEY: &str = "seam_key_of_the_neighbour";

/// The second workspace.
pub struct Neighbour {
    /// One id of each kind, by the name that parameters have for it.
    ids: Value,
}

impl Neighbour {
    /// What the second workspace has that this parameter could name.
    pub fn id(&self, parameter: &str) -> Value {
        let name = parameter.trim_start_matches("allowed_").trim_start_matches("hid_").replace("location", "space");
        let name = name.strip_suffix("_ids").map_or_else(|| name.clone(), |kind| format!("{kind}_id"));
        assert!(self.ids[&name].is_string(), "the neighbour has no {name} for {parameter}");
        self.ids[&name].clone()
    }
}

impl World {
    /// A second workspace with one of each kind.
    pub async fn neighbour(&self) -> Neighbour {
        let now = Time::from_ms(clock::wall_ms());
        let system = SystemIds {
            workspace_id: WorkspaceId::random(),
            acs_system_id: AcsSystemId::random(),
            connected_account_id: ConnectedAccountId::random(),
        };
        let (entrance, encoder, key) = (AcsEntranceId::random(), AcsEncoderId::random(), ApiKeyId::random());
        let store = Database::open(&self.database, SCHEMA).await.unwrap();
        let mut transaction = store.begin(system.realm()).await.unwrap();
        acs_systems::create(&mut transaction, system, "Hotel Next Door", None, now).await.unwrap();
        let happening = encoderd::api::events::Happening::AcsSystemAdded(system.event());
        events::record(&mut transaction, system.workspace_id, happening, None, now).await.unwrap();
        let door = Door { acs_entrance_id: entrance, number: 101, display_name: "Room 101".to_owned() };
        acs_entrances::put(&mut transaction, system.acs_system_id, &door, now).await.unwrap();
        let link = Link {
            acs_encoder_id: encoder,
            bridge_id: BridgeId::random(),
            device_id: "usb-1".to_owned(),
            display_name: "Their Front Desk".to_owned(),
            simulated: true,
        };
        acs_encoders::put(&mut transaction, system.acs_system_id, &link, now).await.unwrap();
        sqlx::query(
            "INSERT INTO api_key (api_key_id, workspace_id, name, prefix, hash, created_at)
             VALUES ($4, $1, 'tests', 'seam_key', $2, $3)",
        )
        .bind(system.workspace_id.to_string())
        .bind(KeyHash::of(NEIGHBOURS_KEY.as_bytes()).as_str())
        .bind(now.ms())
        .bind(key.to_string())
        .execute(&mut *transaction)
        .await
        .unwrap();
        let token = BridgeTokenId::random();
        let hash = KeyHash::of(b"bridge-token-of-the-neighbour");
        bridge_tokens::create(&mut transaction, system.workspace_id, token, "Next Door", &hash, now).await.unwrap();
        transaction.commit().await.unwrap();
        store.close().await;
        let made = async |path: &str, body: Value, key: &str| {
            self.send(Method::POST, path, "", Some(&body), Some(NEIGHBOURS_KEY)).await.good(key)
        };
        let space = json!({ "name": "Their floor", "acs_entrance_ids": [entrance] });
        let space = made("/spaces/create", space, "space").await;
        let grant = json!({
            "user_identity": { "full_name": "Jane Next Door" }, "requested_access_methods": [{ "mode": "card" }],
            "acs_entrance_ids": [entrance],
        });
        let grant = made("/access_grants/create", grant, "access_grant").await;
        let credential = made("/acs/credentials/list", json!({}), "acs_credentials").await[0].clone();
        let scan = json!({ "acs_encoder_id": encoder });
        let attempt = made("/acs/encoders/scan_credential", scan, "action_attempt").await;
        let event = made("/events/list", json!({}), "events").await[0].clone();
        let webhook = json!({ "url": "https://example.com/", "event_types": ["none"] });
        let webhook = made("/webhooks/create", webhook, "webhook").await;
        let ids = json!({
            "webhook_id": webhook["webhook_id"],
            "workspace_id": system.workspace_id,
            "api_key_id": key,
            "bridge_token_id": token,
            "acs_system_id": system.acs_system_id,
            "connected_account_id": system.connected_account_id,
            "acs_entrance_id": entrance,
            "acs_encoder_id": encoder,
            "space_id": space["space_id"],
            "user_identity_id": grant["user_identity_id"],
            "acs_user_id": credential["acs_user_id"],
            "access_grant_id": grant["access_grant_id"],
            "access_method_id": grant["access_method_ids"][0],
            "acs_credential_id": credential["acs_credential_id"],
            "action_attempt_id": attempt["action_attempt_id"],
            "event_id": event["event_id"],
        });
        Neighbour { ids }
    }
}

#[tokio::test]
async fn each_workspace_sees_its_own_things_only() {
    let world = World::new().await;
    world.credential().await;
    let neighbour = world.neighbour().await;
    let list = async |key: &str| {
        let answer = world.send(Method::GET, "/acs/credentials/list", "", None, Some(key)).await;
        answer.good("acs_credentials")
    };
    let (ours, theirs) = (list(API_KEY).await, list(NEIGHBOURS_KEY).await);
    assert_eq!((ours.as_array().unwrap().len(), theirs.as_array().unwrap().len()), (1, 1));
    assert_eq!(theirs[0]["acs_credential_id"], neighbour.id("acs_credential_id"));
    assert_eq!(theirs[0]["workspace_id"], neighbour.id("workspace_id"));
    assert_ne!(ours[0]["workspace_id"], theirs[0]["workspace_id"]);
}
