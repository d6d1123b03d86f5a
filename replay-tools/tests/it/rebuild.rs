//! Read models are derived again, compared byte for byte, and promoted when equal.

use crate::server::{Said, Server};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use std::time::{Duration, Instant};

fn of(said: &Said, name: &str) -> Value {
    said.lines().into_iter().find(|line| line["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rebuild_of_every_read_model_is_equal_to_the_first() {
    let server = Server::start().await;
    let head: i64 = server.ask("select max(position) from event_log.log").await;
    let early = server.replay(&["rebuild", "--all", "--dry-run"]);
    assert_eq!(early.code, 2, "{early:?}");
    assert!(early.err.contains("start the server once"), "{early:?}");

    let first = server.replay(&["rebuild", "--all", "--json"]).well();
    let second = server.replay(&["rebuild", "--all", "--json"]).well();
    assert!(first.lines().len() >= 8, "{first:?}");
    for line in second.lines() {
        assert_eq!(line["comparison"], "equal", "{line}");
        assert_eq!(line["promoted"], true, "{line}");
        assert_eq!(line["position"], head, "{line}");
        let before = of(&first, line["name"].as_str().unwrap());
        assert_eq!(line["rows"], before["rows"], "{line}");
        assert!(line["generation"].as_i64() > before["generation"].as_i64(), "{line}");
    }
    assert!(of(&second, "usage")["rows"].as_i64().unwrap() > 10);
    let verified = server.replay(&["verify", "--json"]).well().json();
    assert_eq!(verified["head"], head, "history is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_differ_are_shown_and_stay_until_they_are_replaced() {
    let server = Server::start().await;
    server.replay(&["rebuild", "purchases"]).well();
    let live = "update read_model.purchase set state = 'refunded'";
    server.execute("opscenter", live).await;
    for arguments in [&["rebuild", "purchases"][..], &["rebuild", "purchases", "--dry-run"]] {
        let said = server.replay(arguments);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains("different, first in table"), "{said:?}");
        assert!(said.out.contains("partially_refunded") && said.out.contains("thrown away"));
        assert!(said.err.contains("--replace"), "{said:?}");
        let state: String = server.ask("select state from read_model.purchase").await;
        assert_eq!(state, "refunded", "readers see what they saw");
    }
    let replaced = server.replay(&["rebuild", "purchases", "--replace"]).well();
    assert!(replaced.out.contains("readers see generation"), "{replaced:?}");
    let state: String = server.ask("select state from read_model.purchase").await;
    assert_eq!(state, "partially_refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_read_model_is_answered_with_the_list() {
    let server = Server::start().await;
    let said = server.replay(&["rebuild", "invoices"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("credit_statement") && said.err.contains("directory"), "{said:?}");
    assert_eq!(server.replay(&["rebuild"]).code, 2);
}

/// Waits until `--status` shows the generation in the making of a read model in a state.
fn wait_for(server: &Server, name: &str, state: &str, is_abandoned: bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = server.replay(&["rebuild", name, "--status", "--json"]).well();
        let found = said.lines().into_iter().find(|line| !line["target"].is_null());
        if let Some(found) = found
            && found["state"] == state
            && found["is_abandoned"] == is_abandoned
        {
            return found;
        }
        assert!(Instant::now() < deadline, "{name} is not {state}: {said:?}");
    }
}

/// Kills `opscenter-replay rebuild usage` where a lock of ours holds it up.
async fn kill_in(server: &Server, state: &str, lock: &str) {
    let mut holding = PgConnection::connect(&server.url("opscenter")).await.unwrap();
    holding.execute("begin").await.unwrap();
    holding.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
    let mut rebuilding = server.tool("opscenter").args(["rebuild", "usage"]).spawn().unwrap();
    let found = wait_for(server, "usage", state, false);
    assert!(found["target"].as_i64() > Some(0), "{found}");
    // SIGKILL: it has no time for anything.
    rebuilding.kill().unwrap();
    assert!(!rebuilding.wait().unwrap().success());
    holding.execute("rollback").await.unwrap();
    wait_for(server, "usage", state, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rebuild_leaves_the_live_rows_and_is_cleaned_up_by_the_next() {
    let server = Server::start().await;
    let early = server.replay(&["rebuild", "--status"]);
    assert_eq!(early.code, 2, "{early:?}");
    server.replay(&["rebuild", "usage"]).well();
    let rows = "select count(*) from read_model.usage_hour";
    let before: i64 = server.ask(rows).await;
    assert!(before > 0);
    // At its beginning it reads the log; at its end it holds the live one still.
    for (state, lock) in [
        ("building", "lock table event_log.log in access exclusive mode"),
        ("ready", "select 1 from read_model.projection where name = 'usage' for update"),
    ] {
        kill_in(&server, state, lock).await;
        assert_eq!(server.ask::<i64>(rows).await, before, "readers see what they saw");
        let printed = server.replay(&["rebuild", "--status"]).well();
        assert!(printed.out.contains("its maker is gone"), "{printed:?}");
        let again = server.replay(&["rebuild", "usage", "--json"]).well().json();
        assert_eq!((&again["comparison"], &again["promoted"]), (&"equal".into(), &true.into()));
        let left: i64 = server.ask("select count(*) from read_model.build").await;
        assert_eq!(left, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_goes_back_to_the_generation_before() {
    let server = Server::start().await;
    server.replay(&["rebuild", "usage"]).well();
    let live = |said: &Said| {
        let line = said.lines().into_iter().find(|line| line["state"] == "live");
        line.and_then(|line| line["generation"].as_i64()).unwrap()
    };
    let status = || server.replay(&["rebuild", "usage", "--status", "--json"]).well();
    let newer = live(&status());
    let back = server.replay(&["rebuild", "usage", "--roll-back", "--json"]).well().json();
    assert_eq!(back["generation"], newer - 1, "{back}");
    assert_eq!(live(&status()), newer - 1);
    let never = server.replay(&["rebuild", "bill", "--roll-back"]);
    assert_eq!(never.code, 2, "{never:?}");
    assert!(never.err.contains("no earlier generation"), "{never:?}");
}
