//! Bundles: exported from a real log with real signatures, verified without database and network.
//!
//! What an attacker can do to the bytes is in `bundle/mutations.rs`, what a bundle shows of others
//! in `bundle/privacy.rs`, which bodies may be gone in `bundle/gaps.rs`, what a stranger says in
//! `bundle/stranger.rs`, and the proof of one event in `bundle/proof.rs`.

mod gaps;
mod mutations;
mod privacy;
mod proof;
mod stranger;

use crate::server::{Said, Server, bare_tool, new_folder, said};
use crate::world::World;
use event_log::SigningKeys;
use event_log::bundle::{Fold, Kind, MAGIC, Manifest, Outcome, Seen, Writer};
use event_log::note::Policy;
use event_log::tree::guard::{GUARD_FILE, Guard};
use event_log::tree::keeper::{Evidence, Keeper};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server whose whole history is signed, and a folder with the policy that asks for its key.
pub(crate) struct Signed {
    pub(crate) server: Server,
    pub(crate) folder: PathBuf,
}

impl Signed {
    pub(crate) async fn start() -> Self {
        let signed = Self { server: Server::start().await, folder: new_folder() };
        let keys = signed.sign().await.keys;
        let key = keys.verifier_keys()[0].to_string();
        fs::write(signed.policy(), format!("log {key}\nquorum none\n")).unwrap();
        signed
    }

    /// Lets a keeper sign what is there.
    pub(crate) async fn sign(&self) -> Evidence {
        let folder = self.server.folder();
        let keys = SigningKeys::load_or_create(&folder.join("log-keys.json")).unwrap();
        let evidence = Evidence { keys, guard: Guard::at(folder.join(GUARD_FILE)) };
        let installation = self.server.open().await;
        let keeper = Keeper::start(installation.log(), evidence.clone());
        let sql = "select exists (select from event_log.checkpoint c
                    where c.size = (select max(last) from event_log.log_batch))";
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !self.server.ask::<bool>(sql).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.expect("the history was not signed");
        keeper.stop().await;
        installation.close().await;
        evidence
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.folder.join("policy.txt")
    }

    /// Writes a bundle and returns where it is.
    pub(crate) fn export(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.folder.join(name);
        let mut tool = self.server.tool("opscenter");
        tool.arg("export").args(arguments).arg("--json").arg("-o").arg(&path);
        said(tool.output().unwrap()).well();
        path
    }

    /// What the tool says about a bundle where there is no database.
    pub(crate) fn verify(&self, bundle: &Path) -> Said {
        verify_with(bundle, &self.policy())
    }

    /// What is found in the bytes of a bundle.
    pub(crate) fn found(&self, bytes: &[u8]) -> Outcome {
        let policy: Policy = fs::read_to_string(self.policy()).unwrap().parse().unwrap();
        event_log::bundle::verify(bytes, &policy, &mut Nobody).unwrap()
    }
}

