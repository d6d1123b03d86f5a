//! Loads aggregates by folding their streams, and keeps the newest states it has seen.
//!
//! A kept state may be behind what other processes appended. That is safe for a yes, because the
//! append checks the version it was decided at; a no is only given on a state that was just read.
//! Only what is on disk is folded: a version that a crash took back would come again as another.
//! A stream that is not kept here is folded from its newest snapshot on, if it has one; one that
//! grew far beyond it gets another, beside the command that made it grow (`snapshots.rs`).

use crate::failure::Failure;
use crate::snapshots::{EVERY, Snapshots};
use domain::{Aggregate, Event, OfAnotherKind};
use event_log::{EventLog, KeyRing, Position, Recorded, StreamId};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many states are kept; beyond it, half of them are let go.
const KEPT_MAX: usize = 20_000;

/// How new a state has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Whatever is kept; read when nothing is.
    Kept,
    /// As it is in the log now.
    Now,
}

/// A state and the version of its stream that it is of; zero when there is no such stream.
#[derive(Clone, Debug)]
pub(crate) struct Loaded<A> {
    pub(crate) state: A,
    pub(crate) version: i64,
}

struct Kept {
    version: i64,
    /// Up to where its snapshots are taken care of.
    snapshot: i64,
    state: Arc<dyn Any + Send + Sync>,
}

/// Loads aggregates; shared by everything that decides in this process.
pub(crate) struct Loader {
    log: EventLog,
    snapshots: Snapshots,
    kept: Mutex<HashMap<StreamId, Kept>>,
}

/// The name of an aggregate's stream; a kind without ids has one stream of its own name.
pub(crate) fn stream_of<A: Aggregate>(id: &str) -> Result<StreamId, Failure> {
    let name = if id.is_empty() { StreamId::parse(A::KIND) } else { StreamId::new(A::KIND, id) };
    Ok(name?)
}

impl Loader {
    pub(crate) fn new(log: EventLog, keys: KeyRing) -> Self {
        let snapshots = Snapshots::new(log.clone(), keys);
        Self { log, snapshots, kept: Mutex::default() }
    }

    /// The state of one aggregate.
    pub(crate) async fn load<A>(&self, id: &str, freshness: Freshness) -> Result<Loaded<A>, Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let stream = stream_of::<A>(id)?;
        let kept = self.recall::<A>(&stream);
        let known = match kept {
            Some(loaded) if freshness == Freshness::Kept => return Ok(loaded),
            Some(loaded) => loaded,
            None => self.beginning_of::<A>(&stream).await,
        };
        let news = self.log.read_stream_settled(&stream, known.version).await?;
        if news.is_empty() {
            return Ok(known);
        }
        let loaded = fold_into(known, &news)?;
        self.keep(&stream, &loaded);
        Ok(loaded)
    }

    /// The state of one aggregate as it was at a position.
    pub(crate) async fn load_at<A>(&self, id: &str, at: Position) -> Result<Loaded<A>, Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let stream = stream_of::<A>(id)?;
        let newest = match self.version_kept(&stream) {
            Some(version) if version < EVERY => None,
            Some(_) | None => self.snapshots.newest::<A>(&stream, at).await,
        };
        let begin = newest.unwrap_or(Loaded { state: A::default(), version: 0 });
        let events = self.log.read_stream(&stream, begin.version, Some(at)).await?;
        fold_into(begin, &events)
    }

    /// Where folding begins that nothing in memory helps.
    async fn beginning_of<A: Aggregate>(&self, stream: &StreamId) -> Loaded<A> {
        let newest = self.snapshots.newest::<A>(stream, Position(i64::MAX)).await;
        let Some(loaded) = newest else {
            return Loaded { state: A::default(), version: 0 };
        };
        let state: Arc<dyn Any + Send + Sync> = Arc::new(loaded.state.clone());
        let (version, snapshot) = (loaded.version, loaded.version);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(stream.clone()).or_insert(Kept { version, snapshot, state });
        drop(kept);
        loaded
    }

    fn version_kept(&self, stream: &StreamId) -> Option<i64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(stream).map(|kept| kept.version)
    }

    fn recall<A: Aggregate>(&self, stream: &StreamId) -> Option<Loaded<A>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(stream)?;
        let state = Arc::clone(&found.state).downcast::<A>().ok()?;
        let version = found.version;
        drop(kept);
        Some(Loaded { state: (*state).clone(), version })
    }

    /// Keeps a state, unless a newer one is kept already. It must be of events that are on disk.
    pub(crate) fn keep<A>(&self, stream: &StreamId, loaded: &Loaded<A>)
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let state: Arc<dyn Any + Send + Sync> = Arc::new(loaded.state.clone());
        let version = loaded.version;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.get(stream);
        if known.is_some_and(|known| known.version >= version) {
            return;
        }
        let mut snapshot = known.map_or(0, |known| known.snapshot);
        if version - snapshot >= EVERY && self.snapshots.leave::<A>(stream) {
            snapshot = version - version % EVERY;
        }
        if kept.len() >= KEPT_MAX {
            let mut odd = false;
            kept.retain(|_, _| {
                odd = !odd;
                odd
            });
        }
        kept.insert(stream.clone(), Kept { version, snapshot, state });
    }
}

/// Takes recorded events of one stream into a state.
pub(crate) fn fold_into<A>(loaded: Loaded<A>, events: &[Recorded]) -> Result<Loaded<A>, Failure>
where
    A: Aggregate,
    A::Event: TryFrom<Event, Error = OfAnotherKind>,
{
    events.iter().try_fold(loaded, |loaded, recorded| {
        let event = Event::decode(&recorded.type_name, recorded.schema_version, &recorded.payload)?;
        let event = A::Event::try_from(event).map_err(|error| Failure::Internal(error.into()))?;
        let version = recorded.stream_version.unwrap_or(loaded.version);
        Ok(Loaded { state: loaded.state.evolve(&event), version })
    })
}
