//! Our hub and fake-seam-connect side by side: four reads, memory, and the time to start.

use crate::desk::{Desk, Property, guest, text};
use crate::figures::{Figure, Report, Times, ms};
use crate::http::Pool;
use crate::server::Server;
use crate::{Settings, note};
use encoderd::clock;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Users in the lists of either side.
const USERS: usize = 10;

/// After so many requests memory is looked at again.
const REQUESTS_BEFORE_MEMORY: usize = 20_000;

/// A request that either side is asked.
struct Read {
    name: &'static str,
    ours: Side,
    peer: Side,
}

/// One side's form of it, and what came of it.
struct Side {
    request: Vec<u8>,
    body_bytes: usize,
    p50: Vec<f64>,
    p99: Vec<f64>,
    per_second: Vec<f64>,
}

impl Side {
    async fn new(server: &Server, target: &str) -> anyhow::Result<Self> {
        let request = server.api.get(target);
        let body_bytes = server.api.connect().await?.good(&request).await?.len();
        Ok(Self { request, body_bytes, p50: Vec::new(), p99: Vec::new(), per_second: Vec::new() })
    }

    async fn measure(&mut self, server: &Server, warm_up: usize, count: usize) -> anyhow::Result<()> {
        let times = exchanges(server, &self.request, warm_up, count).await?;
        self.p50.push(times.quantile_ms(50));
        self.p99.push(times.quantile_ms(99));
        self.per_second.push(times.per_second());
        Ok(())
    }
}

/// Makes requests one after another on one connection; each from its sending to the last byte of its answer.
async fn exchanges(server: &Server, request: &[u8], warm_up: usize, count: usize) -> anyhow::Result<Times> {
    let mut connection = server.api.connect().await?;
    for _ in 0..warm_up {
        connection.good(request).await?;
    }
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let sent = clock::now();
        connection.good(request).await?;
        times.push(clock::now().duration_since(sent));
    }
    Ok(Times::new(times))
}

/// Reads and memory.
pub(crate) async fn reads(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    note("starting both servers")?;
    let ours = Server::ours(&directory.join("reads"), settings.database.as_deref()).await?;
    let peer = Server::peer(&directory.join("reads")).await?;
    // What is left to do after the first answer is no part of the start, nor of the memory afterwards.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let memory_at_start = (ours.memory_mb()?, peer.memory_mb()?);
    let mut reads = filled(&ours, &peer).await?;

    note(&format!("{REQUESTS_BEFORE_MEMORY} requests to each, then memory"))?;
    for read in &reads {
        let share = REQUESTS_BEFORE_MEMORY / reads.len();
        exchanges(&ours, &read.ours.request, 0, share).await?;
        exchanges(&peer, &read.peer.request, 0, share).await?;
    }
    let memory = (ours.memory_mb()?, peer.memory_mb()?);

    for round in 0..settings.rounds {
        note(&format!("round {} of {}", round + 1, settings.rounds))?;
        for read in &mut reads {
            // In turn, so that neither always has the warmer machine.
            if round % 2 == 0 {
                read.ours.measure(&ours, settings.warm_up, settings.timed).await?;
                read.peer.measure(&peer, settings.warm_up, settings.timed).await?;
            } else {
                read.peer.measure(&peer, settings.warm_up, settings.timed).await?;
                read.ours.measure(&ours, settings.warm_up, settings.timed).await?;
            }
        }
    }

    for read in &reads {
        let of = |side: &Side, values: fn(&Side) -> &Vec<f64>| Figure::new(values(side).clone());
        let pair = |values| (of(&read.ours, values), of(&read.peer, values));
        let name = read.name;
        let (a, b) = pair(|side| &side.p50);
        report.beside(&format!("`{name}` p50"), "ms", &a, &b, Some(2));
        let (a, b) = pair(|side| &side.p99);
        report.beside(&format!("`{name}` p99"), "ms", &a, &b, Some(3));
        let (a, b) = pair(|side| &side.per_second);
        report.beside(&format!("`{name}`"), "requests/s", &a, &b, None);
        let bytes = |side: &Side| u32::try_from(side.body_bytes).map(f64::from).map(Figure::once);
        report.beside(&format!("`{name}` body"), "bytes", &bytes(&read.ours)?, &bytes(&read.peer)?, None);
    }
    let (a, b) = memory_at_start;
    report.beside("memory after the start", "MB", &Figure::once(a), &Figure::once(b), Some(4));
    let (a, b) = memory;
    report.beside("memory after 20,000 requests", "MB", &Figure::once(a), &Figure::once(b), Some(4));
    ours.stop().await
}

/// Fills both sides with the same: one system, so many users, one attempt that was successful.
async fn filled(ours: &Server, peer: &Server) -> anyhow::Result<Vec<Read>> {
    let (api, bridge) = (Pool::new(ours.api.clone()), Pool::new(ours.bridge()?));
    let property = Property::new(&api, USERS).await?;
    // The fullest body that an attempt has.
    let credential = property.credential(&api).await?;
    let attempt = Desk::new(&bridge, 1).await?.encode_once(&api, &bridge, &credential).await?;

    let api = Pool::new(peer.api.clone());
    let systems: Value = api.post("/acs/systems/list", &json!({})).await?;
    let peer_system = text(&systems, "/acs_systems/0/acs_system_id")?;
    for number in 0..USERS {
        let _: Value = api.post("/acs/users/create", &guest(&peer_system, number)).await?;
    }
    let made: Value = api.post("/locks/lock_door", &json!({ "device_id": "august_device_1" })).await?;
    let peer_attempt = text(&made, "/action_attempt/action_attempt_id")?;

    let mut reads = Vec::new();
    for (name, ours_target, peer_target) in [
        ("acs/systems/list", "/acs/systems/list".to_owned(), "/acs/systems/list".to_owned()),
        (
            "acs/systems/get",
            format!("/acs/systems/get?acs_system_id={}", property.acs_system_id),
            format!("/acs/systems/get?acs_system_id={peer_system}"),
        ),
        (
            "acs/users/list",
            format!("/acs/users/list?acs_system_id={}", property.acs_system_id),
            format!("/acs/users/list?acs_system_id={peer_system}"),
        ),
        (
            "action_attempts/get",
            format!("/action_attempts/get?action_attempt_id={attempt}"),
            format!("/action_attempts/get?action_attempt_id={peer_attempt}"),
        ),
    ] {
        let (ours, peer) = (Side::new(ours, &ours_target).await?, Side::new(peer, &peer_target).await?);
        reads.push(Read { name, ours, peer });
    }
    Ok(reads)
}

/// The time from the spawn to the first answer, both in turn.
pub(crate) async fn starts(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    note(&format!("{} starts of each", settings.starts))?;
    let (mut first, mut again, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..settings.starts {
        let place = directory.join(format!("start-{number}"));
        let server = Server::ours(&place, settings.database.as_deref()).await?;
        first.push(ms(server.start_time));
        server.stop().await?;
        peer.push(ms(Server::peer(&place).await?.start_time));
        let server = Server::ours(&place, settings.database.as_deref()).await?;
        again.push(ms(server.start_time));
        server.stop().await?;
    }
    let peer = Figure::new(peer);
    report.beside("start, making the database", "ms", &Figure::new(first), &peer, Some(5));
    report.beside("start, the database is there", "ms", &Figure::new(again), &peer, Some(5));
    Ok(())
}
