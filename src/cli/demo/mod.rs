//! `encoderd demo`: a hub, two virtual encoders and a sample property; everything to try without hardware.

mod check;
mod pcscd;

use super::{print, say};
use crate::config::{Config, Entrance, Property, SerialAt, SerialDiscovery, SerialPort};
use crate::control::{Answer, Request, ask};
use crate::daemon::{self, Daemon, DaemonError};
use crate::emulator::{CardSpec, Emulator, Kind, Settings};
use crate::hub::HubError;
use anyhow::{Context as _, bail};
use check::{Caller, LiveEncoders};
use clap::Args;
use encoder_protocols::dialect::{pcsc_storage, reader};
use pcscd::PrivatePcscd;
use secrecy::ExposeSecret as _;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the encoders may take until they are ready.
const READY_BOUND: Duration = Duration::from_secs(20);

/// The PC/SC reader that is played.
const PROFILE: &str = "acr122u";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The hub's port on this PC (default 8765; with --check any free one)
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Keep everything in this directory (default: a new one, removed at the end)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Use PC/SC virtual readers, with a pcscd of the demo's own
    #[arg(long)]
    pcsc: bool,
    /// Make one encode and one scan through the API, print them and end
    #[arg(long)]
    check: bool,
    /// How the demo calls itself once its pcscd runs.
    #[arg(long, value_name = "PID:PORT", hide = true, requires_all = ["pcsc", "state"])]
    private_pcscd: Option<PrivatePcscd>,
    /// The directory was made for this demo.
    #[arg(long, hide = true, requires = "private_pcscd")]
    remove_state: bool,
}

/// The virtual encoders: name, and the card that lies there at first.
const ENCODERS: [(&str, Option<&str>); 2] = [("Front Desk", Some("classic-1k")), ("Concierge", None)];

const ROOMS: u16 = 10;

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // Before pcscd runs or a directory is there: whoever interrupts us wants them cleared away.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Arguments { port, state, pcsc, check, private_pcscd, remove_state } = arguments;
    let directory = Directory::new(state, remove_state)?;
    if pcsc && private_pcscd.is_none() {
        return Err(pcscd::begin_again(&directory.path, &directory.arguments(port, check)));
    }
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let port = port.unwrap_or(if check { 0 } else { 8765 });
    let demo = Demo { config: config(&directory.path, port, private_pcscd.is_some()), private_pcscd };
    let outcome = demo.run(check, stopped).await;
    if let Some(pcscd) = private_pcscd {
        pcscd.end().await;
    }
    outcome
}

struct Demo {
    config: Config,
    private_pcscd: Option<PrivatePcscd>,
}

/// The virtual encoders that are plugged in.
struct Emulators {
    tasks: Vec<JoinHandle<()>>,
    unplug: CancellationToken,
}

impl Demo {
    /// Runs it until it is stopped or its check is over.
    async fn run(&self, check: bool, stopped: impl Future<Output = ()>) -> anyhow::Result<ExitCode> {
        let daemon = match Daemon::start(self.config.clone(), crate::daemon::systemd::Kept::default()).await {
            Ok(daemon) => daemon,
            Err(DaemonError::Hub(HubError::PortInUse { address })) => {
                bail!("{address} is in use by another program, perhaps another demo; choose another port with --port")
            }
            Err(error) => return Err(error.into()),
        };
        let mut emulators = Emulators { tasks: Vec::new(), unplug: CancellationToken::new() };
        let outcome = tokio::select! {
            outcome = self.play(check, &daemon, &mut emulators) => outcome,
            // A check that was not made has not passed.
            () = stopped => Ok(if check { ExitCode::FAILURE } else { ExitCode::SUCCESS }),
        };
        daemon.stop().await;
        emulators.unplug.cancel();
        for emulator in emulators.tasks {
            emulator.await?;
        }
        outcome
    }

