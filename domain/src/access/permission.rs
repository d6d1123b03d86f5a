//! Permissions: `resource:action`, and the built-in roles' matrix.

use crate::values::Code;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$meta:meta])* $Name:ident { $( $(#[$vm:meta])* $Variant:ident $text:literal, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Name { $( $(#[$vm])* $Variant, )* }

        impl $Name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[ $( Self::$Variant ),* ];

            /// As it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $text, )* }
            }
        }
    };
}

words! {
    /// What a permission is about.
    Resource {
        /// People.
        Users "users",
        /// Credits, bills, tiers and prices of tiers.
        Billing "billing",
        /// Organizations and their members.
        Organizations "organizations",
        /// Services and actions on them.
        Services "services",
        /// Models and their prices.
        Models "models",
        /// Figures about use.
        Analytics "analytics",
        /// Roles, meters and the installation's settings.
        Settings "settings",
        /// Logs of services.
        Logs "logs",
        /// Keys of programs.
        ApiKeys "api_keys",
        /// Outgoing notices.
        Webhooks "webhooks",
        /// The audit trail and the history itself.
        Audit "audit",
        /// Usage records.
        Metering "metering",
        /// Purchases.
        Purchases "purchases",
        /// Comparing usage, ledger, invoices and payments.
        Reconciliation "reconciliation",
        /// Files that leave the system.
        Exports "exports",
        /// What is personal or kept for a time: erasure, legal holds, retention.
        PersonalData "personal_data",
    }
}

words! {
    /// What may be done.
    Action {
        /// Look.
        Read "r",
        /// Make and change.
        Write "w",
        /// Remove.
        Delete "d",
        /// Carry out.
        Execute "x",
    }
}

/// One permission, written `billing:w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// About what.
    pub resource: Resource,
    /// To do what.
    pub action: Action,
}

impl Permission {
    /// A permission.
    #[must_use]
    pub const fn new(resource: Resource, action: Action) -> Self {
        Self { resource, action }
    }
}

/// The text is no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a permission; write it like \"billing:r\" (r, w, d or x)")]
pub struct PermissionError(String);

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let found = text.split_once(':').and_then(|(resource, action)| {
            let resource = Resource::ALL.iter().find(|known| known.as_str() == resource)?;
            let action = Action::ALL.iter().find(|known| known.as_str() == action)?;
            Some(Self::new(*resource, *action))
        });
        found.ok_or_else(|| PermissionError(text.chars().take(60).collect()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.resource.as_str(), self.action.as_str())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The platform roles that every installation has.
pub const BUILT_IN_ROLES: &[&str] =
    &["admin", "moderator", "developer", "analyst", "viewer", "auditor", "finance"];

/// Rows of the matrix: resource, then admin, moderator, developer, analyst, viewer, auditor,
/// finance. A test holds every cell against the published matrix.
#[rustfmt::skip]
const MATRIX: &[(Resource, [&str; 7])] = &[
    (Resource::Users,          ["rwdx", "rw",  "r",   "r",   "r", "r", ""]),
    (Resource::Billing,        ["rwdx", "r",   "",    "r",   "",  "r", "r"]),
    (Resource::Organizations,  ["rwdx", "rw",  "r",   "r",   "r", "r", ""]),
    (Resource::Services,       ["rwdx", "rwx", "rx",  "r",   "r", "r", ""]),
    (Resource::Models,         ["rwdx", "rw",  "rwx", "r",   "r", "r", ""]),
    (Resource::Analytics,      ["rwdx", "r",   "r",   "rwx", "r", "",  ""]),
    (Resource::Settings,       ["rwdx", "r",   "r",   "r",   "r", "",  ""]),
    (Resource::Logs,           ["rwd",  "r",   "r",   "r",   "r", "r", ""]),
    (Resource::ApiKeys,        ["rwdx", "rw",  "rwd", "",    "",  "r", ""]),
    (Resource::Webhooks,       ["rwdx", "rw",  "rwd", "",    "",  "",  ""]),
    (Resource::Audit,          ["rx",   "",    "",    "r",   "",  "rx", ""]),
    (Resource::Metering,       ["rwdx", "r",   "r",   "r",   "",  "r", "r"]),
    (Resource::Purchases,      ["rwdx", "r",   "",    "r",   "",  "r", "r"]),
    (Resource::Reconciliation, ["rwdx", "",    "",    "",    "",  "r", "rx"]),
    (Resource::Exports,        ["rwdx", "",    "",    "",    "",  "",  "rx"]),
    (Resource::PersonalData,   ["rwdx", "",    "",    "",    "",  "r", ""]),
];

/// What a built-in platform role may do; `None` for a role that is not built in.
#[must_use]
pub fn built_in_permissions(role: &Code) -> Option<BTreeSet<Permission>> {
    let column = BUILT_IN_ROLES.iter().position(|name| *name == role.as_str())?;
    let cells = MATRIX.iter().flat_map(|(resource, cells)| {
        Action::ALL
            .iter()
            .filter(move |action| cells[column].contains(action.as_str()))
            .map(move |action| Permission::new(*resource, *action))
    });
    Some(cells.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(role: &str, permission: &str) -> bool {
        let role = role.parse().expect("a code");
        built_in_permissions(&role)
            .expect("a built-in role")
            .contains(&permission.parse().expect("a permission"))
    }

    #[test]
    fn a_permission_is_read_as_it_is_written() {
        for resource in Resource::ALL {
            for action in Action::ALL {
                let permission = Permission::new(*resource, *action);
                assert_eq!(permission.to_string().parse(), Ok(permission));
            }
        }
        assert!("billing".parse::<Permission>().is_err());
        assert!("billing:q".parse::<Permission>().is_err());
    }

    #[test]
    fn an_auditor_reads_history_and_changes_nothing() {
        assert!(may("auditor", "audit:x") && may("auditor", "billing:r"));
        for resource in Resource::ALL {
            for action in [Action::Write, Action::Delete] {
                assert!(!may("auditor", &Permission::new(*resource, action).to_string()));
            }
        }
    }

    #[test]
    fn only_an_administrator_erases_and_purges() {
        for role in BUILT_IN_ROLES {
            for permission in ["personal_data:w", "personal_data:d", "personal_data:x"] {
                assert_eq!(may(role, permission), *role == "admin", "{role} {permission}");
            }
        }
    }

    #[test]
    fn a_viewer_sees_neither_bills_nor_keys_nor_the_audit_trail() {
        for permission in ["billing:r", "api_keys:r", "webhooks:r", "audit:r"] {
            assert!(!may("viewer", permission), "{permission}");
        }
        assert!(may("viewer", "services:r") && !may("viewer", "services:x"));
    }
}
