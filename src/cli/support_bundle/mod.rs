//! `encoderd support-bundle`: what somebody far away needs to understand a desk, in one file, without its secrets.

mod redact;

use super::{ConfigArguments, print, say};
use crate::config::{API_KEY_VARIABLE, Config};
use crate::control::StatusAnswer;
use crate::keys::{API_KEY_FILE, BRIDGE_TOKEN_FILE, CARD_KEY_FILE};
use crate::probe::{Collected, Context, Machine, Verdict, collect, first, run as run_checks};
use crate::store::state::State;
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use redact::Redactor;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A file of the bundle may be so long; of a longer one its end is kept.
const TEXT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Where to write it (default: encoderd-support-TIME.tar.gz here); no file may be there yet
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// List what it would hold, and write nothing
    #[arg(long)]
    list: bool,
}

/// A file of the bundle.
struct Part {
    name: &'static str,
    about: &'static str,
    text: String,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let machine = Machine::this();
    let now = machine.now;
    let context = Context::gather(machine, arguments.config.config.as_deref(), None).await;
    let parts = parts(&context).await?;
    let listing = listing(&parts);
    if arguments.list {
        print(listing.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = arguments
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("encoderd-support-{}.tar.gz", now.strftime("%Y%m%dT%H%M%SZ"))));
    say(&format!(
        "{} will hold, without keys, tokens, PINs and guests' names, card numbers shortened:\n",
        output.display()
    ));
    say(listing.trim_end());
    write(&output, &parts, now.as_second())?;
    say("\nLook into it before you send it: tar xzf FILE. Send it only to whoever helps you.");
    print(&output.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn listing(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        let _infallible = writeln!(text, "  {:20} {:>8} bytes  {}", part.name, part.text.len(), part.about);
    }
    text
}

async fn parts(context: &Context) -> anyhow::Result<Vec<Part>> {
    let findings = run_checks(context);
    let first = first(&findings);
    let report = serde_json::json!({ "ok": first.is_none(), "first": first, "findings": findings });
    let Collected { versions, udev, usb, journal, metrics, guests, environment } = collect(context).await;
    let redactor = redactor(context, &guests);
    let config = std::fs::read_to_string(&context.config_file).unwrap_or_else(|error| format!("# {error}\n"));
    let status = match &context.status {
        Some(status) => serde_json::to_string_pretty(status)?,
        None => "null".to_owned(),
    };
    let failures = findings.iter().filter(|finding| finding.verdict == Verdict::Failed);
    let summary: Vec<String> = failures.map(|finding| format!("{}: {}\n", finding.check, finding.message)).collect();
    let mut parts = vec![
        Part { name: "failures.txt", about: "what is wrong, by `encoderd probe`", text: summary.concat() },
        Part {
            name: "probe.json",
            about: "all findings of `encoderd probe`",
            text: serde_json::to_string_pretty(&report)?,
        },
        Part { name: "status.json", about: "the running daemon's view", text: status },
        Part { name: "encoderd.toml", about: "the configuration, secrets taken out", text: config },
        Part { name: "versions.txt", about: "encoderd, system, kernel, pcscd", text: versions },
        Part { name: "environment.txt", about: "names of variables that are set, no values", text: environment },
        Part { name: "udev.txt", about: "rules of encoderd's, names of ports", text: udev },
        Part { name: "usb.txt", about: "what is plugged in, as lsusb would say it", text: usb },
        Part {
            name: "state.txt",
            about: "files, counts and ages of the state directory, no content",
            text: state(context).await,
        },
        Part { name: "journal.txt", about: "the service's last log lines", text: journal },
        Part { name: "metrics.txt", about: "what the hub counts", text: metrics },
    ];
    for part in &mut parts {
        part.text = redactor.clean(ending(&part.text));
    }
    parts.retain(|part| !part.text.trim().is_empty());
    Ok(parts)
}

/// The end of a text that is too long, from a whole line on.
fn ending(text: &str) -> &str {
    let Some(from) = text.len().checked_sub(TEXT_BYTES_MAX) else { return text };
    let from =
        text.as_bytes().iter().skip(from).position(|byte| *byte == b'\n').map_or(text.len(), |line| from + line + 1);
    text.get(from..).unwrap_or_default()
}

/// Knows this desk's secrets, as far as who asks may read them.
fn redactor(context: &Context, guests: &[String]) -> Redactor {
    let mut redactor = Redactor::default();
    for guest in guests {
        redactor.add(guest);
    }
    if let Ok(key) = std::env::var(API_KEY_VARIABLE) {
        redactor.add(&key);
    }
    let mut words = |path: &Path| {
        let Ok(text) = std::fs::read_to_string(path) else { return };
        let words = text.split(|character: char| character.is_whitespace() || "\"'=".contains(character));
        // Ids and comments are no secrets; keys are long and without a break.
        words.filter(|word| word.len() >= 24 && !word.contains('-')).for_each(|word| redactor.add(word));
    };
    let directory = context.config.as_ref().map(|config| config.daemon.state_dir.clone());
    for file in [CARD_KEY_FILE, API_KEY_FILE, BRIDGE_TOKEN_FILE] {
        if let Ok(directory) = &directory {
            words(&directory.join(file));
        }
    }
    if let Ok(Some(cloud)) = context.config.as_ref().map(|config: &Config| config.cloud.as_ref()) {
        words(&cloud.token_file);
    }
    redactor
}

/// The state directory's files and what is in the state database, as numbers.
async fn state(context: &Context) -> String {
    let mut text = String::new();
    let Ok(config) = &context.config else { return text };
    let directory = &config.daemon.state_dir;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            let changed = jiff::Timestamp::try_from(about.modified().ok()?).ok()?;
            Some(format!("{:24} {:>12} bytes, changed {changed:.0}", entry.file_name().to_string_lossy(), about.len()))
        })
        .collect();
    files.sort();
    let _infallible = writeln!(text, "{}\n{}", directory.display(), files.join("\n"));
    match State::counts(directory).await {
        Ok(counts) => {
            for (what, waiting) in counts {
                let oldest = waiting.oldest_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
                let oldest = oldest.map(|oldest| format!(", the oldest from {oldest:.0}")).unwrap_or_default();
                let _infallible = writeln!(text, "{what}: {}{oldest}", waiting.count);
            }
        }
        Err(error) => {
            let _infallible = writeln!(text, "state.db: {error}");
        }
    }
    if let Some(StatusAnswer { outbox, journal, .. }) = &context.status {
        let _infallible = writeln!(text, "the daemon says: outbox {}, open jobs {}", outbox.count, journal.count);
    }
    text
}

