//! Readers that a driver of the kernel has taken: pcscd cannot claim them ("Can't claim interface", `LIBUSB_ERROR_BUSY`).

use super::pcsc::{Facts, Held};
use super::{Context, Finding};

const NAME: &str = "kernel";

/// The file that keeps the modules from being loaded.
const BLACKLIST: &str = "/etc/modprobe.d/encoderd.conf";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    context.pcsc.iter().flat_map(judge).collect()
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let held = facts.usb.iter().filter(|reader| reader.not_an_encoder().is_none());
    held.filter_map(|reader| match &reader.held {
        Held::Kernel { driver, module } => {
            let message =
                format!("{} is held by the kernel's driver {driver}, so PC/SC cannot have it", reader.about());
            Some(Finding::failed(NAME, message).remedy(free(module)))
        }
        Held::Free | Held::Program(_) => None,
    })
    .collect()
}

/// Takes a module out of the kernel and keeps it out. A module that others are built on goes with them.
fn free(module: &str) -> String {
    let lines = if module == "pn533_usb" {
        "blacklist pn533_usb\\nblacklist pn533\\nblacklist nfc\\n".to_owned()
    } else {
        format!("blacklist {module}\\n")
    };
    format!(
        "printf '{lines}' | sudo tee {BLACKLIST} && sudo modprobe -r {module}, \
         then unplug the reader and plug it in again"
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::pcsc::planted::Machine;
    use super::*;

    #[test]
    fn the_kernels_driver_is_named_and_removed() {
        let machine = Machine::new();
        machine.plug_acr122u("1-1.2");
        assert_eq!(machine.look(look), []);
        machine.bind("1-1.2", "pn533_usb");
        let found = machine.finding(look);
        assert_eq!(found.verdict, Verdict::Failed);
        let words = "ACS ACR122U (072f:2200) at USB port 1-1.2 is held by the kernel's driver pn533_usb";
        assert!(found.message.starts_with(words), "{}", found.message);
        // The modules that Debian's libnfc-bin 1.8.0 blacklists for the same reason.
        let remedy = "printf 'blacklist pn533_usb\\nblacklist pn533\\nblacklist nfc\\n' | sudo tee /etc/modprobe.d/encoderd.conf \
            && sudo modprobe -r pn533_usb, then unplug the reader and plug it in again";
        assert_eq!(found.remedy.as_deref(), Some(remedy));
    }

    #[test]
    fn another_driver_is_removed_by_its_own_name_and_programs_are_none() {
        let machine = Machine::new();
        machine.plug_ccid("1-1", (0x054C, 0x06C1), "RC-S380/S");
        machine.bind("1-1", "port100");
        machine.plug_acr122u("1-2");
        machine.bind("1-2", "usbfs");
        machine.plug_ccid("1-3", (0x1050, 0x0407), "YubiKey OTP+FIDO+CCID");
        machine.bind("1-3", "odd");
        let found = machine.finding(look);
        assert!(found.message.contains("port100"), "{}", found.message);
        let remedy = found.remedy.unwrap();
        assert!(
            remedy.starts_with("printf 'blacklist port100\\n' |") && remedy.contains("modprobe -r port100"),
            "{remedy}"
        );
    }
}
