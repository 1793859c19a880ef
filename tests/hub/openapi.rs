//! The OpenAPI document: checked in, and where it describes Seam's API compatible with Seam's own.

use crate::sdk::installed;
use encoderd::hub::openapi;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

#[test]
fn the_checked_in_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let served = format!("{:#}\n", openapi::document());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = served.lines().zip(checked_in.lines()).position(|(served, kept)| served != kept);
    let line = differing.unwrap_or_else(|| served.lines().count().min(checked_in.lines().count())) + 1;
    assert!(
        served == checked_in,
        "docs/openapi.json differs from what the hub serves, from line {line} on. If that is meant, write it anew and \
         read what changed: UPDATE_OPENAPI=1 cargo test --test hub openapi && git diff docs/openapi.json"
    );
}

#[test]
fn the_document_says_nothing_that_openapi_3_0_does_not_know() {
    fn complaints(at: &str, value: &Value, found: &mut Vec<String>) {
        // A list of types is JSON Schema's way to say null; 3.0 has `nullable`.
        if value.get("type").is_some_and(Value::is_array) && value.get("properties").is_none() {
            found.push(format!("{at}: {}", value["type"]));
        }
        if value.get("default") == Some(&Value::Null) && value.get("nullable") != Some(&Value::Bool(true)) {
            found.push(format!("{at}: null by default, and not nullable"));
        }
        let inside = value.as_object().into_iter().flatten().map(|(key, inner)| (key.clone(), inner));
        let items = value.as_array().into_iter().flatten().enumerate().map(|(index, inner)| (index.to_string(), inner));
        for (key, inner) in inside.chain(items) {
            complaints(&format!("{at}/{key}"), inner, found);
        }
    }
    let mut found = Vec::new();
    complaints("", &openapi::document(), &mut found);
    assert!(found.is_empty(), "{found:#?}");
}

/// Where the two documents differ: path, parameter, which way, and why.
const DIFFERENT: &[(&str, &str, Difference, &str)] = &[
    ("/access_methods/list", "limit", Difference::OnlyOurs, "newer types than 1.977 page this list too"),
    ("/access_methods/list", "page_cursor", Difference::OnlyOurs, "newer types than 1.977 page this list too"),
];

