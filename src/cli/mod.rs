//! The command line: one file a subcommand. Data goes to stdout, everything else to stderr.
//!
//! Exit codes: 0 fine, 1 it failed (or a check did), 2 usage.

mod admin;
mod backup;
mod card;
mod demo;
mod emulate;
mod emulator;
mod encoders;
mod generate;
mod hub;
mod keys;
mod pair;
mod passphrase;
mod probe;
mod restore;
mod run;
mod status;
mod support_bundle;

use crate::config::{Config, ConfigError};
use crate::daemon::systemd::Kept;
use crate::telemetry::{log, metrics};
use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The environment variable that says what is logged.
const LOG_VARIABLE: &str = "ENCODERD_LOG";

/// Bridge between card encoders at a front desk and the Seam API.
#[derive(Debug, Parser)]
#[command(name = "encoderd", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: encoders, bridge, and the embedded hub unless [cloud] url is set.
    Run(ConfigArguments),
    /// Run the hub alone.
    Hub(ConfigArguments),
    /// Try everything without hardware: a hub, two virtual encoders, a sample property.
    Demo(demo::Arguments),
    /// Check this PC and its encoders; names the cause of what is wrong.
    Probe(probe::Arguments),
    /// Pack what helps to understand this desk into one file, without its secrets.
    SupportBundle(support_bundle::Arguments),
    /// Show the running daemon.
    Status(status::Arguments),
    /// List, link and name encoders.
    Encoders(encoders::Arguments),
    /// Look at the card on an encoder.
    Card(card::Arguments),
    /// The property's card key.
    Keys(keys::Arguments),
    /// Administer a hub: workspaces, keys, doors, encoders, desks.
    Admin(admin::Arguments),
    /// Pair this desk with a hub, by a code.
    Pair(pair::Arguments),
    /// Put everything that a new PC needs into one file, while the daemon runs or not.
    Backup(backup::Arguments),
    /// Put a backup in the place of the state directory, while the daemon does not run.
    Restore(restore::Arguments),
    /// Play a virtual encoder, on a pty or behind PC/SC.
    Emulate(emulate::Arguments),
    /// Send one command to a virtual encoder, such as `place classic-1k` or `remove`.
    Emulator(emulator::Arguments),
    /// Write man pages or shell completions, for packages.
    #[command(hide = true)]
    Generate(generate::Arguments),
}

/// `--config`, as most commands have it.
#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    /// The configuration file (default: the one that `ENCODERD_CONFIG` names, else /etc/encoderd/encoderd.toml)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl ConfigArguments {
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        Ok(self.read()?)
    }

    /// As [`load`](Self::load), with what is wrong as it is.
    pub(crate) fn read(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref())
    }
}

/// Parses the command line, runs the command, prints what went wrong.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(problem) = init_log(&arguments.command) {
        say(&format!("error: {LOG_VARIABLE}: {problem}; write it like `debug` or `warn,encoderd::device=trace`"));
        return ExitCode::from(2);
    }
    let kept = match &arguments.command {
        Command::Run(_) | Command::Hub(_) => {
            metrics::install();
            Kept::take()
        }
        Command::Demo(_)
        | Command::Probe(_)
        | Command::SupportBundle(_)
        | Command::Status(_)
        | Command::Encoders(_)
        | Command::Card(_)
        | Command::Keys(_)
        | Command::Admin(_)
        | Command::Pair(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Generate(_)
        | Command::Emulate(_)
        | Command::Emulator(_) => Kept::default(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Run(arguments) => run::run(&arguments, kept).await,
            Command::Hub(arguments) => hub::run(&arguments, kept).await,
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Probe(arguments) => probe::run(&arguments).await,
            Command::SupportBundle(arguments) => support_bundle::run(&arguments).await,
            Command::Status(arguments) => status::run(&arguments).await,
            Command::Encoders(arguments) => encoders::run(arguments).await,
            Command::Card(arguments) => card::run(arguments).await,
            Command::Keys(arguments) => keys::run(&arguments),
            Command::Admin(arguments) => admin::run(arguments).await,
            Command::Pair(arguments) => pair::run(&arguments).await,
            Command::Backup(arguments) => backup::run(arguments).await,
            Command::Restore(arguments) => restore::run(arguments).await,
            Command::Emulate(arguments) => emulate::run(arguments).await,
            Command::Emulator(arguments) => emulator::run(&arguments).await,
            Command::Generate(arguments) => generate::run(&arguments),
        }
    });
    // Blocking work that hangs, such as a port that does not close, must not keep the process alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

/// Prints an error with its causes, each once.
fn report(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Transparent wrappers say what their cause says.
        if !last.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        last = cause;
    }
    say(&text);
    ExitCode::FAILURE
}

/// Writes a line to stdout, for data. A closed pipe is no error: who reads decides how much.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a line to stderr, for people.
pub(crate) fn say(text: &str) {
    let _closed_pipe = writeln!(std::io::stderr(), "{text}");
}

/// Writes JSON to stdout, for machines.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Lays out rows in columns as wide as their widest cell.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header)];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines.join("\n")
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn stop_signal() -> std::io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Logs to stderr, or to the journal; `ENCODERD_LOG` takes tracing filters such as `debug` or `encoderd::device=trace`. Daemons tell
/// what they do, the other commands only what goes wrong.
fn init_log(command: &Command) -> Result<(), String> {
    let default = match command {
        Command::Run(_) | Command::Hub(_) => "warn,encoderd=info",
        // Its encoders are plugged in while it runs, which is nothing to warn of.
        Command::Demo(_) => "error",
        Command::Probe(_)
        | Command::SupportBundle(_)
        | Command::Status(_)
        | Command::Encoders(_)
        | Command::Card(_)
        | Command::Keys(_)
        | Command::Admin(_)
        | Command::Pair(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Emulate(_)
        | Command::Emulator(_)
        | Command::Generate(_) => "warn",
    };
    let wanted = match std::env::var(LOG_VARIABLE) {
        Ok(wanted) => wanted,
        Err(std::env::VarError::NotPresent) => default.to_owned(),
        Err(std::env::VarError::NotUnicode(_)) => return Err("is not text".to_owned()),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(wanted).map_err(|error| error.to_string())?;
    log::init(filter);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [["Front Desk".to_owned(), "online".to_owned()], ["B".to_owned(), "offline".to_owned()]];
        assert_eq!(table(["NAME", "STATE"], &rows), "NAME        STATE\nFront Desk  online\nB           offline");
    }
}
