//! The OpenAPI document, made from the table of routes and the types of their handlers.
//!
//! Parameters are described as what a body holds; a query holds the same, flat. Both sides of the Seam API and the
//! bridge protocol are in it, so that a client or another cloud can be written from it.

use super::call::OpenCall;
use super::error::ApiError;
use super::routes::{self, Described};
use crate::api::envelope::Failure;
use crate::api::workspaces::Get;
use axum::http::Method;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The document as it is answered.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Document(Value);

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "OpenApi".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object", "description": "This document, OpenAPI 3.0." })
    }
}

/// `/openapi.json`
pub(super) async fn serve(_: OpenCall, _: Get) -> Result<Document, ApiError> {
    Ok(Document(document()))
}

/// The document.
pub fn document() -> Value {
    // What comes in may be left out where it has a default; what goes out is always there. Two generators, and no names
    // shared between them.
    let mut incoming = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut outgoing = SchemaSettings::openapi3().for_serialize().into_generator();
    let failure = outgoing.subschema_for::<Failure>();
    let mut paths = Map::new();
    for described in routes::described() {
        let (parameters, answer) = ((described.parameters)(&mut incoming), (described.answer)(&mut outgoing));
        paths.insert(described.path.to_owned(), operations(&described, &parameters, &answer, &failure));
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "encoderd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The Seam API's part for access systems and card encoders, the bridge protocol of the desks' \
                daemons (/bridge/v1), and what the Seam API has no path for (/encoderd/v1).",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "http://127.0.0.1:8765", "description": "The hub inside a desk's daemon" }],
        "paths": paths,
        "components": {
            "schemas": outgoing.take_definitions(true),
            "securitySchemes": {
                "api_key": { "type": "http", "scheme": "bearer", "description": "An API key, `seam_…`; or a personal \
                    access token, `seam_at…`, with the header `seam-workspace`." },
                "owner_key": { "type": "http", "scheme": "bearer", "description": "The hub's own API key; the header \
                    `seam-workspace` names a workspace other than the first." },
                "bridge_token": { "type": "http", "scheme": "bearer", "description": "A desk's token, from pairing." },
            },
        },
    })
}

fn operations(described: &Described, parameters: &Schema, answer: &Schema, failure: &Schema) -> Value {
    let mut operations = Map::new();
    for method in described.methods {
        let mut operation = Map::new();
        let name = method.as_str().to_ascii_lowercase();
        let id = described.path.trim_matches('/').replace(['/', '.'], "_");
        operation.insert("operationId".to_owned(), json!(format!("{id}_{name}")));
        if let Some(scheme) = described.scheme {
            operation.insert("security".to_owned(), json!([{ scheme: [] }]));
        }
        if matches!(*method, Method::GET | Method::DELETE) {
            operation.insert("parameters".to_owned(), query(parameters));
        } else {
            let content = json!({ "application/json": { "schema": parameters } });
            operation.insert("requestBody".to_owned(), json!({ "content": content }));
        }
        let failed = |description: &str| json!({ "description": description, "content": { "application/json": { "schema": failure } } });
        operation.insert(
            "responses".to_owned(),
            json!({
                "200": { "description": "OK", "content": { (described.content): { "schema": answer } } },
                "4XX": failed("The request is wrong, and says why."),
                "5XX": failed("The hub could not do it; try again."),
            }),
        );
        operations.insert(name, Value::Object(operation));
    }
    Value::Object(operations)
}

/// The same parameters in a query string.
fn query(parameters: &Schema) -> Value {
    let required: Vec<&str> = parameters
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = parameters.get("properties").and_then(Value::as_object) else { return json!([]) };
    let each = properties.iter().map(|(name, schema)| {
        json!({ "name": name, "in": "query", "required": required.contains(&name.as_str()), "schema": schema })
    });
    Value::Array(each.collect())
}
