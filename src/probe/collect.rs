//! What a support bundle holds besides findings: versions, rules, devices, log lines. As it is; the bundle takes secrets out.

use super::Context;
use super::machine::{list, text};
use std::fmt::Write as _;

/// Texts for a support bundle.
#[derive(Debug, Default)]
pub struct Collected {
    /// Versions of what encoderd stands on.
    pub versions: String,
    /// udev rules of encoderd's, and the lasting names of ports.
    pub udev: String,
    /// What is plugged in.
    pub usb: String,
    /// The service's last log lines.
    pub journal: String,
    /// What the hub counts.
    pub metrics: String,
    /// Guests' names and addresses, for taking them out.
    pub guests: Vec<String>,
    /// Names of variables.
    pub environment: String,
}

/// Log lines that are kept.
const LINES: &str = "3000";

/// What of a USB device is told.
const USB_FILES: &[&str] =
    &["idVendor", "idProduct", "manufacturer", "product", "serial", "speed", "authorized", "power/control"];

/// Gathers them.
pub async fn collect(context: &Context) -> Collected {
    let machine = &context.machine;
    let journal = ["-u", "encoderd", "-n", LINES, "--no-pager", "-o", "short-iso-precise"];
    Collected {
        versions: versions(context).await,
        udev: udev(context),
        usb: usb(context),
        journal: machine.output("journalctl", &journal).await.unwrap_or_default(),
        metrics: context.hub.metrics.clone().unwrap_or_default(),
        guests: context.hub.guests.clone(),
        environment: variables(),
    }
}

/// Which of our variables are set; their values may be secret.
fn variables() -> String {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("ENCODERD_") || name.starts_with("PCSCLITE_") || name == "SYSFS_PATH")
        .collect();
    names.sort();
    names.join("\n")
}

async fn versions(context: &Context) -> String {
    let machine = &context.machine;
    let mut told = format!("encoderd {}\n", env!("CARGO_PKG_VERSION"));
    for file in ["proc/version", "etc/os-release"] {
        let _infallible = writeln!(told, "\n{file}:\n{}", machine.text(file).unwrap_or_default());
    }
    for (program, argument) in [("systemctl", "--version"), ("udevadm", "--version")] {
        if let Some(version) = machine.output(program, &[argument]).await {
            let _infallible = writeln!(told, "\n{program}: {}", version.lines().next().unwrap_or_default());
        }
    }
    for package in ["encoderd", "pcscd", "libccid", "libpcsclite1", "modemmanager", "brltty", "gpsd"] {
        let arguments = ["--show", "--showformat=${Package} ${Version} ${db:Status-Status}", package];
        if let Some(version) = machine.output("dpkg-query", &arguments).await {
            let _infallible = writeln!(told, "{version}");
        }
    }
    told
}

fn udev(context: &Context) -> String {
    let machine = &context.machine;
    let folders = ["etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"];
    let mut told = String::new();
    for (path, text) in machine.texts(&folders, ".rules").iter().filter(|(_, text)| text.contains(crate::udev::MARK)) {
        let _infallible = writeln!(told, "/{path}:\n{text}\n");
    }
    for folder in ["dev/encoderd", "dev/serial/by-id", "dev/serial/by-path"] {
        for name in machine.list(folder) {
            let link = machine.path(folder).join(&name);
            let to = std::fs::read_link(&link).unwrap_or_default();
            let _infallible = writeln!(told, "/{folder}/{name} -> {}", to.display());
        }
    }
    told
}

fn usb(context: &Context) -> String {
    let folder = context.machine.sysfs.join("bus/usb/devices");
    let mut told = String::new();
    for name in list(&folder) {
        let device = folder.join(&name);
        if name.contains(':') {
            let class = text(&device.join("bInterfaceClass")).unwrap_or_default();
            let driver = super::machine::link_name(&device.join("driver")).unwrap_or_else(|| "no driver".to_owned());
            let _infallible = writeln!(told, "    {name}: class {class}, {driver}");
            continue;
        }
        let known = USB_FILES.iter().filter_map(|file| Some(format!("{file}={}", text(&device.join(file))?)));
        let _infallible = writeln!(told, "{name}: {}", known.collect::<Vec<_>>().join(", "));
    }
    for tty in &context.ttys {
        let latency = tty.latency.as_ref().map(|(_, ms)| format!(", latency timer {ms} ms")).unwrap_or_default();
        let driver = tty.driver.as_deref().unwrap_or("no driver");
        let _infallible = writeln!(told, "{} ({driver}{latency})", tty.about());
    }
    told
}
