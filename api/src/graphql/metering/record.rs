//! Recording usage through GraphQL; `POST /api/v1/usage/batch` does the same with less around it.

use crate::graphql::asking;
use crate::graphql::outcome::{Answer, ReceiptObject, UserError, outcome_word};
use crate::graphql::rates::PowerLevel;
use crate::graphql::scalars::{DateTime, Id, SafeInt, Word};
use crate::graphql::{LogPosition, shown};
use crate::metrics;
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, Enum, InputObject, Object};
use commands::{
    Failure, Outcome, Receipt, Subject, UsageAnswer, UsageItem, UsageReport, UsageVerdict,
};
use domain::values::{Code, ModelName, OrganizationId, Text};
use std::time::Instant;
use uuid::Uuid;

/// The most records of one report.
pub(crate) const RECORDS_MAX: usize = 1_000;

/// How much of one meter.
#[derive(InputObject)]
struct QuantityInput {
    /// Which meter.
    meter: Word<Code>,
    /// How much, in the meter's base unit.
    quantity: SafeInt,
}

/// One usage record.
#[derive(InputObject)]
struct UsageRecordInput {
    /// The source's own id of it: counted once for ever.
    usage_id: Word<Text>,
    /// When it occurred.
    occurred_at: DateTime,
    /// The model that was called, when one was.
    model: Option<Word<ModelName>>,
    /// At which power; at all of it when not said.
    power: Option<PowerLevel>,
    /// How much of each meter.
    quantities: Vec<QuantityInput>,
}

/// Usage of one organization, as one source tells it.
#[derive(InputObject)]
struct UsageReportInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whose usage.
    organization_id: Id<OrganizationId>,
    /// Who tells: a service.
    source: Word<Text>,
    /// At most 1,000; a repeat of a record changes nothing.
    records: Vec<UsageRecordInput>,
}

/// What became of one usage record.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum UsageOutcome {
    /// It is new.
    Recorded,
    /// It was recorded before.
    Repeated,
    /// Its id was recorded before with other content; nothing was recorded.
    Different,
}

/// What became of one usage record.
struct UsageRecordVerdict(UsageVerdict);

/// What became of one usage record.
#[Object]
impl UsageRecordVerdict {
    /// What became of it.
    async fn outcome(&self) -> UsageOutcome {
        match self.0 {
            UsageVerdict::Recorded(_) => UsageOutcome::Recorded,
            UsageVerdict::Repeated(_) => UsageOutcome::Repeated,
            UsageVerdict::Different(_) => UsageOutcome::Different,
        }
    }

    /// Where the record of that id stands.
    async fn position(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        let (UsageVerdict::Recorded(position)
        | UsageVerdict::Repeated(position)
        | UsageVerdict::Different(position)) = self.0;
        Ok(shown(asking(ctx)?, position))
    }
}

/// What became of a report of usage.
struct UsageRecordPayload {
    answer: Answer,
    verdicts: Vec<UsageVerdict>,
}

/// What became of a report of usage.
#[Object]
impl UsageRecordPayload {
    /// What became of each record, in the order they were sent; empty when the rules say no.
    async fn verdicts(&self) -> Vec<UsageRecordVerdict> {
        self.verdicts.iter().copied().map(UsageRecordVerdict).collect()
    }

    /// Why the rules say no; empty when they said yes.
    async fn user_errors(&self) -> &[UserError] {
        &self.answer.errors
    }

    /// What the log said; null when nothing was recorded. Events are not listed one by one.
    async fn receipt(&self) -> Option<ReceiptObject<'_>> {
        self.answer.outcome.as_ref().map(|outcome| ReceiptObject(&outcome.receipt))
    }
}

#[derive(Default)]
pub(crate) struct MeteringMutation;

