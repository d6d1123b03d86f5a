//! Erasure: asked for, carried out, recorded; stopped by a hold; finished by whoever comes after a
//! crash; and nothing of the person is in what the writer of commands leaves behind.

use crate::world::*;
use commands::{
    AccessCommand, Caller, Clock, Failure, Refusal, RetentionCommand, Subject, TenancyCommand,
    flows, new_command_id,
};
use domain::access::security::Event as SecurityEvent;
use domain::identity::user::{ErasureGround, Event as UserEvent, UserErasureRequested};
use domain::retention::{HoldTarget, RecordKind};
use domain::tenancy::OrganizationRole;
use domain::values::UserId;
use domain::{Event, Personal};
use event_log::{Append, CommandKey, NewEvent, Opened, StreamId, VaultItem};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use uuid::Uuid;

fn erase(user_id: UserId) -> AccessCommand {
    let reference = Some(code("request-17"));
    AccessCommand::PersonErase { user_id, ground: ErasureGround::Requested, reference }
}

/// The events of a user, by name.
async fn history(world: &World, user_id: UserId) -> Vec<String> {
    let stream = StreamId::new("user", &user_id.to_string()).unwrap();
    let events = world.executor.log().read_stream(&stream, 0, None).await.unwrap();
    events.into_iter().map(|event| event.type_name).collect()
}

/// Whether the address of somebody can be read.
async fn is_open(world: &World, user_id: UserId) -> bool {
    let stream = StreamId::new("user", &user_id.to_string()).unwrap();
    let events = world.executor.log().read_stream(&stream, 0, None).await.unwrap();
    let event = Event::decode(&events[0].type_name, 1, &events[0].payload).unwrap();
    let Event::User(UserEvent::UserInvited(invited)) = event else { panic!("an invitation") };
    let Personal::Sealed(sealed) = invited.email else { panic!("it is sealed") };
    let keys = world.executor.keys();
    match keys.unseal(Uuid::nil(), user_id.uuid(), &sealed).await.unwrap() {
        Opened::Clear(_) => true,
        Opened::Erased => false,
    }
}

#[tokio::test]
async fn an_erasure_is_carried_out_before_it_is_answered_and_happens_once() {
    let world = World::on_tier("free").await;
    let (gone, stays) = (world.person("gone@x.org").await, world.person("stays@x.org").await);
    let asked = request(&system(), erase(gone));
    let first = world.executor.execute(asked.clone()).await.unwrap();
    let whole = ["user_invited", "user_activated", "user_erasure_requested", "user_erased"];
    assert_eq!(history(&world, gone).await, whole);
    assert!(!is_open(&world, gone).await && is_open(&world, stays).await);
    let again = world.executor.execute(asked).await.unwrap();
    assert!(again.receipt.was_replayed && again.receipt.event_ids == first.receipt.event_ids);
    let other = world.asks(erase(gone)).await.unwrap();
    assert!(other.receipt.event_ids.is_empty(), "there is nothing left to do");
    flows::settle(&world.executor).await.unwrap();
    assert_eq!(history(&world, gone).await, whole);
    // The address is free again, and whoever is erased can do and be given nothing.
    assert_eq!(world.executor.user_addressed("gone@x.org").await.unwrap(), None);
    let next = world.person("gone@x.org").await;
    assert_ne!(next, gone);
    let activate = world.asks(AccessCommand::UserActivate { user_id: gone }).await.unwrap_err();
    assert_eq!(activate.code(), "USER_WRONG_STATE");
    let (organization_id, role) = (world.organization, OrganizationRole::Member);
    let add = TenancyCommand::MemberAdd { organization_id, user_id: gone, role };
    assert_eq!(world.asks(add).await.unwrap_err().code(), "USER_NOT_FOUND");
}

