//! A log whose bodies were purged verifies as whole with authorised gaps, in its database and as a
//! file; a gap that nobody recorded is named.

use crate::server::Server;
use crate::world::World;
use commands::{
    AccessCommand, Caller, Clock, Executor, Request, RetentionCommand, SystemClock, TenancyCommand,
    new_command_id,
};
use domain::retention::RecordKind;
use domain::values::{OrganizationId, UserId};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// A clock that is far ahead.
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> domain::Instant {
        SystemClock.now() + std::time::Duration::from_hours(40 * 24)
    }
}

const AHEAD: &str = "create or replace function event_log.clock() returns timestamptz
    language sql volatile as $$select clock_timestamp() + interval '40 days'$$";

/// Has some commands refused and their bodies purged; how many.
async fn purge(server: &Server) -> i64 {
    let installation = server.open().await;
    let world = World::new(&installation);
    let refused = async |command: commands::Command| {
        let command_id = new_command_id();
        let caller = Caller::system("test");
        let request = Request { command_id, caller, expected_version: None, command };
        world.executor.execute(request).await.unwrap_err();
    };
    for number in 1..=4_u128 {
        let user_id = UserId::new(Uuid::from_u128(number));
        refused(AccessCommand::UserActivate { user_id }.into()).await;
        let organization_id = OrganizationId::new(Uuid::from_u128(number));
        refused(TenancyCommand::OrganizationReactivate { organization_id }.into()).await;
    }
    let (organization_id, kind) = (None, RecordKind::Denials);
    // The log's time is that of what was recorded last, at least.
    server.execute("opscenter", AHEAD).await;
    world.ask(RetentionCommand::RetentionPolicySet { organization_id, kind, keep_days: 30 }).await;
    let keys = installation.keys().unwrap().clone();
    let later = Executor::new(installation.log().clone(), keys, Arc::new(Ahead));
    let command = RetentionCommand::RetentionPurge { organization_id, kind }.into();
    let (command_id, caller) = (new_command_id(), Caller::system("test"));
    let request = Request { command_id, caller, expected_version: None, command };
    assert_eq!(later.execute(request).await.unwrap().receipt.event_ids.len(), 1);
    installation.close().await;
    server.ask("select count(*) from event_log.log where payload_commit is not null").await
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_a_purged_log_is_whole_with_authorised_gaps_and_an_unrecorded_gap_is_named() {
    let server = Server::start().await;
    let before = server.replay(&["verify", "--json"]).well().json();
    assert_eq!(before["purged"], 0);
    let gone = purge(&server).await;
    assert!(gone >= 4, "{gone} bodies are gone");
    // What was noted before the purge still fits.
    let (head, chain) = (before["head"].to_string(), before["chain"].as_str().unwrap());
    let noted = ["verify", "--expect-head", &head, "--expect-chain", chain, "--json"];
    let whole = server.replay(&noted).well().json();
    assert_eq!((&whole["ok"], &whole["purged"]), (&json!(true), &json!(gone)));
    let said = server.replay(&["verify"]).well().out;
    assert!(said.contains("The log is whole with authorised gaps"), "{said}");
    let file = server.folder().join("log.jsonl");
    std::fs::write(&file, server.replay(&["events", "--raw"]).well().out).unwrap();
    let from = ["verify", "--from", file.to_str().unwrap(), "--json"];
    let elsewhere = server.replay(&from).well().json();
    assert_eq!((&elsewhere["chain"], &elsewhere["purged"]), (&whole["chain"], &json!(gone)));
    // Read models are made from what is left, and made again they are the same.
    server.replay(&["rebuild", "--all"]).well();
    let rebuilt = server.replay(&["rebuild", "--all", "--dry-run", "--json"]).well().out;
    assert!(rebuilt.lines().count() > 5 && !rebuilt.contains("different"), "{rebuilt}");
    // One more body goes, by somebody who may do anything, and leaves its commitments.
    let one: i64 = server
        .ask("select max(position) from event_log.log where type = 'retention_policy_set'")
        .await;
    let strip = format!(
        "set session_replication_role = replica;
         update event_log.log
            set payload_commit = sha256('\\x02'::bytea || payload_salt || payload),
                meta_commit = sha256('\\x03'::bytea || meta_salt || meta),
                payload = '', meta = '', payload_salt = '', meta_salt = ''
          where position = {one}"
    );
    server.execute("opscenter", &strip).await;
    let found = server.replay(&["verify"]);
    assert_eq!(found.code, 20, "{found:?}");
    assert!(found.err.contains(&format!("position {one}")), "{found:?}");
    assert!(found.err.contains("no recorded purge says so"), "{found:?}");
}
