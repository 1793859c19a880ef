//! An HTTP client that costs next to nothing, so that what is measured is the server.
//!
//! One connection carries one request after another. A request is made once as bytes and sent as often as it is wanted;
//! an answer has to name its length.

use anyhow::{Context as _, bail};
use encoderd::clock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Where a server is and with which key it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

impl Caller {
    /// A request without a body; `target` is path and query.
    pub(crate) fn get(&self, target: &str) -> Vec<u8> {
        format!(
            "GET {target} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: */*\r\n\r\n",
            self.address, self.key
        )
        .into_bytes()
    }

    /// A request with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Vec<u8>> {
        let body = serde_json::to_string(body)?;
        Ok(format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        )
        .into_bytes())
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address).await
    }
}

/// A keep-alive connection with `TCP_NODELAY`.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads its answer to the last byte: status and body.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.read().await?;
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < head.end + head.body_bytes {
            self.read().await?;
        }
        let body = self.buffer.get(head.end..head.end + head.body_bytes).context("more bytes than one answer")?;
        Ok((head.status, body))
    }

    /// Sends a request whose answer must be 200.
    pub(crate) async fn good(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        let (status, body) = self.exchange(request).await?;
        if status != 200 {
            let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
            bail!("{}: {status} {}", String::from_utf8_lossy(line), String::from_utf8_lossy(body));
        }
        Ok(body)
    }

    /// Sends a request and reads the JSON of its answer, which must be 200.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self, request: &[u8]) -> anyhow::Result<T> {
        Ok(serde_json::from_slice(self.good(request).await?)?)
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// What an answer's head says.
struct Head {
    status: u16,
    /// Where the body begins.
    end: usize,
    body_bytes: usize,
}

impl Head {
    /// `None`: it is not complete yet.
    fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(length) = bytes.windows(END.len()).position(|window| window == END) else { return Ok(None) };
        let text = std::str::from_utf8(bytes.get(..length).unwrap_or_default())?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
        let body_bytes = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .with_context(|| format!("an answer without content-length: {text}"))?
            .1
            .trim()
            .parse()?;
        Ok(Some(Self { status, end: length + END.len(), body_bytes }))
    }
}

/// A connection that was silent for longer is not used again: the server may be about to close it.
const IDLE_TIME_MAX: Duration = Duration::from_secs(20);

/// Connections to one server; grows when all are in use, so that no request waits for another one's answer.
#[derive(Debug)]
pub(crate) struct Pool {
    caller: Caller,
    /// With the moment of their last answer.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    pub(crate) fn new(caller: Caller) -> Self {
        Self { caller, idle: Mutex::default() }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// A POST whose answer must be 200.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let request = self.caller.post(path, body)?;
        let idle = self.idle().pop().filter(|(_, since)| clock::now().duration_since(*since) < IDLE_TIME_MAX);
        let mut connection = match idle {
            Some((connection, _)) => connection,
            None => self.caller.connect().await?,
        };
        let answer = connection.json(&request).await?;
        self.idle().push((connection, clock::now()));
        Ok(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
