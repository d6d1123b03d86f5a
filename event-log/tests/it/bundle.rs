//! The written vectors of bundles: our program writes them byte for byte, finds them whole, and a
//! stranger's script that was written from `docs/log-format.md` alone agrees with it.

use event_log::Position;
use event_log::bundle::{Fold, Manifest, Scope, Seen, Writer, verify};
use event_log::note::{Checkpoint, Note, Policy, Signer};
use event_log::tree::entry::Entry;
use event_log::tree::hash::root_of;
use event_log::tree::organizations::Organizations;
use event_log::verify::{CHAIN_START, Hash, RawBatch, RawRow, chain_next, micros};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

const LOG: &str = "0197f3a0-c4d0-7b2e-8f11-2233445566aa";
const EVERYTHING: &[u8] = include_bytes!("../verifiers/everything.bundle");
const ORGANIZATION: &[u8] = include_bytes!("../verifiers/organization.bundle");
const PAGE: &str = include_str!("../../../docs/log-format.md");

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn id(value: &Value) -> Option<Uuid> {
    (!value.is_null()).then(|| Uuid::from_slice(&bytes(value)).unwrap())
}

fn time(value: &Value) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp_micros(value.as_i64().unwrap()).unwrap()
}

fn row(line: &Value) -> RawRow {
    RawRow {
        position: line["position"].as_i64().unwrap(),
        tenant: id(&line["tenant"]).unwrap(),
        stream: line["stream"].as_str().map(str::to_owned),
        stream_version: line["stream_version"].as_i64(),
        type_name: line["type"].as_str().unwrap().to_owned(),
        schema_version: line["schema_version"].as_i64().unwrap().try_into().unwrap(),
        event_id: id(&line["event_id"]).unwrap(),
        recorded_at: time(&line["recorded_at"]),
        occurred_at: time(&line["occurred_at"]),
        actor: line["actor"].as_str().unwrap().to_owned(),
        causation: id(&line["causation"]),
        correlation: id(&line["correlation"]),
        meta: bytes(&line["meta"]),
        payload: bytes(&line["payload"]),
        meta_salt: bytes(&line["meta_salt"]),
        payload_salt: bytes(&line["payload_salt"]),
        subjects: line["subjects"].as_array().unwrap().iter().filter_map(id).collect(),
        event_hash: bytes(&line["event_hash"]),
        payload_commit: None,
        meta_commit: None,
    }
}

/// The written batches and events, and one more of another organization.
fn history() -> Vec<(RawBatch, Vec<RawRow>)> {
    let lines = include_str!("../verifiers/vectors.jsonl").lines();
    let mut history: Vec<(RawBatch, Vec<RawRow>)> = Vec::new();
    for line in lines.map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if line["chain"].is_null() {
            history.last_mut().unwrap().1.push(row(&line));
            continue;
        }
        let (first, last) = (line["first"].as_i64().unwrap(), line["last"].as_i64().unwrap());
        let (recorded_at, chain) = (time(&line["recorded_at"]), bytes(&line["chain"]));
        history.push((RawBatch { first, last, recorded_at, chain }, Vec::new()));
    }
    let (batch, rows) = history.last().unwrap();
    let mut other = rows[0].clone();
    other.position = 4;
    other.tenant = Uuid::from_u128(other.tenant.as_u128() + 1);
    other.event_id = Uuid::from_u128(other.event_id.as_u128() + 1);
    other.recorded_at += chrono::TimeDelta::microseconds(1);
    other.event_hash = other.hash().to_vec();
    let before: Hash = batch.chain.as_slice().try_into().unwrap();
    let chain = chain_next(&before, 4, 1, micros(other.recorded_at), &[other.hash()]);
    let (recorded_at, chain) = (other.recorded_at, chain.to_vec());
    history.push((RawBatch { first: 4, last: 4, recorded_at, chain }, vec![other]));
    history
}

fn entries(history: &[(RawBatch, Vec<RawRow>)]) -> Vec<Entry> {
    let mut counts: HashMap<Uuid, i64> = HashMap::new();
    let mut entries = Vec::new();
    for (batch, rows) in history {
        for row in rows {
            let count = counts.entry(row.tenant).or_default();
            *count += 1;
            entries.push(Entry {
                position: Position(row.position),
                tenant_sequence: *count,
                batch_first: Position(batch.first),
                batch_count: i32::try_from(rows.len()).unwrap(),
                recorded_at_micros: micros(batch.recorded_at),
                stream_version: row.stream_version.unwrap_or_default(),
                event_hash: row.hash(),
            });
        }
    }
    entries
}

fn organizations(history: &[(RawBatch, Vec<RawRow>)]) -> Organizations {
    let mut organizations = Organizations::default();
    for row in history.iter().flat_map(|(_, rows)| rows) {
        let count = organizations.count(row.tenant) + 1;
        organizations.set(row.tenant, count);
    }
    organizations
}

fn signer() -> Signer {
    Signer::new(format!("opscenter/log/{LOG}").parse().unwrap(), &[7; 32])
}

