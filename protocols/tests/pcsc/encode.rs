//! Whole credentials on cards, by the same plans and the same commands over a PN532 and over every PC/SC profile.

use crate::support::pcsc::CardPair;
use crate::support::{Answer, Pair};
use encoder_protocols::card_sim::{Card, ClassicCard};
use encoder_protocols::command::{CardCommand, CardReply, DialectError};
use encoder_protocols::dialect::pcsc_storage::{PROFILES, Profile};
use encoder_protocols::dialect::{CardDevice, reader};
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::id::{Detection, Uid};
use encoder_protocols::layout::content::Content;
use encoder_protocols::layout::keys::{CardKeys, PropertyKey};
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use encoder_protocols::plan::{
    CardView, Examine, Look, LookOutcome, LookStep, PersonalizePlan, PersonalizeStep, Step, encode,
};

fn uid() -> Uid {
    Uid::new(&[0x04, 0xA1, 0xB2, 0xC3]).unwrap()
}

fn keys() -> CardKeys {
    PropertyKey::new(1, *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xAA\xBB\xCC\xDD\xEE\xFF").for_card(&uid())
}

fn record(number: u8, doors: u8) -> Record {
    Record {
        credential_id: CredentialId([number; 16]),
        property_id: PropertyId([0xB2; 16]),
        flags: Flags::OVERRIDE_PREVIOUS_GUEST,
        starts_at: 1_760_000_000 + u32::from(number),
        ends_at: 1_760_300_000,
        issued_at: 1_759_990_000,
        doors: (0..doors).map(|door| 100 + u16::from(door) + u16::from(number)).collect(),
    }
}

/// A reader, whatever it speaks.
trait Encoder {
    fn run(&mut self, command: &CardCommand) -> Answer;

    fn done(&mut self, command: &CardCommand) {
        assert_eq!(self.run(command), Ok(CardReply::Done), "{command:?}");
    }

    fn select(&mut self) {
        let seen = self.run(&CardCommand::Detect);
        assert!(matches!(seen, Ok(CardReply::Detected(Detection::One(target))) if target.uid == uid()), "{seen:?}");
    }

    fn look(&mut self) -> CardView {
        let mut look = Look::new(keys());
        for _ in 0..1_000 {
            match look.poll() {
                LookStep::Login { sector, key } => match self.run(&CardCommand::Authenticate { sector, key }) {
                    Ok(CardReply::Done) => look.login_ok(),
                    Err(DialectError::AuthenticationFailed) => look.login_failed(),
                    other => panic!("{other:?}"),
                },
                LookStep::Read(block) => match self.run(&CardCommand::Read(block)) {
                    Ok(CardReply::Block(data)) => look.block(data),
                    Err(DialectError::Refused) => look.refused(),
                    other => panic!("{other:?}"),
                },
                step @ (LookStep::Version
                | LookStep::UltralightCProbe
                | LookStep::Pages { .. }
                | LookStep::Unlock(_)) => {
                    panic!("no step for a Classic card: {step:?}")
                }
                LookStep::Done => match look.outcome() {
                    Some(LookOutcome::Ours(view)) => return view,
                    other => panic!("{other:?}"),
                },
            }
        }
        panic!("the look does not end");
    }

    fn steps(&mut self, steps: impl IntoIterator<Item = PersonalizeStep>)
    where
        Self: Sized,
    {
        for step in steps {
            match step.clone() {
                PersonalizeStep::WriteTrailer { sector, trailer } => {
                    self.done(&CardCommand::WriteTrailer(sector, trailer));
                }
                PersonalizeStep::Step(Step::NewSession) => {
                    self.done(&CardCommand::ResetField);
                    self.select();
                }
                PersonalizeStep::Step(Step::Login { sector, key }) => {
                    self.done(&CardCommand::Authenticate { sector, key });
                }
                PersonalizeStep::Step(Step::Write { block, data }) => self.done(&CardCommand::Write(block, data)),
                PersonalizeStep::Step(Step::ReadBack { block, expect }) => {
                    assert_eq!(self.run(&CardCommand::Read(block.number())), Ok(CardReply::Block(expect)));
                }
                PersonalizeStep::Step(Step::Reached(_)) => {}
                PersonalizeStep::WriteConfigPage { .. }
                | PersonalizeStep::Step(Step::Unlock(_) | Step::WritePage { .. } | Step::ReadBackPages { .. }) => {
                    panic!("no step of a Classic card: {step}")
                }
            }
        }
    }

    fn personalize(&mut self)
    where
        Self: Sized,
    {
        self.select();
        self.steps(PersonalizePlan::new(&keys(), ClassicSize::K1).steps);
        self.done(&CardCommand::Release);
    }

    fn scan(&mut self) -> CardView {
        self.select();
        let view = self.look();
        self.done(&CardCommand::Release);
        view
    }

    fn encode(&mut self, record: &Record)
    where
        Self: Sized,
    {
        self.select();
        let view = self.look();
        let plan = encode(&view, record, &keys(), ClassicSize::K1).unwrap();
        self.steps(plan.steps.into_iter().map(PersonalizeStep::from));
        self.done(&CardCommand::Release);
    }
}

impl Encoder for Pair {
    fn run(&mut self, command: &CardCommand) -> Answer {
        Pair::run(self, command)
    }
}

impl Encoder for CardPair {
    fn run(&mut self, command: &CardCommand) -> Answer {
        CardPair::run(self, command)
    }
}

fn blank() -> ClassicCard {
    ClassicCard::blank(ClassicSize::K1, uid())
}

fn pcsc(profile: &'static Profile) -> CardPair {
    let mut pair = CardPair::new(profile);
    pair.place(Card::Classic(blank()));
    pair
}

#[test]
fn cards_from_every_reader_are_the_same_byte_for_byte() {
    let mut pn532 = Pair::with_card(reader("pn532").unwrap(), blank());
    pn532.personalize();
    let mut pairs: Vec<CardPair> = PROFILES.iter().map(pcsc).collect();
    for pair in &mut pairs {
        pair.personalize();
        assert!(pair.dump() == pn532.dump(), "personalised");
    }
    for (number, doors) in [(1, 2), (2, 16), (3, 0), (4, 2)] {
        pn532.encode(&record(number, doors));
        for pair in &mut pairs {
            pair.encode(&record(number, doors));
            assert!(pair.dump() == pn532.dump(), "{number}");
            assert_eq!(pair.scan().current().unwrap().1.content, Content::Full(record(number, doors)));
        }
    }
}

#[test]
fn an_encode_for_two_doors_takes_at_most_44_apdus() {
    for profile in PROFILES {
        let mut pair = pcsc(profile);
        pair.personalize();
        for number in 1..4 {
            pair.encode(&record(number, 2));
        }
        let mut count = |run: &dyn Fn(&mut CardPair)| {
            let before = pair.device.counters().round_trips;
            pair.sent.clear();
            run(&mut pair);
            assert_eq!(pair.device.counters().round_trips - before, u64::try_from(pair.apdus()).unwrap());
            pair.apdus()
        };
        let scan = count(&|pair| drop(pair.scan()));
        let encode = count(&|pair| pair.encode(&record(9, 2)));
        let long = count(&|pair| pair.encode(&record(10, 16)));
        eprintln!("{}: scan {scan}, encode {encode}, 16 doors {long}", profile.name);
        assert!(scan <= 14 && encode <= 44 && long <= 50, "{}: {scan}, {encode}, {long}", profile.name);
    }
}
