//! Readers on USB that PC/SC does not list: without a driver, taken by a program, blocked, or dead until they are plugged in
//! again.

use super::pcsc::{Driver, Facts, Held, Installer, PcscSight, Reader, UsbReader, driver_of};
use super::{Context, Finding, Verdict, pcscd};

const NAME: &str = "usb";

/// ACS has a driver of its own, for what libccid leaves out.
const ACS: u16 = 0x072F;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    context.pcsc.iter().flat_map(judge).collect()
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let readers = match &facts.answer {
        PcscSight::Running(readers) => readers,
        // No reader is listed, and `pcscd` has said why.
        PcscSight::Silent | PcscSight::Gone(_) => return Vec::new(),
    };
    let missing = missing(&facts.usb, readers, &facts.drivers);
    let encoders = facts.usb.iter().filter(|reader| reader.not_an_encoder().is_none()).count();
    if missing.is_empty() {
        let all = |count: usize| Finding::fine(NAME, format!("readers on USB: {count}, all of them in PC/SC"));
        return (encoders > 0).then(|| all(encoders)).into_iter().collect();
    }
    missing.into_iter().filter_map(|reader| explain(facts, reader)).collect()
}

/// The USB readers that are no readers in PC/SC.
fn missing<'a>(usb: &'a [UsbReader], readers: &[Reader], drivers: &[Driver]) -> Vec<&'a UsbReader> {
    let mut left: Vec<&Reader> = readers.iter().collect();
    let mut unsure = Vec::new();
    for device in usb {
        let before = left.len();
        left.retain(|reader| !is_surely(device, reader));
        if left.len() == before {
            unsure.push(device);
        }
    }
    // By name alone two of a kind cannot be told apart; they can be counted. Each takes one reader, with all its slots.
    unsure.retain(|device| {
        let Some(found) = left.iter().position(|reader| is_of_its_kind(device, reader, drivers)) else { return true };
        let number = left.get(found).map(|reader| number(&reader.name)).unwrap_or_default().to_owned();
        left.retain(|reader| !is_of_its_kind(device, reader, drivers) || self::number(&reader.name) != number);
        false
    });
    unsure
}

/// By identity, or by a serial number in the name.
fn is_surely(device: &UsbReader, reader: &Reader) -> bool {
    let (vendor, product) = device.ids;
    let by_port = format!("pcsc-{vendor:04x}:{product:04x}-{}", device.port);
    let by_serial = device.serial.as_ref().map(|serial| format!("usb-{vendor:04x}:{product:04x}-{serial}"));
    // A slot behind the first has its number behind the identity.
    let id = reader.device_id.as_deref().map(|id| id.split_once('#').map_or(id, |(device, _slot)| device));
    id == Some(by_port.as_str())
        || id.is_some() && id == by_serial.as_deref()
        || device.serial.as_ref().is_some_and(|serial| reader.name.contains(&format!("({serial})")))
}

/// By the name that the driver gives it, where nothing better is known of the reader.
fn is_of_its_kind(device: &UsbReader, reader: &Reader, drivers: &[Driver]) -> bool {
    if reader.device_id.as_ref().is_some_and(|id| !id.starts_with("reader-")) {
        return false;
    }
    if let Some((_, name)) = driver_of(drivers, device.ids) {
        return reader.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    }
    device.profile().is_some_and(|profile| profile.name == reader.profile.name)
}

/// The reader's number in a PC/SC name, `NN` of its trailing `NN MM`: slots of one reader share it.
fn number(name: &str) -> &str {
    name.rsplit(' ').nth(1).unwrap_or_default()
}

