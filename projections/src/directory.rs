//! The directory: users, organizations and their members, roles, API keys, tiers.
//!
//! E-mail addresses and names stay sealed here, as the log holds them: a reader opens them with the
//! key ring, and once a person's key is destroyed nobody can. Of an API key the directory has what
//! it is found by and what it may do, and never its hash.

use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use domain::access::role::{self, RoleDefined};
use domain::catalogue::tier::{self, TierVersionPublished};
use domain::identity::api_key::{self, ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated};
use domain::identity::user as person;
use domain::tenancy::{self, OrganizationRole};
use domain::values::{OrganizationId, Text, UserId};
use domain::{Event, Personal};
use std::collections::BTreeSet;

mod read;
mod rows;

pub use read::{
    api_key_by_public_part, api_keys_of_user, members, memberships, organization,
    organization_by_slug, organizations, organizations_by_id, roles, tier_versions, user, users,
    users_by_id,
};
pub use rows::{ApiKey, Member, Organization, Role, Rows, TierVersion, User};

/// Who and what there is: for administration and for looking things up by name.
#[derive(Debug)]
pub struct Directory;

impl Projection for Directory {
    const NAME: &'static str = "directory";
    const VERSION: i32 = 2;
    const TAKES: Takes = Takes::Of(&[
        person::Event::NAMES,
        tenancy::Event::NAMES,
        role::Event::NAMES,
        api_key::Event::NAMES,
        tier::Event::NAMES,
    ]);
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        match &occurrence.event {
            Event::User(event) => take_user(occurrence, event, rows),
            Event::Organization(event) => take_organization(occurrence, event, rows),
            Event::Role(event) => {
                take_role(occurrence, event, rows);
                Ok(())
            }
            Event::ApiKey(event) => take_api_key(occurrence, event, rows),
            Event::Tier(tier::Event::TierVersionPublished(published)) => {
                take_tier(occurrence, published, rows);
                Ok(())
            }
            Event::Usage(_)
            | Event::CreditAccount(_)
            | Event::AddOn(_)
            | Event::CreditPack(_)
            | Event::Meter(_)
            | Event::Model(_)
            | Event::RateCard(_)
            | Event::Purchase(_)
            | Event::Service(_)
            | Event::Installation(_)
            | Event::Security(_)
            | Event::LegalHold(_)
            | Event::Retention(_)
            | Event::Purged(_) => Ok(()),
        }
    }
}

fn take_user(
    occurrence: &Occurrence,
    event: &person::Event,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    let position = occurrence.position;
    let mut change = |user_id: UserId, change: &dyn Fn(&mut User)| {
        rows.users.change(&(user_id,), |row| {
            change(row);
            row.position = position;
            Ok(())
        })
    };
    match event {
        person::Event::UserInvited(invited) => {
            rows.users.put(User {
                user_id: invited.user_id,
                status: person::Status::Invited.as_str().to_owned(),
                email: invited.email.clone(),
                name: invited.name.clone(),
                roles: BTreeSet::new(),
                reason: None,
                created_at: occurrence.recorded_at,
                position,
            });
            Ok(())
        }
        person::Event::UserActivated(person::UserActivated { user_id })
        | person::Event::UserReactivated(person::UserReactivated { user_id }) => {
            change(*user_id, &|row| row.stands(person::Status::Active, None))
        }
        person::Event::UserSuspended(it) => change(it.user_id, &|row| {
            row.stands(person::Status::Suspended, Some(&it.reason));
        }),
        person::Event::UserDeactivated(it) => change(it.user_id, &|row| {
            row.stands(person::Status::Deactivated, Some(&it.reason));
        }),
        person::Event::UserRoleAssigned(it) => change(it.user_id, &|row| {
            row.roles.insert(it.role.clone());
        }),
        person::Event::UserRoleRemoved(it) => change(it.user_id, &|row| {
            row.roles.remove(&it.role);
        }),
        // What is sealed goes with the request: there is nothing to show any more.
        person::Event::UserErasureRequested(it) => change(it.user_id, &|row| {
            row.email = Personal::Erased;
            row.name = Personal::Erased;
            row.stands(person::Status::Erasing, None);
        }),
        person::Event::UserErased(it) => {
            change(it.user_id, &|row| row.stands(person::Status::Erased, None))
        }
    }
}

impl User {
    fn stands(&mut self, status: person::Status, reason: Option<&Text>) {
        status.as_str().clone_into(&mut self.status);
        self.reason = reason.cloned();
    }
}

impl Organization {
    fn stands(&mut self, status: tenancy::organization::Status, reason: Option<&Text>) {
        status.as_str().clone_into(&mut self.status);
        self.reason = reason.cloned();
    }
}

