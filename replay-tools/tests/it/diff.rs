//! What changed between two moments is what differs between the two answers for them, and every
//! difference names the event it comes from.

use crate::server::{Said, Server};
use crate::world::{World, text};
use commands::TenancyCommand;
use domain::values::{Credits, OrganizationId};
use serde_json::{Value, json};

fn differences(said: &Said) -> Vec<Value> {
    said.json()["differences"].as_array().unwrap().clone()
}

fn at<'a>(differences: &'a [Value], path: &str) -> &'a Value {
    let found = differences.iter().find(|it| it["path"] == path);
    found.unwrap_or_else(|| panic!("no {path} in {differences:#?}"))
}

fn diff(server: &Server, of: &[&str], from: i64, to: i64) -> Said {
    let (from, to) = (from.to_string(), to.to_string());
    server.replay(&[&["diff"], of, &["--from", &from, "--to", &to, "--json"]].concat())
}

fn account_at(server: &Server, position: i64) -> Value {
    let position = position.to_string();
    let arguments = ["as-of", "credit-account", "acme", "--at", &position, "--json"];
    server.replay(&arguments).well().json()["state"].clone()
}

/// Credits as rows keep them.
fn micro(credits: &Value) -> Value {
    let credits: Credits = serde_json::from_value(credits.clone()).unwrap();
    credits.micro().into()
}

