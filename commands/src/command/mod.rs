//! Every command that can be asked: its inputs, the right it needs, what it is about.
//!
//! One file per context; one variant is one mutation of the API or one thing that a flow or a
//! worker asks for. Ids of what is created are not inputs: they follow from the command's id. What
//! is hashed to tell a repeat from a reuse is the serialized command.

mod access;
mod catalogue;
mod commerce;
mod credits;
mod operations;
mod retention;
mod tenancy;

pub use access::AccessCommand;
pub use catalogue::CatalogueCommand;
pub use commerce::PurchaseCommand;
pub use credits::CreditCommand;
pub use operations::ServiceCommand;
pub use retention::RetentionCommand;
pub use tenancy::TenancyCommand;

use domain::access::{Action, Permission, Resource, Scope};
use domain::retention::HoldTarget;
use domain::values::{
    ApiKeyId, Code, GrantId, HoldId, LegalHoldId, ModelName, OrganizationId, PurchaseId,
    ServiceActionId, ServiceId, SpendId, UserId,
};
use serde::Serialize;
use uuid::Uuid;

/// The thing that a command made or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A user.
    User(UserId),
    /// An API key.
    ApiKey(ApiKeyId),
    /// An organization.
    Organization(OrganizationId),
    /// A role.
    Role(Code),
    /// A tier.
    Tier(Code),
    /// An add-on.
    AddOn(Code),
    /// A credit pack.
    CreditPack(Code),
    /// A meter.
    Meter(Code),
    /// A model.
    Model(ModelName),
    /// The rate card.
    RateCard,
    /// A credit grant of an organization.
    Grant(OrganizationId, GrantId),
    /// A credit spend of an organization.
    Spend(OrganizationId, SpendId),
    /// A credit hold of an organization.
    Hold(OrganizationId, HoldId),
    /// The credit account of an organization.
    CreditAccount(OrganizationId),
    /// A purchase.
    Purchase(PurchaseId),
    /// A service.
    Service(ServiceId),
    /// An action on a service.
    ServiceAction(ServiceId, ServiceActionId),
    /// A legal hold on a person or an organization.
    LegalHold(HoldTarget, LegalHoldId),
    /// For how long things of an organization, or of the platform itself, are kept.
    Retention(Option<OrganizationId>),
    /// The installation.
    Installation,
}

impl Subject {
    /// The stream that tells its history.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::User(id) => format!("user/{id}"),
            Self::ApiKey(id) => format!("api_key/{id}"),
            Self::Organization(id) => format!("organization/{id}"),
            Self::Role(code) => format!("role/{code}"),
            Self::Tier(code) => format!("tier/{code}"),
            Self::AddOn(code) => format!("add_on/{code}"),
            Self::CreditPack(code) => format!("credit_pack/{code}"),
            Self::Meter(code) => format!("meter/{code}"),
            Self::Model(name) => format!("model/{name}"),
            Self::RateCard => "rate_card/default".to_owned(),
            Self::Grant(id, _)
            | Self::Spend(id, _)
            | Self::Hold(id, _)
            | Self::CreditAccount(id) => format!("credit_account/{id}"),
            Self::Purchase(id) => format!("purchase/{id}"),
            Self::Service(id) | Self::ServiceAction(id, _) => format!("service/{id}"),
            Self::LegalHold(target, _) => format!("legal_hold/{target}"),
            Self::Retention(Some(id)) => format!("retention/{id}"),
            Self::Retention(None) => "retention/platform".to_owned(),
            Self::Installation => "installation".to_owned(),
        }
    }
}

macro_rules! commands {
    ($( $(#[$meta:meta])* $Variant:ident($ty:ty), )*) => {
        /// Anything that can be asked, except recording usage, which has a way of its own for its
        /// volume.
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        pub enum Command {
            $( $(#[$meta])* $Variant($ty), )*
        }

        impl Command {
            /// The name that the API and the audit trail use.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $( Self::$Variant(command) => command.name(), )* }
            }

            /// Who may ask it.
            #[must_use]
            pub const fn right(&self) -> Right {
                match self { $( Self::$Variant(command) => command.right(), )* }
            }

            /// What it makes or changes, known before it is carried out.
            #[must_use]
            pub fn subject(&self, command_id: Uuid) -> Subject {
                match self { $( Self::$Variant(command) => command.subject(command_id), )* }
            }
        }

        $(
            impl From<$ty> for Command {
                fn from(command: $ty) -> Self {
                    Self::$Variant(command)
                }
            }
        )*
    };
}

commands! {
    /// About people, roles, keys and the first administrator.
    Access(AccessCommand),
    /// About organizations and their members.
    Tenancy(TenancyCommand),
    /// About what is offered and at which price.
    Catalogue(CatalogueCommand),
    /// About credits.
    Credits(CreditCommand),
    /// About purchases.
    Commerce(PurchaseCommand),
    /// About services and the actions on them.
    Operations(ServiceCommand),
    /// About legal holds and retention.
    Retention(RetentionCommand),
}

/// The random parts of a key that is about to be made; its secret is not among them.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The part it is found by.
    pub public_part: String,
    /// SHA-256 of its secret, in hexadecimal.
    pub secret_hash: String,
}

/// Who may ask a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Whoever holds a permission within a scope.
    Permission(Permission, Scope),
    /// The person themself for a key of their own; for anybody else's only an administrator,
    /// because a key acts for its user.
    NewKeyFor(UserId, Option<OrganizationId>),
    /// Whoever may do this to this key: its owner, its organization's, or the platform's.
    OfKey(ApiKeyId, Action),
    /// Parts of the installation only.
    SystemOnly,
    /// Anybody: the command carries a secret that the domain checks.
    TokenInside,
}

impl Right {
    /// Whose history a denial of it belongs to.
    pub(crate) const fn tenant(&self) -> Uuid {
        match self {
            Self::Permission(_, Scope::Organization(organization))
            | Self::NewKeyFor(_, Some(organization)) => organization.uuid(),
            Self::Permission(_, Scope::Platform)
            | Self::NewKeyFor(_, None)
            | Self::OfKey(..)
            | Self::SystemOnly
            | Self::TokenInside => Uuid::nil(),
        }
    }
}

const fn platform(resource: Resource, action: Action) -> Right {
    Right::Permission(Permission::new(resource, action), Scope::Platform)
}

const fn of(organization: OrganizationId, resource: Resource, action: Action) -> Right {
    Right::Permission(Permission::new(resource, action), Scope::Organization(organization))
}
