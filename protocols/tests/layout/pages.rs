//! A simulated Type 2 card under a straightforward executor, which counts round trips and can tear any write.

use super::bench::{Stop, property_key};
use encoder_protocols::card_sim::{AirAnswer, Card, CardError, Field, Request, Type2Card, Wear};
use encoder_protocols::family::type2::{PageNumber, Type2Kind};
use encoder_protocols::family::ultralight_c::Challenge;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::content::{Content, SlotState};
use encoder_protocols::layout::form::{Form, Place};
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::ndef::Ndef;
use encoder_protocols::layout::ocl1::Slot;
use encoder_protocols::layout::pages::PageImage;
use encoder_protocols::layout::record::{PropertyId, Record};
use encoder_protocols::plan::{
    CardView, EncodePlan, Examine, LookOutcome, LookStep, LookType2, PersonalizePlan, PersonalizeStep, SafePoint, Step,
    SurveyType2, SurveyType2Outcome, Unlock, encode,
};

/// Every place there is.
pub const PLACES: [(Type2Kind, bool); 9] = [
    (Type2Kind::Ultralight, false),
    (Type2Kind::UltralightEv1Small, false),
    (Type2Kind::UltralightEv1Large, false),
    (Type2Kind::UltralightC, false),
    (Type2Kind::Ntag213, false),
    (Type2Kind::Ntag213, true),
    (Type2Kind::Ntag215, false),
    (Type2Kind::Ntag215, true),
    (Type2Kind::Ntag216, false),
];

pub fn uid() -> Uid {
    Uid::new(&[0x04, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0xF6]).unwrap()
}

pub fn property() -> PropertyId {
    PropertyId([0xB2; 16])
}

/// A record for the smallest card, different in every field from another number's.
pub fn record(number: u8) -> Record {
    let mut record = super::bench::record(number, 1);
    record.starts_at += 60 * u32::from(number);
    record
}

pub fn page(number: u8) -> PageNumber {
    PageNumber::new(number)
}

pub fn ndef() -> Ndef {
    Ndef::uri("https://hotel.example/stay").unwrap()
}

#[derive(Clone)]
pub struct PageBench {
    pub field: Field,
    pub kind: Type2Kind,
    pub ndef: bool,
    pub begun: bool,
    pub keys: CardKeys,
    pub round_trips: usize,
    pub writes: usize,
    pub reached: Option<SafePoint>,
}

impl PageBench {
    pub fn blank((kind, ndef): (Type2Kind, bool)) -> Self {
        let mut field = Field::new();
        field.place(Card::Type2(Type2Card::blank(kind, uid()))).unwrap();
        field.activate(Request::WakeUp, None).unwrap();
        let keys = property_key().for_card(&uid());
        Self { field, kind, ndef, begun: false, keys, round_trips: 0, writes: 0, reached: None }
    }

    pub fn personalized(place: (Type2Kind, bool)) -> Self {
        let mut bench = Self::blank(place);
        assert_eq!(bench.prepare(), Prepared::Blank);
        Self { round_trips: 0, writes: 0, reached: None, ..bench }
    }

    pub fn place(&self) -> Place {
        Place::of(self.kind, self.ndef)
    }

    pub fn card(&mut self) -> &mut Type2Card {
        match self.field.card_mut(uid()) {
            Some(Card::Type2(card)) => card,
            other => panic!("{other:?}"),
        }
    }

    pub fn memory(&self, page: PageNumber) -> [u8; 4] {
        *self.field.type2().unwrap().memory(page).unwrap()
    }

    pub fn new_session(&mut self) {
        self.field.power_off();
        self.field.activate(Request::WakeUp, None).unwrap();
    }

