//! "No" as an answer, and bad input as what it is: told so that a person can act on it.

use serde_json::json;
use tests::World;

#[tokio::test]
async fn a_refusal_is_an_answer_and_is_recorded() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let input = json!({ "organizationId": organization, "credits": "1", "reason": "one call" });
    let answer = world.admin().run("creditSpend", input, "balance { available }").await;
    assert_eq!((answer.status, answer.user_error("creditSpend")), (200, "CREDITS_TOO_FEW"));
    let error = answer.at("/data/creditSpend/userErrors/0");
    assert_eq!(error["path"], json!(["input", "credits"]));
    assert_eq!(error["message"], "1.000000 credits are needed and 0.000000 are available");
    assert!(answer.at("/data/creditSpend/receipt").is_null());
    assert!(answer.at("/errors").is_null());
    world.read_models_have_caught_up().await;
    let trail = world.admin().query("{ auditTrail(first: 1) { nodes { result command } } }").await;
    let entry = trail.at("/data/auditTrail/nodes/0");
    assert_eq!((&entry["result"], &entry["command"]), (&json!("failure"), &json!("credit_spend")));
    world.end().await;
}

#[tokio::test]
async fn a_number_in_place_of_a_decimal_is_refused_by_name() {
    let world = World::start().await;
    let organization = "org_0000000000000000000000000a";
    for credits in [json!(5), json!(5.5), json!("five"), json!("1e400"), json!(true)] {
        let before = world.log().head().await.expect("the head");
        let input = json!({ "organizationId": organization, "credits": credits, "reason": "x" });
        let answer = world.admin().run("creditGrant", input, "").await;
        assert_eq!(answer.error_code(), "BAD_USER_INPUT", "{credits}: {}", answer.text);
        assert!(answer.text.contains("credits"), "the field is not named: {}", answer.text);
        assert_eq!(world.log().head().await.expect("the head"), before);
    }
    world.end().await;
}

#[tokio::test]
async fn bad_input_is_told_and_changes_nothing() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    world.read_models_have_caught_up().await;
    let grant = |credits: &str| {
        let organization = organization.as_str();
        json!({ "organizationId": organization, "credits": credits, "reason": "x" })
    };
    let before = available(&world, &organization).await;
    for (credits, code) in [("-1", "CREDITS_NOT_POSITIVE"), ("0", "CREDITS_NOT_POSITIVE")] {
        let answer = world.admin().run("creditGrant", grant(credits), "").await;
        assert_eq!(answer.user_error("creditGrant"), code, "{credits}: {}", answer.text);
    }
    for credits in ["0.0000001", "99999999999999999999"] {
        let answer = world.admin().run("creditGrant", grant(credits), "").await;
        assert_eq!(answer.error_code(), "BAD_USER_INPUT", "{credits}: {}", answer.text);
        assert_eq!(answer.at("/errors/0/extensions/field"), "input.credits", "{}", answer.text);
    }
    let wrong_kind = json!({ "organizationId": owner, "credits": "1", "reason": "x" });
    let answer = world.admin().run("creditGrant", wrong_kind, "").await;
    assert_eq!(answer.error_code(), "BAD_USER_INPUT", "{}", answer.text);
    assert!(answer.text.contains("is not the id of an organization"), "{}", answer.text);
    let control = json!({ "organizationId": organization, "credits": "1", "reason": "a\u{7}b" });
    let answer = world.admin().run("creditGrant", control, "").await;
    assert_eq!(answer.error_code(), "BAD_USER_INPUT", "{}", answer.text);
    world.read_models_have_caught_up().await;
    assert_eq!(available(&world, &organization).await, before);
    world.end().await;
}

#[tokio::test]
async fn what_is_taken_stays_taken() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let _first = world.organization("acme", "free", &owner).await;
    let input = json!({ "slug": "acme", "name": "Other", "owner": owner, "tier": "free" });
    let answer = world.admin().run("organizationCreate", input, "").await;
    assert_eq!(answer.user_error("organizationCreate"), "TAKEN");
    let input = json!({ "email": "OLGA@example.org", "name": "Other" });
    assert_eq!(world.admin().run("userInvite", input, "").await.user_error("userInvite"), "TAKEN");
    world.end().await;
}

#[tokio::test]
async fn an_internal_error_shows_an_id_and_nothing_else() {
    let world = World::furnished().await;
    world.read_models_have_caught_up().await;
    world
        .postgres()
        .execute(
            "alter view read_model.catalogue_meter rename to catalogue_meter_hidden;
             create view read_model.catalogue_meter as
                 select meter, 'no such way'::text as aggregation, unit, position
                   from read_model.catalogue_meter_hidden;
             grant select on read_model.catalogue_meter to opscenter_service;",
        )
        .await;
    let answer = world.admin().query("{ meters { code } }").await;
    assert_eq!(answer.error_code(), "INTERNAL", "{}", answer.text);
    let id = answer.text_at("/errors/0/extensions/errorId");
    let message = answer.text_at("/errors/0/message");
    assert!(message.contains(&id) && !message.contains("no such way"), "{message}");
    assert!(!answer.text.contains("catalogue_meter"), "{}", answer.text);
    world.end().await;
}

async fn available(world: &World, organization: &str) -> String {
    let document =
        format!("{{ creditBalance(organizationId: \"{organization}\") {{ available }} }}");
    world.admin().query(&document).await.accepted().text_at("/data/creditBalance/available")
}