/// Keys of answers that only one of the documents has.
const ANSWERED_DIFFERENTLY: &[(&str, &str, &str)] = &[
    ("/access_methods/list", "pagination", "newer types than 1.977 page this list too"),
    ("/events/get", "message", "instead of an event that was not found; here that is an error"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// We take it, they do not know it.
    OnlyOurs,
    /// They take it, we ignore it.
    OnlyTheirs,
    /// We insist on it, they do not.
    WeRequire,
    /// They insist on it, we do not.
    TheyRequire,
}

#[test]
fn seams_paths_take_and_answer_what_seams_own_document_says() {
    let (ours, theirs) = (openapi::document(), seams_document());
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for (path, operations) in ours["paths"].as_object().unwrap() {
        if is_our_own(path) {
            continue;
        }
        let Some(known) = theirs["paths"][path].as_object() else {
            wrong.push(format!("{path}: Seam has no such path"));
            continue;
        };
        let methods = |operations: &serde_json::Map<String, Value>| operations.keys().cloned().collect::<BTreeSet<_>>();
        if methods(operations.as_object().unwrap()) != methods(known) {
            wrong.push(format!(
                "{path}: methods {:?}, Seam's {:?}",
                operations.as_object().unwrap().keys(),
                known.keys()
            ));
        }
        // What a query holds is not said there where it is one of several.
        let body =
            |operations: &Value| operations["post"]["requestBody"]["content"]["application/json"]["schema"].clone();
        let (our, their) = (keys(&ours, &body(operations)), keys(&theirs, &body(&theirs["paths"][path])));
        for name in our.keys().chain(their.keys()).collect::<BTreeSet<_>>() {
            let difference = match (our.get(name), their.get(name)) {
                (Some(_), None) => Difference::OnlyOurs,
                (None, Some(_)) => Difference::OnlyTheirs,
                (Some(true), Some(false)) => Difference::WeRequire,
                (Some(false), Some(true)) => Difference::TheyRequire,
                (Some(_), Some(_)) | (None, None) => continue,
            };
            found.push((path.clone(), name.clone(), difference));
        }
        let answer = |operations: &Value| {
            operations["post"]["responses"]["200"]["content"]["application/json"]["schema"].clone()
        };
        let (our, their) = (answer(operations), answer(&theirs["paths"][path]));
        compare_answers(path, (&ours, &our), (&theirs, &their), &mut wrong);
    }
    let listed: Vec<_> =
        DIFFERENT.iter().map(|(path, name, kind, _)| ((*path).to_owned(), (*name).to_owned(), *kind)).collect();
    let unlisted: Vec<_> = found.iter().filter(|difference| !listed.contains(difference)).collect();
    let gone: Vec<_> = listed.iter().filter(|difference| !found.contains(difference)).collect();
    assert!(
        wrong.is_empty() && unlisted.is_empty() && gone.is_empty(),
        "wrong: {wrong:#?}\nnot in DIFFERENT: {unlisted:#?}\nin DIFFERENT, and no difference: {gone:#?}"
    );
}

fn is_our_own(path: &str) -> bool {
    ["/bridge/", "/encoderd/"].iter().any(|start| path.starts_with(start))
        || ["/healthz", "/readyz", "/metrics", "/openapi.json"].contains(&path)
}

/// Their keys are ours; an object in the answer has no key that they do not know, and all that they call required.
fn compare_answers(
    path: &str,
    (ours, our): (&Value, &Value),
    (theirs, their): (&Value, &Value),
    wrong: &mut Vec<String>,
) {
    let (our_keys, their_keys) = (keys(ours, our), keys(theirs, their));
    let is_known = |name: &str| ANSWERED_DIFFERENTLY.iter().any(|(at, key, _)| (*at, *key) == (path, name));
    let names =
        |keys: &BTreeMap<String, bool>| keys.keys().filter(|name| !is_known(name)).cloned().collect::<BTreeSet<_>>();
    if names(&our_keys) != names(&their_keys) {
        wrong.push(format!("{path}: answers {:?}, Seam {:?}", our_keys.keys(), their_keys.keys()));
    }
    for name in our_keys.keys().filter(|name| their_keys.contains_key(*name)) {
        let (our, their) = (item(ours, our, name), item(theirs, their, name));
        // One of several kinds: tests/sdk/strict.mjs holds each answer against Seam's own model of its kind.
        if their.get("oneOf").is_some() || their.get("properties").is_none() {
            continue;
        }
        let (our, their) = (keys(ours, &our), keys(theirs, &their));
        for key in our.keys().filter(|key| !their.contains_key(*key)) {
            wrong.push(format!("{path}: {name}.{key} is unknown to Seam"));
        }
        for (key, _) in their.iter().filter(|(key, required)| **required && our.get(*key) != Some(&true)) {
            wrong.push(format!("{path}: {name}.{key} is not always there"));
        }
    }
}

/// An object of an answer, or of its list.
fn item(document: &Value, answer: &Value, name: &str) -> Value {
    let property = resolved(document, &resolved(document, answer)["properties"][name]);
    if property["type"] == "array" { resolved(document, &property["items"]) } else { property }
}

fn resolved(document: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolved(document, document.pointer(reference.trim_start_matches('#')).unwrap()),
        None => schema.clone(),
    }
}

/// The keys of an object, and whether each is required; of several alternatives: in all of them.
fn keys(document: &Value, schema: &Value) -> BTreeMap<String, bool> {
    let schema = resolved(document, schema);
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut keys: BTreeMap<String, bool> = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|properties| properties.keys())
        .map(|name| (name.clone(), required.contains(name.as_str())))
        .collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        for (name, required) in self::keys(document, part) {
            let before = keys.entry(name).or_default();
            *before = *before || required;
        }
    }
    for alternatives in ["oneOf", "anyOf"] {
        let each: Vec<_> =
            schema[alternatives].as_array().into_iter().flatten().map(|part| self::keys(document, part)).collect();
        for name in each.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>() {
            let in_all = each.iter().all(|keys| keys.get(name) == Some(&true));
            let before = keys.entry(name.clone()).or_default();
            *before = *before || in_all;
        }
    }
    keys
}

/// The document in `@seamapi/types`, which is a JavaScript module.
fn seams_document() -> Value {
    let module = installed("node/node_modules/@seamapi/types/lib/seam/connect/openapi.js");
    let module = Value::from(module.to_str().unwrap());
    let print = format!("import document from {module}; console.log(JSON.stringify(document))");
    let node = installed("node/node_modules/.bin/node");
    let output = Command::new(node).args(["--input-type=module", "--eval", &print]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
