//! Usage: recorded once, charged once, owed when it cannot be paid.

use crate::world::{World, call, code, credits, executor, model, system, text};
use commands::{CatalogueCommand, Failure, Refusal, UsageItem, UsageReport, UsageVerdict, flows};
use domain::metering::usage::Refusal as UsageRefusal;
use domain::values::Credits;

fn report(world: &World, records: Vec<UsageItem>) -> UsageReport {
    let (organization_id, source) = (world.organization, text("gateway"));
    UsageReport { organization_id, source, records, command_id: None }
}

#[tokio::test]
async fn usage_is_charged_at_the_tiers_markup_to_the_micro_dollar() {
    let world = World::on_tier("professional").await;
    let calls = (0..600).map(call).collect();
    world.executor.record_usage(&system(), report(&world, calls)).await.unwrap();
    flows::settle(&world.executor).await.unwrap();
    // 600 × 0.001375 × 1.6 = 1.32 dollars = 1,320 credits of 60,000.
    assert_eq!(world.account().await.balance(), credits("58680"));
}

#[tokio::test]
async fn what_no_credits_pay_for_is_owed() {
    let world = World::on_tier("free").await;
    world.grant("1").await;
    world.executor.record_usage(&system(), report(&world, vec![call(1)])).await.unwrap();
    flows::settle(&world.executor).await.unwrap();
    let account = world.account().await;
    assert_eq!((account.balance(), account.owed), (Credits::ZERO, credits("0.375")));
}

#[tokio::test]
async fn a_repeat_is_answered_with_its_position_and_charged_never_again() {
    let world = World::on_tier("managed").await;
    let answer = world
        .executor
        .record_usage(&system(), report(&world, vec![call(1), call(2), call(1)]))
        .await
        .unwrap();
    let UsageVerdict::Recorded(first) = answer.verdicts[0] else { panic!("{answer:?}") };
    assert_eq!(answer.verdicts[2], UsageVerdict::Repeated(first));
    flows::settle(&world.executor).await.unwrap();
    let before = world.account().await;
    let again = report(&world, vec![call(2), call(1)]);
    let answer = world.executor.record_usage(&system(), again).await.unwrap();
    assert_eq!(answer.verdicts[1], UsageVerdict::Repeated(first));
    flows::settle(&world.executor).await.unwrap();
    assert_eq!(world.account().await, before);
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused_and_named() {
    let world = World::on_tier("managed").await;
    world.executor.record_usage(&system(), report(&world, vec![call(1)])).await.unwrap();
    let mut other = call(1);
    other.quantities.insert(code("llm_tokens_input"), 375);
    let answer = world.executor.record_usage(&system(), report(&world, vec![other])).await.unwrap();
    assert!(matches!(answer.verdicts[0], UsageVerdict::Different(_)), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_priced_is_refused_before_it_is_recorded() {
    let world = World::on_tier("managed").await;
    let head = world.log().head().await.unwrap();
    let mut unknown = call(1);
    unknown.quantities.insert(code("unheard_of"), 1);
    let result = world.executor.record_usage(&system(), report(&world, vec![unknown])).await;
    let refused =
        matches!(result, Err(Failure::Refused(Refusal::Usage(UsageRefusal::UnknownMeter(_)))));
    assert!(refused, "{result:?}");
    assert_eq!(world.log().head().await.unwrap(), head);
}

#[tokio::test]
async fn a_price_counts_from_its_own_position_on() {
    let world = World::on_tier("free").await;
    world.executor.record_usage(&system(), report(&world, vec![call(1)])).await.unwrap();
    let dearer = model("gpt-4o", "5e-06", "2e-05");
    world.asks(CatalogueCommand::ModelPrice(Box::new(dearer))).await.unwrap();
    world.executor.record_usage(&system(), report(&world, vec![call(2)])).await.unwrap();
    flows::settle(&world.executor).await.unwrap();
    assert_eq!(world.account().await.owed, credits("4.125"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_charge_the_same_usage_charge_it_once() {
    let world = World::on_tier("professional").await;
    for batch in 0..4 {
        let calls = (batch * 900..(batch + 1) * 900).map(call).collect();
        world.executor.record_usage(&system(), report(&world, calls)).await.unwrap();
    }
    let other = executor(&world.server).await;
    let both = tokio::join!(flows::settle(&world.executor), flows::settle(&other));
    both.0.unwrap();
    both.1.unwrap();
    // 3,600 × 0.0022 = 7.92 dollars.
    assert_eq!(world.account().await.balance(), credits("52080"));
}
