//! A receiver of webhooks, as an app developer would have one: an HTTP server that notes what comes and answers as the
//! test says.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use encoderd::clock::{self, Deadline};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Long enough for everything that should happen, short enough for a test that fails.
const SOON: Duration = Duration::from_secs(20);

/// A delivery as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub at: Instant,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).1
    }

    pub fn id(&self) -> &str {
        self.header("svix-id")
    }

    pub fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn event_type(&self) -> String {
        self.event()["event_type"].as_str().unwrap().to_owned()
    }

    /// For the scripts that run the official libraries.
    pub fn for_verification(&self, secret: &Value) -> Value {
        let headers: serde_json::Map<_, _> = ["svix-id", "svix-timestamp", "svix-signature"]
            .iter()
            .map(|name| ((*name).to_owned(), json!(self.header(name))))
            .collect();
        json!({ "secret": secret, "headers": headers, "body": self.body })
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// A redirect to there.
    See(String),
    /// Nothing, for ever.
    Hang,
    /// 200 after a while.
    Late(Duration),
    /// 200 once the test says so.
    Once(watch::Receiver<bool>),
}

type Script = dyn Fn(&Received, usize) -> Reply + Send + Sync;

/// A receiver that runs until it is dropped.
pub struct Receiver {
    pub base: String,
    inner: Arc<Inner>,
    server: tokio::task::JoinHandle<()>,
}

struct Inner {
    script: Box<Script>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    open: AtomicUsize,
    open_most: AtomicUsize,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// Takes everything.
    pub async fn new() -> Self {
        Self::with(|_, _| Reply::Status(200)).await
    }

    /// Answers as the script says, which is told the delivery and how many came before it.
    pub async fn with(script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let inner = Arc::new(Inner {
            script: Box::new(script),
            received: Mutex::default(),
            count: watch::channel(0).0,
            open: AtomicUsize::new(0),
            open_most: AtomicUsize::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(Arc::clone(&inner));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, inner, server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    /// How many deliveries were in flight at a time at most.
    pub fn open_most(&self) -> usize {
        self.inner.open_most.load(Ordering::SeqCst)
    }

    /// Waits until so many deliveries have come.
    pub async fn wait(&self, count: usize) -> Vec<Received> {
        let mut counts = self.inner.count.subscribe();
        let end = Deadline::after(SOON);
        let waited = tokio::time::timeout_at(end.instant(), counts.wait_for(|now| *now >= count)).await;
        assert!(waited.is_ok(), "{count} deliveries were to come, and these did: {:#?}", self.received());
        self.received()
    }
}

async fn receive(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let headers =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned())).collect();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let received = Received { path: uri.path().to_owned(), headers, body, at: clock::now() };
    let reply = {
        let mut all = inner.received.lock().unwrap();
        let reply = (inner.script)(&received, all.len());
        all.push(received);
        inner.count.send_replace(all.len());
        reply
    };
    let open = inner.open.fetch_add(1, Ordering::SeqCst) + 1;
    inner.open_most.fetch_max(open, Ordering::SeqCst);
    let answer = answer(reply).await;
    inner.open.fetch_sub(1, Ordering::SeqCst);
    answer
}

async fn answer(reply: Reply) -> Response {
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::See(there) => (StatusCode::FOUND, [("location", there)]).into_response(),
        Reply::Hang => std::future::pending().await,
        Reply::Once(mut allowed) => {
            allowed.wait_for(|allowed| *allowed).await.unwrap();
            StatusCode::OK.into_response()
        }
        Reply::Late(wait) => {
            tokio::time::sleep(wait).await;
            StatusCode::OK.into_response()
        }
    }
}
