//! `/acs/encoders/…`

use super::acs_credentials;
use crate::api::ObjectError;
use crate::api::acs_encoders::{
    ACS_ENCODER_REMOVED, AcsEncoder, EncodeCredential, Get, List, ScanCredential, ScanToAssign, WriteRaw,
};
use crate::api::action_attempts::ActionAttempt;
use crate::api::envelope::{Many, One};
use crate::hub::attempts::{self, Target};
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::store::hub::acs_encoders::{self, Encoder};

pub(super) async fn get(call: Call, get: Get) -> Result<One<AcsEncoder>, ApiError> {
    let encoder = acs_encoders::get(&mut *call.read().await?, call.system().workspace_id, get.acs_encoder_id).await?;
    encoder.map(|encoder| One(object(encoder))).ok_or_else(|| ApiError::no::<AcsEncoder>(get.acs_encoder_id))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AcsEncoder>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    let page = acs_encoders::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?;
    Ok(call.answer(page.map(object)))
}

pub(super) async fn encode_credential(call: Call, encode: EncodeCredential) -> Result<One<ActionAttempt>, ApiError> {
    let target = match (encode.acs_credential_id, encode.access_method_id) {
        (Some(credential), None) => Target::Credential(credential),
        (None, Some(method)) => Target::AccessMethod(method),
        (None, None) => return Err(Invalid::parameter("acs_credential_id", "Required, or access_method_id").into()),
        (Some(_), Some(_)) => {
            return Err(Invalid::whole("Give either acs_credential_id or access_method_id, not both").into());
        }
    };
    Ok(One(attempts::encode(&call, encode.acs_encoder_id, target).await?))
}

pub(super) async fn scan_credential(call: Call, scan: ScanCredential) -> Result<One<ActionAttempt>, ApiError> {
    Ok(One(attempts::scan(&call, scan.acs_encoder_id).await?))
}

pub(super) async fn scan_to_assign(call: Call, scan: ScanToAssign) -> Result<One<ActionAttempt>, ApiError> {
    let mut transaction = call.begin().await?;
    let user = acs_credentials::owner(call.system(), &mut transaction, scan.acs_user_id, scan.user_identity_id).await?;
    Ok(One(attempts::scan_to_assign(&call, transaction, scan.acs_encoder_id, user.acs_user_id).await?))
}

pub(super) async fn write_raw(call: Call, write: WriteRaw) -> Result<One<ActionAttempt>, ApiError> {
    Ok(One(attempts::write_raw(&call, write.acs_encoder_id, write.image).await?))
}

fn object(encoder: Encoder) -> AcsEncoder {
    AcsEncoder {
        acs_encoder_id: encoder.acs_encoder_id,
        acs_system_id: encoder.system.acs_system_id,
        connected_account_id: encoder.system.connected_account_id,
        workspace_id: encoder.system.workspace_id,
        created_at: encoder.created_at,
        display_name: encoder.display_name,
        errors: encoder
            .removed_at
            .map(|created_at| ObjectError {
                error_code: ACS_ENCODER_REMOVED.to_owned(),
                message: "No device is linked to this encoder any more.".to_owned(),
                created_at,
            })
            .into_iter()
            .collect(),
    }
}