/// Writes the bundle, for its owner's eyes only.
fn write(path: &Path, parts: &[Part], now: i64) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| anyhow::Error::new(error).context(format!("cannot make {}", path.display())))?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for part in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(part.text.len().try_into()?);
        header.set_mode(0o600);
        header.set_mtime(now.try_into().unwrap_or(0));
        archive.append_data(&mut header, format!("encoderd-support/{}", part.name), part.text.as_bytes())?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{CardKey, write_token};
    use secrecy::SecretString;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// Secrets where a desk has them, and in log lines that should not have held them.
    const CANARIES: &[&str] = &[
        "seam_canary0123456789",
        "bridge_canary9876543210",
        "whsec_Q2FuYXJ5Q2FuYXJ5",
        "canary-passphrase",
        "pa55word",
        "4711",
        "Jane Canary",
        "jane@canary.example",
        "04a1b2c3d4e5f6",
        "deadbeef",
    ];

    #[tokio::test]
    async fn no_canary_leaves_the_desk() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let state = root.path().join("state");
        std::fs::create_dir(&state).unwrap();
        CardKey::create(&state).unwrap();
        let card_key = std::fs::read_to_string(state.join(CARD_KEY_FILE)).unwrap();
        let card_key = card_key.rsplit('"').nth(1).unwrap().to_owned();
        assert_eq!(card_key.len(), 32);
        for (file, token) in [(API_KEY_FILE, "seam_canary0123456789"), (BRIDGE_TOKEN_FILE, "bridge_canary9876543210")] {
            write_token(&state.join(file), &SecretString::from(token)).unwrap();
        }
        // A key that is not known makes the configuration one that is not understood; it is in the bundle all the same.
        let config = format!(
            "[daemon]\nstate_dir = \"{}\"\n[hub]\ndatabase = \"postgres://hub:pa55word@db/hub\"\n\
             [desk]\npin = \"4711\"\n[backup]\npassphrase = \"canary-passphrase\"\n",
            state.display()
        );
        let file = put("encoderd.toml", &config);
        let journal = put(
            "usr/bin/journalctl",
            &format!(
                "#!/bin/sh\ncat <<'END'\n\
                 INFO with seam_canary0123456789 and Bearer bridge_canary9876543210\n\
                 INFO uid=04a1b2c3d4e5f6 card_number=\"deadbeef\" full_name=\"Jane Canary\" email_address=jane@canary.example\n\
                 {{\"secret\":\"whsec_Q2FuYXJ5Q2FuYXJ5\",\"key\":\"{card_key}\",\"url\":\"https://a:pa55word@h/\"}}\n\
                 DEBUG {card_key} kept line\nEND\n"
            ),
        );
        std::fs::set_permissions(journal, std::fs::Permissions::from_mode(0o755)).unwrap();
        let machine = Machine { root: root.path().to_path_buf(), sysfs: root.path().join("sys"), ..Machine::this() };
        let context = Context::gather(machine, Some(&file), None).await;
        let parts = parts(&context).await.unwrap();
        let bundle = root.path().join("bundle.tar.gz");
        write(&bundle, &parts, 0).unwrap();
        assert_eq!(std::fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(&bundle, &parts, 0).is_err(), "an existing file is left alone");
        let mut texts = String::new();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&bundle).unwrap()));
        for entry in archive.entries().unwrap() {
            entry.unwrap().read_to_string(&mut texts).unwrap();
        }
        for kept in ["kept line", "state_dir = ", "postgres://", "de…ef", "[secret]"] {
            assert!(texts.contains(kept), "{kept}: {texts}");
        }
        for canary in CANARIES.iter().copied().chain([card_key.as_str()]) {
            assert!(!texts.contains(canary), "{canary}: {texts}");
        }
    }

    #[test]
    fn of_a_long_text_the_end_is_kept_from_a_whole_line_on() {
        let text = format!("ä{}\nlast\n", "x".repeat(TEXT_BYTES_MAX));
        assert_eq!(ending(&text), "last\n");
        assert_eq!(ending("short"), "short");
    }
}
