//! What was measured: quantiles, medians over rounds, and the lines of the tables with their goals.

use std::fmt::Write as _;
use std::time::Duration;

/// How long each request took.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// In milliseconds: the least time that so many per cent of the requests did not exceed.
    pub(crate) fn quantile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).map_or(f64::NAN, |time| ms(*time))
    }

    pub(crate) fn most_ms(&self) -> f64 {
        self.quantile_ms(100)
    }

    /// Requests a second when they are made one after another.
    pub(crate) fn per_second(&self) -> f64 {
        rate(self.0.len(), self.0.iter().sum())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How many a second.
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from) / time.as_secs_f64()
}

/// Repeated measurements of one thing.
#[derive(Clone, Debug)]
pub(crate) struct Figure(Vec<f64>);

impl Figure {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn once(value: f64) -> Self {
        Self(vec![value])
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The median, and behind it the least and the most.
    fn text(&self) -> String {
        let median = number(self.median());
        match self.0.as_slice() {
            [least, .., most] => format!("{median} ({}–{})", number(*least), number(*most)),
            _ => median,
        }
    }
}

/// Three digits are more than repeats.
pub(crate) fn number(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Nothing is asked of it.
    None,
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Goal {
    pub(crate) fn text(self) -> String {
        match self {
            Self::None => "–".to_owned(),
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }

    fn is_met(self, value: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// The tables, and which goals were missed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    text: String,
    missed: Vec<String>,
}

impl Report {
    /// A paragraph, or the head of a table.
    pub(crate) fn say(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Ours beside the peer's; `part` is what share of the peer's it may be: 2 for a half.
    pub(crate) fn beside(&mut self, what: &str, unit: &str, ours: &Figure, peer: &Figure, part: Option<u32>) {
        let ratio = ours.median() / peer.median();
        let (goal, asked) = match part {
            Some(part) => (Goal::AtMost(1.0 / f64::from(part)), format!("≤ 1/{part}")),
            None => (Goal::None, Goal::None.text()),
        };
        let met = self.judge(goal, ratio, || format!("{what}: {} of the peer's, goal {asked}", number(ratio)));
        let _ = writeln!(
            self.text,
            "| {what}, {unit} | {} | {} | {} | {asked}{met} |",
            ours.text(),
            peer.text(),
            number(ratio)
        );
    }

    /// A figure of ours alone.
    pub(crate) fn alone(&mut self, what: &str, unit: &str, ours: &Figure, goal: Goal) {
        let median = ours.median();
        let met = self.judge(goal, median, || format!("{what}: {} {unit}, goal {}", number(median), goal.text()));
        let _ = writeln!(self.text, "| {what}, {unit} | {} | {}{met} |", ours.text(), goal.text());
    }

    /// What to say behind a goal; a missed one is noted with this line.
    pub(crate) fn judge(&mut self, goal: Goal, value: f64, line: impl FnOnce() -> String) -> &'static str {
        match goal {
            Goal::None => "",
            Goal::AtMost(_) | Goal::AtLeast(_) if goal.is_met(value) => ", met",
            Goal::AtMost(_) | Goal::AtLeast(_) => {
                self.missed.push(line());
                ", **missed**"
            }
        }
    }

    /// Something could not be measured, which is no better than a missed goal.
    pub(crate) fn fail(&mut self, line: String) {
        self.missed.push(line);
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The goals that were missed, a line each.
    pub(crate) fn missed(&self) -> &[String] {
        &self.missed
    }
}
