//! What can stand between asking and an outcome.
//!
//! A [`Refusal`] is an answer of the rules. Everything else in [`Failure`] says that the question
//! could not be put, or that the answer is not known. Messages are for whoever asked; the cause is
//! kept as `source` for the log and never shown.

use domain::access::Permission;
use uuid::Uuid;

macro_rules! refusals {
    ($( $(#[$meta:meta])* $Variant:ident($path:ty), )*) => {
        /// The rules say no.
        #[derive(Clone, Debug, PartialEq, thiserror::Error)]
        pub enum Refusal {
            $( $(#[$meta])* #[error(transparent)] $Variant(#[from] $path), )*
            /// Somebody else has it.
            #[error("{what} is taken; choose another")]
            Taken {
                /// What has to be unique.
                what: &'static str,
            },
            /// Something named does not exist.
            #[error("there is no {what} {name}")]
            Unknown {
                /// What kind of thing.
                what: &'static str,
                /// As it was given.
                name: String,
            },
        }

        impl Refusal {
            /// The stable code of it.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self {
                    $( Self::$Variant(refusal) => refusal.code(), )*
                    Self::Taken { .. } => "TAKEN",
                    Self::Unknown { .. } => "NOT_FOUND",
                }
            }
        }
    };
}

refusals! {
    /// Of a user.
    User(domain::identity::user::Refusal),
    /// Of an API key.
    ApiKey(domain::identity::api_key::Refusal),
    /// Of an organization.
    Organization(domain::tenancy::Refusal),
    /// Of a role.
    Role(domain::access::role::Refusal),
    /// Of a tier.
    Tier(domain::catalogue::tier::Refusal),
    /// Of an add-on.
    AddOn(domain::catalogue::add_on::Refusal),
    /// Of a credit pack.
    CreditPack(domain::catalogue::credit_pack::Refusal),
    /// Of a meter.
    Meter(domain::catalogue::meter::Refusal),
    /// Of a model.
    Model(domain::catalogue::model::Refusal),
    /// Of the rate card.
    RateCard(domain::catalogue::rate_card::Refusal),
    /// Of a credit account.
    Credits(domain::credits::Refusal),
    /// Of a purchase.
    Purchase(domain::commerce::purchase::Refusal),
    /// Of a service.
    Service(domain::operations::service::Refusal),
    /// Of a usage record.
    Usage(domain::metering::usage::Refusal),
    /// Of the installation.
    Installation(domain::installation::Refusal),
    /// Of a legal hold.
    LegalHold(domain::retention::legal_hold::Refusal),
    /// Of retention.
    Retention(domain::retention::policy::Refusal),
}

/// What can stand between asking and an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The rules say no; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody we know asks.
    #[error("who asks is not known; send a valid API key")]
    Unauthenticated,
    /// Whoever asks has no right to; nothing changed.
    #[error("{permission} is needed: {reason}")]
    Forbidden {
        /// What is missing.
        permission: Permission,
        /// Why it is missing.
        reason: &'static str,
    },
    /// The caller had seen another version; nothing changed.
    #[error("version {actual} is there and {expected} was expected; load it again and decide")]
    VersionConflict {
        /// What the caller had seen.
        expected: i64,
        /// What is there.
        actual: i64,
    },
    /// The id stands for another command; nothing changed.
    #[error("command {command_id} was used before with other content; choose a new command id")]
    CommandReused {
        /// The id in question.
        command_id: Uuid,
    },
    /// More was asked at once than fits; nothing changed.
    #[error("{0}")]
    TooLarge(String),
    /// Too many want the same thing at once; repeat the same command.
    #[error("too many ask for the same at once; repeat the same command shortly")]
    Busy,
    /// The history is not the one that was signed; nothing changed, and nothing will until an
    /// operator has seen to it.
    #[error("nothing is recorded just now: {0}")]
    Halted(String),
    /// The outcome is not known; repeat the same command, which is always safe.
    #[error("the log cannot be reached; repeat the same command shortly")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A mistake of the program, or history that this program cannot read.
    #[error("an internal error; nothing more is said of it here")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<event_log::ReadError> for Failure {
    fn from(error: event_log::ReadError) -> Self {
        match error {
            event_log::ReadError::Unavailable(_) => Self::Unavailable(Box::new(error)),
            event_log::ReadError::Gap { .. } | event_log::ReadError::Archive(_) => {
                Self::Internal(Box::new(error))
            }
        }
    }
}

impl From<event_log::KeyError> for Failure {
    fn from(error: event_log::KeyError) -> Self {
        use event_log::KeyError;
        match error {
            KeyError::Unavailable(_) => Self::Unavailable(Box::new(error)),
            KeyError::File { .. }
            | KeyError::Exposed { .. }
            | KeyError::Malformed
            | KeyError::WrongMaster
            | KeyError::Erased { .. }
            | KeyError::Damaged { .. }
            | KeyError::Random(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<domain::DecodeError> for Failure {
    fn from(error: domain::DecodeError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<domain::EncodeError> for Failure {
    fn from(error: domain::EncodeError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<event_log::InvalidStream> for Failure {
    fn from(error: event_log::InvalidStream) -> Self {
        Self::Internal(Box::new(error))
    }
}
