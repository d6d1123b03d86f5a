//! The documents are true: whoever follows them sees what they show.
//!
//! Each page with commands is walked from top to bottom in a folder of its own, with the
//! demonstration in it. What a page shows is compared; where the two differ the page is wrong, or
//! the program is. A new command or a new page with commands fails until it is walked too.

mod data;
mod page;
mod printed;
mod walk;

use data_encoding::BASE64;
use event_log::evidence;
use event_log::note::{Checkpoint, Note, VerifierKey};
use event_log::tree::entry::Entry;
use event_log::tree::proof::verify_inclusion;
use page::{Part, commands, parts};
use std::path::Path;
use walk::Walk;

/// The pages that are walked.
const PAGES: [(&str, &str); 7] = [
    ("README.md", include_str!("../../README.md")),
    ("docs/api.md", include_str!("../../docs/api.md")),
    ("docs/auditing.md", include_str!("../../docs/auditing.md")),
    ("docs/imports.md", include_str!("../../docs/imports.md")),
    ("docs/operations.md", include_str!("../../docs/operations.md")),
    ("docs/replay.md", include_str!("../../docs/replay.md")),
    ("docs/witness.md", include_str!("../../docs/witness.md")),
];

fn text_of(path: &str) -> &'static str {
    PAGES.iter().find(|(name, _)| *name == path).expect("a page that is walked").1
}

#[tokio::test]
async fn the_readme_works_as_it_is_written() {
    let mut walk = Walk::begin();
    walk.follow(text_of("README.md")).await;

    assert!(walk.said("./ops replay explain usage 127").contains("usage at position 127, "));
    let rebuilt = walk.said("./ops replay rebuild --all");
    let equal = rebuilt.matches("equal to the live rows, byte for byte").count();
    assert_eq!(equal, projections::definitions().len(), "{rebuilt}");

    walk.stop().await;
}

#[tokio::test]
async fn the_import_of_the_readme_can_be_repeated() {
    let mut walk = Walk::furnished().await;
    let import = "./ops import usage";
    let is_it = |part: &Part| matches!(part, Part::Command(it) if it.starts_with(import));
    let found = parts(text_of("README.md")).into_iter().find(is_it);
    let Some(Part::Command(typed)) = found else { panic!("no import on the page") };
    let totals = "./ops replay totals --organization acme";

    walk.type_in(&typed).await;
    let first = walk.said(import).replace("rows read", "recorded before");
    walk.type_in(totals).await;
    let charged = walk.said(totals).to_owned();
    walk.type_in(&typed).await;
    walk.type_in(totals).await;

    let every_row = first.lines().next().expect("a summary").split(" from ").next();
    let every_row = every_row.expect("how many rows were read");
    assert!(walk.said(import).contains(every_row), "{}", walk.said(import));
    assert_eq!(walk.said(totals), charged);
    walk.stop().await;
}

#[tokio::test]
async fn what_the_demonstration_offers_next_works() {
    let mut walk = Walk::furnished().await;
    let offered = offered(walk.said("./ops demo"));
    assert_eq!(offered.len(), 5, "{offered:?}");
    for command in offered {
        walk.type_in(&command).await;
    }
    walk.stop().await;
}

/// The commands below the summary: indented, with a sentence above them.
fn offered(said: &str) -> Vec<String> {
    let starts = ["\n  ./ops ", "\n  curl "];
    let paragraphs = said.split("\n\n").filter_map(|paragraph| {
        let at = starts.iter().find_map(|start| paragraph.find(start))?;
        Some(commands(&paragraph[at..]))
    });
    paragraphs.flatten().collect()
}

#[tokio::test]
async fn the_page_on_the_api_works_as_it_is_written() {
    let mut walk = Walk::furnished().await;
    walk.follow(text_of("docs/api.md")).await;
    let batch = walk.said("curl -s localhost:8080/api/v1/usage/batch");
    assert!(batch.contains("\"recorded\""), "{batch}");
    walk.stop().await;
}

#[tokio::test]
async fn the_page_on_auditing_works_as_it_is_written() {
    let mut walk = Walk::begin();
    walk.follow(text_of("docs/auditing.md")).await;

    // What is said to print nothing printed nothing.
    for asked in ["--type organization_tier_changed", "--type command_denied"] {
        assert_eq!(walk.said(&format!("opscenter-replay events {asked}")), "", "{asked}");
    }
    let searched = String::from_utf8(walk.file("search.txt")).expect("text");
    assert!(searched.contains(" 0 found in read_model.directory_user_g1\n"), "{searched}");

    the_bundles_are_verified_on_a_laptop(&walk).await;
    the_charge_is_proved(&walk);
    walk.stop().await;
}

/// The program needs the bundle and the policy and nothing else; a byte that somebody changed is
/// found there as well.
async fn the_bundles_are_verified_on_a_laptop(walk: &Walk) {
    let ends = [("everything", 0), ("unicorn", 0), ("charge", 0), ("changed", 20), ("cut", 22)];
    for (name, code) in ends {
        let bundle = format!("{name}.bundle");
        let verify = format!("opscenter-replay verify {bundle} --policy policy.txt");
        let output = walk.on_a_laptop(&[&bundle, "policy.txt"], &verify).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
    }
}

