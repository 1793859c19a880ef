//! Tears every write of a job, presents the card again, judges what is on it, counts.

use super::cards::{self, Family, Item, Sight, Start, dump, unit};
use super::rig::{End, Job, READERS, Rig, Tear};
use super::torn::torn_contents;
use crate::fault::FaultKind;
use encoder_protocols::card_sim::Torn;
use encoder_protocols::layout::content::Content;
use encoder_protocols::layout::record::Record;
use std::fmt;

/// What is torn, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Personalize,
    Encode,
    Recover,
    Erase,
    TwoTears,
    WeakBits,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Personalize => "personalise",
            Self::Encode => "encode",
            Self::Recover => "recover",
            Self::Erase => "erase",
            Self::TwoTears => "two tears",
            Self::WeakBits => "weak bits",
        })
    }
}

/// One part of the suite.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) reader: &'static str,
    pub(super) family: Family,
    pub(super) kind: Kind,
    pub(super) starts: Vec<Start>,
    /// What every card with a credential has besides it.
    pub(super) prepared: Vec<u8>,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.reader, self.family, self.kind)
    }
}

/// Cases, and what went wrong in them. A case is a card that was torn once, or twice, with one thing that comes next.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) cases: usize,
    /// The card had a credential and has none.
    pub(super) lost: usize,
    /// A valid record that nobody made.
    pub(super) mixed: usize,
    /// A success without the record on the card as its current one, prepared as it should be.
    pub(super) false_success: usize,
    /// An earlier guest's record lives on after a success that nothing interrupted, or is back.
    pub(super) stale: usize,
    /// The new record is on the card after a failure that does not say that it may be.
    pub(super) undoubted: usize,
    /// The next attempts did not end in a success, and the card is not named damaged.
    pub(super) unrecovered: usize,
    /// Of two valid records the older one is current again: the newer seal was torn while it was written anew. No fault:
    /// an unfinished card is finished or rolled back.
    pub(super) rolled_back: usize,
    /// Personalising: the sector of a torn trailer is lost and the card named damaged. No fault.
    pub(super) damaged: usize,
    /// The first thing that went wrong, in words.
    pub(super) first: Option<String>,
}

impl Tally {
    pub(super) const HEADER: &'static str =
        "   cases   lost  mixed  false  stale undoubted unrecovered rolled-back damaged    time";

    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.mixed + self.false_success + self.stale + self.undoubted + self.unrecovered == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.lost += other.lost;
        self.mixed += other.mixed;
        self.false_success += other.false_success;
        self.stale += other.stale;
        self.undoubted += other.undoubted;
        self.unrecovered += other.unrecovered;
        self.rolled_back += other.rolled_back;
        self.damaged += other.damaged;
        self.first = self.first.take().or(other.first);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, lost, mixed, false_success, stale, undoubted, unrecovered, rolled_back, damaged, first: _ } =
            self;
        write!(f, "{cases:8} {lost:6} {mixed:6} {false_success:6} {stale:6} {undoubted:9} {unrecovered:11} ")?;
        write!(f, "{rolled_back:11} {damaged:7}")
    }
}

/// One write of a job, as it happens.
struct Write {
    nth: u32,
    /// Which unit of memory.
    at: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// A card that was torn.
struct Case<'a> {
    start: &'a Start,
    write: &'a Write,
    content: &'a [u8],
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, write, content } = self;
        write!(f, "{}: write {} (unit {}) torn to {content:02x?}", start.name, write.nth, write.at)
    }
}

/// A reader that cards are torn on.
pub(super) struct Suite {
    rig: Rig,
    /// How many random contents a write is torn to.
    noise: u64,
    /// Of the second of two tears every so manyth is run.
    stride: u64,
    pub(super) tally: Tally,
    title: String,
    family: Family,
    prepared: Vec<u8>,
}

impl Suite {
    pub(super) fn new(mut rig: Rig, stage: &Stage, seeds: u64) -> Self {
        rig.ndef = stage.family.ndef();
        let (title, prepared) = (stage.to_string(), stage.prepared.clone());
        let thinned = stage.kind == Kind::Erase || stage.reader != READERS[0];
        // What differs between readers and kinds of jobs is how cards are spoken to, not what noise does to a seal.
        let noise = if thinned { seeds / 4 } else { seeds };
        // A card of pages has three times the writes of one of blocks, so nine times the pairs.
        let pairs = if matches!(stage.family, Family::Classic(_)) { 4 } else { 36 };
        let stride = (pairs * 32 / seeds.max(1)).max(1);
        Self { rig, noise, stride, tally: Tally::default(), title, family: stage.family, prepared }
    }

    pub(super) async fn run(&mut self, stage: &Stage) {
        for start in &stage.starts {
            match stage.kind {
                Kind::Personalize | Kind::Encode | Kind::Recover | Kind::Erase => self.one_tear(start).await,
                Kind::TwoTears => self.two_tears(start).await,
                Kind::WeakBits => self.weak_bits(start).await,
            }
        }
    }