#[tokio::test]
async fn an_erasure_that_broke_off_is_finished_by_whoever_comes_next() {
    let world = World::on_tier("free").await;
    let gone = world.person("gone@x.org").await;
    // A server died right after the request was on disk: the key is there and no record of its end.
    let ground = ErasureGround::Requested;
    let event = UserErasureRequested { user_id: gone, ground, reference: None };
    let event = Event::User(event.into());
    let asked = NewEvent {
        tenant: Uuid::nil(),
        stream: Some(StreamId::new("user", &gone.to_string()).unwrap()),
        type_name: event.type_name().into(),
        schema_version: event.schema_version(),
        event_id: new_command_id(),
        occurred_at: domain::Instant::UNIX_EPOCH,
        actor: "system/test".to_owned(),
        causation: None,
        correlation: None,
        meta: b"{}".to_vec(),
        payload: event.encode().unwrap(),
        tags: Vec::new(),
        subjects: Vec::new(),
    };
    let command = CommandKey { id: new_command_id(), content_hash: [0; 32] };
    let (tenant, conditions, claims) = (Uuid::nil(), vec![], vec![]);
    let append = Append { command, tenant, conditions, claims, events: vec![asked] };
    world.executor.log().append(append).await.unwrap();
    assert!(is_open(&world, gone).await);
    flows::settle(&world.executor).await.unwrap();
    assert!(!is_open(&world, gone).await);
    assert_eq!(history(&world, gone).await.last().unwrap(), "user_erased");
}

async fn place(world: &World, target: HoldTarget) -> Subject {
    let place = RetentionCommand::LegalHoldPlace { target, reason: text("case 2026-17") };
    world.asks(place).await.unwrap().subject
}

#[tokio::test]
async fn a_hold_on_the_person_or_their_organization_refuses_the_erasure_and_is_named() {
    let world = World::on_tier("professional").await;
    let person = world.person("held@x.org").await;
    let (organization_id, role) = (world.organization, OrganizationRole::Member);
    let add = TenancyCommand::MemberAdd { organization_id, user_id: person, role };
    world.asks(add).await.unwrap();
    for target in [HoldTarget::User(person), HoldTarget::Organization(organization_id)] {
        let Subject::LegalHold(_, legal_hold_id) = place(&world, target).await else {
            panic!("it is of a hold");
        };
        let refused = world.asks(erase(person)).await.unwrap_err();
        let said = refused.to_string();
        assert_eq!(refused.code(), "LEGAL_HOLD_STANDS");
        assert!(said.contains(&legal_hold_id.to_string()) && said.contains("case 2026-17"));
        let reason = text("closed");
        let release = RetentionCommand::LegalHoldRelease { target, legal_hold_id, reason };
        world.asks(release).await.unwrap();
    }
    // Somebody else's hold does not matter.
    place(&world, HoldTarget::User(world.owner)).await;
    world.asks(erase(person)).await.unwrap();
    let late = RetentionCommand::LegalHoldPlace {
        target: HoldTarget::User(person),
        reason: text("too late"),
    };
    assert_eq!(world.asks(late).await.unwrap_err().code(), "LEGAL_HOLD_TOO_LATE");
}

#[tokio::test]
async fn of_a_hold_and_an_erasure_at_the_same_moment_only_one_takes_effect() {
    let world = World::on_tier("free").await;
    for turn in 0..10 {
        let person = world.person(&format!("p{turn}@x.org")).await;
        let target = HoldTarget::User(person);
        let hold = RetentionCommand::LegalHoldPlace { target, reason: text("case 1") };
        let (held, erased) = tokio::join!(world.asks(hold), world.asks(erase(person)));
        assert!(held.is_ok() != erased.is_ok(), "{held:?} and {erased:?}");
        assert_eq!(is_open(&world, person).await, held.is_ok());
    }
}

