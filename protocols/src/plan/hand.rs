//! How the parts of a commit are done on one kind of card. Their order is [`super::encode`]'s and [`super::erase`]'s alone.

use super::{CardView, PlanError, Step, Unlock};
use crate::family::classic::{DataBlock, Key};
use crate::family::type2::{DataPage, PageNumber, Type2Kind};
use crate::layout::content::{Content, SlotState};
use crate::layout::form::{Form, Place};
use crate::layout::keys::CardKeys;
use crate::layout::ocl1::{Slot, SlotImage};
use crate::layout::pages::PageImage;
use alloc::vec::Vec;

/// How a card is opened for writing; `None` for one that nothing closes, and for Classic, whose sectors have their own keys.
pub fn unlock(kind: Type2Kind, keys: &CardKeys) -> Option<Unlock> {
    if kind.has_password() {
        Some(Unlock::Password { password: keys.password(), pack: keys.pack() })
    } else if kind == Type2Kind::UltralightC {
        Some(Unlock::UltralightC(keys.ultralight_c_key()))
    } else {
        None
    }
}

/// A slot's content as it is written to one kind of card.
pub(super) enum Image {
    Blocks(SlotImage),
    Pages(PageImage),
}

/// Appends steps for one kind of card.
pub(super) struct Hand<'a> {
    form: Form,
    keys: &'a CardKeys,
    /// What is known of the card's pages, first page first. What is there already is not written again.
    seen: Option<(PageNumber, &'a [[u8; 4]])>,
    /// The card is open for writing, from the last new session on.
    unlocked: bool,
    pub(super) steps: Vec<Step>,
}

impl<'a> Hand<'a> {
    pub(super) fn new(form: Form, keys: &'a CardKeys) -> Self {
        Self { form, keys, seen: None, unlocked: false, steps: Vec::new() }
    }

