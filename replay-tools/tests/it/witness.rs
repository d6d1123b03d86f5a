//! A witness as a program, asked over HTTP: what follows is cosigned, everything else is refused
//! with its status and changes nothing.

use event_log::evidence::Hash;
use event_log::note::{
    Checkpoint, Note, Signer, VerifierKey, cosignatures_valid, merge_signatures,
};
use event_log::tree::hash::{Span, consistency_spans, leaf_hash, root_of};
use event_log::witness::{
    AddCheckpoint, Cosigned, Witness, WitnessAddress, WitnessError, WitnessPolicy,
};
use integrations::WitnessClient;
use reqwest::StatusCode;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{self, UnboundedSender};
use uuid::Uuid;

/// How long a program may take to refuse to begin.
const PATIENCE: Duration = Duration::from_secs(30);

const ORIGIN: &str = "opscenter/log/0199/epoch/1";
const NAME: &str = "witness.example.org/a";

/// A log in memory: its leaves, and what signs for it.
struct Log {
    leaves: Vec<Hash>,
    signer: Signer,
}

impl Log {
    /// A log whose leaves are told apart by a letter.
    fn new(letter: u8, size: u8) -> Self {
        let leaves = (0..size).map(|number| leaf_hash(&[letter, number])).collect();
        Self { leaves, signer: Signer::new("opscenter/log/0199".parse().unwrap(), &[5; 32]) }
    }

    fn root(&self, size: usize) -> Hash {
        root_of(&self.leaves[..size])
    }

    fn note(&self, size: usize) -> String {
        self.note_of(ORIGIN, size, &self.signer)
    }

    fn note_of(&self, origin: &str, size: usize, signer: &Signer) -> String {
        let size_written = u64::try_from(size).unwrap();
        let checkpoint =
            Checkpoint::of_log(origin, size_written, self.root(size), &[1; 32], &[2; 32]);
        let text = checkpoint.unwrap().to_string();
        Note::new(&text, vec![signer.sign(&text)]).unwrap().to_string()
    }

    fn proof(&self, old: usize, new: usize) -> Vec<Hash> {
        let [old, new] = [old, new].map(|size| u64::try_from(size).unwrap());
        let place = |leaf: u64| usize::try_from(leaf).unwrap();
        let root = |span: Span| root_of(&self.leaves[place(span.start)..place(span.end)]);
        consistency_spans(old, new).into_iter().map(root).collect()
    }
}

/// A witness that runs, on a folder of its own.
struct Running {
    folder: PathBuf,
    program: Child,
    url: String,
    key: VerifierKey,
}

fn new_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("opscenter-witness-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn command(folder: &Path, task: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opscenter-replay"));
    let state = folder.join("state").display().to_string();
    command.args(["witness", task, "--folder", &state]).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn serving(folder: &Path, keys: &[&VerifierKey]) -> Command {
    let logs = folder.join("logs.json");
    let list = serde_json::json!({ "logs": [{ "origin": ORIGIN, "keys": keys }] });
    std::fs::write(&logs, list.to_string()).unwrap();
    let mut command = command(folder, "serve");
    command.args(["--name", NAME, "--listen", "127.0.0.1:0", "--logs"]).arg(&logs);
    command
}

impl Running {
    async fn start(folder: PathBuf, log: &Log) -> Self {
        let mut program = serving(&folder, &[log.signer.verifier()]).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let mut line = async |start: &str| {
            let line = lines.next_line().await.unwrap().expect("a line");
            line.strip_prefix(start).expect("its start").to_owned()
        };
        let key = line("witness ").await.parse().unwrap();
        let url = line("listening on ").await;
        Self { folder, program, url, key }
    }

    fn client(&self) -> WitnessClient {
        let keys = vec![self.key.clone()];
        WitnessClient::new(WitnessAddress { url: self.url.clone(), keys }).unwrap()
    }

    async fn add(&self, log: &Log, old: usize, new: usize) -> Result<Cosigned, WitnessError> {
        let size = u64::try_from(old).unwrap();
        self.client().add_checkpoint(size, &log.proof(old, new), &log.note(new)).await
    }

