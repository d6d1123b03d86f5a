//! Legal holds and retention: what must not be destroyed, and how long the rest is kept.

use super::asking;
use super::identity::{User, user_of};
use super::outcome::{Asked, carry_out, payload};
use super::scalars::{Id, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use commands::{AccessCommand, Outcome, RetentionCommand, Subject};
use domain::access::Resource;
use domain::retention::{HoldTarget, LegalHolds};
use domain::values::{Code, LegalHoldId, OrganizationId, Text, UserId};
use uuid::Uuid;

/// A kind of record that may be kept for a time.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "domain::retention::RecordKind")]
pub(crate) enum RecordKind {
    /// What was refused or forbidden.
    Denials,
    /// Usage records; always kept, because figures are derived from them.
    Usage,
}

/// Why somebody is erased. The reason is kept for ever, so it is one of a list and no text.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "domain::identity::user::ErasureGround")]
pub(crate) enum ErasureGround {
    /// The person asked for it.
    Requested,
    /// The person took back their consent.
    ConsentWithdrawn,
    /// The data is not needed any more.
    NoLongerNeeded,
    /// There was no right to have the data.
    UnlawfullyProcessed,
    /// A law demands it.
    LegalObligation,
}

/// A legal hold: while it stands, nothing that it covers is destroyed.
#[derive(SimpleObject)]
pub(crate) struct LegalHold {
    /// `lgh_…`
    id: ID,
    /// The person or the organization.
    target: ID,
    /// Which case it is for.
    reason: String,
    /// Whether it stands; else it was released.
    stands: bool,
}

impl LegalHold {
    fn all(target: HoldTarget, holds: &LegalHolds) -> Vec<Self> {
        let hold = |(id, reason): (&LegalHoldId, &Text), stands| Self {
            id: ID(id.to_string()),
            target: ID(target.to_string()),
            reason: reason.to_string(),
            stands,
        };
        let standing = holds.standing.iter().map(|it| hold(it, true));
        standing.chain(holds.released.iter().map(|it| hold(it, false))).collect()
    }
}

/// For how long bodies of a kind are kept.
#[derive(SimpleObject)]
pub(crate) struct RetentionRule {
    /// Of which kind.
    kind: RecordKind,
    /// For how many days after they were recorded.
    keep_days: i32,
}

/// What is not kept for ever, of an organization or of the platform itself.
#[derive(SimpleObject)]
pub(crate) struct Retention {
    /// Whose records; null for the platform's own.
    organization_id: Option<ID>,
    /// A rule for each kind that is not kept for ever.
    rules: Vec<RetentionRule>,
}

async fn retention(
    asking: &Asking,
    organization_id: Option<OrganizationId>,
) -> Result<Retention, Problem> {
    asking.note_read();
    let policy = asking.services.executor.retention_policy(organization_id).await?;
    let rule = |(kind, days): (&domain::retention::RecordKind, &u32)| RetentionRule {
        kind: (*kind).into(),
        keep_days: i32::try_from(*days).unwrap_or(i32::MAX),
    };
    Ok(Retention {
        organization_id: organization_id.map(|id| ID(id.to_string())),
        rules: policy.keep_days.iter().map(rule).collect(),
    })
}

#[derive(Default)]
pub(crate) struct RetentionQuery;

#[Object]
impl RetentionQuery {
    /// The legal holds on a person or an organization, those that stand first.
    async fn legal_holds(
        &self,
        ctx: &Context<'_>,
        target: Id<HoldTarget>,
    ) -> Result<Vec<LegalHold>, Problem> {
        let asking = asking(ctx)?;
        asking.may_read(Resource::PersonalData).await?;
        asking.note_read();
        let holds = asking.services.executor.legal_holds(target.0).await?;
        Ok(LegalHold::all(target.0, &holds))
    }

    /// How long things of an organization are kept; without one, the platform's own.
    async fn retention(
        &self,
        ctx: &Context<'_>,
        organization_id: Option<Id<OrganizationId>>,
    ) -> Result<Retention, Problem> {
        let asking = asking(ctx)?;
        asking.may_read(Resource::PersonalData).await?;
        retention(asking, organization_id.map(|id| id.0)).await
    }
}

async fn hold_of(asking: &Asking, outcome: &Outcome) -> Result<Option<LegalHold>, Problem> {
    let Subject::LegalHold(target, id) = &outcome.subject else { return Ok(None) };
    asking.note_read();
    let holds = asking.services.executor.legal_holds(*target).await?;
    let id = ID(id.to_string());
    Ok(LegalHold::all(*target, &holds).into_iter().find(|hold| hold.id == id))
}

async fn retention_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Retention>, Problem> {
    let Subject::Retention(organization_id) = &outcome.subject else { return Ok(None) };
    retention(asking, *organization_id).await.map(Some)
}

payload! {
    /// What became of an erasure.
    PersonPayload {
        /// What is left of the user: no name and no address.
        user: User = user_of
    }
}

payload! {
    /// What became of a command about a legal hold.
    LegalHoldPayload {
        /// The hold as the command left it.
        legal_hold: LegalHold = hold_of
    }
}

payload! {
    /// What became of a command about retention.
    RetentionPayload {
        /// What is not kept for ever now.
        retention: Retention = retention_of
    }
}

/// Whom to erase, and why.
#[derive(InputObject)]
struct PersonEraseInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which user.
    user_id: Id<UserId>,
    /// Why.
    ground: ErasureGround,
    /// What the request is filed under: `request-2026-17`. Never a name.
    reference: Option<Word<Code>>,
}

