//! `encoderd probe`: checks this PC and its encoders. Exit 0 all fine, 1 a check failed, 2 usage.

use super::{ConfigArguments, print, print_json, say};
use crate::probe::{Context, Finding, Machine, Verdict, first, run as run_checks};
use crate::udev::{self, UsbPort};
use clap::Args;
use encoder_protocols::dialect::{READERS, Reader, reader};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Try this port only
    #[arg(long, value_name = "PATH", requires = "dialect")]
    port: Option<PathBuf>,
    /// How the device on it speaks
    #[arg(long, value_name = "NAME", requires = "port", value_parser = dialect)]
    dialect: Option<Reader>,
    /// Print the udev rules that give this port to encoderd, with what to do with them
    #[arg(long, value_name = "PORT", conflicts_with_all = ["json", "port"])]
    udev: Option<PathBuf>,
}

fn dialect(name: &str) -> Result<Reader, String> {
    reader(name).copied().ok_or_else(|| {
        let known: Vec<&str> = READERS.iter().map(|reader| reader.dialect).collect();
        format!("known dialects: {}", known.join(", "))
    })
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    first: Option<&'a Finding>,
    findings: &'a [Finding],
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(port) = &arguments.udev {
        return udev_rules(port);
    }
    let machine = Machine::this();
    let port = arguments.port.clone().zip(arguments.dialect);
    let context = Context::gather(machine, arguments.config.config.as_deref(), port).await;
    let findings = run_checks(&context);
    let first = first(&findings);
    if arguments.json {
        print_json(&Report { ok: first.is_none(), first, findings: &findings })?;
    } else {
        if let Some(first) = first {
            print(&format!("First: {}", lines(first)))?;
        }
        for finding in &findings {
            print(&line(finding))?;
        }
    }
    Ok(if first.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What to begin with.
fn lines(finding: &Finding) -> String {
    let todo = finding.remedy.as_ref().map(|remedy| format!("\n       {}{remedy}", whose(finding))).unwrap_or_default();
    format!("{}{todo}\n", finding.message)
}

/// The rules go to stdout, what to do with them to stderr, so that the one can be piped where the other says.
fn udev_rules(port: &Path) -> anyhow::Result<ExitCode> {
    let sysfs = std::env::var_os("SYSFS_PATH").map_or_else(|| PathBuf::from("/sys"), PathBuf::from);
    let usb = UsbPort::look_up(&sysfs, port)?;
    print(udev::rule_for_port(&usb).trim_end())?;
    say(&format!(
        "\nPut these lines into {}, as root:\n  encoderd probe --udev {} | sudo tee -a {0}\nThen let udev read them:\n  sudo sh -c \"{}\"\n\
         The port then has a lasting name below /dev/encoderd, for `path` under [[serial]].",
        udev::PORT_RULES_FILE,
        port.display(),
        udev::APPLY
    ));
    Ok(ExitCode::SUCCESS)
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Fine => "ok    ",
        Verdict::Note => "note  ",
        Verdict::Failed => "FAILED",
    };
    let simulated = if finding.simulated { " [simulated]" } else { "" };
    let mut text = format!("{mark}  {:13}  {}{simulated}", finding.check, finding.message);
    if let Some(remedy) = &finding.remedy {
        text += "\n                       hint: ";
        text += &whose(finding);
        text += remedy;
    }
    text
}

fn whose(finding: &Finding) -> String {
    finding.who.map(|who| format!("({}) ", who.name())).unwrap_or_default()
}
