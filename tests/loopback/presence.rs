//! Cards put down and taken away, as `/encoderd/v1/encoders` shows them.

use crate::desk::{Desk, Readers, Setup};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn placing_and_removing_a_card_shows() {
    let desk = Desk::start(Setup { encoders: &[("Front Desk", None)], ..Setup::default() }).await;
    desk.wait_for_card(0, None).await;
    let (mut seen, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let placed = Instant::now();
        desk.encoders[0].control("place classic-1k:0badcafe");
        desk.wait_for_card(0, Some("0badcafe")).await;
        seen.push(placed.elapsed());
        let removed = Instant::now();
        desk.encoders[0].control("remove");
        desk.wait_for_card(0, None).await;
        gone.push(removed.elapsed());
    }
    println!("placed seen after {seen:?}, removed after {gone:?}");
    assert_quick(&seen);
    assert_quick(&gone);
}

/// A second is promised. The machine may be busy with something else once or twice, not three times.
fn assert_quick(times: &[Duration]) {
    assert!(times.iter().any(|time| *time < Duration::from_secs(1)), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resting_card_never_flickers() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let live = desk.live().await;
        assert_eq!(live[0]["presence"], "present", "{live:?}");
    }
    let looks = desk.encoders[0].stats().detects;
    match crate::READERS {
        Readers::Serial => assert!(looks > 5, "the field was looked at {looks} times only"),
        Readers::Pcsc { .. } => assert!(looks <= 4, "the reader says when a card comes: {looks} looks are too many"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_error_shows_and_goes_with_the_card() {
    let desk = Desk::start(Setup { encoders: &[("Front Desk", None)], ..Setup::default() }).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let placed = Instant::now();
        desk.encoders[0].control("place unknown:01020304");
        desk.wait_for("format error", |encoders| {
            encoders[0]["fault"]["error_type"] == "incompatible_card_format" && encoders[0]["card_number"] == "01020304"
        })
        .await;
        seen.push(placed.elapsed());
        desk.encoders[0].control("remove");
        desk.wait_for("no fault", |encoders| encoders[0]["fault"].is_null()).await;
    }
    assert_quick(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_encoder_says_so_everywhere() {
    let mut desk = Desk::simple().await;
    assert_eq!(desk.live().await[0]["simulated"], true);
    assert!(desk.status().await.encoders.iter().all(|encoder| encoder.simulated));
}
