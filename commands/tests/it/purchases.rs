//! From wanting credits to having them, and back.

use crate::world::{World, code, credits, text};
use commands::{Failure, PurchaseCommand, Refusal, Subject, flows};
use domain::commerce::purchase::Refusal as PurchaseRefusal;
use domain::credits::Refusal as CreditRefusal;
use domain::values::{Currency, Money, PurchaseId};

fn dollars(text: &str) -> Money {
    Money::parse(text, Currency::USD).unwrap()
}

async fn bought(world: &World, pack: &str, price: &str, reference: &str) -> PurchaseId {
    let organization_id = world.organization;
    let initiate = PurchaseCommand::PurchaseInitiate { organization_id, credit_pack: code(pack) };
    let Subject::Purchase(purchase_id) = world.asks(initiate).await.unwrap().subject else {
        panic!("it is of a purchase")
    };
    let (amount, reference) = (dollars(price), text(reference));
    world.asks(PurchaseCommand::PurchasePay { purchase_id, amount, reference }).await.unwrap();
    flows::settle(&world.executor).await.unwrap();
    purchase_id
}

fn refund(purchase_id: PurchaseId, amount: &str) -> PurchaseCommand {
    let (credits, reason) = (Some(credits(amount)), text("unused"));
    PurchaseCommand::PurchaseRefund { purchase_id, credits, reason }
}

#[tokio::test]
async fn a_paid_purchase_grants_its_credits_once_and_is_fulfilled() {
    let world = World::on_tier("free").await;
    bought(&world, "credits-5000", "45.00", "ref 1").await;
    flows::settle(&world.executor).await.unwrap();
    assert_eq!(world.account().await.balance(), credits("5000"));
}

#[tokio::test]
async fn a_refund_takes_back_money_and_credits_together_or_neither() {
    let world = World::on_tier("free").await;
    let purchase_id = bought(&world, "credits-5000", "45.00", "ref 1").await;
    world.asks(world.spend("4000")).await.unwrap();
    let before = world.log().head().await.unwrap();
    let result = world.asks(refund(purchase_id, "1000.000001")).await;
    let spent =
        matches!(result, Err(Failure::Refused(Refusal::Credits(CreditRefusal::Spent { .. }))));
    assert!(spent, "{result:?}");
    let events = world.events().await;
    let refunds = events.iter().filter(|event| event.type_name() == "purchase_refunded");
    assert_eq!(refunds.count(), 0, "nothing of it happened after {before}");
    world.asks(refund(purchase_id, "1000")).await.unwrap();
    assert_eq!(world.account().await.balance(), credits("0"));
}

#[tokio::test]
async fn one_transfer_pays_one_purchase() {
    let world = World::on_tier("free").await;
    bought(&world, "credits-1000", "10.00", "ref 1").await;
    let organization_id = world.organization;
    let credit_pack = code("credits-1000");
    let again = PurchaseCommand::PurchaseInitiate { organization_id, credit_pack };
    let Subject::Purchase(purchase_id) = world.asks(again).await.unwrap().subject else {
        panic!("it is of a purchase")
    };
    let (amount, reference) = (dollars("10.00"), text("ref 1"));
    let pay = PurchaseCommand::PurchasePay { purchase_id, amount, reference };
    let result = world.asks(pay).await;
    assert!(matches!(result, Err(Failure::Refused(Refusal::Taken { .. }))), "{result:?}");
}

#[tokio::test]
async fn a_pack_is_sold_only_on_its_tiers() {
    let world = World::on_tier("free").await;
    let organization_id = world.organization;
    let credit_pack = code("credits-50000");
    let initiate = PurchaseCommand::PurchaseInitiate { organization_id, credit_pack };
    let result = world.asks(initiate).await;
    let unsold =
        matches!(result, Err(Failure::Refused(Refusal::Purchase(PurchaseRefusal::NotSold { .. }))));
    assert!(unsold, "{result:?}");
}
