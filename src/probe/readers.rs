//! The readers in PC/SC: which are encoders, by which identity, and who else has them.

use super::pcsc::{Facts, Hold, Program, Reader};
use super::{Context, Finding, pcscd};
use crate::discovery::pcsc::Role;
use crate::transport::pcsc::CardState;
use encoder_protocols::dialect::pcsc_storage::FirmwareQuestion;

const NAME: &str = "readers";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    context.pcsc.iter().flat_map(|facts| facts.readers().iter().map(|reader| judge(facts, reader))).collect()
}

fn judge(facts: &Facts, reader: &Reader) -> Finding {
    let name = format!("\"{}\"", reader.name);
    let finding = match &reader.role {
        Role::NotAnEncoder { why } => Finding::note(NAME, format!("{name}: not an encoder, left alone: {why}")),
        Role::Ambiguous { with } => {
            Finding::failed(NAME, format!("{name} cannot be told apart from {}: neither is used", with.join(", ")))
                .remedy("unplug one of them; with serial numbers, or on USB ports that are known, both would be used")
        }
        Role::Encoder | Role::Unidentified if reader.hold == Hold::Exclusive => {
            let (who, remedy) = holders(&facts.programs);
            Finding::failed(NAME, format!("{name}: another program has it for itself{who}")).remedy(remedy)
        }
        Role::Unidentified if reader.hold == Hold::Refused => {
            let message = format!("{name}: polkit lets {} see this reader and not use it", facts.user);
            Finding::failed(NAME, message).remedy(pcscd::polkit_rule(&facts.user))
        }
        Role::Encoder => usable(facts, reader, &name),
        Role::Unidentified => Finding::note(NAME, format!("{name}: its driver does not tell which reader it is"))
            .remedy("unplug the reader and plug it in again; until it is known it is not used"),
    };
    finding.simulated(reader.simulated)
}

fn usable(facts: &Facts, reader: &Reader, name: &str) -> Finding {
    let card = match reader.card {
        CardState::Absent => "no card",
        CardState::Present => "a card",
        CardState::Mute => "a card that does not answer",
        CardState::Unknown => {
            return Finding::failed(NAME, format!("{name}: its driver has lost it"))
                .remedy("unplug the reader, wait five seconds and plug it in again");
        }
    };
    let mut parts = vec![format!("{name}: profile {}", reader.profile.name)];
    parts.extend(reader.device_id.clone());
    parts.push(card.to_owned());
    // With a daemon it is the daemon itself.
    if reader.hold == Hold::Shared && facts.daemon.is_none() {
        parts.push("in use by another program, which shares it".to_owned());
    }
    if let (Some(FirmwareQuestion::Acr122), Some(firmware)) = (reader.profile.firmware, firmware(reader)) {
        parts.push(format!("firmware {firmware}, told without a status word as this model does"));
    }
    let text = parts.join(", ");
    if reader.device_id.as_ref().is_some_and(|id| id.starts_with("reader-")) && !reader.simulated {
        return Finding::note(NAME, format!("{text}; it has no serial number and its USB port is not known"))
            .remedy("plug in no second reader of this kind: it could take this one's place");
    }
    Finding::fine(NAME, text)
}

fn firmware(reader: &Reader) -> Option<&String> {
    match (&reader.encoder, &reader.tried) {
        (Some(encoder), _) => encoder.firmware.as_ref(),
        (None, Some(Ok(check))) => Some(&check.reader.firmware),
        (None, Some(Err(_)) | None) => None,
    }
}

/// Who may have a reader for himself, and how he gives it back. pcscd does not tell which of its clients it is.
fn holders(programs: &[Program]) -> (String, String) {
    let named: Vec<String> = programs.iter().map(|program| format!("{} (pid {})", program.name, program.pid)).collect();
    let who = match named.as_slice() {
        [] => String::new(),
        [only] => format!("; besides encoderd this program uses PC/SC: {only}"),
        several => format!("; these programs use PC/SC: {}", several.join(", ")),
    };
    let mut remedies: Vec<String> = programs.iter().map(release).collect();
    remedies.dedup();
    if remedies.is_empty() {
        remedies.push("close that program; to see which programs use PC/SC: sudo encoderd probe".to_owned());
    }
    (who, remedies.join("; "))
}

