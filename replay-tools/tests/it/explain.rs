//! A charge is explained by working it out again, and whatever differs is said.

use crate::server::{Said, Server};
use serde_json::Value;

fn charges(server: &Server) -> Vec<Value> {
    server.replay(&["events", "--type", "usage_charged"]).well().lines()
}

fn charges_of(server: &Server, organization: &str) -> Vec<Value> {
    let arguments = ["events", "--type", "usage_charged", "--organization", organization];
    server.replay(&arguments).well().lines()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_charge_is_what_the_rules_give() {
    let server = Server::start().await;
    let charges = charges(&server);
    assert!(charges.len() >= 5, "months, organizations and lengths divide the usage");
    for event in &charges {
        let charge = &event["payload"];
        let id = text(&charge["charge_id"]);
        let explained = server.replay(&["explain", "charge", id, "--all", "--json"]).well().json();
        assert_eq!(explained["position"], event["position"]);
        assert_eq!(explained["organization"], event["organization"]);
        assert_eq!(explained["total_usd"], charge["total"]);
        assert_eq!(explained["recomputed_usd"], charge["total"]);
        assert_eq!(explained["owed_credits"], charge["owed"]);
        let shown = explained["shown"].as_array().unwrap();
        let lines = charge["lines"].as_array().unwrap();
        assert_eq!(shown.len(), lines.len());
        for (shown, line) in shown.iter().zip(lines) {
            assert_eq!(shown["usage_position"], line["usage_position"]);
            assert_eq!(shown["charge"], shown["recomputed"]);
        }
        let paid = explained["paid"].as_array().unwrap();
        assert_eq!(paid.len(), charge["consumed"].as_array().unwrap().len());
        assert!(paid.iter().all(|part| !part["source"].is_null()), "{explained}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prices_of_a_line_are_those_published_before_it_was_used() {
    let server = Server::start().await;
    let prices = server.replay(&["events", "--type", "model_priced"]).well().lines();
    let (old, new) = (&prices[0]["position"], &prices[1]["position"]);
    let cards = server.replay(&["events", "--type", "rate_card_published"]).well().lines();
    let line = |source: &str| {
        let usage = server.replay(&["events", "--type", "usage_recorded"]).well().lines();
        let of = |event: &&Value| {
            event["payload"]["source"] == source && event["payload"]["power"] == "eco"
        };
        let usage = usage.iter().find(of).unwrap()["position"].to_string();
        let said = server.replay(&["explain", "usage", &usage, "--json"]).well().json();
        assert_eq!(said["shown"].as_array().unwrap().len(), 1);
        assert_eq!(said["shown"][0]["usage_position"].to_string(), usage);
        said
    };
    let (before, after, unlisted) = (line("gateway"), line("batch"), line("other"));
    assert_eq!(&before["shown"][0]["model_position"], old);
    assert_eq!(&after["shown"][0]["model_position"], new);
    assert_eq!(unlisted["shown"][0]["model_position"], Value::Null);
    assert_eq!(before["rate_card_position"], cards[0]["position"]);
    assert_eq!(unlisted["rate_card_position"], cards[1]["position"]);
    // Eco was a tenth before the second card, and is a fifth since.
    let steps = |said: &Value| said["shown"][0]["steps"].to_string();
    assert!(steps(&before).contains("× 0.1 (power eco)"), "{before}");
    assert!(steps(&unlisted).contains("× 0.2 (power eco)"), "{unlisted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_the_arithmetic_and_what_paid() {
    let server = Server::start().await;
    let charges = charges_of(&server, "acme");
    let acme = text(&charges[0]["payload"]["charge_id"]);
    let said = server.replay(&["explain", "charge", acme]).well().out;
    for expected in [
        "acme (org_",
        "professional version 1 (published at position",
        "list price + 60 %",
        "374 llm_tokens_input × 0.0000025 = 0.000935",
        "× 1.6 (markup 60 %) = 0.00022",
        "rounded half-even to a micro-dollar = 0.000220",
        "line 20 ",
        "lines are shown; --all shows every one",
        "(monthly_allocation; tier professional version 1)",
        "are what the rules give",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    assert!(!said.contains("line 21 "), "{said}");
    let third = server.replay(&["explain", "charge", acme, "--line", "3"]).well().out;
    assert!(third.contains("line 3 ") && !third.contains("line 2 "), "{third}");
    let missing = server.replay(&["explain", "charge", acme, "--line", "999"]);
    assert_eq!(missing.code, 2, "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_a_debt_and_a_record_without_a_price_are_explained() {
    let server = Server::start().await;
    let of = |organization: &str| {
        let charged = charges_of(&server, organization);
        let last = text(&charged.last().unwrap()["payload"]["charge_id"]).to_owned();
        server.replay(&["explain", "charge", &last, "--all"]).well().out
    };
    let wolf = of("lone-wolf");
    assert!(wolf.contains("(fee 10 % of the list price)"), "{wolf}");
    assert!(wolf.contains("at least 0.001000 a call = 0.001000"), "{wolf}");
    let tight = of("tight");
    assert!(tight.contains("that nothing paid for"), "{tight}");
    let acme = of("acme");
    assert!(acme.contains("set aside: the rate card has no price for unheard_of"), "{acme}");
    assert!(acme.contains("1 records have no price"), "{acme}");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_without_a_charge_and_a_charge_that_is_none_are_said() {
    let server = Server::start().await;
    let head: i64 = server.ask("select max(position) from event_log.log").await;
    let late = server.replay(&["explain", "usage", &head.to_string()]).well();
    assert!(late.out.contains("not charged yet"), "{late:?}");
    let other = server.replay(&["explain", "usage", "1"]);
    assert_eq!(other.code, 2, "{other:?}");
    assert!(other.err.contains("tier_version_published"), "{other:?}");
    let unknown = "chg_0123456789abcdefghjkmnpqrs";
    let unknown = server.replay(&["explain", "charge", unknown]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.err.contains("--type usage_charged"), "{unknown:?}");
}

/// Replaces text in the payload at a position, in a copy of the database, and explains there.
async fn explained_after(server: &Server, change: (i64, &str, &str), id: &str) -> Said {
    let (position, from, to) = change;
    server.execute("postgres", "drop database if exists tampered").await;
    server.execute("postgres", "create database tampered template opscenter").await;
    let sql = format!(
        "set session_replication_role = replica;
         do $do$ begin
             update event_log.log set payload = convert_to(
                 replace(convert_from(payload, 'UTF8'), '{from}', '{to}'), 'UTF8')
              where position = {position} and position('{from}'::bytea in payload) > 0;
             assert found, 'there is nothing to change';
         end $do$"
    );
    server.execute("tampered", &sql).await;
    server.replay_on("tampered", &["explain", "charge", id])
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_differs_from_the_rules_is_an_error_that_names_the_line() {
    let server = Server::start().await;
    let charges = charges_of(&server, "acme");
    let charge = &charges[0];
    let (position, payload) = (charge["position"].as_i64().unwrap(), &charge["payload"]);
    let id = text(&payload["charge_id"]);
    let usage = payload["lines"][2]["usage_position"].as_i64().unwrap();
    let price: i64 =
        server.ask("select min(position) from event_log.log where type = 'model_priced'").await;
    let total = format!("\"total\":\"{}\"", text(&payload["total"]));
    let grant = text(&payload["consumed"][0]["grant_id"]);
    let exact = text(&payload["lines"][4]["verdict"]["rated"]["exact"]);
    let exact = format!("\"exact\":\"{exact}\"");
    for (change, says) in [
        ((usage, "\"llm_tokens_input\":400", "\"llm_tokens_input\":401"), "line 3: "),
        ((usage, "\"power\":\"precision\"", "\"power\":\"eco\""), "line 3: "),
        ((price, "0.0000025", "0.0000024"), "line 1: "),
        ((position, &total, "\"total\":\"9.000000\""), "the total is 9.000000, recomputed"),
        ((position, &exact, "\"exact\":\"0.5\""), "line 5: exactly 0.5, recomputed"),
        ((position, grant, "grt_0123456789abcdefghjkmnpqrs"), "other grants should have paid"),
        ((position, "\"tier\":\"professional\"", "\"tier\":\"starter\""), "charged as starter"),
        ((position, "\"markup\":{\"percent\":60}", "\"markup\":{\"percent\":0}"), "price calls"),
        ((position, "\"period\":\"2026-11\"", "\"period\":\"2026-10\""), "charged in 2026-10"),
        ((position, "\"rate_card_version\":1", "\"rate_card_version\":2"), "card version 1 held"),
        ((position, "\"owed\":\"0.000000\"", "\"owed\":\"1.000000\""), "is owed, recomputed"),
    ] {
        let said = explained_after(&server, change, id).await;
        assert_eq!(said.code, 1, "{change:?}\n{said:?}");
        let all = format!("{}{}", said.out, said.err);
        assert!(all.contains(says), "{change:?} should say {says:?}\n{said:?}");
    }
}
