//! Moments as the API writes them: ISO 8601 in UTC with milliseconds.

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::borrow::Cow;
use std::fmt;

/// A moment, in milliseconds since 1970.
///
/// Written as `2025-07-13T15:00:00.000Z`; read with any offset, but not without one: a local time names no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

impl Time {
    /// From milliseconds since 1970.
    pub fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// From seconds since 1970, as cards carry them.
    pub fn from_card_seconds(seconds: u32) -> Self {
        Self(i64::from(seconds) * 1000)
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, if a card can carry them.
    ///
    /// [`u32::MAX`] is not among them: on a card it means "no end".
    pub fn card_seconds(self) -> Option<u32> {
        u32::try_from(self.0.div_euclid(1000)).ok().filter(|seconds| *seconds != u32::MAX)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{timestamp:.3}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let timestamp = Timestamp::from_millisecond(self.0).map_err(ser::Error::custom)?;
        serializer.collect_str(&format_args!("{timestamp:.3}"))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text)
            .map(|timestamp| Self(timestamp.as_millisecond()))
            .ok_or_else(|| de::Error::custom("Invalid datetime"))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Reads a date, `T`, a time of day and an offset. RFC 9557 also knows zones in brackets and a blank for the `T`; the
/// API's own types take neither.
fn parse(text: &str) -> Option<Timestamp> {
    if text.as_bytes().get(10) != Some(&b'T') || text.contains('[') {
        return None;
    }
    text.parse().ok().or_else(|| {
        // The year 9999 means "for ever", and its last day is beyond what a timestamp can be.
        let pieces = Pieces::parse(text).ok()?;
        let is_moment = pieces.time().is_some() && pieces.to_numeric_offset().is_some();
        (is_moment && pieces.date() >= Timestamp::MAX.to_zoned(TimeZone::UTC).date()).then_some(Timestamp::MAX)
    })
}

/// A time of day, `HH:MM` or `HH:MM:SS`, of no certain day and zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TimeOfDay(String);

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let parts: Vec<u8> = text.split(':').filter_map(|part| part.parse().ok()).collect();
        let is_one = matches!(shape.as_str(), "00:00" | "00:00:00")
            && parts.iter().zip([23, 59, 59]).all(|(part, most)| *part <= most);
        if is_one { Ok(Self(text)) } else { Err(de::Error::custom("Invalid time of day; write HH:MM or HH:MM:SS")) }
    }
}

impl JsonSchema for TimeOfDay {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([01]\\d|2[0-3]):[0-5]\\d(:[0-5]\\d)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc_with_milliseconds_and_read_with_any_offset() {
        let time: Time = serde_json::from_str("\"2025-07-13T17:00:00.5+02:00\"").unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2025-07-13T15:00:00.500Z\"");
        for text in [
            "\"2025-07-13T15:00:00\"",
            "\"2025-07-13\"",
            "\"soon\"",
            "5",
            "\"9999-12-31T23:59:59\"",
            "\"9999-12-32T23:59:59Z\"",
        ] {
            assert!(serde_json::from_str::<Time>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_one_that_a_clock_shows() {
        let is_one = |text: &str| serde_json::from_value::<TimeOfDay>(text.into()).is_ok();
        assert!(["00:00", "15:30", "23:59:59"].into_iter().all(is_one));
        assert!(!["24:00", "15:60", "15:30:60", "3:00", "15", "15:30:", "noon", "１５:30", ""].into_iter().any(is_one));
    }

    #[test]
    fn a_card_carries_the_years_1970_to_2106() {
        assert_eq!(Time::from_ms(1_999).card_seconds(), Some(1));
        assert_eq!(Time::from_ms(-1).card_seconds(), None);
        assert_eq!(Time::from_card_seconds(u32::MAX - 1).card_seconds(), Some(u32::MAX - 1));
        assert_eq!(Time::from_card_seconds(u32::MAX).card_seconds(), None);
    }
}
