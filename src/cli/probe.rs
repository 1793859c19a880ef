//! `encoderd probe`: checks this PC and its encoders. Exit 0 all fine, 1 a check failed, 2 usage.

use super::status::fetch;
use super::{ConfigArguments, print, print_json, say};
use crate::config::Config;
use crate::probe::{Context, Finding, PcscFacts, Verdict, run as run_checks};
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
    findings: &'a [Finding],
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(port) = &arguments.udev {
        return udev_rules(port);
    }
    let named = arguments.config.config.as_deref();
    let (config, config_file) = (Config::load(named), Config::path(named));
    let status = match &config {
        Ok(config) => fetch(&config.running_control_socket()).await.ok(),
        Err(_) => None,
    };
    let port = arguments.port.clone().zip(arguments.dialect);
    let pcsc = match &config {
        Ok(config) if config.discovery.pcsc && port.is_none() => Some(PcscFacts::gather(status.as_ref()).await),
        Ok(_) | Err(_) => None,
    };
    let findings = run_checks(&Context { config, config_file, status, pcsc, port }).await;
    let ok = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
    if arguments.json {
        print_json(&Report { ok, findings: &findings })?;
    } else {
        for finding in &findings {
            print(&line(finding))?;
        }
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
        text += remedy;
    }
    text
}
