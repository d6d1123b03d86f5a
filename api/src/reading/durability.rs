//! An answer leaves when what it derives from is on disk.
//!
//! What was appended can be seen a moment before it is on disk, and a crash in that moment takes it
//! back. Events reach the disk in their order, so one number says it all: everything up to it is
//! safe. While nothing is appended it is the head, and asking costs nothing; else those who wait
//! share one flush.

use crate::problem::Problem;
use event_log::{EventLog, Position};
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Mutex;

/// What is known to be on disk.
#[derive(Debug, Default)]
pub(crate) struct Durability {
    known: AtomicI64,
    turn: Mutex<()>,
}

impl Durability {
    /// Somebody was told that everything up to a position is on disk.
    pub(crate) fn is_on_disk(&self, position: Position) {
        self.known.fetch_max(position.0, Ordering::Relaxed);
    }

    fn knows(&self, position: Position) -> bool {
        self.known.load(Ordering::Relaxed) >= position.0
    }

    /// Returns once everything up to a position that was seen is on disk.
    pub(crate) async fn reach(&self, log: &EventLog, position: Position) -> Result<(), Problem> {
        if self.knows(position) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        if self.knows(position) {
            return Ok(());
        }
        // Read before the flush: what comes later is not covered by it.
        let head = log.head().await?;
        log.settle().await?;
        self.is_on_disk(head);
        Ok(())
    }
}
