//! `opscenter demo`: furnished once, looked at through the commands that it prints.

use crate::world::{PATIENCE, World};
use domain::Event;
use domain::access::permission::BUILT_IN_ROLES;
use domain::identity::user::Event as UserEvent;
use domain::tenancy::OrganizationRole;
use domain::tenancy::organization::{Event as OrganizationEvent, MemberAdded};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn a_second_run_changes_nothing_and_says_so() {
    let world = World::empty();
    let first = world.run(&["demo", "--exit"]).await.ended(0);
    assert!(first.out.contains("commands and usage records are new"), "{}", first.out);
    let head = world.head().await;
    let second = world.run(&["demo", "--exit"]).await.ended(0);
    assert!(second.out.starts_with("Nothing is new"), "{}", second.out);
    assert_eq!(world.head().await, head);
    // The same table, keys and next steps are shown again.
    let after_first_line = |text: &str| text.split_once('\n').expect("lines").1.to_owned();
    assert_eq!(after_first_line(&second.out), after_first_line(&first.out));
}

#[tokio::test]
async fn everything_that_was_promised_is_there() {
    let world = World::empty();
    let said = world.run(&["demo", "--exit"]).await.ended(0);
    let open = world.open().await;
    let (mut platform, mut inside, mut kinds) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (recorded, event) in open.events().await {
        kinds.insert(recorded.type_name.clone());
        match event {
            Event::User(UserEvent::UserRoleAssigned(assigned)) => {
                platform.insert(assigned.role.to_string());
            }
            Event::Organization(OrganizationEvent::MemberAdded(MemberAdded { role, .. })) => {
                inside.insert(role);
            }
            Event::Organization(OrganizationEvent::OrganizationCreated(_)) => {
                inside.insert(OrganizationRole::Owner);
            }
            rest => drop(rest),
        }
    }
    let roles: BTreeSet<String> = BUILT_IN_ROLES.iter().map(|role| (*role).to_owned()).collect();
    assert_eq!(platform, roles);
    assert_eq!(inside, OrganizationRole::ALL.iter().copied().collect());
    for kind in [
        "purchase_initiated",
        "purchase_paid",
        "purchase_fulfilled",
        "purchase_refunded",
        "service_registered",
        "api_key_created",
        "usage_charged",
        "add_on_published",
        "credit_pack_published",
        "rate_card_published",
    ] {
        assert!(kinds.contains(kind), "no {kind}");
    }
    assert!(
        !kinds.contains("permission_denied") && !kinds.contains("command_refused"),
        "{kinds:?}"
    );
    let mut records = 0;
    let slugs = ["magic-unicorn", "acme", "lone-wolf", "paper-plane"];
    for (slug, totals) in open.totals(&slugs).await {
        assert_eq!(totals.charged_records, totals.records, "{slug}");
        assert!(said.out.contains(&totals.charge_usd), "{slug}: {}", said.out);
        assert_eq!(totals.owed_credits == "0.000000", slug != "paper-plane", "{slug}");
        records += totals.records;
    }
    assert_eq!(records, 4_000);
    open.close().await;
}

#[tokio::test]
async fn the_readme_shows_what_appears() {
    let world = World::empty();
    let said = world.run(&["demo", "--exit"]).await.ended(0);
    let readme = include_str!("../../../README.md");
    let table = said.out.lines().take_while(|line| !line.starts_with("The traffic"));
    for line in said.err.lines().skip(1).chain(table) {
        assert!(readme.contains(line), "{line:?} is not in README.md");
    }
}

#[tokio::test]
async fn the_commands_that_it_prints_work_while_it_serves() {
    let world = World::empty();
    let mut child =
        world.program(&["demo", "--address", "127.0.0.1:0"]).spawn().expect("it can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
    let mut shown = String::new();
    while !shown.contains("Ctrl-C stops the server") {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it goes on");
        let line = line.expect("text").expect("it does not end before it serves");
        shown.push_str(&line);
        shown.push('\n');
    }
    let commands: Vec<&str> = shown
        .match_indices("  curl ")
        .map(|(at, _)| shown[at..].split("\n\n").next().unwrap_or_default())
        .collect();
    assert_eq!(commands.len(), 2, "{shown}");
    let balance = printed_query(commands[0]).await;
    let organization = &balance["data"]["organization"];
    assert_eq!(organization["tier"], json!("managed"), "{balance}");
    let bill = printed_query(commands[1]).await;
    let total = bill["data"]["bill"]["totalUsd"].as_str().unwrap_or_else(|| panic!("{bill}"));
    assert!(shown.contains(total), "{total} is not in\n{shown}");
    let process = child.id().expect("it runs").to_string();
    let stopped = Command::new("kill").args(["-TERM", &process]).status().await;
    assert!(stopped.expect("it can be asked to stop").success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends");
    assert!(ended.expect("its status").success());
}

/// Runs a command as it was printed: it works at once.
async fn printed_query(command: &str) -> Value {
    let output = Command::new("sh").args(["-c", command]).output().await.expect("sh runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command}: {error}"))
}

#[tokio::test]
async fn an_installation_that_is_in_use_is_left_alone() {
    use commands::{AccessCommand, Caller, Request, new_command_id};
    use domain::identity::api_key::hash_secret;
    let world = World::empty();
    let open = world.open().await;
    let expires_at = open.executor.clock().now() + chrono::TimeDelta::hours(1);
    let token_hash = hash_secret("token");
    open.ask(AccessCommand::SetupLinkIssue { token_hash, expires_at }).await;
    let complete = AccessCommand::SetupComplete {
        token: "token".to_owned(),
        email: "somebody@example.org".to_owned(),
        name: "Somebody".to_owned(),
        key: None,
    };
    let request = Request {
        command_id: new_command_id(),
        caller: Caller::anonymous(),
        expected_version: None,
        command: complete.into(),
    };
    open.executor.execute(request).await.expect("the setup is complete");
    open.close().await;
    let head = world.head().await;
    let said = world.run(&["demo", "--exit"]).await.ended(1);
    assert!(said.err.contains("this installation is in use"), "{}", said.err);
    assert_eq!(world.head().await, head);
}
