//! Usage through HTTP in batches: counted once, charged, and all or nothing on wrong input.

use serde_json::{Value, json};
use tests::{World, until};

fn record(id: usize) -> Value {
    json!({
        "usage_id": format!("call-{id:04}"),
        "occurred_at": "2026-11-20T10:15:00Z",
        "model": "openai/some-model",
        "quantities": { "llm_tokens_input": 1_000, "llm_tokens_output": 500 },
    })
}

fn batch(organization: &str, records: &[Value]) -> Value {
    json!({ "organization": organization, "source": "gateway-1", "records": records })
}

#[tokio::test]
async fn a_batch_is_counted_once_and_charged() {
    let world = World::furnished().await;
    let (owner, client) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    world.grant(&organization, "100000").await;
    let records: Vec<Value> = (0..1_000).map(record).collect();
    let first = client.post("/api/v1/usage/batch", &batch("acme", &records)).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(verdicts(&first.json), (1_000, 0, 0));
    let again = client.post("/api/v1/usage/batch", &batch(&organization, &records)).await;
    assert_eq!(verdicts(&again.json), (0, 1_000, 0), "{}", again.text);
    let mut other = record(7);
    other["quantities"]["llm_tokens_input"] = json!(1);
    let mixed = client.post("/api/v1/usage/batch", &batch("acme", &[other, record(5_000)])).await;
    assert_eq!(verdicts(&mixed.json), (1, 0, 1), "{}", mixed.text);
    // 1.5 thousand tokens at the provider's rate of .015 each thousand, and no markup.
    let document = format!(
        "{{ bill(organizationId: \"{organization}\", period: \"2026-11\") {{ totalUsd \
         lines {{ item records }} }} creditBalance(organizationId: \"{organization}\") \
         {{ available }} usageTotals(organizationId: \"{organization}\") {{ meter quantity }} }}"
    );
    let used = json!({ "meter": "llm_tokens_input", "quantity": 1_001_000 });
    until("every record to be charged and shown", || async {
        let seen = client.query(&document).await.accepted();
        let totals = seen.at("/data/usageTotals").as_array().cloned().unwrap_or_default();
        let is_complete = seen.at("/data/bill/lines/0/records") == &json!(1_001)
            && seen.at("/data/bill/totalUsd") == "22.522500"
            && seen.at("/data/creditBalance/available") == "77477.500000"
            && totals.contains(&used);
        is_complete.then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn one_wrong_record_refuses_the_batch_and_is_named() {
    let world = World::furnished().await;
    let (owner, client) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let before = world.log().head().await.expect("the head");
    let mut wrong = vec![record(0), record(1), record(2), record(3), record(4)];
    wrong[1]["occurred_at"] = json!("yesterday");
    wrong[2]["quantities"]["llm_tokens_input"] = json!(1.5);
    wrong[3]["quantities"]["llm_tokens_input"] = json!(-1);
    wrong[4]["colour"] = json!("blue");
    let answer = client.post("/api/v1/usage/batch", &batch(&organization, &wrong)).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let named = answer.at("/error/records").as_object().expect("records").clone();
    assert_eq!(named.keys().collect::<Vec<_>>(), ["1", "2", "3", "4"], "{}", answer.text);
    let mut unknown = record(0);
    unknown["quantities"] = json!({ "no_such_meter": 1 });
    let answer = client.post("/api/v1/usage/batch", &batch(&organization, &[unknown])).await;
    assert_eq!((answer.status, answer.text_at("/error/code")), (422, "METER_NOT_FOUND".to_owned()));
    let none = client.post("/api/v1/usage/batch", &batch(&organization, &[])).await;
    assert_eq!(none.status, 400);
    let many: Vec<Value> = (0..1_001).map(record).collect();
    assert_eq!(client.post("/api/v1/usage/batch", &batch(&organization, &many)).await.status, 400);
    let usage = world.log().read(before, 100).await.expect("what came after");
    assert!(usage.iter().all(|event| event.type_name != "usage_recorded"));
    world.end().await;
}

#[tokio::test]
async fn usage_of_a_foreign_organization_is_not_there_to_be_recorded() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let _organization = world.organization("acme", "free", &owner).await;
    let (_, stranger) = world.user("sam", &[]).await;
    let answer = stranger.post("/api/v1/usage/batch", &batch("acme", &[record(1)])).await;
    assert_eq!((answer.status, answer.text_at("/error/code")), (404, "NOT_FOUND".to_owned()));
    let none = stranger.post("/api/v1/usage/batch", &batch("nobody", &[record(1)])).await;
    assert_eq!((none.status, none.text_at("/error/code")), (404, "NOT_FOUND".to_owned()));
    world.end().await;
}

#[tokio::test]
async fn usage_through_graphql_is_the_same_usage() {
    let world = World::furnished().await;
    let (owner, client) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let input = json!({
        "organizationId": organization, "source": "gateway-1",
        "records": [{
            "usageId": "call-0001", "occurredAt": "2026-11-20T10:15:00Z",
            "model": "openai/some-model", "power": "PRECISION",
            "quantities": [
                { "meter": "llm_tokens_input", "quantity": 1_000 },
                { "meter": "llm_tokens_output", "quantity": 500 },
            ],
        }],
    });
    let first = client.run("usageRecord", input, "verdicts { outcome position }").await.accepted();
    assert_eq!(first.text_at("/data/usageRecord/verdicts/0/outcome"), "RECORDED");
    let again = client.post("/api/v1/usage/batch", &batch("acme", &[record(1)])).await;
    assert_eq!(verdicts(&again.json), (0, 1, 0), "{}", again.text);
    world.end().await;
}

/// Recorded, repeated, different.
fn verdicts(answer: &Value) -> (usize, usize, usize) {
    let all = answer["verdicts"].as_array().cloned().unwrap_or_default();
    let count = |word: &str| all.iter().filter(|verdict| verdict["verdict"] == word).count();
    (count("recorded"), count("repeated"), count("different"))
}
