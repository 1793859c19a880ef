//! Pairing: a desk gets its token for a short code that somebody reads out to it.
//!
//! A code is 16 letters and digits, such as `K7QD-9XWM-3HPT-6RVN`, of an alphabet without those that look alike. The
//! first four find it, the other twelve are its secret: 59 bits, of which the database has the hash. It lives ten
//! minutes and dies of its fifth wrong try, so that nobody can try codes one after the other, wherever he tries from.

use super::Hub;
use super::error::ApiError;
use crate::api::admin::{PairingCode, Secret};
use crate::api::bridge::{PairRequest, PairResponse};
use crate::api::id::{BridgeId, BridgeTokenId, WorkspaceId};
use crate::api::time::Time;
use crate::api::workspaces::Workspace;
use crate::clock;
use crate::keys;
use crate::store::hub::acs_systems::{self, SystemIds};
use crate::store::hub::keys::KeyHash;
use crate::store::hub::pairing_codes::{self, StoredCode};
use crate::store::hub::{acs_encoders, bridge_tokens};
use crate::store::{Connection, Realm, Transaction};
use secrecy::ExposeSecret as _;
use std::time::Duration;

/// No I, L, O and U, no 0 and 1: 30 that are told from one another.
const ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many characters of a code find it.
const PUBLIC: usize = 4;

/// How many characters a code has.
const WHOLE: usize = 16;

/// How long a code lives.
const LIFE: Duration = Duration::from_mins(10);

/// How many wrong tries end a code.
const TRIES: i64 = 5;

/// What a desk is called that nobody gave a name.
const UNNAMED: &str = "Desk";

/// The longest name that a desk can give itself, in characters.
const NAME_CHARACTERS_MAX: usize = 100;

/// Makes a code.
pub(super) async fn create(hub: &Hub, system: SystemIds, name: Option<String>) -> Result<PairingCode, ApiError> {
    let now = now();
    let expires_at = Time::from_ms(now.ms().saturating_add(i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX)));
    let mut transaction = hub.store().begin(system.realm()).await?;
    pairing_codes::forget_ended(&mut transaction, system.workspace_id, now).await?;
    loop {
        let code = random_code()?;
        let public = code.get(..PUBLIC).unwrap_or_default();
        let hash = KeyHash::of(code.as_bytes());
        let (workspace, given) = (system.workspace_id, name.as_deref());
        let times = (now, expires_at);
        if pairing_codes::create(&mut transaction, workspace, public, &hash, given, TRIES, times).await? {
            transaction.commit().await?;
            return Ok(PairingCode { code: Secret(spelled(&code)), name, workspace_id: workspace, expires_at });
        }
    }
}

/// Gives a desk its token, if the code is right.
pub(super) async fn redeem(hub: &Hub, request: &PairRequest) -> Result<PairResponse, ApiError> {
    let code = normal(&request.code.0);
    let Some(public) = code.get(..PUBLIC) else { return Err(ApiError::PairingRefused) };
    let found = pairing_codes::get(&mut *hub.store().read().await?, public).await?;
    let Some(StoredCode { workspace_id, .. }) = found else { return Err(ApiError::PairingRefused) };
    // What happens to one code happens one after the other, on all nodes.
    let mut transaction = hub.store().begin(Realm::Workspace(workspace_id.0)).await?;
    let Some(known) = pairing_codes::get(&mut transaction, public).await? else { return Err(ApiError::PairingRefused) };
    if known.used_at.is_some() || known.tries_left < 1 || known.expires_at <= now() {
        return Err(ApiError::PairingRefused);
    }
    if known.hash != KeyHash::of(code.as_bytes()).as_str() {
        pairing_codes::wrong(&mut transaction, public).await?;
        transaction.commit().await?;
        tracing::warn!(tries_left = known.tries_left - 1, "a wrong pairing code");
        return Err(ApiError::PairingRefused);
    }
    pair(transaction, &known, request).await
}

