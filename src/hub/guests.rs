//! What a credential's metadata says of guests, and what of it a card carries.
//!
//! | given | the card's flag |
//! | --- | --- |
//! | `override` (Visionline, Hotek), `is_override_key`, `override_all_guest_acs_entrances`, `override_guest_acs_entrance_ids` | override previous guest |
//! | `joiner_acs_credential_ids`, `join_all_guest_acs_entrances` | joiner |
//! | `auto_join` | joiner, if a card for one of its own doors is valid at the same time when it is first written; else override previous guest |
//! | `is_one_time_use` | one-time |
//! | `common_acs_entrance_ids` | common door |
//!
//! What `auto_join` came to is kept with the issue: the same card written again keeps its meaning.

use super::error::{ApiError, Invalid};
use crate::api::acs_credentials::AcsCredential;
use crate::api::bridge::CredentialFlags;
use crate::api::credential_metadata::{CardFunction, Metadata};
use crate::api::id::{AcsEntranceId, WorkspaceId};
use crate::store::hub::acs_credentials::{self, Credential};
use crate::store::{Connection, StoreError};

/// What a card does to the cards of other guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Towards {
    Override,
    Join,
    /// One or the other, by who else has a card.
    Auto,
}

/// A wish for one of these, and where it was made.
struct Wish {
    towards: Towards,
    path: [&'static str; 2],
}

fn wishes(metadata: &Metadata) -> Vec<Wish> {
    let mut wishes = Vec::new();
    let mut add = |given: bool, towards, path| {
        if given {
            wishes.push(Wish { towards, path });
        }
    };
    let yes = |given: Option<bool>| given == Some(true);
    if let Some(vendor) = &metadata.visionline_metadata {
        let name = "visionline_metadata";
        add(yes(vendor.overrides), Towards::Override, [name, "override"]);
        add(yes(vendor.is_override_key), Towards::Override, [name, "is_override_key"]);
        let joins = vendor.joiner_acs_credential_ids.as_ref().is_some_and(|ids| !ids.is_empty());
        add(joins, Towards::Join, [name, "joiner_acs_credential_ids"]);
        add(yes(vendor.auto_join), Towards::Auto, [name, "auto_join"]);
    }
    if let Some(vendor) = &metadata.assa_abloy_vostio_metadata {
        let name = "assa_abloy_vostio_metadata";
        add(
            yes(vendor.override_all_guest_acs_entrances),
            Towards::Override,
            [name, "override_all_guest_acs_entrances"],
        );
        let overrides = vendor.override_guest_acs_entrance_ids.as_ref().is_some_and(|ids| !ids.is_empty());
        add(overrides, Towards::Override, [name, "override_guest_acs_entrance_ids"]);
        add(yes(vendor.join_all_guest_acs_entrances), Towards::Join, [name, "join_all_guest_acs_entrances"]);
        add(yes(vendor.auto_join), Towards::Auto, [name, "auto_join"]);
    }
    if let Some(vendor) = &metadata.hotek_metadata {
        add(yes(vendor.overrides), Towards::Override, ["hotek_metadata", "override"]);
        add(yes(vendor.auto_join), Towards::Auto, ["hotek_metadata", "auto_join"]);
    }
    wishes
}

fn is_staff(metadata: &Metadata) -> bool {
    let vendor = metadata.visionline_metadata.as_ref();
    vendor.is_some_and(|vendor| vendor.card_function_type == Some(CardFunction::Staff))
}

/// The doors that are named in metadata: a guest's own, and those that all guests share.
pub(super) fn doors(metadata: &Metadata) -> (Vec<AcsEntranceId>, Vec<AcsEntranceId>) {
    let vendor = metadata.visionline_metadata.clone().unwrap_or_default();
    (vendor.guest_acs_entrance_ids.unwrap_or_default(), vendor.common_acs_entrance_ids.unwrap_or_default())
}

/// Refuses what contradicts itself or what a card cannot carry; `own` are the doors of this guest alone.
pub(super) async fn check(
    connection: &mut Connection,
    workspace: WorkspaceId,
    metadata: &Metadata,
    own: &[AcsEntranceId],
) -> Result<(), ApiError> {
    let at = |path: [&str; 2], message: &str| Invalid {
        path: path.map(str::to_owned).to_vec(),
        message: message.to_owned(),
    };
    let wishes = wishes(metadata);
    if let Some(first) = wishes.first() {
        if let Some(other) = wishes.iter().find(|wish| wish.towards != first.towards) {
            let message = "A card overrides the earlier guests' cards, joins them, or leaves that to auto_join";
            return Err(at(other.path, message).into());
        }
        if is_staff(metadata) {
            return Err(at(first.path, "Only a guest's card overrides or joins others").into());
        }
    }
    let vostio = metadata.assa_abloy_vostio_metadata.as_ref();
    if let Some(overridden) = vostio.and_then(|vendor| vendor.override_guest_acs_entrance_ids.as_ref())
        && !overridden.is_empty()
        && (own.iter().any(|door| !overridden.contains(door)) || overridden.iter().any(|door| !own.contains(door)))
    {
        let path = ["assa_abloy_vostio_metadata", "override_guest_acs_entrance_ids"];
        return Err(at(path, "A card overrides on all of the guest's own doors or on none; name all of them").into());
    }
    let visionline = metadata.visionline_metadata.as_ref();
    if let Some(joined) = visionline.and_then(|vendor| vendor.joiner_acs_credential_ids.as_ref()) {
        let known = acs_credentials::known(connection, workspace, joined).await?;
        if let Some(unknown) = joined.iter().find(|id| !known.contains(id)) {
            return Err(ApiError::no::<AcsCredential>(unknown));
        }
    }
    Ok(())
}

/// Whether a credential's card opens once.
pub(super) fn is_one_time(metadata: &Metadata) -> bool {
    metadata.visionline_metadata.as_ref().is_some_and(|vendor| vendor.is_one_time_use == Some(true))
}

fn with(metadata: &Metadata, towards: Option<Towards>) -> CredentialFlags {
    CredentialFlags {
        override_previous: towards == Some(Towards::Override),
        joiner: towards == Some(Towards::Join),
        one_time: is_one_time(metadata),
        common_doors: !doors(metadata).1.is_empty(),
    }
}

/// The flags that a credential's card should have; `before` are those that it has, and that decide what `auto_join` is.
pub(super) fn flags(metadata: &Metadata, before: CredentialFlags) -> CredentialFlags {
    let towards = wishes(metadata).first().map(|wish| wish.towards);
    let towards = match towards {
        Some(Towards::Auto) if before.joiner && !before.override_previous => Some(Towards::Join),
        Some(Towards::Auto) => Some(Towards::Override),
        other => other,
    };
    with(metadata, towards)
}

/// The flags that a credential is written with now.
pub(super) async fn flags_to_write(
    connection: &mut Connection,
    credential: &Credential,
) -> Result<CredentialFlags, StoreError> {
    let written = credential.issue.as_ref().and_then(|issue| issue.contents.as_ref());
    let before = match (written, wishes(&credential.metadata).first()) {
        (Some(contents), _) => contents.flags,
        (None, Some(Wish { towards: Towards::Auto, .. })) => {
            let others = acs_credentials::beside(connection, credential.acs_credential_id, credential.times).await?;
            let joiner = others.iter().any(|other| !is_staff(&other.metadata));
            CredentialFlags { joiner, ..CredentialFlags::default() }
        }
        (None, Some(_) | None) => CredentialFlags::default(),
    };
    Ok(flags(&credential.metadata, before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::credential_metadata::{Hotek, Visionline};

    #[test]
    fn auto_join_stays_what_it_came_to() {
        let hotek = Hotek { auto_join: Some(true), overrides: None };
        let metadata = Metadata { hotek_metadata: Some(hotek), ..Metadata::default() };
        let joiner = CredentialFlags { joiner: true, ..CredentialFlags::default() };
        assert_eq!(flags(&metadata, joiner), joiner);
        let overriding = CredentialFlags { override_previous: true, ..CredentialFlags::default() };
        assert_eq!(flags(&metadata, CredentialFlags::default()), overriding);
    }

    #[test]
    fn what_the_card_has_does_not_change_what_was_asked_for() {
        let overriding = Visionline { overrides: Some(true), ..Visionline::default() };
        let metadata = Metadata { visionline_metadata: Some(overriding), ..Metadata::default() };
        let joiner = CredentialFlags { joiner: true, ..CredentialFlags::default() };
        assert_eq!(flags(&metadata, joiner), CredentialFlags { override_previous: true, ..CredentialFlags::default() });
        assert_eq!(flags(&Metadata::default(), joiner), CredentialFlags::default());
    }
}
