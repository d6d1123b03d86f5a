//! Nothing is left of whoever was erased, and nothing else is lost (I30): searched for in every
//! table, export and log line; proofs, totals and read models are as they were.

mod killed;
mod subsets;

use crate::programs::door::{Door, Mutation};
use crate::programs::furnished::{Furnished, furnish};
use crate::programs::{Folder, Server, command, eventually, printed, run, serve, text};
use commands::{Caller, Clock, Executor, Request, RetentionCommand, new_command_id};
use domain::retention::{HoldTarget, RecordKind};
use event_log::verify::Verifier;
use installation::Place;
use projections::rebuild::{Comparison, Promote, rebuild};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tests::World;
use uuid::Uuid;

const EMAIL: &str = "canary-7f3a@nowhere.example";
const NAME: &str = "Quirina Canaria";

const INVITE: Mutation<'_> =
    Mutation { name: "userInvite", input: "UserInviteInput", wanted: "user { id email }" };
const HOLD: Mutation<'_> =
    Mutation { name: "legalHoldPlace", input: "LegalHoldPlaceInput", wanted: "legalHold { id }" };
const RELEASE: Mutation<'_> =
    Mutation { name: "legalHoldRelease", input: "LegalHoldReleaseInput", wanted: "" };
const ERASE: Mutation<'_> = Mutation {
    name: "personErase",
    input: "PersonEraseInput",
    wanted: "user { status email name }",
};

fn id() -> Uuid {
    Uuid::now_v7()
}

async fn invite(door: &Door, email: &str, name: &str) -> String {
    let input = json!({ "commandId": id(), "email": email, "name": name });
    let invited = door.done(&INVITE, input).await;
    assert_eq!(invited["user"]["email"], email, "{invited}");
    invited["user"]["id"].as_str().expect("an id").to_owned()
}

/// Everything that could write the address or the name somewhere, and then the erasure.
async fn live_and_go(door: &Door, furnished: &Furnished) -> String {
    let user = invite(door, EMAIL, NAME).await;
    let again = json!({ "commandId": id(), "email": EMAIL.to_uppercase(), "name": NAME });
    let taken = door.command(&INVITE, again).await.expect("an answer");
    assert_eq!(taken["userErrors"][0]["code"], "TAKEN");
    let broken = json!({ "commandId": id(), "email": "canary-7f3a@nowhere", "name": NAME });
    let invalid = door.command(&INVITE, broken).await.expect("an answer");
    assert_eq!(invalid["userErrors"][0]["code"], "USER_EMAIL_INVALID");
    let forbidden = json!({ "input": { "commandId": id(), "email": EMAIL, "name": NAME } });
    let document =
        "mutation($input: UserInviteInput!) { userInvite(input: $input) { __typename } }";
    let denied = door.with_key(&furnished.viewer).answer(document, forbidden).await;
    assert_eq!(denied.expect("an answer")["errors"][0]["extensions"]["code"], "FORBIDDEN");
    let held = json!({ "commandId": id(), "target": user, "reason": "case 2026-17" });
    let hold = door.done(&HOLD, held).await;
    let erase = json!({ "commandId": id(), "userId": user, "ground": "REQUESTED" });
    let refused = door.command(&ERASE, erase.clone()).await.expect("an answer");
    assert_eq!(refused["userErrors"][0]["code"], "LEGAL_HOLD_STANDS");
    let message = refused["userErrors"][0]["message"].as_str().expect("a message");
    assert!(message.contains("case 2026-17"), "{message}");
    let release = json!({ "commandId": id(), "target": user, "reason": "closed",
        "legalHoldId": hold["legalHold"]["id"] });
    door.done(&RELEASE, release).await;
    let erased = door.done(&ERASE, erase.clone()).await;
    let left = &erased["user"];
    assert!(left["email"].is_null() && left["name"].is_null(), "{erased}");
    assert_eq!(door.done(&ERASE, erase).await["receipt"]["wasReplayed"], true);
    user
}

async fn replay(folder: &Folder, arguments: &[&str]) -> String {
    printed(command("opscenter-replay").args(arguments).arg("--data").arg(&folder.0)).await
}

