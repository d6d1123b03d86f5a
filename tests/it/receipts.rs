//! Receipts: once however often it is sent, and what one wrote is what one reads.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tests::{World, command_id, until};

#[tokio::test]
async fn a_command_sent_fifty_times_at_once_has_one_effect_and_fifty_equal_receipts() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let input = json!({
        "commandId": command_id(), "organizationId": organization,
        "credits": "12.5", "reason": "a promise",
    });
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (client, input) = (world.admin().clone(), input.clone());
            tokio::spawn(async move { client.run("creditGrant", input, "id").await.accepted() })
        })
        .collect();
    let (mut receipts, mut replayed) = (BTreeSet::new(), 0);
    for task in tasks {
        let answer = task.await.expect("an answer");
        let mut receipt = answer.at("/data/creditGrant/receipt").clone();
        replayed += usize::from(receipt["wasReplayed"] == json!(true));
        receipt["wasReplayed"] = Value::Null;
        let _new = receipts.insert(format!("{receipt} {}", answer.at("/data/creditGrant/id")));
    }
    assert_eq!(receipts.len(), 1, "{receipts:#?}");
    assert_eq!(replayed, 49);
    world.read_models_have_caught_up().await;
    assert_eq!(available(&world, &organization).await, "12.500000");
    world.end().await;
}

#[tokio::test]
async fn a_command_id_is_not_taken_for_another_command() {
    let world = World::start().await;
    let id = command_id();
    let input = |name: &str| {
        let email = format!("{name}@example.org");
        json!({ "commandId": id, "email": email, "name": name })
    };
    let _first = world.admin().run("userInvite", input("eve"), "").await.accepted();
    let other = world.admin().run("userInvite", input("mallory"), "").await;
    assert_eq!(other.user_error("userInvite"), "COMMAND_REUSED");
    assert_eq!(other.at("/data/userInvite/userErrors/0/path"), &json!(["input", "commandId"]));
    assert!(other.at("/data/userInvite/receipt").is_null());
    world.end().await;
}

#[tokio::test]
async fn two_hundred_who_spend_the_last_credits_get_no_more_than_there_are() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    world.grant(&organization, "30").await;
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let client = world.admin().clone();
            let input =
                json!({ "organizationId": organization, "credits": "0.25", "reason": "one call" });
            tokio::spawn(async move { client.run("creditSpend", input, "id").await })
        })
        .collect();
    let (mut spent, mut refused) = (0, 0);
    for task in tasks {
        let answer = task.await.expect("an answer");
        match answer.user_error("creditSpend") {
            "" => {
                let _accepted = answer.accepted();
                spent += 1;
            }
            code => {
                assert_eq!(code, "CREDITS_TOO_FEW", "{}", answer.text);
                assert_eq!(answer.status, 200);
                refused += 1;
            }
        }
    }
    assert_eq!((spent, refused), (120, 80));
    world.read_models_have_caught_up().await;
    assert_eq!(available(&world, &organization).await, "0.000000");
    world.end().await;
}

