//! Organizations and their members.

mod change;

pub(crate) use change::TenancyMutation;

use super::asking;
use super::credits::{CreditBalance, balance_of};
use super::identity::User;
use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Id, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, fold, version, view};
use async_graphql::{Context, Enum, ID, Object};
use domain::access::Resource;
use domain::values::{Code, OrganizationId, Text, UserId};
use event_log::Position;
use projections::directory::{self, Directory};
use projections::{Projection as _, Scope, Walk};

/// What a member may do inside an organization.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "domain::tenancy::OrganizationRole")]
pub(crate) enum OrganizationRole {
    /// Everything.
    Owner,
    /// Members and settings, but no owners.
    Admin,
    /// Billing only.
    BillingAdmin,
    /// Uses what the organization has.
    Member,
}

/// An organization. Only made for whoever may see it.
pub(crate) struct Organization {
    row: directory::Organization,
    at: Option<Position>,
}

/// An organization.
#[Object]
impl Organization {
    /// `org_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.row.organization_id.to_string())
    }

    /// How many events its history has: the `expectedVersion` of a change that was decided on this.
    async fn version(&self, ctx: &Context<'_>) -> Result<SafeInt, Problem> {
        let id = self.row.organization_id.to_string();
        version(asking(ctx)?, "organization", &id, self.at).await.map(SafeInt)
    }

    /// The short name that people type.
    async fn slug(&self) -> &str {
        self.row.slug.as_str()
    }

    /// The name that people read.
    async fn name(&self) -> &str {
        self.row.name.as_str()
    }

    /// `active`, `suspended` or `closed`.
    async fn status(&self) -> &str {
        &self.row.status
    }

    /// The code of its tier.
    async fn tier(&self) -> &str {
        self.row.tier.as_str()
    }

    /// The version of the tier that it keeps.
    async fn tier_version(&self) -> u32 {
        self.row.tier_version
    }

    /// How many belong to it.
    async fn member_count(&self) -> u32 {
        self.row.members
    }

    /// Why it is suspended or closed.
    async fn reason(&self) -> Option<&str> {
        self.row.reason.as_ref().map(Text::as_str)
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }

    /// Who belongs to it, in the order of their ids.
    async fn members(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<MemberConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        members(asking(ctx)?, self.row.organization_id, self.at, page).await
    }

    /// Where its credits are, at the same moment.
    async fn credit_balance(&self, ctx: &Context<'_>) -> Result<CreditBalance, Problem> {
        balance_of(asking(ctx)?, self.row.organization_id, self.at).await
    }
}

connection!(OrganizationConnection, OrganizationEdge of Organization);

/// Somebody who belongs to an organization.
pub(crate) struct Member(directory::Member, Option<Position>);

/// Somebody who belongs to an organization.
#[Object]
impl Member {
    /// Who, by id.
    async fn user_id(&self) -> ID {
        ID(self.0.user_id.to_string())
    }

    /// Who; null for whoever may not look at people.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<User>, Problem> {
        member_user(asking(ctx)?, &self.0, self.1).await
    }

    /// As what.
    async fn role(&self) -> OrganizationRole {
        self.0.role.into()
    }

    /// Since when.
    async fn since(&self) -> DateTime {
        DateTime(self.0.since)
    }
}

connection!(MemberConnection, MemberEdge of Member);

/// An organization that somebody belongs to.
pub(crate) struct Membership(directory::Member, Option<Position>);

/// An organization that somebody belongs to.
#[Object]
impl Membership {
    /// Which, by id.
    async fn organization_id(&self) -> ID {
        ID(self.0.organization_id.to_string())
    }

    /// Which.
    async fn organization(&self, ctx: &Context<'_>) -> Result<Option<Organization>, Problem> {
        row(asking(ctx)?, self.0.organization_id, self.1).await
    }

    /// As what.
    async fn role(&self) -> OrganizationRole {
        self.0.role.into()
    }

    /// Since when.
    async fn since(&self) -> DateTime {
        DateTime(self.0.since)
    }
}

#[derive(Default)]
pub(crate) struct TenancyQuery;

#[Object]
impl TenancyQuery {
    /// One organization by id or by short name, now or as of a moment.
    async fn organization(
        &self,
        ctx: &Context<'_>,
        id: Option<Id<OrganizationId>>,
        slug: Option<Word<Code>>,
        as_of: Option<AsOf>,
    ) -> Result<Organization, Problem> {
        let asking = asking(ctx)?;
        let id = identify(asking, id.map(|id| id.0), slug.map(|slug| slug.0)).await?;
        organization(asking, id, as_of).await
    }

    /// The organizations that the caller may see, now or as of a moment, oldest first.
    async fn organizations(
        &self,
        ctx: &Context<'_>,
        as_of: Option<AsOf>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<OrganizationConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        organizations(asking(ctx)?, as_of, page).await
    }
}

/// The id of what is named by id or by short name.
async fn identify(
    asking: &Asking,
    id: Option<OrganizationId>,
    slug: Option<Code>,
) -> Result<OrganizationId, Problem> {
    match (id, slug) {
        (Some(id), None) => Ok(id),
        (None, Some(slug)) => {
            asking.note_read();
            let found = asking.services.executor.organization_named(slug.as_str()).await?;
            found.ok_or_else(|| Problem::not_found("organization", slug.as_str()))
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::input("id", "name the organization by either id or slug"))
        }
    }
}

