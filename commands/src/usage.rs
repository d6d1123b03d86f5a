//! Recording usage: many records at once, each counted once for ever.
//!
//! A report is checked as a whole before anything is recorded: a record that names an unknown meter
//! or could not be priced refuses the report and says which record it is. What a repeat finds is
//! its position; what contradicts an earlier record is refused record by record.

use crate::caller::Caller;
use crate::executor::{Executor, of_append};
use crate::failure::{Failure, Refusal};
use crate::ids::new_uuid;
use domain::access::{Action, Permission, Resource, Scope};
use domain::catalogue::rate_card::PowerLevel;
use domain::metering::usage::{self, UsageRecorded};
use domain::tenancy::Organization;
use domain::values::{Code, ModelName, OrganizationId, Text};
use domain::{Event, Instant};
use event_log::{CommandKey, NewEvent, Position, UsageBatch, UsageOutcome, UsageRecord};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Usage of one organization, as one source tells it; at most 1,000 records.
#[derive(Clone, Debug)]
pub struct UsageReport {
    /// Whose usage.
    pub organization_id: OrganizationId,
    /// Who tells: a service, a file.
    pub source: Text,
    /// The records.
    pub records: Vec<UsageItem>,
    /// Set when the report is a command of its own, with a receipt.
    pub command_id: Option<Uuid>,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageItem {
    /// The source's own id of it.
    pub usage_id: Text,
    /// When it occurred, as the source says.
    pub occurred_at: Instant,
    /// The model that was called, when one was.
    pub model: Option<ModelName>,
    /// At which power.
    pub power: PowerLevel,
    /// How much of each meter, in the meter's base unit.
    pub quantities: BTreeMap<Code, u64>,
}

/// A report that was checked and is ready for the log.
#[derive(Debug)]
pub struct PreparedUsage(UsageBatch);

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageAnswer {
    /// One verdict per record, in order.
    pub verdicts: Vec<UsageVerdict>,
    /// Position of the first new record, if any is new.
    pub first_position: Option<Position>,
    /// Position of the last new record, if any is new.
    pub last_position: Option<Position>,
    /// When the log took it.
    pub recorded_at: Instant,
    /// Whether the report, as a command, had taken effect before.
    pub was_replayed: bool,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageVerdict {
    /// It is new and stands there.
    Recorded(Position),
    /// It was recorded before, there.
    Repeated(Position),
    /// Its id was recorded before with other content, there; nothing was recorded.
    Different(Position),
}

impl Executor {
    /// Records usage.
    ///
    /// # Errors
    /// [`Failure::Refused`] names the first record that cannot be recorded; nothing was recorded.
    pub async fn record_usage(
        &self,
        caller: &Caller,
        report: UsageReport,
    ) -> Result<UsageAnswer, Failure> {
        let prepared = self.prepare_usage(caller, &report).await?;
        self.record_prepared_usage(prepared).await
    }

    /// Checks a report and makes it ready for the log. Whoever records much does this for the next
    /// report while the one before is recorded.
    ///
    /// # Errors
    /// As [`record_usage`](Self::record_usage).
    pub async fn prepare_usage(
        &self,
        caller: &Caller,
        report: &UsageReport,
    ) -> Result<PreparedUsage, Failure> {
        let scope = Scope::Organization(report.organization_id);
        let permission = Permission::new(Resource::Metering, Action::Write);
        self.authorize(caller, permission, scope).await?;
        self.check_usage(report).await?;
        batch_of(caller, report).map(PreparedUsage)
    }

    /// Records what was prepared. Reports stand in the log in the order in which this is first
    /// polled, as far as one process and one connection of the log's writer go.
    ///
    /// # Errors
    /// That the log could not take it.
    pub async fn record_prepared_usage(
        &self,
        PreparedUsage(batch): PreparedUsage,
    ) -> Result<UsageAnswer, Failure> {
        let receipt = self.inner.log.append_usage(batch).await.map_err(of_append)?;
        let verdict = |outcome| match outcome {
            UsageOutcome::Recorded(position) => UsageVerdict::Recorded(position),
            UsageOutcome::Repeated(position) => UsageVerdict::Repeated(position),
            UsageOutcome::Different { position } => UsageVerdict::Different(position),
        };
        Ok(UsageAnswer {
            verdicts: receipt.outcomes.into_iter().map(verdict).collect(),
            first_position: receipt.first_position,
            last_position: receipt.last_position,
            recorded_at: receipt.recorded_at,
            was_replayed: receipt.was_replayed,
        })
    }

    async fn check_usage(&self, report: &UsageReport) -> Result<(), Failure> {
        let id = report.organization_id.to_string();
        let loader = &self.inner.loader;
        let freshness = crate::loader::Freshness::Now;
        let organization = loader.load::<Organization>(&id, freshness).await?.state;
        let Some((tier, version)) = organization.tier else {
            return Err(Refusal::Organization(domain::tenancy::Refusal::NotFound).into());
        };
        let book = self.inner.price_books.newest(&self.inner.log).await?;
        let pricing = book.pricing(&tier, version).ok_or_else(|| {
            Failure::Internal(format!("tier {tier} has no version {version}").into())
        })?;
        for item in &report.records {
            let record = record_of(report, item);
            record.check().map_err(Refusal::from)?;
            if let Some(unknown) = item.quantities.keys().find(|meter| !book.has_meter(meter)) {
                return Err(Refusal::from(usage::Refusal::UnknownMeter(unknown.clone())).into());
            }
            let priced = book.rate(&record, pricing);
            priced.map_err(|reason| Refusal::from(usage::Refusal::from(reason)))?;
        }
        Ok(())
    }
}

fn record_of(report: &UsageReport, item: &UsageItem) -> UsageRecorded {
    UsageRecorded {
        source: report.source.clone(),
        usage_id: item.usage_id.clone(),
        model: item.model.clone(),
        power: item.power,
        quantities: item.quantities.clone(),
    }
}

fn batch_of(caller: &Caller, report: &UsageReport) -> Result<UsageBatch, Failure> {
    let tenant = report.organization_id.uuid();
    let actor = caller.actor.to_string();
    let batch_id = report.command_id.unwrap_or_else(new_uuid);
    let mut whole = Sha256::new();
    let mut records = Vec::with_capacity(report.records.len());
    for item in &report.records {
        let event = Event::from(usage::Event::from(record_of(report, item)));
        let payload = event.encode()?;
        let mut hasher = Sha256::new();
        hasher.update(item.occurred_at.timestamp_micros().to_be_bytes());
        hasher.update(&payload);
        let content_hash: [u8; 32] = hasher.finalize().into();
        whole.update(content_hash);
        records.push(UsageRecord {
            usage_id: item.usage_id.to_string(),
            content_hash,
            event: NewEvent {
                tenant,
                stream: None,
                type_name: Cow::Borrowed(event.type_name()),
                schema_version: event.schema_version(),
                event_id: new_uuid(),
                occurred_at: item.occurred_at,
                actor: actor.clone(),
                causation: Some(batch_id),
                correlation: caller.correlation,
                meta: Vec::new(),
                payload,
                tags: Vec::new(),
                subjects: Vec::new(),
            },
        });
    }
    let command =
        report.command_id.map(|id| CommandKey { id, content_hash: whole.finalize().into() });
    Ok(UsageBatch { tenant, source: report.source.to_string(), records, command })
}
