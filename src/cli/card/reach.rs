//! Who works with the card: the running daemon, or this command itself when none runs.

use super::On;
use crate::cli::say;
use crate::control::card::{Bench, CardAnswer, CardOutcome, CardWork};
use crate::control::{Answer, ControlError, Request, ask, open};
use crate::daemon::alone::Alone;
use crate::device::direct::Done;
use anyhow::{Context as _, anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Who works with the card.
pub(super) enum Reach {
    Daemon { socket: PathBuf, device: Option<String> },
    Alone { alone: Box<Alone>, bench: Box<Bench> },
}

impl Reach {
    /// Finds out.
    pub(super) async fn open(on: &On) -> anyhow::Result<Self> {
        let config = on.config.load()?;
        let socket = config.running_control_socket();
        match open(&socket, &Request::Status).await {
            Ok(_answers) => return Ok(Self::Daemon { socket, device: on.device.clone() }),
            Err(ControlError::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let alone = Alone::start(config).context("no encoderd runs, and its encoders cannot be used without it")?;
        match alone.bench(on.device.as_deref()).await {
            Ok(bench) => {
                say("no encoderd runs: this command uses the encoder itself");
                Ok(Self::Alone { alone: Box::new(alone), bench: Box::new(bench) })
            }
            Err(problem) => {
                alone.end().await;
                Err(anyhow!("no encoderd answers at {}, and here: {problem}", socket.display()))
            }
        }
    }

    /// Has something done, with a bar on a terminal while it lasts.
    pub(super) async fn work(&self, work: CardWork, what: &'static str) -> anyhow::Result<CardOutcome> {
        let bar = Bar::new(what);
        match self {
            Self::Daemon { socket, device } => {
                let request = Request::Card { device: device.clone(), work };
                let mut answers = open(socket, &request).await?;
                loop {
                    match answers.next().await? {
                        Answer::CardWork(CardOutcome::Progress { done, of }) => bar.show(done, of),
                        Answer::CardWork(outcome) => return Ok(outcome),
                        Answer::Status(_)
                        | Answer::Card(_)
                        | Answer::Erased { .. }
                        | Answer::AccountEncoders(_)
                        | Answer::Done
                        | Answer::Error { .. } => bail!("the daemon answered something else"),
                    }
                }
            }
            Self::Alone { bench, .. } => {
                let (progress, mut done) = mpsc::channel(1);
                let show = async {
                    while let Some(Done { done, of }) = done.recv().await {
                        bar.show(done, of);
                    }
                };
                let (outcome, ()) = tokio::join!(bench.carry_out(work, progress), show);
                Ok(outcome?)
            }
        }
    }

    /// Says what lies there, in few exchanges.
    pub(super) async fn card(&self) -> anyhow::Result<CardAnswer> {
        match self {
            Self::Daemon { socket, device } => {
                let Answer::Card(card) = ask(socket, &Request::CardInfo { device: device.clone() }).await? else {
                    bail!("the daemon answered something else")
                };
                Ok(card)
            }
            Self::Alone { bench, .. } => {
                let info = bench.device.inspect(bench.key.clone()).await;
                let info = info.map_err(|failure| anyhow!(failure.fault.message))?;
                Ok(bench.card_answer(&info))
            }
        }
    }

    /// Takes the credentials off a card.
    pub(super) async fn erase(&self, card_number: &str) -> anyhow::Result<Answer> {
        match self {
            Self::Daemon { socket, device } => {
                let card_number = card_number.to_owned();
                Ok(ask(socket, &Request::CardErase { device: device.clone(), card_number }).await?)
            }
            Self::Alone { bench, .. } => Ok(bench.erase(card_number).await?),
        }
    }

    /// Leaves the encoder in order.
    pub(super) async fn end(self) {
        match self {
            Self::Daemon { .. } => {}
            Self::Alone { alone, bench } => {
                drop(bench);
                alone.end().await;
            }
        }
    }
}

/// A bar on stderr, on a terminal only.
struct Bar(ProgressBar);

impl Bar {
    fn new(what: &'static str) -> Self {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    fn show(&self, done: usize, of: usize) {
        self.0.set_length(u64::try_from(of).unwrap_or(u64::MAX));
        self.0.set_position(u64::try_from(done).unwrap_or(u64::MAX));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
