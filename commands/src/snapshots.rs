//! Snapshots of aggregates with long streams: what makes loading and looking back quick, and what
//! may be thrown away at any moment (docs/decisions/0045).
//!
//! They are made beside the commands, from events that are on disk and from nothing else, never
//! from a state in memory: so one is always what a fold of the log gives. One is used only when it
//! was left by the code that runs here, carries the seal that only the holder of the master key can
//! make, and ends with an event that the log holds under the same hash. Everything else is as good
//! as none, and whatever goes wrong with one costs time and is no error of anybody's command.

use crate::failure::Failure;
use crate::loader::{Loaded, fold_into};
use domain::{Aggregate, Event, OfAnotherKind};
use event_log::{EventLog, KeptSnapshot, KeyRing, Position, ReadError, Snapshot, StreamId};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// By how many events a stream grows before its state is kept again.
pub(crate) const EVERY: i64 = 500;
/// How many snapshots of one stream are kept at most, beside the newest.
const KEPT_MAX: i64 = 32;
/// A state beyond this many bytes is not kept: reading it would cost what reading events costs.
const STATE_BYTES_MAX: usize = 4 << 20;
const SEAL_BYTES: usize = 32;

/// The hash of the code that folds; see `build.rs`.
const FOLDED_BY: &str = env!("OPS_FOLDED_BY");

type Hash = [u8; 32];

/// Leaves snapshots and finds them again.
#[derive(Clone)]
pub(crate) struct Snapshots {
    log: EventLog,
    keys: KeyRing,
    /// One at a time: they are work for quiet moments.
    turn: Arc<Semaphore>,
}

/// How far apart the snapshots of a stream lie that are kept beside the newest: [`EVERY`] while it
/// is short, doubled as it grows, so that their number stays the same.
fn apart(version: i64) -> i64 {
    let mut apart = EVERY;
    while version / apart > KEPT_MAX {
        apart = apart.saturating_mul(2);
    }
    apart
}

/// What tells states of one kind and this code from all others.
fn reducer<A: Aggregate>() -> Hash {
    let hasher = Sha256::new().chain_update(FOLDED_BY);
    hasher.chain_update([0]).chain_update(A::KIND).finalize().into()
}

impl Snapshots {
    pub(crate) fn new(log: EventLog, keys: KeyRing) -> Self {
        Self { log, keys, turn: Arc::new(Semaphore::new(1)) }
    }

    /// The newest state that was kept of a stream at or before a position, if any is to be trusted.
    pub(crate) async fn newest<A: Aggregate>(
        &self,
        stream: &StreamId,
        at: Position,
    ) -> Option<Loaded<A>> {
        let found = self.search(stream, at).await;
        found.unwrap_or_else(|error| {
            tracing::debug!(%stream, %error, "snapshots cannot be read; folding from the start");
            None
        })
    }

    async fn search<A: Aggregate>(
        &self,
        stream: &StreamId,
        mut at: Position,
    ) -> Result<Option<Loaded<A>>, ReadError> {
        let reducer = reducer::<A>();
        while let Some(kept) = self.log.snapshot(stream, &reducer, at).await? {
            let before = Position(kept.snapshot.position.0 - 1);
            if let Some(loaded) = self.open(stream, kept) {
                return Ok(Some(loaded));
            }
            tracing::warn!(%stream, "a snapshot is damaged; it is ignored");
            at = before;
        }
        Ok(None)
    }

    fn open<A: Aggregate>(&self, stream: &StreamId, kept: KeptSnapshot) -> Option<Loaded<A>> {
        let KeptSnapshot { snapshot, event_hash } = kept;
        let (seal, state) = snapshot.state.split_at_checked(SEAL_BYTES)?;
        let of = (snapshot.version, snapshot.position);
        if seal != self.seal::<A>(stream, of, &event_hash, state) {
            return None;
        }
        let state = serde_json::from_slice(state).ok()?;
        Some(Loaded { state, version: snapshot.version })
    }

    /// Nobody without the master key can make a state that is believed here.
    fn seal<A: Aggregate>(
        &self,
        stream: &StreamId,
        (version, position): (i64, Position),
        event_hash: &[u8],
        state: &[u8],
    ) -> Hash {
        let mut bytes = Vec::with_capacity(state.len() + 200);
        bytes.extend_from_slice(&reducer::<A>());
        bytes.extend_from_slice(&Sha256::digest(stream.as_str()));
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(&position.0.to_be_bytes());
        bytes.extend_from_slice(&Sha256::digest(event_hash));
        bytes.extend_from_slice(state);
        self.keys.blind("snapshot", &bytes)
    }

    /// Begins to keep states of a stream up to its end, beside whatever goes on; false when others
    /// are being kept at this moment.
    pub(crate) fn leave<A>(&self, stream: &StreamId) -> bool
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else { return false };
        let (snapshots, stream) = (self.clone(), stream.clone());
        tokio::spawn(async move {
            if let Err(error) = snapshots.catch_up::<A>(&stream).await {
                tracing::debug!(%stream, %error, "no snapshot was left; it is tried again later");
            }
            drop(turn);
        });
        true
    }

    /// Folds on from the newest state that was kept and keeps every [`EVERY`]th from there on.
    async fn catch_up<A>(&self, stream: &StreamId) -> Result<(), Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let newest = self.newest::<A>(stream, Position(i64::MAX)).await;
        let mut loaded = newest.unwrap_or(Loaded { state: A::default(), version: 0 });
        loop {
            let page = self.log.read_stream_page_settled(stream, loaded.version, EVERY).await?;
            let full = i64::try_from(page.len()).is_ok_and(|count| count == EVERY);
            let Some(last) = page.last().filter(|_| full) else { return Ok(()) };
            loaded = fold_into(loaded, &page)?;
            self.keep(stream, &loaded, last.position).await?;
        }
    }

    async fn keep<A: Aggregate>(
        &self,
        stream: &StreamId,
        loaded: &Loaded<A>,
        position: Position,
    ) -> Result<(), Failure> {
        // A person's data in the clear would fail here: it cannot be written.
        let state =
            serde_json::to_vec(&loaded.state).map_err(|error| Failure::Internal(error.into()))?;
        if state.len() > STATE_BYTES_MAX {
            tracing::debug!(%stream, bytes = state.len(), "too large a state for a snapshot");
            return Ok(());
        }
        let Some(hash) = self.log.event_hash(position).await? else { return Ok(()) };
        let version = loaded.version;
        let mut sealed = self.seal::<A>(stream, (version, position), &hash, &state).to_vec();
        sealed.extend_from_slice(&state);
        let snapshot = Snapshot { version, position, state: sealed };
        let (reducer, apart) = (reducer::<A>(), apart(version));
        Ok(self.log.leave_snapshot(stream, &reducer, &snapshot, apart).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::{EVERY, KEPT_MAX, apart};

    #[test]
    fn the_number_of_snapshots_stays_bounded_and_none_kept_is_made_anew() {
        let (mut kept, mut before) = (Vec::new(), EVERY);
        for version in (1..=4_000).map(|number| number * EVERY) {
            let apart = apart(version);
            assert_eq!(apart % before, 0, "what is kept was kept before");
            before = apart;
            kept.retain(|kept| kept % apart == 0);
            kept.push(version);
            assert!(i64::try_from(kept.len()).is_ok_and(|count| count <= KEPT_MAX + 1));
        }
        assert_eq!(kept.len(), 32, "{kept:?}");
    }
}
