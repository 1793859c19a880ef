//! Links by hand: by the account's names, and from desk to desk only when asked for.

use crate::desk::{Desk, RemoteDesk, Setup};
use encoderd::control::{Answer, LinkedWhere, Request, StatusAnswer, ask};
use std::path::Path;
use std::time::{Duration, Instant};

async fn link(socket: &Path, device: &str, encoder: &str, take_over: bool) -> Result<Answer, String> {
    let request = Request::Link { device: device.to_owned(), encoder: encoder.to_owned(), take_over };
    ask(socket, &request).await.map_err(|error| error.to_string())
}

async fn account(socket: &Path) -> Vec<(String, LinkedWhere)> {
    let Ok(Answer::AccountEncoders(answer)) = ask(socket, &Request::AccountEncoders).await else { panic!("no list") };
    let encoders = answer.encoders.expect("there is a key").into_iter();
    encoders.map(|encoder| (encoder.display_name, encoder.linked)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_is_linked_by_its_name_and_taken_over_only_when_asked_for() {
    let desk =
        Desk::start(Setup { encoders: &[("Front Desk", Some("classic-1k:deadbeef"))], ..Setup::default() }).await;
    let remote = RemoteDesk::start(&desk, None, &[]);
    desk.wait_for("both", |live| live.iter().filter(|encoder| encoder["state"] == "online").count() == 2).await;
    let (here, there) = (desk.state_dir().join("encoderd.sock"), remote.state_dir.join("encoderd.sock"));
    let mut listed = account(&here).await;
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [("Front Desk".to_owned(), LinkedWhere::Here), ("Remote".to_owned(), LinkedWhere::Elsewhere)];
    assert_eq!(listed, expected);
    let Ok(Answer::AccountEncoders(none)) = ask(&there, &Request::AccountEncoders).await else { panic!("no answer") };
    assert_eq!(none.encoders, None, "that desk has no API key");
    assert!(link(&there, "Remote", "Front Desk", false).await.unwrap_err().contains("api_key_file"));
    assert!(link(&here, "Front Desk", "Pool Bar", false).await.unwrap_err().contains("\"Remote\""));
    let refused = link(&here, "Front Desk", "Remote", false).await.unwrap_err();
    assert!(refused.contains("--take-over") && refused.contains("another desk"), "{refused}");
    assert_eq!(account(&here).await.iter().filter(|(_, linked)| *linked == LinkedWhere::Here).count(), 1);
    assert_eq!(link(&here, "Front Desk", "Remote", true).await, Ok(Answer::Done));
    // The other desk hears of it, and does not claim it back.
    let patience = Instant::now() + crate::desk::PATIENCE;
    loop {
        let Ok(Answer::Status(StatusAnswer { encoders, .. })) = ask(&there, &Request::Status).await else {
            panic!("no status")
        };
        if encoders[0].acs_encoder_id.is_none() {
            break;
        }
        assert!(Instant::now() < patience, "{encoders:?}");
        // It tells what it has every 30 s; a new name is told at once.
        let rename = Request::Rename { device: encoders[0].device_id.clone(), name: "Elsewhere".to_owned() };
        assert_eq!(ask(&there, &rename).await.unwrap(), Answer::Done);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let scan = desk.scan_well(0).await;
    assert!(scan["acs_credential_on_encoder"].is_null(), "{scan}");
}
