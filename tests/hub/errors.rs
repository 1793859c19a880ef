//! Every error type of every kind of attempt, each by what brings it about.

use crate::support::{CARD, Desk, World, failed, report, scanned};
use encoderd::api::bridge::{EncoderState, StartResponse};
use encoderd::fault::{ErrorType, FaultKind, Work};
use encoderd::hub::Patience;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// The desk reports it at the end of its job.
    Told(FaultKind),
    /// The desk had said that the encoder is like this.
    Encoder(EncoderState),
    /// Another attempt is open on the encoder.
    Busy,
    /// The desk asks for work and never starts the job.
    NotStarted,
    /// The desk does not ask for work.
    NoDesk,
    /// The credential is deleted while the job waits.
    Deleted,
    /// The scanned card carries nothing of the property's.
    BlankCard,
    /// No credential is on the card that is named.
    UnknownCard,
    /// The access method has a card already.
    MethodHasCard,
}

/// All ten of an encode, all six of a scan, and those of assigning.
const CAUSES: &[(Work, ErrorType, Cause)] = &[
    (Work::Encode, ErrorType::UncategorizedError, Cause::Busy),
    (Work::Encode, ErrorType::ActionAttemptExpired, Cause::NotStarted),
    (Work::Encode, ErrorType::NoCredentialOnEncoder, Cause::Told(FaultKind::NoCard)),
    (Work::Encode, ErrorType::IncompatibleCardFormat, Cause::Told(FaultKind::UnsupportedCard)),
    (Work::Encode, ErrorType::CredentialCannotBeReissued, Cause::Told(FaultKind::CredentialOnAnotherCard)),
    (Work::Encode, ErrorType::EncoderNotOnline, Cause::Encoder(EncoderState::Offline)),
    (Work::Encode, ErrorType::EncoderCommunicationTimeout, Cause::Encoder(EncoderState::Silent)),
    (Work::Encode, ErrorType::BridgeDisconnected, Cause::NoDesk),
    (Work::Encode, ErrorType::EncodingInterrupted, Cause::Told(FaultKind::CardLeft)),
    (Work::Encode, ErrorType::CredentialDeleted, Cause::Deleted),
    (Work::Scan, ErrorType::UncategorizedError, Cause::Told(FaultKind::CardLeft)),
    (Work::Scan, ErrorType::ActionAttemptExpired, Cause::NotStarted),
    (Work::Scan, ErrorType::NoCredentialOnEncoder, Cause::Told(FaultKind::NoCard)),
    (Work::Scan, ErrorType::EncoderNotOnline, Cause::Encoder(EncoderState::Offline)),
    (Work::Scan, ErrorType::EncoderCommunicationTimeout, Cause::Encoder(EncoderState::Silent)),
    (Work::Scan, ErrorType::BridgeDisconnected, Cause::NoDesk),
    (Work::ScanToAssign, ErrorType::UncategorizedError, Cause::Encoder(EncoderState::Offline)),
    (Work::ScanToAssign, ErrorType::UncategorizedError, Cause::NoDesk),
    (Work::ScanToAssign, ErrorType::UncategorizedError, Cause::Busy),
    (Work::ScanToAssign, ErrorType::ActionAttemptExpired, Cause::NotStarted),
    (Work::ScanToAssign, ErrorType::NoCredentialOnEncoder, Cause::Told(FaultKind::NoCard)),
    (Work::ScanToAssign, ErrorType::NoCredentialOnEncoder, Cause::BlankCard),
    (Work::Assign, ErrorType::CredentialNotFound, Cause::UnknownCard),
    (Work::Assign, ErrorType::UncategorizedError, Cause::MethodHasCard),
];

struct Scene {
    world: World,
    desk: Desk,
    encoder: Uuid,
    credential: String,
}

impl Scene {
    async fn with(patience: Patience) -> Self {
        let world = World::with(Duration::from_millis(300), patience).await;
        let (desk, encoder) = world.desk().await;
        let credential = world.credential().await;
        Self { world, desk, encoder, credential }
    }

    async fn attempt(&self, work: Work) -> Value {
        match work {
            Work::Encode => self.world.encode(self.encoder, &self.credential).await,
            Work::Scan => self.world.scan(self.encoder).await,
            Work::ScanToAssign => {
                let user = self.world.show(&self.credential).await["acs_user_id"].clone();
                let body = json!({ "acs_encoder_id": self.encoder, "acs_user_id": user });
                self.world.made("/acs/encoders/scan_to_assign_credential", body, "action_attempt").await
            }
            Work::Assign => {
                let grant = json!({
                    "user_identity": { "full_name": "Jane Doe" }, "requested_access_methods": [{ "mode": "card" }],
                });
                let grant = self.world.made("/access_grants/create", grant, "access_grant").await;
                let body = json!({ "access_method_id": grant["access_method_ids"][0], "card_number": CARD });
                self.world.made("/access_methods/assign_card", body, "action_attempt").await
            }
        }
    }
}

