//! One reader of each profile on one desk: each is recognised by its name, and each makes a key and reads it.

use crate::desk::{Desk, ReaderSetup, Setup, VirtualEncoder};
use encoder_protocols::dialect::pcsc_storage::PROFILES;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_each_profile_makes_a_key() {
    let mut desk = Desk::start(Setup::default()).await;
    let bus = desk.directory.path().join("bus");
    for (index, profile) in PROFILES.iter().enumerate() {
        let setup =
            ReaderSetup { profile: profile.name, usb_port: format!("1-{}", index + 1), serial: Some(profile.name) };
        let card = format!("classic-1k:c0ffee{index:02x}");
        desk.encoders.push(VirtualEncoder::start_reader(&bus, profile.name, &setup, Some(&card), &[]));
    }
    desk.wait_for("a reader of each profile with its card", |encoders| {
        encoders.iter().filter(|encoder| encoder["state"] == "online" && !encoder["card_number"].is_null()).count()
            == PROFILES.len()
    })
    .await;
    for (index, profile) in PROFILES.iter().enumerate() {
        for _ in 0..2 {
            let credential = desk.credential(2).await;
            let encoded = desk.encode_well(index, &credential).await;
            assert_eq!(encoded["card_number"], format!("c0ffee{index:02x}"), "{}", profile.name);
            let scan = desk.scan_well(index).await;
            let on_card = &scan["acs_credential_on_seam"]["acs_credential_id"];
            assert_eq!(*on_card, credential.as_str(), "{}", profile.name);
        }
    }
}
