//! Who may ask: API keys and personal access tokens for the Seam API, bridge tokens for the bridge protocol, and never
//! one for the other.
//!
//! | key | whose | opens |
//! | --- | --- | --- |
//! | the configured API key | the hub's owner | administration; each workspace that `seam-workspace` names, the first one without |
//! | an API key | an application | one workspace |
//! | a personal access token, `seam_at…` | a person | the workspace that `seam-workspace` names |
//! | the configured bridge token | this program's own daemon, and desks it was copied to | the first workspace |
//! | a token from pairing | one desk's daemon, the first that used it | that desk's own jobs |

use super::error::{ApiError, Invalid};
use super::{Hub, pairing};
use crate::api::id::{BridgeId, BridgeTokenId, WorkspaceId};
use crate::api::time::Time;
use crate::api::workspaces::Workspace;
use crate::clock;
use crate::store::hub::acs_systems::{self, SystemIds};
use crate::store::hub::bridge_tokens;
use crate::store::hub::keys::{self, KeyHash, Opens};
use crate::store::{Connection, StoreError};
use axum::http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use std::future::Future;
use std::net::IpAddr;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

/// The header that names a workspace.
const WORKSPACE: &str = "seam-workspace";

/// Where a request comes from: in its extensions, from the connection that it came over.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Somebody who may ask.
pub(super) trait Caller: Sized + Send {
    /// What the OpenAPI document calls the key that it needs; `None`: none.
    const SCHEME: Option<&'static str>;

    /// Looks at a request's key.
    fn admit(hub: &Hub, headers: &HeaderMap, peer: Peer) -> impl Future<Output = Result<Self, ApiError>> + Send;
}

/// Somebody with a key to the Seam API.
#[derive(Clone, Debug)]
pub(super) struct Application {
    /// The workspace that is asked about.
    pub(super) system: SystemIds,
    /// Whether it is the hub's owner.
    pub(super) is_owner: bool,
    /// The key; none: the configured one, which cannot be revoked.
    key: Option<KeyHash>,
}

impl Application {
    /// Whether the key opens still, for an answer that does not end.
    pub(super) async fn still_stands(&self, connection: &mut Connection) -> Result<bool, StoreError> {
        let Some(key) = &self.key else { return Ok(true) };
        Ok(keys::opens(connection, key, Time::from_ms(clock::wall_ms())).await?.is_some())
    }
}

impl Caller for Application {
    const SCHEME: Option<&'static str> = Some("api_key");

    async fn admit(hub: &Hub, headers: &HeaderMap, peer: Peer) -> Result<Self, ApiError> {
        let Some(key) = bearer(headers) else { return Err(stranger(hub, peer)) };
        let named = named_workspace(headers)?;
        if is(key, hub.api_key()) {
            hub.limits().caller(b"owner")?;
            let system = match named {
                Some(workspace) if workspace != hub.system().workspace_id => system_of(hub, workspace).await?,
                Some(_) | None => hub.system(),
            };
            return Ok(Self { system, is_owner: true, key: None });
        }
        let hash = KeyHash::of(key);
        let mut connection = hub.store().read().await?;
        let opens = keys::opens(&mut connection, &hash, Time::from_ms(clock::wall_ms())).await?;
        drop(connection);
        let Some(opens) = opens else { return Err(stranger(hub, peer)) };
        hub.limits().caller(hash.as_str().as_bytes())?;
        let workspace = match (opens, named) {
            (Opens::Workspace(own), Some(named)) if own != named => {
                return Err(ApiError::Forbidden("The key does not open the workspace in `seam-workspace`.".to_owned()));
            }
            (Opens::Workspace(own), _) => own,
            (Opens::AnyWorkspace, Some(named)) => named,
            (Opens::AnyWorkspace, None) => {
                let message = "A personal access token needs the header `seam-workspace: <workspace_id>`";
                return Err(Invalid::whole(message).into());
            }
        };
        let system =
            if workspace == hub.system().workspace_id { hub.system() } else { system_of(hub, workspace).await? };
        Ok(Self { system, is_owner: false, key: Some(hash) })
    }
}

/// Headers by which proxies say for whom they ask.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Whoever watches the service: somebody on this machine, or with a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher;

impl Caller for Watcher {
    const SCHEME: Option<&'static str> = None;

    async fn admit(hub: &Hub, headers: &HeaderMap, peer: Peer) -> Result<Self, ApiError> {
        // A proxy on this machine asks for others.
        let is_here = peer.0.to_canonical().is_loopback() && !FORWARDED.iter().any(|name| headers.contains_key(*name));
        if !is_here {
            Application::admit(hub, headers, peer).await?;
        }
        Ok(Self)
    }
}

/// The hub's owner, for administration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// The workspace that is asked about.
    pub(super) system: SystemIds,
}

impl Caller for Owner {
    const SCHEME: Option<&'static str> = Some("owner_key");

    async fn admit(hub: &Hub, headers: &HeaderMap, peer: Peer) -> Result<Self, ApiError> {
        let Application { system, is_owner, .. } = Application::admit(hub, headers, peer).await?;
        if is_owner {
            Ok(Self { system })
        } else {
            Err(ApiError::Forbidden("Only the hub's own API key administers it.".to_owned()))
        }
    }
}

/// A desk's daemon.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    /// Where it works.
    pub(super) system: SystemIds,
    token: Token,
}

#[derive(Clone, Debug)]
enum Token {
    /// The configured one, which several desks may have.
    Configured,
    /// From pairing; its daemon, once it was used.
    Paired { bridge_token_id: BridgeTokenId, bridge: Option<BridgeId> },
}

