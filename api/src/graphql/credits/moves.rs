//! What moves credits: grants, spends and holds.

use super::{CreditBalance, nothing};
use crate::graphql::outcome::{Asked, carry_out, payload};
use crate::graphql::scalars::{DateTime, Decimal, Id, Word};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, Enum, InputObject, Object};
use commands::{CreditCommand, Outcome, Subject};
use domain::credits::GrantSource;
use domain::values::{GrantId, HoldId, OrganizationId, Text};
use projections::Projection as _;
use projections::credit_statement::{self, CreditStatement};
use uuid::Uuid;

/// The balance that a command left behind.
async fn balance_after(
    asking: &Asking,
    outcome: &Outcome,
) -> Result<Option<CreditBalance>, Problem> {
    let (Subject::Grant(id, _)
    | Subject::Spend(id, _)
    | Subject::Hold(id, _)
    | Subject::CreditAccount(id)) = outcome.subject
    else {
        return Ok(None);
    };
    let position = outcome.receipt.position;
    let pool = asking.model_after(CreditStatement::NAME, position).await?;
    let found = credit_statement::balance(pool, id).await?;
    Ok(Some(CreditBalance { row: found.unwrap_or_else(|| nothing(id)), at: None }))
}

payload! {
    /// What became of a command about credits.
    CreditPayload {
        /// The balance with what the command did.
        balance: CreditBalance = balance_after
    }
    names
        /// The grant, spend or hold that the command made or changed: `grt_…`, `spd_…`, `hld_…`.
        id
}

/// What kind of credits a grant gives. Bought ones come from purchases only.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum GrantKind {
    /// Given away.
    Promotional,
    /// Part of a tier.
    MonthlyAllocation,
}

/// New credits.
#[derive(InputObject)]
struct CreditGrantInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// To whom.
    organization_id: Id<OrganizationId>,
    /// How many.
    credits: Decimal,
    /// Of which kind.
    #[graphql(default_with = "GrantKind::Promotional")]
    kind: GrantKind,
    /// Why.
    reason: Word<Text>,
    /// Lower numbers are spent first; 0 to 65,535.
    #[graphql(default = 100)]
    priority: u16,
    /// Pays only for what occurred from then on.
    effective_at: Option<DateTime>,
    /// When what is left is gone.
    expires_at: Option<DateTime>,
}

/// Credits of a grant that are taken back.
#[derive(InputObject)]
struct CreditVoidInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose.
    organization_id: Id<OrganizationId>,
    /// Which grant.
    grant_id: Id<GrantId>,
    /// How many.
    credits: Decimal,
    /// Why.
    reason: Word<Text>,
}

/// Credits that are spent.
#[derive(InputObject)]
struct CreditSpendInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose.
    organization_id: Id<OrganizationId>,
    /// How many; all or nothing.
    credits: Decimal,
    /// What for.
    reason: Word<Text>,
}

/// Credits that are set aside.
#[derive(InputObject)]
struct CreditHoldPlaceInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose.
    organization_id: Id<OrganizationId>,
    /// How many at most.
    credits: Decimal,
    /// After how many seconds they are free again.
    seconds: u32,
    /// What for.
    reason: Word<Text>,
}

/// Credits of a hold that are spent.
#[derive(InputObject)]
struct CreditHoldCaptureInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose.
    organization_id: Id<OrganizationId>,
    /// Which hold.
    hold_id: Id<HoldId>,
    /// How many; the rest is free again.
    credits: Decimal,
}

/// A hold of which nothing is spent.
#[derive(InputObject)]
struct CreditHoldReleaseInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose.
    organization_id: Id<OrganizationId>,
    /// Which hold.
    hold_id: Id<HoldId>,
}

#[derive(Default)]
pub(crate) struct CreditMutation;

#[Object]
impl CreditMutation {
    /// Gives credits.
    async fn credit_grant(
        &self,
        ctx: &Context<'_>,
        input: CreditGrantInput,
    ) -> Result<CreditPayload, Problem> {
        let grant = CreditCommand::CreditGrant {
            organization_id: input.organization_id.0,
            credits: input.credits.as_of("input.credits")?,
            kind: match input.kind {
                GrantKind::Promotional => domain::credits::GrantKind::Promotional,
                GrantKind::MonthlyAllocation => domain::credits::GrantKind::MonthlyAllocation,
            },
            source: GrantSource::Manual { reason: input.reason.0 },
            priority: input.priority,
            effective_at: input.effective_at.map(|at| at.0),
            expires_at: input.expires_at.map(|at| at.0),
        };
        carry_out(ctx, Asked::once(input.command_id), grant).await.map(CreditPayload)
    }

    /// Takes back credits of a grant that nobody spent.
    async fn credit_void(
        &self,
        ctx: &Context<'_>,
        input: CreditVoidInput,
    ) -> Result<CreditPayload, Problem> {
        let void = CreditCommand::CreditVoid {
            organization_id: input.organization_id.0,
            grant_id: input.grant_id.0,
            credits: input.credits.as_of("input.credits")?,
            reason: input.reason.0,
        };
        carry_out(ctx, Asked::once(input.command_id), void).await.map(CreditPayload)
    }

    /// Spends credits, all or nothing.
    async fn credit_spend(
        &self,
        ctx: &Context<'_>,
        input: CreditSpendInput,
    ) -> Result<CreditPayload, Problem> {
        let spend = CreditCommand::CreditSpend {
            organization_id: input.organization_id.0,
            credits: input.credits.as_of("input.credits")?,
            reason: input.reason.0,
        };
        carry_out(ctx, Asked::once(input.command_id), spend).await.map(CreditPayload)
    }

    /// Sets credits aside.
    async fn credit_hold_place(
        &self,
        ctx: &Context<'_>,
        input: CreditHoldPlaceInput,
    ) -> Result<CreditPayload, Problem> {
        let place = CreditCommand::CreditHoldPlace {
            organization_id: input.organization_id.0,
            credits: input.credits.as_of("input.credits")?,
            seconds: input.seconds,
            reason: input.reason.0,
        };
        carry_out(ctx, Asked::once(input.command_id), place).await.map(CreditPayload)
    }

    /// Spends part of a hold and frees the rest.
    async fn credit_hold_capture(
        &self,
        ctx: &Context<'_>,
        input: CreditHoldCaptureInput,
    ) -> Result<CreditPayload, Problem> {
        let capture = CreditCommand::CreditHoldCapture {
            organization_id: input.organization_id.0,
            hold_id: input.hold_id.0,
            credits: input.credits.as_of("input.credits")?,
        };
        carry_out(ctx, Asked::once(input.command_id), capture).await.map(CreditPayload)
    }

    /// Frees a hold.
    async fn credit_hold_release(
        &self,
        ctx: &Context<'_>,
        input: CreditHoldReleaseInput,
    ) -> Result<CreditPayload, Problem> {
        let (organization_id, hold_id) = (input.organization_id.0, input.hold_id.0);
        let release = CreditCommand::CreditHoldRelease { organization_id, hold_id };
        carry_out(ctx, Asked::once(input.command_id), release).await.map(CreditPayload)
    }
}