    /// All writes of a job that nothing interrupts.
    async fn writes(&mut self, start: &Start) -> Vec<Write> {
        let mut item = start.item.clone();
        let before = self.rig.writes();
        let end = self.rig.run(&mut item, &start.job, None).await;
        assert!(end.is_ok(), "{}, {}: {end:?}", self.title, start.name);
        let count = u32::try_from(self.rig.writes() - before).unwrap();
        let mut writes = Vec::new();
        for nth in 1..=count {
            let mut left = Vec::new();
            for torn in [Torn::Old, Torn::New, Torn::Exact([0xC7; 16])] {
                let mut item = start.item.clone();
                let _torn = self.rig.run(&mut item, &start.job, Some(Tear { nth, torn, comes_back: false })).await;
                left.push(dump(&item.card));
            }
            let size = unit(&item.card);
            let at = (0..left[0].len() / size).find(|at| left[0][at * size..][..size] != left[2][at * size..][..size]);
            let at = at.expect("no card holds C7 from end to end");
            let of = |dump: &[u8]| dump[at * size..][..size].to_vec();
            writes.push(Write { nth, at, old: of(&left[0]), new: of(&left[1]) });
        }
        writes
    }

    async fn one_tear(&mut self, start: &Start) {
        for write in &self.writes(start).await {
            for content in contents(write, self.noise) {
                let case = Case { start, write, content: &content };
                let item = self.tear(&case, false).await;
                for job in [start.job.clone(), Job::Encode(self.family.other())] {
                    self.tally.cases += 1;
                    let mut again = item.clone();
                    self.present_again(&mut again, &job, &case).await;
                }
                self.tally.cases += 1;
                let mut item = self.tear(&case, true).await;
                self.present_again(&mut item, &start.job, &case).await;
            }
        }
    }

    async fn two_tears(&mut self, start: &Start) {
        let mut index = 0;
        for write in &self.writes(start).await {
            // A few contents that differ in kind: written or not, neither, and in between.
            for content in
                contents(write, 1).into_iter().enumerate().filter(|(at, _)| at % 16 < 3).map(|(_, content)| content)
            {
                let case = Case { start, write, content: &content };
                let item = self.tear(&case, false).await;
                let again = Start { name: case.to_string(), item, ..start.clone() };
                let mut finished = again.item.clone();
                if self.rig.run(&mut finished, &again.job, None).await.is_err() {
                    continue;
                }
                for write in &self.writes(&again).await {
                    for content in contents(write, 1).into_iter().step_by(5) {
                        index += 1;
                        if index % self.stride != 0 {
                            continue;
                        }
                        let case = Case { start: &again, write, content: &content };
                        let mut item = self.tear(&case, false).await;
                        self.tally.cases += 1;
                        self.present_again(&mut item, &again.job, &case).await;
                    }
                }
            }
        }
    }

    /// A write that was interrupted so late that its bits read as new, then as old.
    async fn weak_bits(&mut self, start: &Start) {
        for write in &self.writes(start).await {
            let mut flipped = [0; 16];
            for (flip, (old, new)) in flipped.iter_mut().zip(write.old.iter().zip(&write.new)) {
                *flip = old ^ new;
            }
            let mut masks = vec![flipped, [0x01; 16], [0xFF; 16]];
            masks.extend((1..=self.noise / 4).map(|seed| {
                let noise: [u8; 16] = super::torn::noise(seed);
                std::array::from_fn(|at| noise[at] & flipped[at])
            }));
            for mask in masks {
                for inverted in [false, true] {
                    let case = Case { start, write, content: &write.new };
                    let mut item = self.tear(&case, false).await;
                    cards::weaken(&mut item.card, write.at, mask, inverted);
                    self.tally.cases += 1;
                    self.present_until_done(&mut item, &case).await;
                }
            }
        }
    }

    /// Runs the job until the card leaves, and judges what is on it then.
    async fn tear(&mut self, case: &Case<'_>, comes_back: bool) -> Item {
        let Case { start, write, content } = case;
        let mut exact = [0; 16];
        exact[..content.len()].copy_from_slice(content);
        let tear = Tear { nth: write.nth, torn: Torn::Exact(exact), comes_back };
        let mut item = start.item.clone();
        let end = self.rig.run(&mut item, &start.job, Some(tear)).await;
        self.judge(&self.sight(&start.item), &item, &start.job, &end, case);
        item
    }

