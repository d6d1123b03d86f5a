//! The tables of the directory.

use crate::table::{row_set, table};
use domain::access::Permission;
use domain::catalogue::tier::Terms;
use domain::tenancy::OrganizationRole;
use domain::values::{ApiKeyId, Code, OrganizationId, Text, UserId};
use domain::{Instant, Personal};
use event_log::Position;
use std::collections::BTreeSet;

table! {
    /// A person.
    pub struct User in "directory_user" (user_id: UserId), temporal {
        /// Who.
        user_id: UserId = "text collate \"C\" not null",
        /// `invited`, `active`, `suspended`, `deactivated`, `erasing` or `erased`.
        status: String = "text not null",
        /// E-mail address, sealed with the key of the user; nothing once they are erased.
        email: Personal = "text",
        /// Display name, sealed. Nothing once they are erased.
        name: Personal = "text",
        /// Platform roles held.
        roles: BTreeSet<Code> = "jsonb not null",
        /// Why the user is suspended or gone.
        reason: Option<Text> = "text",
        /// When the user was invited.
        created_at: Instant = "timestamptz not null",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
}

table! {
    /// An organization.
    pub struct Organization in "directory_organization"
        (organization_id: OrganizationId), temporal
    {
        /// Which.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// The short name that people type.
        slug: Code = "text collate \"C\" not null",
        /// The name that people read.
        name: Text = "text not null",
        /// `active`, `suspended` or `closed`.
        status: String = "text not null",
        /// Its tier.
        tier: Code = "text not null",
        /// The version of the tier.
        tier_version: u32 = "integer not null",
        /// How many belong to it.
        members: u32 = "integer not null",
        /// Why it is suspended or closed.
        reason: Option<Text> = "text",
        /// When it was created.
        created_at: Instant = "timestamptz not null",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
    index "slug"
}

table! {
    /// Somebody who belongs to an organization.
    pub struct Member in "directory_member"
        (organization_id: OrganizationId, user_id: UserId), temporal
    {
        /// Which organization.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// Who.
        user_id: UserId = "text collate \"C\" not null",
        /// As what.
        role: OrganizationRole = "text not null",
        /// Since when.
        since: Instant = "timestamptz not null",
    }
    index "user_id, organization_id"
}

table! {
    /// A role defined here, beside the built-in ones.
    pub struct Role in "directory_role" (role: Code), temporal {
        /// Its name.
        role: Code = "text collate \"C\" not null",
        /// What it may do.
        permissions: BTreeSet<Permission> = "jsonb not null",
        /// The event that says so.
        position: Position = "bigint not null",
    }
}

table! {
    /// An API key.
    pub struct ApiKey in "directory_api_key" (api_key_id: ApiKeyId), temporal {
        /// Which.
        api_key_id: ApiKeyId = "text collate \"C\" not null",
        /// What it is for, in its owner's words.
        name: Text = "text not null",
        /// The part it is found by.
        public_part: String = "text collate \"C\" not null",
        /// Whom it acts for.
        user_id: UserId = "text collate \"C\" not null",
        /// The one organization it is limited to, if it is.
        organization_id: Option<OrganizationId> = "text collate \"C\"",
        /// What it may do at most; without any, what its user may.
        scopes: BTreeSet<Permission> = "jsonb not null",
        /// When it was made.
        created_at: Instant = "timestamptz not null",
        /// When it stops working, if it does.
        expires_at: Option<Instant> = "timestamptz",
        /// When it was revoked.
        revoked_at: Option<Instant> = "timestamptz",
        /// Why it was revoked.
        reason: Option<Text> = "text",
        /// The key that takes over.
        replaced_by: Option<ApiKeyId> = "text",
        /// Until when it works after a rotation.
        valid_until: Option<Instant> = "timestamptz",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
    index "public_part"
    index "user_id, api_key_id"
}

table! {
    /// One version of a tier.
    pub struct TierVersion in "directory_tier_version" (tier: Code, version: u32), temporal {
        /// Which tier.
        tier: Code = "text collate \"C\" not null",
        /// 1, 2, 3, …
        version: u32 = "integer not null",
        /// From when it is offered.
        effective_from: Instant = "timestamptz not null",
        /// What it says.
        terms: Terms = "jsonb not null",
        /// The event that published it.
        position: Position = "bigint not null",
    }
}

row_set! {
    /// The rows of the directory.
    pub struct Rows {
        /// People.
        users: User,
        /// Organizations.
        organizations: Organization,
        /// Who belongs to them.
        members: Member,
        /// Roles.
        roles: Role,
        /// API keys.
        api_keys: ApiKey,
        /// Tiers.
        tiers: TierVersion,
    }
}
