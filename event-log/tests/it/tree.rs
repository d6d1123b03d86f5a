//! The Merkle tree over the log: derived from what is recorded, proved, and noticed when it is not.

use crate::world::{TENANT, accepted, command, loose, on, usage};
use event_log::evidence::Hash;
use event_log::tree::edge::Edge;
use event_log::tree::entry::Entry;
use event_log::tree::grow::GrowError;
use event_log::tree::hash::leaf_hash;
use event_log::tree::organizations::Organizations;
use event_log::tree::proof::{verify_consistency, verify_inclusion};
use event_log::{CommitMode, EventLog, NewEvent, Position};
use std::collections::HashMap;
use test_postgres::Server;
use uuid::Uuid;

const OTHER: Uuid = Uuid::from_u128(8);

/// Appends events of two organizations in batches of several sizes; answers how many there are.
async fn furnish(log: &EventLog, rounds: usize) -> u64 {
    let of = |tenant, event: NewEvent| NewEvent { tenant, ..event };
    for round in 0..rounds {
        let name = format!("stream {}", round % 7);
        let mut events = vec![of(TENANT, on(&name, "one")), of(OTHER, loose("two"))];
        events.extend((0..round % 5).map(|_| of(TENANT, loose("more"))));
        accepted(log, command(events)).await;
    }
    let ids: Vec<String> = (0..700).map(|id| id.to_string()).collect();
    let records: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "{}")).collect();
    log.append_usage(usage("meter", &records)).await.unwrap();
    log.head().await.unwrap().0.unsigned_abs()
}

/// The tree as the rows of the log give it, without anything that is stored of it.
pub(crate) struct FromRows {
    pub(crate) entries: Vec<Entry>,
    pub(crate) roots: Vec<Hash>,
    organizations: Vec<HashMap<Uuid, i64>>,
}

pub(crate) async fn from_rows(log: &EventLog) -> FromRows {
    let (mut edge, mut counts) = (Edge::default(), HashMap::<Uuid, i64>::new());
    let mut made = FromRows { entries: vec![], roots: vec![edge.root()], organizations: vec![] };
    made.organizations.push(counts.clone());
    for batch in log.batches(Position::START, 100_000).await.unwrap() {
        for row in log.raw_rows_of(&batch).await.unwrap() {
            let count = counts.entry(row.tenant).or_default();
            *count += 1;
            let entry = Entry {
                position: Position(row.position),
                tenant_sequence: *count,
                batch_first: Position(batch.first),
                batch_count: i32::try_from(batch.last - batch.first + 1).unwrap(),
                recorded_at_micros: row.recorded_at.timestamp_micros(),
                stream_version: row.stream_version.unwrap_or(0),
                event_hash: row.hash(),
            };
            edge.push(leaf_hash(&entry.to_bytes()));
            made.entries.push(entry);
            made.roots.push(edge.root());
            made.organizations.push(counts.clone());
        }
    }
    made
}

#[tokio::test]
async fn i16_roots_proofs_and_entries_are_those_that_the_rows_give_at_every_size() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Adaptive).await;
    furnish(&log, 20).await;
    assert_eq!(log.grow_tree().await.unwrap(), log.head().await.unwrap().0.unsigned_abs());
    let size = furnish(&log, 90).await;
    // A second start goes on where the first ended.
    assert_eq!(log.grow_tree().await.unwrap(), size);
    let made = from_rows(&log).await;
    for at in (0..=size).step_by(37).chain([1, 255, 256, 257, 512, size]) {
        let place = usize::try_from(at).unwrap();
        let root = log.tree_root(at).await.unwrap();
        assert_eq!(root, made.roots[place], "size {at}");
        let consistency = log.consistency(at, size).await.unwrap();
        let now = made.roots[made.roots.len() - 1];
        verify_consistency(at, size, &root, &now, &consistency).unwrap();
        if at > 0 {
            let inclusion =
                log.inclusion(Position(i64::try_from(at).unwrap()), size).await.unwrap();
            assert_eq!(inclusion.entry, made.entries[place - 1]);
            verify_inclusion(at - 1, size, &inclusion.entry.leaf(), &now, &inclusion.path).unwrap();
        }
    }
}

#[tokio::test]
async fn every_organization_proves_how_many_events_it_has_at_any_size() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Adaptive).await;
    let size = furnish(&log, 40).await;
    log.grow_tree().await.unwrap();
    let made = from_rows(&log).await;
    for at in [0, 1, 2, 50, size / 2, size - 1, size] {
        let counts = &made.organizations[usize::try_from(at).unwrap()];
        let mut expected = Organizations::default();
        counts.iter().for_each(|(tenant, count)| expected.set(*tenant, *count));
        let root = log.organizations(at).await.unwrap().root();
        assert_eq!(root, expected.root(), "size {at}");
        for tenant in [TENANT, OTHER, Uuid::from_u128(9)] {
            let proof = log.count_proof(tenant, at).await.unwrap();
            assert_eq!(proof.count, counts.get(&tenant).copied().unwrap_or_default());
            assert!(proof.verify(tenant, &root));
        }
    }
}

#[tokio::test]
async fn two_growers_at_once_make_the_tree_of_one() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Adaptive).await;
    let other = server.open(CommitMode::Adaptive).await;
    let mut size = 0;
    for _ in 0..3 {
        size = furnish(&log, 30).await;
        let (one, two) = tokio::join!(log.grow_tree(), other.grow_tree());
        assert_eq!((one.unwrap(), two.unwrap()), (size, size));
    }
    assert_eq!(log.tree_root(size).await.unwrap(), *from_rows(&log).await.roots.last().unwrap());
}

#[tokio::test]
async fn the_tree_does_not_grow_over_a_batch_that_was_changed() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Adaptive).await;
    let size = furnish(&log, 3).await;
    log.grow_tree().await.unwrap();
    let receipt = accepted(&log, command(vec![loose("kept"), loose("changed")])).await;
    server
        .execute(
            "set session_replication_role = replica;
             update event_log.log set event_hash = sha256('other')
              where position = (select max(position) from event_log.log)",
        )
        .await;
    let error = log.grow_tree().await.unwrap_err();
    assert!(
        matches!(error, GrowError::Changed { position } if position == receipt.first_position),
        "{error}"
    );
    assert_eq!(log.tree_size().await.unwrap(), size);
}