impl Drop for Signed {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn verify_with(bundle: &Path, policy: &Path) -> Said {
    let mut tool = bare_tool();
    tool.arg("verify").arg(bundle).arg("--policy").arg(policy).arg("--json");
    said(tool.output().unwrap())
}

/// Nobody who listens.
struct Nobody;

impl Fold for Nobody {
    fn begin(&mut self, _: &Manifest) {}
    fn figures(&mut self, _: &[u8]) {}
    fn event(&mut self, _: &Seen<'_>) {}
}

/// The frames of a bundle, without its end.
pub(crate) fn frames(bundle: &[u8]) -> Vec<(Kind, Vec<u8>)> {
    let mut rest = bundle.strip_prefix(MAGIC).unwrap();
    let mut frames = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk().unwrap();
        let (body, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        let kind = KINDS.into_iter().find(|known| known.byte() == *kind).unwrap();
        frames.push((kind, body.to_vec()));
        rest = after;
    }
    assert_eq!(frames.pop().unwrap().0, Kind::End);
    frames
}

const KINDS: [Kind; 10] = [
    Kind::Manifest,
    Kind::Replay,
    Kind::Batch,
    Kind::Event,
    Kind::Neighbour,
    Kind::Purge,
    Kind::Gap,
    Kind::Checkpoint,
    Kind::Count,
    Kind::End,
];

/// A bundle of other frames, with an end that fits them.
pub(crate) fn bundle_of(frames: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let manifest: Manifest = serde_json::from_slice(&frames[0].1).unwrap();
    let mut writer = Writer::begin(Vec::new(), &manifest).unwrap();
    for (kind, body) in &frames[1..] {
        writer.frame(*kind, body).unwrap();
    }
    writer.finish().unwrap()
}

/// What a tool said of a bundle that is not whole.
#[track_caller]
fn verdict(said: &Said, code: i32, name: &str) -> Value {
    assert_eq!(said.code, code, "{said:?}");
    let answer = said.json();
    assert_eq!(answer["verdict"], name, "{said:?}");
    assert_eq!(answer["exit_code"], code, "{said:?}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_everything_is_whole_and_agrees_with_the_log() {
    let signed = Signed::start().await;
    let here = signed.server.replay(&["verify", "--json"]).well().json();
    let bundle = signed.export("all", &["--all"]);
    let there = verdict(&signed.verify(&bundle), 0, "whole");
    assert_eq!(there["events"], here["events"]);
    assert_eq!(there["batches"], here["batches"]);
    assert_eq!(there["checkpoint"]["size"], here["head"]);
    let size = here["head"].as_i64().unwrap();
    let root: String = signed
        .server
        .ask(&format!("select encode(root, 'hex') from event_log.checkpoint where size = {size}"))
        .await;
    assert_eq!(there["checkpoint"]["root"], root.as_str());

    let people = said(
        bare_tool()
            .arg("verify")
            .arg(&bundle)
            .arg("--policy")
            .arg(signed.policy())
            .output()
            .unwrap(),
    );
    assert!(people.well().out.contains("The bundle is whole"));
    let refused = signed.server.replay(&["export", "--all", "-o", bundle.to_str().unwrap()]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("--force"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_log_is_proved_by_whole_batches_and_also_without_bodies() {
    let signed = Signed::start().await;
    let batch = "from event_log.log_batch where last - first >= 50 order by first limit 1";
    let first: i64 = signed.server.ask(&format!("select first {batch}")).await;
    let last: i64 = signed.server.ask(&format!("select last {batch}")).await;
    let (from, to) = ((first + 3).to_string(), (first + 9).to_string());
    let part = signed.export("part", &["--all", "--from", &from, "--to", &to]);
    let answer = verdict(&signed.verify(&part), 0, "whole");
    assert_eq!(answer["manifest"]["from"], first);
    assert_eq!(answer["manifest"]["to"], last);
    assert_eq!(answer["events"], last - first + 1);

    let bare = signed.export("bare", &["--all", "--no-bodies"]);
    let answer = verdict(&signed.verify(&bare), 0, "whole");
    assert_eq!(answer["manifest"]["bodies"], false);
    let text = String::from_utf8_lossy(&fs::read(&bare).unwrap()).into_owned();
    assert!(!text.contains("quantities"), "a body is in it");

    // History goes on; what was exported before stays proved.
    let installation = signed.server.open().await;
    let world = World::new(&installation);
    let acme = signed.organization("acme").await;
    world.usage(acme, "later", "gpt-4o", 3).await;
    installation.close().await;
    signed.sign().await;
    verdict(&signed.verify(&part), 0, "whole");
    let grown = signed.export("grown", &["--all", "--from", &from, "--to", &to]);
    assert_eq!(verdict(&signed.verify(&grown), 0, "whole")["manifest"]["to"], last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_the_policy_does_not_know_and_a_seal_that_is_missing_are_told_apart() {
    let signed = Signed::start().await;
    let bundle = signed.export("all", &["--all"]);
    let stranger = SigningKeys::load_or_create(&signed.folder.join("other.json")).unwrap();
    let other = signed.folder.join("other.txt");
    let key = stranger.verifier_keys()[0].to_string();
    fs::write(&other, format!("log {key}\nquorum none\n")).unwrap();
    let answer = verdict(&verify_with(&bundle, &other), 21, "signature");
    assert!(answer["problem"].as_str().unwrap().contains("is not signed"), "{answer}");

    let ours = fs::read_to_string(signed.policy()).unwrap();
    let witness = event_log::note::Cosigner::new("north.example/w".parse().unwrap(), &[7; 32]);
    let asked = format!("witness north {}\nquorum north\n", witness.verifier());
    fs::write(&other, ours.replace("quorum none\n", &asked)).unwrap();
    let answer = verdict(&verify_with(&bundle, &other), 21, "signature");
    assert!(answer["problem"].as_str().unwrap().contains("not sealed"), "{answer}");

    // With the witness's line in it, the same bundle is sealed.
    let mut sealed = frames(&fs::read(&bundle).unwrap());
    let (_, note) = sealed.iter_mut().rfind(|(kind, _)| *kind == Kind::Checkpoint).unwrap();
    let text = String::from_utf8(note.clone()).unwrap();
    let body = &text[..=text.rfind("\n\n").unwrap()];
    note.extend(witness.cosign(body, 1_790_000_000).to_string().bytes());
    fs::write(&bundle, bundle_of(&sealed)).unwrap();
    let answer = verdict(&verify_with(&bundle, &other), 0, "whole");
    assert_eq!(answer["checkpoint"]["witnessed_by"][0]["name"], "north.example/w");

    fs::write(&other, "quorum none\n").unwrap();
    assert_eq!(verify_with(&bundle, &other).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_cut_off_anywhere_is_incomplete() {
    let signed = Signed::start().await;
    let path = signed.export("late", &["--organization", "late"]);
    let bundle = fs::read(&path).unwrap();
    assert!(signed.found(&bundle).fault.is_none());
    for cut in 0..bundle.len() {
        let fault = signed.found(&bundle[..cut]).fault;
        let fault = fault.unwrap_or_else(|| panic!("cut at {cut}"));
        assert_eq!(fault.class, event_log::bundle::Class::Incomplete, "cut at {cut}: {fault}");
    }
    fs::write(&path, &bundle[..bundle.len() / 2]).unwrap();
    verdict(&signed.verify(&path), 22, "incomplete");
}
