//! `/encoderd/v1/…` for the hub's owner: workspaces, keys, doors, desks.

pub(super) mod api_keys;
pub(super) mod bridges;
pub(super) mod property;
pub(super) mod workspaces;
