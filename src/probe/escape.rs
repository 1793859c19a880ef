//! Whether drivers let commands to the reader itself pass: lamp, buzzer and firmware without a card. Never a failure.

use super::pcsc::{Driver, Facts, Reader, driver_of};
use super::{Context, Finding, pcscd};

const NAME: &str = "escape";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    context.pcsc.iter().flat_map(judge).collect()
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let closed = facts.drivers.iter().filter(|driver| !driver.lets_escapes_pass());
    closed
        .filter_map(|driver| {
            let speakers: Vec<String> = facts
                .readers()
                .iter()
                .filter(|reader| {
                    reader.is_encoder() && (reader.profile.feedback.is_some() || reader.profile.firmware.is_some())
                })
                .filter(|reader| drives(facts, driver, reader))
                .map(|reader| format!("\"{}\"", reader.name))
                .collect();
            (!speakers.is_empty()).then(|| note(facts, driver, &speakers.join(", ")))
        })
        .collect()
}

/// Whether this driver has this reader: its names start as the driver's own list has them.
fn drives(facts: &Facts, driver: &Driver, reader: &Reader) -> bool {
    driver.readers.iter().any(|known| {
        let is_name =
            reader.name.strip_prefix(&known.name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        is_name && driver_of(&facts.drivers, known.ids).is_some_and(|(chosen, _)| chosen == driver)
    })
}

fn note(facts: &Facts, driver: &Driver, readers: &str) -> Finding {
    let (plist, options) = (driver.plist.display(), driver.options);
    let message = format!(
        "{readers}: the driver {} lets no escape commands pass (ifdDriverOptions 0x{options:04X} in {plist}), so lamp and \
         buzzer may stay still, and the firmware untold, while no card lies there; cards are encoded all the same",
        driver.name
    );
    let remedy = format!(
        "sudo sed -i '/<key>ifdDriverOptions</{{n;s/0x[0-9A-Fa-f]*/0x{:04X}/}}' {plist} && {}; \
         an update of the driver may put it back",
        driver.options_with_escapes(),
        pcscd::restart(facts)
    );
    Finding::note(NAME, message).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::pcsc::planted::{ACR122U, ACR122U_NAME, Machine, reader};
    use super::*;

    fn machine() -> Machine {
        let mut machine = Machine::new();
        machine.list(vec![reader(&format!("{ACR122U_NAME} 00 00")), reader("Generic 01 00")]);
        machine
    }

    #[test]
    fn a_driver_that_refuses_escapes_is_a_note_with_the_line_to_change() {
        let machine = machine();
        let found = machine.finding(look);
        assert_eq!(found.verdict, Verdict::Note);
        assert!(
            found.message.starts_with("\"ACS ACR122U PICC Interface 00 00\": the driver ifd-ccid"),
            "{}",
            found.message
        );
        let remedy = found.remedy.unwrap();
        // The sed is pasted into a shell below; here: the right value for the right file.
        let plist = machine.path("usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist");
        let command = format!("/0x0001/}}' {} && sudo systemctl stop pcscd.service", plist.display());
        assert!(remedy.contains(&command), "{remedy}");
    }

    #[test]
    fn other_options_are_kept_and_allowed_escapes_are_silent() {
        let machine = machine();
        machine.driver("ifd-ccid", "CCIDCLASSDRIVER", "0x0014", &[(ACR122U, ACR122U_NAME)]);
        assert!(machine.finding(look).remedy.unwrap().contains("/0x0015/"));
        machine.driver("ifd-ccid", "CCIDCLASSDRIVER", "0x0001", &[(ACR122U, ACR122U_NAME)]);
        assert_eq!(machine.look(look), []);
    }

    #[test]
    fn only_the_driver_that_has_the_reader_counts() {
        let machine = machine();
        machine.driver("ifd-acsccid", "ACSCCID", "0x0001", &[(ACR122U, ACR122U_NAME)]);
        assert_eq!(machine.look(look), []);
        let mut nobody = Machine::new();
        nobody.list(vec![reader("Generic 01 00")]);
        assert_eq!(nobody.look(look), []);
    }

    #[test]
    fn the_remedy_changes_libccids_own_file_as_it_says() {
        // Debian's file, with comments and empty lines as they are.
        let file = ["/etc/libccid_Info.plist", "/usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist"]
            .into_iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .expect("libccid comes with pcscd; `make setup-test` installs it");
        let machine = machine();
        let plist = "usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist";
        machine.put(
            plist,
            &file.replace("<string>0x0001</string>\n\n\t<!-- Possible", "<string>0x0000</string>\n\n\t<!-- Possible"),
        );
        let remedy = machine.finding(look).remedy.unwrap();
        let sed = remedy.strip_prefix("sudo ").unwrap().split_once(" && ").unwrap().0.to_owned();
        let done = std::process::Command::new("sh").args(["-c", &sed]).status().unwrap();
        assert!(done.success());
        assert_eq!(machine.look(look), []);
        let after = std::fs::read_to_string(machine.path(plist)).unwrap();
        assert_eq!(after.lines().zip(file.lines()).filter(|(after, before)| after != before).count(), 1);
    }
}