#[tokio::test]
async fn what_one_wrote_is_what_one_reads() {
    let world = World::start().await;
    for at in 0..20 {
        let input = json!({ "email": format!("u{at}@example.org"), "name": "u" });
        let answer = world.admin().run("userInvite", input, "").await.accepted();
        let position = answer.text_at("/data/userInvite/receipt/position");
        let reader = world.admin().with_header("ops-consistency", &format!("at-least={position}"));
        let seen = reader.query("{ users { totalCount } }").await.accepted();
        assert_eq!(seen.at("/data/users/totalCount"), &json!(at + 2));
        assert_eq!(seen.text_at("/extensions/consistency/position"), position);
    }
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_would_be_old_is_refused_instead() {
    let world = World::start().await;
    let known = world.admin().query("{ users { totalCount } }").await.accepted();
    let position = known.text_at("/extensions/consistency/position");
    let (log, number) = position.split_once('-').expect("two parts");
    let ahead = number.parse::<i64>().expect("a number") + 1_000;
    let ask = |header: String| {
        let client = world.admin().with_header("ops-consistency", &header);
        async move { client.query("{ users { totalCount } }").await }
    };
    let started = Instant::now();
    let stale = ask(format!("at-least={log}-{ahead}")).await;
    assert_eq!(stale.error_code(), "READ_MODEL_STALE", "{}", stale.text);
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
    let other = u32::from_str_radix(log, 16).expect("hexadecimal") ^ 1;
    let foreign = ask(format!("at-least={other:08x}-{number}")).await;
    assert_eq!((foreign.status, foreign.error_code()), (400, "BAD_USER_INPUT"));
    let senseless = ask("at-least=soon".to_owned()).await;
    assert_eq!((senseless.status, senseless.error_code()), (400, "BAD_USER_INPUT"));
    // What reads no read model waits for none.
    let client = world.admin().with_header("ops-consistency", &format!("at-least={log}-{ahead}"));
    assert_eq!(client.query("{ __typename }").await.accepted().status, 200);
    world.end().await;
}

#[tokio::test]
async fn an_expected_version_that_is_gone_is_a_conflict() {
    let world = World::start().await;
    let (id, _) = world.user("bob", &[]).await;
    let document = format!("{{ user(id: \"{id}\") {{ version }} }}");
    world.read_models_have_caught_up().await;
    let seen = world.admin().query(&document).await.accepted();
    let version = seen.at("/data/user/version").as_i64().expect("a version");
    let suspend = |version: i64| json!({ "userId": id, "expectedVersion": version, "reason": "x" });
    let old = world.admin().run("userSuspend", suspend(version - 1), "").await;
    assert_eq!(old.user_error("userSuspend"), "VERSION_CONFLICT", "{}", old.text);
    let now = world.admin().run("userSuspend", suspend(version), "user { status version }").await;
    let now = now.accepted();
    assert_eq!(now.text_at("/data/userSuspend/user/status"), "suspended");
    assert_eq!(now.at("/data/userSuspend/user/version"), &json!(version + 1));
    world.end().await;
}

#[tokio::test]
async fn a_key_is_shown_once_and_a_repeat_shows_none() {
    let world = World::start().await;
    let input = json!({ "commandId": command_id(), "name": "for a test" });
    let first = world.admin().run("apiKeyCreate", input.clone(), "printedKey apiKey { id }").await;
    let first = first.accepted();
    let key = first.text_at("/data/apiKeyCreate/printedKey");
    let again = world.admin().run("apiKeyCreate", input, "printedKey apiKey { id }").await;
    let again = again.accepted();
    assert!(again.at("/data/apiKeyCreate/printedKey").is_null());
    assert_eq!(again.at("/data/apiKeyCreate/apiKey"), first.at("/data/apiKeyCreate/apiKey"));
    let _works = world.admin().with_key(&key).query("{ me { id } }").await.accepted();
    world.end().await;
}

#[tokio::test]
async fn a_bought_pack_is_granted_and_refunded_in_part() {
    let world = World::furnished().await;
    let (owner, client) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let input = json!({ "organizationId": organization, "creditPack": "credits-5000" });
    let begun =
        client.run("purchaseInitiate", input, "purchase { id state price { amount } }").await;
    let begun = begun.accepted();
    let purchase = begun.text_at("/data/purchaseInitiate/purchase/id");
    assert_eq!(begun.text_at("/data/purchaseInitiate/purchase/price/amount"), "45.00");
    let pay = |amount: &str, currency: &str| {
        json!({ "purchaseId": purchase, "reference": "bank 4711",
                "amount": { "amount": amount, "currency": currency } })
    };
    let own = client.run("purchasePay", pay("45.00", "USD"), "").await;
    assert_eq!(own.error_code(), "FORBIDDEN", "a customer paid themselves: {}", own.text);
    let euro = world.admin().run("purchasePay", pay("45.00", "EUR"), "").await;
    assert_eq!(euro.user_error("purchasePay"), "PURCHASE_OTHER_AMOUNT", "{}", euro.text);
    let fine = world.admin().run("purchasePay", pay("45.001", "USD"), "").await;
    assert_eq!(fine.error_code(), "BAD_USER_INPUT", "{}", fine.text);
    let _paid = world.admin().run("purchasePay", pay("45.00", "USD"), "").await.accepted();
    let document = format!("{{ purchase(id: \"{purchase}\") {{ state refunded {{ amount }} }} }}");
    until("the credits", || async {
        let seen = client.query(&document).await.accepted();
        (seen.text_at("/data/purchase/state") == "fulfilled").then_some(())
    })
    .await;
    // Another read model than the one of purchases.
    world.read_models_have_caught_up().await;
    assert_eq!(available(&world, &organization).await, "5000.000000");
    let refund = json!({ "purchaseId": purchase, "credits": "1000", "reason": "too many" });
    let refunded =
        world.admin().run("purchaseRefund", refund, "purchase { state refunded { amount } }");
    let refunded = refunded.await.accepted();
    let of = |field: &str| refunded.text_at(&format!("/data/purchaseRefund/purchase/{field}"));
    assert_eq!((of("state"), of("refunded/amount")), ("partially_refunded".into(), "9.00".into()));
    world.read_models_have_caught_up().await;
    assert_eq!(available(&world, &organization).await, "4000.000000");
    world.end().await;
}

async fn available(world: &World, organization: &str) -> String {
    let document =
        format!("{{ creditBalance(organizationId: \"{organization}\") {{ available }} }}");
    let answer = world.admin().query(&document).await.accepted();
    answer.text_at("/data/creditBalance/available")
}
