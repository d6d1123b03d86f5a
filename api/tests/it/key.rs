//! `opscenter key create`: a key that works, for somebody who exists.

use crate::world::World;
use domain::access::{Action, Permission, Resource, Scope};

#[tokio::test]
async fn a_key_made_at_the_machine_works_and_is_limited_as_asked() {
    let world = World::furnished().await;
    let ada = ["key", "create", "--user", "Ada@example.org"];
    let limits = ["--organization", "managed", "--scope", "metering:w", "--days", "30"];
    let said = world.run(&[&ada[..], &limits].concat()).await.ended(0);
    let printed = said.out.trim();
    let open = world.open().await;
    let caller = open.executor.authenticate(printed).await.expect("the key works");
    let may = async |resource, action, slug: &str| {
        let scope = Scope::Organization(open.organization(slug).await);
        let permission = Permission::new(resource, action);
        open.executor.authorize(&caller, permission, scope).await.is_ok()
    };
    assert!(may(Resource::Metering, Action::Write, "managed").await);
    assert!(!may(Resource::Metering, Action::Read, "managed").await, "beyond the key's scopes");
    assert!(!may(Resource::Metering, Action::Write, "byok").await, "beyond its organization");
    let actors: Vec<String> =
        open.events().await.into_iter().map(|(recorded, _)| recorded.actor).collect();
    assert!(actors.last().is_some_and(|actor| actor.contains("operator")), "{actors:?}");
    open.close().await;
}

#[tokio::test]
async fn a_key_for_nobody_is_refused_and_says_what_to_do() {
    let world = World::furnished().await;
    let head = world.head().await;
    let said = world.run(&["key", "create", "--user", "eve@example.org"]).await.ended(1);
    assert!(said.err.contains("there is no user \"eve@example.org\"; give"), "{}", said.err);
    let said = world.run(&["key", "create", "--user", "ada@example.org", "--scope", "all"]).await;
    assert!(said.ended(2).err.contains("write it like \"billing:r\""));
    let nobody = "usr_00000000000000000000000000";
    let said = world.run(&["key", "create", "--user", nobody]).await.ended(1);
    assert!(said.err.contains("there is no such user"), "{}", said.err);
    assert!(said.out.is_empty());
    let organization = ["--organization", "nowhere"];
    let arguments = [&["key", "create", "--user", "ada@example.org"][..], &organization].concat();
    let said = world.run(&arguments).await.ended(1);
    assert!(said.err.contains("there is no organization \"nowhere\""), "{}", said.err);
    let open = world.open().await;
    let keys = open.events().await.into_iter().filter(|(recorded, _)| {
        recorded.position > head && recorded.type_name == "api_key_created"
    });
    assert_eq!(keys.count(), 0);
    open.close().await;
}
