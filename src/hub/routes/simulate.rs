//! `/acs/encoders/simulate/…`

use super::now;
use crate::api::acs_credentials::AcsCredential;
use crate::api::acs_encoders::AcsEncoder;
use crate::api::envelope::Done;
use crate::api::id::{AcsCredentialId, AcsEncoderId};
use crate::api::simulate::{
    EncodeFailure, EncodeWillFail, EncodeWillSucceed, Ending, ScanFailure, ScanScenario, ScanWillFail, ScanWillSucceed,
};
use crate::fault::Work;
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::store::hub::{acs_credentials, acs_encoders, simulations};

/// What is said where simulation is off: it would let every key play a desk's failures.
const OFF: &str = "Simulation is off here. It is for sandboxes: `allow_simulate = true` under [hub] in the hub's \
                   configuration turns it on.";

/// What is said to a credential that the rest of the request leaves no place for.
const NO_CREDENTIAL: &str = "Unrecognized key: what comes from the card itself has no credential of the hub's";

pub(super) async fn encode_fails(call: Call, asked: EncodeWillFail) -> Result<Done, ApiError> {
    let comes_from_card = match asked.error_code {
        EncodeFailure::NoCredentialOnEncoder | EncodeFailure::EncodingInterrupted => true,
        EncodeFailure::UncategorizedError | EncodeFailure::ActionAttemptExpired => false,
    };
    if comes_from_card && asked.acs_credential_id.is_some() {
        return Err(Invalid::parameter("acs_credential_id", NO_CREDENTIAL).into());
    }
    let ending = Ending::EncodeFails(asked.error_code);
    arrange(&call, asked.acs_encoder_id, Work::Encode, asked.acs_credential_id, ending).await
}

pub(super) async fn encode_succeeds(call: Call, asked: EncodeWillSucceed) -> Result<Done, ApiError> {
    arrange(&call, asked.acs_encoder_id, Work::Encode, None, Ending::EncodeSucceeds(asked.scenario)).await
}

pub(super) async fn scan_fails(call: Call, asked: ScanWillFail) -> Result<Done, ApiError> {
    if asked.error_code == ScanFailure::NoCredentialOnEncoder && asked.acs_credential_id_on_seam.is_some() {
        return Err(Invalid::parameter("acs_credential_id_on_seam", NO_CREDENTIAL).into());
    }
    let ending = Ending::ScanFails(asked.error_code);
    arrange(&call, asked.acs_encoder_id, Work::Scan, asked.acs_credential_id_on_seam, ending).await
}

pub(super) async fn scan_succeeds(call: Call, asked: ScanWillSucceed) -> Result<Done, ApiError> {
    let named = asked.acs_credential_id_on_seam;
    match asked.scenario {
        ScanScenario::CredentialDoesNotExistOnSeam | ScanScenario::CredentialOnEncoderIsEmpty if named.is_some() => {
            return Err(Invalid::parameter("acs_credential_id_on_seam", NO_CREDENTIAL).into());
        }
        ScanScenario::CredentialDoesNotExistOnSeam
        | ScanScenario::CredentialOnEncoderIsEmpty
        | ScanScenario::CredentialExistsOnSeam
        | ScanScenario::CredentialOnEncoderNeedsUpdate => {}
    }
    arrange(&call, asked.acs_encoder_id, Work::Scan, named, Ending::ScanFinds(asked.scenario, named)).await
}

/// Arranges the end of an encoder's next encode or scan.
async fn arrange(
    call: &Call,
    encoder: AcsEncoderId,
    work: Work,
    credential: Option<AcsCredentialId>,
    ending: Ending,
) -> Result<Done, ApiError> {
    if !call.hub().allows_simulation() {
        return Err(ApiError::Forbidden(OFF.to_owned()));
    }
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    if acs_encoders::get(&mut transaction, workspace, encoder).await?.is_none() {
        return Err(ApiError::no::<AcsEncoder>(encoder));
    }
    if let Some(id) = credential
        && acs_credentials::known(&mut transaction, workspace, &[id]).await?.is_empty()
    {
        return Err(ApiError::no::<AcsCredential>(id));
    }
    // A scan knows its credential only when its card was read: for any scan.
    let only = credential.filter(|_| work == Work::Encode);
    simulations::put(&mut transaction, encoder, work, only, &ending, now()).await?;
    transaction.commit().await?;
    Ok(Done::default())
}
