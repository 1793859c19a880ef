//! `encoderd demo`: a hub, two virtual encoders and a sample property; everything to try without hardware.

mod check;

use super::{print, say, stop_signal};
use crate::config::{Config, Entrance, Property, SerialPort};
use crate::daemon::{self, Daemon, DaemonError};
use crate::emulator::{CardSpec, Emulator, Kind, Settings};
use crate::hub::HubError;
use anyhow::{Context as _, bail};
use check::{Caller, LiveEncoders};
use clap::Args;
use encoder_protocols::dialect::reader;
use secrecy::ExposeSecret as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the encoders may take until they are ready.
const READY_BOUND: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The hub's port on this PC (default 8765; with --check any free one)
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Keep everything in this directory (default: a new one, removed at the end)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Use PC/SC virtual readers
    #[arg(long)]
    pcsc: bool,
    /// Make one encode and one scan through the API, print them and end
    #[arg(long)]
    check: bool,
}

/// The virtual encoders: name, and the card that lies there at first.
const ENCODERS: [(&str, Option<&str>); 2] = [("Front Desk", Some("classic-1k")), ("Concierge", None)];

const ROOMS: u16 = 10;

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.pcsc {
        bail!("this version has no PC/SC encoders yet; leave --pcsc out for the virtual serial ones");
    }
    let directory = Directory::new(arguments.state)?;
    let port = arguments.port.unwrap_or(if arguments.check { 0 } else { 8765 });
    let unplug = CancellationToken::new();
    let config = config(&directory.path, port);
    let daemon = match Daemon::start(config.clone()).await {
        Ok(daemon) => daemon,
        Err(DaemonError::Hub(HubError::PortInUse { address })) => {
            bail!("{address} is in use by another program, perhaps another demo; choose another port with --port")
        }
        Err(error) => return Err(error.into()),
    };
    let mut emulators = Vec::new();
    let outcome = play(arguments.check, &config, &daemon, &unplug, &mut emulators).await;
    daemon.stop().await;
    unplug.cancel();
    for emulator in emulators {
        emulator.await?;
    }
    outcome
}

async fn play(
    check: bool,
    config: &Config,
    daemon: &Daemon,
    unplug: &CancellationToken,
    emulators: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<ExitCode> {
    let address = daemon.hub_address.context("the demo has an embedded hub")?;
    let key = daemon.api_key.clone().context("the demo has an embedded hub")?;
    let url = format!("http://{address}");
    let caller = Caller::new(&url, key.expose_secret())?;
    let mut encoders = LiveEncoders::new();
    // One after the other, so that they are listed in this order.
    for (port, encoder) in config.serial.iter().zip(ENCODERS) {
        emulators.push(plug_in(config, port, encoder, unplug)?);
        encoders = tokio::time::timeout(READY_BOUND, caller.wait_for_encoders(emulators.len()))
            .await
            .context("the virtual encoders were not ready in time")??;
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
    print(&introduction(&url, key.expose_secret(), &config.daemon.state_dir, &encoders))?;
    stop_signal().await?;
    Ok(ExitCode::SUCCESS)
}

/// The demo's directory; one that was made for it goes with it.
struct Directory {
    path: PathBuf,
    remove: bool,
}

impl Directory {
    fn new(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let (path, remove) = match named {
            Some(path) => (std::path::absolute(path)?, false),
            None => (std::env::temp_dir().join(format!("encoderd-demo-{}", std::process::id())), true),
        };
        daemon::prepare_state_dir(&path)?;
        Ok(Self { path, remove })
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

fn config(directory: &Path, port: u16) -> Config {
    let mut config = Config::default();
    config.daemon.state_dir = directory.to_path_buf();
    config.hub.listen = SocketAddr::from(([127, 0, 0, 1], port));
    // Whoever tries things out has the receiver of his webhooks on the same machine.
    config.hub.webhook_allow_private = true;
    config.serial = ENCODERS
        .iter()
        .filter_map(|(name, _)| {
            Some(SerialPort {
                path: directory.join(format!("{}.tty", file_name(name))),
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

fn plug_in(
    config: &Config,
    port: &SerialPort,
    (name, card): (&str, Option<&str>),
    unplug: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let emulator = Emulator::start(Settings {
        kind: Kind::Serial {
            reader: reader(port.dialect.dialect).context("the demo's dialect exists")?,
            link: Some(port.path.clone()),
        },
        control: Some(control_socket(&config.daemon.state_dir, name)),
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
