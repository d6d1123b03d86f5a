//! Roles that an installation defines for itself, beside the built-in ones.

use crate::access::permission::{BUILT_IN_ROLES, Permission};
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::Code;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

events! {
    /// What can have happened to a role.
    pub enum Event {
        /// The role may do exactly this from now on.
        RoleDefined = "role_defined" 1 "config.change" {
            /// Its name.
            role: Code,
            /// What it may do.
            permissions: BTreeSet<Permission>,
        }
        /// The role may do nothing any more.
        RoleDeleted = "role_deleted" 1 "config.change" {
            /// Its name.
            role: Code,
        }
    }
}

/// What can be asked of a role's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Say what the role may do.
    Define {
        /// Its name.
        role: Code,
        /// What it may do.
        permissions: BTreeSet<Permission>,
    },
    /// Take everything from it.
    Delete,
}

/// Why a role's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A built-in role is what it is.
    #[error("{0} is a built-in role and cannot be changed; define one with another name")]
    BuiltIn(Code),
    /// There is no such role.
    #[error("there is no such role")]
    NotFound,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BuiltIn(_) => "ROLE_BUILT_IN",
            Self::NotFound => "ROLE_NOT_FOUND",
        }
    }
}

/// A role as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Name and permissions; `None` when it was never defined or was deleted.
    pub defined: Option<(Code, BTreeSet<Permission>)>,
}

impl Aggregate for Role {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "role";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match (command, &self.defined) {
            (Command::Define { role, .. }, _) if BUILT_IN_ROLES.contains(&role.as_str()) => {
                Err(Refusal::BuiltIn(role))
            }
            (Command::Define { permissions, .. }, Some((_, same))) if *same == permissions => {
                Ok(vec![])
            }
            (Command::Define { role, permissions }, _) => {
                Ok(vec![RoleDefined { role, permissions }.into()])
            }
            (Command::Delete, Some((role, _))) => {
                Ok(vec![RoleDeleted { role: role.clone() }.into()])
            }
            (Command::Delete, None) => Err(Refusal::NotFound),
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::RoleDefined(RoleDefined { role, permissions }) => {
                self.defined = Some((role.clone(), permissions.clone()));
            }
            Event::RoleDeleted(_) => self.defined = None,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;

    #[test]
    fn a_built_in_role_cannot_be_redefined() {
        let role: Code = "viewer".parse().expect("a code");
        given::<Role>(&[])
            .when(Command::Define { role: role.clone(), permissions: BTreeSet::new() })
            .refused(&Refusal::BuiltIn(role));
    }
}
