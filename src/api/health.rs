//! `/readyz`: which parts work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `/readyz`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Whether everything works that is needed; answered with 503 if not.
    pub ok: bool,
    /// Each part that this process has: `database`; in a desk's daemon also `hub`, `desk`, `journal`, `card_key`,
    /// `encoders`, and `pcsc` where it is used.
    pub hops: BTreeMap<String, HopState>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HopState {
    /// Whether it works.
    pub ok: bool,
    /// Whether nothing works without it.
    pub needed: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