/// What the server gave as the proof of the charge is one, by the key on paper, and it is of the
/// event that the bundle of the charge holds.
fn the_charge_is_proved(walk: &Walk) {
    let policy = String::from_utf8(walk.file("policy.txt")).expect("text");
    let keys = policy.lines().filter_map(|line| line.strip_prefix("log "));
    let keys: Vec<VerifierKey> = keys.map(|key| key.parse().expect("a key")).collect();
    let answer: serde_json::Value =
        serde_json::from_slice(&walk.file("proof.json")).expect("an object");
    let proof = answer["data"]["eventProof"]["proof"].as_str().expect("a proof");

    let (steps, note) = proof.split_once("\n\n").expect("a checkpoint behind the steps");
    let mut steps = steps.lines().skip(1);
    let extra = steps.next().and_then(|line| line.strip_prefix("extra ")).expect("an entry");
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).expect("base64");
    let entry = Entry::from_bytes(&bytes(extra)).expect("an entry");
    let index = steps.next().and_then(|line| line.strip_prefix("index ")).expect("a place");
    let path: Vec<evidence::Hash> =
        steps.map(|hash| bytes(hash).try_into().expect("a hash")).collect();
    let note: Note = note.parse().expect("a signed note");
    assert_eq!(note.verify(&keys).expect("it is signed by the key on paper").len(), 1);
    let checkpoint: Checkpoint = note.text().parse().expect("a checkpoint");
    let (index, size) = (index.parse().expect("a number"), checkpoint.size());
    verify_inclusion(index, size, &entry.leaf(), checkpoint.root(), &path).expect("it is in it");

    let explained = walk.said("opscenter-replay explain usage 127");
    assert!(explained.contains(&format!(", position {}, ", entry.position.0)), "{explained}");
    let (bundle, entry) = (walk.file("charge.bundle"), entry.to_bytes());
    assert!(bundle.windows(entry.len()).any(|window| window == entry), "another event");
}

#[tokio::test]
async fn the_page_on_imports_works_as_it_is_written() {
    let mut walk = Walk::furnished().await;
    walk.follow(text_of("docs/imports.md")).await;
    let models = walk.said("opscenter import models FILE");
    assert!(models.contains(" loaded as new models\n"), "{models}");
    walk.stop().await;
}

#[tokio::test]
async fn the_page_on_operations_works_as_it_is_written() {
    let mut walk = Walk::furnished().await;
    walk.follow(text_of("docs/operations.md")).await;
    let said: serde_json::Value =
        serde_json::from_str(walk.said("./ops doctor --json")).expect("an object");
    let names = said["checks"].as_array().expect("a list").iter().map(|check| &check["name"]);
    let expected = [
        "data_folder",
        "master_key",
        "log_keys",
        "postgresql",
        "container_engine",
        "gpus",
        "redis",
        "witnesses",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    assert_eq!(said["fine"], true, "{said:#}");
    let lines = |command: &str| walk.said(command).lines().count();
    assert_eq!((lines("opscenter log rotate-key"), lines("opscenter log retire-key")), (1, 1));
    walk.stop().await;
}

#[tokio::test]
async fn the_page_on_witnesses_works_as_it_is_written() {
    let mut walk = Walk::furnished().await;
    walk.follow(text_of("docs/witness.md")).await;
    let key = walk.said("opscenter-replay witness key");
    assert!(key.starts_with("witness.example.org/a+"), "{key}");
    walk.stop().await;
}

#[tokio::test]
async fn the_page_on_replaying_works_as_it_is_written_without_a_server() {
    let mut walk = Walk::furnished().await;
    walk.stop().await;
    // Whoever verifies a bundle has the policy from elsewhere.
    walk.type_in("opscenter log keys | sed 's/^/log /' > policy.txt").await;
    walk.type_in("echo 'quorum none' >> policy.txt").await;
    walk.follow(text_of("docs/replay.md")).await;
    let verified = walk.said("python3 event-log/tests/verifiers/verify.py");
    assert!(verified.starts_with("ok "), "{verified}");
}

#[test]
fn every_page_with_commands_is_walked() {
    let mut seen = 0;
    for folder in ["", "docs", "docs/decisions"] {
        let entries = std::fs::read_dir(data::sources().join(folder)).expect("a folder");
        for name in entries.map(|entry| entry.expect("an entry").file_name()) {
            let path = Path::new(folder).join(name).display().to_string();
            if !path.ends_with(".md") {
                continue;
            }
            let page = std::fs::read_to_string(data::sources().join(&path)).expect("text");
            let has_commands = page.lines().any(|line| line == "```sh");
            let is_walked = PAGES.iter().any(|(walked, _)| *walked == path);
            assert_eq!(has_commands, is_walked, "{path}");
            seen += usize::from(is_walked);
        }
    }
    assert_eq!(seen, PAGES.len());
}
