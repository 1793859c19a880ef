//! Encoders that the kernel may put to sleep: some do not wake up again.

use super::{Context, Finding};

const NAME: &str = "autosuspend";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let serial = context.claimed.iter().filter_map(|port| port.tty.as_ref()).filter_map(|tty| {
        let (file, control) = tty.power.as_ref()?;
        (control == "auto").then(|| (tty.node.display().to_string(), file.display().to_string()))
    });
    let readers = context.pcsc.iter().flat_map(super::PcscFacts::usb_encoders).filter_map(|reader| {
        let file = context.machine.sysfs.join("bus/usb/devices").join(&reader.port).join("power/control");
        let control = std::fs::read_to_string(&file).ok()?;
        (control.trim() == "auto").then(|| (reader.about(), file.display().to_string()))
    });
    serial
        .chain(readers)
        .map(|(what, file)| {
            Finding::note(NAME, format!("the kernel may put {what} to sleep while nobody uses it"))
                .remedy(format!("echo on | sudo tee {file}; encoderd's udev rules do it at each plugging in"))
        })
        .collect()
}