#[tokio::test]
async fn what_is_recorded_of_a_refusal_or_a_receipt_tells_nobodys_address() {
    let world = World::on_tier("free").await;
    let name = "Canary Quirina".to_owned();
    let email = "canary@@nowhere".to_owned();
    let invite = AccessCommand::UserInvite { email, name: name.clone() };
    let asked = request(&system(), invite);
    let refused = world.executor.execute(asked).await.unwrap_err();
    assert_eq!(refused.code(), "USER_EMAIL_INVALID");
    world.person("canary@nowhere.org").await;
    let email = "Canary@nowhere.org".to_owned();
    let taken = request(&system(), AccessCommand::UserInvite { email, name });
    assert_eq!(world.executor.execute(taken.clone()).await.unwrap_err().code(), "TAKEN");
    for event in world.executor.log().read(event_log::Position(0), 10_000).await.unwrap() {
        for bytes in [&event.payload, &event.meta] {
            let text = String::from_utf8_lossy(bytes).to_lowercase();
            assert!(!text.contains("canary"), "{} at {}: {text}", event.type_name, event.position);
        }
    }
    // The hash that tells a repeat from a reuse cannot be made again from a guess.
    let email = "fresh@nowhere.org".to_owned();
    let invite = AccessCommand::UserInvite { email, name: "Fresh".to_owned() };
    let asked = request(&system(), invite);
    world.executor.execute(asked.clone()).await.unwrap();
    let guess = serde_json::to_vec(&("system/test", &asked.command)).unwrap();
    let content_hash = Sha256::digest(&guess).into();
    let command = CommandKey { id: asked.command_id, content_hash };
    let (tenant, conditions, claims) = (Uuid::nil(), vec![], vec![]);
    let guessed = Append { command, tenant, conditions, claims, events: vec![] };
    let reused = world.executor.log().append(guessed).await.unwrap_err();
    assert!(matches!(reused, event_log::AppendError::CommandReused { .. }), "{reused}");
    assert!(world.executor.execute(asked).await.unwrap().receipt.was_replayed);
}

#[tokio::test]
async fn a_purge_needs_a_policy_and_usage_is_never_purged() {
    let world = World::on_tier("free").await;
    let (organization_id, kind) = (None, RecordKind::Denials);
    let purge = || RetentionCommand::RetentionPurge { organization_id, kind };
    assert_eq!(world.asks(purge()).await.unwrap_err().code(), "RETENTION_NO_POLICY");
    let kind = RecordKind::Usage;
    let set = RetentionCommand::RetentionPolicySet { organization_id, kind, keep_days: 30 };
    let refused = world.asks(set).await.unwrap_err();
    assert_eq!(refused.code(), "RETENTION_NEEDED");
    assert!(refused.to_string().contains("charges"), "{refused}");
    let kind = RecordKind::Denials;
    let set = RetentionCommand::RetentionPolicySet { organization_id, kind, keep_days: 30 };
    world.asks(set).await.unwrap();
    let nothing = world.asks(purge()).await.unwrap();
    assert!(nothing.receipt.event_ids.is_empty(), "nothing is that old");
}

/// A clock that is some days ahead of the log's.
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> domain::Instant {
        commands::SystemClock.now() + std::time::Duration::from_hours(3 * 24)
    }
}

#[tokio::test]
async fn what_is_due_is_told_by_the_logs_time_whatever_time_the_server_has() {
    let world = World::on_tier("free").await;
    world.refuses_and_keeps_that(1).await;
    let (organization_id, kind) = (None, RecordKind::Denials);
    let ahead = executor_with(&world.server, Arc::new(Ahead)).await;
    let purge = || request(&system(), RetentionCommand::RetentionPurge { organization_id, kind });
    let nothing = ahead.execute(purge()).await.unwrap();
    assert!(nothing.receipt.event_ids.is_empty(), "what is of today is not due");
    let later = "create or replace function event_log.clock() returns timestamptz
        language sql volatile as $$select clock_timestamp() + interval '2 days'$$";
    world.server.execute(later).await;
    world.grant("1").await;
    assert_eq!(ahead.execute(purge()).await.unwrap().receipt.event_ids.len(), 1);
}

