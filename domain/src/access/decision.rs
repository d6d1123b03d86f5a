//! The one function that says who may.

use super::permission::{Action, Permission, Resource};
use crate::tenancy::OrganizationRole;
use crate::values::OrganizationId;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody holds, at whatever moment it was read for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants {
    /// Whether the person and the credential are in good standing.
    pub active: bool,
    /// Whether this is the installation itself.
    pub system: bool,
    /// What the platform roles held allow, together.
    pub platform: BTreeSet<Permission>,
    /// Roles in organizations.
    pub memberships: BTreeMap<OrganizationId, OrganizationRole>,
    /// Limits of the key in use: nothing beyond these, when there are any.
    pub scopes: BTreeSet<Permission>,
    /// The one organization the key in use is limited to.
    pub only_organization: Option<OrganizationId>,
}

/// What it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The platform as a whole.
    Platform,
    /// One organization's things.
    Organization(OrganizationId),
}

/// Yes or no, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, because of this.
    Allow(&'static str),
    /// No, because of this.
    Deny(&'static str),
}

impl Decision {
    /// Whether it is a yes.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// Says whether whoever holds `grants` may do `permission` within `scope`.
#[must_use]
pub fn decide(grants: &Grants, permission: Permission, scope: Scope) -> Decision {
    if grants.system {
        return Decision::Allow("the installation itself asks");
    }
    if !grants.active {
        return Decision::Deny("the user or the key is unknown, suspended or no longer valid");
    }
    if !grants.scopes.is_empty() && !grants.scopes.contains(&permission) {
        return Decision::Deny("the key's scopes do not include it");
    }
    if let Some(only) = grants.only_organization {
        match scope {
            Scope::Organization(organization) if organization == only => {}
            Scope::Organization(_) => return Decision::Deny("the key is for another organization"),
            Scope::Platform => return Decision::Deny("the key is for one organization only"),
        }
    }
    if grants.platform.contains(&permission) {
        return Decision::Allow("a platform role includes it");
    }
    if let Scope::Organization(organization) = scope
        && let Some(role) = grants.memberships.get(&organization)
        && organization_role_allows(*role, permission)
    {
        return Decision::Allow("the role in the organization includes it");
    }
    Decision::Deny("no role held includes it")
}

/// What a role inside an organization may do with that organization's things.
///
/// Granting credits, recording that money arrived and refunding are the platform's: no
/// organization role includes `billing:w` or `purchases:x`, else a customer could pay themselves.
#[must_use]
pub fn organization_role_allows(role: OrganizationRole, permission: Permission) -> bool {
    use Action::{Delete, Execute, Read, Write};
    use Resource::{
        Analytics, ApiKeys, Audit, Billing, Exports, Metering, Organizations, Purchases, Users,
    };
    let Permission { resource, action } = permission;
    let member = matches!(
        (resource, action),
        (Organizations | Users | Metering | Analytics | Billing, Read)
            | (Billing, Execute)
            | (Metering, Write)
    );
    let billing = matches!((resource, action), (Purchases, Read | Write) | (Exports, Execute));
    let admin = matches!(
        (resource, action),
        (Organizations, Write) | (ApiKeys, Read | Write | Delete) | (Audit, Read)
    );
    match role {
        OrganizationRole::Member => member,
        OrganizationRole::BillingAdmin => {
            billing || matches!((resource, action), (Billing | Metering | Organizations, Read))
        }
        OrganizationRole::Admin => member || admin,
        OrganizationRole::Owner => {
            member || billing || admin || matches!((resource, action), (Organizations, Delete))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn organization(number: u128) -> OrganizationId {
        OrganizationId::new(Uuid::from_u128(number))
    }

    fn owner() -> Grants {
        Grants {
            active: true,
            memberships: [(organization(1), OrganizationRole::Owner)].into(),
            ..Grants::default()
        }
    }

    fn permission(text: &str) -> Permission {
        text.parse().expect("a permission")
    }

    #[test]
    fn an_owner_has_no_say_in_another_organization() {
        let write = permission("organizations:w");
        assert!(decide(&owner(), write, Scope::Organization(organization(1))).is_allowed());
        assert!(!decide(&owner(), write, Scope::Organization(organization(2))).is_allowed());
        assert!(!decide(&owner(), write, Scope::Platform).is_allowed());
    }

    #[test]
    fn nobody_in_an_organization_can_give_it_credits_or_confirm_its_payment() {
        for role in OrganizationRole::ALL {
            for text in ["billing:w", "purchases:x", "purchases:d"] {
                assert!(!organization_role_allows(*role, permission(text)), "{role:?} {text}");
            }
        }
    }

    #[test]
    fn a_suspended_admin_may_nothing() {
        let mut grants = owner();
        grants.platform.insert(permission("users:r"));
        assert!(decide(&grants, permission("users:r"), Scope::Platform).is_allowed());
        grants.active = false;
        assert!(!decide(&grants, permission("users:r"), Scope::Platform).is_allowed());
    }

    #[test]
    fn a_key_may_no_more_than_its_scopes_and_its_organization() {
        let mut grants = owner();
        grants.scopes.insert(permission("metering:w"));
        grants.only_organization = Some(organization(1));
        let here = Scope::Organization(organization(1));
        assert!(decide(&grants, permission("metering:w"), here).is_allowed());
        assert!(!decide(&grants, permission("organizations:w"), here).is_allowed());
        grants.only_organization = Some(organization(2));
        assert!(!decide(&grants, permission("metering:w"), here).is_allowed());
    }
}