    /// Any card after any job.
    fn judge(&mut self, before: &Sight, item: &Item, job: &Job, end: &End, case: &Case<'_>) {
        let now = self.sight(item);
        let (was, is) = (before.current(), now.current());
        if now.valid().iter().any(|valid| !case.start.known.iter().any(|known| self.content(known) == *valid)) {
            self.found(|tally| &mut tally.mixed, case, &format_args!("a record that nobody made, {end:?}"));
        }
        match job {
            Job::Encode(record) => {
                if was.is_some() && is.is_none() {
                    self.found(|tally| &mut tally.lost, case, &format_args!("no credential, {end:?}"));
                }
                let is_new = is.as_ref() == Some(&self.content(record));
                if let Some(is) = is.as_ref().filter(|_| !is_new && is != was) {
                    if end.is_err() && before.valid().contains(is) {
                        self.tally.rolled_back += 1;
                    } else {
                        self.found(|tally| &mut tally.stale, case, &format_args!("an older one is back, {end:?}"));
                    }
                }
                match end {
                    Ok(()) if !is_new => {
                        self.found(|tally| &mut tally.false_success, case, &"a success without the record");
                    }
                    Err(failure) if is_new && was != is && !failure.in_doubt => {
                        self.found(|tally| &mut tally.undoubted, case, &format_args!("{failure:?}, but it is there"));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
            Job::Erase => {
                if is.is_some() && is != was {
                    self.found(|tally| &mut tally.stale, case, &format_args!("an older one is back, {end:?}"));
                }
                if end.is_ok() && now.filled() > 0 {
                    self.found(|tally| &mut tally.false_success, case, &"a success, but something is left");
                }
            }
        }
    }

    /// The next attempt on a card that was torn, with nothing in its way.
    async fn present_again(&mut self, item: &mut Item, job: &Job, case: &Case<'_>) {
        let before = self.sight(item);
        let end = self.rig.run(item, job, None).await;
        self.judge(&before, item, job, &end, case);
        self.judge_last(item, job, &end, case);
    }

    /// A card after its last attempt.
    fn judge_last(&mut self, item: &Item, job: &Job, end: &End, case: &Case<'_>) {
        let looks = Sight::twice(&item.card, self.family.form());
        match (end, job) {
            (Ok(()), Job::Encode(record)) => {
                for now in looks {
                    if now.current().as_ref() != Some(&self.content(record)) {
                        self.found(|tally| &mut tally.false_success, case, &"a success without the record");
                    }
                    if now.filled() != 1 {
                        self.found(|tally| &mut tally.stale, case, &"the other slot is not empty");
                    }
                }
                if self.family.outside(&item.card) != self.prepared {
                    self.found(|tally| &mut tally.false_success, case, &"a success on a card that is not prepared");
                }
            }
            (Ok(()), Job::Erase) => {
                if looks.iter().any(|now| now.filled() > 0) || !self.is_empty(item) {
                    self.found(|tally| &mut tally.false_success, case, &"a success, but something is left");
                }
            }
            // The attempt before it had come to its end.
            (Err(failure), Job::Erase)
                if failure.fault.kind == FaultKind::CardWithoutCredential && self.is_empty(item) => {}
            (Err(failure), _) if is_lost_sector(failure.fault.kind, case) => {
                self.tally.damaged += 1;
                if looks.iter().any(|now| now.current().is_some()) {
                    self.found(|tally| &mut tally.false_success, case, &"a credential on a damaged card");
                }
            }
            (Err(failure), _) => {
                self.found(|tally| &mut tally.unrecovered, case, &format_args!("{:?}", failure.fault));
            }
        }
    }

    /// Attempts until one is a success; weak bits may take a few.
    async fn present_until_done(&mut self, item: &mut Item, case: &Case<'_>) {
        let job = &case.start.job;
        for _ in 0..4 {
            let before = self.sight(item);
            let end = self.rig.run(item, job, None).await;
            self.judge(&before, item, job, &end, case);
            if end.is_ok() {
                self.judge_last(item, job, &end, case);
                return;
            }
        }
        self.found(|tally| &mut tally.unrecovered, case, &"four attempts");
    }

    fn sight(&self, item: &Item) -> Sight {
        Sight::of(&item.card, self.family.form())
    }

    /// Prepared, and nothing but zero in both slots.
    fn is_empty(&self, item: &Item) -> bool {
        self.family.outside(&item.card) == self.prepared && self.family.inside(&item.card).iter().all(|&byte| byte == 0)
    }

    /// What of a record this kind of card carries.
    fn content(&self, record: &Record) -> Content {
        Content::fit(record, self.family.form()).unwrap()
    }

    fn found(&mut self, count: impl Fn(&mut Tally) -> &mut usize, case: &Case<'_>, what: &dyn fmt::Display) {
        *count(&mut self.tally) += 1;
        let title = &self.title;
        self.tally.first.get_or_insert_with(|| format!("{title}: {case}: {what}"));
    }
}

/// A trailer that was torn while the card was personalised may be lost for good.
fn is_lost_sector(kind: FaultKind, case: &Case<'_>) -> bool {
    kind == FaultKind::DamagedCard && cards::is_perilous(&case.start.item.card, case.write.at)
}

fn contents(write: &Write, seeds: u64) -> Vec<Vec<u8>> {
    let mut contents = match write.old.len() {
        16 => contents_of::<16>(write, seeds),
        _ => contents_of::<4>(write, seeds),
    };
    let mut seen = std::collections::BTreeSet::new();
    contents.retain(|content| seen.insert(content.clone()));
    contents
}

fn contents_of<const N: usize>(write: &Write, seeds: u64) -> Vec<Vec<u8>> {
    let [old, new] = [&write.old, &write.new].map(|unit| *unit.first_chunk().unwrap());
    torn_contents::<N>(old, new, seeds).into_iter().map(Vec::from).collect()
}
