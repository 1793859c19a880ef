//! The official Seam SDK for Python, unmodified.

use crate::desk::{Desk, Setup};
use serde_json::Value;

const UID: &str = "deadbeef";

fn assert_issued(credential: &Value) {
    assert_eq!(credential["card_number"], UID, "{credential}");
    assert_eq!(credential["is_issued"], true, "{credential}");
    assert!(credential["issued_at"].is_string(), "{credential}");
}

fn assert_both_sides_equal(scan: &Value) {
    let result = &scan["attempt"]["result"];
    let (card, seam) = (&result["acs_credential_on_encoder"], &result["acs_credential_on_seam"]);
    for property in ["card_number", "is_issued", "starts_at", "ends_at", "created_at"] {
        assert!(!card[property].is_null(), "{property} in {result}");
        assert_eq!(card[property], seam[property], "{property} in {result}");
    }
    assert_eq!(result["warnings"].as_array().map(Vec::len), Some(0), "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_grant_gets_onto_a_card_and_reads_back() {
    let desk = Desk::simple().await;
    let encoders = desk.sdk(&["encoders"]);
    assert_eq!(encoders["encoders"][0]["display_name"], "Front Desk", "{encoders}");
    let grant = desk.sdk(&["grant", "Front Desk", "--entrances", "2"]);
    assert_eq!(grant["access_method_before"]["is_issued"], false, "{grant}");
    assert_eq!(grant["access_method_before"]["is_encoding_required"], true, "{grant}");
    assert_eq!(grant["attempt"]["status"], "success", "{grant}");
    assert_eq!(grant["attempt"]["action_type"], "ENCODE_CREDENTIAL");
    assert_issued(&grant["attempt"]["result"]);
    assert_issued(&grant["credential"]);
    assert_eq!(grant["access_method"]["is_issued"], true, "{grant}");
    assert!(grant["access_method"]["issued_at"].is_string(), "{grant}");
    assert_both_sides_equal(&desk.sdk(&["scan", "Front Desk"]));
    let issued = desk.sdk(&["events", "--type", "access_method.issued", "--since", "2020-01-01T00:00:00Z"]);
    assert_eq!(issued["events"][0]["access_method_id"], grant["access_method"]["access_method_id"], "{issued}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_gets_onto_a_card_and_a_changed_end_shows_in_the_scan() {
    let desk = Desk::simple().await;
    let made = desk.sdk(&["credential", "Front Desk", "--entrances", "2"]);
    assert_eq!(made["attempt"]["status"], "success", "{made}");
    assert_issued(&made["attempt"]["result"]);
    assert_both_sides_equal(&desk.sdk(&["scan", "Front Desk"]));

    let id = made["credential"]["acs_credential_id"].as_str().unwrap();
    desk.sdk(&["update-ends-at", id, "2031-05-06T07:08:09+00:00"]);
    let scan = desk.sdk(&["scan", "Front Desk"]);
    let warnings = scan["attempt"]["result"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{scan}");
    assert_eq!(warnings[0]["warning_code"], "acs_credential_on_encoder_out_of_sync");
    let message = warnings[0]["warning_message"].as_str().unwrap();
    assert!(message.contains("ends_at") && !message.contains("starts_at"), "{message}");

    let again = desk.sdk(&["encode-credential", "Front Desk", id]);
    assert_eq!(again["attempt"]["status"], "success", "{again}");
    assert_both_sides_equal(&desk.sdk(&["scan", "Front Desk"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_raises_its_own_error_for_an_empty_encoder() {
    let desk =
        Desk::start(Setup { encoders: &[("Front Desk", None)], card_wait: Some("500ms"), ..Setup::default() }).await;
    let failed = desk.sdk(&["credential", "Front Desk"]);
    assert_eq!(failed["error"]["class"], "SeamActionAttemptFailedError", "{failed}");
    assert_eq!(failed["error"]["code"], "no_credential_on_encoder", "{failed}");
}
