//! A parameter as it was given, and how it is read as what it should be.

use crate::hub::error::{ApiError, Invalid};
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;
use std::fmt::{self, Display};

/// A parameter as it was given.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// From a query: one text, or several under the same name.
    Text(Vec<String>),
    /// From a body.
    Null,
    /// From a body.
    Bool(bool),
    /// From a body.
    Number(Number),
    /// From a body.
    String(String),
    /// From a body.
    List(Vec<Given>),
    /// From a body, or from a query with dots.
    Object(BTreeMap<String, Given>),
}

impl Given {
    /// What it is, in zod's words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::String(_) => "string",
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    fn unexpected(&self, expected: &str) -> Invalid {
        Invalid::whole(format!("Expected {expected}, received {}", self.kind()))
    }
}

impl From<Value> for Given {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::String(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(map) => Self::Object(map.into_iter().map(|(key, value)| (key, Self::from(value))).collect()),
        }
    }
}

/// How deep a query may nest with dots. No endpoint takes more than three levels; a body is bounded by `serde_json`.
const NESTING_MAX: usize = 16;

/// The parameters of a query string.
pub(super) fn from_query(query: &str) -> Result<BTreeMap<String, Given>, ApiError> {
    let pairs: Vec<(String, String)> =
        serde_html_form::from_str(query).map_err(|_| Invalid::whole("Malformed query string"))?;
    let mut root = BTreeMap::new();
    for (key, value) in pairs {
        // Every level is a call of `put`, and another one when it is read or dropped.
        if key.matches('.').count() >= NESTING_MAX {
            return Err(Invalid::whole(format!("Parameters may nest {NESTING_MAX} levels deep")).into());
        }
        put(&mut root, &key, value);
    }
    Ok(root)
}

/// Puts a text where its dotted key says. Where a value and a nested value meet, the later one counts.
fn put(map: &mut BTreeMap<String, Given>, key: &str, value: String) {
    if let Some((first, rest)) = key.split_once('.') {
        let entry = map.entry(first.to_owned()).or_insert_with(|| Given::Object(BTreeMap::new()));
        if !matches!(entry, Given::Object(_)) {
            *entry = Given::Object(BTreeMap::new());
        }
        if let Given::Object(inner) = entry {
            put(inner, rest, value);
        }
        return;
    }
    match map.get_mut(key) {
        Some(Given::Text(texts)) => texts.push(value),
        Some(_) | None => {
            map.insert(key.to_owned(), Given::Text(vec![value]));
        }
    }
}

/// What is wrong with a parameter, with the way to it.
impl de::Error for Invalid {
    fn custom<T: Display>(message: T) -> Self {
        Self::whole(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::parameter(field, "Required")
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::whole(format!("Expected {expected}, received {unexpected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let expected: Vec<String> = expected.iter().map(|name| format!("'{name}'")).collect();
        Self::whole(format!("Invalid enum value. Expected {}, received '{variant}'", expected.join(" | ")))
    }
}

impl Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    fn under(mut self, name: impl Into<String>) -> Self {
        self.path.insert(0, name.into());
        self
    }
}

/// The one text of a parameter from a query.
fn only(texts: &[String]) -> Result<&str, Invalid> {
    match texts {
        [text] => Ok(text),
        _ => Err(Invalid::whole("Expected one value, received array")),
    }
}

macro_rules! numbers {
    ($($method:ident, $visit:ident, $number:ty, $read:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
            let value: Option<$number> = match &self {
                Given::Text(texts) => only(texts)?.parse().ok(),
                Given::Number(number) => $read(number),
                Given::Null | Given::Bool(_) | Given::String(_) | Given::List(_) | Given::Object(_) => {
                    return Err(self.unexpected("number"));
                }
            };
            visitor.$visit(value.ok_or_else(|| Invalid::whole("Expected a whole number of this size"))?)
        }
    )*};
}

fn whole_unsigned(number: &Number) -> Option<u64> {
    number.as_u64()
}

fn whole_signed(number: &Number) -> Option<i64> {
    number.as_i64()
}

impl<'de> Deserializer<'de> for Given {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self {
            Self::Text(texts) if texts.len() == 1 => visitor.visit_string(texts.into_iter().next().unwrap_or_default()),
            Self::Text(texts) => Self::Text(texts).deserialize_seq(visitor),
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (None, Some(value), _) => visitor.visit_i64(value),
                (None, None, Some(value)) => visitor.visit_f64(value),
                (None, None, None) => Err(Invalid::whole("Expected a number of usual size")),
            },
            Self::String(text) => visitor.visit_string(text),
            Self::List(items) => visitor.visit_seq(Items { items: items.into_iter(), index: 0 }),
            Self::Object(map) => visitor.visit_map(Entries { entries: map.into_iter(), value: None }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self {
            Self::Bool(value) => visitor.visit_bool(*value),
            Self::Text(texts) => match only(texts)? {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => Err(self.unexpected("boolean")),
            },
            Self::Null | Self::Number(_) | Self::String(_) | Self::List(_) | Self::Object(_) => {
                Err(self.unexpected("boolean"))
            }
        }
    }

