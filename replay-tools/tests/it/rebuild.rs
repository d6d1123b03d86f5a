//! Read models are derived again, compared byte for byte, and promoted when equal.

use crate::server::{Said, Server};
use serde_json::Value;

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
