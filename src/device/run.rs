//! Runs the steps of a plan, one after the other. The only code that writes to a card.

use super::session::{Session, Trouble};
use crate::clock::Deadline;
use crate::fault::{Fault, FaultKind};
use encoder_protocols::command::Secret;
use encoder_protocols::family::classic::{SectorNumber, SectorTrailer};
use encoder_protocols::family::type2::ConfigPage;
use encoder_protocols::id::Target;
use encoder_protocols::layout::form::Spot;
use encoder_protocols::plan::{PersonalizeStep, SafePoint, Step};
use tokio_util::sync::CancellationToken;

/// Why a plan was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// A command failed.
    Trouble(Trouble),
    /// A command failed after the new credential had been verified.
    AfterSuccess(Trouble),
    /// The card does not say what was written.
    Mismatch,
    /// Two reads of it differ.
    Flaky,
    /// It may not go on.
    Fault(Fault),
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<FaultKind> for Halt {
    fn from(kind: FaultKind) -> Self {
        Self::Fault(kind.into())
    }
}

/// A plan at work on one card.
pub(super) struct Run<'a> {
    session: &'a mut Session,
    card: &'a Target,
    end: Deadline,
    stop: &'a CancellationToken,
    reached: SafePoint,
    touched: bool,
    may_be_sealed: bool,
    at: Option<Spot>,
}

impl<'a> Run<'a> {
    pub(super) fn new(session: &'a mut Session, card: &'a Target, end: Deadline, stop: &'a CancellationToken) -> Self {
        Self { session, card, end, stop, reached: SafePoint::Untouched, touched: false, may_be_sealed: false, at: None }
    }

    /// Goes on from this point.
    pub(super) fn from(self, reached: SafePoint) -> Self {
        Self { reached, ..self }
    }

    /// The last point that was reached.
    pub(super) fn reached(&self) -> SafePoint {
        self.reached
    }

    /// Whether a byte of the card may have been changed.
    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    /// Whether the seal may be on the card.
    pub(super) fn may_be_sealed(&self) -> bool {
        self.may_be_sealed
    }

    /// Where the card was last written or read back.
    pub(super) fn at(&self) -> Option<Spot> {
        self.at
    }

    /// Runs one step.
    pub(super) async fn step(&mut self, step: PersonalizeStep) -> Result<(), Halt> {
        let outcome = match step {
            PersonalizeStep::Step(step) => self.plain(step).await,
            PersonalizeStep::WriteTrailer { sector, trailer } => self.trailer(sector, trailer).await,
            PersonalizeStep::WriteConfigPage { page, data } => self.config_page(page, data).await,
        };
        match outcome {
            Err(Halt::Trouble(trouble)) if self.reached.is_success() => Err(Halt::AfterSuccess(trouble)),
            // The new credential is there; that the old seal did not go is the next look's business.
            Err(Halt::Mismatch | Halt::Flaky) if self.reached.is_success() => {
                Err(Halt::AfterSuccess(Trouble::CardRefused))
            }
            outcome => outcome,
        }
    }

    async fn trailer(&mut self, sector: SectorNumber, trailer: SectorTrailer) -> Result<(), Halt> {
        self.before_write()?;
        self.touched = true;
        self.session.write_trailer(sector, trailer).await?;
        Ok(())
    }

    async fn config_page(&mut self, page: ConfigPage, data: Secret<4>) -> Result<(), Halt> {
        self.before_write()?;
        self.touched = true;
        self.session.write_config_page(page, data).await?;
        Ok(())
    }

    async fn plain(&mut self, step: Step) -> Result<(), Halt> {
        match step {
            Step::NewSession => self.session.new_session(self.card).await?,
            Step::Login { sector, key } => self.session.login(sector, key).await?,
            Step::Unlock(unlock) => self.session.unlock(unlock).await?,
            Step::WritePage { page, data } => {
                self.before_write()?;
                self.touched = true;
                self.may_be_sealed |= self.reached == SafePoint::PayloadWritten;
                self.at = Some(Spot::Page(page.number()));
                self.session.write_page(page, data).await?;
            }
            Step::ReadBackPages { first, expect } => {
                self.at = Some(Spot::Page(first));
                let read = self.session.pages(first, expect.len()).await?;
                if read != expect {
                    let again = self.session.pages(first, expect.len()).await?;
                    return Err(if again == read { Halt::Mismatch } else { Halt::Flaky });
                }
            }
            Step::Write { block, data } => {
                self.before_write()?;
                self.touched = true;
                self.may_be_sealed |= self.reached == SafePoint::PayloadWritten;
                self.at = Some(Spot::Sector(block.sector()));
                self.session.write(block, data).await?;
            }
            Step::ReadBack { block, expect } => {
                self.at = Some(Spot::Sector(block.sector()));
                let read = self.session.read(block.number()).await?;
                if read != expect {
                    let again = self.session.read(block.number()).await?;
                    return Err(if again == read { Halt::Mismatch } else { Halt::Flaky });
                }
            }
            Step::Reached(point) => {
                self.reached = point;
                if point.is_safe_to_stop() && !point.is_success() && self.stop.is_cancelled() {
                    return Err(FaultKind::Stopping.into());
                }
            }
        }
        Ok(())
    }

    /// No card is written after its attempt has ended, as long as the card is still as it was.
    fn before_write(&self) -> Result<(), Halt> {
        if self.end.has_passed() && self.reached.is_safe_to_stop() && !self.reached.is_success() {
            return Err(FaultKind::Expired.into());
        }
        Ok(())
    }
}