    async fn play(&self, check: bool, daemon: &Daemon, emulators: &mut Emulators) -> anyhow::Result<ExitCode> {
        let address = daemon.hub_address.context("the demo has an embedded hub")?;
        let key = daemon.api_key.clone().context("the demo has an embedded hub")?;
        let url = format!("http://{address}");
        let caller = Caller::new(&url, key.expose_secret())?;
        let mut encoders = LiveEncoders::new();
        // One after the other, so that they are listed in this order.
        for (index, encoder) in ENCODERS.into_iter().enumerate() {
            emulators.tasks.push(self.plug_in(index, encoder, &emulators.unplug)?);
            let ready = tokio::time::timeout(READY_BOUND, caller.wait_for_encoders(emulators.tasks.len())).await;
            encoders = ready.with_context(|| self.not_ready())??;
        }
        if self.private_pcscd.is_some() {
            encoders = name(&caller, &daemon.control_socket, encoders).await?;
        }
        if check {
            return Ok(match caller.encode_and_scan(&encoders).await {
                Ok(lines) => {
                    print(&lines)?;
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    say(&format!("error: {error:#}"));
                    ExitCode::FAILURE
                }
            });
        }
        print(&introduction(&url, key.expose_secret(), &self.config.daemon.state_dir, &encoders))?;
        std::future::pending().await
    }

    fn not_ready(&self) -> String {
        let log = pcscd::log_file(&self.config.daemon.state_dir);
        // The directory may go with this process, so what is in there is shown.
        match self.private_pcscd.map(|_| std::fs::read_to_string(log).unwrap_or_default()) {
            Some(log) => format!("the virtual PC/SC readers were not ready in time; their pcscd says:\n{log}"),
            None => "the virtual encoders were not ready in time".to_owned(),
        }
    }

    fn plug_in(
        &self,
        index: usize,
        (name, card): (&str, Option<&str>),
        unplug: &CancellationToken,
    ) -> anyhow::Result<JoinHandle<()>> {
        let kind = match (self.private_pcscd, self.config.serial.get(index)) {
            (Some(pcscd), _) => Kind::Vpcd {
                profile: pcsc_storage::profile(PROFILE).context("the demo's profile exists")?,
                address: pcscd.reader(u16::try_from(index)?)?,
            },
            (None, Some(port)) => Kind::Serial {
                reader: reader(port.dialect.dialect).context("the demo's dialect exists")?,
                link: port.at.path().map(Path::to_path_buf),
            },
            (None, None) => bail!("the demo has a port for each encoder"),
        };
        let emulator = Emulator::start(Settings {
            kind,
            control: Some(control_socket(&self.config.daemon.state_dir, name)),
            card: card.map(str::parse::<CardSpec>).transpose()?,
            pace: false,
        })?;
        let unplug = unplug.clone();
        Ok(tokio::spawn(async move {
            if let Err(error) = emulator.run(unplug).await {
                tracing::error!(error = &error as &dyn std::error::Error, "a virtual encoder ended");
            }
        }))
    }
}

/// Gives PC/SC readers the names that serial encoders have from the configuration; by themselves both have vpcd's.
async fn name(caller: &Caller, control: &Path, encoders: LiveEncoders) -> anyhow::Result<LiveEncoders> {
    let mut devices: Vec<String> = encoders.into_iter().filter_map(|encoder| encoder.device_id).collect();
    // The one with the lower port is the first.
    devices.sort();
    for (device, (name, _)) in devices.into_iter().zip(ENCODERS) {
        match ask(control, &Request::Rename { device, name: name.to_owned() }).await? {
            Answer::Done => {}
            other @ (Answer::Status(_)
            | Answer::Card(_)
            | Answer::CardWork(_)
            | Answer::Erased { .. }
            | Answer::AccountEncoders(_)
            | Answer::Error { .. }) => {
                bail!("a virtual reader was not named: {other:?}")
            }
        }
    }
    tokio::time::timeout(READY_BOUND, caller.wait_for_names(&ENCODERS.map(|(name, _)| name)))
        .await
        .context("the virtual readers did not take their names")?
}

/// The demo's directory; one that was made for it goes with it.
struct Directory {
    path: PathBuf,
    remove: bool,
}

impl Directory {
    fn new(named: Option<PathBuf>, remove: bool) -> anyhow::Result<Self> {
        let (path, remove) = match named {
            Some(path) => (std::path::absolute(path)?, remove),
            None => (std::env::temp_dir().join(format!("encoderd-demo-{}", std::process::id())), true),
        };
        daemon::prepare_state_dir(&path)?;
        Ok(Self { path, remove })
    }

