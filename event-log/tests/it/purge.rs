//! Purge: bodies whose time is over go, everything that proves history stays, and nothing else may
//! go by that way or by any other.

use crate::world::*;
use event_log::purge::{Purge, digest};
use event_log::tree::guard::Halt;
use event_log::verify::{Problem, Verifier};
use event_log::{
    Append, AppendError, CommitMode, Condition, EventLog, NewEvent, Position, Receipt, StreamId,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor};
use test_postgres::Server;
use uuid::Uuid;

const DAYS_AGO: &str = "create or replace function event_log.clock() returns timestamptz
    language sql volatile as $$select clock_timestamp() - interval '3 days'$$";
const NOW: &str = "create or replace function event_log.clock() returns timestamptz
    language sql volatile as 'select clock_timestamp()'";

fn named(stream: &str, type_name: &'static str, payload: &str) -> NewEvent {
    let stream = Some(StreamId::parse(stream).unwrap());
    NewEvent { stream, type_name: type_name.into(), meta: b"{}".to_vec(), ..loose(payload) }
}

fn policy() -> StreamId {
    StreamId::parse("retention/all").unwrap()
}

/// A log with `count` refusals from three days ago, and a policy of one day.
pub(crate) async fn old_refusals(log: &EventLog, server: &Server, count: usize) {
    server.execute(DAYS_AGO).await;
    for _ in 0..count {
        let refusal = named("security/denials", "command_refused", "somebody's secret");
        accepted(log, command(vec![refusal, on("other", "stays")])).await;
    }
    server.execute(NOW).await;
    let set = r#"{"kind":"denials","keep_days":1}"#;
    accepted(log, command(vec![named("retention/all", "retention_policy_set", set)])).await;
}

/// What is purged and recorded when everything that may go goes.
pub(crate) async fn everything_due(log: &EventLog, limit: usize) -> (Purge, Append) {
    let denials = StreamId::parse("security/denials").unwrap();
    let before = "2100-01-01T00:00:00Z".parse().unwrap();
    let events = log.purgeable(&denials, TENANT, before, limit).await.unwrap();
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    let digest = digest(events.iter().map(|e| (e.position, e.event_id, &e.event_hash[..])));
    let runs: Vec<Value> = positions.iter().map(|p| json!({ "first": p, "last": p })).collect();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let record = json!({ "runs": runs, "digest": hex }).to_string();
    let (version, _) = log.stream_head(&policy()).await.unwrap().unwrap();
    let mut append = command(vec![named("retention/all", "bodies_purged", &record)]);
    append.conditions.push(Condition::StreamVersion { stream: policy(), version });
    (Purge { tenant: TENANT, kind: "denials".to_owned(), positions, digest }, append)
}

/// Verifies the whole log, purges included; how many bodies are gone, or what is wrong.
pub(crate) async fn purged(log: &EventLog) -> Result<u64, Problem> {
    let mut verifier = Verifier::new();
    for batch in log.batches(verifier.position(), 10_000).await.unwrap() {
        let rows = log.raw_rows_of(&batch).await.unwrap();
        verifier.batch(&batch, &rows).map_err(|finding| finding.problem)?;
        for row in rows.iter().filter(|row| row.type_name == "bodies_purged") {
            let record: Value = serde_json::from_slice(&row.payload).unwrap();
            let number = |run: &Value, end: &str| run[end].as_i64().unwrap();
            let runs = record["runs"].as_array().unwrap().iter();
            let runs: Vec<_> =
                runs.map(|run| (number(run, "first"), number(run, "last"))).collect();
            let text = record["digest"].as_str().unwrap();
            let digest = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
            let covered = verifier.cover(&runs, &digest.try_into().unwrap());
            covered.map_err(|finding| finding.problem)?;
        }
    }
    verifier.finish().map_err(|finding| finding.problem)?;
    Ok(verifier.purged().covered())
}

