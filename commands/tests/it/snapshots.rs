//! Snapshots save work and never change an answer: used where they are what this code folded,
//! ignored wherever anything about them is not, and missed by nobody.

use crate::world::{World, credits, executor, request, system, text};
use commands::Executor;
use domain::credits::{Account, Command, Event as CreditEvent};
use domain::values::SpendId;
use domain::{Aggregate, Event, fold};
use event_log::{Append, CommandKey, Condition, NewEvent, Position, Recorded, StreamId};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// History is guarded by triggers, which a superuser can switch off.
const UNGUARDED: &str = "set session_replication_role = replica; ";

fn account_of(world: &World) -> StreamId {
    StreamId::new("credit_account", &world.organization.to_string()).unwrap()
}

/// Lets the account grow by this many spends, a thousand at a time.
async fn grow(world: &World, events: usize) {
    let stream = account_of(world);
    for start in (0..events).step_by(1_000) {
        let mut account = world.account().await;
        let version = world.log().stream_head(&stream).await.unwrap().unwrap().0;
        let mut spent = Vec::new();
        for _ in start..events.min(start + 1_000) {
            let spend_id = SpendId::new(Uuid::now_v7());
            let at = "2026-11-21T08:00:00Z".parse().unwrap();
            let (credits, reason) = (credits("0.25"), text("one of many"));
            let spend = Command::Spend { spend_id, credits, reason, at };
            for event in account.decide(spend).unwrap() {
                account = account.evolve(&event);
                spent.push(recorded_as(world, &stream, event));
            }
        }
        let append = Append {
            command: CommandKey { id: Uuid::now_v7(), content_hash: [0; 32] },
            tenant: world.organization.uuid(),
            conditions: vec![Condition::StreamVersion { stream: stream.clone(), version }],
            claims: vec![],
            events: spent,
        };
        world.log().append(append).await.unwrap();
    }
}

fn recorded_as(world: &World, stream: &StreamId, event: CreditEvent) -> NewEvent {
    let event = Event::from(event);
    NewEvent {
        tenant: world.organization.uuid(),
        stream: Some(stream.clone()),
        type_name: event.type_name().into(),
        schema_version: event.schema_version(),
        event_id: Uuid::now_v7(),
        occurred_at: "2026-11-21T08:00:00Z".parse().unwrap(),
        actor: "system/test".to_owned(),
        causation: None,
        correlation: None,
        meta: Vec::new(),
        payload: event.encode().unwrap(),
        tags: Vec::new(),
        subjects: Vec::new(),
    }
}

async fn versions(world: &World) -> Vec<i64> {
    let sql = "select version from event_log.snapshot order by version";
    sqlx::query_scalar(sql).fetch_all(world.log().pool()).await.unwrap()
}

