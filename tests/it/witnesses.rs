//! Witnesses and a server, each a program of its own: what enough of them cosigned is sealed, and
//! nothing that a server does waits for one.

mod process;

use crate::programs::door::{CREDIT_GRANT, Door};
use crate::programs::furnished::{Furnished, furnish};
use crate::programs::{Folder, Server, command, eventually, printed, run, serve, text};
use event_log::SigningKeys;
use event_log::note::{Checkpoint, Note};
use event_log::tree::hash::{leaf_hash, root_of};
use event_log::witness::{AddCheckpoint, WitnessPolicy};
use installation::{Place, log_guard, log_keys};
use process::Witness;
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::net::TcpListener;
use uuid::Uuid;

/// An installation that is about to have witnesses.
struct Site {
    // Dropped before the folder of its database.
    server: Option<Server>,
    furnished: Furnished,
    keys: SigningKeys,
    place: Place,
    folder: Folder,
}

impl Site {
    async fn new() -> Self {
        let folder = Folder::new();
        let place = Place::folder(&folder.0);
        let furnished = furnish(&place).await;
        let keys = log_keys(&place).expect("the first start made them");
        Self { server: None, furnished, keys, place, folder }
    }

    fn policy_file(&self) -> PathBuf {
        self.folder.0.join("witnesses.json")
    }

    /// Says which witnesses there are, each by its address and key, and how many are enough.
    fn name(&self, quorum: usize, witnesses: &[(&str, &Witness)]) -> WitnessPolicy {
        let list = witnesses.iter().map(|(address, witness)| {
            json!({ "url": format!("http://{address}"), "keys": [witness.key] })
        });
        let list = json!({ "quorum": quorum, "witnesses": list.collect::<Vec<_>>() });
        std::fs::write(self.policy_file(), list.to_string()).expect("a file");
        WitnessPolicy::load(&self.policy_file()).expect("a policy")
    }

    /// Serves, asking those witnesses.
    async fn serve(&mut self) -> Door {
        let mut command = serve(&self.folder.0, "127.0.0.1:0");
        command.env("OPS_WITNESSES", self.policy_file());
        let server = Server::start(command).await;
        let door = Door::new(server.address, &self.furnished.admin);
        self.server = Some(server);
        door
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it serves")
    }

    /// Appends something; how long the log is then, at least.
    async fn append(&self, door: &Door) -> u64 {
        let input = json!({ "commandId": Uuid::now_v7(), "reason": "one more", "credits": "1",
                            "organizationId": self.furnished.counted.to_string() });
        let done = door.done(&CREDIT_GRANT, input).await;
        let position = done["receipt"]["position"].as_str().expect("a position");
        position.rsplit('-').next().and_then(|it| it.parse().ok()).expect("a number")
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.server().address);
        let answer = reqwest::get(url).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.expect("text")
    }

    /// What the doctor finds of the witnesses, and whether all is well.
    async fn doctor(&self) -> (bool, Value) {
        let mut doctor = command("opscenter");
        doctor.args(["doctor", "--json", "--data"]).arg(&self.folder.0);
        doctor.env("OPS_WITNESSES", self.policy_file());
        let output = run(&mut doctor).await;
        let report: Value = serde_json::from_str(&text(&output.stdout)).expect("an object");
        let checks = report["checks"].as_array().expect("a list");
        let found = checks.iter().find(|check| check["name"] == "witnesses");
        (output.status.success(), found.expect("its line").clone())
    }

    async fn end(mut self) {
        let server = self.server.take().expect("it serves");
        assert!(server.stop().await.success());
    }
}

const EVIDENCE: &str = "{ logEvidence { quorum witnesses { name cosignedSize isFailing }
    checkpoint { size cosignatures { witness } }
    sealed { size note cosignatures { witness signedAt } } } }";

async fn evidence(door: &Door) -> Value {
    door.ask(EVIDENCE, json!({})).await["logEvidence"].take()
}

/// Waits until everything up to a size is sealed; what is said of it.
async fn sealed(door: &Door, size: u64) -> Value {
    eventually("a seal", async || {
        let sealed = evidence(door).await["sealed"].take();
        sealed["size"].as_u64().filter(|sealed| *sealed >= size).map(|_| sealed)
    })
    .await
}

