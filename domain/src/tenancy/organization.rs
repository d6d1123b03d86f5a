//! An organization: its members and their roles, its tier, its standing.
//!
//! Lifecycle: active ⇄ suspended → closed. There is always at least one owner: the last one can
//! neither leave nor step down before somebody else is made owner.

use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{Code, OrganizationId, Text, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// What a member may do inside the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrganizationRole {
    /// Everything.
    Owner,
    /// Members and settings, but no owners.
    Admin,
    /// Billing only.
    BillingAdmin,
    /// Uses what the organization has.
    Member,
}

impl OrganizationRole {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[Self::Owner, Self::Admin, Self::BillingAdmin, Self::Member];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::BillingAdmin => "billing_admin",
            Self::Member => "member",
        }
    }
}

impl FromStr for OrganizationRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|role| role.as_str() == text);
        found.copied().ok_or_else(|| {
            format!("{text:?} is not a role; use owner, admin, billing_admin or member")
        })
    }
}

events! {
    /// What can have happened to an organization.
    pub enum Event {
        /// The organization exists.
        OrganizationCreated = "organization_created" 1 "organization.create" {
            /// Which.
            organization_id: OrganizationId,
            /// The short name that people type.
            slug: Code,
            /// The name that people read.
            name: Text,
            /// Its first owner.
            owner: UserId,
            /// Its tier.
            tier: Code,
            /// The version of the tier.
            tier_version: u32,
        }
        /// The organization goes by another name.
        OrganizationRenamed = "organization_renamed" 1 "organization.update" {
            /// Which.
            organization_id: OrganizationId,
            /// The name that people read.
            name: Text,
        }
        /// The organization is on another tier from now on.
        OrganizationTierChanged = "organization_tier_changed" 1 "subscription.change" {
            /// Which.
            organization_id: OrganizationId,
            /// Its tier.
            tier: Code,
            /// The version of the tier.
            tier_version: u32,
            /// Why.
            reason: Text,
        }
        /// Somebody belongs to it.
        MemberAdded = "member_added" 1 "organization.member.add" {
            /// Which.
            organization_id: OrganizationId,
            /// Who.
            user_id: UserId,
            /// As what.
            role: OrganizationRole,
        }
        /// A member has another role.
        MemberRoleChanged = "member_role_changed" 1 "organization.member.change" {
            /// Which.
            organization_id: OrganizationId,
            /// Who.
            user_id: UserId,
            /// As what from now on.
            role: OrganizationRole,
        }
        /// Somebody does not belong to it any more.
        MemberRemoved = "member_removed" 1 "organization.member.remove" {
            /// Which.
            organization_id: OrganizationId,
            /// Who.
            user_id: UserId,
        }
        /// Nothing may be done in its name until reactivated.
        OrganizationSuspended = "organization_suspended" 1 "organization.suspend" {
            /// Which.
            organization_id: OrganizationId,
            /// Why.
            reason: Text,
        }
        /// The suspension ended.
        OrganizationReactivated = "organization_reactivated" 1 "organization.update" {
            /// Which.
            organization_id: OrganizationId,
        }
        /// It is over.
        OrganizationClosed = "organization_closed" 1 "organization.close" {
            /// Which.
            organization_id: OrganizationId,
            /// Why.
            reason: Text,
        }
    }
}

/// What can be asked of an organization's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Bring it into being.
    Create(Box<OrganizationCreated>),
    /// Give it another name.
    Rename {
        /// The name that people read.
        name: Text,
    },
    /// Put it on a tier; that the version exists is checked by whoever reads the catalogue.
    ChangeTier {
        /// Its tier.
        tier: Code,
        /// The version of the tier.
        tier_version: u32,
        /// Why.
        reason: Text,
    },
    /// Let somebody belong to it.
    AddMember {
        /// Who.
        user_id: UserId,
        /// As what.
        role: OrganizationRole,
        /// Whether the asker may make owners.
        by_owner: bool,
    },
    /// Give a member another role.
    ChangeMemberRole {
        /// Who.
        user_id: UserId,
        /// As what.
        role: OrganizationRole,
        /// Whether the asker may make and unmake owners.
        by_owner: bool,
    },
    /// Let a member go.
    RemoveMember {
        /// Who.
        user_id: UserId,
        /// Whether the asker may unmake owners.
        by_owner: bool,
    },
    /// Stop everything in its name.
    Suspend {
        /// Why.
        reason: Text,
    },
    /// End a suspension.
    Reactivate,
    /// End it for good.
    Close {
        /// Why.
        reason: Text,
    },
}

