//! Ids: each kind a type of its own, so that two of them cannot be swapped. On the wire each is a UUID.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": "uuid" })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Uuid::try_parse(&text).map(Self).map_err(|_| de::Error::custom("Invalid uuid"))
            }
        }
    )*};
}

ids! {
    /// A workspace: everything one API key sees.
    WorkspaceId;
    /// The account that an access system hangs on; this hub has one for each system.
    ConnectedAccountId;
    /// An access system: the doors of one property.
    AcsSystemId;
    /// A door.
    AcsEntranceId;
    /// A person in an access system.
    AcsUserId;
    /// What is on a card, or is to be.
    AcsCredentialId;
    /// A card encoder as the cloud sees it.
    AcsEncoderId;
    /// A person.
    UserIdentityId;
    /// A person's access to doors for a time.
    AccessGrantId;
    /// One card of an access grant.
    AccessMethodId;
    /// A group of doors.
    SpaceId;
    /// How Seam's own pages look to a guest; kept for the caller.
    CustomizationProfileId;
    /// One encode or scan.
    ActionAttemptId;
    /// Something that happened.
    EventId;
    /// An address that events are sent to.
    WebhookId;
    /// A desk's daemon.
    BridgeId;
    /// What a desk's daemon sends.
    BridgeTokenId;
    /// A key to the Seam API.
    ApiKeyId;
    /// Something that this hub has none of: a device, an access code.
    ElsewhereId;
}
