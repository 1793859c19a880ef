//! A card that is taken away at every write of an encode holds the old credential or the new one, never neither, never
//! a mixture; and what the API says of it agrees with the next scan.

use crate::desk::{Desk, Setup};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Writes of a re-encode with two doors: four payload blocks, the seal, the old seal to zero.
const WRITES: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_encode_leaves_the_old_or_the_new_credential() {
    let desk = Desk::simple().await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    for write in 1..=WRITES {
        for partial in ["", " partial"] {
            let credential = desk.credential(2).await;
            let before = desk.encoders[0].stats().writes;
            let attempt = desk.start_encode_after(0, &credential, &format!("tear {write}{partial}")).await;
            let case = format!("write {write}{partial}");
            assert_torn_well(&case, &attempt, write);
            assert!(desk.encoders[0].stats().writes - before <= write, "{case}: written after the card had left");
            desk.encoders[0].control("place classic-1k:deadbeef");
            desk.wait_for_card(0, Some("deadbeef")).await;
            let scan = desk.scan_well(0).await;
            let on_card = scan["acs_credential_on_seam"]["acs_credential_id"].as_str().unwrap_or_default().to_owned();
            assert!(on_card == credential || on_card == previous, "{case}: {scan}\n{}", desk.log());
            assert_eq!(scan["warnings"].as_array().map(Vec::len), Some(0), "{case}: {scan}");
            if attempt["status"] == "success" {
                assert_eq!(on_card, credential, "{case}");
            }
            // The hub's word agrees with the card now.
            let on_seam = desk.credential_state(&on_card).await;
            assert_eq!(on_seam["card_number"], "deadbeef", "{case}: {on_seam}");
            // The next encode finishes or rolls back by itself.
            desk.encode_well(0, &credential).await;
            assert_eq!(desk.scan_well(0).await["acs_credential_on_seam"]["acs_credential_id"], credential.as_str());
            previous = credential;
        }
    }
}

fn assert_torn_well(case: &str, attempt: &Value, write: u64) {
    if write < WRITES {
        assert_eq!(attempt["error"]["type"], "encoding_interrupted", "{case}: {attempt}");
    } else {
        // The last write retires the old credential; the new one had been verified.
        assert_eq!(attempt["status"], "success", "{case}: {attempt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_credential_stays_a_success_when_the_card_comes_and_goes_afterwards() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        emulator_options: &["--pace"],
        ..Setup::default()
    })
    .await;
    let mut previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    for _ in 0..6 {
        let credential = desk.credential(2).await;
        let encoder = &desk.encoders[0];
        let before = encoder.stats().writes;
        encoder.control(&format!("tear {WRITES} partial"));
        let attempt = desk.start_encode(0, &credential).await;
        let patience = Instant::now() + Duration::from_secs(20);
        while encoder.stats().writes < before + WRITES {
            assert!(Instant::now() < patience, "the card was not written\n{}", desk.log());
            // Asked without a pause, the encoder would have no time for its card on a slow machine.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Torn while the old seal was retired: it is back for a moment, and leaves at the first write.
        encoder.control("place classic-1k:deadbeef");
        encoder.control("tear 1");
        let attempt = desk.settled(attempt).await;
        assert_eq!(attempt["status"], "success", "{attempt}\n{}", desk.log());
        encoder.control("remove");
        encoder.control("place classic-1k:deadbeef");
        desk.wait_for_card(0, Some("deadbeef")).await;
        let scan = desk.scan_well(0).await;
        assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], credential.as_str(), "{scan}");
        assert_eq!(scan["warnings"].as_array().map(Vec::len), Some(0), "{scan}");
        assert_eq!(desk.credential_state(&previous).await["is_issued"], false);
        previous = credential;
    }
}

/// Writes of a personalisation: two blocks of the directory, five trailers.
const PERSONALISE_WRITES: u64 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_personalisation_is_finished_or_named() {
    for write in 1..=PERSONALISE_WRITES {
        for partial in ["", " partial"] {
            let desk =
                Desk::start(Setup { encoders: &[("Front Desk", Some("classic-1k:deadbeef"))], ..Setup::default() })
                    .await;
            let credential = desk.credential(2).await;
            let case = format!("write {write}{partial}");
            let attempt = desk.start_encode_after(0, &credential, &format!("tear {write}{partial}")).await;
            assert_eq!(attempt["error"]["type"], "encoding_interrupted", "{case}: {attempt}\n{}", desk.log());
            desk.encoders[0].control("place classic-1k:deadbeef");
            desk.wait_for_card(0, Some("deadbeef")).await;
            let again = desk.encode(0, &credential).await;
            if again["status"] == "error" {
                // A torn trailer can destroy its sector; then the card is named and holds no credential.
                assert!(!partial.is_empty(), "{case}: {again}\n{}", desk.log());
                assert_eq!(again["error"]["type"], "incompatible_card_format", "{case}: {again}");
                assert_eq!(desk.credential_state(&credential).await["is_issued"], false);
            } else {
                let scan = desk.scan_well(0).await;
                assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], credential.as_str(), "{case}");
            }
        }
    }
}

impl Desk {
    /// Arms the emulator, then encodes to the end.
    async fn start_encode_after(&self, encoder: usize, credential: &str, command: &str) -> Value {
        self.encoders[encoder].control(command);
        self.encode(encoder, credential).await
    }
}
