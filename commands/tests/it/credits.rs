//! Credits under pressure: the last ones, the same command many times, an old state.

use crate::world::{World, code, credits, executor, request, system, text};
use commands::{CreditCommand, Failure, Refusal, TenancyCommand, flows, new_command_id};
use domain::credits::{Event as CreditEvent, Refusal as CreditRefusal};
use domain::values::Credits;
use domain::{Event, Instant};
use futures_util::future::join_all;

fn now() -> Instant {
    use commands::Clock;
    commands::SystemClock.now()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_who_spend_the_last_credits_at_once_take_exactly_what_is_there() {
    let world = World::on_tier("free").await;
    world.grant("17").await;
    let tasks = (0..200).map(|_| {
        let (executor, spend) = (world.executor.clone(), world.spend("1"));
        tokio::spawn(async move { executor.execute(request(&system(), spend)).await })
    });
    let results = join_all(tasks).await;
    let won = results.iter().filter(|result| result.as_ref().unwrap().is_ok()).count();
    let few = results.iter().filter(|result| {
        matches!(
            result.as_ref().unwrap(),
            Err(Failure::Refused(Refusal::Credits(CreditRefusal::TooFew { .. })))
        )
    });
    assert_eq!((won, few.count()), (17, 183));
    assert_eq!(world.account().await.balance(), Credits::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_sent_fifty_times_at_once_has_one_effect_and_fifty_equal_receipts() {
    let world = World::on_tier("free").await;
    world.grant("10").await;
    let mut once = request(&system(), world.spend("10"));
    once.command_id = new_command_id();
    let tasks = (0..50).map(|_| {
        let (executor, request) = (world.executor.clone(), once.clone());
        tokio::spawn(async move { executor.execute(request).await })
    });
    let receipts: Vec<_> =
        join_all(tasks).await.into_iter().map(|r| r.unwrap().unwrap().receipt).collect();
    let first = &receipts[0];
    for receipt in &receipts {
        let told = (receipt.position, &receipt.event_ids, receipt.recorded_at);
        assert_eq!(told, (first.position, &first.event_ids, first.recorded_at));
    }
    assert_eq!(receipts.iter().filter(|receipt| !receipt.was_replayed).count(), 1);
    assert_eq!(world.account().await.balance(), Credits::ZERO);
}

#[tokio::test]
async fn the_same_id_with_another_command_is_refused() {
    let world = World::on_tier("free").await;
    world.grant("10").await;
    let first = request(&system(), world.spend("1"));
    world.executor.execute(first.clone()).await.unwrap();
    let mut other = request(&system(), world.spend("2"));
    other.command_id = first.command_id;
    let result = world.executor.execute(other).await;
    assert!(matches!(result, Err(Failure::CommandReused { .. })), "{result:?}");
    assert_eq!(world.account().await.balance(), credits("9"));
}

#[tokio::test]
async fn a_refusal_is_never_given_on_an_old_state() {
    let world = World::on_tier("free").await;
    world.grant("1").await;
    world.asks(world.spend("1")).await.unwrap();
    // Another process gives credits; this one still keeps a state without any.
    let other = executor(&world.server).await;
    let grant = CreditCommand::CreditGrant {
        organization_id: world.organization,
        credits: credits("5"),
        kind: domain::credits::GrantKind::Promotional,
        source: domain::credits::GrantSource::Manual { reason: text("test") },
        priority: 100,
        effective_at: None,
        expires_at: None,
    };
    other.execute(request(&system(), grant)).await.unwrap();
    world.asks(world.spend("5")).await.expect("the credits that the other process gave");
}

#[tokio::test]
async fn a_caller_who_had_seen_another_version_is_told_so() {
    let world = World::on_tier("free").await;
    world.grant("1").await;
    let mut spend = request(&system(), world.spend("1"));
    spend.expected_version = Some(0);
    let result = world.executor.execute(spend).await;
    let expected = matches!(result, Err(Failure::VersionConflict { expected: 0, actual: 1 }));
    assert!(expected, "{result:?}");
}

#[tokio::test]
async fn a_new_organization_gets_its_tiers_credits_once() {
    let world = World::on_tier("managed").await;
    assert_eq!(world.account().await.balance(), credits("12000"));
    flows::settle(&world.executor).await.unwrap();
    flows::settle(&executor(&world.server).await).await.unwrap();
    assert_eq!(world.account().await.balance(), credits("12000"));
}

#[tokio::test]
async fn a_forgotten_hold_is_let_go_by_its_deadline_once() {
    let world = World::on_tier("free").await;
    world.grant("5").await;
    let hold = CreditCommand::CreditHoldPlace {
        organization_id: world.organization,
        credits: credits("5"),
        seconds: 1,
        reason: text("a call"),
    };
    world.asks(hold).await.unwrap();
    assert_eq!(world.account().await.available(now()), Credits::ZERO);
    let other = executor(&world.server).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while world.account().await.available(now()) != credits("5") {
        assert!(tokio::time::Instant::now() < deadline, "the hold is still there");
        let both = tokio::join!(flows::settle(&world.executor), flows::settle(&other));
        both.0.unwrap();
        both.1.unwrap();
    }
    let expired = world
        .events()
        .await
        .into_iter()
        .filter(|event| matches!(event, Event::CreditAccount(CreditEvent::HoldExpired(_))));
    assert_eq!(expired.count(), 1);
}

#[tokio::test]
async fn a_short_name_belongs_to_one_organization() {
    let world = World::on_tier("free").await;
    let again = TenancyCommand::OrganizationCreate {
        slug: code("acme"),
        name: text("Another"),
        owner: world.owner,
        tier: code("free"),
    };
    let result = world.asks(again).await;
    assert!(matches!(result, Err(Failure::Refused(Refusal::Taken { .. }))), "{result:?}");
    let found = world.executor.organization_named("acme").await.unwrap();
    assert_eq!(found, Some(world.organization));
}