/// Why an organization's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such organization.
    #[error("there is no such organization")]
    NotFound,
    /// The id is taken.
    #[error("an organization with this id exists already")]
    Exists,
    /// A closed organization does nothing.
    #[error("the organization is closed")]
    Closed,
    /// Somebody has to be responsible.
    #[error("the last owner can neither leave nor step down; make somebody else owner first")]
    LastOwner,
    /// Owners are made and unmade by owners.
    #[error("only an owner can make or unmake an owner")]
    OwnersOnly,
    /// Not a member.
    #[error("the user is not a member of the organization")]
    NotAMember,
    /// A member already, with another role.
    #[error("the user is a member already, as {0}; change the role instead")]
    Member(&'static str),
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "ORGANIZATION_NOT_FOUND",
            Self::Exists => "ORGANIZATION_EXISTS",
            Self::Closed => "ORGANIZATION_CLOSED",
            Self::LastOwner => "ORGANIZATION_LAST_OWNER",
            Self::OwnersOnly => "ORGANIZATION_OWNERS_ONLY",
            Self::NotAMember => "MEMBER_NOT_FOUND",
            Self::Member(_) => "MEMBER_EXISTS",
        }
    }
}

/// The standing of an organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// May act.
    #[default]
    Active,
    /// Stopped for now.
    Suspended,
    /// Over.
    Closed,
}

impl Status {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

/// An organization as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Organization {
    /// The id, once it exists.
    pub id: Option<OrganizationId>,
    /// The short name that people type.
    pub slug: Option<Code>,
    /// Its standing.
    pub status: Status,
    /// Tier and version.
    pub tier: Option<(Code, u32)>,
    /// Who belongs to it, as what.
    pub members: BTreeMap<UserId, OrganizationRole>,
}

impl Organization {
    fn owners(&self) -> usize {
        self.members.values().filter(|role| **role == OrganizationRole::Owner).count()
    }

    fn add(
        &self,
        organization_id: OrganizationId,
        user_id: UserId,
        role: OrganizationRole,
        by_owner: bool,
    ) -> Result<Vec<Event>, Refusal> {
        match self.members.get(&user_id) {
            Some(same) if *same == role => Ok(vec![]),
            Some(other) => Err(Refusal::Member(other.as_str())),
            None if role == OrganizationRole::Owner && !by_owner => Err(Refusal::OwnersOnly),
            None => Ok(vec![MemberAdded { organization_id, user_id, role }.into()]),
        }
    }

    fn change(
        &self,
        organization_id: OrganizationId,
        user_id: UserId,
        role: OrganizationRole,
        by_owner: bool,
    ) -> Result<Vec<Event>, Refusal> {
        let current = *self.members.get(&user_id).ok_or(Refusal::NotAMember)?;
        if current == role {
            return Ok(vec![]);
        }
        let touches_owner = [current, role].contains(&OrganizationRole::Owner);
        if touches_owner && !by_owner {
            return Err(Refusal::OwnersOnly);
        }
        if current == OrganizationRole::Owner && self.owners() == 1 {
            return Err(Refusal::LastOwner);
        }
        Ok(vec![MemberRoleChanged { organization_id, user_id, role }.into()])
    }

    fn remove(
        &self,
        organization_id: OrganizationId,
        user_id: UserId,
        by_owner: bool,
    ) -> Result<Vec<Event>, Refusal> {
        match self.members.get(&user_id) {
            None => Ok(vec![]),
            Some(OrganizationRole::Owner) if !by_owner => Err(Refusal::OwnersOnly),
            Some(OrganizationRole::Owner) if self.owners() == 1 => Err(Refusal::LastOwner),
            Some(_) => Ok(vec![MemberRemoved { organization_id, user_id }.into()]),
        }
    }

    fn change_tier(
        &self,
        organization_id: OrganizationId,
        tier: Code,
        tier_version: u32,
        reason: Text,
    ) -> Vec<Event> {
        if self.tier.as_ref() == Some(&(tier.clone(), tier_version)) {
            return vec![];
        }
        vec![OrganizationTierChanged { organization_id, tier, tier_version, reason }.into()]
    }
}