impl Caller for Desk {
    const SCHEME: Option<&'static str> = Some("bridge_token");

    async fn admit(hub: &Hub, headers: &HeaderMap, peer: Peer) -> Result<Self, ApiError> {
        let Some(token) = bearer(headers) else { return Err(stranger(hub, peer)) };
        if is(token, hub.bridge_token()) {
            return Ok(Self { system: hub.system(), token: Token::Configured });
        }
        let mut connection = hub.store().read().await?;
        let known = bridge_tokens::by_hash(&mut connection, &KeyHash::of(token)).await?;
        let Some(known) = known else { return Err(stranger(hub, peer)) };
        Ok(Self {
            system: known.system,
            token: Token::Paired { bridge_token_id: known.bridge_token_id, bridge: known.bridge_id },
        })
    }
}

impl Desk {
    /// Refuses a daemon that speaks for another one: each sees only its own jobs.
    pub(super) async fn speaks_for(&self, hub: &Hub, bridge: Uuid) -> Result<BridgeId, ApiError> {
        let bridge = BridgeId(bridge);
        match &self.token {
            Token::Configured => {
                let mut connection = hub.store().read().await?;
                if bridge_tokens::is_paired(&mut connection, bridge).await? {
                    Err(pairing::another_desks())
                } else {
                    Ok(bridge)
                }
            }
            Token::Paired { bridge: Some(owner), .. } if *owner == bridge => Ok(bridge),
            Token::Paired { bridge: Some(_), .. } => Err(pairing::another_desks()),
            Token::Paired { bridge_token_id, bridge: None } => self.bind(hub, *bridge_token_id, bridge).await,
        }
    }

    /// Makes an unused token this daemon's.
    async fn bind(&self, hub: &Hub, token: BridgeTokenId, bridge: BridgeId) -> Result<BridgeId, ApiError> {
        let mut transaction = hub.store().begin(self.system.realm()).await?;
        pairing::bind(&mut transaction, self.system.workspace_id, token, bridge).await?;
        transaction.commit().await?;
        tracing::info!(bridge_id = %bridge, "a paired desk's daemon has come");
        Ok(bridge)
    }

    /// Refuses a daemon whose token was revoked while it waited.
    pub(super) async fn still_stands(&self, hub: &Hub) -> Result<(), ApiError> {
        let Token::Paired { bridge_token_id, .. } = &self.token else { return Ok(()) };
        let mut connection = hub.store().read().await?;
        let known = bridge_tokens::get(&mut connection, self.system.workspace_id, *bridge_token_id).await?;
        if known.is_some_and(|known| known.revoked_at.is_none()) { Ok(()) } else { Err(ApiError::Unauthorized) }
    }

    /// The token from pairing, if it is one.
    pub(super) fn bridge_token_id(&self) -> Option<BridgeTokenId> {
        match &self.token {
            Token::Configured => None,
            Token::Paired { bridge_token_id, .. } => Some(*bridge_token_id),
        }
    }
}

/// Somebody without a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anybody {
    peer: Peer,
}

impl Anybody {
    /// Counts a try to get in.
    pub(super) fn tries(self, hub: &Hub) -> Result<(), ApiError> {
        hub.limits().stranger(self.peer.0)
    }
}

impl Caller for Anybody {
    const SCHEME: Option<&'static str> = None;

    async fn admit(_: &Hub, _: &HeaderMap, peer: Peer) -> Result<Self, ApiError> {
        Ok(Self { peer })
    }
}

/// Somebody without a right key, who may not try one after the other for ever.
fn stranger(hub: &Hub, peer: Peer) -> ApiError {
    hub.limits().stranger(peer.0).err().unwrap_or(ApiError::Unauthorized)
}

fn named_workspace(headers: &HeaderMap) -> Result<Option<WorkspaceId>, ApiError> {
    let Some(text) = headers.get(WORKSPACE) else { return Ok(None) };
    let id = text.to_str().ok().and_then(|text| Uuid::try_parse(text).ok());
    id.map(|id| Some(WorkspaceId(id)))
        .ok_or_else(|| Invalid::whole("The header `seam-workspace` holds no workspace_id").into())
}

async fn system_of(hub: &Hub, workspace: WorkspaceId) -> Result<SystemIds, ApiError> {
    let system = acs_systems::of_workspace(&mut *hub.store().read().await?, workspace).await?;
    system.ok_or_else(|| ApiError::no::<Workspace>(workspace))
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = given.split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

/// Compares in constant time, so that a wrong key does not tell how much of it is right.
fn is(token: &[u8], secret: &SecretString) -> bool {
    let secret = secret.expose_secret().as_bytes();
    !secret.is_empty() && bool::from(token.ct_eq(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens() {
        let secret = SecretString::from("seam_right");
        let opens = |headers: &HeaderMap, secret: &SecretString| bearer(headers).is_some_and(|token| is(token, secret));
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            opens(&headers, &secret)
        };
        assert!(with("Bearer seam_right") && with("bearer seam_right"));
        for wrong in ["Bearer seam_wrong", "Bearer seam_righ", "Bearer seam_right ", "seam_right", "Bearer ", ""] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!opens(&HeaderMap::new(), &secret));
        let mut empty = HeaderMap::new();
        empty.insert(header::AUTHORIZATION, "Bearer ".parse().unwrap());
        assert!(!opens(&empty, &SecretString::from("")), "an empty secret opens for nobody");
    }
}