async fn bring_about(work: Work, cause: Cause) -> Value {
    let patience = match cause {
        Cause::NotStarted => Patience { work: Duration::from_millis(300), ..Patience::default() },
        Cause::NoDesk => Patience { bridge: Duration::ZERO, ..Patience::default() },
        Cause::Told(_)
        | Cause::Encoder(_)
        | Cause::Busy
        | Cause::Deleted
        | Cause::BlankCard
        | Cause::UnknownCard
        | Cause::MethodHasCard => Patience::default(),
    };
    let scene = Scene::with(patience).await;
    let Scene { world, desk, encoder, credential } = &scene;
    match cause {
        Cause::Told(kind) => {
            let attempt = scene.attempt(work).await;
            let job = desk.started().await;
            assert!(desk.finish(&job, &failed(kind, None, false)).await);
            world.attempt(&attempt["action_attempt_id"]).await
        }
        Cause::BlankCard => {
            let attempt = scene.attempt(work).await;
            let job = desk.started().await;
            assert!(desk.finish(&job, &scanned(CARD, None)).await);
            world.attempt(&attempt["action_attempt_id"]).await
        }
        Cause::Encoder(state) => {
            let mut changed = report("usb-1", Some(*encoder));
            changed.state = state;
            desk.report(&changed).await;
            scene.attempt(work).await
        }
        Cause::Busy => {
            world.scan(*encoder).await;
            scene.attempt(work).await
        }
        Cause::NotStarted => {
            let attempt = scene.attempt(work).await;
            assert_eq!(attempt["status"], "pending", "{attempt}");
            let job = desk.job().await;
            let settled = world.settled(&attempt["action_attempt_id"]).await;
            assert!(matches!(desk.start(&job).await, StartResponse::Refused { .. }), "before a card is touched");
            settled
        }
        Cause::NoDesk | Cause::UnknownCard => scene.attempt(work).await,
        Cause::Deleted => {
            let attempt = scene.attempt(work).await;
            let job = desk.job().await;
            world.post("/acs/credentials/delete", json!({ "acs_credential_id": credential })).await.good("ok");
            assert!(matches!(desk.start(&job).await, StartResponse::Refused { .. }), "before a card is touched");
            world.attempt(&attempt["action_attempt_id"]).await
        }
        Cause::MethodHasCard => {
            let other = json!({ "acs_system_id": world.system().await, "access_method": "card" });
            let other = world.made("/acs/credentials/create", other, "acs_credential").await;
            let other = other["acs_credential_id"].as_str().unwrap();
            desk.encodes(world, *encoder, other, &crate::support::encoded(CARD)).await;
            let first = scene.attempt(work).await;
            assert_eq!(first["status"], "success", "{first}");
            desk.encodes(world, *encoder, credential, &crate::support::encoded(crate::support::OTHER_CARD)).await;
            let body = json!({
                "access_method_id": first["result"]["access_method_id"], "card_number": crate::support::OTHER_CARD,
            });
            world.made("/access_methods/assign_card", body, "action_attempt").await
        }
    }
}

#[tokio::test]
async fn every_error_type_comes_about_by_its_cause() {
    for (work, error_type, cause) in CAUSES {
        let attempt = bring_about(*work, *cause).await;
        assert_eq!(
            (&attempt["status"], &attempt["error"]["type"], &attempt["result"]),
            (&json!("error"), &json!(error_type.as_str()), &json!(null)),
            "{work:?} {cause:?}: {attempt}"
        );
        assert!(attempt["error"]["message"].as_str().unwrap().ends_with(['.', ')']), "{attempt}");
    }
}

#[test]
fn no_error_type_is_forgotten() {
    for work in Work::ALL {
        let named = |types: &mut dyn Iterator<Item = ErrorType>| types.map(ErrorType::as_str).collect::<BTreeSet<_>>();
        let caused = named(&mut CAUSES.iter().filter(|(of, ..)| *of == work).map(|(_, error_type, _)| *error_type));
        // Assigning a card ends at once: it cannot expire.
        let expected = work.error_types().iter().copied();
        let mut expected = expected.filter(|kind| work != Work::Assign || *kind != ErrorType::ActionAttemptExpired);
        assert_eq!(caused, named(&mut expected), "{work:?}");
    }
}