fn explain(facts: &Facts, reader: &UsbReader) -> Option<Finding> {
    if reader.not_an_encoder().is_some() {
        return None;
    }
    let about = reader.about();
    // What nobody knows for an encoder may be somebody's reader for something else.
    let finding = |why: &str, remedy: String| {
        let verdict = if reader.profile().is_some() { Verdict::Failed } else { Verdict::Note };
        Some(Finding::new(NAME, verdict, format!("{about} is not in PC/SC: {why}")).remedy(remedy))
    };
    if reader.is_blocked {
        let remedy = format!(
            "echo 1 | sudo tee /sys/bus/usb/devices/{}/authorized; with USBGuard: sudo usbguard allow-device {:04x}:{:04x}",
            reader.port, reader.ids.0, reader.ids.1
        );
        return finding("the kernel was told to let nobody use it", remedy);
    }
    let programs = match &reader.held {
        // `kernel` has said it.
        Held::Kernel { .. } => return None,
        Held::Free => None,
        Held::Program(programs) => Some(programs.iter().filter(|name| !name.starts_with("pcscd ")).cloned()),
    };
    if driver_of(&facts.drivers, reader.ids).is_none() {
        return finding("pcscd has no driver that knows it", driver_for(facts, reader.ids));
    }
    match programs.map(Iterator::collect::<Vec<String>>) {
        Some(programs) if !programs.is_empty() => {
            let why = format!("{} has it for itself, past PC/SC", programs.join(", "));
            finding(&why, "close that program, then unplug the reader and plug it in again".to_owned())
        }
        Some(_) | None => finding(
            "it does not answer its driver",
            format!(
                "unplug the reader, wait five seconds, plug it in again, best into another port with another cable; \
                 if it stays away: {}, and what pcscd says: {}",
                pcscd::restart(facts),
                pcscd::log(facts)
            ),
        ),
    }
}

fn driver_for(facts: &Facts, (vendor, _): (u16, u16)) -> String {
    let has_class_driver = facts.drivers.iter().any(|driver| driver.takes_a_class);
    let package = match (facts.installation.installer, vendor, has_class_driver) {
        (Installer::Apt, ACS, true) => "sudo apt install libacsccid1",
        (Installer::Apt, _, false) => "sudo apt install libccid",
        (Installer::Apt, _, true) => "sudo apt update && sudo apt install libccid",
        (Installer::Dnf, ACS, true) => "sudo dnf install pcsc-lite-acsccid",
        (Installer::Dnf, _, _) => "sudo dnf install pcsc-lite-ccid",
        (Installer::Other, ACS, true) => "install ACS's driver for PC/SC, acsccid",
        (Installer::Other, _, _) => "install the newest CCID driver for PC/SC",
    };
    format!("{package}, then {}", pcscd::restart(facts))
}

#[cfg(test)]
mod tests {
    use super::super::pcsc::planted::{ACR122U_NAME, Machine, reader};
    use super::*;
    use crate::transport::pcsc::ServiceProblem;

    fn named(number: &str) -> Reader {
        reader(&format!("{ACR122U_NAME} {number}"))
    }

    fn identified(number: &str, device_id: &str) -> Reader {
        Reader { device_id: Some(device_id.to_owned()), ..named(number) }
    }

    #[track_caller]
    fn expect(machine: &Machine, verdict: Verdict, words: &[&str], remedy: &str) {
        let found = machine.finding(look);
        assert_eq!(found.verdict, verdict, "{found:#?}");
        for word in words {
            assert!(found.message.contains(word), "{word}: {found:#?}");
        }
        let told = found.remedy.as_deref().unwrap_or_default();
        assert!(told.starts_with(remedy), "{told}");
    }

    #[test]
    fn readers_that_are_all_there_are_counted() {
        let mut machine = Machine::new();
        assert_eq!(machine.look(look), []);
        machine.plug_acr122u("1-1");
        machine.plug_acr122u("1-2");
        machine.list(vec![named("00 00"), named("01 00")]);
        expect(&machine, Verdict::Fine, &["2, all of them"], "");
    }

    #[test]
    fn a_reader_that_does_not_answer_its_driver_is_plugged_in_again() {
        let mut machine = Machine::new();
        machine.plug_acr122u("1-1");
        let plug = "unplug the reader, wait five seconds, plug it in again";
        let words = ["ACS ACR122U (072f:2200) at USB port 1-1 is not in PC/SC", "does not answer its driver"];
        expect(&machine, Verdict::Failed, &words, plug);
        // Another one's reader, and another reader's name, do not stand for it.
        machine.list(vec![identified("00 00", "pcsc-072f:2200-1-2"), reader("ACS ACR122UX 00 00")]);
        expect(&machine, Verdict::Failed, &words, plug);
        // While the service is the trouble, it alone is reported.
        machine.gone(ServiceProblem::NotRunning);
        assert_eq!(machine.look(look), []);
    }

