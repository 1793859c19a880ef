//! The servers that are measured: started as processes of their own, and killed when they are dropped.

use crate::http::{Caller, Connection};
use anyhow::{Context as _, bail, ensure};
use encoderd::clock::{self, Deadline};
use encoderd::keys::BRIDGE_TOKEN_FILE;
use serde_json::json;
use sqlx::{Connection as _, Executor as _};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// No server here takes so long to start, on any machine that is worth measuring.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// The hub's state, in the directory that it gets.
const STATE: &str = "state";

const OURS_KEY: &str = "seam_key_of_the_benchmark";

/// The key that the peer's sample data has.
const PEER_KEY: &str = "seam_apikey1_token";

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    pub(crate) api: Caller,
    directory: PathBuf,
    /// From its spawn to its first answer.
    pub(crate) start_time: Duration,
}

#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; either way there is nothing to be done about a failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts our hub on a directory of its own, which may hold what an earlier one has left; `postgres` is the server
    /// for its database.
    pub(crate) async fn ours(directory: &Path, postgres: Option<&str>) -> anyhow::Result<Self> {
        let address = free_address()?;
        fs::create_dir_all(directory)?;
        let database = match postgres {
            Some(server) => schema(server, directory).await?,
            None => format!("sqlite://{}", directory.join("hub.db").display()),
        };
        let config = directory.join("encoderd.toml");
        let settings = json!({
            "daemon": { "state_dir": directory.join(STATE) },
            // The bound on a key's requests is counted against, and never reached.
            "hub": { "listen": address, "database": database, "requests_per_second": 1_000_000 },
            "property": {
                "name": "Bench", "time_zone": "Europe/Zurich",
                "entrances": [{ "name": "Room 101", "door": 101 }, { "name": "Room 102", "door": 102 }],
            },
        });
        fs::write(&config, toml::to_string(&settings)?)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_encoderd"));
        command.arg("hub").arg("--config").arg(config).env("ENCODERD_API_KEY", OURS_KEY);
        let api = Caller { address, key: OURS_KEY.to_owned() };
        Self::start(command, api, "/healthz", directory, "ours.log").await
    }

    /// Starts fake-seam-connect with its sample data.
    pub(crate) async fn peer(directory: &Path) -> anyhow::Result<Self> {
        // Where `scripts/setup bench` puts it, with the Node that runs it.
        let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peer/node_modules");
        let program = modules.join("@seamapi/fake-seam-connect/dist/server.js");
        ensure!(program.exists(), "{} is missing: run this with `make bench-hub`", program.display());
        let address = free_address()?;
        fs::create_dir_all(directory)?;
        let mut command = Command::new(modules.join(".bin/node"));
        command.arg(program).arg("--seed").env("PORT", address.port().to_string());
        let api = Caller { address, key: PEER_KEY.to_owned() };
        Self::start(command, api, "/health", directory, "peer.log").await
    }

    async fn start(
        mut command: Command,
        api: Caller,
        health: &str,
        directory: &Path,
        log: &str,
    ) -> anyhow::Result<Self> {
        let log = directory.join(log);
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let request = api.get(health);
        let end = Deadline::after(START_TIME_MAX);
        let begun = clock::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut process = Process { child, log };
        loop {
            if let Ok(mut connection) = Connection::open(api.address).await
                && connection.good(&request).await.is_ok()
            {
                let start_time = clock::now().duration_since(begun);
                return Ok(Self { process, api, directory: directory.to_owned(), start_time });
            }
            if let Some(status) = process.child.try_wait()? {
                bail!("{} ended with {status}: {}", command.get_program().display(), process.last_words());
            }
            ensure!(!end.has_passed(), "{} does not answer", command.get_program().display());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// As whom our hub's desks ask.
    pub(crate) fn bridge(&self) -> anyhow::Result<Caller> {
        let token = fs::read_to_string(self.directory.join(STATE).join(BRIDGE_TOKEN_FILE))?;
        Ok(Caller { address: self.api.address, key: token.trim().to_owned() })
    }

    /// Resident memory (`VmRSS`), in MB.
    pub(crate) fn memory_mb(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        // What the kernel calls kB are 1024 bytes.
        let kilobytes: u32 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(f64::from(kilobytes) * 1024.0 / 1e6)
    }

    /// Processor time that it has used so far, all threads, in clock ticks of 10 ms.
    pub(crate) fn ticks(&self) -> anyhow::Result<u64> {
        let stat = fs::read_to_string(self.proc("stat"))?;
        // The name in parentheses may hold blanks; user and system time are fields 14 and 15 of the line.
        let (_, fields) = stat.rsplit_once(") ").context("no fields")?;
        let mut fields = fields.split(' ').skip(11);
        let mut next = || anyhow::Ok(fields.next().context("too few fields")?.parse::<u64>()?);
        Ok(next()? + next()?)
    }

    /// How many files, sockets among them, it has open.
    pub(crate) fn files_open(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(self.proc("fd"))?.count())
    }

    /// How many files it may have open.
    pub(crate) fn files_max(&self) -> anyhow::Result<u64> {
        let limits = fs::read_to_string(self.proc("limits"))?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no such limit")?;
        let soft = line.split_whitespace().next().context("no value")?;
        if soft == "unlimited" { Ok(u64::MAX) } else { Ok(soft.parse()?) }
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.process.child.id())
    }

    /// Stops it as systemd would, and waits until it has ended.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.process.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("no such process")?, rustix::process::Signal::TERM)?;
        let end = Deadline::after(START_TIME_MAX);
        while self.process.child.try_wait()?.is_none() {
            ensure!(!end.has_passed(), "the server does not stop: {}", self.process.last_words());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Process {
    /// The end of what it wrote.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// The address of a schema of this directory's own on a PostgreSQL server, made when it is missing.
async fn schema(server: &str, directory: &Path) -> anyhow::Result<String> {
    let name = directory.file_name().context("a directory without a name")?.display().to_string().replace('-', "_");
    let schema = format!("bench_{}_{name}", std::process::id());
    let mut connection = sqlx::PgConnection::connect(server).await?;
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).await?;
    connection.close().await?;
    Ok(format!("{server}?options[search_path]={schema}"))
}

/// An address that nobody listens on. The peer cannot say which port it took, so it has to be told.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