    async fn post(&self, body: String) -> (StatusCode, String, String) {
        let url = format!("{}/add-checkpoint", self.url);
        let answer = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap());
        let kind = kind.unwrap_or_default().to_owned();
        (answer.status(), kind, answer.text().await.unwrap())
    }

    /// The size it says it is at.
    async fn size(&self, log: &Log) -> u64 {
        // Nobody is at this size, so this changes nothing.
        let size = u64::try_from(log.leaves.len()).unwrap();
        match self.client().add_checkpoint(size, &[], &log.note(log.leaves.len())).await {
            Err(WitnessError::Conflict { size, .. }) => size,
            other => panic!("{other:?}"),
        }
    }

    /// Ends it without a farewell, and starts it again.
    async fn restart(mut self, log: &Log) -> Self {
        self.program.kill().await.unwrap();
        Self::start(self.folder.clone(), log).await
    }

    fn end(self) {
        let folder = self.folder.clone();
        drop(self);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn a_log_that_grows_is_cosigned_and_sealed() {
    let log = Log::new(b'a', 40);
    let witness = Running::start(new_folder(), &log).await;
    let policy = format!(
        r#"{{"quorum":1,"witnesses":[{{"url":"{}","keys":["{}"]}}]}}"#,
        witness.url, witness.key
    );
    let policy: WitnessPolicy = policy.parse().unwrap();
    for (old, new) in [(0, 3), (3, 8), (8, 8), (8, 9), (9, 31), (31, 32)] {
        let cosigned = witness.add(&log, old, new).await.unwrap();
        assert_eq!(cosigned.lines.lines().count(), 1);
        let note = log.note(new);
        assert_eq!(policy.sealed(&note).unwrap(), None);
        let merged = merge_signatures(&note, &cosigned.lines, &policy.keys()).unwrap();
        let found = policy.sealed(&merged).unwrap().expect("enough of them");
        assert_eq!(found, cosignatures_valid(&merged, &policy.keys()).unwrap());
        assert_eq!(found[0].name.as_str(), NAME);
        assert!(found[0].timestamp > 1_700_000_000, "{}", found[0].timestamp);
        assert_eq!(witness.size(&log).await, u64::try_from(new).unwrap());
    }
    let printed = command(&witness.folder, "key").output().await.unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap().trim_end(), witness.key.to_string());
    witness.end();
}

