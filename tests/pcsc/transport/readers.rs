//! Who each reader is.

use super::own_process::{in_own_process, readers, watched};
use crate::fake::{CLASSIC_1K, Device, Fake};
use encoderd::clock;
use encoderd::discovery::pcsc::{Readers, Role, Seen};
use encoderd::transport::pcsc::UsbAddress;
use pcsc::{Context, Disposition, Protocols, Scope, ShareMode};
use std::ffi::CString;
use std::time::Duration;

fn ids(seen: &[Seen]) -> Vec<&str> {
    let mut ids: Vec<&str> = seen.iter().map(|reader| reader.device_id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_reader_is_its_serial_number_or_its_port() {
    in_own_process("transport::readers::a_reader_is_its_serial_number_or_its_port", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let mut known = Readers::new();
        assert!(known.look(&snapshot.borrow().clone()).await.is_empty());
        let numbered = Device { serial: Some("A1B2C3".into()), ..Device::acr122u("1-1.2", 7) };
        let _one = Fake::plug(&bus, &numbered);
        readers(&mut snapshot, 1).await;
        let other = Fake::plug(&bus, &Device { serial: Some("0".into()), ..Device::acr122u("1-3", 8) });
        readers(&mut snapshot, 2).await;
        let seen = known.look(&snapshot.borrow().clone()).await;
        assert_eq!(ids(&seen), ["pcsc-072f:2200-1-3", "usb-072f:2200-A1B2C3"]);
        assert_eq!(seen[0].display_name, "ACS ACR122U PICC Interface (A1B2C3)");
        assert_eq!(seen[0].address, Some(UsbAddress { bus: 1, device: 7 }));
        assert_eq!(seen[0].profile.name, "acr122u");
        assert!(seen.iter().all(|reader| reader.role == Role::Encoder && !reader.simulated));
        // Replugged into another port, with another number.
        drop(other);
        readers(&mut snapshot, 1).await;
        let _other = Fake::plug(&bus, &Device::acr122u("1-4", 9));
        readers(&mut snapshot, 2).await;
        let seen = known.look(&snapshot.borrow().clone()).await;
        assert_eq!(ids(&seen), ["pcsc-072f:2200-1-4", "usb-072f:2200-A1B2C3"]);
    });
}

#[test]
fn two_that_cannot_be_told_apart_are_both_refused() {
    in_own_process("transport::readers::two_that_cannot_be_told_apart_are_both_refused", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let mut known = Readers::new();
        let cloned = |port, devnum| Device { serial: Some("RR464-000123".into()), ..Device::acr122u(port, devnum) };
        let _one = Fake::plug(&bus, &cloned("1-1", 4));
        readers(&mut snapshot, 1).await;
        assert_eq!(known.look(&snapshot.borrow().clone()).await[0].role, Role::Encoder);
        let two = Fake::plug(&bus, &cloned("1-2", 5));
        readers(&mut snapshot, 2).await;
        let seen = known.look(&snapshot.borrow().clone()).await;
        for (reader, other) in [(0, 1), (1, 0)] {
            assert_eq!(seen[reader].role, Role::Ambiguous { with: vec![seen[other].reader_name.clone()] });
        }
        drop(two);
        readers(&mut snapshot, 1).await;
        assert_eq!(known.look(&snapshot.borrow().clone()).await[0].role, Role::Encoder);
    });
}

#[test]
fn what_is_no_encoder_is_never_connected_to() {
    in_own_process("transport::readers::what_is_no_encoder_is_never_connected_to", |bus| async move {
        let (pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let mut known = Readers::new();
        // Yubikey 4/5 OTP+FIDO+CCID, in libccid's list of readers.
        let _key = Fake::plug(&bus, &Device { vendor_id: "1050", product_id: "0407", ..Device::acr122u("1-1", 4) });
        let name = readers(&mut snapshot, 1).await.remove(0).name;
        assert!(name.contains("YubiKey"), "{name}");
        // Held by somebody who keeps everybody out: a connection to it would wait, or be refused.
        let context = Context::establish(Scope::System).unwrap();
        let name = CString::new(name).unwrap();
        let card = context.connect(&name, ShareMode::Direct, Protocols::UNDEFINED).unwrap();
        let connections = || pcscd.log().matches("powerState").count();
        let before = connections();
        let start = clock::now();
        let seen = known.look(&snapshot.borrow().clone()).await;
        assert_eq!(seen[0].role, Role::NotAnEncoder { why: "a security key, not an encoder" });
        // A connection would have been waited for.
        assert!(clock::now() - start < Duration::from_secs(1));
        assert_eq!(connections(), before);
        assert!(card.disconnect(Disposition::LeaveCard).is_ok());
    });
}

#[test]
fn a_reader_that_cannot_be_asked_is_asked_again() {
    in_own_process("transport::readers::a_reader_that_cannot_be_asked_is_asked_again", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let mut known = Readers::new();
        let reader = Fake::plug(&bus, &Device::acr122u("1-1", 4));
        reader.place(&CLASSIC_1K);
        let _other = Fake::plug(&bus, &Device::acr122u("1-2", 5));
        snapshot.wait_for(|seen| seen.readers.len() == 2 && !seen.readers[0].atr.is_empty()).await.unwrap();
        let seen = snapshot.borrow().clone();
        let context = Context::establish(Scope::System).unwrap();
        let name = CString::new(seen.readers[0].name.clone()).unwrap();
        let held = context.connect(&name, ShareMode::Exclusive, Protocols::ANY).unwrap();
        let found = known.look(&seen).await;
        assert_eq!(found[0].role, Role::Unidentified);
        assert_eq!(found[1].role, Role::Encoder);
        assert!(held.disconnect(Disposition::LeaveCard).is_ok());
        // In a transaction: its driver is not heard, the other reader's is, and nobody waits for it twice.
        let mut held = context.connect(&name, ShareMode::Shared, Protocols::ANY).unwrap();
        let transaction = held.transaction().unwrap();
        let start = clock::now();
        let found = known.look(&seen).await;
        assert_eq!((&found[0].role, &found[1].role), (&Role::Unidentified, &Role::Encoder));
        assert!((2..4).contains(&(clock::now() - start).as_secs()));
        let start = clock::now();
        assert_eq!(known.look(&seen).await[0].role, Role::Unidentified);
        // Not another two seconds.
        assert!(clock::now() - start < Duration::from_secs(1));
        assert!(transaction.end(Disposition::LeaveCard).is_ok());
        assert!(held.disconnect(Disposition::LeaveCard).is_ok());
        let start = clock::now();
        loop {
            let found = known.look(&seen).await;
            if found[0].role == Role::Encoder {
                assert_eq!(found[0].device_id, "pcsc-072f:2200-1-1");
                break;
            }
            assert!(clock::now() - start < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_driver_of_ours_makes_a_reader_simulated() {
    in_own_process("transport::readers::a_driver_of_ours_makes_a_reader_simulated", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let virtual_reader = Device { vendor: Some("encoderd virtual reader"), ..Device::acr122u("1-1", 4) };
        let _reader = Fake::plug(&bus, &virtual_reader);
        readers(&mut snapshot, 1).await;
        assert!(Readers::new().look(&snapshot.borrow().clone()).await[0].simulated);
    });
}
