//! Through the running daemon.

use crate::desk::Desk;
use crate::{card, ok, stderr};
use serde_json::Value;

/// The line of the map with the first sectors.
fn map(info: &str) -> &str {
    info.lines().find(|line| line.trim_start().starts_with("0 to 7")).unwrap_or_else(|| panic!("no map: {info}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_prepared_shown_encoded_and_erased() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let config = desk.config_file();
    let encoder = &desk.encoders[0];
    let blank = encoder.dump();

    let info = ok(&config, &["info"]);
    assert!(map(&info).contains("[M..T] [...T] [...T]"), "{info}");
    let plan = ok(&config, &["personalize", "--dry-run"]);
    assert!(plan.contains("write block 7"), "{plan}");
    assert!(encoder.dump() == blank, "a dry run writes nothing");
    assert!(ok(&config, &["personalize"]).contains("is prepared"));
    assert!(ok(&config, &["personalize"]).contains("prepared already"));
    assert!(map(&ok(&config, &["info"])).contains("[MDDT] [AAAT] [AAAT] [BBBT] [BBBT] [...T]"));

    let credential = desk.credential(2).await;
    desk.encode_well(0, &credential).await;
    let json: Value = serde_json::from_str(&ok(&config, &["info", "--json"])).unwrap();
    assert_eq!((&json["card_number"], &json["format"]), (&"deadbeef".into(), &"ours".into()), "{json}");
    assert_eq!((&json["slots"][0]["state"], &json["slots"][1]["state"]), (&"valid".into(), &"empty".into()), "{json}");
    assert_eq!(json["slots"][0]["credential"]["acs_credential_id"], credential.as_str(), "{json}");
    assert!(!json.to_string().contains("key_a") && !json.to_string().contains("\"data\""), "{json}");

    // With the property's keys the whole card is read.
    let file = desk.directory.path().join("card.mfd");
    ok(&config, &["dump", file.to_str().unwrap(), "--with-keys"]);
    assert!(std::fs::read(&file).unwrap() == encoder.dump(), "the dump is not the card");

    let before = encoder.dump();
    let plan = ok(&config, &["erase", "--dry-run"]);
    assert!(plan.contains("write block 4"), "{plan}");
    let output = card(&config, &["erase"]);
    assert!(!output.status.success() && stderr(&output).contains("erase deadbeef"), "{}", stderr(&output));
    assert!(encoder.dump() == before, "nobody has confirmed it");
    let other = card(&config, &["erase", "0badcafe"]);
    assert!(!other.status.success(), "another card was named");
    assert!(ok(&config, &["erase", "--yes"]).contains(&credential));
    assert!(ok(&config, &["erase", "deadbeef"]).contains("no credential was on the card"));
    assert!(ok(&config, &["info"]).contains("credential  none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_leaves_in_the_middle_is_told_of_with_what_was_written() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let image = desk.directory.path().join("image.json");
    let write = |block: u8| format!(r#"{{"write":"block","block":{block},"data":"{}"}}"#, "5a".repeat(16));
    let writes: Vec<String> = [20, 21, 22].map(write).to_vec();
    std::fs::write(&image, format!(r#"{{"card":"classic-1k","writes":[{}]}}"#, writes.join(","))).unwrap();
    desk.encoders[0].control("tear 2 partial");
    let output = card(&desk.config_file(), &["write", "--raw", image.to_str().unwrap(), "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert!(!output.status.success());
    assert_eq!(told["fault"]["kind"], "card_left", "{told}");
    assert_eq!(told["report"]["written"], serde_json::json!([20, 21]), "{told}");
    assert_eq!(told["report"]["verified"], serde_json::json!([]), "{told}");

    // The same card again: what is missing is written, and all of it is verified.
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for_card(0, Some("deadbeef")).await;
    let told = ok(&desk.config_file(), &["write", "--raw", image.to_str().unwrap(), "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["report"]["verified"], serde_json::json!([20, 21, 22]), "{told}");
    let memory = desk.encoders[0].dump();
    assert!(memory[20 * 16..23 * 16].iter().all(|byte| *byte == 0x5A));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ntag_is_prepared_shown_and_dumped_with_its_password_only_when_keys_are_asked_for() {
    let desk = Desk::start(crate::desk::Setup {
        encoders: &[("Front Desk", Some("ntag213:04a1b2c3d4e5f6"))],
        ..crate::desk::Setup::default()
    })
    .await;
    desk.wait_for_card(0, Some("04a1b2c3d4e5f6")).await;
    let config = desk.config_file();
    let encoder = &desk.encoders[0];
    assert!(ok(&config, &["personalize"]).contains("is prepared"));
    let info = ok(&config, &["info"]);
    assert!(info.contains("MMMC AAAA AAAA AAAA AAAA AABB"), "{info}");
    let file = |name: &str| desk.directory.path().join(name);
    let (without, with) = (file("without.mfd"), file("with.mfd"));
    ok(&config, &["dump", without.to_str().unwrap()]);
    ok(&config, &["dump", with.to_str().unwrap(), "--with-keys"]);
    let memory = encoder.dump();
    let password = &memory[43 * 4..44 * 4];
    assert_ne!(password, [0xFF; 4], "the card has a password of its own");
    assert_eq!(std::fs::read(&without).unwrap()[43 * 4..44 * 4], [0; 4]);
    assert_eq!(std::fs::read(&with).unwrap()[43 * 4..44 * 4], *password);

    // Writing is closed on it, and opened with what this property has: only the user's page is written.
    let mut wanted = memory;
    wanted[39 * 4..40 * 4].copy_from_slice(b"desk");
    std::fs::write(&without, &wanted).unwrap();
    let told = ok(&config, &["write", without.to_str().unwrap()]);
    assert!(told.contains("1 pages written, 35 were right before, 36 verified"), "{told}");
    assert!(encoder.dump() == wanted, "not what was wanted");
}