    /// The command line of the same demo in this directory.
    fn arguments(&self, port: Option<u16>, check: bool) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["demo".into(), "--pcsc".into(), "--state".into(), (&self.path).into()];
        arguments.extend(port.map(|port| format!("--port={port}").into()));
        arguments.extend(check.then(|| "--check".into()));
        arguments.extend(self.remove.then(|| "--remove-state".into()));
        arguments
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.remove
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            say(&format!("warning: {} was not removed: {error}", self.path.display()));
        }
    }
}

fn file_name(encoder: &str) -> String {
    encoder.to_lowercase().replace(' ', "-")
}

fn control_socket(directory: &Path, encoder: &str) -> PathBuf {
    directory.join(format!("{}.sock", file_name(encoder)))
}

fn config(directory: &Path, port: u16, is_pcsc: bool) -> Config {
    let mut config = Config::default();
    config.daemon.state_dir = directory.to_path_buf();
    config.backup.nightly = false;
    config.hub.listen = SocketAddr::from(([127, 0, 0, 1], port));
    // Whoever tries things out has the receiver of his webhooks on the same machine.
    config.hub.webhook_allow_private = true;
    // What is really plugged into this PC is left alone.
    config.discovery.pcsc = is_pcsc;
    config.discovery.serial = if is_pcsc { SerialDiscovery::Off } else { SerialDiscovery::Configured };
    let on_ptys = if is_pcsc { &[][..] } else { &ENCODERS };
    config.serial = on_ptys
        .iter()
        .filter_map(|(name, _)| {
            Some(SerialPort {
                at: SerialAt::Path(directory.join(format!("{}.tty", file_name(name)))),
                dialect: *reader("pn532")?,
                baud: None,
                name: Some((*name).to_owned()),
            })
        })
        .collect();
    config.property = Some(Property {
        name: "Hotel Demo".to_owned(),
        time_zone: "Europe/Zurich".to_owned(),
        entrances: (101..=100 + ROOMS).map(|door| Entrance { name: format!("Room {door}"), door }).collect(),
    });
    config
}

fn introduction(url: &str, key: &str, directory: &Path, encoders: &LiveEncoders) -> String {
    let program = std::env::current_exe().map_or_else(|_| "encoderd".to_owned(), |path| path.display().to_string());
    let socket = |name| control_socket(directory, name).display().to_string();
    let (front_desk, concierge) = (socket("Front Desk"), socket("Concierge"));
    let listed: Vec<String> = encoders
        .iter()
        .map(|encoder| {
            let card = encoder.card_number.as_deref().map_or("no card".to_owned(), |uid| format!("card {uid}"));
            format!("  {:12} {}  [simulated], {card}", encoder.display_name, encoder.acs_encoder_id)
        })
        .collect();
    let encoder_id = encoders
        .iter()
        .find(|encoder| encoder.display_name == "Front Desk")
        .map_or_else(String::new, |encoder| encoder.acs_encoder_id.to_string());
    // Beside the program when `make demo` built it: target/debug/encoderd and target/venv.
    let venv = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.parent()?.join("venv/bin/python")));
    let (python, hint) = match venv.filter(|python| python.exists()) {
        Some(python) => (python.display().to_string(), ""),
        None => ("python3".to_owned(), " (after: pip install seam)"),
    };
    format!(
        "\
hub      {url}
API key  {key}
page     {url}/  (the clerk's, in a browser)
encoders
{encoders}

List the encoders:
  curl -s -H 'Authorization: Bearer {key}' {url}/acs/encoders/list

Make a key for Room 101 on the card at the Front Desk, with the official Seam SDK for Python{hint}:
  {python} -c 'from seam import Seam; s = Seam(api_key=\"{key}\", endpoint=\"{url}\"); u = s.user_identities.create(full_name=\"Ada Guest\"); d = s.acs.entrances.list()[0]; g = s.access_grants.create(user_identity_id=u.user_identity_id, acs_entrance_ids=[d.acs_entrance_id], requested_access_methods=[{{\"mode\": \"card\"}}]); print(s.access_methods.encode(access_method_id=g.access_method_ids[0], acs_encoder_id=\"{encoder_id}\").result)'

Take the card off the Front Desk, lay one on the Concierge's encoder:
  {program} emulator {front_desk} remove
  {program} emulator {concierge} place classic-1k

Live state: curl -s -H 'Authorization: Bearer {key}' {url}/encoderd/v1/encoders
State is in {directory}. Stop with Ctrl-C.",
        encoders = listed.join("\n"),
        directory = directory.display(),
    )
}