    fn bytes(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError> {
        match self.field.exchange(command) {
            Ok(AirAnswer::Bytes(bytes)) => Ok(bytes),
            Ok(AirAnswer::Ack) => panic!("bytes expected"),
            Err(error) => {
                self.field.activate(Request::WakeUp, None).unwrap();
                Err(error)
            }
        }
    }

    pub fn read(&mut self, first: PageNumber, count: usize) -> Result<Vec<[u8; 4]>, CardError> {
        let bytes = if self.kind.has_fast_read() {
            let last = first.get() + u8::try_from(count).unwrap() - 1;
            self.bytes(&[0x3A, first.get(), last])?
        } else {
            assert!(count <= 4, "{count} pages at once");
            self.bytes(&[0x30, first.get()])?[..4 * count].to_vec()
        };
        Ok(bytes.as_chunks::<4>().0.to_vec())
    }

    fn unlock(&mut self, unlock: &Unlock) -> Result<(), CardError> {
        match unlock {
            Unlock::Password { password, pack } => {
                let found = self.bytes(&[&[0x1B], password.expose().as_slice()].concat())?;
                if found == pack.expose() { Ok(()) } else { Err(CardError::Nak) }
            }
            Unlock::UltralightC(key) => {
                let first = self.bytes(&[0x1A, 0x00])?;
                let challenge = Challenge::answer(key, [7; 8], first[1..].try_into().unwrap());
                let answer = self.bytes(&[&[0xAF], challenge.token.as_slice()].concat())?;
                if challenge.is_proven_by(&answer[1..]) { Ok(()) } else { Err(CardError::Nak) }
            }
        }
    }

    /// Drives a machine that only reads. Memory must be the same afterwards.
    pub fn examine(&mut self, machine: &mut dyn Examine) {
        let before = self.card().dump();
        for _ in 0..10_000 {
            let step = machine.poll();
            self.round_trips += step.round_trips();
            match step {
                LookStep::Version => match self.bytes(&[0x60]) {
                    Ok(version) => machine.version(&version),
                    Err(_) => machine.refused(),
                },
                LookStep::UltralightCProbe => match self.bytes(&[0x1A, 0x00]) {
                    Ok(_) => machine.probed(),
                    Err(_) => machine.refused(),
                },
                LookStep::Pages { first, count } => match self.read(first, count.into()) {
                    Ok(pages) => machine.pages(&pages),
                    Err(_) => machine.refused(),
                },
                LookStep::Unlock(unlock) => match self.unlock(&unlock) {
                    Ok(()) => machine.unlocked(),
                    Err(_) => machine.login_failed(),
                },
                LookStep::Login { .. } | LookStep::Read(_) => panic!("no step for pages: {step:?}"),
                LookStep::Done => {
                    assert_eq!(self.card().dump(), before, "looking never writes");
                    return;
                }
            }
        }
        panic!("the machine does not come to an end");
    }

    pub fn look(&mut self) -> (LookOutcome, Place) {
        let mut look = LookType2::new(self.kind, self.ndef, self.keys.clone(), property(), self.begun);
        self.examine(&mut look);
        (look.outcome().unwrap(), look.place())
    }

    pub fn view(&mut self) -> CardView {
        match self.look().0 {
            LookOutcome::Ours(view) => view,
            LookOutcome::NotOurs => panic!("a card of ours"),
        }
    }

    pub fn survey(&mut self) -> SurveyType2Outcome {
        let mut survey = SurveyType2::new(self.kind, self.ndef, self.keys.clone(), self.begun);
        self.examine(&mut survey);
        survey.outcome().unwrap()
    }

    pub fn plan_of_preparation(&mut self) -> Option<(Prepared, PersonalizePlan)> {
        let (found, preparation) = match self.survey() {
            SurveyType2Outcome::Blank(preparation) => (Prepared::Blank, preparation),
            SurveyType2Outcome::Unfinished(preparation) => (Prepared::Unfinished, preparation),
            SurveyType2Outcome::Ready(_)
            | SurveyType2Outcome::Foreign { .. }
            | SurveyType2Outcome::Locked { .. }
            | SurveyType2Outcome::WrongCapabilityContainer { .. }
            | SurveyType2Outcome::Damaged { .. } => return None,
        };
        let message = self.ndef.then(ndef);
        Some((found, PersonalizePlan::type2(&preparation, &self.keys, message.as_ref()).unwrap()))
    }

    /// Prepares the card if it is not prepared.
    pub fn prepare(&mut self) -> Prepared {
        if let (LookOutcome::Ours(_), _) = self.look() {
            return Prepared::Already;
        }
        let Some((found, plan)) = self.plan_of_preparation() else {
            return if matches!(self.survey(), SurveyType2Outcome::Ready(_)) {
                Prepared::Already
            } else {
                Prepared::Not
            };
        };
        self.run(&plan.steps, None).unwrap_or_else(|stop| panic!("{:?}: {stop:?}\n{plan}", self.kind));
        self.begun = true;
        self.new_session();
        assert!(matches!(self.look().0, LookOutcome::Ours(_)), "{:?}", self.kind);
        found
    }

    pub fn plan(&mut self, record: &Record) -> EncodePlan {
        let (outcome, place) = self.look();
        let LookOutcome::Ours(view) = outcome else { panic!("a card of ours") };
        encode(&view, record, &self.keys, place).unwrap()
    }

    /// Looks, plans, runs to the end.
    pub fn encode(&mut self, record: &Record) -> EncodePlan {
        self.begun = true;
        let plan = self.plan(record);
        self.run_steps(&plan.steps, None).unwrap();
        assert_eq!(self.reached, Some(SafePoint::Retired));
        plan
    }

    pub fn run_steps(&mut self, steps: &[Step], tear: Option<(usize, [u8; 4])>) -> Result<(), Stop> {
        let steps: Vec<_> = steps.iter().cloned().map(PersonalizeStep::from).collect();
        self.run(&steps, tear)
    }

    /// Runs steps. `tear` names a write, counted from 0, and what it leaves in its page.
    pub fn run(&mut self, steps: &[PersonalizeStep], tear: Option<(usize, [u8; 4])>) -> Result<(), Stop> {
        self.new_session();
        let mut written = 0;
        for step in steps {
            self.round_trips += step.round_trips();
            let write = match step {
                PersonalizeStep::Step(Step::WritePage { page, data }) => Some((page.number(), *data)),
                PersonalizeStep::WriteConfigPage { page, data } => Some((page.number(), *data.expose())),
                PersonalizeStep::WriteTrailer { .. } => panic!("no step for pages: {step}"),
                PersonalizeStep::Step(step) => {
                    self.read_only(step)?;
                    None
                }
            };
            let Some((page, [b0, b1, b2, b3])) = write else { continue };
            self.field.exchange(&[0xA2, page.get(), b0, b1, b2, b3]).map_err(Stop::Refused)?;
            if let Some((at, content)) = tear
                && at == written
            {
                self.card().set_memory(page, content);
                self.new_session();
                return Err(Stop::Torn);
            }
            written += 1;
            self.writes += 1;
        }
        Ok(())
    }

    fn read_only(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::NewSession => self.new_session(),
            Step::Unlock(unlock) => self.unlock(unlock).map_err(Stop::Refused)?,
            Step::ReadBackPages { first, expect } => {
                if self.read(*first, expect.len()).map_err(Stop::Refused)? != *expect {
                    return Err(Stop::Mismatch);
                }
            }
            Step::Reached(point) => self.reached = Some(*point),
            Step::Login { .. } | Step::Write { .. } | Step::ReadBack { .. } | Step::WritePage { .. } => {
                panic!("no step for this place: {step}")
            }
        }
        Ok(())
    }

    /// Puts a sealed record into a slot.
    pub fn put(&mut self, slot: Slot, sequence: u32, record: &Record) {
        let place = self.place();
        let content = Content::fit(record, Form::Type2(place)).unwrap();
        let image = PageImage::new(&self.keys, place, slot, sequence, &content).unwrap();
        for (page, data) in image.pages() {
            self.card().set_memory(page.number(), data);
        }
    }

    pub fn content(&self, record: &Record) -> Content {
        Content::fit(record, Form::Type2(self.place())).unwrap()
    }

    /// Kills a page.
    pub fn kill(&mut self, page: PageNumber) {
        self.card().wear_out(page, Wear::Dead);
    }

    pub fn is_empty(&mut self) -> bool {
        let view = self.view();
        Slot::BOTH.into_iter().all(|slot| *view.slot(slot) == SlotState::Empty)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    Blank,
    Unfinished,
    Already,
    Not,
}