/// Who has cosigned a checkpoint.
fn cosigned(checkpoint: &Value) -> Vec<&str> {
    let list = checkpoint["cosignatures"].as_array().expect("a list");
    list.iter().filter_map(|cosignature| cosignature["witness"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_witnesses_seal_together_and_one_alone_does_not() {
    let mut site = Site::new().await;
    let one = Witness::start("a", &site.keys).await;
    let mut other = Witness::start("b", &site.keys).await;
    let policy = site.name(2, &[(&one.address, &one), (&other.address, &other)]);
    other.kill().await;
    let door = site.serve().await;
    let alone = eventually("a cosignature of one", async || {
        let found = evidence(&door).await;
        let [one, other] = [0, 1].map(|number| &found["witnesses"][number]);
        let is_alone = one["cosignedSize"].is_u64() && other["isFailing"] == true;
        is_alone.then_some(found)
    })
    .await;
    assert_eq!((&alone["quorum"], &alone["sealed"]), (&json!(2), &Value::Null));
    let size = &alone["witnesses"][0]["cosignedSize"];
    let note: Note =
        site.get(&format!("/log/v1/checkpoints/{size}")).await.parse().expect("a note");
    let names: Vec<_> = note.cosignatures(&policy.keys()).into_iter().map(|it| it.name).collect();
    assert_eq!(names, [one.key.name().clone()]);

    other.run().await;
    let head = site.append(&door).await;
    let together = sealed(&door, head).await;
    assert_eq!(cosigned(&together), [one.name.as_str(), other.name.as_str()]);
    let note = together["note"].as_str().expect("a note");
    assert_eq!(policy.sealed(note).expect("a note").map(|found| found.len()), Some(2));
    let signed: Note = note.parse().expect("a note");
    assert!(signed.verify(&site.keys.verifier_keys()).is_ok());
    assert_eq!(site.get(&format!("/log/v1/checkpoints/{}", together["size"])).await, note);

    // Killed in the midst of it, it goes on from where it was.
    for _ in 0..3 {
        let size = site.append(&door).await;
        other.kill().await;
        other.run().await;
        sealed(&door, size).await;
    }
    let newest = site.append(&door).await;
    let figures = eventually("figures of the seal", async || {
        let figures = site.get("/metrics").await;
        let value = |name: &str| {
            let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|text| text.parse::<u64>().ok())
        };
        (value("opscenter_log_sealed")? >= newest).then_some(figures.clone())
    })
    .await;
    let cosigned = format!("opscenter_witness_cosigned{{witness=\"{}\"}}", other.name);
    assert!(figures.contains(&cosigned), "{figures}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_showed_another_history_is_cosigned_no_more() {
    let mut site = Site::new().await;
    let early = Witness::start("early", &site.keys).await;
    let ahead = Witness::start("ahead", &site.keys).await;
    // Whoever has the keys has shown them another history: one begins otherwise, one is longer.
    for (witness, size) in [(&early, 5), (&ahead, 5_000)] {
        let leaves: Vec<_> = (0..size).map(|leaf: u64| leaf_hash(&leaf.to_be_bytes())).collect();
        let forged =
            Checkpoint::of_log(&site.keys.origin(1), size, root_of(&leaves), &[1; 32], &[2; 32]);
        let note = site.keys.sign(&forged.expect("a checkpoint")).expect("a note");
        let shown = AddCheckpoint { old: 0, proof: vec![], note: note.parse().expect("a note") };
        let url = format!("http://{}/add-checkpoint", witness.address);
        let answer = reqwest::Client::new().post(url).body(shown.to_string()).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    site.name(1, &[(&early.address, &early), (&ahead.address, &ahead)]);
    let door = site.serve().await;
    let size = site.append(&door).await;
    let figures = eventually("two refusals each", async || {
        let figures = site.get("/metrics").await;
        let failures = |witness: &Witness| {
            let name = format!("opscenter_witness_failures_total{{witness=\"{}\"}} ", witness.name);
            let line = figures.lines().find_map(|line| line.strip_prefix(&name));
            line.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default()
        };
        (failures(&early) >= 2 && failures(&ahead) >= 2).then_some(figures.clone())
    })
    .await;
    assert!(!figures.contains("\nopscenter_log_sealed "), "{figures}");
    let found = eventually("a checkpoint of everything", async || {
        let found = evidence(&door).await;
        (found["checkpoint"]["size"].as_u64() >= Some(size)).then_some(found)
    })
    .await;
    assert_eq!((&found["sealed"], cosigned(&found["checkpoint"]).len()), (&Value::Null, 0));
    for witness in found["witnesses"].as_array().expect("a list") {
        assert_eq!((&witness["isFailing"], &witness["cosignedSize"]), (&json!(true), &Value::Null));
    }

    // Only the server can prove that the first was shown another history; the other is too far.
    site.name(2, &[(&early.address, &early), (&ahead.address, &ahead)]);
    let (is_fine, check) = site.doctor().await;
    assert!(!is_fine && check["state"] == "problem", "{check}");
    let said = |number: usize| check["details"]["witnesses"][number]["found"].to_string();
    assert!(said(1).contains("it was set back"), "{check}");
    assert_eq!(check["details"]["witnesses"][1]["size"], 5_000);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_without_a_gap_by_whoever_was_told() {
    let mut site = Site::new().await;
    let mut told = Witness::start("told", &site.keys).await;
    let late = Witness::start("late", &site.keys).await;
    site.name(1, &[(&told.address, &told), (&late.address, &late)]);
    let door = site.serve().await;
    let log = async |task: &str| {
        let mut command = command("opscenter");
        command.args(["log", task, "--data"]).arg(&site.folder.0);
        let key = printed(&mut command).await;
        key.trim_end().parse::<event_log::note::VerifierKey>().expect("a verifier key")
    };
    let signers = |sealed: &Value| {
        let note: Note = sealed["note"].as_str().expect("a note").parse().expect("a note");
        let keys = log_keys(&site.place).expect("keys").verifier_keys();
        note.verify(&keys).expect("signatures").into_iter().cloned().collect::<Vec<_>>()
    };
    let old = signers(&sealed(&door, site.append(&door).await).await);
    assert_eq!(old.len(), 1);

    // Both keys sign, and who knows one of them goes on.
    let new = log("rotate-key").await;
    let overlapping = eventually("a checkpoint of two keys", async || {
        let sealed = sealed(&door, site.append(&door).await).await;
        let is_both = signers(&sealed).len() == 2 && cosigned(&sealed).len() == 2;
        is_both.then_some(sealed)
    })
    .await;
    assert_eq!(signers(&overlapping), [old[0].clone(), new.clone()]);

    told.learn(&log_keys(&site.place).expect("keys"));
    told.kill().await;
    told.run().await;
    assert_eq!(log("retire-key").await, old[0]);
    let after = eventually("a checkpoint of the new key", async || {
        let sealed = sealed(&door, site.append(&door).await).await;
        (signers(&sealed) == [new.clone()]).then_some(sealed)
    })
    .await;
    assert_eq!(cosigned(&after), [told.name.as_str()]);
    eventually("a refusal", async || {
        (evidence(&door).await["witnesses"][1]["isFailing"] == true).then_some(())
    })
    .await;

    let (is_fine, check) = site.doctor().await;
    assert!(is_fine && check["needed"] == true, "{check}");
    let of = |number: usize| &check["details"]["witnesses"][number];
    assert_eq!((&of(0)["fine"], &of(1)["fine"]), (&json!(true), &json!(false)));
    assert!(of(1)["found"].to_string().contains("opscenter log keys"), "{check}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_never_answers_holds_up_nobody() {
    let mut site = Site::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let deaf = Witness::start("deaf", &site.keys).await;
    let good = Witness::start("good", &site.keys).await;
    let address = silent.local_addr().expect("an address").to_string();
    site.name(1, &[(&address, &deaf), (&good.address, &good)]);
    let (is_fine, check) = site.doctor().await;
    assert!(is_fine && check["found"].to_string().contains("nothing is signed"), "{check}");
    let door = site.serve().await;
    let _asked = silent.accept().await.expect("it is asked, too");
    for _ in 0..3 {
        let size = site.append(&door).await;
        assert_eq!(cosigned(&sealed(&door, size).await), [good.name.as_str()]);
    }
    let guarded = log_guard(&site.place).read().expect("it can be read").expect("it is signed");
    assert!(guarded.checkpoint().is_some());
    let (is_fine, check) = site.doctor().await;
    let found = check["details"]["witnesses"][0]["found"].to_string();
    assert!(is_fine && found.contains("does not answer in time"), "{check}");
    site.end().await;
}
