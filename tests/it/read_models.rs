//! Read models as an operator sees them: what is rebuilt, how far it is, what is kept; and as
//! whoever asks sees them meanwhile.

use projections::rebuild::{Comparison, Promote, rebuild, roll_back};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::{Answer, Client, World};

const QUESTION: &str = "{ installation { readModels { name generations {
    generation state position target eventsPerSecond begunAt isAbandoned } } } }";

/// The generations of the usage.
async fn generations(world: &World) -> Vec<Value> {
    let answer = world.admin().query(QUESTION).await.accepted();
    let models = answer.at("/data/installation/readModels").as_array().expect("a list").clone();
    let usage = models.into_iter().find(|model| model["name"] == "usage").expect("usage");
    usage["generations"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_seen_while_it_runs_and_what_it_replaced_is_kept() {
    let world = World::furnished().await;
    world.read_models_have_caught_up().await;
    let definition = projections::definitions().into_iter().find(|it| it.name == "usage");
    let definition = definition.expect("usage");
    // Held up where it would compare, it is ready and goes no further.
    let mut hold = world.log().pool().begin().await.expect("a transaction");
    let sql = "select 1 from read_model.projection where name = 'usage' for update";
    let _row = sqlx::query(sql).execute(&mut *hold).await.expect("the row");
    let log = world.log().clone();
    let rebuilding =
        tokio::spawn(
            async move { rebuild(&log, &definition, Promote::IfEqual, &mut |_, _| ()).await },
        );
    let ready = loop {
        let all = generations(&world).await;
        if let Some(ready) = all.into_iter().find(|it| it["state"] == "READY") {
            break ready;
        }
    };
    assert_eq!((&ready["generation"], &ready["isAbandoned"]), (&2.into(), &false.into()));
    assert_eq!(ready["position"], ready["target"]);
    assert!(ready["eventsPerSecond"].is_number() && ready["begunAt"].is_string(), "{ready}");
    hold.rollback().await.expect("the end of the hold");
    assert!(rebuilding.await.expect("a task").expect("a rebuild").promoted);
    let states: Vec<Value> =
        generations(&world).await.into_iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["RETIRED", "LIVE"]);
    world.end().await;
}

/// A question to every read model.
const EVERYTHING: &str = "query ($id: ID!) {
    organization(id: $id) { memberCount } users(first: 3) { nodes { id } }
    models(first: 3) { nodes { name } } meters { code }
    creditBalance(organizationId: $id) { issued }
    creditStatement(organizationId: $id, first: 1) { nodes { position } }
    usageTotals(organizationId: $id) { meter records }
    charges(organizationId: $id, first: 1) { nodes { id position } }
    purchases(first: 1) { nodes { id } } serviceActions(first: 1) { nodes { id } }
    auditTrail(first: 1) { nodes { position } } }";

/// What an answer says of how far each read model was.
fn positions(answer: &Answer) -> BTreeMap<String, i64> {
    let models = answer.at("/extensions/consistency/readModels").as_object().expect("an object");
    let place = |at: &Value| {
        let place = at.as_str().and_then(|it| it.rsplit('-').next()).expect("a position");
        place.parse().expect("a number")
    };
    models.iter().map(|(name, at)| (name.clone(), place(at))).collect()
}

/// What only grows: credits issued, usage recorded, and the newest of each list.
fn figures(answer: &Answer) -> Vec<i64> {
    let number = |pointer: &str| {
        let found = answer.at(pointer);
        let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        let digits = text.rsplit('-').next().unwrap_or_default().replace('.', "");
        digits.parse().unwrap_or_default()
    };
    let pointers = [
        "/data/creditBalance/issued",
        "/data/creditStatement/nodes/0/position",
        "/data/usageTotals/0/records",
        "/data/charges/nodes/0/position",
        "/data/auditTrail/nodes/0/position",
    ];
    pointers.into_iter().map(number).collect()
}

/// Asks everything until it is over; answers how often, and what was seen last.
async fn ask_on(client: Client, id: String, over: Arc<AtomicBool>) -> (u64, Vec<i64>) {
    let (mut before, mut seen, mut looks) = (BTreeMap::new(), vec![0; 5], 0);
    while !over.load(Ordering::Relaxed) {
        // Without any error: no field is missing, nothing is stale.
        let answer = client.ask(EVERYTHING, json!({ "id": id })).await.accepted();
        let (now, found) = (positions(&answer), figures(&answer));
        assert_eq!(now.len(), projections::definitions().len(), "{now:?}");
        let is_older = |(name, at): (&String, &i64)| before.get(name).is_some_and(|it| it > at);
        assert!(!now.iter().any(is_older), "{before:?} became {now:?}");
        assert!(seen.iter().zip(&found).all(|(seen, now)| seen <= now), "{seen:?}, {found:?}");
        (before, seen, looks) = (now, found, looks + 1);
    }
    (looks, seen)
}

/// Records until it is over, and reads each time what it wrote; answers how often.
async fn write_on(client: Client, id: String, over: Arc<AtomicBool>) -> u64 {
    let mut written = 0;
    while !over.load(Ordering::Relaxed) {
        let usage = json!({
            "organization": id, "source": "load", "records": [{
                "usage_id": format!("call-{written}"), "occurred_at": "2026-11-20T10:15:00Z",
                "model": "openai/some-model", "quantities": { "llm_tokens_input": 1_000 } }] });
        let recorded = client.post("/api/v1/usage/batch", &usage).await;
        assert_eq!(recorded.status, 200, "{}", recorded.text);
        let input = json!({ "organizationId": id, "credits": "1", "reason": "a test" });
        let granted = client.run("creditGrant", input, "balance { issued }").await.accepted();
        written += 1;
        let issued = granted.text_at("/data/creditGrant/balance/issued");
        assert_eq!(issued, format!("{written}.000000"));
    }
    written
}

/// I23 at the front door: every read model is rebuilt, shown and taken back while requests write
/// and read all of them. No answer has an error, none is of an older state than the one before, and
/// the rows are those of the live generation.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_read_model_is_rebuilt_under_a_write_load_and_no_query_fails_or_sees_less() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let over = Arc::new(AtomicBool::new(false));
    let (admin, id) = (world.admin().clone(), organization.clone());
    let writer = tokio::spawn(write_on(admin.clone(), id.clone(), Arc::clone(&over)));
    let ask = || tokio::spawn(ask_on(admin.clone(), id.clone(), Arc::clone(&over)));
    let readers = [ask(), ask()];
    for definition in projections::definitions() {
        let promote = Promote::IfEqual;
        let rebuilt = rebuild(world.log(), &definition, promote, &mut |_, _| ()).await;
        let rebuilt = rebuilt.expect("a rebuild");
        assert_eq!(rebuilt.comparison, Comparison::Equal, "{}", rebuilt.name);
        assert!(rebuilt.promoted);
        let back = roll_back(world.log(), &definition).await.expect("the one before");
        assert_eq!(back, 1, "{}", definition.name);
    }
    over.store(true, Ordering::Relaxed);
    let written = writer.await.expect("the writer");
    assert!(written > 10, "{written} writes are no load");
    for reader in readers {
        let (looks, seen) = reader.await.expect("a reader");
        assert!(looks > 10, "{looks} looks are too few");
        assert!(seen.iter().all(|figure| *figure > 0), "{seen:?}");
    }
    world.read_models_have_caught_up().await;
    for definition in projections::definitions() {
        let compared = rebuild(world.log(), &definition, Promote::Never, &mut |_, _| ()).await;
        assert_eq!(compared.expect("a rebuild").comparison, Comparison::Equal);
    }
    world.end().await;
}