#[tokio::test]
async fn why_the_log_refuses_a_purge_is_told_and_recorded() {
    let world = World::on_tier("free").await;
    world.refuses_and_keeps_that(1).await;
    let (organization_id, kind) = (None, RecordKind::Denials);
    // The database has a mind of its own on what may go.
    let later = "create or replace function event_log.clock() returns timestamptz
        language sql volatile as $$select clock_timestamp() + interval '2 days'$$;
        set session_replication_role = replica;
        delete from event_log.purgeable";
    world.server.execute(later).await;
    world.grant("1").await;
    let purge = RetentionCommand::RetentionPurge { organization_id, kind };
    let refused = world.asks(purge).await.unwrap_err();
    assert_eq!(refused.code(), "RETENTION_NOT_PURGED");
    assert!(refused.to_string().contains("some of these events may not be purged"), "{refused}");
    let last = world.events().await.pop().unwrap();
    let Event::Security(SecurityEvent::CommandRefused(recorded)) = last else { panic!("{last:?}") };
    assert_eq!((recorded.code.as_str(), recorded.reason), (refused.code(), refused.to_string()));
}

/// Where the last event of somebody came from, as its meta says.
async fn origin_of_last(world: &World, user_id: UserId) -> Option<String> {
    let actor = format!("user/{user_id}");
    let events = world.executor.log().read(event_log::Position(0), 10_000).await.unwrap();
    let last = events.iter().rfind(|event| event.actor == actor).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&last.meta).unwrap();
    meta["origin"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn i30_where_somebody_came_from_is_kept_in_their_vault_and_goes_with_them() {
    let world = World::on_tier("free").await;
    let (gone, stays) = (world.person("gone@x.org").await, world.person("stays@x.org").await);
    let keys = world.executor.keys();
    let comes = async |who: UserId, from: &str| {
        let caller = Caller::user(who).with_request(Some(from.to_owned()), None);
        let denied = world.executor.execute(request(&caller, erase(world.owner))).await;
        assert!(matches!(denied, Err(Failure::Forbidden { .. })), "{denied:?}");
        world.executor.flush_denials().await;
        origin_of_last(&world, who).await
    };
    let item: VaultItem = comes(gone, "203.0.113.77").await.unwrap().parse().unwrap();
    let other: VaultItem = comes(stays, "203.0.113.77").await.unwrap().parse().unwrap();
    let clear = Opened::Clear(b"203.0.113.77".to_vec());
    assert_eq!(keys.look_up(Uuid::nil(), gone.uuid(), item).await.unwrap(), clear);
    for event in world.executor.log().read(event_log::Position(0), 10_000).await.unwrap() {
        for bytes in [&event.payload, &event.meta] {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("203.0.113"), "{} tells {text}", event.type_name);
        }
    }
    world.asks(erase(gone)).await.unwrap();
    assert_eq!(keys.look_up(Uuid::nil(), gone.uuid(), item).await.unwrap(), Opened::Erased);
    assert_eq!(keys.look_up(Uuid::nil(), stays.uuid(), other).await.unwrap(), clear);
    assert_eq!(comes(gone, "203.0.113.78").await, None);
    // A part of the installation is nobody: what it says of itself stays as it is.
    let flow = system().with_request(Some("flow".to_owned()), None);
    let nobody = AccessCommand::UserActivate { user_id: UserId::new(Uuid::nil()) };
    world.executor.execute(request(&flow, nobody)).await.unwrap_err();
    let events = world.executor.log().read(event_log::Position(0), 10_000).await.unwrap();
    let meta = String::from_utf8_lossy(&events.last().unwrap().meta).into_owned();
    assert!(meta.contains(r#""origin":"flow""#), "{meta}");
}

trait Code {
    fn code(&self) -> &'static str;
}

impl Code for Failure {
    fn code(&self) -> &'static str {
        match self {
            Failure::Refused(refusal) => Refusal::code(refusal),
            _ => panic!("{self} is no refusal"),
        }
    }
}
