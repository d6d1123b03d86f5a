//! How an event is declared, named and written.
//!
//! The stored name is text chosen here, never a Rust path; the payload is JSON of the fields and
//! nothing else. A new version of an event keeps reading the old form: `golden/` holds one stored
//! sample for every name and version, and a test reads them all.

use crate::personal::Personal;
use uuid::Uuid;

/// Why stored bytes are not an event of this program.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The name or the version is not known here: most likely a newer program wrote it.
    #[error("event {type_name:?} version {version} is unknown to this program; use a newer one")]
    Unknown {
        /// The stored name.
        type_name: String,
        /// The stored version.
        version: i16,
    },
    /// The payload does not have the shape its name promises.
    #[error("the payload of {type_name:?} version {version} cannot be read")]
    Payload {
        /// The stored name.
        type_name: String,
        /// The stored version.
        version: i16,
        /// What the reader said.
        source: serde_json::Error,
    },
}

/// Why an event cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the event cannot be written: {0}")]
pub struct EncodeError(#[from] serde_json::Error);

/// Declares the events of one aggregate: for each a struct of its fields and a variant, with the
/// stored name, the schema version and the audit action.
macro_rules! events {
    (
        $(#[$enum_meta:meta])*
        pub enum $Enum:ident {
            $(
                $(#[$meta:meta])*
                $Variant:ident = $text:literal $version:literal $audit:literal {
                    $( $(#[$field_meta:meta])* $field:ident : $ty:ty ),* $(,)?
                }
            )*
        }
    ) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
            pub struct $Variant {
                $( $(#[$field_meta])* pub $field: $ty, )*
            }
        )*

        $(#[$enum_meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $Enum {
            $( $(#[$meta])* $Variant($Variant), )*
        }

        impl $Enum {
            /// Every stored name with its current version.
            pub const NAMES: &'static [(&'static str, i16)] = &[ $( ($text, $version) ),* ];

            /// The stored name.
            #[must_use]
            pub const fn type_name(&self) -> &'static str {
                match self { $( Self::$Variant(_) => $text, )* }
            }

            /// The version of the payload's shape.
            #[must_use]
            pub const fn schema_version(&self) -> i16 {
                match self { $( Self::$Variant(_) => $version, )* }
            }

            /// The name that the audit reader knows it by.
            #[must_use]
            pub const fn audit_action(&self) -> &'static str {
                match self { $( Self::$Variant(_) => $audit, )* }
            }

            pub(crate) fn encode(&self) -> ::serde_json::Result<Vec<u8>> {
                match self { $( Self::$Variant(fields) => ::serde_json::to_vec(fields), )* }
            }

            pub(crate) fn decode(
                type_name: &str,
                version: i16,
                payload: &[u8],
            ) -> Option<::serde_json::Result<Self>> {
                match (type_name, version) {
                    $( ($text, $version) => {
                        Some(::serde_json::from_slice(payload).map(Self::$Variant))
                    } )*
                    _ => None,
                }
            }
        }

        $(
            impl From<$Variant> for $Enum {
                fn from(fields: $Variant) -> Self {
                    Self::$Variant(fields)
                }
            }
        )*
    };
}
pub(crate) use events;

macro_rules! contexts {
    ($( $(#[$meta:meta])* $Variant:ident($path:ty), )*) => {
        /// Anything that can have happened.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $( $(#[$meta])* $Variant($path), )*
        }

        impl Event {
            /// The stored name.
            #[must_use]
            pub const fn type_name(&self) -> &'static str {
                match self { $( Self::$Variant(event) => event.type_name(), )* }
            }

            /// The version of the payload's shape.
            #[must_use]
            pub const fn schema_version(&self) -> i16 {
                match self { $( Self::$Variant(event) => event.schema_version(), )* }
            }

            /// The name that the audit reader knows it by.
            #[must_use]
            pub const fn audit_action(&self) -> &'static str {
                match self { $( Self::$Variant(event) => event.audit_action(), )* }
            }

            /// Writes the payload.
            ///
            /// # Errors
            /// When personal data in it has not been sealed.
            pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
                Ok(match self { $( Self::$Variant(event) => event.encode(), )* }?)
            }

            /// Reads a stored event.
            ///
            /// # Errors
            /// [`DecodeError::Unknown`] for a name or version that this program does not know,
            /// [`DecodeError::Payload`] for a payload that is not of the promised shape.
            pub fn decode(
                type_name: &str,
                version: i16,
                payload: &[u8],
            ) -> Result<Self, DecodeError> {
                $(
                    if let Some(read) = <$path>::decode(type_name, version, payload) {
                        return read.map(Self::$Variant).map_err(|source| DecodeError::Payload {
                            type_name: type_name.to_owned(),
                            version,
                            source,
                        });
                    }
                )*
                Err(DecodeError::Unknown { type_name: type_name.to_owned(), version })
            }

            /// Every stored name with its current version.
            #[must_use]
            pub fn names() -> Vec<(&'static str, i16)> {
                [ $( <$path>::NAMES ),* ].concat()
            }
        }

        $(
            impl From<$path> for Event {
                fn from(event: $path) -> Self {
                    Self::$Variant(event)
                }
            }

            impl TryFrom<Event> for $path {
                type Error = OfAnotherKind;

                fn try_from(event: Event) -> Result<Self, OfAnotherKind> {
                    let type_name = event.type_name();
                    if let Event::$Variant(event) = event {
                        Ok(event)
                    } else {
                        Err(OfAnotherKind { type_name })
                    }
                }
            }
        )*
    };
}

/// A stream holds an event that does not belong to its aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {type_name:?} does not belong to this stream")]
pub struct OfAnotherKind {
    type_name: &'static str,
}

// Usage stands early because it is most of every log, and names are tried in this order.
contexts! {
    /// Anything whose body was purged. It stands first because no other kind reads an empty body.
    Purged(crate::retention::purged::Event),
    /// Metered usage.
    Usage(crate::metering::usage::Event),
    /// What an organization may spend.
    CreditAccount(crate::credits::Event),
    /// People.
    User(crate::identity::user::Event),
    /// Keys of programs.
    ApiKey(crate::identity::api_key::Event),
    /// Organizations and their members.
    Organization(crate::tenancy::Event),
    /// Roles defined here, beside the built-in ones.
    Role(crate::access::role::Event),
    /// Tiers.
    Tier(crate::catalogue::tier::Event),
    /// Add-ons.
    AddOn(crate::catalogue::add_on::Event),
    /// Credit packs.
    CreditPack(crate::catalogue::credit_pack::Event),
    /// Meters.
    Meter(crate::catalogue::meter::Event),
    /// Models and their prices.
    Model(crate::catalogue::model::Event),
    /// The rate card.
    RateCard(crate::catalogue::rate_card::Event),
    /// Purchases.
    Purchase(crate::commerce::purchase::Event),
    /// Services and the actions on them.
    Service(crate::operations::service::Event),
    /// The installation itself.
    Installation(crate::installation::Event),
    /// What was refused or forbidden.
    Security(crate::access::security::Event),
    /// What must not be destroyed.
    LegalHold(crate::retention::legal_hold::Event),
    /// How long bodies are kept.
    Retention(crate::retention::policy::Event),
}

impl Event {
    /// The personal data in it, each with the subject whose key seals it.
    pub fn personal_fields(&mut self) -> Vec<(Uuid, &mut Personal)> {
        match self {
            Self::User(event) => event.personal_fields(),
            Self::Usage(_)
            | Self::CreditAccount(_)
            | Self::ApiKey(_)
            | Self::Organization(_)
            | Self::Role(_)
            | Self::Tier(_)
            | Self::AddOn(_)
            | Self::CreditPack(_)
            | Self::Meter(_)
            | Self::Model(_)
            | Self::RateCard(_)
            | Self::Purchase(_)
            | Self::Service(_)
            | Self::Installation(_)
            | Self::Security(_)
            | Self::LegalHold(_)
            | Self::Retention(_)
            | Self::Purged(_) => Vec::new(),
        }
    }
}
