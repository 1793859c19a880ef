//! The hub over HTTP: the test calls the Seam API and plays the desk's daemon.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

#[path = "hub/admin.rs"]
mod admin;
#[path = "hub/assignment.rs"]
mod assignment;
#[path = "hub/attempts.rs"]
mod attempts;
#[path = "support/auto_desk.rs"]
mod auto_desk;
#[path = "hub/bridge.rs"]
mod bridge;
#[path = "hub/cards.rs"]
mod cards;
#[path = "hub/compact.rs"]
mod compact;
#[path = "hub/endpoints.rs"]
mod endpoints;
#[path = "hub/ends.rs"]
mod ends;
#[path = "hub/errors.rs"]
mod errors;
#[path = "hub/grants.rs"]
mod grants;
#[path = "hub/guests.rs"]
mod guests;
#[path = "hub/hostile.rs"]
mod hostile;
#[path = "hub/keys.rs"]
mod keys;
#[path = "hub/lists.rs"]
mod lists;
#[path = "hub/migrations.rs"]
mod migrations;
#[path = "support/neighbour.rs"]
mod neighbour;
#[path = "hub/nodes.rs"]
mod nodes;
#[path = "hub/openapi.rs"]
mod openapi;
#[path = "hub/pairing.rs"]
mod pairing;
#[path = "support/receiver.rs"]
mod receiver;
#[path = "hub/requests.rs"]
mod requests;
#[path = "hub/retention.rs"]
mod retention;
#[path = "hub/sdk.rs"]
mod sdk;
#[path = "hub/simulation.rs"]
mod simulation;
#[path = "hub/spaces.rs"]
mod spaces;
#[path = "hub/startup.rs"]
mod startup;
#[path = "hub/stream.rs"]
mod stream;
#[path = "support/hub.rs"]
mod support;
#[path = "hub/webhooks.rs"]
mod webhooks;
