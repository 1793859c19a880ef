//! Writing somebody else's image on a Type 2 card: user pages with contents, in the order that their maker gives.
//!
//! As with [`raw`](super::raw) for MIFARE Classic it is written in place. A machine that only reads ([`ReadPages`]) finds out
//! what the pages hold, whether they are locked, and what opens the card where it is closed; then [`raw_pages`] plans. Pages
//! of UID, lock bits, OTP and configuration are never written.

use crate::family::type2::{DataPage, FAST_READ_PAGES_MAX, PageNumber, Type2Kind};
use crate::plan::hand::read_back;
use crate::plan::look::{Examine, LookStep};
use crate::plan::look_type2::next_run;
use crate::plan::protection::Config;
use crate::plan::raw::{RawPlan, RawStep, RawUnit};
use crate::plan::{SafePoint, Step, Unlock};
use alloc::vec::Vec;

/// What is to be on a Type 2 card, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type2Image {
    /// What opens the card as it is.
    pub opening: Option<Unlock>,
    /// What is written, in this order.
    pub writes: Vec<PageWrite>,
}

/// One page of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageWrite {
    /// Which.
    pub page: PageNumber,
    /// What.
    pub data: [u8; 4],
    /// Others change it as they like: it is not compared afterwards.
    pub volatile: bool,
}

/// Why an image is not written. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawPagesError {
    /// Nothing is to be written.
    #[error("the image has no page to write")]
    Empty,
    /// UID, lock bits, OTP, capability container.
    #[error("page {page} holds UID, lock bits or OTP, which are never written: a user's pages begin with page 4")]
    Manufacturers {
        /// Which.
        page: PageNumber,
    },
    /// Dynamic lock bits, configuration, password or key.
    #[error("page {page} holds lock bits or configuration of a {kind}, which are not written: its user's pages are 4 to {last}", last = kind.last_user_page())]
    Configuration {
        /// Which.
        page: PageNumber,
        /// Of which card.
        kind: Type2Kind,
    },
    /// The card is smaller.
    #[error("a {kind} has no page {page}")]
    BeyondCard {
        /// Which.
        page: PageNumber,
        /// Which card.
        kind: Type2Kind,
    },
    /// A page has two contents.
    #[error("the image has page {page} twice")]
    Twice {
        /// Which.
        page: PageNumber,
    },
    /// The card is opened otherwise.
    #[error("a {kind} is not opened with what the image gives: a password and PACK, or a 3DES key")]
    OtherOpening {
        /// Which card.
        kind: Type2Kind,
    },
    /// Nothing at hand opens it.
    #[error("no password or key at hand opens the card")]
    Closed,
    /// It gives not all pages, open or not.
    #[error("the card does not let its pages be read")]
    Unreadable,
    /// Its lock bits forbid it for ever.
    #[error("page {page} is locked for ever by the card's lock bits")]
    Locked {
        /// The first such page.
        page: PageNumber,
    },
}

impl Type2Image {
    /// Judges the image by itself, without a card.
    ///
    /// # Errors
    /// [`RawPagesError`], the first in the image's order.
    pub fn check(&self, kind: Type2Kind) -> Result<(), RawPagesError> {
        if self.writes.is_empty() {
            return Err(RawPagesError::Empty);
        }
        for (index, &PageWrite { page, .. }) in self.writes.iter().enumerate() {
            if DataPage::new(kind, page).is_none() {
                return Err(match page.get() {
                    0..4 => RawPagesError::Manufacturers { page },
                    number if number < kind.pages() => RawPagesError::Configuration { page, kind },
                    _ => RawPagesError::BeyondCard { page, kind },
                });
            }
            if self.writes.iter().take(index).any(|earlier| earlier.page == page) {
                return Err(RawPagesError::Twice { page });
            }
        }
        let fits = match &self.opening {
            None => true,
            Some(Unlock::Password { .. }) => kind.has_password(),
            Some(Unlock::UltralightC(_)) => kind == Type2Kind::UltralightC,
        };
        if fits { Ok(()) } else { Err(RawPagesError::OtherOpening { kind }) }
    }

    /// First and last page that it names; page 4 twice of an empty one.
    fn span(&self) -> (u8, u8) {
        let numbers = || self.writes.iter().map(|write| write.page.get());
        (numbers().min().unwrap_or(4), numbers().max().unwrap_or(4))
    }
}

/// What was found out of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagesSeen {
    kind: Type2Kind,
    first: u8,
    pages: Vec<[u8; 4]>,
    /// What opened it, where something had to.
    opening: Option<Unlock>,
    /// It has to be open to be read.
    reads_closed: bool,
    /// It is closed, and nothing at hand opens it.
    is_closed: bool,
}

impl PagesSeen {
    fn page(&self, page: u8) -> Option<[u8; 4]> {
        self.pages.get(usize::from(page.checked_sub(self.first)?)).copied()
    }