async fn pair(
    mut transaction: Transaction,
    code: &StoredCode,
    request: &PairRequest,
) -> Result<PairResponse, ApiError> {
    let now = now();
    if !pairing_codes::redeem(&mut transaction, &code.public_part, now).await? {
        return Err(ApiError::PairingRefused);
    }
    let workspace = acs_systems::workspace(&mut transaction, code.workspace_id).await?;
    let workspace = workspace.ok_or_else(|| ApiError::no::<Workspace>(code.workspace_id))?;
    let own = request.name.as_deref().map(shown).filter(|name| !name.is_empty());
    let name = code.name.clone().or(own).unwrap_or_else(|| UNNAMED.to_owned());
    let token = keys::random_token("bridge_").map_err(|_| ApiError::NoRandomness)?;
    let (id, hash) = (BridgeTokenId::random(), KeyHash::of(token.expose_secret().as_bytes()));
    bridge_tokens::create(&mut transaction, code.workspace_id, id, &name, &hash, now).await?;
    if let Some(bridge) = request.bridge_id.map(BridgeId) {
        bind(&mut transaction, code.workspace_id, id, bridge).await?;
    }
    transaction.commit().await?;
    tracing::info!(bridge_token_id = %id, name, "a desk is paired");
    Ok(PairResponse {
        token: Secret(token.expose_secret().to_owned()),
        name,
        workspace_id: code.workspace_id.0,
        workspace_name: workspace.name,
    })
}

/// Makes an unused token a daemon's own.
pub(super) async fn bind(
    connection: &mut Connection,
    workspace: WorkspaceId,
    token: BridgeTokenId,
    bridge: BridgeId,
) -> Result<(), ApiError> {
    if acs_encoders::has_elsewhere(connection, workspace, bridge).await? {
        let message = "This daemon has encoders in another workspace. Give it a new state directory.";
        return Err(ApiError::Forbidden(message.to_owned()));
    }
    match bridge_tokens::bind(connection, token, bridge).await {
        Ok(true) => Ok(()),
        // A daemon's first requests come together, and only one of them is the first.
        Ok(false) => match bridge_tokens::get(connection, workspace, token).await? {
            Some(known) if known.bridge_id == Some(bridge) && known.revoked_at.is_none() => Ok(()),
            Some(_) | None => Err(another_desks()),
        },
        Err(error) if error.is_conflict() => {
            let message = "This daemon has another token. Once that one is revoked it can use the new one.";
            Err(ApiError::Forbidden(message.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What a daemon is told that speaks for another one.
pub(super) fn another_desks() -> ApiError {
    ApiError::Forbidden("The token belongs to another desk's daemon. Pair this one.".to_owned())
}

fn random_code() -> Result<String, ApiError> {
    // The largest multiple of the alphabet's length that a byte can be: above it, some letters would come more often.
    const FAIR: u8 = 240;
    let mut code = String::with_capacity(WHOLE);
    while code.len() < WHOLE {
        let mut random = [0; 2 * WHOLE];
        getrandom::fill(&mut random).map_err(|_| ApiError::NoRandomness)?;
        let fair = random.iter().filter(|byte| **byte < FAIR);
        let letters = fair.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        code.extend(letters.map(|letter| char::from(*letter)).take(WHOLE - code.len()));
    }
    Ok(code)
}

/// A code as it is shown: in groups of four.
fn spelled(code: &str) -> String {
    let mut text = String::with_capacity(WHOLE + WHOLE / 4);
    for (at, letter) in code.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

/// A code as it is kept, from what somebody typed.
fn normal(typed: &str) -> String {
    let letters = typed.chars().filter(char::is_ascii_alphanumeric);
    letters.take(WHOLE + 1).map(|letter| letter.to_ascii_uppercase()).collect()
}

/// A name as it may be shown in a line.
fn shown(name: &str) -> String {
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(NAME_CHARACTERS_MAX).collect();
    name.trim().to_owned()
}

fn now() -> Time {
    Time::from_ms(clock::wall_ms())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_code_survives_being_read_out_and_typed() {
        let code = random_code().unwrap();
        let shown = spelled(&code);
        assert!(code.len() == WHOLE && shown.len() == 19 && shown.matches('-').count() == 3, "{shown}");
        for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', " "), code.clone(), format!(" {shown}\n")]
        {
            assert_eq!(normal(&typed), code, "{typed:?}");
        }
        assert_ne!(normal(&format!("{shown}X")), code, "one more is another code");
        assert!(normal(&"Ü".repeat(1000)).is_empty());
    }

    #[test]
    fn codes_use_all_letters_and_no_others() {
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            seen.extend(random_code().unwrap().bytes());
        }
        assert_eq!(seen, ALPHABET.iter().copied().collect());
        assert!(!ALPHABET.iter().any(|letter| b"01ILOU".contains(letter)));
    }
}