/// No form of the canary stands in a text.
fn assert_silent(what: &str, said: &str) {
    let lower = said.to_lowercase();
    for canary in [EMAIL, "canary-7f3a", NAME] {
        let bytes = data_encoding::HEXLOWER.encode(canary.as_bytes());
        let base64 = data_encoding::BASE64.encode(canary.as_bytes());
        let base64 = base64.trim_end_matches('=');
        assert!(!lower.contains(&canary.to_lowercase()), "{what} tells {canary}");
        assert!(!lower.contains(&bytes), "{what} tells {canary} in hexadecimal");
        assert!(!said.contains(base64), "{what} tells {canary} in base64");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_nothing_is_left_of_whoever_was_erased_and_the_proofs_hold() {
    let folder = Folder::new();
    let furnished = furnish(&Place::folder(&folder.0)).await;
    let mut serving = serve(&folder.0, "127.0.0.1:0");
    serving.env("RUST_LOG", "debug");
    let server = Server::start(serving).await;
    let door = Door::new(server.address, &furnished.admin);
    let stays = invite(&door, "stays@nowhere.example", "Somebody Else").await;
    let user = live_and_go(&door, &furnished).await;
    let shown = format!(
        "{{ a: user(id: \"{user}\") {{ status email }} b: user(id: \"{stays}\") {{ email }} }}"
    );
    let seen = eventually("the end of the erasure", async || {
        let seen = door.ask(&shown, json!({})).await;
        (seen["a"]["status"] == "erased").then_some(seen)
    })
    .await;
    assert_eq!(
        (&seen["a"]["email"], &seen["b"]["email"]),
        (&Value::Null, &json!("stays@nowhere.example"))
    );
    let metrics =
        reqwest::get(format!("http://{}/metrics", server.address)).await.expect("metrics");
    assert_silent("/metrics", &metrics.text().await.expect("text"));
    for arguments in [&["events"][..], &["events", "--raw"], &["as-of", "user", &user]] {
        assert_silent(&arguments.join(" "), &replay(&folder, arguments).await);
    }
    let search = ["erasure-report", &user, "--json", "--search", EMAIL, "--search", NAME];
    let report: Value = serde_json::from_str(&replay(&folder, &search).await).expect("JSON");
    assert_eq!((&report["ok"], &report["proofs_hold"]), (&json!(true), &json!(true)), "{report:#}");
    let erasure = &report["erasures"][0];
    assert_eq!((&erasure["unreadable"], &erasure["user_id"]), (&json!(2), &json!(user)));
    let searched: BTreeSet<_> = report["searched"]
        .as_array()
        .expect("tables")
        .iter()
        .map(|it| it["place"].to_string())
        .collect();
    for table in [
        "log_p00000",
        "command_receipt",
        "claim",
        "snapshot",
        "timer",
        "directory_user",
        "audit_entry",
        "parked",
    ] {
        assert!(searched.iter().any(|it| it.contains(table)), "{table} in {searched:?}");
    }
    // The search would find it: what is there in clear is found, and then the answer is no.
    let found = run(command("opscenter-replay")
        .args(["erasure-report", "--search", "case 2026-17", "--data"])
        .arg(&folder.0))
    .await;
    assert_eq!(found.status.code(), Some(1), "{}", text(&found.stdout));
    assert!(text(&found.stderr).contains("rows have a text searched for"));
    let rebuilt = replay(&folder, &["rebuild", "--all", "--dry-run", "--json"]).await;
    assert!(rebuilt.lines().count() > 5 && !rebuilt.contains("different"), "{rebuilt}");
    invite(&door, EMAIL, "Another Person").await;
    assert_silent("the server's log", &server.whole_log());
    assert!(server.stop().await.success());
}

/// Every hash and the chain, and that every body that is gone is accounted for.
async fn verified(world: &World) -> u64 {
    let mut verifier = Verifier::new();
    for batch in world.log().batches(verifier.position(), 100_000).await.expect("batches") {
        let rows = world.log().raw_rows_of(&batch).await.expect("rows");
        verifier.batch(&batch, &rows).expect("it is whole");
        for row in rows.iter().filter(|row| row.type_name == "bodies_purged") {
            let record: Value = serde_json::from_slice(&row.payload).expect("JSON");
            let runs = record["runs"].as_array().expect("runs").iter();
            let end = |run: &Value, name: &str| run[name].as_i64().expect("a position");
            let runs: Vec<_> = runs.map(|run| (end(run, "first"), end(run, "last"))).collect();
            let digest = record["digest"].as_str().expect("a digest").as_bytes();
            let digest = data_encoding::HEXLOWER.decode(digest).expect("hexadecimal");
            verifier.cover(&runs, &digest.try_into().expect("32 bytes")).expect("it covers");
        }
    }
    verifier.finish().expect("every gap is recorded");
    assert_eq!(verifier.position(), world.log().head().await.expect("the head"));
    verifier.purged().covered()
}

async fn rebuilds_are_equal(world: &World) {
    for definition in projections::definitions() {
        let made = rebuild(world.log(), &definition, Promote::Never, &mut |_, _| ()).await;
        let comparison = made.expect("it can be made again").comparison;
        assert_eq!(comparison, Comparison::Equal, "{}", definition.name);
    }
}

/// A clock that is far ahead.
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> domain::Instant {
        commands::SystemClock.now() + std::time::Duration::from_hours(40 * 24)
    }
}

const AHEAD: &str = "create or replace function event_log.clock() returns timestamptz
    language sql volatile as $$select clock_timestamp() + interval '40 days'$$";

#[tokio::test]
async fn purged_denials_leave_the_log_and_the_audit_trail_alike() {
    let world = World::start().await;
    let admin = world.admin();
    let nobody = "usr_0000000000000000000000000a";
    for reason in ["first secret", "second secret"] {
        let suspend = json!({ "userId": nobody, "reason": reason });
        let _refused = admin.run("userSuspend", suspend, "").await;
        let activate = json!({ "userId": nobody });
        let _refused = admin.run("userActivate", activate, "").await;
    }
    let policy = json!({ "kind": "DENIALS", "keepDays": 30 });
    let rules = "retention { rules { kind keepDays } }";
    let set = admin.run("retentionPolicySet", policy, rules).await.accepted();
    let rule = set.at("/data/retentionPolicySet/retention/rules/0");
    assert_eq!(rule, &json!({ "kind": "DENIALS", "keepDays": 30 }));
    let entries = "{ auditTrail(where: { result: \"failure\" }) {
        nodes { action reason target command origin } } }";
    world.read_models_have_caught_up().await;
    let before = admin.query(entries).await.accepted();
    assert!(before.text.contains("there is no such user"), "{}", before.text);
    world.postgres().execute(AHEAD).await;
    let later = Executor::new(world.log().clone(), world.keys().clone(), Arc::new(Ahead));
    let purge = |id| Request {
        command_id: id,
        caller: Caller::system("test"),
        expected_version: None,
        command: RetentionCommand::RetentionPurge {
            organization_id: None,
            kind: RecordKind::Denials,
        }
        .into(),
    };
    let user = admin.query("{ me { id } }").await.accepted().text_at("/data/me/id");
    let target: HoldTarget = user.parse().expect("a user");
    let hold = json!({ "target": user, "reason": "case 8" });
    let placed = admin.run("legalHoldPlace", hold, "legalHold { id stands }").await.accepted();
    let refused = later.execute(purge(new_command_id())).await.expect_err("a hold stands");
    assert!(refused.to_string().contains("case 8") && target.tenant().is_nil(), "{refused}");
    let release = json!({ "target": user, "reason": "over",
        "legalHoldId": placed.text_at("/data/legalHoldPlace/legalHold/id") });
    let _released = admin.run("legalHoldRelease", release, "").await.accepted();
    let command_id = new_command_id();
    let purged = later.execute(purge(command_id)).await.expect("it is due");
    assert_eq!(purged.receipt.event_ids.len(), 1);
    let gone = verified(&world).await;
    assert!(gone >= 2, "{gone} bodies are gone");
    assert!(later.execute(purge(command_id)).await.expect("a repeat").receipt.was_replayed);
    world.read_models_have_caught_up().await;
    let after = admin.query(entries).await.accepted();
    let nodes = after.at("/data/auditTrail/nodes").as_array().expect("entries").clone();
    let count = nodes.iter().filter(|it| it["reason"].is_null()).count();
    assert_eq!(u64::try_from(count).ok(), Some(gone), "{}", after.text);
    let bare = json!({ "action": "security.command.refused", "reason": null,
        "target": "security/denials", "command": null, "origin": null });
    assert!(nodes.contains(&bare), "{}", after.text);
    rebuilds_are_equal(&world).await;
    world.end().await;
}
