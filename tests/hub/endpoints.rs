//! Every endpoint by each of its methods: good, without a parameter, with a wrong one, with an unknown id, with the id of
//! something in another workspace, without a key, with somebody else's key.
//!
//! The table is compared with the OpenAPI document, so that a forgotten endpoint shows. A resource's lines are in a file
//! of its own: a function `rows` over a [`World`] and what [`stock`] made in it.

#[path = "endpoints/acs.rs"]
mod acs;
#[path = "endpoints/admin.rs"]
mod admin;
#[path = "endpoints/bridge.rs"]
mod bridge;
#[path = "endpoints/cards.rs"]
mod cards;
#[path = "endpoints/grants.rs"]
mod grants;
#[path = "endpoints/hub.rs"]
mod hub;
#[path = "endpoints/people.rs"]
mod people;
#[path = "endpoints/spaces.rs"]
mod spaces;
#[path = "endpoints/webhooks.rs"]
mod webhooks;

use crate::neighbour::Neighbour;
use crate::support::{API_KEY, Answer, BRIDGE_TOKEN, Desk, World};
use encoderd::hub::openapi;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// All lines.
async fn table(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let mut table = hub::rows(stock);
    table.extend(acs::rows(stock));
    table.extend(admin::rows(world).await);
    table.extend(bridge::rows(stock));
    table.extend(cards::rows(world, stock).await);
    table.extend(grants::rows(world, stock).await);
    table.extend(people::rows(world, stock).await);
    table.extend(spaces::rows(world, stock).await);
    table.extend(webhooks::rows(world).await);
    table
}

/// What the lines are about: one of each kind, in the first workspace.
pub struct Stock {
    pub desk: Desk,
    pub encoder: Uuid,
    pub system: String,
    pub entrances: Vec<String>,
    pub identity: Value,
    pub user: Value,
    pub space: Value,
    pub grant: Value,
    pub method: Value,
    pub credential: String,
    pub attempt: Value,
    pub event: Value,
}

/// Makes one of each kind.
pub async fn stock(world: &World) -> Stock {
    let (desk, encoder) = world.desk().await;
    let entrances = world.entrances().await;
    let identity = world.made("/user_identities/create", json!({ "full_name": "Jane Doe" }), "user_identity").await;
    let identity = identity["user_identity_id"].clone();
    let floor = json!({ "name": "First floor", "space_key": "floor/1", "acs_entrance_ids": [entrances[1]] });
    let space = world.made("/spaces/create", floor, "space").await["space_id"].clone();
    let grant = json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "acs_entrance_ids": [entrances[0]], "space_ids": [space] });
    let grant = world.made("/access_grants/create", grant, "access_grant").await;
    let credential = world.credential().await;
    Stock {
        desk,
        encoder,
        system: world.system().await,
        user: world.show(&credential).await["acs_user_id"].clone(),
        method: grant["access_method_ids"][0].clone(),
        grant: grant["access_grant_id"].clone(),
        attempt: world.scan(encoder).await["action_attempt_id"].clone(),
        event: world.get("/events/list", "limit=1").await.good("events")[0]["event_id"].clone(),
        entrances,
        identity,
        space,
        credential,
    }
}

/// An endpoint and what it takes.
pub struct Endpoint {
    path: &'static str,
    methods: &'static [&'static str],
    /// The key that opens it; none: it needs none.
    opens: Option<&'static str>,
    /// The key of the answer.
    answer: &'static str,
    /// Good parameters. The first are those that the other lines change.
    good: Vec<Value>,
    /// Whether good parameters are good once, so that each method needs its own.
    once: bool,
    /// Of the first good parameters, the ones it cannot do without.
    needed: Vec<&'static str>,
    /// Values of a wrong type.
    wrong: Vec<(&'static str, Value)>,
    /// Ids that must name something, and the error when they do not.
    finds: Vec<(&'static str, &'static str)>,
    /// Ids that lists are filtered by; one that names nothing lets nothing through.
    filters: Vec<&'static str>,
}

