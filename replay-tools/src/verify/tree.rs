//! The Merkle tree over the log, and what was signed of it, compared with the tree that the events
//! give.
//!
//! The tree is grown again from the rows of the log, in the memory of a page. On the way every full
//! tile is compared with the one that is stored. Where a checkpoint was signed, the root, the
//! counts of organizations and the chain are compared with what it says, and its signatures with
//! the keys. Where the stored tree ends, so are its edge and all counts. All of it is one snapshot
//! of the database.
//!
//! A log that somebody cut off, set back to an older copy, or went on from differently is whole in
//! itself. It is found by what was signed and does not fit: in the tables, in the guard's file, or
//! in a checkpoint that was kept elsewhere.

mod grown;
mod known;
mod signed;
mod stored;

use super::{Finding, Kind};
use crate::Failure;
use clap::Args;
use event_log::note::VerifierKey;
use grown::Growing;
pub(super) use known::Known;
use serde::Serialize;
use signed::Judge;
use sqlx::postgres::{PgConnection, PgPool};
use std::path::PathBuf;
use stored::Stored;

/// One moment of everything, however long it takes.
const BEGIN: &str = "begin transaction isolation level repeatable read, read only; \
                     set local statement_timeout = 0";

/// What is known of what was signed, beyond the data folder.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub(crate) struct Options {
    /// A key that signs checkpoints or cosigns them, as NAME+ID+BASE64; may be given again. Those
    /// of the data folder are known
    #[arg(long = "key", value_name = "KEY", conflicts_with = "from")]
    keys: Vec<VerifierKey>,
    /// A signed checkpoint that was kept elsewhere: the log must begin with what it says
    #[arg(long = "expect-checkpoint", value_name = "FILE")]
    #[arg(conflicts_with_all = ["from", "log_only"])]
    checkpoints: Vec<PathBuf>,
    /// Go on where the keys or the guard of the data folder are there and cannot be read: what they
    /// would tell is not known then
    #[arg(long, conflicts_with = "from")]
    accept_unreadable: bool,
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Looked {
    /// How many events the stored tree has.
    size: i64,
    /// How many signed checkpoints were compared.
    checkpoints: u64,
    /// Of how many of them signatures of the log were verified.
    verified: u64,
    /// How many cosignatures there are.
    cosignatures: u64,
    /// How many of them were verified.
    cosignatures_verified: u64,
    /// Up to which position the guard remembers, where there is one.
    guarded: Option<i64>,
}

impl Looked {
    /// What was compared, where there is anything: a line each.
    pub(super) fn in_words(&self) -> Option<String> {
        let Self { size, checkpoints, verified, cosignatures, cosignatures_verified, guarded } =
            *self;
        if size == 0 && checkpoints == 0 && guarded.is_none() {
            return None;
        }
        let guard = match guarded {
            Some(position) => format!(
                "It is the log that was signed last, up to {position}, as log-guard.json remembers."
            ),
            None => {
                "It was not compared with log-guard.json, which is not here or cannot be read: \
                     that it was not cut off or set back is known only up to the last checkpoint."
                    .to_owned()
            }
        };
        Some(format!(
            "The tree over its first {size} events is the one they give.\n\
             Checkpoints that say what the log says: {checkpoints}, signatures verified: \
             {verified}.\n\
             Cosignatures: {cosignatures}, verified: {cosignatures_verified}.\n{guard}"
        ))
    }
}

/// The finding that counts: that the log ends early explains all the others, and otherwise the
/// lowest position is told.
#[derive(Debug, Default)]
pub(super) struct Lowest(Option<Finding>);

impl Lowest {
    pub(super) fn offer(&mut self, findings: impl IntoIterator<Item = Finding>) {
        let rank = |finding: &Finding| (finding.kind != Kind::Missing, finding.position);
        for finding in findings {
            if self.0.as_ref().is_none_or(|held| rank(&finding) < rank(held)) {
                self.0 = Some(finding);
            }
        }
    }

    pub(super) fn found(self) -> Option<Finding> {
        self.0
    }
}

/// Compares all of it with the log as it is now.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn check(pool: &PgPool, known: &Known) -> Result<(Looked, Lowest), Failure> {
    let mut snapshot = pool.begin_with(BEGIN).await?;
    let connection: &mut PgConnection = &mut snapshot;
    let mut lowest = Lowest::default();
    let head: i64 = sqlx::query_scalar("select coalesce(max(last), 0) from event_log.log_batch")
        .fetch_one(&mut *connection)
        .await?;
    let stored = Stored::read(connection).await?;
    lowest.offer(stored.strays(connection, head).await?);
    let mut judge = Judge::new(connection, known, head).await?;
    lowest.offer(judge.beyond(connection).await?);
    lowest.offer(stored.compare_signed(connection, head).await?);
    let mut growing = Growing::default();
    lowest.offer(stored.compare(&growing, 0));
    while growing.size() < head {
        let page = grown::Page::read(connection, growing.size(), head).await?;
        let to = page.to;
        judge.read_on(connection, growing.size(), to).await?;
        let mut tiles = Vec::new();
        for (row, batch) in page.rows() {
            let Some(filled) = growing.take(row, batch) else {
                lowest.offer([Finding::changed(growing.size() + 1, "no event can be read here")]);
                break;
            };
            tiles.extend(filled);
            lowest.offer(judge.at(&mut growing, batch));
            lowest.offer(stored.compare(&growing, batch.last));
        }
        lowest.offer(stored.compare_tiles(connection, &tiles).await?);
        if growing.size() < to {
            lowest.offer([Finding::changed(growing.size() + 1, "there is no event here")]);
            break;
        }
    }
    snapshot.rollback().await?;
    let looked = Looked { size: stored.size(), ..judge.looked() };
    Ok((looked, lowest))
}
