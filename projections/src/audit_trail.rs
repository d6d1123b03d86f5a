//! The audit trail: who did what to which thing, with which result, when, why, by which command.
//!
//! One entry for every event, except that the usage records of one batch are one entry with a
//! count. What changed is not copied: an entry says at which positions of the log it stands, and
//! who wants the details reads them there, where nobody can have changed them.

use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use crate::read::{ReadError, Scope, Select};
use crate::table::{row_set, table};
use crate::walk::Walk;
use domain::retention::policy::{self, BodiesPurged};
use domain::values::{OrganizationId, UserId};
use domain::{Event, Instant};
use event_log::Position;
use serde::Deserialize;
use sqlx::PgPool;
use uuid::Uuid;

mod words;

use words::{Words, words};

table! {
    /// One thing that was done, or was tried.
    pub struct AuditEntry in "audit_entry" (entry: String) {
        /// The position for a single event; for the records of a batch, what they share.
        entry: String = "text collate \"C\" not null",
        /// Where it stands in the log; the first record of a batch.
        position: Position = "bigint not null",
        /// The last record of a batch; else the position.
        last_position: Position = "bigint not null",
        /// How many events it stands for.
        events: i64 = "bigint not null",
        /// Whose it is; none for what belongs to the platform itself.
        organization_id: Option<OrganizationId> = "text collate \"C\"",
        /// Who: `user/usr_…`, `api_key/key_…/usr_…`, `system/…` or `anonymous`.
        actor: String = "text collate \"C\" not null",
        /// On whose behalf, when it is not their own.
        on_behalf_of: Option<UserId> = "text collate \"C\"",
        /// Where from: of a person the item of their vault, else an address or a part of the
        /// installation.
        origin: Option<String> = "text",
        /// What: `credit.grant`.
        action: String = "text collate \"C\" not null",
        /// To which thing: its stream, or what a refused command names.
        target: String = "text collate \"C\" not null",
        /// `success`, `failure` or `denied`.
        result: String = "text not null",
        /// Why, when somebody said so.
        reason: Option<String> = "text",
        /// Which command was asked for, by name.
        command: Option<String> = "text",
        /// The command or event that caused it.
        command_id: Option<Uuid> = "uuid",
        /// What it is known by in logs and traces.
        correlation: Option<Uuid> = "uuid",
        /// When it was recorded.
        recorded_at: Instant = "timestamptz not null",
        /// When it happened; the first record of a batch.
        occurred_at: Instant = "timestamptz not null",
    }
    index "position"
    index "organization_id, position"
    index "actor, position"
    index "action, position"
    index "target, position"
}

impl AuditEntry {
    /// The person who did it, by themselves or by a key of theirs.
    #[must_use]
    pub fn person(&self) -> Option<UserId> {
        match self.actor.split_once('/')? {
            ("user", id) => id.parse().ok(),
            ("api_key", ids) => ids.split_once('/')?.1.parse().ok(),
            _ => None,
        }
    }
}

row_set! {
    /// The rows of the audit trail.
    pub struct Rows {
        /// Entries.
        entries: AuditEntry,
    }
}

/// Everything that happened, for whoever has to account for it.
#[derive(Debug)]
pub struct AuditTrail;

impl Projection for AuditTrail {
    const NAME: &'static str = "audit_trail";
    const VERSION: i32 = 1;
    const TAKES: Takes = Takes::Everything;
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        if let Event::Retention(policy::Event::BodiesPurged(purge)) = &occurrence.event {
            forget(purge, rows)?;
        }
        if !matches!(occurrence.event, Event::Usage(_)) {
            rows.entries.put(entry(occurrence, occurrence.position.to_string()));
            return Ok(());
        }
        // A batch has one cause; without one, it is what was recorded at the same instant, which no
        // other batch shares.
        let shared = occurrence.causation.map_or_else(
            || occurrence.recorded_at.timestamp_micros().to_string(),
            |causation| causation.to_string(),
        );
        let key = (format!("usage/{}/{shared}", occurrence.tenant.simple()),);
        let first = || AuditEntry { events: 0, ..entry(occurrence, key.0.clone()) };
        rows.entries.merge(&key, first, |row| {
            row.events += 1;
            row.last_position = occurrence.position;
            Ok(())
        })
    }
}