    #[test]
    fn of_two_of_a_kind_the_missing_one_is_known_by_its_port() {
        let mut machine = Machine::new();
        machine.plug_acr122u("1-1");
        machine.plug_acr122u("1-2");
        machine.list(vec![identified("00 00", "pcsc-072f:2200-1-2")]);
        expect(&machine, Verdict::Failed, &["USB port 1-1 is not in PC/SC"], "unplug");
        // By names alone they can only be counted; two slots of one reader are one reader.
        machine.list(vec![named("00 00"), named("00 01")]);
        expect(&machine, Verdict::Failed, &["is not in PC/SC"], "unplug");
        machine.list(vec![named("00 00"), identified("01 01", "pcsc-072f:2200-1-1#01")]);
        expect(&machine, Verdict::Fine, &["all of them"], "");
        machine.put("sys/bus/usb/devices/1-2/serial", "A77\n");
        machine.list(vec![reader(&format!("{ACR122U_NAME} (A77) 00 00"))]);
        expect(&machine, Verdict::Failed, &["USB port 1-1 is not in PC/SC"], "unplug");
        machine.list(vec![identified("00 00", "usb-072f:2200-A77")]);
        expect(&machine, Verdict::Failed, &["USB port 1-1 is not in PC/SC"], "unplug");
    }

    #[test]
    fn a_missing_driver_is_named_by_its_package() {
        let machine = Machine::new();
        machine.plug_acr122u("1-1");
        machine.driver("ifd-ccid", "CCIDCLASSDRIVER", "0x0000", &[]);
        expect(
            &machine,
            Verdict::Failed,
            &["no driver that knows it"],
            "sudo apt install libacsccid1, then sudo systemctl",
        );
        machine.delete("usr/lib/pcsc/drivers");
        expect(&machine, Verdict::Failed, &["no driver that knows it"], "sudo apt install libccid, then");
        machine.delete("usr/bin/apt-get");
        machine.put("usr/bin/dnf", "");
        expect(&machine, Verdict::Failed, &["no driver that knows it"], "sudo dnf install pcsc-lite-ccid, then");
    }

    #[test]
    fn a_stranger_without_driver_is_a_note_and_a_security_key_nothing() {
        let machine = Machine::new();
        machine.plug_ccid("1-1", (0x1D50, 0x60FC), "Some reader");
        expect(&machine, Verdict::Note, &["Some reader (1d50:60fc)"], "sudo apt update && sudo apt install libccid");
        machine.delete("sys");
        machine.plug_ccid("1-1", (0x1050, 0x0407), "YubiKey OTP+FIDO+CCID");
        assert_eq!(machine.look(look), []);
    }

    #[test]
    fn a_blocked_reader_is_let_in() {
        let machine = Machine::new();
        machine.plug_acr122u("1-1.2");
        machine.put("sys/bus/usb/devices/1-1.2/authorized", "0\n");
        let allow = "echo 1 | sudo tee /sys/bus/usb/devices/1-1.2/authorized; \
            with USBGuard: sudo usbguard allow-device 072f:2200";
        expect(&machine, Verdict::Failed, &["let nobody use it"], allow);
    }

    #[test]
    fn what_the_kernel_holds_is_explained_there() {
        let machine = Machine::new();
        machine.plug_acr122u("1-1");
        machine.bind("1-1", "pn533_usb");
        assert_eq!(machine.look(look), []);
    }

    #[test]
    fn a_program_that_drives_the_reader_itself_is_named() {
        let usb = UsbReader {
            port: "1-1".to_owned(),
            ids: super::super::pcsc::planted::ACR122U,
            product: String::new(),
            serial: None,
            node: std::path::PathBuf::new(),
            is_blocked: false,
            held: Held::Program(vec!["pcscd (pid 3)".to_owned(), "nfc-list (pid 4)".to_owned()]),
        };
        let machine = Machine::new();
        let found = explain(&machine.facts(), &usb).unwrap();
        assert!(found.message.contains(": nfc-list (pid 4) has it for itself"), "{}", found.message);
        assert!(found.remedy.unwrap().starts_with("close that program"));
        let pcscds = UsbReader { held: Held::Program(vec!["pcscd (pid 3)".to_owned()]), ..usb };
        assert!(explain(&machine.facts(), &pcscds).unwrap().message.contains("does not answer its driver"));
    }
}
