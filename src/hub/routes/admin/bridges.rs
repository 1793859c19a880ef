//! `/encoderd/v1/bridges/…`, `/encoderd/v1/pairing_codes/…` and `/bridge/v1/pair`

use super::super::now;
use crate::api::admin::{CreatePairingCode, ListAll, PairedBridge, PairingCode, RevokeBridge};
use crate::api::bridge::{PairRequest, PairResponse};
use crate::api::envelope::{Many, One};
use crate::api::id::BridgeTokenId;
use crate::hub::call::{OpenCall, OwnerCall};
use crate::hub::error::ApiError;
use crate::hub::{attempts, nodes, pairing};
use crate::store::Connection;
use crate::store::hub::acs_encoders;
use crate::store::hub::bridge_tokens::{self, BridgeToken};

/// Makes a code by which one desk gets its token.
pub(in super::super) async fn create_code(
    call: OwnerCall,
    create: CreatePairingCode,
) -> Result<One<PairingCode>, ApiError> {
    pairing::create(call.hub(), call.system(), create.name.map(|name| name.0)).await.map(One)
}

/// Gives a desk its token for a code. Every try counts against its address.
pub(in super::super) async fn pair(call: OpenCall, request: PairRequest) -> Result<PairResponse, ApiError> {
    call.caller().tries(call.hub())?;
    pairing::redeem(call.hub(), &request).await
}

/// The paired desks of a workspace, those that were revoked too.
pub(in super::super) async fn list(call: OwnerCall, _: ListAll) -> Result<Many<PairedBridge>, ApiError> {
    let mut connection = call.read().await?;
    let known = bridge_tokens::list(&mut connection, call.system().workspace_id).await?;
    let mut items = Vec::with_capacity(known.len());
    for token in known {
        items.push(object(&call, &mut connection, token).await?);
    }
    Ok(Many { items, pagination: None })
}

/// Ends a desk's token at once. What its daemon has not started ends; its encoders stay, for when it is paired again.
pub(in super::super) async fn revoke(call: OwnerCall, revoke: RevokeBridge) -> Result<One<PairedBridge>, ApiError> {
    let (hub, workspace) = (call.hub(), call.system().workspace_id);
    let mut transaction = call.begin().await?;
    let known = existing(&call, &mut transaction, revoke.bridge_token_id).await?;
    let is_first = bridge_tokens::revoke(&mut transaction, revoke.bridge_token_id, now()).await?;
    if let Some(bridge) = known.bridge_id
        && is_first
    {
        // Its polls look at their token when they are woken, on whichever node they are.
        transaction.ring_for_job(bridge.0);
        transaction.commit().await?;
        nodes::hang_up(hub, bridge).await?;
        let encoders = acs_encoders::of_bridge(&mut *call.read().await?, workspace, bridge).await?;
        for encoder in encoders {
            attempts::settle_unstarted(hub, workspace, encoder.acs_encoder_id).await?;
        }
    } else {
        transaction.commit().await?;
    }
    tracing::info!(bridge_token_id = %revoke.bridge_token_id, "a desk's token is revoked");
    let mut connection = call.read().await?;
    let known = existing(&call, &mut connection, revoke.bridge_token_id).await?;
    Ok(One(object(&call, &mut connection, known).await?))
}

async fn existing(call: &OwnerCall, connection: &mut Connection, id: BridgeTokenId) -> Result<BridgeToken, ApiError> {
    let known = bridge_tokens::get(connection, call.system().workspace_id, id).await?;
    known.ok_or_else(|| ApiError::NotFound { object: "bridge", data: serde_json::json!({ "bridge_token_id": id }) })
}

async fn object(call: &OwnerCall, connection: &mut Connection, token: BridgeToken) -> Result<PairedBridge, ApiError> {
    let connected = match token.bridge_id {
        Some(bridge) if token.revoked_at.is_none() => nodes::is_connected(call.hub(), connection, bridge).await?,
        Some(_) | None => false,
    };
    Ok(PairedBridge {
        bridge_token_id: token.bridge_token_id,
        bridge_id: token.bridge_id,
        workspace_id: token.system.workspace_id,
        name: token.name,
        connected,
        last_seen_at: token.last_seen_at,
        created_at: token.created_at,
        revoked_at: token.revoked_at,
    })
}