/// What must not be destroyed, and for which case.
#[derive(InputObject)]
struct LegalHoldPlaceInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The person or the organization.
    target: Id<HoldTarget>,
    /// Which case it is for. It is kept for ever: name the case, not people.
    reason: Word<Text>,
}

/// A legal hold that is not needed any more.
#[derive(InputObject)]
struct LegalHoldReleaseInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The person or the organization that it is on.
    target: Id<HoldTarget>,
    /// Which hold.
    legal_hold_id: Id<LegalHoldId>,
    /// Why it is not needed any more.
    reason: Word<Text>,
}

/// How long bodies of a kind are kept.
#[derive(InputObject)]
struct RetentionPolicySetInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose records; without it, the platform's own.
    organization_id: Option<Id<OrganizationId>>,
    /// Of which kind.
    kind: RecordKind,
    /// For how many days after they were recorded; at least one.
    keep_days: u32,
}

/// What is to be purged.
#[derive(InputObject)]
struct RetentionPurgeInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose records; without it, the platform's own.
    organization_id: Option<Id<OrganizationId>>,
    /// Of which kind.
    kind: RecordKind,
}

#[derive(Default)]
pub(crate) struct RetentionMutation;

#[Object]
impl RetentionMutation {
    /// Destroys a person's data for good, in the log and everywhere else.
    async fn person_erase(
        &self,
        ctx: &Context<'_>,
        input: PersonEraseInput,
    ) -> Result<PersonPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (user_id, ground) = (input.user_id.0, input.ground.into());
        let reference = input.reference.map(|word| word.0);
        let erase = AccessCommand::PersonErase { user_id, ground, reference };
        carry_out(ctx, asked, erase).await.map(PersonPayload)
    }

    /// Lets nothing of a person or an organization be destroyed until it is released.
    async fn legal_hold_place(
        &self,
        ctx: &Context<'_>,
        input: LegalHoldPlaceInput,
    ) -> Result<LegalHoldPayload, Problem> {
        let (target, reason) = (input.target.0, input.reason.0);
        let place = RetentionCommand::LegalHoldPlace { target, reason };
        carry_out(ctx, Asked::once(input.command_id), place).await.map(LegalHoldPayload)
    }

    /// Lets a legal hold go.
    async fn legal_hold_release(
        &self,
        ctx: &Context<'_>,
        input: LegalHoldReleaseInput,
    ) -> Result<LegalHoldPayload, Problem> {
        let LegalHoldReleaseInput { command_id, target, legal_hold_id, reason } = input;
        let release = RetentionCommand::LegalHoldRelease {
            target: target.0,
            legal_hold_id: legal_hold_id.0,
            reason: reason.0,
        };
        carry_out(ctx, Asked::once(command_id), release).await.map(LegalHoldPayload)
    }

    /// Says for how long bodies of a kind are kept.
    async fn retention_policy_set(
        &self,
        ctx: &Context<'_>,
        input: RetentionPolicySetInput,
    ) -> Result<RetentionPayload, Problem> {
        let RetentionPolicySetInput { command_id, organization_id, kind, keep_days } = input;
        let (organization_id, kind) = (organization_id.map(|id| id.0), kind.into());
        let set = RetentionCommand::RetentionPolicySet { organization_id, kind, keep_days };
        carry_out(ctx, Asked::once(command_id), set).await.map(RetentionPayload)
    }

    /// Destroys bodies whose time is over: the oldest first, a thousand at most.
    async fn retention_purge(
        &self,
        ctx: &Context<'_>,
        input: RetentionPurgeInput,
    ) -> Result<RetentionPayload, Problem> {
        let RetentionPurgeInput { command_id, organization_id, kind } = input;
        let (organization_id, kind) = (organization_id.map(|id| id.0), kind.into());
        let purge = RetentionCommand::RetentionPurge { organization_id, kind };
        carry_out(ctx, Asked::once(command_id), purge).await.map(RetentionPayload)
    }
}
