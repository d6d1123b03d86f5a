//! The walk over batches and their rows: what was verified so far, recorded purges, and what was
//! noted before, outside the database.

use super::describe::describe;
use super::{Beside, Finding, Group, chain_of, tree};
use domain::retention::policy::Event as Retention;
use event_log::verify::{Hash, RawBatch, RawRow, Verifier};

/// The stored name of the record of a purge.
const PURGE: &str = "bodies_purged";
/// Far more than any append records at once.
const BATCH_EVENTS_MAX: i64 = 100_000;

/// Whether a batch claims a number of events that an append can have recorded.
pub(super) fn is_possible(batch: &RawBatch) -> bool {
    (0..BATCH_EVENTS_MAX).contains(&batch.last.saturating_sub(batch.first))
}

/// What was verified so far.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) verifier: Verifier,
    pub(super) batches: u64,
    pub(super) expected: Expected,
    pub(super) beside: Beside,
    pub(super) tree: Option<tree::Looked>,
}

/// What was noted before, outside the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) head: Option<i64>,
    pub(super) chain: Option<Hash>,
}

impl Walk {
    pub(super) fn take(&mut self, (batch, rows): &Group) -> Option<Finding> {
        if batch.first == self.verifier.position().next().0 && !is_possible(batch) {
            let what = format!(
                "the batch that begins here claims to end at {}, as no append does",
                batch.last
            );
            return Some(Finding::changed(batch.first, what));
        }
        if let Err(finding) = self.verifier.batch(batch, rows) {
            return Some(describe(&finding, batch));
        }
        self.batches += 1;
        if let Some(finding) = self.take_purges(rows) {
            return Some(finding);
        }
        let Expected { head: Some(head), chain } = self.expected else {
            return None;
        };
        if (batch.first..batch.last).contains(&head) {
            let what = format!(
                "the expected head is inside the batch {} to {}: history was written anew",
                batch.first, batch.last
            );
            return Some(Finding::changed(head, what));
        }
        let differs = chain.is_some_and(|chain| chain != self.verifier.chain());
        let what = "the chain here is not the expected one: history up to here was written anew";
        (head == batch.last && differs).then(|| Finding::changed(head, what))
    }

    /// Recorded purges account for bodies that are gone.
    fn take_purges(&mut self, rows: &[RawRow]) -> Option<Finding> {
        rows.iter().filter(|row| row.type_name == PURGE).find_map(|row| {
            let wrong = |problem: &str| {
                Finding::changed(row.position, format!("the record of a purge {problem}"))
            };
            let event = domain::Event::decode(PURGE, row.schema_version, &row.payload);
            let Ok(domain::Event::Retention(Retention::BodiesPurged(purge))) = event else {
                return Some(wrong("cannot be read"));
            };
            let Ok(digest) = chain_of(&purge.digest) else {
                return Some(wrong("has no digest"));
            };
            let runs: Vec<_> = purge.runs.iter().map(|run| (run.first, run.last)).collect();
            self.verifier.cover(&runs, &digest).err().map(|finding| {
                let at = row.position;
                let what = format!("the purge recorded at {at} does not cover just these bodies");
                Finding::changed(finding.position.0, what)
            })
        })
    }

    /// Compares the end with what was noted before.
    pub(super) fn compare_end(&self) -> Option<Finding> {
        if let Err(finding) = self.verifier.finish() {
            let what = "the event's body is gone and no recorded purge says so";
            return Some(Finding::changed(finding.position.0, what));
        }
        let end = self.verifier.position().0;
        match self.expected {
            Expected { head: Some(head), .. } if head > end => Some(Finding::missing(
                end + 1,
                format!(
                    "the log ends before it, and {head} was the head once: its tail was dropped"
                ),
            )),
            Expected { head: None, chain: Some(chain) } if chain != self.verifier.chain() => {
                let what = "the chain at the end of the log is not the expected one; it has \
                            grown, or its tail was dropped (name the head with --expect-head)";
                Some(Finding::changed(end, what))
            }
            Expected { .. } => None,
        }
    }
}
