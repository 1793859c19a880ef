//! Programs of the system that take serial ports for theirs: `ModemManager`, brltty, gpsd.

use super::machine::{holders, named, portless};
use super::{Context, Finding};
use crate::udev::MARK;

const NAME: &str = "grabbers";

/// A program that takes ports.
pub(super) struct Grabber {
    /// Its process's name.
    pub(super) name: &'static str,
    /// What it takes a port for.
    takes_it_for: &'static str,
    /// What keeps it off.
    remedy: &'static str,
}

/// Source: `ModemManager`, "Modem filter"; brltty's and gpsd's udev rules of Ubuntu 22.04 and Debian 12.
pub(super) const GRABBERS: &[Grabber] = &[
    Grabber {
        name: "ModemManager",
        takes_it_for: "a modem",
        remedy: "sudo systemctl disable --now ModemManager, if no modem is used here; else: \
                 encoderd probe --udev PORT | sudo tee -a /etc/udev/rules.d/69-encoderd-ports.rules, and restart the PC",
    },
    Grabber {
        name: "brltty",
        takes_it_for: "a braille display",
        remedy: "sudo apt remove brltty, then unplug the encoder and plug it in again",
    },
    Grabber {
        name: "gpsd",
        takes_it_for: "a GPS receiver",
        remedy: "sudo systemctl disable --now gpsd.socket gpsd, if no GPS is used here",
    },
];

/// The rules by which brltty and gpsd take bridge chips.
const RULES: &[(&str, &str)] = &[("brltty", "brltty.rules"), ("gpsd", "gpsd.rules")];

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let held = context.claimed.iter().flat_map(|port| {
        let holders = holders(&context.machine, &port.path);
        holders.into_iter().filter_map(|(name, pid)| {
            let grabber = GRABBERS.iter().find(|grabber| grabber.name == name)?;
            let (path, what) = (port.path.display(), grabber.takes_it_for);
            let message = format!("{name} (pid {pid}) holds {path}: it takes it for {what}");
            Some(Finding::failed(NAME, message).remedy(grabber.remedy.replace("PORT", &path.to_string())))
        })
    });
    let held: Vec<Finding> = held.collect();
    if !held.is_empty() {
        return held;
    }
    let kicked_off = kicked_off(context);
    if kicked_off.is_empty() { waiting(context) } else { kicked_off }
}

/// A configured port that is gone, and a chip without a port whose driver brltty's rules have taken off.
fn kicked_off(context: &Context) -> Vec<Finding> {
    if !context.claimed.iter().any(|port| port.is_configured && !port.path.exists()) {
        return Vec::new();
    }
    let chips = portless(&context.machine, &context.ttys);
    let taken = chips.iter().flat_map(|chip| rules_for(context, chip.ids).into_iter().map(move |name| (name, chip)));
    taken
        .filter_map(|(name, chip)| {
            let grabber = GRABBERS.iter().find(|grabber| grabber.name == name)?;
            let ((vendor, product), port) = (chip.ids, &chip.port);
            let message = format!(
                "{name} has taken the chip {vendor:04x}:{product:04x} at USB port {port} from its driver: it takes it for {}",
                grabber.takes_it_for
            );
            Some(Finding::failed(NAME, message).remedy(grabber.remedy))
        })
        .collect()
}

/// Programs that do not hold a port now, and may at the next plugging in.
fn waiting(context: &Context) -> Vec<Finding> {
    let ttys = context.claimed.iter().filter_map(|port| port.tty.as_ref());
    ttys.flat_map(|tty| {
        let mut names: Vec<&str> = rules_for(context, tty.ids);
        if !named(&context.machine, "ModemManager").is_empty() && !is_ignored(context, tty) {
            names.push("ModemManager");
        }
        names.into_iter().map(move |name| {
            let message = format!("{name} may take {} when it is plugged in", tty.node.display());
            let remedy = GRABBERS.iter().find(|grabber| grabber.name == name).map_or("", |grabber| grabber.remedy);
            Finding::note(NAME, message).remedy(remedy.replace("PORT", &tty.node.display().to_string()))
        })
    })
    .collect()
}

/// The programs with an active rule for this chip.
fn rules_for(context: &Context, (vendor, product): (u16, u16)) -> Vec<&'static str> {
    let rules = context.machine.texts(&["etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"], ".rules");
    let names = RULES.iter().filter(|(_, file)| {
        rules.iter().filter(|(path, _)| path.ends_with(file)).any(|(_, text)| takes(text, vendor, product))
    });
    names.map(|(name, _)| *name).collect()
}

/// brltty writes `ENV{PRODUCT}=="1a86/7523/*"`, gpsd `ATTRS{idVendor}=="10c4", ATTRS{idProduct}=="ea60"`.
fn takes(rules: &str, vendor: u16, product: u16) -> bool {
    let pair = format!("\"{vendor:x}/{product:x}/");
    let (vendor, product) = (format!("\"{vendor:04x}\""), format!("\"{product:04x}\""));
    let active = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    active.map(str::to_lowercase).any(|line| line.contains(&pair) || line.contains(&vendor) && line.contains(&product))
}

/// Whether a rule tells `ModemManager` to leave the device alone.
fn is_ignored(context: &Context, tty: &super::Tty) -> bool {
    let rules = context.machine.texts(&["etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"], ".rules");
    rules.iter().any(|(_, text)| text.contains(MARK) && takes(text, tty.ids.0, tty.ids.1))
}
