//! `/acs/encoders/simulate/…`: what the next encode or scan of an encoder is to end with. Bodies are closed.

use crate::api::id::{AcsCredentialId, AcsEncoderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `/acs/encoders/simulate/next_credential_encode_will_fail`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncodeWillFail {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// With what.
    #[serde(default)]
    pub error_code: EncodeFailure,
    /// Only when this one is encoded; not with failures that come from the card.
    pub acs_credential_id: Option<AcsCredentialId>,
}

/// How an encode can be made to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodeFailure {
    /// No card.
    #[default]
    NoCredentialOnEncoder,
    /// The card left.
    EncodingInterrupted,
    /// Something else.
    UncategorizedError,
    /// Nobody did it in time.
    ActionAttemptExpired,
}

/// `/acs/encoders/simulate/next_credential_encode_will_succeed`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncodeWillSucceed {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// How.
    #[serde(default)]
    pub scenario: EncodeScenario,
}

/// How an encode can be made to succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodeScenario {
    /// The credential is on a card then, as far as the hub can tell.
    #[default]
    CredentialIsIssued,
}

/// `/acs/encoders/simulate/next_credential_scan_will_fail`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanWillFail {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// With what.
    #[serde(default)]
    pub error_code: ScanFailure,
    /// What would have been on the card; must exist, and changes nothing. Not with failures that come from the card.
    pub acs_credential_id_on_seam: Option<AcsCredentialId>,
}

/// How a scan can be made to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScanFailure {
    /// No card.
    #[default]
    NoCredentialOnEncoder,
    /// Something else.
    UncategorizedError,
    /// Nobody did it in time.
    ActionAttemptExpired,
}

/// `/acs/encoders/simulate/next_credential_scan_will_succeed`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanWillSucceed {
    /// On which encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// What is found.
    #[serde(default)]
    pub scenario: ScanScenario,
    /// The credential on the card; absent: the one that was issued last. Not with scenarios that know none.
    pub acs_credential_id_on_seam: Option<AcsCredentialId>,
}

/// What a scan can be made to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScanScenario {
    /// A card with a credential as the hub knows it.
    #[default]
    CredentialExistsOnSeam,
    /// A card with a credential that was changed since.
    CredentialOnEncoderNeedsUpdate,
    /// A card with a credential that the hub does not know.
    CredentialDoesNotExistOnSeam,
    /// A card without one.
    CredentialOnEncoderIsEmpty,
}

/// What an encode or scan is to end with, as it is kept until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// An encode fails.
    EncodeFails(EncodeFailure),
    /// An encode succeeds.
    EncodeSucceeds(EncodeScenario),
    /// A scan fails.
    ScanFails(ScanFailure),
    /// A scan finds something, on a card with this credential where the scenario has one.
    ScanFinds(ScanScenario, Option<AcsCredentialId>),
}