pub(crate) async fn count(log: &EventLog, what: &str) -> i64 {
    let sql = format!("select count(*) from event_log.log where {what}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(log.pool()).await.unwrap()
}

#[tokio::test]
async fn purged_bodies_are_gone_whole_and_every_proof_holds() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    old_refusals(&log, &server, 5).await;
    let (purge, append) = everything_due(&log, 3).await;
    assert_eq!(purge.positions, [1, 3, 5]);
    let receipt = log.purge(purge.clone(), append.clone()).await.unwrap();
    assert_eq!(count(&log, "payload = '' and payload_salt = '' and meta_salt = ''").await, 3);
    assert_eq!(count(&log, "payload like '%secret%'").await, 2);
    assert_eq!(purged(&log).await, Ok(3));
    verified(&log).await;
    // Asked again it is the same purge, and what is gone is not due any more.
    let again = log.purge(purge, append).await.unwrap();
    assert_eq!(again, Receipt { was_replayed: true, ..receipt });
    let (rest, append) = everything_due(&log, 10).await;
    assert_eq!(rest.positions, [7, 9]);
    let _rest = log.purge(rest, append).await.unwrap();
    assert_eq!(purged(&log).await, Ok(5));
    // The next partition and what comes after are as ever.
    accepted(&log, command(vec![on("other", "goes on")])).await;
    verified(&log).await;
    log.close().await;
}

#[tokio::test]
async fn what_may_not_be_purged_is_refused_and_stays() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    old_refusals(&log, &server, 2).await;
    let (purge, append) = everything_due(&log, 10).await;
    let events = |positions: Vec<i64>| Purge { positions, ..purge.clone() };
    let kind = |kind: &str| Purge { kind: kind.to_owned(), ..purge.clone() };
    let elsewhere = Purge { tenant: Uuid::nil(), ..purge.clone() };
    let other_digest = Purge { digest: [0; 32], ..purge.clone() };
    for wrong in [events(vec![1]), events(vec![1, 2, 3]), kind("usage"), elsewhere, other_digest] {
        let fresh = Append { command: command(vec![]).command, ..append.clone() };
        let error = log.purge(wrong.clone(), fresh).await.unwrap_err();
        assert!(matches!(error, AppendError::Refused(_)), "{wrong:?}: {error}");
    }
    // Under a hold, and when the hold is on whoever caused the events.
    for (target, tenant) in [("org_1", TENANT), ("user/ada", Uuid::nil())] {
        let hold = named(&format!("legal_hold/{target}"), "legal_hold_placed", "{}");
        accepted(&log, command(vec![NewEvent { tenant, ..hold.clone() }])).await;
        let fresh = Append { command: command(vec![]).command, ..append.clone() };
        let error = log.purge(purge.clone(), fresh).await.unwrap_err();
        assert!(matches!(error, AppendError::Refused(_)), "{target}: {error}");
        let release = NewEvent { type_name: "legal_hold_released".into(), tenant, ..hold };
        let release = NewEvent { event_id: Uuid::now_v7(), ..release };
        accepted(&log, command(vec![release])).await;
    }
    // A record that tells of something else, and one that is younger than the policy says.
    let (_, mut lie) = everything_due(&log, 1).await;
    lie.command = command(vec![]).command;
    assert!(matches!(log.purge(purge.clone(), lie).await, Err(AppendError::Refused(_))));
    let young = named("security/denials", "command_refused", "of today");
    accepted(&log, command(vec![young])).await;
    let (with_young, record) = everything_due(&log, 10).await;
    assert_eq!(with_young.positions.len(), 3);
    assert!(matches!(log.purge(with_young, record).await, Err(AppendError::Refused(_))));
    assert_eq!(purged(&log).await, Ok(0));
    // While the history is not the one that was signed nothing is destroyed.
    log.halt(Halt::Forked { signed: Position(1) });
    let halted = log.purge(purge.clone(), append.clone()).await.unwrap_err();
    assert!(matches!(halted, AppendError::Halted(_)), "{halted}");
    log.resume();
    // A policy that changed meanwhile is a conflict.
    let set = r#"{"kind":"denials","keep_days":2}"#;
    accepted(&log, command(vec![named("retention/all", "retention_policy_set", set)])).await;
    let conflict = log.purge(purge, append).await.unwrap_err();
    assert!(matches!(conflict, AppendError::Conflict { .. }), "{conflict}");
    assert_eq!(purged(&log).await, Ok(0));
    log.close().await;
}

