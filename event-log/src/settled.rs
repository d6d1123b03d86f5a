//! Reading what a crash cannot take back: for whoever acts on what they read by a further append.
//!
//! What was appended can be seen a moment before it is on disk. If the database crashes in that
//! moment, other events take the same positions and the same versions of streams; who remembers the
//! lost ones would go on as if they had happened. So one connection reads and then waits for the
//! disk: a crash in between breaks the connection, and there is no answer. What this process was
//! told to be on disk before it reads needs no waiting.

use crate::read::{flush, head, range, stream_page, stream_range};
use crate::{EventLog, Position, ReadError, Recorded, StreamId};
use sqlx::postgres::PgConnection;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Mutex;

/// Up to where the log is known to be on disk. Events reach it in their order, so one number says
/// it all.
#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    position: AtomicI64,
    /// Of those who wait for one flush together.
    turn: Mutex<()>,
}

impl OnDisk {
    /// Somebody was told so.
    pub(crate) fn reaches(&self, position: Position) {
        self.position.fetch_max(position.0, Ordering::Relaxed);
    }

    fn known(&self) -> Position {
        Position(self.position.load(Ordering::Relaxed))
    }
}

impl EventLog {
    /// Returns once everything that was visible before the call is on disk, with its last position.
    /// While nothing is appended that costs a look; else those who wait share one flush.
    pub async fn settle(&self) -> Result<Position, ReadError> {
        let on_disk = self.on_disk();
        let seen = self.head().await?;
        if on_disk.known() >= seen {
            return Ok(seen);
        }
        let _turn = on_disk.turn.lock().await;
        if on_disk.known() < seen {
            // Looked at again on the connection that waits: a crash in between would break it.
            let mut connection = self.pool().acquire().await?;
            let head = head(&mut connection).await?;
            flush(&mut connection).await?;
            on_disk.reaches(head);
        }
        Ok(seen)
    }

    /// Up to `limit` events after a position and up to another, in order; all of them on disk.
    pub async fn read_settled(
        &self,
        after: Position,
        to: Position,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        // Known before reading, so that it is about the events that are read.
        let known = self.on_disk().known();
        let mut connection = self.pool().acquire().await?;
        let mut events = range(&mut connection, after, to, limit).await?;
        self.settle_events(&mut connection, &events, known).await?;
        drop(connection);
        self.complete(&mut events).await?;
        Ok(events)
    }

    /// The events of a stream after a version; all of them on disk.
    pub async fn read_stream_settled(
        &self,
        stream: &StreamId,
        after_version: i64,
    ) -> Result<Vec<Recorded>, ReadError> {
        let known = self.on_disk().known();
        let mut connection = self.pool().acquire().await?;
        let mut events = stream_range(&mut connection, stream, after_version, None).await?;
        self.settle_events(&mut connection, &events, known).await?;
        drop(connection);
        self.complete(&mut events).await?;
        Ok(events)
    }

    /// Up to `limit` events of a stream after a version; all of them on disk.
    pub async fn read_stream_page_settled(
        &self,
        stream: &StreamId,
        after_version: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, ReadError> {
        let known = self.on_disk().known();
        let mut connection = self.pool().acquire().await?;
        let mut events = stream_page(&mut connection, stream, after_version, limit).await?;
        self.settle_events(&mut connection, &events, known).await?;
        drop(connection);
        self.complete(&mut events).await?;
        Ok(events)
    }

    async fn settle_events(
        &self,
        connection: &mut PgConnection,
        events: &[Recorded],
        known: Position,
    ) -> Result<(), ReadError> {
        if let Some(last) = events.last().map(|event| event.position).filter(|it| *it > known) {
            flush(connection).await?;
            self.on_disk().reaches(last);
        }
        Ok(())
    }
}
