//! Our hub alone: encodes accepted and carried out, how soon jobs reach their desks, and ten thousand desks that wait.

use crate::desk::{Board, Desk, Property, encode, text};
use crate::figures::{Figure, Goal, Report, Times, rate};
use crate::http::Pool;
use crate::server::Server;
use crate::{Settings, note};
use anyhow::{Context as _, bail, ensure};
use encoderd::clock::{self, Deadline};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Desks at work.
const DESKS: usize = 200;
/// Encoders of each of them.
const ENCODERS: usize = 5;
/// Callers at a time where the hub is given as much as it takes.
const CALLERS: usize = 32;

/// Jobs a second in the measurement of dispatch.
const JOBS_PER_SECOND: u32 = 200;
/// With fewer it is no measurement at that rate.
const JOBS_A_SECOND_MIN: f64 = 190.0;
/// A job that is not done after this counts as lost; an attempt lives 13 s.
const JOB_TIME_MAX: Duration = Duration::from_secs(20);

/// What else has files open, in the hub and in this program: connections of desks at work and of callers, the database.
const FILES_BESIDE_POLLS: usize = 2_000;

const DISPATCH_P99_MS_MAX: f64 = 100.0;
const MEMORY_MB_MAX: f64 = 400.0;

/// A hub with desks at work.
struct Floor {
    hub: Server,
    api: Arc<Pool>,
    bridge: Arc<Pool>,
    board: Arc<Board>,
    desks: Vec<Arc<Desk>>,
    /// An encoder, and the credential that is written on it.
    pairs: Arc<Vec<(Uuid, String)>>,
    /// What goes on beside the measurements; nothing of it ends while all is well.
    at_work: JoinSet<anyhow::Result<Infallible>>,
}

/// Everything that is measured on ours alone.
pub(crate) async fn all(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    raise_file_limit(settings.idle_polls + FILES_BESIDE_POLLS)?;
    note(&format!("a hub, {DESKS} desks with {ENCODERS} encoders each, and a credential for each encoder"))?;
    let mut floor = Floor::new(settings, directory).await?;
    floor.accepts(settings, report).await?;
    floor.put_to_work().await?;
    floor.encodes(settings, report).await?;
    floor.dispatches(settings, "", report).await?;
    floor.idle_polls(settings, report).await?;
    floor.dispatches(settings, &format!(" while {} polls are open", settings.idle_polls), report).await?;
    let memory = floor.hub.memory_mb()?;
    let what = format!("memory after it, with {} polls open", settings.idle_polls);
    report.alone(&what, "MB", &Figure::once(memory), Goal::AtMost(MEMORY_MB_MAX));
    floor.still_at_work()
}

impl Floor {
    async fn new(settings: &Settings, directory: &Path) -> anyhow::Result<Self> {
        let hub = Server::ours(&directory.join("alone"), settings.database.as_deref()).await?;
        let (api, bridge) = (Arc::new(Pool::new(hub.api.clone())), Arc::new(Pool::new(hub.bridge()?)));
        let property = Property::new(&api, 1).await?;
        let desks = {
            let bridge = bridge.clone();
            in_parallel(DESKS, move |_| desk(bridge.clone(), ENCODERS)).await?
        };
        let desks: Vec<_> = desks.into_iter().map(Arc::new).collect();
        let encoders: Vec<Uuid> = desks.iter().flat_map(|desk| desk.encoders.iter().copied()).collect();
        let credentials = {
            let (api, property) = (api.clone(), property.clone());
            in_parallel(encoders.len(), move |_| credential(api.clone(), property.clone())).await?
        };
        let pairs = Arc::new(encoders.into_iter().zip(credentials).collect());
        Ok(Self { hub, api, bridge, board: Arc::default(), desks, pairs, at_work: JoinSet::new() })
    }

    /// Has all desks count as connected for the next seconds.
    async fn breathe(&self) -> anyhow::Result<()> {
        for desk in &self.desks {
            desk.breathe(&self.bridge).await?;
        }
        Ok(())
    }

    async fn put_to_work(&mut self) -> anyhow::Result<()> {
        // The first poll takes a moment.
        self.breathe().await?;
        for desk in &self.desks {
            self.at_work.spawn(desk.clone().work(self.bridge.clone(), self.board.clone()));
        }
        Ok(())
    }

    /// Fails when a desk has failed.
    fn still_at_work(&mut self) -> anyhow::Result<()> {
        match self.at_work.try_join_next() {
            None => Ok(()),
            Some(Ok(Ok(never))) => match never {},
            Some(Ok(Err(error))) => Err(error.context("a desk gave up")),
            Some(Err(error)) => bail!("a desk broke: {error}"),
        }
    }

