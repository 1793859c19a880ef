//! The command line: one file a subcommand. Data goes to stdout, everything else to stderr.
//!
//! Exit codes: 0 fine, 1 it failed (or a check did), 2 usage.

mod emulate;

use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;

/// Bridge between card encoders at a front desk and the Seam API.
#[derive(Debug, Parser)]
#[command(name = "encoderd", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a virtual encoder on a pty.
    Emulate(emulate::Arguments),
}

/// Parses the command line, runs the command, prints what went wrong.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Emulate(arguments) => emulate::run(arguments).await,
        }
    });
    // Blocking work that hangs (a port that does not close) must not keep the process alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

/// Prints an error with its causes, each once, and any hint below.
fn report(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    say(&text);
    ExitCode::FAILURE
}

/// Writes a line to stdout, for data. A closed pipe ends the program quietly, as it should.
pub(crate) fn print(text: &str) {
    let _closed_pipe = writeln!(std::io::stdout(), "{text}");
}

/// Writes a line to stderr, for people.
pub(crate) fn say(text: &str) {
    let _closed_pipe = writeln!(std::io::stderr(), "{text}");
}

/// Logs to stderr; `ENCODERD_LOG` takes tracing filters such as `debug` or `encoderd::device=trace`.
fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ENCODERD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,encoderd=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
