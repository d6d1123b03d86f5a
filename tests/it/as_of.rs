//! The past: the same questions, answered as of a moment.

use serde_json::json;
use tests::World;

#[tokio::test]
async fn a_balance_is_what_it_was() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let mut moments = Vec::new();
    for credits in ["10", "20", "30"] {
        let input =
            json!({ "organizationId": organization, "credits": credits, "reason": "a test" });
        let answer = world.admin().run("creditGrant", input, "").await.accepted();
        let receipt = answer.at("/data/creditGrant/receipt").clone();
        moments.push((receipt["position"].clone(), receipt["recordedAt"].clone()));
    }
    let document = "query ($id: ID!, $asOf: AsOf) { creditBalance(organizationId: $id, \
                    asOf: $asOf) { available issued } \
                    organization(id: $id, asOf: $asOf) { status creditBalance { available } } }";
    for ((position, time), sum) in moments.iter().zip(["10.000000", "30.000000", "60.000000"]) {
        for as_of in [json!({ "position": position }), json!({ "time": time })] {
            let asked = json!({ "id": organization, "asOf": as_of });
            let answer = world.admin().ask(document, asked).await.accepted();
            assert_eq!(answer.text_at("/data/creditBalance/available"), sum, "{as_of}");
            let within = answer.text_at("/data/organization/creditBalance/available");
            assert_eq!(within, sum, "{as_of}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn what_was_asked_then_and_what_is_asked_for_then_agree() {
    let world = World::start().await;
    let (id, _) = world.user("bob", &["viewer"]).await;
    let fields = "status roles reason email name createdAt";
    let now = format!("{{ user(id: \"{id}\") {{ {fields} }} }}");
    let then = format!("query ($asOf: AsOf) {{ user(id: \"{id}\", asOf: $asOf) {{ {fields} }} }}");
    let mut seen = Vec::new();
    for (mutation, input) in [
        ("userRoleAssign", json!({ "userId": id, "role": "analyst" })),
        ("userSuspend", json!({ "userId": id, "reason": "a test" })),
        ("userReactivate", json!({ "userId": id })),
        ("userRoleRemove", json!({ "userId": id, "role": "viewer" })),
    ] {
        let answer = world.admin().run(mutation, input, "").await.accepted();
        let position = answer.text_at(&format!("/data/{mutation}/receipt/position"));
        let reader = world.admin().with_header("ops-consistency", &format!("at-least={position}"));
        let state = reader.query(&now).await.accepted().at("/data/user").clone();
        seen.push((position, state));
    }
    for (position, state) in seen {
        let asked = json!({ "asOf": { "position": position } });
        let answer = world.admin().ask(&then, asked).await.accepted();
        assert_eq!(answer.at("/data/user"), &state);
    }
    world.end().await;
}

#[tokio::test]
async fn neither_the_future_nor_before_the_beginning_is_answered() {
    let world = World::start().await;
    let me = world.admin().query("{ me { id } }").await.accepted();
    let id = me.text_at("/data/me/id");
    let document = "query ($id: ID!, $asOf: AsOf) { user(id: $id, asOf: $asOf) { status } }";
    let log = me.text_at("/extensions/consistency/position");
    let log = log.split_once('-').expect("two parts").0.to_owned();
    for as_of in [
        json!({ "time": "2999-01-01T00:00:00Z" }),
        json!({ "time": "1999-01-01T00:00:00Z" }),
        json!({ "position": format!("{log}-99999999") }),
        json!({ "position": format!("{log}-0") }),
    ] {
        let answer = world.admin().ask(document, json!({ "id": id, "asOf": as_of })).await;
        assert_eq!(answer.error_code(), "AS_OF_OUT_OF_RANGE", "{as_of}: {}", answer.text);
    }
    for as_of in [json!({}), json!({ "position": "0000" }), json!({ "time": 5 })] {
        let answer = world.admin().ask(document, json!({ "id": id, "asOf": as_of })).await;
        let code = answer.error_code();
        assert!(["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(&code), "{}", answer.text);
    }
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_answered_for_the_past_says_so() {
    let world = World::start().await;
    let position = world.admin().query("{ me { id } }").await.accepted();
    let position = position.text_at("/extensions/consistency/position");
    let document = "query ($id: ID!, $asOf: AsOf) { node(id: $id, asOf: $asOf) { id } }";
    for id in ["chg_0000000000000000000000000a", "act_0000000000000000000000000a"] {
        let asked = json!({ "id": id, "asOf": { "position": position } });
        let answer = world.admin().ask(document, asked).await;
        assert_eq!(answer.error_code(), "AS_OF_UNSUPPORTED", "{}", answer.text);
        let now = world.admin().ask(document, json!({ "id": id })).await;
        assert_eq!(now.error_code(), "NOT_FOUND", "{}", now.text);
    }
    world.end().await;
}
