//! `encoderd emulator`: one command to a virtual encoder's control socket.

use super::{print, say};
use anyhow::Context as _;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The virtual encoder's control socket
    socket: PathBuf,
    /// The command: place KIND[:UID], remove, tear N [partial], unplug MS, dump FILE, stats, …; `help` lists them
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let socket = &arguments.socket;
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no virtual encoder answers at {}", socket.display()))?;
    let (read, mut write) = stream.into_split();
    write.write_all(format!("{}\n", arguments.command.join(" ")).as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(read).read_line(&mut answer).await?;
    match answer.trim_end() {
        "" => {
            say("error: the virtual encoder gave no answer");
            Ok(ExitCode::FAILURE)
        }
        refused if refused.starts_with("error") => {
            say(refused);
            Ok(ExitCode::FAILURE)
        }
        answer => {
            print(answer)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