    /// Pages of a slot that looks unused and that already hold what they should are not written.
    ///
    /// Not in a slot with a torn seal: there the last write is known to have been interrupted.
    pub(super) fn skipping_what_is_there(mut self, view: &'a CardView, slot: Slot) -> Self {
        if *view.slot(slot) == SlotState::Empty {
            self.seen = view.pages();
        }
        self
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// A slot's content for this card.
    pub(super) fn image(&self, slot: Slot, sequence: u32, content: &Content) -> Result<Image, PlanError> {
        if sequence > self.form.sequence_max() {
            return Err(PlanError::SequenceExhausted);
        }
        match (self.form, content) {
            (Form::Classic(_), Content::Full(record)) => {
                Ok(Image::Blocks(SlotImage::new(self.keys, slot, sequence, record)?))
            }
            (Form::Type2(place), content) => {
                PageImage::new(self.keys, place, slot, sequence, content).map(Image::Pages).ok_or(PlanError::OtherForm)
            }
            (Form::Classic(_), Content::Compact(_)) => Err(PlanError::OtherForm),
        }
    }

    /// Writes the payload. On Classic the seal's sector comes last, so that each sector is opened once.
    pub(super) fn payload(&mut self, image: &Image) {
        match image {
            Image::Blocks(image) => {
                for sector in image.slot.sectors().into_iter().rev() {
                    let blocks: Vec<_> = image.payload_blocks().filter(|(block, _)| block.sector() == sector).collect();
                    if !blocks.is_empty() || sector == image.slot.first_sector() {
                        self.push(Step::Login { sector, key: Key::B(self.keys.key_b(sector)) });
                        self.steps.extend(blocks.into_iter().map(|(block, data)| Step::Write { block, data }));
                    }
                }
            }
            Image::Pages(image) => {
                self.unlock(image.place);
                for (page, data) in image.payload_pages() {
                    if self.seen_at(page) != Some(data) {
                        self.push(Step::WritePage { page, data });
                    }
                }
            }
        }
    }

    /// Writes the seal, after the payload: the card is open for it.
    pub(super) fn seal(&mut self, image: &Image) {
        match image {
            Image::Blocks(image) => self.push(Step::Write { block: image.slot.seal_block(), data: image.seal }),
            Image::Pages(image) => {
                self.steps.extend(image.seal_pages().map(|(page, data)| Step::WritePage { page, data }));
            }
        }
    }

    /// Opens the card for a slot's seal and writes that.
    pub(super) fn seal_again(&mut self, image: &Image) {
        match image {
            Image::Blocks(SlotImage { slot, .. }) => self.login_for_seal(*slot, false),
            Image::Pages(image) => self.unlock(image.place),
        }
        self.seal(image);
    }

    /// Reads everything in use twice in a new session, with what a lock has.
    pub(super) fn verify(&mut self, image: &Image) {
        self.new_session();
        match image {
            Image::Blocks(image) => {
                for sector in image.slot.sectors() {
                    let blocks: Vec<_> = image.blocks().filter(|(block, _)| block.sector() == sector).collect();
                    if blocks.is_empty() {
                        continue;
                    }
                    self.push(Step::Login { sector, key: Key::A(self.keys.key_a(sector)) });
                    for _ in 0..2 {
                        self.steps.extend(blocks.iter().map(|&(block, expect)| Step::ReadBack { block, expect }));
                    }
                }
            }
            Image::Pages(image) => {
                let expect: Vec<_> = image.pages().map(|(_, data)| data).collect();
                for _ in 0..2 {
                    self.read_back(image.place, image.place.slot_page(image.slot), &expect);
                }
            }
        }
    }

    /// Zeroes a slot's seal and reads it back: what it sealed does not live on.
    pub(super) fn retire(&mut self, slot: Slot) {
        self.zero_seal(slot);
        self.read_seal_zero(slot);
    }

    /// Reads a seal that looked empty twice more: it may be one that was torn while it was retired, and one good read is no
    /// proof.
    pub(super) fn confirm_empty(&mut self, slot: Slot) {
        match self.form {
            Form::Classic(_) => self.login_for_seal(slot, true),
            Form::Type2(_) => {}
        }
        for _ in 0..2 {
            self.read_seal_zero(slot);
        }
    }

    /// Zeroes a slot's seal.
    pub(super) fn zero_seal(&mut self, slot: Slot) {
        match self.form {
            Form::Classic(_) => {
                self.login_for_seal(slot, false);
                self.push(Step::Write { block: slot.seal_block(), data: [0; 16] });
            }
            Form::Type2(place) => {
                self.unlock(place);
                let seal = place.pages(slot).take(place.seal_pages().into());
                self.steps.extend(seal.map(|page| Step::WritePage { page, data: [0; 4] }));
            }
        }
    }

    /// Zeroes a slot's payload.
    pub(super) fn zero_payload(&mut self, slot: Slot) {
        match self.form {
            Form::Classic(_) => {
                for sector in slot.sectors() {
                    let payload = |block: &DataBlock| *block != slot.seal_block();
                    self.push(Step::Login { sector, key: Key::B(self.keys.key_b(sector)) });
                    let blocks = sector.data_blocks().filter(payload);
                    self.steps.extend(blocks.map(|block| Step::Write { block, data: [0; 16] }));
                }
            }
            Form::Type2(place) => {
                self.unlock(place);
                let payload = place.pages(slot).skip(place.seal_pages().into());
                self.steps.extend(payload.map(|page| Step::WritePage { page, data: [0; 4] }));
            }
        }
    }

    /// Reads slots back in a new session: nothing but zero.
    pub(super) fn verify_zero(&mut self, slots: [Slot; 2]) {
        self.new_session();
        for slot in slots {
            match self.form {
                Form::Classic(_) => {
                    for sector in slot.sectors() {
                        self.push(Step::Login { sector, key: Key::A(self.keys.key_a(sector)) });
                        let blocks = sector.data_blocks();
                        self.steps.extend(blocks.map(|block| Step::ReadBack { block, expect: [0; 16] }));
                    }
                }
                Form::Type2(place) => {
                    let expect: Vec<_> = place.pages(slot).map(|_| [0; 4]).collect();
                    self.read_back(place, place.slot_page(slot), &expect);
                }
            }
        }
    }

    fn read_seal_zero(&mut self, slot: Slot) {
        match self.form {
            Form::Classic(_) => self.push(Step::ReadBack { block: slot.seal_block(), expect: [0; 16] }),
            Form::Type2(place) => {
                let expect: Vec<_> = (0..place.seal_pages()).map(|_| [0; 4]).collect();
                self.read_back(place, place.slot_page(slot), &expect);
            }
        }
    }

    fn read_back(&mut self, place: Place, first: PageNumber, expect: &[[u8; 4]]) {
        read_back(&mut self.steps, place.kind(), first, expect);
    }

    fn login_for_seal(&mut self, slot: Slot, read_only: bool) {
        let sector = slot.first_sector();
        let key = if read_only { Key::A(self.keys.key_a(sector)) } else { Key::B(self.keys.key_b(sector)) };
        self.push(Step::Login { sector, key });
    }

    fn new_session(&mut self) {
        self.unlocked = false;
        self.push(Step::NewSession);
    }

    fn unlock(&mut self, place: Place) {
        if !self.unlocked {
            self.steps.extend(unlock(place.kind(), self.keys).map(Step::Unlock));
            self.unlocked = true;
        }
    }

    fn seen_at(&self, page: DataPage) -> Option<[u8; 4]> {
        let (first, pages) = self.seen?;
        pages.get(usize::from(page.number().get().checked_sub(first.get())?)).copied()
    }
}

/// Reads pages back, in runs of as many as the card gives at once.
pub(super) fn read_back(steps: &mut impl Extend<Step>, kind: Type2Kind, first: PageNumber, expect: &[[u8; 4]]) {
    let run = pages_at_once(kind);
    let first_of = |index: usize| u8::try_from(usize::from(first.get()) + index * run).map(PageNumber::new);
    let read = |(index, expect): (usize, &[[u8; 4]])| {
        let first = first_of(index).ok()?;
        Some(Step::ReadBackPages { first, expect: expect.to_vec() })
    };
    steps.extend(expect.chunks(run).enumerate().filter_map(read));
}

/// How many pages a card gives at once: four, or all of them to `FAST_READ`.
pub(super) fn pages_at_once(kind: Type2Kind) -> usize {
    if kind.has_fast_read() { kind.pages().into() } else { 4 }
}