impl Aggregate for Organization {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "organization";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let organization_id = match (self.id, command) {
            (None, Command::Create(created)) => {
                return Ok(vec![Event::OrganizationCreated(*created)]);
            }
            (Some(_), Command::Create(_)) => return Err(Refusal::Exists),
            (None, _) => return Err(Refusal::NotFound),
            (Some(_), Command::Close { .. }) if self.status == Status::Closed => {
                return Ok(vec![]);
            }
            (Some(_), _) if self.status == Status::Closed => return Err(Refusal::Closed),
            (Some(id), command) => (id, command),
        };
        let (organization_id, command) = organization_id;
        let suspended = self.status == Status::Suspended;
        match command {
            Command::Create(_) => Err(Refusal::Exists),
            Command::Rename { name } => {
                Ok(vec![OrganizationRenamed { organization_id, name }.into()])
            }
            Command::ChangeTier { tier, tier_version, reason } => {
                Ok(self.change_tier(organization_id, tier, tier_version, reason))
            }
            Command::AddMember { user_id, role, by_owner } => {
                self.add(organization_id, user_id, role, by_owner)
            }
            Command::ChangeMemberRole { user_id, role, by_owner } => {
                self.change(organization_id, user_id, role, by_owner)
            }
            Command::RemoveMember { user_id, by_owner } => {
                self.remove(organization_id, user_id, by_owner)
            }
            Command::Suspend { .. } if suspended => Ok(vec![]),
            Command::Suspend { reason } => {
                Ok(vec![OrganizationSuspended { organization_id, reason }.into()])
            }
            Command::Reactivate if !suspended => Ok(vec![]),
            Command::Reactivate => Ok(vec![OrganizationReactivated { organization_id }.into()]),
            Command::Close { reason } => {
                Ok(vec![OrganizationClosed { organization_id, reason }.into()])
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::OrganizationCreated(created) => {
                self.id = Some(created.organization_id);
                self.slug = Some(created.slug.clone());
                self.tier = Some((created.tier.clone(), created.tier_version));
                self.members.insert(created.owner, OrganizationRole::Owner);
            }
            Event::OrganizationRenamed(_) => {}
            Event::OrganizationTierChanged(changed) => {
                self.tier = Some((changed.tier.clone(), changed.tier_version));
            }
            Event::MemberAdded(MemberAdded { user_id, role, .. })
            | Event::MemberRoleChanged(MemberRoleChanged { user_id, role, .. }) => {
                self.members.insert(*user_id, *role);
            }
            Event::MemberRemoved(removed) => {
                self.members.remove(&removed.user_id);
            }
            Event::OrganizationSuspended(_) => self.status = Status::Suspended,
            Event::OrganizationReactivated(_) => self.status = Status::Active,
            Event::OrganizationClosed(_) => self.status = Status::Closed,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;
    use uuid::Uuid;

    const fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    fn created() -> Event {
        OrganizationCreated {
            organization_id: OrganizationId::new(Uuid::from_u128(9)),
            slug: "acme".parse().expect("a code"),
            name: "Acme".parse().expect("a text"),
            owner: user(1),
            tier: "free".parse().expect("a code"),
            tier_version: 1,
        }
        .into()
    }

    #[test]
    fn the_last_owner_can_neither_leave_nor_step_down() {
        given::<Organization>(&[created()])
            .when(Command::RemoveMember { user_id: user(1), by_owner: true })
            .refused(&Refusal::LastOwner);
        given::<Organization>(&[created()])
            .when(Command::ChangeMemberRole {
                user_id: user(1),
                role: OrganizationRole::Member,
                by_owner: true,
            })
            .refused(&Refusal::LastOwner);
    }

    #[test]
    fn an_admin_cannot_make_an_owner() {
        given::<Organization>(&[created()])
            .when(Command::AddMember {
                user_id: user(2),
                role: OrganizationRole::Owner,
                by_owner: false,
            })
            .refused(&Refusal::OwnersOnly);
    }

    #[test]
    fn a_closed_organization_takes_no_member() {
        let closed = OrganizationClosed {
            organization_id: OrganizationId::new(Uuid::from_u128(9)),
            reason: "left".parse().expect("a text"),
        };
        given::<Organization>(&[created(), closed.into()])
            .when(Command::AddMember {
                user_id: user(2),
                role: OrganizationRole::Member,
                by_owner: true,
            })
            .refused(&Refusal::Closed);
    }
}