#[tokio::test]
async fn what_does_not_follow_is_refused_with_its_status_and_changes_nothing() {
    let (log, other) = (Log::new(b'a', 40), Log::new(b'b', 40));
    let witness = Running::start(new_folder(), &log).await;
    witness.add(&log, 0, 9).await.unwrap();
    let stranger = Signer::new("opscenter/log/0199".parse().unwrap(), &[6; 32]);
    let wrong = log.note(20).replacen("\ntenants A", "\ntenants B", 1);
    let body = |old: usize, proof: Vec<Hash>, note: &str| {
        let old = u64::try_from(old).unwrap();
        AddCheckpoint { old, proof, note: note.parse().unwrap() }.to_string()
    };
    let good = body(9, log.proof(9, 20), &log.note(20));
    let mut bent = log.proof(9, 20);
    bent[1][7] ^= 1;
    let proof = || log.proof(9, 20);
    let many = good.replacen("\n\n", &format!("\n{}\n", "A".repeat(43) + "=\n").repeat(64), 1);
    for (status, body) in [
        // Another history: of a larger size, with any proof there is.
        (422, body(9, other.proof(9, 20), &other.note(20))),
        (422, body(9, proof(), &other.note(20))),
        // A proof that is wrong, missing, too long.
        (422, body(9, bent, &log.note(20))),
        (422, body(9, vec![], &log.note(20))),
        (422, body(9, [proof(), vec![[0; 32]]].concat(), &log.note(20))),
        (422, body(9, vec![[0; 32]], &log.note(9))),
        // Other sizes than the last one.
        (409, body(0, vec![], &log.note(20))),
        (409, body(5, log.proof(5, 20), &log.note(20))),
        (409, body(12, log.proof(12, 20), &log.note(20))),
        // The log has become smaller.
        (400, body(9, vec![], &log.note(8))),
        (409, body(8, vec![], &log.note(8))),
        // Unknown logs and signatures.
        (404, body(0, vec![], &log.note_of("opscenter/log/0199/epoch/2", 3, &log.signer))),
        (403, body(9, proof(), &log.note_of(ORIGIN, 20, &stranger))),
        (403, body(9, proof(), &wrong)),
        // What is no request.
        (400, String::new()),
        (400, good.replacen("old 9", "old 09", 1)),
        (400, good.replacen("old 9", "9", 1)),
        (400, good.replacen("\n\n", "\nAAAA\n\n", 1)),
        (400, good.replacen("\n\n", "\n", 1)),
        (400, good.trim_end().to_owned()),
        (400, good.replacen("\n20\n", "\n020\n", 1)),
        (400, many),
        (413, "old 9\n".repeat(100_000)),
    ] {
        let (found, kind, said) = witness.post(body.clone()).await;
        assert_eq!(found.as_u16(), status, "{said} for {body:.300}");
        let is_size = (kind.as_str(), said.as_str()) == ("text/x.tlog.size", "9\n");
        assert_eq!(is_size, status == 409, "{kind} {said}");
        assert_eq!(witness.size(&log).await, 9);
    }
    // The same size with another root is a fork, and no matter of sizes.
    let (status, kind, said) = witness.post(body(9, vec![], &other.note(9))).await;
    assert_eq!((status.as_u16(), kind.as_str()), (409, ""), "{said}");
    assert!(said.contains("forked"), "{said}");
    let kept = |extension: &str| {
        let entries = std::fs::read_dir(witness.folder.join("state")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let path = paths.find(|path| path.extension().is_some_and(|found| found == extension));
        std::fs::read_to_string(path.expect("a file")).unwrap()
    };
    let both = format!("{}\n{}", log.note(9), other.note(9));
    assert_eq!((kept("checkpoint"), kept("fork")), (log.note(9), both));
    let refused = witness.add(&other, 9, 9).await.unwrap_err();
    assert!(matches!(refused, WitnessError::Refused { status: 409, .. }), "{refused}");
    // And after all of that it goes on from where it was.
    assert_eq!(witness.post(good).await.0.as_u16(), 200);
    witness.end();
}

#[tokio::test]
async fn of_two_requests_at_once_one_wins_and_the_other_is_told_the_size() {
    let log = Log::new(b'a', 200);
    let witness = Running::start(new_folder(), &log).await;
    let mut at = 0;
    for _ in 0..10 {
        let [one, two] = [at + 7, at + 12];
        let (first, second) = tokio::join!(witness.add(&log, at, one), witness.add(&log, at, two));
        let (won, lost) = match (&first, &second) {
            (Ok(_), Err(lost)) => (one, lost),
            (Err(lost), Ok(_)) => (two, lost),
            both => panic!("{both:?}"),
        };
        let won_size = u64::try_from(won).unwrap();
        assert!(matches!(lost, WitnessError::Conflict { size, .. } if *size == won_size), "{lost}");
        at = won;
    }
    assert_eq!(witness.size(&log).await, u64::try_from(at).unwrap());
    witness.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_is_killed_is_never_behind_what_it_answered() {
    let log = Arc::new(Log::new(b'a', 250));
    let mut witness = Running::start(new_folder(), &log).await;
    let mut answered = 0;
    for round in 0..8 {
        let (tell, mut told) = mpsc::unbounded_channel();
        let asking = tokio::spawn(grow(witness.client(), Arc::clone(&log), answered, tell));
        for _ in 0..=round {
            answered = told.recv().await.expect("an answer");
        }
        // The next request is under way: before the write, between write and answer, or after.
        witness.program.kill().await.unwrap();
        asking.await.unwrap();
        while let Some(size) = told.recv().await {
            answered = size;
        }
        witness = witness.restart(&log).await;
        let size = usize::try_from(witness.size(&log).await).unwrap();
        assert!((answered..=answered + 1).contains(&size), "{answered} answered, {size} kept");
        answered = size;
    }
    witness.end();
}

/// Lets a log grow by one leaf at a time until the witness answers no more.
async fn grow(client: WitnessClient, log: Arc<Log>, from: usize, tell: UnboundedSender<usize>) {
    for size in from..log.leaves.len() - 1 {
        let (old, proof) = (u64::try_from(size).unwrap(), log.proof(size, size + 1));
        if client.add_checkpoint(old, &proof, &log.note(size + 1)).await.is_err() {
            return;
        }
        tell.send(size + 1).unwrap();
    }
}

#[tokio::test]
async fn a_folder_has_one_witness_with_one_name_and_nothing_damaged_is_begun_again() {
    let log = Log::new(b'a', 20);
    let witness = Running::start(new_folder(), &log).await;
    witness.add(&log, 0, 9).await.unwrap();
    let second = said(serving(&witness.folder, &[log.signer.verifier()])).await;
    assert!(second.contains("another witness runs"), "{second}");
    let mut renamed = command(&witness.folder, "key");
    renamed.args(["--name", "witness.example.org/b"]);
    let renamed = said(renamed).await;
    assert!(renamed.contains("leave --name out"), "{renamed}");
    let elsewhere = new_folder();
    let unnamed = said(command(&elsewhere, "key")).await;
    assert!(unnamed.contains("--name"), "{unnamed}");
    std::fs::remove_dir_all(&elsewhere).unwrap();

    let folder = witness.folder.clone();
    drop(witness);
    let wrong_key = said(serving(&folder, &[])).await;
    assert!(wrong_key.contains("without a key"), "{wrong_key}");
    let kept = checkpoint_file(&folder);
    std::fs::write(&kept, "half a check").unwrap();
    let damaged = said(serving(&folder, &[log.signer.verifier()])).await;
    assert!(damaged.contains("is damaged"), "{damaged}");
    std::fs::remove_file(&kept).unwrap();
    let missing = said(serving(&folder, &[log.signer.verifier()])).await;
    assert!(missing.contains("is missing"), "{missing}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_log_that_was_never_cosigned_begins_at_zero_again_until_its_file_is_gone() {
    let log = Log::new(b'a', 20);
    let witness = Running::start(new_folder(), &log).await.restart(&log).await;
    assert_eq!(witness.size(&log).await, 0);
    let folder = witness.folder.clone();
    drop(witness);
    std::fs::remove_file(checkpoint_file(&folder)).unwrap();
    let missing = said(serving(&folder, &[log.signer.verifier()])).await;
    assert!(missing.contains("is missing"), "{missing}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What a program says that refuses to begin; one that begins instead would run for ever.
async fn said(mut command: Command) -> String {
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output());
    let output = output.await.expect("it began, and goes on").unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

/// Where the one log of a witness has its last checkpoint.
fn checkpoint_file(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder.join("state")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let is_kept = |path: &PathBuf| path.extension().is_some_and(|it| it == "checkpoint");
    paths.find(is_kept).expect("a file")
}

#[tokio::test]
async fn what_is_no_cosignature_of_the_witness_is_not_believed() {
    let log = Log::new(b'a', 20);
    let witness = Running::start(new_folder(), &log).await;
    // Whoever listens there is somebody else than the key says.
    let other = event_log::note::Cosigner::new(NAME.parse().unwrap(), &[9; 32]);
    let keys = vec![other.verifier().clone()];
    let client = WitnessClient::new(WitnessAddress { url: witness.url.clone(), keys }).unwrap();
    let error = client.add_checkpoint(0, &[], &log.note(4)).await.unwrap_err();
    assert!(matches!(error, WitnessError::Answer { .. }), "{error}");

    let address = |url: &str| WitnessAddress { url: url.to_owned(), keys: vec![] };
    for url in ["", "witness.example.org", "ftp://x", "https://x", "http://x/?a=b"] {
        let error = WitnessClient::new(address(url)).unwrap_err();
        assert!(matches!(error, WitnessError::Address { .. }), "{url}: {error}");
    }
    let url = witness.url.clone();
    witness.end();
    let gone = WitnessClient::new(address(&url)).unwrap();
    let error = gone.add_checkpoint(0, &[], &log.note(4)).await.unwrap_err();
    assert!(matches!(error, WitnessError::Unreachable { .. }), "{error}");
}
