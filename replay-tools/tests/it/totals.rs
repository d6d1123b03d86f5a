//! Totals equal those of an independent computation, at any moment.

use crate::server::{Server, new_folder, said};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn totals_equal_an_independent_computation_at_every_moment() {
    let server = Server::start().await;
    let folder = new_folder();
    let events = folder.join("events.jsonl");
    fs::write(&events, server.replay(&["events"]).well().out).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/totals.py");
    let head: i64 = server.ask("select max(position) from event_log.log").await;
    for slug in ["acme", "lone-wolf", "tight", "late"] {
        let born: i64 = server
            .ask(&format!(
                "select min(position) from event_log.log where type = 'organization_created'
                    and convert_from(payload, 'UTF8') like '%\"slug\":\"{slug}\"%'"
            ))
            .await;
        for position in (born..head).step_by(97).chain([head - 1, head]) {
            let at = position.to_string();
            let ours = ["totals", "--json", "--organization", slug, "--as-of", &at];
            let ours = server.replay(&ours).well().json();
            let theirs =
                Command::new("python3").arg(&script).arg(&events).args([slug, &at]).output();
            let theirs = said(theirs.unwrap()).well().json();
            assert_eq!(ours, theirs, "{slug} at {position}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_say_what_is_charged_owed_and_not_charged_yet() {
    let server = Server::start().await;
    let of = |slug| server.replay(&["totals", "--json", "--organization", slug]).well().json();
    let late = of("late");
    assert_eq!(late["uncharged_records"], 5);
    assert_eq!(late["charge_usd"], "0.000000");
    assert_eq!(late["meters"]["api_calls"], 5);
    let tight = of("tight");
    assert_eq!(tight["balance_credits"], "0.000000");
    assert_eq!(tight["uncharged_records"], 0);
    let owed = tight["owed_usd"].as_str().unwrap();
    assert!(owed > "0.01" && owed.len() == "0.012345678".len(), "to the last micro-credit: {owed}");
    let people = server.replay(&["totals", "--organization", "late"]).well().out;
    assert!(people.contains("5 usage records are not charged yet"), "{people}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_found_by_slug_or_id_and_a_time_means_what_was_recorded_by_then() {
    let server = Server::start().await;
    let events = server.replay(&["events", "--type", "organization_created"]).well().lines();
    let acme = events[0]["payload"]["organization_id"].as_str().unwrap().to_owned();
    let by_slug = server.replay(&["totals", "--json", "--organization", "acme"]).well().json();
    let by_id = server.replay(&["totals", "--json", "--organization", &acme]).well().json();
    assert_eq!(by_slug, by_id);

    let charged = server.replay(&["events", "--type", "usage_charged", "--limit", "1"]).well();
    let (position, time) = (&charged.lines()[0]["position"], &charged.lines()[0]["recorded_at"]);
    let at = |moment: &str| {
        let question = ["totals", "--json", "--organization", "acme", "--as-of", moment];
        server.replay(&question).well().json()
    };
    let (mut by_time, mut by_position) = (at(time.as_str().unwrap()), at(&position.to_string()));
    // A moment means the whole batch of that moment, which may go on after the charge.
    assert!(by_time["position"].as_i64() >= by_position["position"].as_i64());
    for totals in [&mut by_time, &mut by_position] {
        totals.as_object_mut().unwrap().remove("position");
    }
    assert_eq!(by_time, by_position);
    assert_eq!(at(&(position.as_i64().unwrap() - 1).to_string())["charge_usd"], "0.000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_what_is_not_there_is_answered_with_what_is() {
    let server = Server::start().await;
    for (arguments, says) in [
        (["--organization", "acne", "--as-of", "now"], "neither a position such as"),
        (["--organization", "acne", "--as-of", "9000000"], "the log ends at"),
        (["--organization", "acne", "--as-of", "2020-11-30"], "at position 0"),
        (["--organization", "org_1", "--as-of", "300"], "there were acme, lone-wolf, tight"),
    ] {
        let said = server.replay(&[&["totals", "--json"], arguments.as_slice()].concat());
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(says), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_contradicts_itself_is_an_error_and_never_a_figure() {
    let server = Server::start().await;
    let charged = server.replay(&["events", "--type", "usage_charged", "--organization", "acme"]);
    let charged = charged.well().lines();
    let (first, second) = (&charged[0], &charged[1]);
    let total = first["payload"]["total"].as_str().unwrap();
    let line = first["payload"]["lines"][0]["usage_position"].as_i64().unwrap();
    let next = second["payload"]["lines"][0]["usage_position"].as_i64().unwrap();
    let change = |event: &Value, from: &str, to: &str| {
        format!(
            "set session_replication_role = replica;
             update event_log.log set payload = convert_to(
                 replace(convert_from(payload, 'UTF8'), '{from}', '{to}'), 'UTF8')
              where position = {}",
            event["position"]
        )
    };
    for (sql, says) in [
        (change(first, &format!("\"total\":\"{total}\""), "\"total\":\"9.000000\""), "add up to"),
        (change(first, "\"owed\":\"0.000000\"", "\"owed\":\"1.000000\""), "what paid and is owed"),
        (
            change(
                second,
                &format!("\"usage_position\":{next},"),
                &format!("\"usage_position\":{line},"),
            ),
            "a second time",
        ),
    ] {
        server.execute("postgres", "drop database if exists tampered").await;
        server.execute("postgres", "create database tampered template opscenter").await;
        server.execute("tampered", &sql).await;
        let said = server.replay_on("tampered", &["totals", "--organization", "acme"]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{sql}\n{said:?}");
        assert!(said.err.contains(says), "{sql}\n{said:?}");
    }
}
