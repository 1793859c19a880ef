//! Many readers on one PC, of one model, half of them without serial numbers, plugged in in any order, with a serial
//! encoder among them: no job ever reaches another encoder than its own.

use crate::desk::{Desk, ReaderSetup, Setup, VirtualEncoder};
use crate::fake::{CLASSIC_1K, Device, Fake};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const READERS: usize = 8;

/// `ORDERS=200` runs so many.
fn orders() -> usize {
    std::env::var("ORDERS").map_or(50, |text| text.parse().expect("ORDERS is a number"))
}

/// Numbers in an order that looks like none: Knuth's multiplicative generator, so that a failure can be run again.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn uid(reader: usize) -> String {
    format!("c0ffee{reader:02x}")
}

/// The encoder of the API that has this card on it.
fn id_with_card(live: &[Value], card: &str) -> Option<String> {
    let encoder = live.iter().find(|encoder| encoder["card_number"] == card)?;
    encoder["acs_encoder_id"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_readers_plugged_in_in_any_order_keep_their_names() {
    let desk = Desk::start(Setup { on_ptys: &[("Serial", Some("classic-1k:c0ffee99"))], ..Setup::default() }).await;
    let bus = desk.directory.path().join("bus");
    let readers: Vec<VirtualEncoder> = (0..READERS)
        .map(|reader| {
            let card = format!("classic-1k:{}", uid(reader));
            let name = format!("reader-{reader}");
            let serial = (reader % 2 == 0).then_some(&*name);
            let setup = ReaderSetup { profile: "acr122u", usb_port: format!("2-{}", reader + 1), serial };
            VirtualEncoder::start_reader(&bus, &name, &setup, Some(&card), &[])
        })
        .collect();
    let all_there = |live: &[Value]| {
        live.iter().filter(|encoder| encoder["state"] == "online" && !encoder["card_number"].is_null()).count()
            == READERS + 1
    };
    desk.wait_for("nine encoders with their cards", all_there).await;
    let live = desk.live().await;
    let ids: Vec<String> = (0..READERS).map(|reader| id_with_card(&live, &uid(reader)).unwrap()).collect();
    let mut shuffle = Shuffle(7);
    let (mut jobs, mut names) = (0, std::collections::BTreeSet::new());
    for order in 0..orders() {
        for reader in &readers {
            reader.control(&format!("unplug {}", 30 + shuffle.next(200)));
        }
        // Until the last one is back.
        tokio::time::sleep(Duration::from_millis(250)).await;
        desk.wait_for("all there again", all_there).await;
        names.extend(desk.live().await.iter().map(|encoder| encoder["port"].to_string()));
        let one = usize::try_from(shuffle.next(READERS as u64)).unwrap();
        let credential = desk.credential(1).await;
        let scans = (0..READERS).map(|reader| {
            let (desk, id, credential) = (&desk, &ids[reader], &credential);
            async move {
                let (path, body) = if reader == one {
                    ("encode", json!({"acs_encoder_id": id, "acs_credential_id": credential}))
                } else {
                    ("scan", json!({"acs_encoder_id": id}))
                };
                let path = format!("/acs/encoders/{path}_credential");
                loop {
                    let attempt = desk.settled(desk.get(&path, body.clone(), "action_attempt").await).await;
                    // pcscd may tell of a reader that has come back that it went away.
                    if attempt["error"]["type"] != "encoder_not_online" {
                        return attempt;
                    }
                    desk.wait_for("all there again", all_there).await;
                }
            }
        });
        for (reader, attempt) in join_all(scans).await.into_iter().enumerate() {
            assert_eq!(attempt["status"], "success", "order {order}, reader {reader}: {attempt}\n{}", desk.log());
            let result = &attempt["result"];
            let on_card = if reader == one {
                &result["card_number"]
            } else {
                &result["acs_credential_on_encoder"]["card_number"]
            };
            // A card that was never written says nothing of itself.
            assert!(
                *on_card == uid(reader) || (reader != one && on_card.is_null()),
                "order {order}, reader {reader}: {attempt}"
            );
            jobs += 1;
        }
        assert_eq!(
            desk.scan_well(0).await["acs_credential_on_encoder"],
            Value::Null,
            "nothing was written to the serial one"
        );
    }
    println!("{jobs} jobs in {} orders, {} names in PC/SC, none on a wrong reader", orders(), names.len());
    assert!(names.len() > READERS + 1, "the readers' names in PC/SC never changed: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_at_once_on_serial_and_pcsc_encoders_are_never_mixed_up() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef")), ("Concierge", Some("classic-1k:0badcafe"))],
        on_ptys: &[("Serial", Some("classic-1k:c0ffee99"))],
        ..Setup::default()
    })
    .await;
    for _ in 0..10 {
        let credentials = [desk.credential(1).await, desk.credential(2).await, desk.credential(3).await];
        let jobs = credentials.iter().enumerate().map(|(encoder, credential)| desk.encode_well(encoder, credential));
        let encoded = join_all(jobs).await;
        for (card, credential) in ["deadbeef", "0badcafe", "c0ffee99"].into_iter().zip(encoded) {
            assert_eq!(credential["card_number"], card);
        }
        for (encoder, credential) in credentials.iter().enumerate() {
            let scan = desk.scan_well(encoder).await;
            assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], credential.as_str());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_security_key_is_listed_and_left_alone() {
    let mut desk = Desk::start(Setup { encoders: &[("Front Desk", None)], ..Setup::default() }).await;
    // Yubico's ids; pcscd names the reader after libccid's table.
    let device = Device { vendor_id: "1050", product_id: "0407", ..Device::acr122u("3-1", 200) };
    let key = Fake::plug(&desk.directory.path().join("bus"), &device);
    key.place(&CLASSIC_1K);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let listed = loop {
        let pcsc = desk.status().await.pcsc.unwrap();
        if let [reader] = pcsc.not_encoders.as_slice() {
            break reader.clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "{pcsc:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(listed.reader.contains("Yubi"), "{listed:?}");
    assert_eq!(desk.status().await.encoders.len(), 1, "it got no encoder");
    assert_eq!(desk.live().await.len(), 1);
    let sent = key.requests().into_iter().filter(|request| matches!(request[0], 3 | 4)).count();
    assert_eq!(sent, 0, "something was sent to it");
}
