//! The encoders of the account, so that people pick from names, and links to them.

use super::{Answer, Context, find};
use crate::api::acs_encoders::ListedEncoder;
use crate::bridge::report::{self, LinkEnd};
use serde::{Deserialize, Serialize};
use std::error::Error as _;
use uuid::Uuid;

/// The account's encoders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountAnswer {
    /// `None`: there is no API key to ask with.
    pub encoders: Option<Vec<AccountEncoder>>,
}

/// An encoder of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEncoder {
    /// Its id.
    pub acs_encoder_id: Uuid,
    /// Its name.
    pub display_name: String,
    /// Where it is linked.
    pub linked: LinkedWhere,
}

/// Where an encoder of the account is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkedWhere {
    /// To a device of this desk.
    Here,
    /// At another desk.
    Elsewhere,
    /// Nowhere.
    Free,
}

pub(super) async fn encoders(context: &Context) -> Result<AccountAnswer, String> {
    let Some(account) = &context.account else { return Ok(AccountAnswer { encoders: None }) };
    let listed = account.encoders().await.map_err(|error| with_cause(&error))?;
    let encoders = listed.into_iter().map(|listed| AccountEncoder {
        acs_encoder_id: listed.acs_encoder_id,
        linked: if context.links.device_of(listed.acs_encoder_id).is_some() {
            LinkedWhere::Here
        } else if listed.is_free() {
            LinkedWhere::Free
        } else {
            LinkedWhere::Elsewhere
        },
        display_name: listed.display_name,
    });
    Ok(AccountAnswer { encoders: Some(encoders.collect()) })
}

fn with_cause(error: &crate::upstream::UpstreamError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Links a device to the encoder with this id or name.
pub(super) async fn link(context: &Context, device: &str, encoder: &str, take_over: bool) -> Result<Answer, String> {
    let device = find(context, Some(device))?;
    let acs_encoder_id = match encoder.parse() {
        Ok(id) => id,
        Err(_) => by_name(context, encoder).await?,
    };
    match report::link_by_hand(&context.bridge, device.id(), acs_encoder_id, take_over).await {
        Ok(LinkEnd::Linked) => Ok(Answer::Done),
        Ok(LinkEnd::Unknown) => Err(format!("the hub at {} knows no encoder {acs_encoder_id}", context.hub_url)),
        Ok(LinkEnd::Anothers { held_by }) => {
            let desk = held_by.map_or_else(|| "another desk".to_owned(), |name| format!("the desk \"{name}\""));
            Err(format!(
                "encoder {acs_encoder_id} is linked at {desk}: unlink it there, or take it over with --take-over"
            ))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn by_name(context: &Context, name: &str) -> Result<Uuid, String> {
    let Some(account) = &context.account else {
        return Err(format!(
            "\"{name}\" is no id, and without an API key of the account encoders have no names here: \
             give the acs_encoder_id, or set cloud.api_key_file"
        ));
    };
    one_of(&account.encoders().await.map_err(|error| with_cause(&error))?, name)
}

/// The one encoder with this name. Upper and lower case matter only where they make a difference.
fn one_of(encoders: &[ListedEncoder], name: &str) -> Result<Uuid, String> {
    let exact: Vec<&ListedEncoder> = encoders.iter().filter(|encoder| encoder.display_name == name).collect();
    let alike = || encoders.iter().filter(|encoder| encoder.display_name.to_lowercase() == name.trim().to_lowercase());
    let matching = if exact.is_empty() { alike().collect() } else { exact };
    match matching.as_slice() {
        [encoder] => Ok(encoder.acs_encoder_id),
        [] => {
            let names: Vec<String> = encoders.iter().map(|encoder| format!("\"{}\"", encoder.display_name)).collect();
            Err(format!("the account has no encoder \"{name}\"; it has: {}", names.join(", ")))
        }
        several => {
            let ids: Vec<String> = several.iter().map(|encoder| encoder.acs_encoder_id.to_string()).collect();
            Err(format!("the account has several encoders \"{name}\", give an id: {}", ids.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(id: u128, name: &str) -> ListedEncoder {
        ListedEncoder { acs_encoder_id: Uuid::from_u128(id), display_name: name.to_owned(), errors: Vec::new() }
    }

    #[test]
    fn a_name_means_one_encoder_or_none() {
        let all = [encoder(1, "Reception"), encoder(2, "Bar"), encoder(3, "bar"), encoder(4, "Spa"), encoder(5, "Spa")];
        assert_eq!(one_of(&all, "Reception"), Ok(Uuid::from_u128(1)));
        assert_eq!(one_of(&all, " reception "), Ok(Uuid::from_u128(1)));
        assert_eq!(one_of(&all, "Bar"), Ok(Uuid::from_u128(2)));
        assert!(one_of(&all, "BAR").is_err_and(|text| text.contains(&Uuid::from_u128(3).to_string())));
        assert!(one_of(&all, "Spa").is_err_and(|text| text.contains("several")));
        assert!(one_of(&all, "Pool").is_err_and(|text| text.contains("\"Reception\"")));
    }
}
