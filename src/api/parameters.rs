//! What several endpoints' parameters share: lists, values that may be null, pages, checked texts.

use crate::api::id::ElsewhereId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// How many items a list has when nothing is said.
pub const LIMIT_DEFAULT: u32 = 500;

/// How many items a list has at most.
pub const LIMIT_MAX: u32 = 1000;

/// A filter by several values: absent lets everything through, an empty list nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AnyOf<T>(pub Option<Vec<T>>);

impl<T> Default for AnyOf<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> AnyOf<T> {
    /// The values, or none when the filter was not given.
    pub fn into_values(self) -> Vec<T> {
        self.0.unwrap_or_default()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AnyOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = AnyOf<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("array")
            }

            fn visit_unit<E: de::Error>(self) -> Result<AnyOf<T>, E> {
                Ok(AnyOf(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<AnyOf<T>, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(AnyOf(Some(values)))
            }
        }
        deserializer.deserialize_seq(Values(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for AnyOf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("AnyOfOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>(), "nullable": true })
    }
}

/// A filter by something that this hub has none of. Given, it lets nothing through: ignoring it would answer a question
/// about one device with everything there is.
pub trait Elsewhere {
    /// Whether it was given.
    fn is_given(&self) -> bool;
}

impl Elsewhere for Option<ElsewhereId> {
    fn is_given(&self) -> bool {
        self.is_some()
    }
}

impl Elsewhere for Option<String> {
    fn is_given(&self) -> bool {
        self.as_ref().is_some_and(|text| !text.is_empty())
    }
}

impl Elsewhere for AnyOf<ElsewhereId> {
    fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// What an update does to a nullable value: absent leaves it, null clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The parameter was not given.
    #[default]
    Keep,
    /// The parameter was null.
    Clear,
    /// The parameter was this.
    Set(T),
}

impl<T> Change<T> {
    /// The value after the update.
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// Whether the value stays, for leaving the parameter out of a request.
    pub fn keeps(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ChangeOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Option<T>>()
    }
}

/// A text with at least one character that shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Filled(pub String);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(de::Error::custom("String must contain at least 1 character(s)"));
        }
        Ok(Self(trimmed.to_owned()))
    }
}

impl JsonSchema for Filled {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Filled".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// An e-mail address that the API's own types accept; an address that they refuse would make every answer with it
/// invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Email(pub String);

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_email(&text) { Ok(Self(text)) } else { Err(de::Error::custom("Invalid email")) }
    }
}

impl JsonSchema for Email {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Email".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "email" })
    }
}

/// The rule of zod 3, `z.string().email()`.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_fits = local.chars().all(|c| c.is_ascii_alphanumeric() || "_'+-.".contains(c))
        && local.ends_with(|c: char| c.is_ascii_alphanumeric() || "_+-".contains(c))
        && !local.starts_with('.')
        && !text.contains("..");
    let Some((labels, top)) = domain.rsplit_once('.') else { return false };
    local_fits
        && top.len() >= 2
        && top.chars().all(|c| c.is_ascii_alphabetic())
        && labels.split('.').all(|label| {
            label.starts_with(|c: char| c.is_ascii_alphanumeric())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
}

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limit(pub Option<u32>);

impl Limit {
    /// How many items to send.
    pub fn or(&self, default: u32) -> u32 {
        self.0.unwrap_or(default).min(LIMIT_MAX)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<u32>::deserialize(deserializer)? {
            Some(0) => Err(de::Error::custom("Number must be greater than or equal to 1")),
            limit => Ok(Self(limit)),
        }
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_what_the_types_accept() {
        for good in ["jane@example.com", "j.d+x@mail.example.co"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["jane", "jane@localhost", "@example.com", ".j@example.com", "a..b@example.com", "j d@example.com"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn null_is_told_from_absent() {
        #[derive(Deserialize)]
        struct Update {
            #[serde(default)]
            ends_at: Change<u32>,
        }
        let read = |text| serde_json::from_str::<Update>(text).unwrap().ends_at;
        assert_eq!(read("{}"), Change::Keep);
        assert_eq!(read("{\"ends_at\":null}"), Change::Clear);
        assert_eq!(read("{\"ends_at\":5}"), Change::Set(5));
    }
}
