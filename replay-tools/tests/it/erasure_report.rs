//! What is left of whoever was erased: nothing, or the report says where.

use crate::server::Server;
use serde_json::{Value, json};

fn of(report: &Value, place: &str) -> i64 {
    let traces = report["erasures"][0]["traces"].as_array().unwrap();
    let found = traces.iter().find(|it| it["place"].as_str().unwrap().starts_with(place));
    found.unwrap_or_else(|| panic!("{place} in {report:#}"))["found"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_reported_with_who_and_when_and_nothing_is_left() {
    let server = Server::start().await;
    let search = ["--search", "gone@example.org"];
    let said = server.replay(&["erasure-report", search[0], search[1], "--json"]).well();
    let report = said.json();
    assert_eq!((&report["ok"], &report["proofs_hold"]), (&json!(true), &json!(true)));
    let erasure = &report["erasures"][0];
    assert_eq!((&erasure["ground"], &erasure["unreadable"]), (&json!("requested"), &json!(2)));
    assert_eq!(erasure["requested"]["actor"], "system/test");
    assert!(erasure["erased"]["position"].as_i64() > erasure["requested"]["position"].as_i64());
    for place in
        ["event_log.log", "event_log.subject_key", "event_log.subject_vault", "event_log.claim"]
    {
        assert_eq!(of(&report, place), 0);
    }
    assert!(report["searched"].as_array().unwrap().len() > 20, "{report:#}");
    let text = server.replay(&["erasure-report"]).well().out;
    assert!(text.contains("Nothing is left") && text.contains("2 sealed fields"), "{text}");
    let nobody = server.replay(&["erasure-report", "usr_0000000000000000000000000a"]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_left_or_unfinished_or_wrong_is_a_problem() {
    let server = Server::start().await;
    // Somebody puts a key back, another claims the address for the person again.
    let user: String =
        server.ask("select substr(stream, 6) from event_log.log where type = 'user_erased'").await;
    let left = format!(
        "update event_log.subject_key set wrapped = 'x', erased_at = null where wrapped is null;
         insert into event_log.claim
         values ('{}', 'user.email', 'hash', '{user}', gen_random_uuid())",
        uuid::Uuid::nil()
    );
    server.execute("opscenter", &left).await;
    let mut without = server.tool("opscenter");
    without.env("OPS_DATA", server.folder().join("elsewhere"));
    let said = without.args(["erasure-report", "--json"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(of(&report, "event_log.subject_key"), 1);
    assert_eq!(of(&report, "event_log.claim"), 1);
    // The record of the end is cut off with everything after it.
    let cut = "set session_replication_role = replica;
         delete from event_log.log where position >=
             (select first from event_log.log_batch b, event_log.log l
               where l.type = 'user_erased' and l.position between b.first and b.last);
         delete from event_log.log_batch where first >
             (select max(position) from event_log.log)";
    server.execute("opscenter", cut).await;
    let mut without = server.tool("opscenter");
    without.env("OPS_DATA", server.folder().join("elsewhere"));
    let said = without.args(["erasure-report"]).output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(error.contains("is not finished"), "{error}");
}