/// The positions of the events of acme's account.
async fn account_positions(server: &Server) -> Vec<i64> {
    server
        .ask(
            "select array_agg(position order by position) from event_log.log
              where stream = (select replace(stream, 'organization', 'credit_account')
                                from event_log.log where type = 'organization_created'
                                 and convert_from(payload, 'UTF8') like '%\"slug\":\"acme\"%')",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_an_account_tells_its_old_and_new_figures_and_the_event_between_them() {
    let server = Server::start().await;
    let positions = account_positions(&server).await;
    assert!(positions.len() > 8);
    let mut before = account_at(&server, positions[0]);
    for step in positions.windows(2) {
        let after = account_at(&server, step[1]);
        let said = diff(&server, &["credit-account", "acme"], step[0], step[1]).well();
        let found = differences(&said);
        assert_eq!(said.json()["events"], 1);
        for difference in &found {
            assert_eq!(difference["by"]["position"], json!(step[1]), "{difference}");
        }
        for figure in ["balance_credits", "owed_credits", "charged_through"] {
            let told = found.iter().find(|it| it["path"] == figure);
            let told = told.map(|it| (it["old"].clone(), it["new"].clone()));
            let is = (before[figure].clone(), after[figure].clone());
            assert_eq!(told, (is.0 != is.1).then_some(is), "{figure} at {step:?}");
        }
        let grants = |state: &Value| state["grants"].as_array().unwrap().len();
        let added = found.iter().filter(|it| {
            it["kind"] == "added" && it["path"].as_str().unwrap().starts_with("grants[grt_")
        });
        assert_eq!(added.count(), grants(&after) - grants(&before), "grants are never taken away");
        before = after;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_that_was_not_there_is_all_new_and_the_first_and_last_values_are_told() {
    let server = Server::start().await;
    let positions = account_positions(&server).await;
    let (first, last) = (positions[0], *positions.last().unwrap());
    let whole = diff(&server, &["credit-account", "acme"], 0, last).well();
    let found = differences(&whole);
    let state = account_at(&server, last);
    assert!(found.iter().all(|it| it["kind"] == "added" && it["old"].is_null()), "{found:#?}");
    assert_eq!(at(&found, "balance_credits")["new"], state["balance_credits"]);
    assert_eq!(whole.json()["events"], positions.len());
    let remark = whole.json()["remarks"][0].as_str().unwrap().to_owned();
    assert!(remark.contains(&format!("begins at position {first}")), "{remark}");

    let found = differences(&diff(&server, &["credit-account", "acme"], first, last).well());
    let balance = at(&found, "balance_credits");
    assert_eq!(balance["old"], account_at(&server, first)["balance_credits"]);
    assert_eq!(balance["new"], state["balance_credits"]);
    assert_eq!(balance["kind"], "changed");
}

async fn acme(server: &Server) -> OrganizationId {
    let said = server.replay(&["as-of", "organization", "acme"]).well().json();
    said["state"]["organization_id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_and_changed_back_is_no_difference_and_that_is_said_in_words() {
    let server = Server::start().await;
    let organization_id = acme(&server).await;
    let before: i64 = server.ask("select max(last) from event_log.log_batch").await;
    let installation = server.open().await;
    let world = World::new(&installation);
    let reason = text("unpaid");
    world.ask(TenancyCommand::OrganizationSuspend { organization_id, reason }).await;
    let suspended: i64 = server.ask("select max(last) from event_log.log_batch").await;
    world.ask(TenancyCommand::OrganizationReactivate { organization_id }).await;
    installation.close().await;

    let found = differences(&diff(&server, &["organization", "acme"], before, suspended).well());
    let status = at(&found, "status");
    assert_eq!((&status["old"], &status["new"]), (&json!("active"), &json!("suspended")));
    assert_eq!(status["by"]["type"], "organization_suspended");
    assert_eq!(status["by"]["position"], json!(suspended));
    assert_eq!(status["by"]["actor"], "system/test");
    assert_eq!(found.len(), 1, "{found:#?}");

    let from = before.to_string();
    let arguments = ["diff", "organization", "acme", "--from", &from];
    let (short, now) = (server.replay(&arguments), [&arguments[..], &["--to", "now"]].concat());
    assert_eq!(short.well().out, server.replay(&now).well().out, "now is where it ends");
    let people = server.replay(&now).well().out;
    assert!(
        people.ends_with("Nothing is different; 2 of its events lie in between.\n"),
        "{people}"
    );
    let to = suspended.to_string();
    let people = server.replay(&[&arguments[..], &["--to", &to]].concat()).well().out;
    assert!(people.contains("~ status: \"active\" → \"suspended\"\n    position "), "{people}");
    assert!(people.contains("organization_suspended by system/test"), "{people}");
    assert!(!people.contains('\u{1b}'), "no colours where nobody sees them: {people:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_at_two_moments_is_what_the_things_themselves_were() {
    let server = Server::start().await;
    let id = acme(&server).await;
    let positions = account_positions(&server).await;
    let model = ["read-model", "credit_statement", "--organization", "acme"];
    for (from, to) in [(positions[0], positions[3]), (positions[2], *positions.last().unwrap())] {
        let found = differences(&diff(&server, &model, from, to).well());
        let balance = at(&found, &format!("credit_balance[organization_id={id}].available"));
        assert_eq!(balance["old"], micro(&account_at(&server, from)["balance_credits"]));
        assert_eq!(balance["new"], micro(&account_at(&server, to)["balance_credits"]));
        assert_eq!(balance["by"]["position"], json!(to));
        let between = positions.iter().filter(|position| (from + 1..=to).contains(*position));
        let lines: Vec<String> =
            between.map(|it| format!("credit_statement[position={it}].balance")).collect();
        let told = found.iter().filter_map(|it| it["path"].as_str());
        let told: Vec<&str> = told
            .filter(|it| it.starts_with("credit_statement[") && it.ends_with("].balance"))
            .collect();
        assert_eq!(told, lines, "one line for each event of the account");
    }
    let same = diff(&server, &model, positions[3], positions[3]).well();
    assert_eq!(differences(&same), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_is_folded_to_the_end_is_what_readers_see() {
    let server = Server::start().await;
    server.replay(&["rebuild", "--all"]).well();
    let head: i64 = server.ask("select max(last) from event_log.log_batch").await;
    for (model, tables) in [
        ("usage", &["usage_hour", "usage_meter"][..]),
        ("directory", &["directory_user", "directory_organization", "directory_member"]),
        ("bill", &["bill_line", "bill_charge"]),
    ] {
        let found = differences(&diff(&server, &["read-model", model], 0, head).well());
        assert!(found.iter().all(|it| it["kind"] == "added"), "all of it is new");
        for table in tables {
            let rows: Vec<&str> = found.iter().filter_map(|it| it["path"].as_str()).collect();
            let mut rows: Vec<&str> = rows
                .into_iter()
                .filter_map(|path| path.strip_prefix(table)?.strip_prefix('['))
                .filter_map(|rest| Some(rest.split_once("].")?.0))
                .collect();
            rows.dedup();
            let live: i64 = server.ask(&format!("select count(*) from read_model.{table}")).await;
            assert!(live > 0, "{table}");
            assert_eq!(i64::try_from(rows.len()).unwrap(), live, "{table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused_with_what_would_do() {
    let server = Server::start().await;
    let head: i64 = server.ask("select max(last) from event_log.log_batch").await;
    let beyond = (head + 1).to_string();
    for (arguments, says) in [
        (&["organization", "acme", "--from", "20", "--to", "10"][..], "turn them round"),
        (&["organization", "nobody", "--from", "0"], "there was no organization"),
        (&["meter", "unheard_of", "--from", "0"], "there never was a stream"),
        (&["late", "acme", "--from", "0"], "there is no kind"),
        (&["organization", "acme", "--from", "0", "--to", &beyond], "is not recorded yet"),
        (&["organization", "acme", "--from", "yesterday"], "neither a position"),
        (&["read-model", "unheard_of", "--from", "0"], "there are directory"),
        (&["read-model", "--from", "0"], "say which read model"),
        (&["read-model", "usage", "--from", "0", "--max-events", "10"], "--max-events"),
        (&["organization", "acme", "--from", "0", "--organization", "acme"], "for read models"),
    ] {
        let said = server.replay(&[&["diff"], arguments].concat());
        assert_eq!(said.code, 2, "{arguments:?} {said:?}");
        assert!(said.err.contains(says), "{arguments:?} {said:?}");
    }
}