    /// Encodes accepted while desks are connected and ask for nothing: only what an acceptance itself costs.
    async fn accepts(&mut self, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
        note("encodes, accepted only")?;
        let (mut per_second, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.encode_rounds {
            self.breathe().await?;
            let breath: JoinSet<_> =
                self.desks.iter().map(|desk| keep_breathing(desk.clone(), self.bridge.clone())).collect();
            let begun = clock::now();
            let (api, pairs) = (self.api.clone(), self.pairs.clone());
            let made = in_parallel(self.pairs.len(), move |index| accept(api.clone(), pairs.clone(), index)).await?;
            per_second.push(rate(made.len(), clock::now().duration_since(begun)));
            drop(breath);
            let (times, attempts): (Vec<_>, Vec<_>) = made.into_iter().unzip();
            let times = Times::new(times);
            p50.push(times.quantile_ms(50));
            p99.push(times.quantile_ms(99));
            self.all_ended(&attempts).await?;
        }
        let each = |what: &str| format!("encode requests accepted, {CALLERS} callers at a time{what}");
        report.alone(&each(""), "requests/s", &Figure::new(per_second), Goal::None);
        report.alone(&each(": p50"), "ms", &Figure::new(p50), Goal::None);
        report.alone(&each(": p99"), "ms", &Figure::new(p99), Goal::None);
        Ok(())
    }

    /// Waits until these attempts have ended; without a desk that says something they do after a few seconds.
    async fn all_ended(&self, attempts: &[String]) -> anyhow::Result<()> {
        let end = Deadline::after(JOB_TIME_MAX * 2);
        for attempt in attempts {
            let request = json!({ "action_attempt_id": attempt });
            loop {
                let answer: Value = self.api.post("/action_attempts/get", &request).await?;
                if text(&answer, "/action_attempt/status")? != "pending" {
                    break;
                }
                ensure!(!end.has_passed(), "attempts stay pending");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Whole encodes: accepted, offered, started, reported.
    async fn encodes(&mut self, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
        note("encodes, from the request to the settled attempt")?;
        let mut per_second = Vec::new();
        for _ in 0..settings.encode_rounds {
            let begun = clock::now();
            let end = Deadline::after(settings.encode_time);
            let mut callers = JoinSet::new();
            for caller in 0..CALLERS {
                callers.spawn(whole(self.api.clone(), self.pairs.clone(), self.board.clone(), caller, end));
            }
            let mut done = 0;
            while let Some(count) = callers.join_next().await {
                done += count??;
            }
            per_second.push(rate(done, clock::now().duration_since(begun)));
            self.still_at_work()?;
        }
        let what = format!("encodes carried out, {CALLERS} at a time");
        report.alone(&what, "encodes/s", &Figure::new(per_second), Goal::None);
        Ok(())
    }

    /// Jobs at a steady rate, each measured from its request to its arrival at its desk.
    async fn dispatches(&mut self, settings: &Settings, when: &str, report: &mut Report) -> anyhow::Result<()> {
        let total = settings.dispatch_seconds * JOBS_PER_SECOND;
        note(&format!("{JOBS_PER_SECOND} jobs/s for {} s{when}", settings.dispatch_seconds))?;
        self.board.take();
        let ticks = self.hub.ticks()?;
        let mut jobs = JoinSet::new();
        let begun = clock::now();
        for number in 0..total {
            tokio::time::sleep_until(begun + Duration::from_secs(1) * number / JOBS_PER_SECOND).await;
            let (api, pairs, board) = (self.api.clone(), self.pairs.clone(), self.board.clone());
            jobs.spawn(async move {
                tokio::time::timeout(JOB_TIME_MAX, encode_one(&api, &pairs, &board, usize::try_from(number)?))
                    .await
                    .context("not done in time")?
            });
        }
        let mut lost = 0_u32;
        let mut first_error = None;
        while let Some(done) = jobs.join_next().await {
            if let Err(error) = done? {
                lost += 1;
                first_error.get_or_insert(error);
            }
        }
        let took = clock::now().duration_since(begun);
        if let Some(error) = first_error {
            note(&format!("{lost} of {total} jobs were lost, the first: {error:#}"))?;
        }
        self.still_at_work()?;
        let times = Times::new(self.board.take());
        let busy = u32::try_from(self.hub.ticks()? - ticks).map_or(f64::NAN, f64::from) / took.as_secs_f64();
        let of = |what: &str| format!("dispatch at {JOBS_PER_SECOND} jobs/s{when}: {what}");
        report.alone(&of("p50"), "ms", &Figure::once(times.quantile_ms(50)), Goal::None);
        report.alone(&of("p99"), "ms", &Figure::once(times.quantile_ms(99)), Goal::AtMost(DISPATCH_P99_MS_MAX));
        report.alone(&of("most"), "ms", &Figure::once(times.most_ms()), Goal::None);
        report.alone(&of("not done"), "jobs", &Figure::once(f64::from(lost)), Goal::AtMost(0.0));
        report.alone(
            &of("jobs done"),
            "jobs/s",
            &Figure::once(rate(times.len(), took)),
            Goal::AtLeast(JOBS_A_SECOND_MIN),
        );
        report.alone(&of("processor"), "% of one", &Figure::once(busy), Goal::None);
        Ok(())
    }

    /// Desks that wait, each with an encoder and a poll of its own.
    async fn idle_polls(&mut self, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
        let count = settings.idle_polls;
        let needed = count + FILES_BESIDE_POLLS;
        ensure!(
            self.hub.files_max()? >= u64::try_from(needed)?,
            "the hub may have {} files open and needs {needed} for {count} polls",
            self.hub.files_max()?
        );
        note(&format!("{count} more desks, and a poll of each"))?;
        let memory_before = self.hub.memory_mb()?;
        let bridge = self.bridge.clone();
        for desk in in_parallel(count, move |_| desk(bridge.clone(), 1)).await? {
            self.at_work.spawn(desk.idle(self.bridge.caller().clone()));
        }
        let end = Deadline::after(Duration::from_mins(2));
        while self.hub.files_open()? < count + DESKS {
            self.still_at_work()?;
            ensure!(
                !end.has_passed(),
                "the hub has {} files open, and {count} polls wait to be let in",
                self.hub.files_open()?
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // As long as a poll lasts, and some: each has been asked again.
        note(&format!("{} s with {count} polls open", settings.idle_seconds))?;
        let (ticks, begun) = (self.hub.ticks()?, clock::now());
        let mut memory = Vec::new();
        for _ in 0..settings.idle_seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            memory.push(self.hub.memory_mb()?);
        }
        let took = clock::now().duration_since(begun);
        let busy = u32::try_from(self.hub.ticks()? - ticks).map_or(f64::NAN, f64::from) / took.as_secs_f64();
        self.still_at_work()?;
        report.alone("memory before they came", "MB", &Figure::once(memory_before), Goal::None);
        let what = format!("memory with {count} idle polls");
        report.alone(&what, "MB", &Figure::new(memory), Goal::AtMost(MEMORY_MB_MAX));
        report.alone(&format!("processor with {count} idle polls"), "% of one", &Figure::once(busy), Goal::None);
        Ok(())
    }
}

async fn desk(bridge: Arc<Pool>, encoders: usize) -> anyhow::Result<Desk> {
    Desk::new(&bridge, encoders).await
}

async fn credential(api: Arc<Pool>, property: Property) -> anyhow::Result<String> {
    property.credential(&api).await
}

async fn keep_breathing(desk: Arc<Desk>, bridge: Arc<Pool>) -> anyhow::Result<Infallible> {
    loop {
        desk.breathe(&bridge).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One encode, accepted: how long that took, and the attempt.
async fn accept(api: Arc<Pool>, pairs: Arc<Vec<(Uuid, String)>>, index: usize) -> anyhow::Result<(Duration, String)> {
    let (encoder, credential) = pairs.get(index).context("too few encoders")?;
    let sent = clock::now();
    let attempt = encode(&api, *encoder, credential).await?;
    let took = clock::now().duration_since(sent);
    Ok((took, attempt))
}

/// One encode on the encoder whose turn it is, until its result has settled it.
async fn encode_one(api: &Pool, pairs: &[(Uuid, String)], board: &Board, number: usize) -> anyhow::Result<()> {
    let (encoder, credential) = pairs.get(number % pairs.len()).context("no encoders")?;
    let done = board.sent(*encoder);
    encode(api, *encoder, credential).await?;
    Ok(done.await?)
}

/// Encodes one after another on encoders that no other caller uses, until the time is over; how many.
async fn whole(
    api: Arc<Pool>,
    pairs: Arc<Vec<(Uuid, String)>>,
    board: Arc<Board>,
    caller: usize,
    end: Deadline,
) -> anyhow::Result<usize> {
    let own = pairs.len() / CALLERS;
    let mut done = 0;
    while !end.has_passed() {
        let number = caller * own + done % own;
        let one = encode_one(&api, &pairs, &board, number);
        tokio::time::timeout(JOB_TIME_MAX, one).await.context("not done in time")??;
        done += 1;
    }
    Ok(done)
}

/// Does something so many times, as many at a time as there are callers.
async fn in_parallel<T, F, W>(count: usize, work: W) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
    W: Fn(usize) -> F + Send + Sync + 'static,
{
    let (next, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(work));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS.min(count) {
        let (next, work) = (next.clone(), work.clone());
        callers.spawn(async move {
            let mut made = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(made);
                }
                made.push(work(index).await?);
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(made) = callers.join_next().await {
        all.append(&mut made??);
    }
    Ok(all)
}

/// Lets this program, and the hub that it starts, have as many files open as the system allows.
fn raise_file_limit(needed: usize) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = u64::try_from(needed)?;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(needed);
    ensure!(
        wanted >= needed,
        "the hard limit of open files is {wanted} and {needed} are needed: raise it (`ulimit -Hn`, `LimitNOFILE=`) or \
         ask for fewer polls with ENCODERD_BENCH_POLLS"
    );
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?;
    }
    Ok(())
}