    /// Whether lock bits that were read close a page for writing.
    ///
    /// Source: NXP "NTAG213F/216F" data sheet rev. 3.1, section 8.5.3 (static lock bytes: a bit for each of the pages 4 to
    /// 15) and 8.5.4 (dynamic: a bit for two pages of an NTAG213, for sixteen of an NTAG215 and 216); NXP MF0ULx1 data sheet,
    /// section 8.5.3 (two pages). The dynamic bits of an Ultralight C are left to the card.
    fn is_locked(&self, page: u8) -> bool {
        let bit = |bytes: [u8; 2], number: u8| u16::from_le_bytes(bytes) >> number & 1 == 1;
        if page < 16 {
            return self.page(2).is_some_and(|[_, _, low, high]| bit([low, high], page));
        }
        let pages_a_bit = match self.kind {
            Type2Kind::UltralightEv1Large | Type2Kind::Ntag213 => 2,
            Type2Kind::Ntag215 | Type2Kind::Ntag216 => 16,
            Type2Kind::Ultralight | Type2Kind::UltralightEv1Small | Type2Kind::UltralightC => return false,
        };
        let locks = self.kind.dynamic_lock_page().and_then(|locks| self.page(locks.get()));
        locks.is_some_and(|[low, high, _, _]| bit([low, high], (page - 16) / pages_a_bit))
    }
}

/// Reads what an image will write to, and opens the card where that is needed. Nothing is tried on a card that needs no
/// opening for it.
#[derive(Clone, Debug)]
pub struct ReadPages {
    kind: Type2Kind,
    writes: Vec<PageWrite>,
    /// The image's own, which may be counted by the card.
    opening: Option<Unlock>,
    /// Others; not tried where the card counts wrong ones.
    others: Vec<Unlock>,
    /// First page and number of pages that are wanted, without the configuration.
    span: (u8, u8),
    at: At,
    read: Vec<[u8; 4]>,
    pages: Option<Vec<[u8; 4]>>,
    config: Option<Config>,
    reads_closed: bool,
    tried: usize,
    opened: Option<Unlock>,
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The pages and the configuration behind them in one.
    All,
    /// The pages alone.
    Pages,
    /// The configuration alone.
    Config,
    /// Opening it.
    Unlock,
    Done,
}

impl ReadPages {
    /// For this image on a card of this kind. `others`: what this desk knows besides what the image gives.
    pub fn new(kind: Type2Kind, image: &Type2Image, others: Vec<Unlock>) -> Self {
        let (first, last) = image.span();
        // The lock bits of the pages below 16 stand in page 2.
        let first = if first < 16 { 2 } else { first };
        let mut machine = Self {
            kind,
            writes: image.writes.clone(),
            opening: image.opening.clone(),
            others,
            span: (first, last.saturating_sub(first).saturating_add(1)),
            at: At::Pages,
            read: Vec::new(),
            pages: None,
            config: None,
            reads_closed: false,
            tried: 0,
            opened: None,
            is_closed: false,
        };
        if kind.has_fast_read() && machine.all().1 <= FAST_READ_PAGES_MAX {
            machine.at = At::All;
        }
        machine
    }

    /// What was found; `None` before [`LookStep::Done`], or when the card does not give its pages.
    ///
    /// # Errors
    /// [`RawPagesError::Closed`] or [`RawPagesError::Unreadable`] when the card does not give its pages.
    pub fn outcome(&self) -> Result<PagesSeen, RawPagesError> {
        let pages = self.pages.clone().filter(|_| self.at == At::Done);
        let why = if self.is_closed { RawPagesError::Closed } else { RawPagesError::Unreadable };
        Ok(PagesSeen {
            kind: self.kind,
            first: self.span.0,
            pages: pages.ok_or(why)?,
            opening: self.opened.clone(),
            reads_closed: self.reads_closed,
            is_closed: self.is_closed,
        })
    }

    fn all(&self) -> (PageNumber, u8) {
        let (first, _) = self.span;
        let last = self.kind.config_page().map_or(first, |config| config.get() + 1);
        (PageNumber::new(first), last.saturating_sub(first).saturating_add(1))
    }

    fn wanted(&self) -> Option<(PageNumber, u8)> {
        match self.at {
            At::All => Some(self.all()),
            At::Pages => Some((PageNumber::new(self.span.0), self.span.1)),
            At::Config => Some((self.kind.config_page()?, 2)),
            At::Unlock | At::Done => None,
        }
    }

    fn next(&self) -> Option<(PageNumber, u8)> {
        next_run(self.kind, self.wanted()?, self.read.len())
    }

    /// What is tried next.
    fn next_opening(&self) -> Option<&Unlock> {
        // Ours must not be counted by a card that may be somebody else's, and a card of ours shows that it does not count.
        let others = self.config.filter(|config| !config.limits_attempts()).map_or([].as_slice(), |_| &self.others);
        self.opening.iter().chain(others).nth(self.tried)
    }