fn take_organization(
    occurrence: &Occurrence,
    event: &tenancy::Event,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    use tenancy::Event as It;
    let Rows { organizations, members, .. } = rows;
    let (position, since) = (occurrence.position, occurrence.recorded_at);
    let mut change = |id: OrganizationId, change: &dyn Fn(&mut Organization)| {
        organizations.change(&(id,), |row| {
            change(row);
            row.position = position;
            Ok(())
        })
    };
    let member = |organization_id, user_id, role| Member { organization_id, user_id, role, since };
    match event {
        It::OrganizationCreated(made) => {
            members.put(member(made.organization_id, made.owner, OrganizationRole::Owner));
            organizations.put(Organization {
                organization_id: made.organization_id,
                slug: made.slug.clone(),
                name: made.name.clone(),
                status: tenancy::organization::Status::Active.as_str().to_owned(),
                tier: made.tier.clone(),
                tier_version: made.tier_version,
                members: 1,
                reason: None,
                created_at: since,
                position,
            });
            Ok(())
        }
        It::OrganizationRenamed(it) => change(it.organization_id, &|row| {
            row.name = it.name.clone();
        }),
        It::OrganizationTierChanged(it) => change(it.organization_id, &|row| {
            row.tier = it.tier.clone();
            row.tier_version = it.tier_version;
        }),
        It::MemberAdded(it) => {
            members.put(member(it.organization_id, it.user_id, it.role));
            change(it.organization_id, &|row| row.members = row.members.saturating_add(1))
        }
        It::MemberRoleChanged(it) => members.change(&(it.organization_id, it.user_id), |row| {
            row.role = it.role;
            Ok(())
        }),
        It::MemberRemoved(it) => {
            members.remove(&(it.organization_id, it.user_id));
            change(it.organization_id, &|row| {
                row.members = row.members.saturating_sub(1);
            })
        }
        It::OrganizationSuspended(it) => change(it.organization_id, &|row| {
            row.stands(tenancy::organization::Status::Suspended, Some(&it.reason));
        }),
        It::OrganizationReactivated(it) => change(it.organization_id, &|row| {
            row.stands(tenancy::organization::Status::Active, None);
        }),
        It::OrganizationClosed(it) => change(it.organization_id, &|row| {
            row.stands(tenancy::organization::Status::Closed, Some(&it.reason));
        }),
    }
}

fn take_role(occurrence: &Occurrence, event: &role::Event, rows: &mut Rows) {
    match event {
        role::Event::RoleDefined(RoleDefined { role, permissions }) => rows.roles.put(Role {
            role: role.clone(),
            permissions: permissions.clone(),
            position: occurrence.position,
        }),
        role::Event::RoleDeleted(deleted) => rows.roles.remove(&(deleted.role.clone(),)),
    }
}

fn take_api_key(
    occurrence: &Occurrence,
    event: &api_key::Event,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    let position = occurrence.position;
    match event {
        api_key::Event::ApiKeyCreated(made) => {
            rows.api_keys.put(new_api_key(occurrence, made));
            Ok(())
        }
        api_key::Event::ApiKeyRevoked(ApiKeyRevoked { api_key_id, reason }) => {
            rows.api_keys.change(&(*api_key_id,), |row| {
                row.revoked_at = Some(occurrence.recorded_at);
                row.reason = Some(reason.clone());
                row.position = position;
                Ok(())
            })
        }
        api_key::Event::ApiKeyRotated(ApiKeyRotated { api_key_id, replaced_by, valid_until }) => {
            rows.api_keys.change(&(*api_key_id,), |row| {
                row.replaced_by = Some(*replaced_by);
                row.valid_until = Some(*valid_until);
                row.position = position;
                Ok(())
            })
        }
    }
}

fn new_api_key(occurrence: &Occurrence, made: &ApiKeyCreated) -> ApiKey {
    ApiKey {
        api_key_id: made.api_key_id,
        name: made.name.clone(),
        public_part: made.public_part.clone(),
        user_id: made.user_id,
        organization_id: made.organization_id,
        scopes: made.scopes.clone(),
        created_at: occurrence.recorded_at,
        expires_at: made.expires_at,
        revoked_at: None,
        reason: None,
        replaced_by: None,
        valid_until: None,
        position: occurrence.position,
    }
}

fn take_tier(occurrence: &Occurrence, published: &TierVersionPublished, rows: &mut Rows) {
    rows.tiers.put(TierVersion {
        tier: published.tier.clone(),
        version: published.version,
        effective_from: published.terms.effective_from,
        terms: published.terms.clone(),
        position: occurrence.position,
    });
}
