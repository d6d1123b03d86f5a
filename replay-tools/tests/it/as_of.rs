//! What a thing was at a moment is what its events up to there add up to.

use crate::server::Server;
use crate::world::EMAIL;
use domain::credits::{Account, Event as CreditEvent};
use domain::tenancy::{Event as TenancyEvent, Organization};
use domain::{Aggregate, Event};
use event_log::{EventLog, Recorded, StreamId};
use serde_json::{Value, json};
use std::process::Stdio;

async fn stream_of(log: &EventLog, kind: &str, slug: &str) -> Vec<Recorded> {
    let created = log.read_kind("organization", None).await.unwrap();
    let found = created.iter().find(|recorded| {
        let payload: Value = serde_json::from_slice(&recorded.payload).unwrap();
        payload["slug"] == slug
    });
    let id = found.unwrap().stream.as_ref().unwrap().id().to_owned();
    log.read_stream(&StreamId::new(kind, &id).unwrap(), 0, None).await.unwrap()
}

fn decoded<E: TryFrom<Event, Error = domain::OfAnotherKind>>(recorded: &Recorded) -> E {
    let event = Event::decode(&recorded.type_name, recorded.schema_version, &recorded.payload);
    event.unwrap().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_at_every_one_of_its_positions_is_the_fold_of_its_events() {
    let server = Server::start().await;
    let installation = server.open().await;
    let history = stream_of(installation.log(), "credit_account", "acme").await;
    installation.close().await;
    assert!(history.len() > 8, "grants, charges, a spend, holds and a refund");
    let mut account = Account::default();
    for recorded in &history {
        account = account.evolve(&decoded::<CreditEvent>(recorded));
        let at = recorded.position.to_string();
        let said = server.replay(&["as-of", "credit-account", "acme", "--at", &at, "--json"]);
        let said = said.well().json();
        assert_eq!(said["version"], json!(recorded.stream_version));
        assert_eq!(said["changed"]["position"], json!(recorded.position));
        let state = &said["state"];
        assert_eq!(state["balance_credits"], json!(account.balance()));
        assert_eq!(state["owed_credits"], json!(account.owed));
        assert_eq!(state["grants"], json!(account.grants));
        assert_eq!(state["holds"], json!(account.holds));
        assert_eq!(state["charged_through"], account.charged_through);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_stands_for_the_last_position_recorded_by_then() {
    let server = Server::start().await;
    let installation = server.open().await;
    let history = stream_of(installation.log(), "organization", "acme").await;
    installation.close().await;
    let organization: Organization =
        domain::fold(&history.iter().map(decoded::<TenancyEvent>).collect::<Vec<_>>());
    let created = &history[0];
    let time = created.recorded_at.to_rfc3339();
    let by_time = server.replay(&["as-of", "organization", "acme", "--at", &time]).well().json();
    let position = created.position.to_string();
    let by_position = server.replay(&["as-of", "organization", "acme", "--at", &position]).well();
    assert_eq!(by_time, by_position.json());
    assert_eq!(by_time["state"]["members"], json!(organization.members));
    assert_eq!(by_time["state"]["name"], "acme");
    assert_eq!(by_time["state"]["tier"], "professional");

    let before = (created.position.0 - 1).to_string();
    let id = created.stream.as_ref().unwrap().id();
    let account = server.replay(&["as-of", "organization", id, "--at", &before]);
    assert_eq!(account.code, 2, "{account:?}");
    let user = server.replay(&["as-of", "meter", "api_calls", "--at", "1"]);
    assert_eq!(user.code, 2, "{user:?}");
    assert!(user.err.contains("meter/api_calls begins at position"), "{user:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_open_with_the_key_sealed_without_it_and_erased_when_erased() {
    let server = Server::start().await;
    let users = server.replay(&["events", "--type", "user_invited"]).well();
    assert!(!users.out.contains(EMAIL), "events stay sealed");
    let users = users.lines();
    let [ada, gone] = [0, 1].map(|index| users[index]["payload"]["user_id"].as_str().unwrap());
    let open = server.replay(&["as-of", "user", ada]).well().json();
    assert_eq!(open["state"]["email"], EMAIL);
    assert_eq!(open["state"]["status"], "invited");
    let erased = server.replay(&["as-of", "user", gone]).well().json();
    assert_eq!(erased["state"]["email"], json!({ "erased": true }));

    let mut without = server.tool("opscenter");
    without.env("OPS_DATA", server.folder().join("elsewhere")).stderr(Stdio::null());
    let sealed = without.args(["as-of", "user", ada]).output().unwrap();
    let sealed: Value = serde_json::from_slice(&sealed.stdout).unwrap();
    assert_eq!(sealed["state"]["email"], json!({ "sealed": true }));
    assert!(!server.folder().join("elsewhere").exists(), "reading makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_thing_can_be_shown() {
    let server = Server::start().await;
    let initiated = server.replay(&["events", "--type", "purchase_initiated"]).well().lines();
    let purchase = initiated[0]["payload"]["purchase_id"].as_str().unwrap();
    let pack = initiated[0]["payload"]["credit_pack"].as_str().unwrap();
    for (arguments, field, value) in [
        (&["purchase", purchase][..], "/state/state", json!("partially_refunded")),
        (&["purchase", purchase], "/state/reference", json!("transfer 4711")),
        (&["service", "vllm"], "/state/registered/container", json!("vllm-1")),
        (&["tier", "managed"], "/state/versions/1/terms/seats", json!(3)),
        (&["credit-pack", pack], "/state/credit_pack", json!(pack)),
        (&["credit_pack", pack], "/version", json!(1)),
        (&["meter", "tts_characters"], "/state/aggregation", json!("sum")),
        (&["model", "gpt-4o"], "/state/version", json!(2)),
        (&["rate-card"], "/state/rates/power/eco", json!("0.2")),
    ] {
        let said = server.replay(&[&["as-of"], arguments].concat()).well().json();
        assert_eq!(said.pointer(field), Some(&value), "{arguments:?} {said:#}");
    }
    for arguments in [&["user", "org_1"][..], &["user"], &["role", "nobody"], &["thing", "x"]] {
        let said = server.replay(&[&["as-of"], arguments].concat());
        assert_eq!(said.code, 2, "{arguments:?} {said:?}");
    }
}
