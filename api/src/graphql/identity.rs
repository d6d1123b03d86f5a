//! People: who they are, how they stand, which roles they hold.

use super::asking;
use super::outcome::{Answer, Asked, carry_out, payload};
use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Id, SafeInt, Word};
use super::tenancy::Membership;
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, fold, version, view};
use async_graphql::{Context, ID, InputObject, Object};
use commands::{AccessCommand, Outcome, Subject};
use domain::access::Resource;
use domain::values::{Code, Text, UserId};
use event_log::Position;
use projections::directory::{self, Directory};
use projections::{Projection as _, Walk};
use uuid::Uuid;

/// A person. Only made for whoever may see them.
pub(crate) struct User(directory::User, Option<Position>);

impl User {
    /// As they are now.
    pub(crate) const fn now(row: directory::User) -> Self {
        Self(row, None)
    }

    /// As they were at a position.
    pub(crate) const fn then(row: directory::User, at: Position) -> Self {
        Self(row, Some(at))
    }
}

/// A person.
#[Object]
impl User {
    /// `usr_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.user_id.to_string())
    }

    /// How many events its history has: the `expectedVersion` of a change that was decided on this.
    async fn version(&self, ctx: &Context<'_>) -> Result<SafeInt, Problem> {
        version(asking(ctx)?, "user", &self.0.user_id.to_string(), self.1).await.map(SafeInt)
    }

    /// `invited`, `active`, `suspended`, `deactivated`, `erasing` or `erased`.
    async fn status(&self) -> &str {
        &self.0.status
    }

    /// E-mail address; null once the person was erased.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<String>, Problem> {
        asking(ctx)?.open_personal(self.0.user_id, &self.0.email).await
    }

    /// Display name; null once the person was erased.
    async fn name(&self, ctx: &Context<'_>) -> Result<Option<String>, Problem> {
        asking(ctx)?.open_personal(self.0.user_id, &self.0.name).await
    }

    /// Platform roles held.
    async fn roles(&self) -> Vec<&str> {
        self.0.roles.iter().map(Code::as_str).collect()
    }

    /// Why the user is suspended or gone.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_ref().map(Text::as_str)
    }

    /// When the user was invited.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// The organizations that the user belongs to at the same moment, as far as the caller may see
    /// them.
    async fn memberships(&self, ctx: &Context<'_>) -> Result<Vec<Membership>, Problem> {
        super::tenancy::memberships_of(asking(ctx)?, self.0.user_id, self.1).await
    }
}

connection!(UserConnection, UserEdge of User);

/// Which users.
#[derive(InputObject, Default, Clone)]
pub(crate) struct UserFilter {
    /// `invited`, `active`, `suspended`, `deactivated`, `erasing` or `erased`.
    status: Option<String>,
}

#[derive(Default)]
pub(crate) struct IdentityQuery;

#[Object]
impl IdentityQuery {
    /// Who asks: the person that the key in use acts for.
    async fn me(&self, ctx: &Context<'_>) -> Result<Option<User>, Problem> {
        me(asking(ctx)?).await
    }

    /// One user, now or as of a moment.
    async fn user(
        &self,
        ctx: &Context<'_>,
        id: Id<UserId>,
        as_of: Option<AsOf>,
    ) -> Result<User, Problem> {
        user(asking(ctx)?, id.0, as_of).await
    }

    /// Users in the order of their invitation, now or as of a moment.
    async fn users(
        &self,
        ctx: &Context<'_>,
        as_of: Option<AsOf>,
        r#where: Option<UserFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<UserConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        users(asking(ctx)?, as_of, r#where.unwrap_or_default(), page).await
    }
}

async fn me(asking: &Asking) -> Result<Option<User>, Problem> {
    let Some(user_id) = asking.caller.user_id() else {
        return Err(commands::Failure::Unauthenticated.into());
    };
    // From the log itself: who just came in should not have to wait to see themself.
    let rows = fold::<Directory>(asking, "user", &user_id.to_string(), None).await?;
    Ok(rows.users.rows().into_iter().next().cloned().map(User::now))
}

pub(crate) async fn user(
    asking: &Asking,
    user_id: UserId,
    as_of: Option<AsOf>,
) -> Result<User, Problem> {
    if asking.caller.user_id() != Some(user_id) {
        asking.may_read(Resource::Users).await?;
    }
    let at = at_position(asking, as_of).await?;
    let found = match at {
        None => directory::user(asking.model(Directory::NAME).await?, user_id).await?,
        at => {
            let id = user_id.to_string();
            let rows = fold::<Directory>(asking, "user", &id, at).await?;
            rows.users.rows().into_iter().next().cloned()
        }
    };
    found.map(|row| User(row, at)).ok_or_else(|| Problem::not_found("user", &user_id.to_string()))
}

