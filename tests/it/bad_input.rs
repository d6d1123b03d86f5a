//! What is wrong gets an answer that a person can act on, and changes nothing.
//!
//! Requests first: nothing may be in the log afterwards but that something was refused. Then what
//! stands in the way of a program: a database, a port, a folder, a disk.

mod machine;

use domain::values::{OrganizationId, PurchaseId, ServiceId, UserId};
use event_log::Position;
use serde_json::{Value, json};
use tests::World;
use uuid::Uuid;

/// A request that is wrong: the mutation, its input, the code of the answer, a word that has to be
/// in the message.
type Wrong<'a> = (&'a str, Value, &'a str, &'a str);

/// What was recorded since, except that something was refused.
async fn changes_since(world: &World, before: Position) -> Vec<String> {
    let recorded = world.log().read(before, 10_000).await.expect("the log");
    let names = recorded.into_iter().map(|event| event.type_name.to_string());
    names.filter(|name| name != "command_refused" && name != "command_denied").collect()
}

/// Sends each and holds the answer against what is expected; nothing may have changed.
async fn are_refused(world: &World, cases: Vec<Wrong<'_>>) {
    let before = world.log().head().await.expect("the head");
    for (mutation, input, code, word) in cases {
        let shown = format!("{mutation} {input}");
        let answer = world.admin().run(mutation, input, "").await;
        let user_error = answer.at(&format!("/data/{mutation}/userErrors/0"));
        let found = [answer.error_code(), answer.user_error(mutation)].concat();
        assert_eq!(found, code, "{shown}: {}", answer.text);
        let messages = [user_error, answer.at("/errors/0")].map(|it| it["message"].as_str());
        let message = messages.into_iter().flatten().next().unwrap_or_default();
        assert!(message.contains(word), "{shown}: {message:?} does not say {word:?}");
    }
    assert_eq!(changes_since(world, before).await, [] as [String; 0]);
}

async fn furnished() -> (World, String, String) {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    // What follows from a new organization has happened, so that it is not taken for a change.
    commands::flows::settle(world.executor()).await.expect("flows");
    (world, organization, owner)
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let (world, organization, _) = furnished().await;
    let nobody = UserId::new(Uuid::now_v7()).to_string();
    let nothing = OrganizationId::new(Uuid::now_v7()).to_string();
    let purchase = PurchaseId::new(Uuid::now_v7()).to_string();
    let service = ServiceId::new(Uuid::now_v7()).to_string();
    let money = json!({ "amount": "10.00", "currency": "USD" });
    let cases: Vec<Wrong<'_>> = vec![
        (
            "creditGrant",
            json!({ "organizationId": nothing, "credits": "1", "reason": "x" }),
            "ORGANIZATION_NOT_FOUND",
            "organization",
        ),
        (
            "creditSpend",
            json!({ "organizationId": "org_1", "credits": "1", "reason": "x" }),
            "BAD_USER_INPUT",
            "org_1",
        ),
        (
            "memberAdd",
            json!({ "organizationId": organization, "userId": nobody, "role": "MEMBER" }),
            "USER_NOT_FOUND",
            "user",
        ),
        (
            "purchaseInitiate",
            json!({ "organizationId": organization, "creditPack": "a-lot" }),
            "CREDIT_PACK_NOT_FOUND",
            "pack",
        ),
        (
            "purchasePay",
            json!({ "purchaseId": purchase, "amount": money, "reference": "transfer 1" }),
            "PURCHASE_NOT_FOUND",
            "purchase",
        ),
        ("serviceStart", json!({ "serviceId": service }), "SERVICE_NOT_FOUND", "service"),
        (
            "organizationCreate",
            json!({ "slug": "new", "name": "New", "owner": nobody, "tier": "free" }),
            "USER_NOT_FOUND",
            "user",
        ),
    ];
    are_refused(&world, cases).await;
    world.end().await;
}

