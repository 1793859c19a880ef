//! Faults on the way to the hub, and behind it. Real sockets; the hub is the real one where a hub answers.

use super::bench::{Bench, start_tls};
use super::{Fault, Mend, On, Plant, Planting};
use crate::control::Backlog;
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::json;

/// The desk works for what says this.
fn answered<'a>(bench: &'a mut Bench, answer: &'static str) -> Planting<'a> {
    Box::pin(async move {
        let url = bench.answers(answer).await;
        bench.work_for(&url);
    })
}

fn waits(bench: &Bench, minutes: i64) -> Backlog {
    Backlog { count: 2, oldest_at: Some(bench.machine.now - SignedDuration::from_mins(minutes)) }
}

fn fault(
    name: &'static str,
    plant: Plant,
    check: &'static str,
    message: &'static [&'static str],
    remedy: &'static str,
) -> Fault {
    Fault { name, on: On::Service, plant, check, message, remedy, mend: Mend::No }
}

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault(
            "the hub's name has no address",
            Plant::Now(|bench| {
                bench.work_for("https://hub.invalid");
            }),
            "hub_dns",
            &["hub.invalid has no address"],
            "getent hosts hub.invalid",
        ),
        fault(
            "the hub's port is closed",
            Plant::Now(|bench| {
                let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                bench.work_for(&format!("http://{free}"));
            }),
            "hub_tcp",
            &["127.0.0.1 refuses connections at port"],
            "sudo systemctl start encoderd",
        ),
        fault(
            "the hub's certificate is signed by itself",
            Plant::Now(|bench| {
                start_tls(bench);
            }),
            "hub_tls",
            &["this PC trusts nobody who signed its certificate"],
            "sudo update-ca-certificates",
        ),
        fault(
            "the hub speaks no TLS",
            Plant::Later(|bench| {
                Box::pin(async move {
                    let url = bench.answers("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
                    bench.work_for(&url.replace("http:", "https:"));
                })
            }),
            "hub_tls",
            &["speaks no TLS"],
            "set [cloud] url to http://",
        ),
        fault(
            "something else answers with other JSON",
            Plant::Later(|bench| answered(bench, "HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"status\":\"fine\"}")),
            "hub_http",
            &["no hub of encoderd's"],
            "correct [cloud] url",
        ),
        fault(
            "a guest network's portal is in between",
            Plant::Later(|bench| {
                answered(bench, "HTTP/1.1 302 Found\r\nlocation: https://login.example/\r\ncontent-length: 0\r\n\r\n")
            }),
            "hub_http",
            &["sends on to https://login.example/", "portal"],
            "open http://",
        ),
        fault(
            "a proxy asks for a password",
            Plant::Later(|bench| answered(bench, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")),
            "hub_http",
            &["asks for a password", "proxy"],
            "through that proxy",
        ),
        fault(
            "the hub cannot work",
            Plant::Later(|bench| answered(bench, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")),
            "hub_http",
            &["answers 503"],
            "sudo journalctl -u encoderd",
        ),
        fault(
            "the hub ends connections without an answer",
            Plant::Later(|bench| answered(bench, "")),
            "hub_http",
            &["without an answer"],
            "curl --verbose",
        ),
        fault(
            "the clock is far from the hub's",
            Plant::Later(|bench| {
                answered(
                    bench,
                    "HTTP/1.1 200 OK\r\ndate: Tue, 03 Mar 2026 08:00:00 GMT\r\ncontent-length: 11\r\n\r\n{\"ok\":true}",
                )
            }),
            "clock",
            &["and the hub's says 2026-03-03T08:00:00Z"],
            "sudo timedatectl set-ntp true",
        ),
        fault(
            "the hub refuses the token",
            Plant::Later(|bench| {
                Box::pin(async move {
                    let url = bench.start_hub(false).await;
                    bench.work_for(&url);
                })
            }),
            "hub_token",
            &["refuses this desk's token"],
            "sudo encoderd pair http://127.0.0.1",
        ),
        fault(
            "an encoder is linked to nothing at a remote hub",
            Plant::Now(|bench| {
                let status = bench.status.as_mut().unwrap();
                status.encoders[0].acs_encoder_id = None;
                let url = status.hub_url.clone();
                bench.work_for(&url);
                bench.status.as_mut().unwrap().hub_reachable = true;
            }),
            "hub_link",
            &["\"Front Desk\" works and is linked to no encoder"],
            "sudo encoderd encoders link usb-0403:6001-A1",
        ),
        fault(
            "a job was begun and never ended",
            Plant::Now(|bench| {
                bench.status.as_mut().unwrap().journal = waits(bench, 30);
            }),
            "journal",
            &["have not ended: 2, the oldest 30 minutes ago"],
            "encode it again",
        ),
        fault(
            "results are not acknowledged",
            Plant::Now(|bench| {
                bench.status.as_mut().unwrap().outbox = waits(bench, 12);
            }),
            "outbox",
            &["has not acknowledged: 2, the oldest 12 minutes"],
            "sudo journalctl -u encoderd",
        ),
        fault(
            "a webhook's receiver fails",
            Plant::Later(|bench| Box::pin(webhook_to_a_broken_receiver(bench))),
            "webhooks",
            &["does not take its events", "it answers 500"],
            "curl --include",
        ),
    ]
}

/// A webhook at the real hub, an event for it, and a receiver that answers 500.
async fn webhook_to_a_broken_receiver(bench: &mut Bench) {
    let receiver = bench.answers("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let url = bench.status.as_ref().unwrap().hub_url.clone();
    let client = reqwest::Client::new();
    let post = async |path: &str, body: serde_json::Value| {
        let request = client.post(format!("{url}{path}")).bearer_auth(bench.api_key.expose_secret()).json(&body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json::<serde_json::Value>().await.unwrap()
    };
    let created = post("/webhooks/create", json!({ "url": receiver })).await;
    let webhook = created["webhook"]["webhook_id"].as_str().unwrap().to_owned();
    post("/acs/users/create", json!({ "full_name": "A Guest", "acs_system_id": system(&url, bench).await })).await;
    let deliveries = format!("{url}/encoderd/v1/webhook_deliveries?webhook_id={webhook}");
    let patience = crate::clock::Deadline::after(std::time::Duration::from_secs(20));
    loop {
        let answer = client.get(&deliveries).bearer_auth(bench.api_key.expose_secret()).send().await.unwrap();
        let body = answer.json::<serde_json::Value>().await.unwrap();
        if body["webhook_deliveries"][0]["last_status"] == 500 {
            return;
        }
        assert!(!patience.has_passed(), "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn system(url: &str, bench: &Bench) -> String {
    let request =
        reqwest::Client::new().post(format!("{url}/acs/systems/list")).bearer_auth(bench.api_key.expose_secret());
    let body = request.json(&json!({})).send().await.unwrap().json::<serde_json::Value>().await.unwrap();
    body["acs_systems"][0]["acs_system_id"].as_str().unwrap().to_owned()
}