async fn users(
    asking: &Asking,
    as_of: Option<AsOf>,
    filter: UserFilter,
    page: PageArguments,
) -> Result<UserConnection, Problem> {
    asking.may_read(Resource::Users).await?;
    let plan = page.plan::<UserId>(ListOrder::Ascending)?;
    let at = at_position(asking, as_of).await?;
    let then = view(asking, Directory::NAME, at).await?;
    let rows = directory::users(then, filter.status.as_deref(), &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.user_id, move |row| User(row, at));
    Ok(UserConnection::new(page, move |asking, most| {
        let status = filter.status.clone();
        Box::pin(async move {
            let then = view(asking, Directory::NAME, at).await?;
            let walk = Walk::ascending(most);
            Ok(directory::users(then, status.as_deref(), &walk).await?.len())
        })
    }))
}

/// The user that a command is about.
pub(super) async fn user_of(asking: &Asking, outcome: &Outcome) -> Result<Option<User>, Problem> {
    let Subject::User(user_id) = &outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Directory::NAME, outcome.receipt.position).await?;
    Ok(directory::user(pool, *user_id).await?.map(User::now))
}

payload! {
    /// What became of a command about a user.
    UserPayload {
        /// The user as the command left them.
        user: User = user_of
    }
}

/// Ask somebody to join.
#[derive(InputObject)]
struct UserInviteInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// E-mail address.
    email: String,
    /// Display name.
    name: String,
}

/// A user.
#[derive(InputObject)]
struct UserInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which user.
    user_id: Id<UserId>,
}

/// A user, and why.
#[derive(InputObject)]
struct UserReasonInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which user.
    user_id: Id<UserId>,
    /// Why.
    reason: Word<Text>,
}

/// A user and a platform role.
#[derive(InputObject)]
struct UserRoleInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which user.
    user_id: Id<UserId>,
    /// Which role.
    role: Word<Code>,
}

#[derive(Default)]
pub(crate) struct IdentityMutation;

#[Object]
impl IdentityMutation {
    /// Asks somebody to join.
    async fn user_invite(
        &self,
        ctx: &Context<'_>,
        input: UserInviteInput,
    ) -> Result<UserPayload, Problem> {
        let UserInviteInput { command_id, email, name } = input;
        let invite = AccessCommand::UserInvite { email, name };
        carry_out(ctx, Asked::once(command_id), invite).await.map(UserPayload)
    }

    /// Lets a user sign in.
    async fn user_activate(
        &self,
        ctx: &Context<'_>,
        input: UserInput,
    ) -> Result<UserPayload, Problem> {
        let activate = AccessCommand::UserActivate { user_id: input.user_id.0 };
        of_user(ctx, input, activate).await
    }

    /// Ends a suspension.
    async fn user_reactivate(
        &self,
        ctx: &Context<'_>,
        input: UserInput,
    ) -> Result<UserPayload, Problem> {
        let reactivate = AccessCommand::UserReactivate { user_id: input.user_id.0 };
        of_user(ctx, input, reactivate).await
    }

    /// Stops a user at once, everywhere.
    async fn user_suspend(
        &self,
        ctx: &Context<'_>,
        input: UserReasonInput,
    ) -> Result<UserPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (user_id, reason) = (input.user_id.0, input.reason.0);
        let suspend = AccessCommand::UserSuspend { user_id, reason };
        carry_out(ctx, asked, suspend).await.map(UserPayload)
    }

    /// Lets a user go for good.
    async fn user_deactivate(
        &self,
        ctx: &Context<'_>,
        input: UserReasonInput,
    ) -> Result<UserPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (user_id, reason) = (input.user_id.0, input.reason.0);
        let deactivate = AccessCommand::UserDeactivate { user_id, reason };
        carry_out(ctx, asked, deactivate).await.map(UserPayload)
    }

    /// Gives a platform role.
    async fn user_role_assign(
        &self,
        ctx: &Context<'_>,
        input: UserRoleInput,
    ) -> Result<UserPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (user_id, role) = (input.user_id.0, input.role.0);
        let assign = AccessCommand::UserRoleAssign { user_id, role };
        carry_out(ctx, asked, assign).await.map(UserPayload)
    }

    /// Takes a platform role away.
    async fn user_role_remove(
        &self,
        ctx: &Context<'_>,
        input: UserRoleInput,
    ) -> Result<UserPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (user_id, role) = (input.user_id.0, input.role.0);
        let remove = AccessCommand::UserRoleRemove { user_id, role };
        carry_out(ctx, asked, remove).await.map(UserPayload)
    }
}

async fn of_user(
    ctx: &Context<'_>,
    input: UserInput,
    command: AccessCommand,
) -> Result<UserPayload, Problem> {
    let asked = Asked::at(input.command_id, input.expected_version);
    let answer: Answer = carry_out(ctx, asked, command).await?;
    Ok(UserPayload(answer))
}