#[tokio::test]
async fn an_amount_that_cannot_be_is_refused_by_name() {
    let (world, organization, _) = furnished().await;
    let spend = |credits: Value| {
        let reason = "x";
        json!({ "organizationId": organization, "credits": credits, "reason": reason })
    };
    let cases: Vec<Wrong<'_>> = vec![
        ("creditSpend", spend(json!("-1")), "CREDITS_NOT_POSITIVE", "credits"),
        ("creditSpend", spend(json!("0")), "CREDITS_NOT_POSITIVE", "credits"),
        ("creditGrant", spend(json!("-0.000001")), "CREDITS_NOT_POSITIVE", "credits"),
        ("creditGrant", spend(json!("1e30")), "BAD_USER_INPUT", ""),
        ("creditGrant", spend(json!("99999999999999999999")), "BAD_USER_INPUT", ""),
        ("creditGrant", spend(json!("0.0000001")), "BAD_USER_INPUT", ""),
        ("creditGrant", spend(json!(1)), "BAD_USER_INPUT", ""),
        ("creditGrant", spend(json!(0.1)), "BAD_USER_INPUT", ""),
        ("creditGrant", spend(json!("one")), "BAD_USER_INPUT", ""),
        ("creditGrant", spend(json!("NaN")), "BAD_USER_INPUT", ""),
        ("creditGrant", spend(Value::Null), "BAD_USER_INPUT", ""),
    ];
    are_refused(&world, cases).await;
    world.end().await;
}

#[tokio::test]
async fn money_of_another_currency_or_amount_pays_for_nothing() {
    let (world, organization, _) = furnished().await;
    let packs = world.admin().query("{ creditPacks { code price { amount currency } } }").await;
    let pack = &packs.at("/data/creditPacks/0");
    assert_eq!(pack["price"]["currency"], "USD", "{}", packs.text);
    let input = json!({ "organizationId": organization, "creditPack": pack["code"] });
    let select = "purchase { id }";
    let initiated = world.admin().run("purchaseInitiate", input, select).await.accepted();
    let purchase = initiated.text_at("/data/purchaseInitiate/purchase/id");
    let amount = pack["price"]["amount"].as_str().expect("text");
    let pay = |amount: &str, currency: &str| {
        let money = json!({ "amount": amount, "currency": currency });
        json!({ "purchaseId": purchase, "amount": money, "reference": "transfer 1" })
    };
    let cases: Vec<Wrong<'_>> = vec![
        ("purchasePay", pay(amount, "EUR"), "PURCHASE_OTHER_AMOUNT", amount),
        ("purchasePay", pay(&format!("-{amount}"), "USD"), "PURCHASE_OTHER_AMOUNT", amount),
        ("purchasePay", pay("0.01", "USD"), "PURCHASE_OTHER_AMOUNT", amount),
        ("purchasePay", pay(amount, "XXQ"), "BAD_USER_INPUT", "XXQ"),
        ("purchasePay", pay("1.001", "USD"), "BAD_USER_INPUT", ""),
        ("purchasePay", pay("1e25", "USD"), "PURCHASE_OTHER_AMOUNT", amount),
        ("purchasePay", pay("1e40", "USD"), "BAD_USER_INPUT", ""),
    ];
    are_refused(&world, cases).await;
    world.end().await;
}

#[tokio::test]
async fn a_usage_batch_with_anything_wrong_records_nothing_and_says_where() {
    let (world, organization, _) = furnished().await;
    let record = |id: &str, quantities: Value| {
        let at = "2026-11-16T18:15:46Z";
        json!({ "usage_id": id, "occurred_at": at, "quantities": quantities })
    };
    let good = record("good", json!({ "emails_sent": 1 }));
    let cases = [
        (record("a", json!({ "emails_sent": -1 })), 400, "1"),
        (record("a", json!({ "emails_sent": 0.5 })), 400, "1"),
        (record("a", json!({ "emails_sent": "1" })), 400, "1"),
        (record("a", json!({ "emails_sent": 1, "E-mails": 1 })), 400, "1"),
        (json!({ "usage_id": "a", "quantities": { "emails_sent": 1 } }), 400, "occurred_at"),
        (record("a", json!({ "unheard_of": 1 })), 422, "unheard_of"),
        (record("a", json!({ "emails_sent": u64::MAX })), 422, ""),
        (record("a", json!({})), 422, ""),
        (record("a", json!({ "llm_tokens_input": 1 })), 422, ""),
    ];
    let before = world.log().head().await.expect("the head");
    for (bad, status, word) in cases {
        let batch = json!({ "organization": organization, "source": "test",
                            "records": [good, bad] });
        let answer = world.admin().post("/api/v1/usage/batch", &batch).await;
        assert_eq!(answer.status, status, "{bad}: {}", answer.text);
        assert!(answer.text.contains(word), "{bad}: {} does not say {word:?}", answer.text);
    }
    let batch = json!({ "organization": "nobody", "source": "test", "records": [good] });
    let answer = world.admin().post("/api/v1/usage/batch", &batch).await;
    assert_eq!(answer.status, 404, "{}", answer.text);
    assert!(answer.text.contains("nobody"), "{}", answer.text);
    assert_eq!(changes_since(&world, before).await, [] as [String; 0]);
    world.end().await;
}
