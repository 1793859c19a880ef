//! A card that can carry a credential, with what may open it: the one place where families differ in how they are looked at
//! and prepared. A card keeps the keys that it was personalised with, so after a rotation an older key of the ring opens it.

use super::family::Carrier;
use super::ring;
use super::run::Halt;
use super::session::{Session, Trouble};
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use encoder_protocols::family::classic::{BlockNumber, ClassicSize, Key, KeyA, SectorKey, SectorNumber};
use encoder_protocols::family::type2::{Type2Kind, UltralightCKey};
use encoder_protocols::id::Target;
use encoder_protocols::layout::content::{Content, SlotState};
use encoder_protocols::layout::form::Form;
use encoder_protocols::layout::keys::CardKeys;
use encoder_protocols::layout::mad::{self, Mad};
use encoder_protocols::layout::ndef::Ndef;
use encoder_protocols::layout::ocl1::Slot;
use encoder_protocols::layout::record::PropertyId;
use encoder_protocols::plan::{
    CardView, Examine, LookOutcome, LookStep, LookType2, NotBlank, NotBlankType2, PersonalizePlan, Preparation,
    SurveyOutcome, SurveyType2, SurveyType2Outcome, Unfinished, unlock,
};

/// A card that can carry a credential.
pub(super) struct Media {
    pub(super) carrier: Carrier,
    property: PropertyId,
    /// What may open the card; what does is in front.
    keys: Vec<CardKeys>,
    /// What phones are to be shown of cards that are prepared here.
    ndef: Option<Ndef>,
    /// Where the slots are looked for on a card that does not say it.
    behind_ndef: bool,
    /// This desk has begun to write this very card and has not verified it.
    begun: bool,
}

/// What a look at a card has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A card of ours: what its slots hold, and where they lie.
    Ours(CardView, Form),
    /// Neither its keys nor its seals are ours: a survey tells what it is.
    NotOurs,
}

/// What a card is that a look did not call ours.
pub(super) enum Surveyed {
    /// As it left the factory.
    Blank(Remaining),
    /// Ours, and its preparation was interrupted.
    Unfinished(Remaining),
    /// Ours and prepared.
    Ready,
    /// Ours, and broken.
    Damaged(Fault),
    /// Not ours.
    Foreign(Fault),
}

/// What is left to do until a card is prepared.
pub(super) enum Remaining {
    Classic(ClassicSize, Option<Unfinished>),
    Type2(Preparation),
}

impl Remaining {
    /// How the layout will lie on the card.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Classic(size, _) => Form::Classic(*size),
            Self::Type2(preparation) => Form::Type2(preparation.place()),
        }
    }
}

impl Media {
    pub(super) fn new(carrier: Carrier, key: &CardKey, target: &Target) -> Self {
        Self {
            carrier,
            property: PropertyId(key.property_id.into_bytes()),
            keys: key.key.each_for_card(&target.uid),
            ndef: None,
            behind_ndef: false,
            begun: false,
        }
    }

    /// What phones are to be shown of the card, should it be prepared.
    #[must_use]
    pub(super) fn with_ndef(self, ndef: Option<Ndef>) -> Self {
        Self { behind_ndef: ndef.is_some(), ndef, ..self }
    }

    /// Whether this desk has begun to write this very card.
    pub(super) fn set_begun(&mut self, begun: bool) {
        self.begun = begun;
    }

    /// The keys that open the card, as far as is known.
    pub(super) fn keys(&self) -> Result<&CardKeys, Halt> {
        // Every ring has a current key.
        self.keys.first().ok_or_else(|| FaultKind::NoCardKey.into())
    }

    /// Looks at the slots.
    pub(super) async fn look(&mut self, session: &mut Session) -> Result<Looked, Trouble> {
        match self.carrier {
            Carrier::Classic(size) => Ok(match ring::look_with_each(session, &mut self.keys).await? {
                LookOutcome::Ours(view) => Looked::Ours(view, size.into()),
                LookOutcome::NotOurs => Looked::NotOurs,
            }),
            Carrier::Type2(kind) => self.look_type2(session, kind).await,
        }
    }

