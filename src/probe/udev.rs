//! The udev rules: whether they are there, and know the ports that encoderd uses.

use super::machine::Tty;
use super::{Context, Finding};
use crate::udev::PORT_RULES_FILE;
use std::path::Path;

const NAME: &str = "udev";

/// The rules' file. One of the same name of the administrator's stands for the package's. Source: udev(7).
const FILE: &str = "70-encoderd.rules";

/// Where rules lie, the administrator's first.
const FOLDERS: &[&str] = &["etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"];

const RELOAD: &str = "sudo udevadm control --reload && sudo udevadm trigger --action=change --subsystem-match=usb \
     --subsystem-match=usb-serial --subsystem-match=tty";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let machine = &context.machine;
    let Some(file) = FOLDERS.iter().map(|folder| format!("{folder}/{FILE}")).find(|path| machine.is_there(path)) else {
        return missing(context).into_iter().collect();
    };
    let path = machine.path(&file);
    let is_off = std::fs::read_link(&path).is_ok_and(|to| to == Path::new("/dev/null"))
        || std::fs::metadata(&path).is_ok_and(|about| about.len() == 0);
    if is_off {
        let message = format!("{} switches encoderd's udev rules off", path.display());
        return vec![Finding::failed(NAME, message).remedy(format!("sudo rm {} && {RELOAD}", path.display()))];
    }
    let rules: Vec<(String, String)> = machine.texts(FOLDERS, ".rules");
    let ours = rules.iter().filter(|(path, text)| path.ends_with(FILE) || text.contains(crate::udev::MARK));
    let ours: String = ours.map(|(_, text)| text.to_lowercase()).collect::<Vec<_>>().join("\n");
    let unknown: Vec<Finding> = context
        .claimed
        .iter()
        .filter_map(|port| port.tty.as_ref())
        .filter(|tty| !knows(&ours, tty))
        .map(|tty| unknown(&tty.node))
        .collect();
    if unknown.is_empty() { vec![Finding::fine(NAME, format!("/{file} is in place"))] } else { unknown }
}

/// Without the package, by hand, nobody expects rules.
fn missing(context: &Context) -> Option<Finding> {
    context.unit.file.as_ref()?;
    let message = format!("there is no {FILE}: ports are not given to encoderd, and ModemManager is not kept off them");
    let remedy = format!("sudo apt install --reinstall encoderd && {RELOAD}");
    Some(if context.claimed.iter().any(|port| port.tty.is_some()) {
        Finding::failed(NAME, message).remedy(remedy)
    } else {
        Finding::note(NAME, message).remedy(remedy)
    })
}

/// Whether a rule names the device's ids. Rules write them in small letters, as sysfs does.
fn knows(rules: &str, tty: &Tty) -> bool {
    let (vendor, product) = (format!("\"{:04x}\"", tty.ids.0), format!("\"{:04x}\"", tty.ids.1));
    rules.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(&vendor) && line.contains(&product))
}

fn unknown(node: &Path) -> Finding {
    let node = node.display();
    let message =
        format!("no udev rule of encoderd's knows {node}: ModemManager may speak to it, and its number may change");
    let remedy = format!("encoderd probe --udev {node} | sudo tee -a {PORT_RULES_FILE} && {RELOAD}");
    Finding::note(NAME, message).remedy(remedy)
}
