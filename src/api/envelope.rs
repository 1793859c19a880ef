//! What an object travels in: `{"acs_encoder": …, "ok": true}`, and the shape of errors.

use crate::api::Pagination;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// An object of the API, with the keys that it travels under.
pub trait Object: Serialize + JsonSchema {
    /// The key of one, and the start of its `…_not_found`.
    const ONE: &'static str;
    /// The key of a list.
    const MANY: &'static str;
}

/// `{"<object>": …, "ok": true}`
#[derive(Clone, Debug)]
pub struct One<T>(pub T);

impl<T: Object> Serialize for One<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(T::ONE, &self.0)?;
        map.serialize_entry("ok", &true)?;
        map.end()
    }
}

impl<T: Object> JsonSchema for One<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("One_{}", T::ONE).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": { (T::ONE): generator.subschema_for::<T>(), "ok": { "type": "boolean" } },
            "required": [T::ONE, "ok"],
        })
    }
}

/// `{"<objects>": […], "ok": true}`, with `pagination` where the endpoint has it.
#[derive(Clone, Debug)]
pub struct Many<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Where the list goes on; `None` where the endpoint has no pages.
    pub pagination: Option<Pagination>,
}

impl<T: Object> Serialize for Many<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(T::MANY, &self.items)?;
        if let Some(pagination) = &self.pagination {
            map.serialize_entry("pagination", pagination)?;
        }
        map.serialize_entry("ok", &true)?;
        map.end()
    }
}

impl<T: Object> JsonSchema for Many<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Many_{}", T::MANY).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                (T::MANY): { "type": "array", "items": generator.subschema_for::<T>() },
                "pagination": generator.subschema_for::<Pagination>(),
                "ok": { "type": "boolean" },
            },
            "required": [T::MANY, "ok"],
        })
    }
}

/// `{"ok": true}`
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}

impl Default for Done {
    fn default() -> Self {
        Self { ok: true }
    }
}

/// `{"error": {…}, "ok": false}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What went wrong.
    pub error: FailureDetail,
    /// Always false.
    pub ok: bool,
}

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureDetail {
    /// For programs, such as `invalid_input`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    pub message: String,
    /// Particulars, such as the id that was not found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<Value>,
    /// Which parameter is wrong, as zod's tree: `{"_errors": [], "acs_encoder_id": {"_errors": ["Required"]}}`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_errors: Option<Value>,
}
