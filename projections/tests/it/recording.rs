//! Events and usage into the log, without the executor: tests of read models decide for themselves.

use chrono::DateTime;
use domain::catalogue::rate_card::PowerLevel;
use domain::metering::UsageRecorded;
use domain::values::OrganizationId;
use domain::{Event, Instant, credits};
use event_log::{
    Append, CommandKey, EventLog, NewEvent, Position, StreamId, UsageBatch, UsageOutcome,
    UsageRecord,
};
use uuid::Uuid;

/// Records one command's events; answers the last position.
pub(crate) async fn record(log: &EventLog, tenant: Uuid, events: Vec<(String, Event)>) -> Position {
    let command = CommandKey { id: Uuid::now_v7(), content_hash: [0; 32] };
    let new = |(stream, event): (String, Event)| {
        let stream = StreamId::parse(&stream).unwrap();
        new_event(tenant, Some(stream), &event, command.id)
    };
    let (conditions, claims) = (Vec::new(), Vec::new());
    let events = events.into_iter().map(new).collect();
    let append = Append { command, tenant, conditions, claims, events };
    log.append(append).await.unwrap().last_position
}

/// Records an event of a known name in a version that nobody knows yet.
pub(crate) async fn record_newer(log: &EventLog, tenant: Uuid, stream: &str) {
    let command = CommandKey { id: Uuid::now_v7(), content_hash: [0; 32] };
    let settled = credits::Event::from(credits::OwedSettled { consumed: Vec::new() });
    let stream = StreamId::parse(stream).unwrap();
    let event = new_event(tenant, Some(stream), &settled.into(), command.id);
    let events = vec![NewEvent { schema_version: 99, ..event }];
    let (conditions, claims) = (Vec::new(), Vec::new());
    log.append(Append { command, tenant, conditions, claims, events }).await.unwrap();
}

fn new_event(tenant: Uuid, stream: Option<StreamId>, event: &Event, causation: Uuid) -> NewEvent {
    NewEvent {
        tenant,
        stream,
        type_name: event.type_name().into(),
        schema_version: event.schema_version(),
        event_id: Uuid::now_v7(),
        occurred_at: DateTime::from_timestamp(1_780_000_000, 0).unwrap(),
        actor: "system/test".to_owned(),
        causation: Some(causation),
        correlation: None,
        meta: br#"{"command":"test","on_behalf_of":null,"origin":"127.0.0.1"}"#.to_vec(),
        payload: event.encode().unwrap(),
        tags: Vec::new(),
        subjects: Vec::new(),
    }
}

/// Records usage; answers where each record stands.
pub(crate) async fn append_usage(
    log: &EventLog,
    organization: OrganizationId,
    records: &[(Instant, UsageRecorded)],
) -> Vec<Position> {
    let causation = Uuid::now_v7();
    let new = |(occurred_at, record): &(Instant, UsageRecorded)| {
        let event = domain::metering::Event::from(record.clone()).into();
        let event = new_event(organization.uuid(), None, &event, causation);
        UsageRecord {
            usage_id: record.usage_id.to_string(),
            content_hash: [0; 32],
            event: NewEvent { occurred_at: *occurred_at, ..event },
        }
    };
    let batch = UsageBatch {
        tenant: organization.uuid(),
        source: "test".to_owned(),
        records: records.iter().map(new).collect(),
        command: None,
    };
    let receipt = log.append_usage(batch).await.unwrap();
    let position = |outcome: &UsageOutcome| match outcome {
        UsageOutcome::Recorded(position) => *position,
        UsageOutcome::Repeated(_) | UsageOutcome::Different { .. } => panic!("{outcome:?}"),
    };
    receipt.outcomes.iter().map(position).collect()
}

/// A usage record whose shape follows from a number.
pub(crate) fn usage_record(id: Uuid, number: u16) -> UsageRecorded {
    let meters: &[&str] = match number % 6 {
        0 => &["llm_tokens_input", "llm_tokens_output"],
        1 => &["concurrent_connections"],
        2 => &["api_calls", "llm_tokens_input"],
        3 => &["search_queries", "emails_sent"],
        // No model and no price: these wait for a person.
        4 => &["llm_tokens_output"],
        _ => &["stt_seconds"],
    };
    let model = ["gpt-4o", "together/llama"][usize::from(number) % 2];
    UsageRecorded {
        source: "test".parse().unwrap(),
        usage_id: id.to_string().parse().unwrap(),
        model: (number % 6 < 4).then(|| model.parse().unwrap()),
        power: PowerLevel::Precision,
        quantities: meters.iter().map(|it| (it.parse().unwrap(), u64::from(number) + 1)).collect(),
    }
}
