//! One client: a durable command through the executor, against a plain insert and commit.

use crate::cluster::{Cluster, INSERT_PLAIN, LIKE_THE_LOG};
use crate::report::{Report, Target, median, percentile};
use commands::{Caller, CreditCommand, Executor, Request, new_command_id};
use domain::credits::{GrantKind, GrantSource};
use domain::tenancy::organization::{Event as OrganizationEvent, OrganizationCreated};
use domain::values::{Credits, OrganizationId, Text, UserId};
use domain::{Event, Instant as Moment};
use event_log::{Append, CommandKey, NewEvent, StreamId};
use sqlx::postgres::PgConnection;
use std::borrow::Cow;
use std::time::{Duration, Instant};
use uuid::Uuid;

const ROUNDS: usize = 7;
const PER_ROUND: usize = 300;

/// A spend of a thousandth of a credit.
pub(crate) fn spend(organization_id: OrganizationId) -> Request {
    let credits = Credits::from_micro(1_000);
    let reason: Text = "bench".parse().expect("a text");
    Request {
        command_id: new_command_id(),
        caller: Caller::system("bench"),
        expected_version: None,
        command: CreditCommand::CreditSpend { organization_id, credits, reason }.into(),
    }
}

/// An organization with more credits than any benchmark spends. It is written to the log as its
/// executor would write it, without the catalogue that benchmarks do not need.
pub(crate) async fn organization(executor: &Executor) -> OrganizationId {
    let organization_id = OrganizationId::new(Uuid::now_v7());
    let created = OrganizationCreated {
        organization_id,
        slug: format!("b-{}", organization_id.uuid().simple()).parse().expect("a code"),
        name: "Bench".parse().expect("a text"),
        owner: UserId::new(Uuid::nil()),
        tier: "free".parse().expect("a code"),
        tier_version: 1,
    };
    let event: Event = OrganizationEvent::from(created).into();
    let stream = StreamId::new("organization", &organization_id.to_string()).expect("a stream");
    let append = Append {
        command: CommandKey { id: Uuid::now_v7(), content_hash: [0; 32] },
        tenant: organization_id.uuid(),
        conditions: vec![],
        claims: vec![],
        events: vec![new_event(organization_id.uuid(), Some(stream), &event, now(executor))],
    };
    executor.log().append(append).await.expect("an organization");
    let grant = CreditCommand::CreditGrant {
        organization_id,
        credits: Credits::from_whole(1_000_000_000).expect("fits"),
        kind: GrantKind::Promotional,
        source: GrantSource::Manual { reason: "bench".parse().expect("a text") },
        priority: 100,
        effective_at: None,
        expires_at: None,
    };
    let request = Request {
        command_id: new_command_id(),
        caller: Caller::system("bench"),
        expected_version: None,
        command: grant.into(),
    };
    executor.execute(request).await.expect("credits");
    organization_id
}

fn now(executor: &Executor) -> Moment {
    executor.clock().now()
}

/// An event as the log takes it.
pub(crate) fn new_event(
    tenant: Uuid,
    stream: Option<StreamId>,
    event: &Event,
    occurred_at: Moment,
) -> NewEvent {
    NewEvent {
        tenant,
        stream,
        type_name: Cow::Borrowed(event.type_name()),
        schema_version: event.schema_version(),
        event_id: Uuid::now_v7(),
        occurred_at,
        actor: "system/bench".to_owned(),
        causation: Some(Uuid::now_v7()),
        correlation: None,
        meta: Vec::new(),
        payload: event.encode().expect("a payload"),
        tags: Vec::new(),
        subjects: Vec::new(),
    }
}

/// One plain row and its durable commit.
pub(crate) async fn insert_plain(connection: &mut PgConnection, stream: &str, version: i64) {
    sqlx::query(INSERT_PLAIN)
        .bind(Uuid::nil())
        .bind(stream)
        .bind(version)
        .bind(Uuid::now_v7())
        .bind(Uuid::now_v7())
        .bind(&b"{\"command\":\"credit_spend\",\"on_behalf_of\":null,\"origin\":null}"[..])
        .bind(&[7_u8; 220][..])
        .bind(&[7_u8; 16][..])
        .bind(&[7_u8; 32][..])
        .execute(&mut *connection)
        .await
        .expect("a plain row");
}

pub(crate) async fn one_client(cluster: &Cluster, report: &mut Report) {
    cluster.run(LIKE_THE_LOG).await;
    let executor = cluster.executor().await;
    let organization = organization(&executor).await;
    let mut connection = cluster.connect().await;
    let mut version = 0_i64;
    let (mut rounds, mut tails) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut plain = Vec::with_capacity(PER_ROUND);
        let mut own = Vec::with_capacity(PER_ROUND);
        for _ in 0..PER_ROUND {
            version += 1;
            let begun = Instant::now();
            insert_plain(&mut connection, "plain/1", version).await;
            plain.push(begun.elapsed());
            let request = spend(organization);
            let begun = Instant::now();
            executor.execute(request).await.expect("a spend");
            own.push(begun.elapsed());
        }
        plain.sort();
        own.sort();
        if round > 0 {
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            rounds.push((micros(percentile(&plain, 50)), micros(percentile(&own, 50))));
            tails.push(micros(percentile(&own, 99)) / micros(percentile(&own, 50)));
        }
    }
    report.ratio("one client, one command, p50", "µs", &rounds, Target::AtMost(1.5));
    report.figure("one client, p99 over p50", &format!("{:.1}", median(&tails)));
    executor.log().close().await;
}
