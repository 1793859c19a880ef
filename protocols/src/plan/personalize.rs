//! Preparing a blank card: the directory, our keys and access bits in sectors 0 to 4.
//!
//! The only plan that writes trailers. Slot sectors come first and prove from then on whose card it is; sector 0 follows;
//! sector 1, which a [`Look`](super::Look) tries first, comes last: a card that it opens is prepared. Each trailer is
//! proved with both its new keys before the next one is touched. No credential is on the card yet: a trailer torn in the
//! middle can destroy its sector and nothing can prevent that, but no guest loses anything.

use crate::command::Secret;
use crate::family::classic::{AccessBits, BlockNumber, ClassicSize, DataBlock, Key, SectorNumber, SectorTrailer};
use crate::family::type2::ConfigPage;
use crate::layout::keys::CardKeys;
use crate::layout::mad::{self, Mad};
use crate::layout::ocl1::{self, Slot};
use crate::plan::survey::{Opening, SectorPreparation, Unfinished};
use crate::plan::{SafePoint, Step, list};
use alloc::vec::Vec;
use core::fmt;

/// A step of a personalisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonalizeStep {
    /// A step that any plan may have.
    Step(Step),
    /// Write the trailer of the open sector. The steps up to the next [`Step::Reached`] prove it; never stop between.
    WriteTrailer {
        /// Which.
        sector: SectorNumber,
        /// With what.
        trailer: SectorTrailer,
    },
    /// Write a page of configuration of a Type 2 card. It acts from the next [`Step::NewSession`] on.
    WriteConfigPage {
        /// Which.
        page: ConfigPage,
        /// With what.
        data: Secret<4>,
    },
}

impl From<Step> for PersonalizeStep {
    fn from(step: Step) -> Self {
        Self::Step(step)
    }
}

impl PersonalizeStep {
    /// How many exchanges with the reader it costs.
    pub fn round_trips(&self) -> usize {
        match self {
            Self::Step(step) => step.round_trips(),
            Self::WriteTrailer { .. } | Self::WriteConfigPage { .. } => 1,
        }
    }
}

impl fmt::Display for PersonalizeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(Step::Reached(_)) => f.write_str("reached: the card may be taken away and finished later"),
            Self::Step(step) => step.fmt(f),
            Self::WriteConfigPage { page, .. } => write!(f, "write page {}: configuration", page.number()),
            Self::WriteTrailer { sector, .. } => {
                write!(f, "write block {} ({}): keys and access bits", sector.trailer(), ocl1::role(sector.trailer()))
            }
        }
    }
}

/// The steps that prepare a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalizePlan {
    /// In order. Every [`SafePoint`] is [`SafePoint::Untouched`]: no record is on the card.
    pub steps: Vec<PersonalizeStep>,
}

/// The order in which sectors get their keys.
const ORDER: [usize; 5] = [2, 3, 4, 0, 1];

impl PersonalizePlan {
    /// For a blank card.
    pub fn new(keys: &CardKeys, size: ClassicSize) -> Self {
        let blank = SectorPreparation::Remaining(Opening::TransportA);
        Self::resume(&Unfinished { sectors: [blank; 5], directory_written: false }, keys, size)
    }

    /// For a card of ours whose personalisation was interrupted: what remains.
    pub fn resume(unfinished: &Unfinished, keys: &CardKeys, size: ClassicSize) -> Self {
        let sectors: Vec<_> = size.sector_numbers().zip(unfinished.sectors).collect();
        let mut steps = Vec::from([PersonalizeStep::Step(Step::NewSession)]);
        for &(sector, preparation) in ORDER.iter().filter_map(|&index| sectors.get(index)) {
            let directory = sector.get() == 0 && !unfinished.directory_written;
            match preparation {
                SectorPreparation::Remaining(opening) => {
                    steps.push(Step::Login { sector, key: opening.key(sector, keys) }.into());
                    if directory {
                        write_directory(&mut steps, size);
                    }
                    write_trailer(&mut steps, sector, keys);
                }
                SectorPreparation::Ready if directory => {
                    steps.push(Step::Login { sector, key: Key::B(keys.key_b(sector)) }.into());
                    write_directory(&mut steps, size);
                    steps.push(Step::Reached(SafePoint::Untouched).into());
                }
                SectorPreparation::Ready => {}
            }
        }
        Self { steps }
    }

    /// The sector that gets its keys first.
    pub fn first_sector() -> SectorNumber {
        let [first, ..] = ORDER;
        Slot::A
            .sectors()
            .into_iter()
            .find(|sector| usize::from(sector.get()) == first)
            .unwrap_or(Slot::A.first_sector())
    }

    /// How many exchanges with the reader it costs.
    pub fn round_trips(&self) -> usize {
        self.steps.iter().map(PersonalizeStep::round_trips).sum()
    }
}

impl fmt::Display for PersonalizePlan {
    /// A numbered listing without contents or keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "prepare the card, {} round trips", self.round_trips())?;
        list(f, &self.steps)
    }
}

fn write_directory(steps: &mut Vec<PersonalizeStep>, size: ClassicSize) {
    let blocks = [1, 2].into_iter().filter_map(|block| DataBlock::new(BlockNumber::new(block)));
    let written: Vec<_> = blocks.zip(Mad::for_card(size).to_blocks()).collect();
    steps.extend(written.iter().map(|&(block, data)| Step::Write { block, data }.into()));
    steps.extend(written.iter().map(|&(block, expect)| Step::ReadBack { block, expect }.into()));
}

fn write_trailer(steps: &mut Vec<PersonalizeStep>, sector: SectorNumber, keys: &CardKeys) {
    let trailer = if sector.get() == 0 { mad::trailer(keys, sector) } else { slot_trailer(keys, sector) };
    let (key_a, key_b) = (Key::A(trailer.key_a.clone()), Key::B(trailer.key_b.clone()));
    steps.extend([
        PersonalizeStep::WriteTrailer { sector, trailer },
        Step::Login { sector, key: key_a }.into(),
        Step::Login { sector, key: key_b }.into(),
        Step::Reached(SafePoint::Untouched).into(),
    ]);
}

/// The trailer of a slot's sector: read with key A or B, everything else with key B.
fn slot_trailer(keys: &CardKeys, sector: SectorNumber) -> SectorTrailer {
    SectorTrailer {
        key_a: keys.key_a(sector),
        access_bits: AccessBits::PERSONALIZED,
        general_purpose: SectorTrailer::GENERAL_PURPOSE_TRANSPORT,
        key_b: keys.key_b(sector),
    }
}