const STRIP: &str = "update event_log.log
    set payload_commit = sha256('\\x02'::bytea || payload_salt || payload),
        meta_commit = sha256('\\x03'::bytea || meta_salt || meta),
        payload = '', meta = '', payload_salt = '', meta_salt = ''
  where position = 1";

#[tokio::test]
async fn no_role_takes_a_body_away_by_itself_and_who_does_is_found() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    old_refusals(&log, &server, 2).await;
    let refused = sqlx::query(STRIP).execute(log.pool()).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    for call in ["event_log.retention_days('retention/all', null, 'denials')"] {
        let sql = format!("select {call}");
        let refused = sqlx::query(AssertSqlSafe(sql)).execute(log.pool()).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{call}: {refused}");
    }
    let mut admin = server.superuser().await;
    for role in ["none", "opscenter_owner"] {
        let sql = format!("set role {role}");
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
        let refused = admin.execute(STRIP).await.unwrap_err();
        assert!(refused.to_string().contains("never changed"), "{role}: {refused}");
        let part = "update event_log.log_p00000 set actor = 'eve' where position = 1";
        let refused = admin.execute(part).await.unwrap_err();
        assert!(refused.to_string().contains("never changed"), "{role}: {refused}");
    }
    admin.execute("set role none").await.unwrap();
    // A superuser who switches the guards off leaves a gap that nothing accounts for.
    for (change, problem) in [
        (STRIP, Problem::UnrecordedPurge),
        (
            "update event_log.log set payload_commit = sha256(''), meta_commit = sha256('')
           where position = 1",
            Problem::HalfPurged,
        ),
        (
            "update event_log.log set payload = '', payload_salt = '' where position = 1",
            Problem::EventHash,
        ),
    ] {
        admin.execute("set session_replication_role = replica").await.unwrap();
        admin
            .execute("create table kept as select * from event_log.log where position = 1")
            .await
            .unwrap();
        admin.execute(change).await.unwrap();
        assert_eq!(purged(&log).await, Err(problem));
        admin
            .execute(
                "delete from event_log.log where position = 1;
            insert into event_log.log select * from kept; drop table kept",
            )
            .await
            .unwrap();
        assert_eq!(purged(&log).await, Ok(0));
    }
    admin.close().await.unwrap();
    log.close().await;
}

#[tokio::test]
async fn a_purge_that_is_killed_happened_or_did_not() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    old_refusals(&log, &server, 40).await;
    let mut admin = server.superuser().await;
    let (mut done, mut broken) = (0, 0);
    for turn in 0..20_u64 {
        let (purge, append) = everything_due(&log, 2).await;
        let expected = count(&log, "payload_commit is not null").await;
        let purging = tokio::spawn({
            let (log, purge, append) = (log.clone(), purge.clone(), append.clone());
            async move { log.purge(purge, append).await }
        });
        // Somewhere on its way, in another place each turn.
        for _ in 0..turn * 7 {
            tokio::task::yield_now().await;
        }
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                     where query like '%purge_bodies%' and pid <> pg_backend_pid()";
        admin.execute(kill).await.unwrap();
        match purging.await.unwrap() {
            Ok(_) => done += 1,
            Err(AppendError::Unavailable(_)) => broken += 1,
            Err(other) => panic!("{other}"),
        }
        let gone = count(&log, "payload_commit is not null").await - expected;
        assert!([0, 2].contains(&gone), "{gone} of 2 bodies went");
        assert_eq!(purged(&log).await, Ok(u64::try_from(expected + gone).unwrap()));
        // Asked again with the same id, it happens if it had not.
        let _receipt = log.purge(purge, append).await.unwrap();
        assert_eq!(count(&log, "payload_commit is not null").await, expected + 2);
    }
    assert!(done + broken == 20);
    assert_eq!(purged(&log).await, Ok(40));
    admin.close().await.unwrap();
    log.close().await;
}