    async fn look_type2(&mut self, session: &mut Session, kind: Type2Kind) -> Result<Looked, Trouble> {
        for index in 0..self.keys.len() {
            let Some(keys) = self.keys.get(index) else { break };
            let mut look = LookType2::new(kind, self.behind_ndef, keys.clone(), self.property, self.begun);
            examine(session, &mut look).await?;
            if let Some(LookOutcome::Ours(view)) = look.outcome() {
                ring::move_to_front(&mut self.keys, index);
                return Ok(Looked::Ours(view, look.place().into()));
            }
        }
        Ok(Looked::NotOurs)
    }

    /// Finds the key that a closed Type 2 card opens with. Its seals say only which key made them.
    pub(super) async fn find_opening(&mut self, session: &mut Session) -> Result<(), Trouble> {
        let Carrier::Type2(kind) = self.carrier else { return Ok(()) };
        if self.keys.len() < 2 {
            return Ok(());
        }
        for index in 0..self.keys.len() {
            let Some(unlock) = self.keys.get(index).and_then(|keys| unlock(kind, keys)) else { return Ok(()) };
            match session.unlock(unlock).await {
                Ok(()) => {
                    ring::move_to_front(&mut self.keys, index);
                    return Ok(());
                }
                Err(Trouble::KeyRefused) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Err(Trouble::KeyRefused)
    }

    /// Finds out what a card is that a look did not call ours.
    pub(super) async fn survey(&mut self, session: &mut Session) -> Result<Surveyed, Trouble> {
        match self.carrier {
            Carrier::Classic(size) => self.survey_classic(session, size).await,
            Carrier::Type2(kind) => self.survey_type2(session, kind).await,
        }
    }

    async fn survey_classic(&mut self, session: &mut Session, size: ClassicSize) -> Result<Surveyed, Trouble> {
        Ok(match ring::survey_with_each(session, &mut self.keys, size).await? {
            SurveyOutcome::Blank => Surveyed::Blank(Remaining::Classic(size, None)),
            SurveyOutcome::Unfinished(unfinished) => Surveyed::Unfinished(Remaining::Classic(size, Some(unfinished))),
            SurveyOutcome::Ready => Surveyed::Ready,
            SurveyOutcome::Damaged { sector } => {
                Surveyed::Damaged(Fault::with_detail(FaultKind::DamagedCard, format_args!("sector {sector}")))
            }
            SurveyOutcome::Foreign { sector, why } => {
                let has_directory = sector.get() == 0 && has_directory(session, size).await?;
                let kind = match why {
                    _ if has_directory => FaultKind::ForeignDirectory,
                    NotBlank::AccessBits => FaultKind::WrongAccessBits,
                    NotBlank::KeyRefused | NotBlank::Data { .. } | NotBlank::Refused { .. } => FaultKind::ForeignCard,
                };
                Surveyed::Foreign(Fault::with_detail(kind, format_args!("sector {sector}: {why}")))
            }
        })
    }

    async fn survey_type2(&mut self, session: &mut Session, kind: Type2Kind) -> Result<Surveyed, Trouble> {
        let mut last = None;
        for index in 0..self.keys.len() {
            let Some(keys) = self.keys.get(index) else { break };
            let mut survey = SurveyType2::new(kind, self.ndef.is_some(), keys.clone(), self.begun);
            examine(session, &mut survey).await?;
            let is_closed = matches!(
                survey.outcome(),
                Some(SurveyType2Outcome::Foreign { why: NotBlankType2::Password | NotBlankType2::Configuration })
            );
            last = survey.outcome();
            if !is_closed {
                // A blank card is prepared with the current key, which is in front.
                if !matches!(last, Some(SurveyType2Outcome::Blank(_))) {
                    ring::move_to_front(&mut self.keys, index);
                }
                break;
            }
        }
        // A machine that is done has its outcome; without one the card is not touched.
        let outcome = last.ok_or(Trouble::CardRefused)?;
        Ok(match outcome {
            SurveyType2Outcome::Blank(preparation) => Surveyed::Blank(Remaining::Type2(preparation)),
            SurveyType2Outcome::Unfinished(preparation) => Surveyed::Unfinished(Remaining::Type2(preparation)),
            SurveyType2Outcome::Ready(_) => Surveyed::Ready,
            SurveyType2Outcome::Foreign { why } => Surveyed::Foreign(Fault::with_detail(FaultKind::ForeignCard, why)),
            SurveyType2Outcome::Locked { page } => {
                Surveyed::Foreign(Fault::with_detail(FaultKind::LockedCard, format_args!("lock bits in page {page}")))
            }
            SurveyType2Outcome::WrongCapabilityContainer { found: [a, b, c, d] } => Surveyed::Foreign(
                Fault::with_detail(FaultKind::WrongCapabilityContainer, format_args!("{a:02x}{b:02x}{c:02x}{d:02x}")),
            ),
            SurveyType2Outcome::Damaged { page } => {
                Surveyed::Damaged(Fault::with_detail(FaultKind::DamagedCard, format_args!("page {page}")))
            }
        })
    }

    /// How the rest of a card is prepared.
    pub(super) fn plan(&self, remaining: &Remaining) -> Result<PersonalizePlan, Halt> {
        let keys = self.keys()?;
        match remaining {
            Remaining::Classic(size, None) => Ok(PersonalizePlan::new(keys, *size)),
            Remaining::Classic(size, Some(unfinished)) => Ok(PersonalizePlan::resume(unfinished, keys, *size)),
            Remaining::Type2(preparation) => PersonalizePlan::type2(preparation, keys, self.ndef.as_ref())
                .map_err(|error| Halt::Fault(Fault::with_detail(FaultKind::CardTooSmall, error))),
        }
    }

    /// Says what is wrong with a card that was just put down, if anything: a few round trips, nothing is written.
    pub(super) async fn judge(
        &mut self,
        session: &mut Session,
        key: &CardKey,
        target: &Target,
    ) -> Result<Option<Fault>, Trouble> {
        match self.carrier {
            Carrier::Classic(_) => {
                Ok((!ring::opens(session, key, target).await?).then(|| FaultKind::ForeignCard.into()))
            }
            Carrier::Type2(kind) => match self.look(session).await? {
                Looked::Ours(view, _) => Ok(self.is_anothers(&view).then(|| FaultKind::OtherPropertyCard.into())),
                Looked::NotOurs => match self.survey(session).await? {
                    // Whether it was begun here only the journal knows, which is asked when the card is to be written.
                    Surveyed::Foreign(_) if kind == Type2Kind::Ultralight => Ok(None),
                    Surveyed::Foreign(fault) | Surveyed::Damaged(fault) => Ok(Some(fault)),
                    Surveyed::Blank(_) | Surveyed::Unfinished(_) | Surveyed::Ready => Ok(None),
                },
            },
        }
    }

    /// Whether a slot holds another property's credential. Two properties may share a key.
    pub(super) fn is_anothers(&self, view: &CardView) -> bool {
        let mut valid = Slot::BOTH.into_iter().filter_map(|slot| view.slot(slot).valid());
        valid.any(|sealed| sealed.content.property_id() != self.property)
    }

    /// Reads the credential on the card; none for a card that is not ours.
    pub(super) async fn read(&mut self, session: &mut Session) -> Result<Result<Option<Content>, Fault>, Trouble> {
        let mut looked = self.look(session).await?;
        if is_torn(&looked) {
            // What does not hold may be what an interrupted write left behind, or a card that reads otherwise each time.
            let again = self.look(session).await?;
            if again != looked {
                return Ok(Err(FaultKind::FlakyCard.into()));
            }
        }
        if current(&looked).is_none() && self.carrier == Carrier::Type2(Type2Kind::Ntag213) {
            // Where a page of it is dead, an NTAG213 does not tell in one reading whether its slots lie behind a message.
            self.behind_ndef = !self.behind_ndef;
            let elsewhere = self.look(session).await?;
            if current(&elsewhere).is_some() {
                looked = elsewhere;
            } else {
                self.behind_ndef = !self.behind_ndef;
            }
        }
        Ok(Ok(current(&looked)))
    }
}

/// The credential that a lock takes.
pub(super) fn current(looked: &Looked) -> Option<Content> {
    match looked {
        Looked::Ours(view, _) => view.current().map(|(_, sealed)| sealed.content.clone()),
        Looked::NotOurs => None,
    }
}

/// Whether a slot holds something that is no credential, and none is on the card.
fn is_torn(looked: &Looked) -> bool {
    match looked {
        Looked::Ours(view, _) => {
            let holds_something = |slot| matches!(view.slot(slot), SlotState::Invalid(_));
            view.current().is_none() && Slot::BOTH.into_iter().any(holds_something)
        }
        Looked::NotOurs => false,
    }
}

/// Whether the card has an application directory that everybody may read, as cards in use elsewhere have. Ours does not
/// count: such a card has been prepared with another card key.
async fn has_directory(session: &mut Session, size: ClassicSize) -> Result<bool, Trouble> {
    let Some(sector) = SectorNumber::new(0) else { return Ok(false) };
    for key in [Key::A(KeyA(SectorKey::new(mad::PUBLIC_KEY_A))), Key::transport_a()] {
        match session.login(sector, key).await {
            Ok(()) => {}
            Err(Trouble::KeyRefused) => continue,
            Err(trouble) => return Err(trouble),
        }
        let mut blocks = [[0; 16]; 2];
        for (number, block) in (1..).zip(&mut blocks) {
            match session.read(BlockNumber::new(number)).await {
                Ok(data) => *block = data,
                Err(Trouble::CardRefused) => return Ok(false),
                Err(trouble) => return Err(trouble),
            }
        }
        // Two blocks of zero have no right check byte.
        return Ok(Mad::from_blocks(blocks).is_some_and(|directory| directory != Mad::for_card(size)));
    }
    Ok(false)
}

/// Drives a machine that only reads.
pub(super) async fn examine(session: &mut Session, machine: &mut impl Examine) -> Result<(), Trouble> {
    while examine_step(session, machine).await? {}
    Ok(())
}

/// One step of a machine that only reads; `false` when it is done.
pub(super) async fn examine_step(session: &mut Session, machine: &mut impl Examine) -> Result<bool, Trouble> {
    match machine.poll() {
        LookStep::Login { sector, key } => match session.login(sector, key).await {
            Ok(()) => machine.login_ok(),
            Err(Trouble::KeyRefused) => machine.login_failed(),
            Err(trouble) => return Err(trouble),
        },
        LookStep::Read(block) => match session.read(block).await {
            Ok(data) => machine.block(data),
            Err(Trouble::CardRefused) => machine.refused(),
            Err(trouble) => return Err(trouble),
        },
        LookStep::Version => match session.version().await {
            Ok(version) => machine.version(&version),
            Err(Trouble::CardRefused) => machine.refused(),
            Err(trouble) => return Err(trouble),
        },
        LookStep::UltralightCProbe => match session.ultralight_c(UltralightCKey::new([0; 16])).await {
            // Whatever the card says to the key, it knows the question.
            Ok(()) | Err(Trouble::KeyRefused) => machine.probed(),
            Err(Trouble::CardRefused) => machine.refused(),
            Err(trouble) => return Err(trouble),
        },
        LookStep::Pages { first, count } => match session.pages(first, count.into()).await {
            Ok(pages) => machine.pages(&pages),
            Err(Trouble::CardRefused) => machine.refused(),
            Err(trouble) => return Err(trouble),
        },
        LookStep::Unlock(unlock) => match session.unlock(unlock).await {
            Ok(()) => machine.unlocked(),
            Err(Trouble::KeyRefused) => machine.login_failed(),
            Err(Trouble::CardRefused) => machine.refused(),
            Err(trouble) => return Err(trouble),
        },
        LookStep::Done => return Ok(false),
    }
    Ok(true)
}