#[Object]
impl MeteringMutation {
    /// Records usage: up to 1,000 records of one source, each counted once for ever.
    async fn usage_record(
        &self,
        ctx: &Context<'_>,
        input: UsageReportInput,
    ) -> Result<UsageRecordPayload, Problem> {
        let asking = asking(ctx)?;
        let (command_id, report) = (input.command_id, report_of(input)?);
        match record(asking, report).await {
            Ok(answer) => Ok(payload(asking, command_id, answer)),
            Err(Recording::Refused(error)) => {
                let answer = Answer::refused(error);
                Ok(UsageRecordPayload { answer, verdicts: Vec::new() })
            }
            Err(Recording::Problem(problem)) => Err(problem),
        }
    }
}

fn report_of(input: UsageReportInput) -> Result<UsageReport, Problem> {
    if input.records.is_empty() || input.records.len() > RECORDS_MAX {
        let message = format!("{} records; send 1 to {RECORDS_MAX}", input.records.len());
        return Err(Problem::input("input.records", message));
    }
    let records = input.records.into_iter().enumerate().map(|(at, it)| item_of(at, it));
    Ok(UsageReport {
        organization_id: input.organization_id.0,
        source: input.source.0,
        records: records.collect::<Result<_, Problem>>()?,
        command_id: Some(input.command_id),
    })
}

fn item_of(at: usize, record: UsageRecordInput) -> Result<UsageItem, Problem> {
    let quantity = |it: QuantityInput| {
        let field = format!("input.records.{at}.quantities");
        let message = || format!("{} {} is less than none", it.quantity.0, it.meter.0);
        let quantity = u64::try_from(it.quantity.0);
        Ok((it.meter.0.clone(), quantity.map_err(|_| Problem::input(&field, message()))?))
    };
    Ok(UsageItem {
        usage_id: record.usage_id.0,
        occurred_at: record.occurred_at.0,
        model: record.model.map(|model| model.0),
        power: record.power.map(Into::into).unwrap_or_default(),
        quantities: record.quantities.into_iter().map(quantity).collect::<Result<_, Problem>>()?,
    })
}

/// Why a report was not recorded.
pub(crate) enum Recording {
    /// The rules say no; nothing was recorded.
    Refused(UserError),
    /// There is no answer.
    Problem(Problem),
}

/// Records a report.
pub(crate) async fn record(asking: &Asking, report: UsageReport) -> Result<UsageAnswer, Recording> {
    let (organization_id, started) = (report.organization_id, Instant::now());
    let result = asking.services.executor.record_usage(&asking.caller, report).await;
    metrics::command("usage_record", outcome_word(&result), started.elapsed());
    match result {
        Ok(answer) => {
            count(&answer);
            Ok(answer)
        }
        Err(failure) => {
            asking.note_read();
            if let Some(error) = UserError::of(&failure) {
                return Err(Recording::Refused(error));
            }
            let problem = match failure {
                Failure::Forbidden { .. } => asking.hide(organization_id, failure.into()).await,
                failure => Problem::from(failure),
            };
            Err(Recording::Problem(problem))
        }
    }
}

fn count(answer: &UsageAnswer) {
    let mut counts = [("recorded", 0_u64), ("repeated", 0), ("different", 0)];
    for verdict in &answer.verdicts {
        counts[match verdict {
            UsageVerdict::Recorded(_) => 0,
            UsageVerdict::Repeated(_) => 1,
            UsageVerdict::Different(_) => 2,
        }]
        .1 += 1;
    }
    for (verdict, count) in counts {
        metrics::usage(verdict, count);
    }
}

fn payload(asking: &Asking, command_id: Uuid, answer: UsageAnswer) -> UsageRecordPayload {
    let newest = answer.verdicts.iter().map(|verdict| match verdict {
        UsageVerdict::Recorded(at) | UsageVerdict::Repeated(at) | UsageVerdict::Different(at) => {
            *at
        }
    });
    let position = answer.last_position.or_else(|| newest.max()).unwrap_or_default();
    let receipt = Receipt {
        command_id,
        position,
        event_ids: Vec::new(),
        recorded_at: answer.recorded_at,
        was_replayed: answer.was_replayed,
    };
    asking.note_receipt(&receipt);
    let outcome = Outcome { receipt, subject: Subject::Installation };
    let answer_shape = Answer { outcome: Some(outcome), ..Answer::default() };
    UsageRecordPayload { answer: answer_shape, verdicts: answer.verdicts }
}
