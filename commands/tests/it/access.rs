//! Who may: keys, roles, suspension, and that a denial is recorded.

use crate::world::{World, credits, request, text};
use commands::{
    AccessCommand, Caller, CreditCommand, Failure, NewKey, TenancyCommand, new_command_id,
};
use domain::access::security::Event as SecurityEvent;
use domain::credits::{GrantKind, GrantSource};
use domain::tenancy::OrganizationRole;
use domain::{Event, Personal};

fn grant(world: &World) -> CreditCommand {
    CreditCommand::CreditGrant {
        organization_id: world.organization,
        credits: credits("1"),
        kind: GrantKind::Promotional,
        source: GrantSource::Manual { reason: text("test") },
        priority: 100,
        effective_at: None,
        expires_at: None,
    }
}

async fn may(world: &World, caller: &Caller, command: CreditCommand) -> bool {
    match world.executor.execute(request(caller, command)).await {
        Ok(_) => true,
        Err(Failure::Forbidden { .. } | Failure::Unauthenticated) => false,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn credits_are_given_by_the_platform_and_spent_by_members() {
    let world = World::on_tier("free").await;
    let admin = world.with_role("admin@example.org", "admin").await;
    let viewer = world.with_role("viewer@example.org", "viewer").await;
    let owner = Caller::user(world.owner);
    let member = world.member("member@example.org", OrganizationRole::Member).await;
    assert!(may(&world, &admin, grant(&world)).await);
    for caller in [&viewer, &owner, &member, &Caller::anonymous()] {
        assert!(!may(&world, caller, grant(&world)).await, "{:?} gave credits", caller.actor);
    }
    assert!(!may(&world, &viewer, world.spend("0.1")).await);
    assert!(may(&world, &member, world.spend("0.1")).await);
}

#[tokio::test]
async fn a_suspended_user_organization_or_key_stops_at_once() {
    let world = World::on_tier("free").await;
    world.grant("10").await;
    let (printed, outcome) = world.key_of(world.owner).await;
    let caller = world.executor.authenticate(&printed.print()).await.unwrap();
    assert!(may(&world, &caller, world.spend("1")).await);
    let (organization_id, reason) = (world.organization, text("test"));
    let suspend = TenancyCommand::OrganizationSuspend { organization_id, reason: reason.clone() };
    world.asks(suspend).await.unwrap();
    assert!(!may(&world, &caller, world.spend("1")).await);
    world.asks(TenancyCommand::OrganizationReactivate { organization_id }).await.unwrap();
    let user_id = world.owner;
    let suspend = AccessCommand::UserSuspend { user_id, reason: reason.clone() };
    world.asks(suspend).await.unwrap();
    assert!(!may(&world, &caller, world.spend("1")).await);
    world.asks(AccessCommand::UserReactivate { user_id }).await.unwrap();
    assert!(may(&world, &caller, world.spend("1")).await);
    let commands::Subject::ApiKey(api_key_id) = outcome.subject else { panic!("it is of a key") };
    world.asks(AccessCommand::ApiKeyRevoke { api_key_id, reason }).await.unwrap();
    assert!(!may(&world, &caller, world.spend("1")).await);
    let again = world.executor.authenticate(&printed.print()).await;
    assert!(matches!(again, Err(Failure::Unauthenticated)));
}

#[tokio::test]
async fn nobody_makes_a_key_that_acts_for_somebody_else() {
    let world = World::on_tier("free").await;
    let moderator = world.with_role("moderator@example.org", "moderator").await;
    let key = NewKey { public_part: "abcdefabcdef".into(), secret_hash: "00".into() };
    let create = AccessCommand::ApiKeyCreate {
        user_id: world.owner,
        organization_id: None,
        name: text("not mine"),
        scopes: [].into(),
        expires_at: None,
        key,
    };
    let result = world.executor.execute(request(&moderator, create)).await;
    assert!(matches!(result, Err(Failure::Forbidden { .. })), "{result:?}");
}

#[tokio::test]
async fn a_flood_of_denials_is_recorded_as_one_and_a_count() {
    let world = World::on_tier("free").await;
    let viewer = world.with_role("viewer@example.org", "viewer").await;
    for _ in 0..25 {
        assert!(!may(&world, &viewer, world.spend("1")).await);
    }
    world.executor.flush_denials().await;
    let repeated: Vec<u64> = world
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::Security(SecurityEvent::CommandDenied(denied)) => Some(denied.repeated),
            _ => None,
        })
        .collect();
    assert_eq!(repeated, [0, 24]);
}

#[tokio::test]
async fn an_address_is_of_one_user_and_never_in_the_log_in_the_clear() {
    let world = World::on_tier("free").await;
    let email = "ADA@example.org".to_owned();
    let again = AccessCommand::UserInvite { email, name: "Another Ada".into() };
    let result = world.asks(again).await;
    assert!(matches!(result, Err(Failure::Refused(commands::Refusal::Taken { .. }))));
    let recorded = world.log().read(event_log::Position(0), 10_000).await.unwrap();
    for event in &recorded {
        let shown = String::from_utf8_lossy(&event.payload).to_lowercase();
        assert!(!shown.contains("ada@"), "{shown}");
    }
    let invited = world.events().await.into_iter().find_map(|event| match event {
        Event::User(domain::identity::user::Event::UserInvited(invited)) => Some(invited),
        _ => None,
    });
    assert!(matches!(invited.unwrap().email, Personal::Sealed(_)));
}

#[tokio::test]
async fn the_first_administrator_comes_from_the_setup_link_once() {
    let world = World::on_tier("free").await;
    let token_hash = domain::identity::api_key::hash_secret("the token");
    let expires_at = "2999-01-01T00:00:00Z".parse().unwrap();
    world.asks(AccessCommand::SetupLinkIssue { token_hash, expires_at }).await.unwrap();
    let complete = |token: &str, email: &str| AccessCommand::SetupComplete {
        token: token.into(),
        email: email.into(),
        name: "Root".into(),
        key: None,
    };
    let nobody = Caller::anonymous();
    let wrong = request(&nobody, complete("a guess", "root@example.org"));
    assert!(world.executor.execute(wrong).await.is_err());
    let mut right = request(&nobody, complete("the token", "root@example.org"));
    right.command_id = new_command_id();
    let outcome = world.executor.execute(right.clone()).await.unwrap();
    let again = world.executor.execute(right).await.unwrap();
    assert_eq!(outcome.receipt.position, again.receipt.position);
    let second = request(&nobody, complete("the token", "other@example.org"));
    assert!(world.executor.execute(second).await.is_err());
    let commands::Subject::User(user_id) = outcome.subject else { panic!("it is of a user") };
    assert!(may(&world, &Caller::user(user_id), grant(&world)).await);
}