/// Drops what entries had from bodies that were purged, so that they are as they would be made
/// from what is left.
fn forget(purge: &BodiesPurged, rows: &mut Rows) -> Result<(), ApplyError> {
    for position in purge.runs.iter().flat_map(|run| run.first..=run.last) {
        rows.entries.change(&(position.to_string(),), |row| {
            DENIALS.clone_into(&mut row.target);
            row.reason = None;
            row.command = None;
            row.origin = None;
            row.on_behalf_of = None;
            Ok(())
        })?;
    }
    Ok(())
}

/// The stream of everything that may be purged.
const DENIALS: &str = "security/denials";

/// What the writer of commands notes beside an event.
#[derive(Default, Deserialize)]
struct Meta {
    command: Option<String>,
    on_behalf_of: Option<UserId>,
    origin: Option<String>,
}

fn entry(occurrence: &Occurrence, entry: String) -> AuditEntry {
    // Meta is bytes to the log; what is no note of ours says nothing here.
    let meta: Meta = serde_json::from_slice(&occurrence.meta).unwrap_or_default();
    let Words { target, result, reason, command } = words(&occurrence.event);
    let stream = || occurrence.stream.as_ref().map(ToString::to_string);
    AuditEntry {
        entry,
        position: occurrence.position,
        last_position: occurrence.position,
        events: 1,
        organization_id: occurrence.organization(),
        actor: occurrence.actor.clone(),
        on_behalf_of: meta.on_behalf_of,
        origin: meta.origin,
        action: occurrence.event.audit_action().to_owned(),
        target: target.or_else(stream).unwrap_or_default(),
        result: result.to_owned(),
        reason,
        command: command.or(meta.command),
        command_id: occurrence.causation,
        correlation: occurrence.correlation,
        recorded_at: occurrence.recorded_at,
        occurred_at: occurrence.occurred_at,
    }
}

/// Which entries are asked for.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whose.
    pub scope: Scope,
    /// By whom: an actor as entries name it.
    pub actor: Option<String>,
    /// What: an action, or the beginning of one that ends with a dot: `credit.`.
    pub action: Option<String>,
    /// To which thing.
    pub target: Option<String>,
    /// With which result.
    pub result: Option<String>,
    /// By which command.
    pub command_id: Option<Uuid>,
    /// Recorded from then on.
    pub from: Option<Instant>,
    /// Recorded before then.
    pub until: Option<Instant>,
}

impl Filter {
    /// Everything in a scope.
    #[must_use]
    pub const fn of(scope: Scope) -> Self {
        Self {
            scope,
            actor: None,
            action: None,
            target: None,
            result: None,
            command_id: None,
            from: None,
            until: None,
        }
    }
}

/// Entries along their positions.
///
/// # Errors
/// See [`ReadError`].
pub async fn entries(
    pool: &PgPool,
    filter: &Filter,
    walk: &Walk<Position>,
) -> Result<Vec<AuditEntry>, ReadError> {
    let (whole, beginning) = match filter.action.as_deref() {
        Some(action) if action.ends_with('.') => (None, Some(action.to_owned())),
        other => (other.map(str::to_owned), None),
    };
    // '/' follows '.' in byte order: the range is exactly what begins with the text.
    let end = beginning.as_deref().map(|text| format!("{}/", text.trim_end_matches('.')));
    Select::from::<AuditEntry>()
        .within(filter.scope)
        .and_if("actor = ", filter.actor.clone())
        .and_if("action = ", whole)
        .and_if("action >= ", beginning)
        .and_if("action < ", end)
        .and_if("target = ", filter.target.clone())
        .and_if("result = ", filter.result.clone())
        .and_if("command_id = ", filter.command_id)
        .and_if("recorded_at >= ", filter.from)
        .and_if("recorded_at < ", filter.until)
        .walk(pool, "position", walk)
        .await
}