fn release(program: &Program) -> String {
    match program.name.as_str() {
        // Source: GnuPG manual, scdaemon options.
        "scdaemon" => "echo pcsc-shared >> ~/.gnupg/scdaemon.conf && gpgconf --kill scdaemon".to_owned(),
        name => format!("close {name}, or: kill {}", program.pid),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::pcsc::DaemonSight;
    use super::super::pcsc::planted::{ACR122U_NAME, Machine, reader};
    use super::*;

    fn acr122u() -> Reader {
        Reader { device_id: Some("pcsc-072f:2200-1-1.2".to_owned()), ..reader(&format!("{ACR122U_NAME} 00 00")) }
    }

    #[track_caller]
    fn found(reader: Reader) -> (Verdict, String, String) {
        let mut machine = Machine::new();
        machine.list(vec![reader]);
        let found = machine.finding(look);
        (found.verdict, found.message, found.remedy.unwrap_or_default())
    }

    #[test]
    fn a_reader_that_is_fine_is_told_with_profile_identity_and_state() {
        let expected = "\"ACS ACR122U PICC Interface 00 00\": profile acr122u, pcsc-072f:2200-1-1.2, no card";
        assert_eq!(found(acr122u()), (Verdict::Fine, expected.to_owned(), String::new()));
        let (verdict, message, _) = found(Reader { hold: Hold::Shared, card: CardState::Present, ..acr122u() });
        assert_eq!(verdict, Verdict::Fine);
        assert!(message.ends_with("1-1.2, a card, in use by another program, which shares it"), "{message}");
    }

    #[test]
    fn the_daemons_own_use_is_not_another_programs() {
        let mut machine = Machine::new();
        machine.daemon = Some(DaemonSight { problem: None, knows_readers: true });
        machine.list(vec![Reader { hold: Hold::Shared, card: CardState::Present, ..acr122u() }]);
        let found = machine.finding(look);
        assert!(found.message.ends_with("a card"), "{}", found.message);
    }

    #[test]
    fn who_has_a_reader_for_himself_is_named_as_far_as_it_is_known() {
        let (verdict, message, remedy) = found(Reader { hold: Hold::Exclusive, ..acr122u() });
        assert_eq!(verdict, Verdict::Failed);
        assert!(message.ends_with("00 00\": another program has it for itself"), "{message}");
        assert!(remedy.ends_with("sudo encoderd probe"), "{remedy}");

        let mut machine = Machine::new();
        // While another program has it, it cannot be asked who it is.
        machine.list(vec![Reader { hold: Hold::Exclusive, role: Role::Unidentified, ..acr122u() }]);
        for (pid, name) in [("12", "scdaemon"), ("13", "firefox")] {
            machine.put(&format!("proc/{pid}/comm"), name);
            machine.put(&format!("proc/{pid}/maps"), "7f00-7f01 r-xp 0 08:01 12 /usr/lib/libpcsclite.so.1\n");
        }
        let found = machine.finding(look);
        assert_eq!(found.verdict, Verdict::Failed);
        assert!(found.message.ends_with("use PC/SC: scdaemon (pid 12), firefox (pid 13)"), "{}", found.message);
        let remedy =
            "echo pcsc-shared >> ~/.gnupg/scdaemon.conf && gpgconf --kill scdaemon; close firefox, or: kill 13";
        assert_eq!(found.remedy.as_deref(), Some(remedy));
    }

    #[test]
    fn what_is_no_encoder_is_listed_with_its_reason() {
        let key = Reader {
            role: Role::NotAnEncoder { why: "a security key" },
            hold: Hold::Exclusive,
            ..reader("YubiKey 00 00")
        };
        let expected = "\"YubiKey 00 00\": not an encoder, left alone: a security key";
        assert_eq!(found(key), (Verdict::Note, expected.to_owned(), String::new()));
    }

    #[test]
    fn readers_that_cannot_be_told_apart_or_identified_are_told_with_what_to_do() {
        let twin = Reader { role: Role::Ambiguous { with: vec!["B 01 00".to_owned()] }, ..acr122u() };
        let (verdict, message, remedy) = found(twin);
        assert_eq!(verdict, Verdict::Failed);
        assert!(message.ends_with("cannot be told apart from B 01 00: neither is used"), "{message}");
        assert!(remedy.starts_with("unplug one of them"), "{remedy}");
        let (verdict, message, remedy) = found(Reader { role: Role::Unidentified, ..acr122u() });
        assert_eq!(verdict, Verdict::Note);
        assert!(
            message.contains("does not tell which reader it is") && remedy.contains("unplug"),
            "{message} {remedy}"
        );
        let refused = Reader { role: Role::Unidentified, hold: Hold::Refused, ..acr122u() };
        let (verdict, message, remedy) = found(refused);
        assert_eq!(verdict, Verdict::Failed);
        assert!(message.ends_with("polkit lets clerk see this reader and not use it"), "{message}");
        assert!(remedy.contains("org.debian.pcsc-lite.access_card") && remedy.contains("clerk"), "{remedy}");
        let by_name = Reader { device_id: Some("reader-ACS ACR122U".to_owned()), ..acr122u() };
        let (verdict, message, remedy) = found(by_name);
        assert_eq!(verdict, Verdict::Note);
        assert!(message.contains("no serial number") && remedy.contains("no second reader"), "{message} {remedy}");
        let (verdict, message, remedy) = found(Reader { card: CardState::Unknown, ..acr122u() });
        assert_eq!(verdict, Verdict::Failed);
        assert!(message.ends_with("its driver has lost it") && remedy.starts_with("unplug"), "{message} {remedy}");
    }

    #[test]
    fn firmware_without_a_status_word_is_normal_where_it_is_normal() {
        let encoder = super::super::pcsc::planted::encoder("ACR122U PICC Interface", Some("ACR122U207"));
        let (verdict, message, _) = found(Reader { encoder: Some(encoder.clone()), ..acr122u() });
        assert_eq!(verdict, Verdict::Fine);
        assert!(message.ends_with("firmware ACR122U207, told without a status word as this model does"), "{message}");
        let (_, message, _) = found(Reader { encoder: Some(encoder), ..reader("Some Reader 00 00") });
        assert!(!message.contains("status word"), "{message}");
    }

    #[test]
    fn virtual_readers_say_so() {
        let mut machine = Machine::new();
        machine.list(vec![Reader { simulated: true, ..reader("Virtual PCD 00 00") }]);
        assert!(machine.finding(look).simulated);
    }
}