fn note(history: &[(RawBatch, Vec<RawRow>)]) -> String {
    let leaves: Vec<Hash> = entries(history).into_iter().map(Entry::leaf).collect();
    let chain: Hash = history.last().unwrap().0.chain.as_slice().try_into().unwrap();
    let tenants = organizations(history).root();
    let origin = format!("opscenter/log/{LOG}/epoch/1");
    let text = Checkpoint::of_log(&origin, 4, root_of(&leaves), &tenants, &chain).unwrap();
    let text = text.to_string();
    Note::new(&text, vec![signer().sign(&text)]).unwrap().to_string()
}

fn manifest(scope: Scope, to: i64) -> Manifest {
    Manifest {
        form: Manifest::FORM,
        origin: format!("opscenter/log/{LOG}/epoch/1"),
        log: LOG.parse().unwrap(),
        scope,
        from: 1,
        to,
        size: 4,
        bodies: true,
        replay: false,
        created_at: "2026-03-01T12:00:00Z".to_owned(),
    }
}

fn everything() -> Vec<u8> {
    let history = history();
    let mut entries = entries(&history).into_iter();
    let mut writer = Writer::begin(Vec::new(), &manifest(Scope::All, 4)).unwrap();
    let mut previous = CHAIN_START;
    for (batch, rows) in &history {
        writer.batch(batch, previous).unwrap();
        for row in rows {
            writer.event(entries.next().unwrap(), row, true).unwrap();
        }
        previous = batch.chain.as_slice().try_into().unwrap();
    }
    writer.checkpoint(&note(&history)).unwrap();
    writer.finish().unwrap()
}

fn organization() -> Vec<u8> {
    let history = history();
    let entries = entries(&history);
    let tenant = history[0].1[0].tenant;
    let manifest = manifest(Scope::Organization(tenant), 3);
    let mut writer = Writer::begin(Vec::new(), &manifest).unwrap();
    for (entry, row) in entries.iter().zip(history.iter().flat_map(|(_, rows)| rows)).take(3) {
        writer.event(*entry, row, true).unwrap();
    }
    writer.gap(4, &[entries[3].leaf()]).unwrap();
    writer.checkpoint(&note(&history)).unwrap();
    writer.count(&organizations(&history).prove(tenant)).unwrap();
    writer.finish().unwrap()
}

struct Nobody;

impl Fold for Nobody {
    fn begin(&mut self, _: &Manifest) {}
    fn figures(&mut self, _: &[u8]) {}
    fn event(&mut self, _: &Seen<'_>) {}
}

/// What a stranger's script says about a file.
fn stranger(bundle: &Path) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers");
    let output = Command::new("python3")
        .arg(folder.join("bundle.py"))
        .arg(bundle)
        .arg(signer().verifier().to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), said.starts_with("ok "), "{output:?}");
    said
}

#[test]
fn the_written_bundles_are_what_is_written_and_whole_and_a_stranger_agrees() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers");
    let policy = Policy::of_logs(vec![signer().verifier().clone()]);
    let root = root_of(&entries(&history()).into_iter().map(Entry::leaf).collect::<Vec<_>>());
    let root = data_encoding::HEXLOWER.encode(&root);
    for (name, written, events) in [
        ("everything.bundle", (EVERYTHING, everything()), 4),
        ("organization.bundle", (ORGANIZATION, organization()), 3),
    ] {
        assert!(written.0 == written.1, "{name} is written otherwise now");
        let outcome = verify(written.0, &policy, &mut Nobody).unwrap();
        assert_eq!(outcome.fault, None, "{name}");
        assert_eq!(outcome.summary.events, events, "{name}");
        assert_eq!(stranger(&vectors.join(name)).trim(), format!("ok {events} 0 {root}"));
    }
}

#[test]
fn the_page_says_what_the_vectors_are() {
    let history = history();
    let tenants = organizations(&history).root();
    let mut values = vec![tenants.to_vec(), history[2].0.chain.clone()];
    for entry in entries(&history) {
        values.extend([entry.to_bytes().to_vec(), entry.leaf().to_vec()]);
    }
    for value in values {
        let value = data_encoding::HEXLOWER.encode(&value);
        assert!(PAGE.contains(&value), "{value} is not on the page");
    }
    assert!(PAGE.contains(&signer().verifier().to_string()));
    assert!(PAGE.contains(note(&history).as_str()), "the note is another on the page");
}

#[test]
fn a_stranger_and_we_find_the_same_bytes_changed() {
    let policy = Policy::of_logs(vec![signer().verifier().clone()]);
    let folder: PathBuf = std::env::temp_dir().join(format!("bundle-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let changed = folder.join("changed.bundle");
    for place in (0..ORGANIZATION.len()).step_by(211) {
        let mut bytes = ORGANIZATION.to_vec();
        bytes[place] ^= 1;
        std::fs::write(&changed, &bytes).unwrap();
        assert!(verify(&bytes[..], &policy, &mut Nobody).unwrap().fault.is_some(), "at {place}");
        assert_eq!(stranger(&changed).get(..2), Some("wr"), "a stranger passes byte {place}");
    }
    let _removed = std::fs::remove_dir_all(&folder);
}
