//! Bodies that are gone by a recorded decision, and bodies that are simply missing.

use super::{Signed, bundle_of, frames, verdict};
use crate::world::World;
use commands::{Caller, Clock, Executor, Request, RetentionCommand, SystemClock, new_command_id};
use domain::retention::RecordKind;
use domain::values::OrganizationId;
use event_log::bundle::Kind;
use event_log::{Append, CommandKey, NewEvent, StreamId};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A clock that is far ahead, and the database's with it: the log's time is that of what was
/// recorded last, at least.
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> domain::Instant {
        SystemClock.now() + Duration::from_hours(40 * 24)
    }
}

const AHEAD: &str = "create or replace function event_log.clock() returns timestamptz
    language sql volatile as $$select clock_timestamp() + interval '40 days'$$";

/// What is left of an event when its bodies are taken out of its frame.
fn without_bodies(frame: &mut Vec<u8>) {
    let header = u32::from_be_bytes(frame[84..88].try_into().unwrap()) as usize;
    frame.truncate(88 + header);
    frame.extend([0xff; 16]);
}

impl Signed {
    /// Three refusals of acme whose bodies were purged, usage before the purge, and the position of
    /// the last of it.
    async fn purged() -> (Self, i64) {
        let (signed, before) = Self::purged_and_unsigned().await;
        signed.sign().await;
        (signed, before)
    }

    async fn purged_and_unsigned() -> (Self, i64) {
        let signed = Self::start().await;
        let acme = signed.organization("acme").await;
        let installation = signed.server.open().await;
        let world = World::new(&installation);
        let log = installation.log();
        let events = (0..3).map(|number| refusal(acme, number)).collect();
        let command = CommandKey { id: new_command_id(), content_hash: [1; 32] };
        let (tenant, conditions, claims) = (acme.uuid(), Vec::new(), Vec::new());
        log.append(Append { command, tenant, conditions, claims, events }).await.unwrap();
        world.usage(acme, "between", "gpt-4o", 3).await;
        let before = log.head().await.unwrap().0;
        let (organization_id, kind) = (Some(acme), RecordKind::Denials);
        signed.server.execute("opscenter", AHEAD).await;
        world
            .ask(RetentionCommand::RetentionPolicySet { organization_id, kind, keep_days: 30 })
            .await;
        let keys = installation.keys().unwrap().clone();
        let purge = Request {
            command_id: new_command_id(),
            caller: Caller::system("test"),
            expected_version: None,
            command: RetentionCommand::RetentionPurge { organization_id, kind }.into(),
        };
        Executor::new(log.clone(), keys, Arc::new(Ahead)).execute(purge).await.unwrap();
        installation.close().await;
        (signed, before)
    }

    #[track_caller]
    fn has_authorised_gaps(&self, bundle: &Path) {
        let answer = verdict(&self.verify(bundle), 10, "whole_with_authorised_gaps");
        assert_eq!(answer["purged"], 3, "{answer}");
        assert_eq!(answer["ok"], true, "{answer}");
    }
}

