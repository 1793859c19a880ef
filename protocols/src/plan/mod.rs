//! Plans: what to do with a card, as data.
//!
//! First look, with a machine that only reads ([`Look`], [`Survey`], [`BlankCheck`]; of a Type 2 card [`Ask`], [`LookType2`],
//! [`SurveyType2`]; all driven through [`Examine`]).
//! Then plan, which is pure ([`encode`], [`erase`], [`PersonalizePlan`]). Then run the steps one after the other: nothing branches
//! between two writes. A step that fails ends the plan; the next attempt looks again and plans anew.
//!
//! A plan may be left only after a [`Step::Reached`] whose point is [safe](SafePoint::is_safe_to_stop).

mod ask;
mod blank;
mod encode;
mod erase;
mod hand;
mod look;
mod look_type2;
mod memory;
mod personalize;
mod personalize_type2;
mod protection;
mod raw;
mod raw_type2;
mod survey;
mod survey_type2;

pub use ask::{Ask, AskOutcome};
pub use blank::{BlankCheck, BlankOutcome, NotBlank};
pub use encode::{EncodePlan, PlanError, encode, renew};
pub use erase::{ErasePlan, erase};
pub use hand::unlock;
pub use look::{CardView, Examine, Look, LookOutcome, LookStep};
pub use look_type2::LookType2;
pub use memory::{ClassicMemory, KeysWanted, ReadMemory, SectorContents, SectorKeys, TrailerContents};
pub use personalize::{PersonalizePlan, PersonalizeStep};
pub use personalize_type2::PersonalizeError;
pub use raw::{ClassicImage, ClassicWrite, RawError, RawPlan, RawStep, RawUnit, TrailerLeave, raw};
pub use raw_type2::{PageWrite, PagesSeen, RawPagesError, ReadPages, Type2Image, raw_pages};
pub use survey::{Opening, SectorPreparation, Survey, SurveyOutcome, Unfinished};
pub use survey_type2::{NotBlankType2, Preparation, SurveyType2, SurveyType2Outcome};

use crate::command::Secret;
use crate::family::classic::{DataBlock, Key, SectorNumber};
use crate::family::type2::{DataPage, PageNumber, Password, UltralightCKey};
use crate::layout::ocl1;
use alloc::vec::Vec;
use core::fmt;

/// One step of a plan. A trailer or block 0 cannot be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Field off, field on, select the card again; its UID must be the same.
    NewSession,
    /// Open a sector.
    Login {
        /// Which.
        sector: SectorNumber,
        /// With what.
        key: Key,
    },
    /// Open a Type 2 card that is closed by a password or a key.
    Unlock(Unlock),
    /// Write a page of user memory.
    WritePage {
        /// Which.
        page: DataPage,
        /// What.
        data: [u8; 4],
    },
    /// Read pages and compare; anything else than `expect` ends the plan.
    ReadBackPages {
        /// The first of them.
        first: PageNumber,
        /// What must be there, page after page.
        expect: Vec<[u8; 4]>,
    },
    /// Write a block of the open sector.
    Write {
        /// Which.
        block: DataBlock,
        /// What.
        data: [u8; 16],
    },
    /// Read a block of the open sector and compare; anything else than `expect` ends the plan.
    ReadBack {
        /// Which.
        block: DataBlock,
        /// What must be there.
        expect: [u8; 16],
    },
    /// Nothing to do: the card has come this far.
    Reached(SafePoint),
}

impl Step {
    /// How many exchanges with the reader it costs: field off, field on and detect for a new session.
    pub fn round_trips(&self) -> usize {
        match self {
            Self::NewSession => 3,
            Self::Login { .. }
            | Self::Unlock(Unlock::Password { .. })
            | Self::Write { .. }
            | Self::WritePage { .. }
            | Self::ReadBack { .. }
            | Self::ReadBackPages { .. } => 1,
            Self::Unlock(Unlock::UltralightC(_)) => 2,
            Self::Reached(_) => 0,
        }
    }

    /// Whether it changes the card.
    pub fn writes(&self) -> bool {
        match self {
            Self::Write { .. } | Self::WritePage { .. } => true,
            Self::NewSession
            | Self::Login { .. }
            | Self::Unlock(_)
            | Self::ReadBack { .. }
            | Self::ReadBackPages { .. }
            | Self::Reached(_) => false,
        }
    }
}

impl fmt::Display for Step {
    /// In words: block numbers and roles, never contents or keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewSession => f.write_str("start a new session: field off and on, select the card"),
            Self::Login { sector, key } => write!(f, "open sector {sector} with key {}", key_letter(key)),
            Self::Unlock(Unlock::Password { .. }) => f.write_str("open the card with its password"),
            Self::Unlock(Unlock::UltralightC(_)) => f.write_str("open the card with its 3DES key"),
            Self::WritePage { page, data } => {
                let what = if *data == [0; 4] { "zero" } else { "data" };
                write!(f, "write page {page}: {what}")
            }
            Self::ReadBackPages { first, expect } => {
                write!(f, "read {} pages from page {first} on back and compare", expect.len())
            }
            Self::Write { block, data } => {
                let what = if *data == [0; 16] { "zero" } else { "data" };
                write!(f, "write block {block} ({}): {what}", ocl1::role(block.number()))
            }
            Self::ReadBack { block, .. } => {
                write!(f, "read block {block} ({}) back and compare", ocl1::role(block.number()))
            }
            Self::Reached(point) => write!(f, "reached: {point}"),
        }
    }
}

/// How a closed Type 2 card is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlock {
    /// By a password; a card that answers with another PACK is not the one.
    Password {
        /// What is sent.
        password: Password,
        /// What must come back.
        pack: Secret<2>,
    },
    /// By the 3DES key of an Ultralight C. The random number is the executor's.
    UltralightC(UltralightCKey),
}

fn key_letter(key: &Key) -> char {
    match key {
        Key::A(_) => 'A',
        Key::B(_) => 'B',
    }
}

/// How far a card has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SafePoint {
    /// Nothing of the new record is on the card; what it held is valid.
    Untouched,
    /// The payload is written without a seal; what the card held is still the only valid record.
    PayloadWritten,
    /// The seal is written and not verified: the record may be valid. The attempt is in doubt.
    Sealed,
    /// The new record has been read back twice in a new session. From here on the attempt is a success.
    Verified,
    /// The previous record is retired too. Nothing is left to do.
    Retired,
}

impl SafePoint {
    /// Whether a plan may be left here: the attempt has a definite result and the card a valid record if it had one.
    pub fn is_safe_to_stop(self) -> bool {
        match self {
            Self::Untouched | Self::PayloadWritten | Self::Verified | Self::Retired => true,
            Self::Sealed => false,
        }
    }

    /// Whether the attempt counts as a success from here on, even when the card leaves.
    pub fn is_success(self) -> bool {
        match self {
            Self::Untouched | Self::PayloadWritten | Self::Sealed => false,
            Self::Verified | Self::Retired => true,
        }
    }
}

impl fmt::Display for SafePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untouched => "nothing of the new record is on the card",
            Self::PayloadWritten => "payload written, not yet sealed",
            Self::Sealed => "sealed, not yet verified",
            Self::Verified => "verified; the encode is a success",
            Self::Retired => "the previous record is retired",
        })
    }
}

/// Lists steps with numbers, one a line.
fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, steps: &[T]) -> fmt::Result {
    (1_usize..).zip(steps).try_for_each(|(number, step)| writeln!(f, "{number:>3}  {step}"))
}
