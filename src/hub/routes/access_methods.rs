//! `/access_methods/…`

use super::now;
use crate::api::access_grants::AccessGrant;
use crate::api::access_methods::{AccessMethod, AssignCard, Delete, Encode, Get, List};
use crate::api::action_attempts::ActionAttempt;
use crate::api::envelope::{Done, Many, One};
use crate::hub::assignment;
use crate::hub::attempts::{self, Target};
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::grants;
use crate::store::hub::{access_grants, access_methods};
use serde_json::json;

pub(super) async fn get(call: Call, get: Get) -> Result<One<AccessMethod>, ApiError> {
    let method =
        access_methods::get(&mut *call.read().await?, call.system().workspace_id, get.access_method_id).await?;
    method.map(One).ok_or_else(|| ApiError::no::<AccessMethod>(get.access_method_id))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AccessMethod>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(access_methods::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}

pub(super) async fn remove(call: Call, delete: Delete) -> Result<Done, ApiError> {
    let (workspace, now) = (call.system().workspace_id, now());
    let mut transaction = call.begin().await?;
    let gone = match (delete.access_method_id, delete.access_grant_id, delete.reservation_key) {
        (Some(id), None, None) => {
            let no_such = || ApiError::no::<AccessMethod>(id);
            let method = access_methods::get(&mut transaction, workspace, id).await?.ok_or_else(no_such)?;
            let grant = access_methods::grant_of(&mut transaction, workspace, id).await?.ok_or_else(no_such)?;
            let grant = access_grants::get(&mut transaction, workspace, grant).await?.ok_or_else(no_such)?;
            grants::remove_method(&mut transaction, &grant, &method, now).await?.into_iter().collect()
        }
        (None, Some(id), None) => {
            let grant = access_grants::get(&mut transaction, workspace, id).await?;
            let grant = grant.ok_or_else(|| ApiError::no::<AccessGrant>(id))?;
            grants::remove_methods(&mut transaction, &grant, now).await?
        }
        (None, None, Some(key)) => {
            let of_reservation = access_grants::of_reservation(&mut transaction, workspace, &key).await?;
            if of_reservation.is_empty() {
                return Err(ApiError::no_such::<AccessGrant>(json!({ "reservation_key": key })));
            }
            let mut gone = Vec::new();
            for grant in of_reservation {
                gone.extend(grants::remove_methods(&mut transaction, &grant, now).await?);
            }
            gone
        }
        (None, None, None) => return Err(Invalid::parameter("access_method_id", "Required").into()),
        (Some(_), _, _) | (_, Some(_), _) => {
            return Err(Invalid::whole("Give one of access_method_id, access_grant_id and reservation_key").into());
        }
    };
    transaction.commit().await?;
    attempts::credentials_deleted(call.hub(), &gone).await?;
    Ok(Done::default())
}

pub(super) async fn encode(call: Call, encode: Encode) -> Result<One<ActionAttempt>, ApiError> {
    let target = Target::AccessMethod(encode.access_method_id);
    Ok(One(attempts::encode(&call, encode.acs_encoder_id, target).await?))
}

pub(super) async fn assign_card(call: Call, assign: AssignCard) -> Result<One<ActionAttempt>, ApiError> {
    Ok(One(assignment::card(&call, assign.access_method_id, &assign.card_number.0).await?))
}