    numbers! {
        deserialize_u8, visit_u64, u64, whole_unsigned;
        deserialize_u16, visit_u64, u64, whole_unsigned;
        deserialize_u32, visit_u64, u64, whole_unsigned;
        deserialize_u64, visit_u64, u64, whole_unsigned;
        deserialize_i8, visit_i64, i64, whole_signed;
        deserialize_i16, visit_i64, i64, whole_signed;
        deserialize_i32, visit_i64, i64, whole_signed;
        deserialize_i64, visit_i64, i64, whole_signed;
        deserialize_f32, visit_f64, f64, Number::as_f64;
        deserialize_f64, visit_f64, f64, Number::as_f64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let text = match &self {
            Self::Text(texts) => only(texts)?,
            Self::String(text) => text,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => {
                return Err(self.unexpected("string"));
            }
        };
        // Databases differ in what they make of it: some cut the text off there, some refuse it.
        if text.contains('\0') {
            return Err(Invalid::whole("String must not contain NUL characters"));
        }
        visitor.visit_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self {
            Self::Null => visitor.visit_none(),
            Self::Text(texts) if matches!(texts.as_slice(), [text] if text.is_empty()) => visitor.visit_none(),
            Self::Text(_) | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::List(_) | Self::Object(_) => {
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let items = match self {
            Self::List(items) => items,
            Self::Text(texts) if matches!(texts.as_slice(), [text] if text.is_empty()) => Vec::new(),
            Self::Text(texts) => texts.into_iter().map(|text| Self::Text(vec![text])).collect(),
            Self::Null => return visitor.visit_unit(),
            Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Object(_) => {
                return Err(self.unexpected("array"));
            }
        };
        visitor.visit_seq(Items { items: items.into_iter(), index: 0 })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self {
            Self::Object(map) => visitor.visit_map(Entries { entries: map.into_iter(), value: None }),
            Self::Text(_) | Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::List(_) => {
                Err(self.unexpected("object"))
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        let word = match &self {
            Self::Text(texts) => only(texts)?,
            Self::String(text) => text,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => {
                return Err(self.unexpected("string"));
            }
        };
        let word: StrDeserializer<'_, Invalid> = word.into_deserializer();
        word.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

impl IntoDeserializer<'_, Invalid> for Given {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Items {
    items: std::vec::IntoIter<Given>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Invalid;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Invalid> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.under(index.to_string()))
    }
}

struct Entries {
    entries: IntoIter<String, Given>,
    value: Option<(String, Given)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Invalid;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Invalid> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let name: StrDeserializer<'_, Invalid> = key.as_str().into_deserializer();
        let read = seed.deserialize(name).map(Some);
        self.value = Some((key, value));
        read
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Invalid> {
        let (key, value) = self.value.take().ok_or_else(|| Invalid::whole("a value before its key"))?;
        seed.deserialize(value).map_err(|error| error.under(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::id::AcsEncoderId;
    use crate::api::parameters::{AnyOf, Change, Limit};
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Probe {
        acs_encoder_id: AcsEncoderId,
        #[serde(default)]
        acs_system_ids: AnyOf<String>,
        #[serde(default)]
        limit: Limit,
        flag: Option<bool>,
        name: Option<String>,
        #[serde(default)]
        ends_at: Change<String>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        count: i64,
        mode: crate::api::AccessMode,
    }

    const ID: &str = "7b5a3e70-9f9b-4b53-a5ab-5c4b8d1e6f01";

    fn query(text: &str) -> Result<Probe, Invalid> {
        let parameters = from_query(text).map_err(|_| Invalid::whole("query"))?;
        Probe::deserialize(Given::Object(parameters))
    }

    fn body(value: Value) -> Result<Probe, Invalid> {
        Probe::deserialize(Given::from(value))
    }

    #[test]
    fn a_query_is_read_as_the_sdks_write_it() {
        let probe = query(&format!(
            "_strict=true&acs_encoder_id={ID}&acs_system_ids=a&acs_system_ids=b&limit=5&flag=true&name=&ends_at=&inner.count=-1&inner.mode=card"
        ))
        .unwrap();
        assert_eq!(probe.acs_encoder_id.to_string(), ID);
        assert_eq!(probe.acs_system_ids.0.unwrap(), ["a", "b"]);
        assert_eq!((probe.limit.0, probe.flag, probe.name, probe.ends_at), (Some(5), Some(true), None, Change::Clear));
        assert_eq!(probe.inner, Some(Inner { count: -1, mode: crate::api::AccessMode::Card }));
        let one = query(&format!("acs_encoder_id={ID}&acs_system_ids=a")).unwrap();
        assert_eq!(one.acs_system_ids.0.unwrap(), ["a"], "a single value is a list of one");
        let none = query(&format!("acs_encoder_id={ID}&acs_system_ids=")).unwrap();
        assert!(none.acs_system_ids.0.unwrap().is_empty(), "an empty value is an empty list");
        assert_eq!(none.ends_at, Change::Keep, "absent is not null");
    }

    #[test]
    fn what_is_wrong_is_said_where_it_is_wrong() {
        let cases = [
            (body(json!({})).unwrap_err(), "acs_encoder_id", "Required"),
            (body(json!({ "acs_encoder_id": 5 })).unwrap_err(), "acs_encoder_id", "Expected string, received number"),
            (body(json!({ "acs_encoder_id": "x" })).unwrap_err(), "acs_encoder_id", "Invalid uuid"),
            (
                body(json!({ "acs_encoder_id": ID, "limit": "5" })).unwrap_err(),
                "limit",
                "Expected number, received string",
            ),
            (query(&format!("acs_encoder_id={ID}&flag=yes")).unwrap_err(), "flag", "Expected boolean, received string"),
            (
                body(json!({ "acs_encoder_id": ID, "inner": { "count": 1, "mode": "fob" } })).unwrap_err(),
                "inner.mode",
                "Invalid enum value. Expected 'code' | 'card' | 'mobile_key' | 'cloud_key', received 'fob'",
            ),
            (
                body(json!({ "acs_encoder_id": ID, "acs_system_ids": ["a", 7] })).unwrap_err(),
                "acs_system_ids.1",
                "Expected string, received number",
            ),
        ];
        for (error, path, message) in cases {
            assert_eq!((error.path.join(".").as_str(), error.message.as_str()), (path, message));
        }
    }
}
