//! Who asks, as far as it was verified.

use domain::access::{Actor, Permission};
use domain::values::{OrganizationId, UserId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A verified caller. Made by authentication or for a part of the installation, never from what a
/// request says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// On whose behalf, when it is not their own.
    pub on_behalf_of: Option<UserId>,
    /// Where from: an address, or the part of the installation.
    pub origin: Option<String>,
    /// What the request is known by in logs and traces.
    pub correlation: Option<Uuid>,
    pub(crate) limits: KeyLimits,
}

/// What the key in use is limited to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct KeyLimits {
    pub(crate) scopes: BTreeSet<Permission>,
    pub(crate) only_organization: Option<OrganizationId>,
}

impl Caller {
    /// A part of the installation itself: a flow, a worker, an operator at the machine.
    #[must_use]
    pub fn system(name: &str) -> Self {
        Self::of(Actor::System { name: name.to_owned() })
    }

    /// Nobody we know.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(Actor::Anonymous)
    }

    /// A person who was authenticated otherwise than by a key.
    #[must_use]
    pub fn user(user_id: UserId) -> Self {
        Self::of(Actor::User { user_id })
    }

    pub(crate) fn of(actor: Actor) -> Self {
        let limits = KeyLimits::default();
        Self { actor, on_behalf_of: None, origin: None, correlation: None, limits }
    }

    /// The person who answers for it, when it is one.
    #[must_use]
    pub const fn user_id(&self) -> Option<UserId> {
        match &self.actor {
            Actor::User { user_id } | Actor::ApiKey { user_id, .. } => Some(*user_id),
            Actor::System { .. } | Actor::Anonymous => None,
        }
    }

    /// The one organization that the key in use is limited to.
    #[must_use]
    pub const fn only_organization(&self) -> Option<OrganizationId> {
        self.limits.only_organization
    }

    /// The same caller, with where the request came from and what it is known by.
    #[must_use]
    pub fn with_request(mut self, origin: Option<String>, correlation: Option<Uuid>) -> Self {
        self.origin = origin;
        self.correlation = correlation;
        self
    }
}