/// Loads the account with a command, and waits until its snapshots are those.
async fn left(world: &World, expected: &[i64]) {
    world.asks(world.spend("0.25")).await.unwrap();
    let begun = Instant::now();
    while versions(world).await != expected {
        let found = versions(world).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{found:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A world whose account has well over 1,500 events and its three snapshots.
async fn long_story() -> World {
    let world = World::on_tier("free").await;
    world.grant("100000").await;
    grow(&world, 1_600).await;
    left(&world, &[500, 1_000, 1_500]).await;
    world
}

async fn history(world: &World) -> Vec<Recorded> {
    world.log().read_stream(&account_of(world), 0, None).await.unwrap()
}

fn folded(history: &[Recorded]) -> Account {
    let decode = |r: &Recorded| Event::decode(&r.type_name, r.schema_version, &r.payload);
    let events: Vec<CreditEvent> =
        history.iter().map(|r| decode(r).unwrap().try_into().unwrap()).collect();
    fold(&events)
}

async fn account_at(executor: &Executor, world: &World, at: Position) -> (Account, i64) {
    executor.as_of::<Account>(&world.organization.to_string(), at).await.unwrap()
}

async fn change(world: &World, sql: &str) {
    world.server.execute(&format!("{UNGUARDED}{sql}")).await;
}

/// The account at moments all over its history, asked of a process that has just begun.
async fn tells_the_truth(world: &World, why: &str) {
    let (executor, history) = (executor(&world.server).await, history(world).await);
    for version in [1, 499, 500, 501, 777, 1_000, 1_499, 1_500, history.len()] {
        let (state, found) = account_at(&executor, world, history[version - 1].position).await;
        assert_eq!(state, folded(&history[..version]), "{why}, version {version}");
        assert_eq!(found, i64::try_from(version).unwrap());
    }
    let spend = request(&system(), world.spend("0.25"));
    executor.execute(spend).await.unwrap();
    let head = executor.log().head().await.unwrap();
    assert_eq!(account_at(&executor, world, head).await.0, world.account().await, "{why}");
    executor.log().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_leaves_snapshots_and_tells_the_same_with_and_without_them() {
    let world = long_story().await;
    tells_the_truth(&world, "with snapshots").await;
    change(&world, "truncate event_log.snapshot").await;
    tells_the_truth(&world, "without any").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_before_a_snapshot_is_not_read_again() {
    let world = long_story().await;
    let (truth, history) = (world.account().await, history(&world).await);
    let broken = history[250].position;
    change(&world, &format!("update event_log.log set payload = '?' where position = {broken}"))
        .await;
    let fresh = executor(&world.server).await;
    let head = fresh.log().head().await.unwrap();
    assert_eq!(account_at(&fresh, &world, head).await.0, truth);
    fresh.execute(request(&system(), world.spend("0.25"))).await.unwrap();
    let id = world.organization.to_string();
    let before = fresh.as_of::<Account>(&id, history[400].position).await;
    assert!(before.is_err(), "no snapshot reaches behind itself");
    change(&world, "truncate event_log.snapshot").await;
    assert!(fresh.as_of::<Account>(&id, head).await.is_err(), "the log is what counts");
    fresh.log().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_what_this_code_left_is_ignored() {
    let world = long_story().await;
    let last = history(&world).await[1_499].position;
    let other = account_of(&world).as_str().replace("org_", "org_x");
    for (why, sql) in [
        ("another reducer", "set reducer = sha256(reducer)".to_owned()),
        (
            "another state",
            "set state = substr(state, 1, 32) || convert_to(regexp_replace(convert_from(
                 substr(state, 33), 'UTF8'), '\"remaining\":\"[0-9]', '\"remaining\":\"7'), 'UTF8')"
                .to_owned(),
        ),
        ("cut short", "set state = substr(state, 1, length(state) - 1)".to_owned()),
        ("next to nothing", "set state = '\\x00'".to_owned()),
        ("the one of another version", "set version = version + 1".to_owned()),
        ("ahead of the stream", "set version = version + 1000000".to_owned()),
        ("ahead of the log", "set position = position + 1000000".to_owned()),
        ("at another position", format!("set position = {last} where version = 500")),
        ("of another stream", format!("set stream = '{other}'")),
    ] {
        let copied = "create table copied as select * from event_log.snapshot";
        change(&world, copied).await;
        change(&world, &format!("update event_log.snapshot {sql}")).await;
        let same = "select not exists (table copied except table event_log.snapshot)";
        let same: bool =
            sqlx::query_scalar(same).fetch_one(&mut world.server.superuser().await).await.unwrap();
        assert!(!same, "{why}: nothing was changed");
        tells_the_truth(&world, why).await;
        change(&world, "truncate event_log.snapshot").await;
        change(&world, "insert into event_log.snapshot table copied").await;
        change(&world, "drop table copied").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_history_that_was_taken_back_is_ignored() {
    let world = long_story().await;
    let first = history(&world).await[1_399].position;
    // As after restoring an older copy under the snapshots of a newer one.
    for sql in [
        format!("delete from event_log.log where position >= {first}"),
        format!("delete from event_log.log_batch where last >= {first}"),
        format!(
            "insert into event_log.log_batch
             select max(last) + 1, {first} - 1, clock_timestamp(), sha256('x')
               from event_log.log_batch"
        ),
        format!(
            "update event_log.stream_head set version = 1399, position = {first} - 1
              where stream = '{}'",
            account_of(&world).as_str()
        ),
    ] {
        change(&world, &sql).await;
    }
    let fresh = executor(&world.server).await;
    let truth = world.account().await;
    let head = fresh.log().head().await.unwrap();
    assert_eq!(account_at(&fresh, &world, head).await, (truth, 1_399));
    // The stream grows another way past where the snapshot was taken.
    grow(&world, 200).await;
    tells_the_truth(&world, "another history").await;
    fresh.log().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_fails_because_of_snapshots() {
    let world = World::on_tier("free").await;
    world.grant("100000").await;
    grow(&world, 1_100).await;
    change(&world, "revoke insert, update, delete on event_log.snapshot from opscenter_service")
        .await;
    world.asks(world.spend("0.25")).await.unwrap();
    change(&world, "revoke all on event_log.snapshot from opscenter_service").await;
    let fresh = executor(&world.server).await;
    fresh.execute(request(&system(), world.spend("0.25"))).await.unwrap();
    let head = fresh.log().head().await.unwrap();
    assert_eq!(account_at(&fresh, &world, head).await.0, world.account().await);
    fresh.log().close().await;
}
