//! Who may do what.
//!
//! Every permission is `resource:action`; a role is a set of them; [`decide`] is the one function
//! that answers, for now, for a past moment and for "what if". Nothing else looks at roles.

pub mod decision;
pub mod permission;
pub mod role;
pub mod security;

pub use decision::{Decision, Grants, Scope, decide};
pub use permission::{Action, Permission, Resource};

use crate::values::{ApiKeyId, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Actor {
    /// A person.
    User {
        /// Who.
        user_id: UserId,
    },
    /// A program, on behalf of a person.
    ApiKey {
        /// With which key.
        api_key_id: ApiKeyId,
        /// Whose.
        user_id: UserId,
    },
    /// A part of the installation: a flow, a worker, or an operator at the machine itself.
    System {
        /// Which part.
        name: String,
    },
    /// Nobody we know.
    Anonymous,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { user_id } => write!(formatter, "user/{user_id}"),
            Self::ApiKey { api_key_id, user_id } => {
                write!(formatter, "api_key/{api_key_id}/{user_id}")
            }
            Self::System { name } => write!(formatter, "system/{name}"),
            Self::Anonymous => formatter.write_str("anonymous"),
        }
    }
}