pub(crate) async fn organization(
    asking: &Asking,
    id: OrganizationId,
    as_of: Option<AsOf>,
) -> Result<Organization, Problem> {
    asking.may_read_of(id, Resource::Organizations).await?;
    let at = at_position(asking, as_of).await?;
    let found = if at.is_some() {
        let rows = fold::<Directory>(asking, "organization", &id.to_string(), at).await?;
        rows.organizations.rows().into_iter().next().cloned()
    } else {
        directory::organization(asking.model(Directory::NAME).await?, id).await?
    };
    found
        .map(|row| Organization { row, at })
        .ok_or_else(|| Problem::not_found("organization", &id.to_string()))
}

/// An organization that the caller may know of already.
async fn row(
    asking: &Asking,
    id: OrganizationId,
    at: Option<Position>,
) -> Result<Option<Organization>, Problem> {
    if at.is_some() {
        let rows = fold::<Directory>(asking, "organization", &id.to_string(), at).await?;
        let found = rows.organizations.rows().into_iter().next().cloned();
        return Ok(found.map(|row| Organization { row, at }));
    }
    let _pool = asking.model(Directory::NAME).await?;
    let found = asking.loaders.directory.load_one(id).await?;
    Ok(found.map(|row| Organization { row, at: None }))
}

async fn organizations(
    asking: &Asking,
    as_of: Option<AsOf>,
    page: PageArguments,
) -> Result<OrganizationConnection, Problem> {
    let plan = page.plan::<OrganizationId>(ListOrder::Ascending)?;
    let at = at_position(asking, as_of).await?;
    let rows = visible(asking, at, &plan.walk).await?;
    let object = move |row| Organization { row, at };
    let page = Page::new(rows, &plan, |row| row.organization_id, object);
    Ok(OrganizationConnection::new(page, move |asking, most| {
        Box::pin(async move { Ok(visible(asking, at, &Walk::ascending(most)).await?.len()) })
    }))
}

/// All organizations for who may see all, else those the caller belonged to and may see now.
async fn visible(
    asking: &Asking,
    at: Option<Position>,
    walk: &Walk<OrganizationId>,
) -> Result<Vec<directory::Organization>, Problem> {
    let then = view(asking, Directory::NAME, at).await?;
    if asking.reads_all(Resource::Organizations).await? {
        return Ok(directory::organizations(then, Scope::Everything, walk).await?);
    }
    let Some(user_id) = asking.caller.user_id() else { return Ok(Vec::new()) };
    let mine = memberships_of(asking, user_id, at).await?;
    let mine = mine.into_iter().map(|membership| membership.0.organization_id).collect();
    let ids = walk.over(mine, |id| *id);
    let mut found = match at {
        None => asking.loaders.directory.load_many(ids.clone()).await?,
        Some(_) => {
            let rows = directory::organizations_by_id(then, &ids).await?;
            rows.into_iter().map(|row| (row.organization_id, row)).collect()
        }
    };
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// Memberships of somebody, now or at a position, as far as the caller may see the organizations.
pub(super) async fn memberships_of(
    asking: &Asking,
    user_id: UserId,
    at: Option<Position>,
) -> Result<Vec<Membership>, Problem> {
    let then = view(asking, Directory::NAME, at).await?;
    let mut visible = Vec::new();
    for member in directory::memberships(then, user_id).await? {
        match asking.may_read_of(member.organization_id, Resource::Organizations).await {
            Ok(()) => visible.push(Membership(member, at)),
            Err(problem) if problem.is_denial() => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(visible)
}

async fn members(
    asking: &Asking,
    id: OrganizationId,
    at: Option<Position>,
    page: PageArguments,
) -> Result<MemberConnection, Problem> {
    let plan = page.plan::<UserId>(ListOrder::Ascending)?;
    let rows = members_at(asking, id, at, &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.user_id, move |row| Member(row, at));
    Ok(MemberConnection::new(page, move |asking, most| {
        Box::pin(async move { Ok(members_at(asking, id, at, &Walk::ascending(most)).await?.len()) })
    }))
}

async fn members_at(
    asking: &Asking,
    id: OrganizationId,
    at: Option<Position>,
    walk: &Walk<UserId>,
) -> Result<Vec<directory::Member>, Problem> {
    if at.is_none() {
        let pool = asking.model(Directory::NAME).await?;
        return Ok(directory::members(pool, id, walk).await?);
    }
    let rows = fold::<Directory>(asking, "organization", &id.to_string(), at).await?;
    let met = walk.over(rows.members.rows(), |row| row.user_id);
    Ok(met.into_iter().cloned().collect())
}

async fn member_user(
    asking: &Asking,
    member: &directory::Member,
    at: Option<Position>,
) -> Result<Option<User>, Problem> {
    match asking.may_read_of(member.organization_id, Resource::Users).await {
        Ok(()) => {}
        Err(problem) if problem.is_denial() => return Ok(None),
        Err(problem) => return Err(problem),
    }
    if let Some(position) = at {
        let rows = fold::<Directory>(asking, "user", &member.user_id.to_string(), at).await?;
        let found = rows.users.rows().into_iter().next().cloned();
        return Ok(found.map(|row| User::then(row, position)));
    }
    let _pool = asking.model(Directory::NAME).await?;
    Ok(asking.loaders.directory.load_one(member.user_id).await?.map(User::now))
}
