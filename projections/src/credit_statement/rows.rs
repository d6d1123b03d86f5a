//! The tables of credits.

use crate::columns::{micro_credits, micro_dollars};
use crate::table::{row_set, table};
use domain::Instant;
use domain::credits::{GrantKind, GrantSource};
use domain::values::{Credits, GrantId, HoldId, MicroDollars, OrganizationId};
use event_log::Position;

table! {
    /// One movement of credits, as the organization reads it.
    pub struct StatementLine in "credit_statement" (position: Position) {
        /// The event.
        position: Position = "bigint not null",
        /// Whose account.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// What it was: the event's audit action.
        action: String = "text not null",
        /// What happened: the event's name.
        kind: String = "text not null",
        /// The grant, spend, charge or hold it is about; none for what settles what was owed.
        reference: Option<String> = "text collate \"C\"",
        /// The purchase or tier that a grant comes from.
        source: Option<String> = "text",
        /// In words, when somebody said so.
        reason: Option<String> = "text",
        /// What the available credits changed by.
        #[serde(with = "micro_credits")]
        change: Credits = "bigint not null",
        /// The available credits after it.
        #[serde(with = "micro_credits")]
        balance: Credits = "bigint not null",
        /// What was owed after it.
        #[serde(with = "micro_credits")]
        owed: Credits = "bigint not null",
        /// What was charged for usage.
        #[serde(with = "micro_dollars")]
        charged: MicroDollars = "bigint not null",
        /// How many lines the charge has.
        lines: i64 = "bigint not null",
        /// When it was recorded.
        recorded_at: Instant = "timestamptz not null",
        /// When it happened.
        occurred_at: Instant = "timestamptz not null",
    }
    index "organization_id, position"
}

table! {
    /// Where the credits of an organization are.
    pub struct Balance in "credit_balance" (organization_id: OrganizationId), temporal {
        /// Whose.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// Neither spent, held, expired nor taken back: granted and purchased ones together.
        #[serde(with = "micro_credits")]
        available: Credits = "bigint not null",
        /// Of these, given ones.
        #[serde(with = "micro_credits")]
        granted: Credits = "bigint not null",
        /// Of these, bought ones.
        #[serde(with = "micro_credits")]
        purchased: Credits = "bigint not null",
        /// Set aside.
        #[serde(with = "micro_credits")]
        held: Credits = "bigint not null",
        /// Spent, also on account.
        #[serde(with = "micro_credits")]
        consumed: Credits = "bigint not null",
        /// Gone because their time was over.
        #[serde(with = "micro_credits")]
        expired: Credits = "bigint not null",
        /// Taken back.
        #[serde(with = "micro_credits")]
        voided: Credits = "bigint not null",
        /// Every credit that was ever given or bought.
        #[serde(with = "micro_credits")]
        issued: Credits = "bigint not null",
        /// What no credits paid for yet.
        #[serde(with = "micro_credits")]
        owed: Credits = "bigint not null",
        /// What usage was charged, in dollars.
        #[serde(with = "micro_dollars")]
        charged: MicroDollars = "bigint not null",
        /// Usage up to here is charged.
        charged_through: Position = "bigint not null",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
}

table! {
    /// A grant and what is left of it.
    pub struct Grant in "credit_grant" (grant_id: GrantId), temporal {
        /// Which.
        grant_id: GrantId = "text collate \"C\" not null",
        /// Whose.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// Of which kind.
        kind: GrantKind = "text not null",
        /// Where from.
        source: GrantSource = "jsonb not null",
        /// How many credits it gave.
        #[serde(with = "micro_credits")]
        granted: Credits = "bigint not null",
        /// What is neither spent nor held.
        #[serde(with = "micro_credits")]
        remaining: Credits = "bigint not null",
        /// Lower numbers are spent first.
        priority: u16 = "integer not null",
        /// Pays only for what occurred from then on.
        effective_at: Option<Instant> = "timestamptz",
        /// When what is left is gone.
        expires_at: Option<Instant> = "timestamptz",
        /// When it was granted.
        granted_at: Instant = "timestamptz not null",
        /// The event that granted it.
        granted_position: Position = "bigint not null",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
    index "organization_id, granted_position"
}

table! {
    /// Credits that were set aside.
    pub struct Hold in "credit_hold" (hold_id: HoldId), temporal {
        /// Which.
        hold_id: HoldId = "text collate \"C\" not null",
        /// Whose.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// `placed`, `captured`, `released` or `expired`.
        state: String = "text not null",
        /// How many credits were set aside.
        #[serde(with = "micro_credits")]
        held: Credits = "bigint not null",
        /// How many of them were spent.
        #[serde(with = "micro_credits")]
        captured: Credits = "bigint not null",
        /// What for.
        reason: String = "text not null",
        /// When they are free again.
        expires_at: Instant = "timestamptz not null",
        /// When it was placed.
        placed_at: Instant = "timestamptz not null",
        /// When it ended.
        ended_at: Option<Instant> = "timestamptz",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
    index "organization_id, hold_id"
}

row_set! {
    /// The rows of credits.
    pub struct Rows {
        /// Movements.
        statement: StatementLine,
        /// Balances.
        balances: Balance,
        /// Grants.
        grants: Grant,
        /// Holds.
        holds: Hold,
    }
}
