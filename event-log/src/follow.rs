//! Following the log: the next events, as soon as there are any.
//!
//! A notification only wakes; it never says what there is. Followers look by themselves every
//! 250 ms as well, so that a lost notification costs a quarter of a second and nothing else. One
//! listener serves all followers of a process.

use crate::{EventLog, Position, ReadError, Recorded};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Wakes followers when something was appended.
pub(crate) struct Bell {
    rings: watch::Receiver<()>,
    poll_floor: Duration,
    listener: AbortHandle,
}

impl Bell {
    /// Starts the listener.
    pub(crate) fn hang(pool: PgPool, poll_floor: Duration) -> Self {
        let (ring, rings) = watch::channel(());
        let listener = tokio::spawn(listen(pool, ring, poll_floor)).abort_handle();
        Self { rings, poll_floor, listener }
    }

    /// Rings after an append.
    pub(crate) fn rings(&self) -> watch::Receiver<()> {
        self.rings.clone()
    }

    /// Ends the listener; followers go on by looking.
    pub(crate) fn silence(&self) {
        self.listener.abort();
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.silence();
    }
}

async fn listen(pool: PgPool, ring: watch::Sender<()>, pause: Duration) {
    loop {
        if let Err(error) = listen_once(&pool, &ring).await {
            tracing::debug!(%error, "the listener broke off; followers look by themselves");
        }
        if pool.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn listen_once(pool: &PgPool, ring: &watch::Sender<()>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(false);
    listener.listen("event_log").await?;
    loop {
        listener.recv().await?;
        ring.send_replace(());
    }
}

/// Somebody who reads the log as it grows.
#[derive(Debug)]
pub struct Follower {
    log: EventLog,
    after: Position,
    rings: watch::Receiver<()>,
    poll_floor: Duration,
}

impl EventLog {
    /// Follows the log from after a position.
    #[must_use]
    pub fn follow(&self, after: Position) -> Follower {
        let bell = self.bell();
        let (rings, poll_floor) = (bell.rings.clone(), bell.poll_floor);
        Follower { log: self.clone(), after, rings, poll_floor }
    }
}

impl Follower {
    /// The next events, at least one and at most `limit`; waits until there are any. May be
    /// abandoned at any time: nothing is skipped.
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.next(limit, false).await
    }

    /// The same, all of them on disk: for whoever acts on them by a further append.
    pub async fn next_settled_page(&mut self, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.next(limit, true).await
    }

    async fn next(&mut self, limit: usize, settled: bool) -> Result<Vec<Recorded>, ReadError> {
        let (limit, end) = (limit.max(1), Position(i64::MAX));
        loop {
            // Marked as seen before looking: what is appended after the look rings again.
            self.rings.mark_unchanged();
            let page = match settled {
                true => self.log.read_settled(self.after, end, limit).await?,
                false => self.log.read(self.after, limit).await?,
            };
            if let Some(last) = page.last() {
                self.after = last.position;
                return Ok(page);
            }
            match tokio::time::timeout(self.poll_floor, self.rings.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                // The listener has ended; looking goes on at its own pace.
                Ok(Err(_)) => tokio::time::sleep(self.poll_floor).await,
            }
        }
    }

    /// Up to where this follower has read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.after
    }

    /// Goes on from after another position.
    pub fn seek(&mut self, after: Position) {
        self.after = after;
    }
}