fn refusal(organization_id: OrganizationId, number: u32) -> NewEvent {
    NewEvent {
        tenant: organization_id.uuid(),
        stream: Some(StreamId::new("security", "denials").unwrap()),
        type_name: "command_refused".into(),
        schema_version: 1,
        event_id: uuid::Uuid::now_v7(),
        occurred_at: "2026-12-01T10:00:00Z".parse().unwrap(),
        actor: "user/somebody".to_owned(),
        causation: None,
        correlation: None,
        meta: Vec::new(),
        payload: format!("{{\"secret\":\"guess {number}\"}}").into_bytes(),
        tags: Vec::new(),
        subjects: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_were_purged_by_a_recorded_decision_are_gaps_and_no_fault() {
    let (signed, before) = Signed::purged().await;
    let to = before.to_string();
    let of_acme = signed.export("acme", &["--organization", "acme"]);
    signed.has_authorised_gaps(&of_acme);
    signed.has_authorised_gaps(&signed.export("all", &["--all"]));
    // The purge is behind these, and comes along.
    let acme_before = signed.export("part", &["--organization", "acme", "--to", &to]);
    signed.has_authorised_gaps(&acme_before);
    let all_before = signed.export("some", &["--all", "--to", &to]);
    signed.has_authorised_gaps(&all_before);
    for bundle in [&of_acme, &acme_before, &all_before] {
        let bytes = fs::read(bundle).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"guess "), "a purged body is in it");
    }
    let bare = signed.export("bare", &["--organization", "acme", "--no-bodies"]);
    verdict(&signed.verify(&bare), 0, "whole");
    // Who was not purged sees nothing of it.
    verdict(&signed.verify(&signed.export("late", &["--organization", "late"])), 0, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_not_signed_yet_is_waited_for_by_whoever_exports_bodies() {
    let (signed, _) = Signed::purged_and_unsigned().await;
    let path = signed.folder.join("early");
    let output = path.to_str().unwrap();
    for of in [&["--organization", "acme"][..], &["--all"]] {
        let early = signed.server.replay(&[&["export", "-o", output], of].concat());
        assert_eq!(early.code, 2, "{early:?}");
        assert!(early.err.contains("a purge was recorded at"), "{early:?}");
        assert!(!path.exists());
    }
    let bare = signed.export("bare", &["--all", "--no-bodies"]);
    verdict(&signed.verify(&bare), 0, "whole");
    verdict(&signed.verify(&signed.export("late", &["--organization", "late"])), 0, "whole");
    signed.sign().await;
    signed.has_authorised_gaps(&signed.export("all", &["--all"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_no_recorded_decision_accounts_for_is_missing() {
    let (signed, before) = Signed::purged().await;
    let to = before.to_string();
    let path = signed.export("acme", &["--organization", "acme"]);
    let whole = frames(&fs::read(&path).unwrap());
    let (at, (_, event)) =
        whole.iter().enumerate().find(|(_, (kind, _))| *kind == Kind::Event).unwrap();
    let position = i64::from_be_bytes(event[8..16].try_into().unwrap());
    let mut stripped = whole.clone();
    without_bodies(&mut stripped[at].1);
    fs::write(&path, bundle_of(&stripped)).unwrap();
    let answer = verdict(&signed.verify(&path), 22, "incomplete");
    assert_eq!(answer["first_bad_position"], position, "{answer}");
    assert!(answer["problem"].as_str().unwrap().contains("no recorded decision"), "{answer}");

    // The record itself may not be without its body.
    let purge = whole
        .iter()
        .position(|(_, body)| body.windows(13).any(|part| part == b"bodies_purged"))
        .unwrap();
    let mut mute = whole.clone();
    without_bodies(&mut mute[purge].1);
    let fault = signed.found(&bundle_of(&mute)).fault.expect("nothing accounts for them");
    assert_eq!(fault.class, event_log::bundle::Class::Incomplete, "{fault}");

    // Behind the bundle's events a purge is there as one, or nothing accounts for the bodies.
    let part = fs::read(signed.export("part", &["--all", "--to", &to])).unwrap();
    let mut part = frames(&part);
    let behind = part.iter().position(|(kind, _)| *kind == Kind::Purge).unwrap();
    let leaf = event_log::tree::hash::leaf_hash(&part[behind].1[..84]);
    let entry = &part[behind].1[8..16];
    let hidden = [entry, &leaf[..]].concat();
    part[behind] = (Kind::Gap, hidden);
    let fault = signed.found(&bundle_of(&part)).fault.expect("nothing accounts for them");
    assert!(fault.problem.contains("no recorded decision"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_that_the_events_do_not_give_are_found() {
    let signed = Signed::start().await;
    let path = signed.export("acme", &["--organization", "acme"]);
    let answer = verdict(&signed.verify(&path), 0, "whole");
    let totals =
        signed.server.replay(&["totals", "--organization", "acme", "--json"]).well().json();
    assert_eq!(answer["figures"], totals);
    let whole = frames(&fs::read(&path).unwrap());
    let at = whole.iter().position(|(kind, _)| *kind == Kind::Replay).unwrap();
    let figures: serde_json::Value = serde_json::from_slice(&whole[at].1).unwrap();
    for (pointer, other) in [
        ("/totals/balance_credits", serde_json::json!("1.000000")),
        ("/totals/charge_usd", serde_json::json!("0.000001")),
        ("/totals/meters/llm_tokens_input", serde_json::json!(1)),
        ("/totals/position", serde_json::json!(1)),
    ] {
        let mut changed = figures.clone();
        *changed.pointer_mut(pointer).unwrap() = other;
        let mut frames = whole.clone();
        frames[at].1 = serde_json::to_vec(&changed).unwrap();
        fs::write(&path, bundle_of(&frames)).unwrap();
        let answer = verdict(&signed.verify(&path), 30, "replay");
        let name = pointer.split('/').nth(2).unwrap();
        assert!(answer["problem"].as_str().unwrap().contains(name), "{answer}");
        // The events themselves are as they were recorded.
        assert!(signed.found(&bundle_of(&frames)).fault.is_none());
    }
}
