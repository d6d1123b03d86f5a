//! Verifying a bundle of a million events with bodies, against hashing the same file once.
//!
//! The bundle is written without a database: usage in batches of a thousand, signed at the end. It
//! is verified by a process of its own, whose peak of memory is stated.

use crate::append::new_event;
use crate::bulk::usage;
use crate::cluster::folder;
use crate::report::{Report, Target};
use event_log::bundle::{Fold, Manifest, Scope, Seen, Writer, verify};
use event_log::note::{Checkpoint, Note, Policy, Signer};
use event_log::tree::entry::Entry;
use event_log::tree::organizations::Organizations;
use event_log::tree::range::Range;
use event_log::verify::{CHAIN_START, Hash, RawBatch, RawRow, chain_next, micros};
use event_log::{NewEvent, Position};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What the process that verifies is called with.
pub(crate) const CHILD: &str = "child-of-bundle";

const EVENTS: i64 = 1_000_000;
const BATCH: i64 = 1_000;
const ROUNDS: usize = 5;
const LOG: &str = "0197f3a0-c4d0-7b2e-8f11-2233445566aa";

fn signer() -> Signer {
    Signer::new(format!("opscenter/log/{LOG}").parse().expect("a name"), &[7; 32])
}

fn origin() -> String {
    format!("opscenter/log/{LOG}/epoch/1")
}

/// An event at a place, as the log would keep it.
fn row(position: i64, tenant: Uuid, batch: i64) -> RawRow {
    let at = "2026-11-21T08:00:00Z".parse().expect("a moment");
    let number = usize::try_from(position).unwrap_or_default();
    let NewEvent { type_name, schema_version, event_id, actor, causation, meta, payload, .. } =
        new_event(tenant, None, &usage(number), at);
    let mut row = RawRow {
        position,
        tenant,
        stream: None,
        stream_version: None,
        type_name: type_name.into_owned(),
        schema_version,
        event_id,
        // Time goes on from batch to batch.
        recorded_at: at + Duration::from_micros(batch.unsigned_abs()),
        occurred_at: at,
        actor,
        causation,
        correlation: None,
        meta,
        payload,
        meta_salt: vec![1; 16],
        payload_salt: vec![2; 16],
        subjects: Vec::new(),
        event_hash: Vec::new(),
        payload_commit: None,
        meta_commit: None,
    };
    row.event_hash = row.hash().to_vec();
    row
}

/// Writes the bundle.
fn write(path: &Path) {
    let tenant = Uuid::now_v7();
    let manifest = Manifest {
        form: Manifest::FORM,
        origin: origin(),
        log: LOG.parse().expect("an id"),
        scope: Scope::All,
        from: 1,
        to: EVENTS,
        size: EVENTS.unsigned_abs(),
        bodies: true,
        replay: false,
        created_at: "2026-11-21T08:00:00Z".to_owned(),
    };
    let file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
    let mut writer = Writer::begin(file, &manifest).expect("a bundle");
    let (mut chain, mut leaves) = (CHAIN_START, Range::default());
    for batch in 0..EVENTS / BATCH {
        let first = batch * BATCH + 1;
        let rows: Vec<RawRow> =
            (first..first + BATCH).map(|position| row(position, tenant, batch)).collect();
        let hashes: Vec<Hash> = rows.iter().map(RawRow::hash).collect();
        let recorded_at = rows[0].recorded_at;
        let count = i32::try_from(BATCH).expect("a small number");
        let previous = chain;
        chain = chain_next(&previous, first, count, micros(recorded_at), &hashes);
        let last = first + BATCH - 1;
        let batch = RawBatch { first, last, recorded_at, chain: chain.to_vec() };
        writer.batch(&batch, previous).expect("a batch");
        for (row, event_hash) in rows.iter().zip(hashes) {
            let entry = Entry {
                position: Position(row.position),
                tenant_sequence: row.position,
                batch_first: Position(first),
                batch_count: count,
                recorded_at_micros: micros(recorded_at),
                stream_version: 0,
                event_hash,
            };
            leaves.push(entry.leaf());
            writer.event(entry, row, true).expect("an event");
        }
    }
    let mut organizations = Organizations::default();
    organizations.set(tenant, EVENTS);
    let size = EVENTS.unsigned_abs();
    let tenants = organizations.root();
    let text = Checkpoint::of_log(&origin(), size, leaves.root(), &tenants, &chain);
    let text = text.expect("a checkpoint").to_string();
    let note = Note::new(&text, vec![signer().sign(&text)]).expect("a note");
    writer.checkpoint(&note.to_string()).expect("a checkpoint");
    writer.finish().expect("an end");
}

struct Nobody;

impl Fold for Nobody {
    fn begin(&mut self, _: &Manifest) {}
    fn figures(&mut self, _: &[u8]) {}
    fn event(&mut self, _: &Seen<'_>) {}
}

/// Verifies a bundle and prints its peak of memory in KiB.
pub(crate) fn child(arguments: &[String]) {
    let path = arguments.first().expect("a file");
    let policy = Policy::of_logs(vec![signer().verifier().clone()]);
    let begun = Instant::now();
    let outcome = verify(File::open(path).expect("the bundle"), &policy, &mut Nobody);
    let outcome = outcome.expect("to read it");
    let took = begun.elapsed();
    assert!(outcome.fault.is_none(), "{:?}", outcome.fault);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    println!("{} {}", took.as_micros(), peak.trim().trim_end_matches(" kB"));
}

/// How long one pass of SHA-256 over a file takes.
fn hashed(path: &Path) -> Duration {
    let (mut file, mut part) = (File::open(path).expect("the bundle"), vec![0; 1 << 20]);
    let (begun, mut hash) = (Instant::now(), Sha256::new());
    loop {
        let read = file.read(&mut part).expect("to read it");
        if read == 0 {
            break;
        }
        hash.update(&part[..read]);
    }
    assert_ne!(hash.finalize()[..], [0; 32]);
    begun.elapsed()
}

fn per_second(time: Duration) -> f64 {
    f64::from(u32::try_from(EVENTS).unwrap_or_default()) / time.as_secs_f64()
}

/// Verifies the same bundle again and again.
pub(crate) fn verified(report: &mut Report) {
    let path = folder().join(format!("bench-{}.bundle", std::process::id()));
    write(&path);
    let (mut rounds, mut peak) = (Vec::new(), 0_u64);
    for _ in 0..ROUNDS {
        let baseline = hashed(&path);
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program).arg(CHILD).arg(&path).output().expect("to verify");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut figures = said.split_whitespace().filter_map(|figure| figure.parse::<u64>().ok());
        let took = Duration::from_micros(figures.next().expect("how long it took"));
        peak = peak.max(figures.next().expect("its memory"));
        rounds.push((per_second(baseline), per_second(took)));
    }
    let _gone = std::fs::remove_file(&path);
    let name = "verify a bundle: 1,000,000 events with bodies";
    report.ratio(name, "events/s", &rounds, Target::None);
    let mut rates: Vec<f64> = rounds.iter().map(|round| round.1).collect();
    rates.sort_by(f64::total_cmp);
    let middle = rates[rates.len() / 2];
    report.figure(
        "verify a bundle, target 300,000 events/s and 200 MiB",
        &format!("{middle:.0} events/s, peak {} MiB", peak / 1024),
    );
}
