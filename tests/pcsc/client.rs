//! `client.py` from here: a PC/SC client as a program of its own, since libpcsclite reads from the environment which pcscd it
//! is to talk to.

use crate::pcscd::{Pcscd, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Longer than any call should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The name that stands for the list of readers itself (PC/SC part 5; `SCardGetStatusChange` in pcsc-lite's API).
pub const PNP: &str = "\\\\?PnP?\\Notification";

/// Return codes, as pcsc-lite's `pcsclite.h` names them.
pub mod code {
    pub const SUCCESS: u64 = 0;
    pub const INVALID_VALUE: u64 = 0x8010_0011;
    pub const NO_SMARTCARD: u64 = 0x8010_000C;
    pub const UNSUPPORTED_FEATURE: u64 = 0x8010_001F;
    pub const NO_SERVICE: u64 = 0x8010_001D;
    pub const NOT_TRANSACTED: u64 = 0x8010_0016;
    pub const NO_READERS_AVAILABLE: u64 = 0x8010_002E;
    pub const COMM_ERROR: u64 = 0x8010_0013;
    pub const UNPOWERED_CARD: u64 = 0x8010_0067;
}

/// Bits of a reader's state, as `winscard` has them.
pub mod state {
    pub const CHANGED: u64 = 0x2;
    pub const EMPTY: u64 = 0x10;
    pub const PRESENT: u64 = 0x20;
    pub const MUTE: u64 = 0x200;
}

/// The Python that has pyscard.
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    assert!(python.exists(), "no {}: run `make setup-test`", python.display());
    python
}

/// A client that is told what to call. Ends with this value.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Client {
    /// Starts it, with a context.
    pub fn start(pcscd: &Pcscd) -> Self {
        let mut client = Self::without_context(pcscd);
        client.ok(&json!(["establish"]));
        client
    }

    /// Starts it.
    pub fn without_context(pcscd: &Pcscd) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pcsc/client.py");
        let mut command = pcscd.client(python());
        let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, answers) = sync_channel(16);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, answers }
    }

    /// Calls and does not wait for the answer.
    pub fn begin(&mut self, call: &Value) {
        writeln!(self.stdin, "{call}").unwrap();
    }

    /// The answer to what was begun: return code, then the rest.
    pub fn answer(&mut self) -> Vec<Value> {
        let line = self.answers.recv_timeout(PATIENCE).expect("the PC/SC client does not answer");
        serde_json::from_str(&line).unwrap()
    }

    /// Whether what was begun is still going on after this time.
    pub fn hangs_for(&mut self, time: Duration) -> bool {
        self.answers.recv_timeout(time).is_err()
    }

    /// Calls, and gives the answer.
    pub fn call(&mut self, call: &Value) -> Vec<Value> {
        self.begin(call);
        self.answer()
    }

    /// Calls, and gives the return code.
    pub fn code(&mut self, call: &Value) -> u64 {
        self.call(call)[0].as_u64().unwrap()
    }

    /// Calls what must succeed, and gives what it gave.
    pub fn ok(&mut self, call: &Value) -> Value {
        let answer = self.call(call);
        assert_eq!(answer[0], json!(code::SUCCESS), "{call}: {answer:x?}");
        answer.get(1).cloned().unwrap_or(Value::Null)
    }

    /// The readers' names, in pcscd's order; none when it says that there is none.
    pub fn readers(&mut self) -> Vec<String> {
        let answer = self.call(&json!(["readers"]));
        match answer[0].as_u64().unwrap() {
            code::SUCCESS => serde_json::from_value(answer[1].clone()).unwrap(),
            code::NO_READERS_AVAILABLE => Vec::new(),
            code => panic!("SCardListReaders: {code:08X}"),
        }
    }

    /// Waits for this many readers.
    pub fn wait_for_readers(&mut self, count: usize) -> Vec<String> {
        let mut readers = Vec::new();
        wait_until(&format!("{count} readers"), || {
            readers = self.readers();
            readers.len() == count
        });
        readers
    }

    /// A reader's state and its card's ATR as they are.
    pub fn state(&mut self, reader: &str) -> (u64, String) {
        let states = self.ok(&json!(["wait", 0, [[reader, 0]]]));
        (states[0][1].as_u64().unwrap(), states[0][2].as_str().unwrap().to_owned())
    }

    /// Waits until these bits of a reader's state are set, as a client does that is told of each change; the whole state.
    ///
    /// A reader that was just plugged in may be neither empty nor with a card, and has the count of events of the one that
    /// was in its place. Nothing that comes of that differs from it enough for libpcsclite (1.9.9, `SCardGetStatusChange`)
    /// to call it a change, so it is asked for again.
    pub fn wait_for_state(&mut self, reader: &str, bits: u64) -> u64 {
        let (mut state, _) = self.state(reader);
        while state & bits != bits {
            let is_known = state & (state::EMPTY | state::PRESENT) != 0;
            let known = if is_known { state & !state::CHANGED } else { 0 };
            let states = self.ok(&json!(["wait", PATIENCE.as_millis(), [[reader, known]]]));
            state = states[0][1].as_u64().unwrap();
        }
        state
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}
