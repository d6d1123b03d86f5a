//! A whole read model as it was at a moment, for whatever no query answers.

use crate::server::{Said, Server};
use serde_json::Value;

/// The rows of a table among those that were printed.
fn rows(said: &Said, table: &str) -> Vec<Value> {
    let lines = said.lines().into_iter().filter(|line| line["table"] == table);
    lines.map(|line| line["row"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_model_as_of_now_is_what_a_rebuild_shows_and_grows_with_the_moment() {
    let server = Server::start().await;
    server.replay(&["rebuild", "--all"]).well();
    for (name, table) in [
        ("usage", "usage_hour"),
        ("bill", "bill_charge"),
        ("audit_trail", "audit_entry"),
        ("catalogue", "catalogue_model"),
    ] {
        let now = server.replay(&["read-model", name, "--table", table]).well();
        let count: i64 = server.ask(&format!("select count(*) from read_model.{table}")).await;
        assert_eq!(i64::try_from(rows(&now, table).len()).unwrap(), count, "{name}");
        assert_eq!(now.lines().len(), rows(&now, table).len(), "only the table asked for");
        let before = server.replay(&["read-model", name, "--as-of", "0"]).well();
        assert_eq!(before.out, "");
    }
    // The price changed once: at each of the two positions it is the one published there.
    let sql = "select position from event_log.log where type = 'model_priced' order by position";
    let first: i64 = server.ask(&format!("{sql} limit 1")).await;
    let second: i64 = server.ask(&format!("{sql} offset 1 limit 1")).await;
    for (at, version) in [(first, 1), (second - 1, 1), (second, 2)] {
        let at = at.to_string();
        let then = server.replay(&["read-model", "catalogue", "--as-of", &at]).well();
        let models = rows(&then, "catalogue_model");
        assert_eq!(models.len(), 1, "{then:?}");
        assert_eq!(models[0]["version"], version, "at {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_of_too_many_events_or_rows_is_refused_with_what_would_allow_it() {
    let server = Server::start().await;
    let usage = "select count(*) from event_log.log where type = 'usage_recorded'";
    let usage: i64 = server.ask(usage).await;
    let refused = server.replay(&["read-model", "audit_trail", "--max-events", "10"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let head: i64 = server.ask("select max(position) from event_log.log").await;
    assert!(refused.err.contains(&format!("--max-events {head}")), "{refused:?}");
    // Only what the read model takes counts.
    let (most, less) = ((usage + 100).to_string(), (usage - 1).to_string());
    server.replay(&["read-model", "usage", "--max-events", &most]).well();
    let refused = server.replay(&["read-model", "usage", "--max-events", &less]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let refused = server.replay(&["read-model", "audit_trail", "--max-rows", "2"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("--max-rows 8"), "{refused:?}");
    for wrong in [&["read-model", "invoices"][..], &["read-model", "usage", "--table", "users"]] {
        let said = server.replay(wrong);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("usage"), "the answer names what there is: {said:?}");
    }
    let later = (head + 1).to_string();
    assert_eq!(server.replay(&["read-model", "usage", "--as-of", &later]).code, 2);
}
