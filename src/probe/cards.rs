//! Cards on the encoders: of which family, and those that say nothing, or less than they should.

use super::pcsc::Reader;
use super::trial::{Outcome, Trial};
use super::{Context, Finding, PcscFacts};
use crate::api::bridge::{EncoderState, Presence};
use crate::device::check::PortCheckError;
use crate::transport::pcsc::CardState;
use encoder_protocols::family::other::{OtherCard, classify};
use encoder_protocols::family::{CardKind, identify};
use encoder_protocols::id::Detection;

const NAME: &str = "cards";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let readers = context.pcsc.iter().flat_map(PcscFacts::readers);
    let behind_pcsc = readers.filter(|reader| reader.is_encoder()).filter_map(judge);
    context.trials.iter().filter_map(on_line).chain(behind_pcsc).collect()
}

/// A card on a port that was tried.
fn on_line(trial: &Trial) -> Option<Finding> {
    let Outcome::Tried(Ok(check)) = &trial.outcome else { return None };
    let path = trial.path.display();
    let finding = match &check.card {
        Detection::None => return None,
        Detection::Several => {
            Finding::note(NAME, format!("{path}: several cards lie there")).remedy("leave one card on the encoder")
        }
        Detection::One(target) => {
            let other = |card: OtherCard| {
                Finding::note(NAME, format!("{path}: a card that cannot become a key: {card}"))
                    .remedy("take a MIFARE Classic, Ultralight or NTAG card")
            };
            match identify(target) {
                CardKind::Classic(size) => Finding::fine(NAME, format!("{path}: a {size} card")),
                CardKind::Type2 => Finding::fine(NAME, format!("{path}: a MIFARE Ultralight or NTAG card")),
                // It was not asked anything: probing only looks.
                CardKind::Iso14443Part4 | CardKind::Unknown => other(classify(target, None, None)),
            }
        }
    };
    Some(finding.simulated(trial.simulated))
}

fn judge(reader: &Reader) -> Option<Finding> {
    let name = format!("\"{}\"", reader.name);
    let finding = match reader.card {
        CardState::Mute => Finding::note(NAME, format!("{name}: a card, or something else, lies there and is mute"))
            .remedy("lay the card flat on the reader, alone, without phone or metal beside it; else try another card"),
        CardState::Present if is_nameless(reader) => {
            Finding::note(NAME, format!("{name}: a card lies there and the reader does not tell its number"))
                .remedy("take the card off and lay it back; if it stays so, try another card")
        }
        CardState::Present | CardState::Absent | CardState::Unknown => return None,
    };
    Some(finding.simulated(reader.simulated))
}

/// Somebody has looked at the card and knows no number.
fn is_nameless(reader: &Reader) -> bool {
    let is_tried_in_vain = matches!(reader.tried, Some(Err(PortCheckError::Nameless)));
    is_tried_in_vain
        || reader.encoder.as_ref().is_some_and(|encoder| {
            encoder.state == EncoderState::Online
                && encoder.presence == Presence::Present
                && encoder.card_number.is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::pcsc::planted::{Machine, encoder, reader};
    use super::*;
    use crate::discovery::pcsc::Role;

    #[track_caller]
    fn found(reader: Reader) -> Vec<Finding> {
        let mut machine = Machine::new();
        machine.list(vec![reader]);
        machine.look(look)
    }

    #[test]
    fn a_mute_card_is_a_note() {
        let mute = Reader { card: CardState::Mute, ..reader("A 00 00") };
        let findings = found(mute.clone());
        assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Note));
        assert!(findings[0].message.contains("mute"), "{}", findings[0].message);
        assert!(findings[0].remedy.as_ref().unwrap().starts_with("lay the card flat"));
        assert_eq!(found(Reader { role: Role::NotAnEncoder { why: "a security key" }, ..mute }), []);
        assert_eq!(found(reader("A 00 00")), []);
    }

    #[test]
    fn a_card_whose_number_the_daemon_does_not_know_is_a_note() {
        let present = Reader { card: CardState::Present, ..reader("A 00 00") };
        assert_eq!(found(present.clone()), []);
        assert_eq!(found(Reader { tried: Some(Err(PortCheckError::Nameless)), ..present.clone() }).len(), 1);
        let mut told = encoder("A", None);
        told.presence = Presence::Present;
        let nameless = Reader { encoder: Some(told.clone()), ..present.clone() };
        let findings = found(nameless);
        assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Note));
        assert!(findings[0].message.contains("does not tell its number"), "{}", findings[0].message);
        told.card_number = Some("deadbeef".to_owned());
        assert_eq!(found(Reader { encoder: Some(told), ..present }), []);
    }
}