impl Endpoint {
    fn new(path: &'static str, methods: &'static [&'static str], answer: &'static str, good: Value) -> Self {
        Self {
            path,
            methods,
            opens: Some(API_KEY),
            answer,
            good: vec![good],
            once: false,
            needed: Vec::new(),
            wrong: Vec::new(),
            finds: Vec::new(),
            filters: Vec::new(),
        }
    }

    /// Answers without a key, and by GET only.
    pub fn open(path: &'static str, answer: &'static str) -> Self {
        Self { opens: None, ..Self::new(path, &["GET"], answer, json!({})) }
    }

    pub fn read(path: &'static str, answer: &'static str, good: Value) -> Self {
        Self::new(path, &["GET", "POST"], answer, good)
    }

    pub fn create(path: &'static str, answer: &'static str, good: Value) -> Self {
        Self::new(path, &["POST"], answer, good)
    }

    pub fn change(path: &'static str, answer: &'static str, good: Value) -> Self {
        Self::new(path, &["PATCH", "POST"], answer, good)
    }

    pub fn put(path: &'static str, answer: &'static str, good: Value) -> Self {
        Self::new(path, &["POST", "PUT"], answer, good)
    }

    /// Good parameters are good once: give as many for each method.
    pub fn remove<const N: usize>(path: &'static str, good: [Value; N]) -> Self {
        let mut endpoint = Self::new(path, &["DELETE", "POST"], "ok", Value::Null);
        assert!(N > 0 && N.is_multiple_of(endpoint.methods.len()), "{path}: good parameters for each method");
        endpoint.good = good.into();
        endpoint.once = true;
        endpoint
    }

    /// Opens with another key than an application's.
    pub fn opened_by(mut self, key: &'static str) -> Self {
        self.opens = Some(key);
        self
    }

    /// Opens without a key.
    pub fn opened_by_anybody(mut self) -> Self {
        self.opens = None;
        self
    }

    /// Other good parameters.
    pub fn also(mut self, good: Value) -> Self {
        self.good.push(good);
        self
    }

    pub fn needs(mut self, name: &'static str) -> Self {
        self.needed.push(name);
        self
    }

    pub fn wrong(mut self, name: &'static str, value: Value) -> Self {
        self.wrong.push((name, value));
        self
    }

    /// An id that must be one, and name something of this workspace.
    pub fn finds(mut self, name: &'static str, error: &'static str) -> Self {
        self.finds.push((name, error));
        // The one id that the API's types take any text for.
        let takes_any_text = name == "webhook_id";
        if name.ends_with("_ids") || takes_any_text { self } else { self.wrong(name, json!("x")) }
    }

    /// An id that must be one.
    pub fn filters(mut self, name: &'static str) -> Self {
        self.filters.push(name);
        if name.ends_with("_ids") { self } else { self.wrong(name, json!("x")) }
    }

    /// The good parameters for one of the methods.
    fn good(&self, method: &str) -> &[Value] {
        if !self.once {
            return &self.good;
        }
        let index = self.methods.iter().position(|one| *one == method).unwrap();
        let share = self.good.len() / self.methods.len();
        &self.good[index * share..(index + 1) * share]
    }
}

/// Sends parameters as the SDKs do: a query with GET and DELETE, a body otherwise.
pub async fn send(world: &World, method: &str, path: &str, parameters: &Value, key: Option<&str>) -> Answer {
    let method: Method = method.parse().unwrap();
    if method == Method::GET || method == Method::DELETE {
        return world.send(method, path, &query(parameters), None, key).await;
    }
    world.send(method, path, "", Some(parameters), key).await
}

fn query(parameters: &Value) -> String {
    let mut pairs = vec![("_strict".to_owned(), "true".to_owned())];
    for (name, value) in parameters.as_object().unwrap() {
        match value {
            Value::Array(items) if items.is_empty() => pairs.push((name.clone(), String::new())),
            Value::Array(items) => {
                pairs.extend(items.iter().map(|item| (name.clone(), item.as_str().unwrap().to_owned())));
            }
            Value::String(text) => pairs.push((name.clone(), text.clone())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                pairs.push((name.clone(), value.to_string()));
            }
        }
    }
    serde_html_form::to_string(&pairs).unwrap()
}

fn without(parameters: &Value, name: &str) -> Value {
    let mut parameters: Map<String, Value> = parameters.as_object().unwrap().clone();
    parameters.remove(name);
    Value::Object(parameters)
}

fn with(parameters: &Value, name: &str, value: Value) -> Value {
    let mut parameters = parameters.clone();
    parameters[name] = if name.ends_with("_ids") && value.is_string() { json!([value]) } else { value };
    parameters
}

#[expect(clippy::print_stdout, reason = "shown when a test fails: which of all questions it was")]
async fn check(world: &World, neighbour: &Neighbour, endpoint: &Endpoint, method: &str) {
    let path = endpoint.path;
    let good = &endpoint.good(method)[0];
    let told = |what: &str| println!("{method} {path}: {what}");
    let ask = async |parameters: &Value| send(world, method, path, parameters, endpoint.opens).await;
    if let Some(key) = endpoint.opens {
        told("no key");
        send(world, method, path, good, None).await.refused(401, "unauthorized");
        told("wrong keys");
        let other = if key == BRIDGE_TOKEN { API_KEY } else { BRIDGE_TOKEN };
        for stranger in ["seam_other", other] {
            send(world, method, path, good, Some(stranger)).await.refused(401, "unauthorized");
        }
    }
    for name in &endpoint.needed {
        told(&format!("without {name}"));
        ask(&without(good, name)).await.invalid(name);
    }
    for (name, value) in &endpoint.wrong {
        told(&format!("with a wrong {name}"));
        ask(&with(good, name, value.clone())).await.invalid(name);
    }
    for (name, error) in &endpoint.finds {
        for id in [json!(Uuid::new_v4()), neighbour.id(name)] {
            told(&format!("with an unknown {name} {id}"));
            let answer = ask(&with(good, name, id)).await;
            answer.refused(404, error);
        }
    }
    for name in &endpoint.filters {
        for id in [json!(Uuid::new_v4()), neighbour.id(name)] {
            told(&format!("of an unknown {name} {id}"));
            assert_eq!(ask(&with(good, name, id)).await.good(endpoint.answer), json!([]));
        }
    }
    for good in endpoint.good(method) {
        told(&format!("good: {good}"));
        let answer = ask(good).await.good(endpoint.answer);
        if !endpoint.filters.is_empty() {
            assert_ne!(answer, json!([]), "{path} has something to hide");
        }
    }
}

#[tokio::test]
async fn every_endpoint_answers_good_questions_and_refuses_bad_ones() {
    let world = World::new().await;
    let stock = stock(&world).await;
    let neighbour = world.neighbour().await;
    for endpoint in table(&world, &stock).await {
        for method in endpoint.methods {
            check(&world, &neighbour, &endpoint, method).await;
        }
    }
}

#[tokio::test]
async fn no_endpoint_is_forgotten() {
    let world = World::new().await;
    let stock = stock(&world).await;
    let table: BTreeSet<(String, String)> = table(&world, &stock)
        .await
        .iter()
        .flat_map(|endpoint| endpoint.methods.iter().map(|method| (endpoint.path.to_owned(), (*method).to_owned())))
        .collect();
    let mut served = documented();
    // Its answer does not end: tests/hub/stream.rs asks it.
    assert!(served.remove(&("/encoderd/v1/events".to_owned(), "GET".to_owned())));
    // Its answer is no JSON: tests/hub/requests.rs asks it.
    assert!(served.remove(&("/metrics".to_owned(), "GET".to_owned())));
    let forgotten: Vec<_> = served.difference(&table).collect();
    assert!(forgotten.is_empty(), "no line in the table for {forgotten:?}");
    let gone: Vec<_> = table.difference(&served).collect();
    assert!(gone.is_empty(), "not in the OpenAPI document: {gone:?}");
}

/// Path and method of all operations in the OpenAPI document.
fn documented() -> BTreeSet<(String, String)> {
    let document = openapi::document();
    let paths = document["paths"].as_object().unwrap().iter();
    let pairs = paths.flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(|method| (path.clone(), method.to_ascii_uppercase()))
    });
    pairs.collect()
}

#[tokio::test]
async fn a_path_refuses_methods_that_it_does_not_take() {
    let world = World::new().await;
    let served = documented();
    let paths: BTreeSet<&String> = served.iter().map(|(path, _)| path).collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if !served.contains(&(path.clone(), method.to_owned())) {
                println!("{method} {path}");
                let answer = world.send(method.parse().unwrap(), path, "", None, Some(API_KEY)).await;
                answer.refused(405, "method_not_allowed");
            }
        }
    }
}