    fn pages_known(&mut self) {
        self.at = match self.kind.config_page() {
            Some(_) if self.opened.is_none() => At::Config,
            Some(_) | None => At::Done,
        };
    }

    /// Opens the card where a page that is to be changed is closed.
    fn judge(&mut self) {
        let auth0 = self.config.map_or(u8::MAX, |config| config.auth0());
        let (first, _) = self.span;
        let seen = |page: u8| self.pages.as_ref()?.get(usize::from(page.checked_sub(first)?)).copied();
        let is_closed = |write: &PageWrite| write.page.get() >= auth0 && seen(write.page.get()) != Some(write.data);
        self.at = if self.writes.iter().any(is_closed) { At::Unlock } else { At::Done };
        self.settle();
    }

    fn settle(&mut self) {
        if self.at == At::Unlock && self.next_opening().is_none() {
            self.is_closed = true;
            self.at = At::Done;
        }
    }
}

impl Examine for ReadPages {
    fn poll(&self) -> LookStep {
        match self.at {
            At::All | At::Pages | At::Config => {
                self.next().map_or(LookStep::Done, |(first, count)| LookStep::Pages { first, count })
            }
            At::Unlock => self.next_opening().map_or(LookStep::Done, |unlock| LookStep::Unlock(unlock.clone())),
            At::Done => LookStep::Done,
        }
    }

    fn pages(&mut self, pages: &[[u8; 4]]) {
        let Some((_, count)) = self.next().filter(|(_, count)| usize::from(*count) == pages.len()) else { return };
        self.read.extend(pages.iter().take(count.into()));
        if self.next().is_some() {
            return;
        }
        let read = core::mem::take(&mut self.read);
        match self.at {
            At::All => {
                let config = self.kind.config_page().map(|config| usize::from(config.get() - self.span.0));
                self.config = config.and_then(|at| Config::new(self.kind, read.get(at..)?));
                self.pages = Some(read);
                self.judge();
            }
            At::Pages => {
                self.pages = Some(read);
                self.pages_known();
            }
            At::Config => {
                self.config = Config::new(self.kind, &read);
                self.judge();
            }
            At::Unlock | At::Done => {}
        }
    }

    fn refused(&mut self) {
        self.read.clear();
        match self.at {
            At::All => self.at = At::Pages,
            // Reading may be closed too.
            At::Pages if self.opened.is_none() => {
                self.reads_closed = true;
                self.at = At::Unlock;
                self.settle();
            }
            At::Unlock => self.login_failed(),
            // Pages that are read without it lie in front of what is closed.
            At::Pages | At::Config => self.at = At::Done,
            At::Done => {}
        }
    }

    fn unlocked(&mut self) {
        if self.at == At::Unlock {
            self.opened = self.next_opening().cloned();
            self.at = if self.pages.is_some() { At::Done } else { At::Pages };
        }
    }

    fn login_failed(&mut self) {
        if self.at == At::Unlock {
            self.tried += 1;
            self.settle();
        }
    }

    fn login_ok(&mut self) {}

    fn block(&mut self, _data: [u8; 16]) {}
}

/// Plans what is to be done with a card of which this was seen.
///
/// # Errors
/// [`RawPagesError`]: what would go wrong is known before the first write.
pub fn raw_pages(image: &Type2Image, seen: &PagesSeen) -> Result<RawPlan, RawPagesError> {
    image.check(seen.kind)?;
    let mut steps = Vec::new();
    let mut unchanged = Vec::new();
    for write in &image.writes {
        let number = write.page.get();
        let Some(page) = DataPage::new(seen.kind, write.page) else {
            return Err(RawPagesError::BeyondCard { page: write.page, kind: seen.kind });
        };
        if seen.page(number) == Some(write.data) {
            unchanged.push(number);
            continue;
        }
        if seen.is_locked(number) {
            return Err(RawPagesError::Locked { page: write.page });
        }
        if seen.is_closed {
            return Err(RawPagesError::Closed);
        }
        if steps.is_empty() {
            steps.push(Step::Reached(SafePoint::Sealed));
            steps.extend(seen.opening.clone().map(Step::Unlock));
        }
        steps.push(Step::WritePage { page, data: write.data });
    }
    steps.push(Step::NewSession);
    if seen.reads_closed {
        steps.extend(seen.opening.clone().map(Step::Unlock));
    }
    let mut compared: Vec<_> = image.writes.iter().filter(|write| !write.volatile).collect();
    compared.sort_unstable_by_key(|write| write.page);
    for _ in 0..2 {
        for run in compared.chunk_by(|one, next| one.page.get().checked_add(1) == Some(next.page.get())) {
            let expect: Vec<_> = run.iter().map(|write| write.data).collect();
            if let Some(first) = run.first() {
                read_back(&mut steps, seen.kind, first.page, &expect);
            }
        }
    }
    steps.push(Step::Reached(SafePoint::Verified));
    Ok(RawPlan { steps: steps.into_iter().map(RawStep::from).collect(), unchanged, unit: RawUnit::Pages })
}
