//! The runtime: one reader of the log per process, which keeps every read model up to date.
//!
//! A page is read and decoded once and given to all read models; each takes it in by itself, so
//! that one that stops does not hold up the others. Any number of processes may run this at once:
//! the checkpoint's compare-and-set decides who did the work.
//!
//! What has to be made anew is made beside that ([`crate::renewal`]).

use crate::control::{self, Standing, State};
use crate::page::{Decoder, Page, chain};
use crate::progress::Progress;
use crate::projection::Definition;
use crate::reader::{BEGIN, Outcome, Reader};
use crate::rebuild::RebuildError;
use crate::renewal::{Renewal, is_newer, is_ours};
use crate::rows_sql::RowsError;
use event_log::{EventLog, Follower, ReadError};
use futures_util::{FutureExt, StreamExt, stream};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How many read models write at once: each needs a connection.
const WRITERS: usize = 3;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many events are taken in at once.
    pub page_events: usize,
    /// A read model that is further behind, and by most of the log, is made anew.
    pub rebuild_events: i64,
    /// How often it is looked whether anything changed that no event tells of.
    pub look: Duration,
    /// How long to wait after a failure.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page_events: 2_000,
            rebuild_events: 50_000,
            look: Duration::from_secs(1),
            pause: Duration::from_millis(200),
        }
    }
}

/// Keeps read models up to date until it is stopped.
#[derive(Debug)]
pub struct Runtime {
    progress: Progress,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Runtime {
    /// Makes the tables that are missing and starts following the log.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(log: &EventLog) -> Result<Self, sqlx::Error> {
        Self::start_with(log, crate::definitions(), Options::default()).await
    }

    /// The same with read models and options of one's own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start_with(
        log: &EventLog,
        definitions: Vec<Definition>,
        options: Options,
    ) -> Result<Self, sqlx::Error> {
        control::install(log.pool(), &definitions).await?;
        for definition in &definitions {
            // This program may know what the one before it did not.
            control::resume(log.pool(), definition.name).await?;
        }
        let progress = Progress::of(log.pool().clone());
        let (stop, stopped) = watch::channel(false);
        let (log, progress) = (log.clone(), progress.clone());
        let renewal = Renewal::default();
        let work = Work { log, definitions, options, progress: progress.clone(), renewal, stopped };
        let task = tokio::spawn(work.run());
        Ok(Self { progress, stop, task })
    }

    /// How far the read models are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Finishes the page at hand and stops.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the projections ended badly");
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Not cut off: a connection in the middle of a transaction would go back to the pool.
        self.stop.send_replace(true);
    }
}

/// Why a stretch of work ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Rows(#[from] RowsError),
    #[error(transparent)]
    Renewal(#[from] RebuildError),
}

impl From<sqlx::Error> for Broken {
    fn from(error: sqlx::Error) -> Self {
        Self::Rows(error.into())
    }
}

/// How a stretch of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was asked to stop.
    Stopped,
    /// Something changed: what is there has to be looked at again.
    Changed,
}

struct Work {
    log: EventLog,
    definitions: Vec<Definition>,
    options: Options,
    progress: Progress,
    renewal: Renewal,
    stopped: watch::Receiver<bool>,
}

/// Where this process has read the log to.
struct Tail {
    follower: Follower,
    /// The last event seen: after a crash of the database it may be gone, and another in its place.
    seen: Option<Uuid>,
}

impl Work {
    async fn run(mut self) {
        while !*self.stopped.borrow() {
            match self.stretch().await {
                Ok(End::Stopped) => return,
                Ok(End::Changed) => {}
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the projections pause and try again");
                    let asked = asked(self.stopped.clone());
                    let _asked = tokio::time::timeout(self.options.pause, asked).await;
                }
            }
        }
    }

    /// Works until something changes.
    async fn stretch(&mut self) -> Result<End, Broken> {
        let rebuild_events = self.options.rebuild_events;
        self.renewal.begin(&self.log, &self.definitions, rebuild_events).await?;
        let mut readers = self.open().await?;
        self.progress.ring();
        let definitions: Vec<Definition> = readers.iter().map(|it| it.definition).collect();
        let decoder = Decoder::new(&definitions);
        let mut tail = self.tail(&readers).await?;
        let mut looks = tokio::time::interval(self.options.look);
        looks.reset();
        let mut stop = std::pin::pin!(asked(self.stopped.clone()));
        loop {
            tokio::select! {
                () = &mut stop => return Ok(End::Stopped),
                () = self.renewal.progress() => return Ok(End::Changed),
                _ = looks.tick() => {
                    if self.has_changed(&readers, &tail).await? {
                        return Ok(End::Changed);
                    }
                }
                // On disk: a page in memory must not outlive a crash that its events do not.
                recorded = tail.follower.next_settled_page(self.options.page_events) => {
                    let recorded = recorded?;
                    tail.seen = recorded.last().map(|event| event.event_id);
                    let Some(page) = decoder.page(recorded) else { continue };
                    let goes_on = self.take(&mut readers, &page).await?;
                    self.progress.ring();
                    if !goes_on {
                        return Ok(End::Changed);
                    }
                }
            }
        }
    }

    /// Gives a page to every reader; false when something has to be looked at again.
    async fn take(&self, readers: &mut [Reader], page: &Page) -> Result<bool, Broken> {
        self.pass(readers, page).await?;
        let works: Vec<_> =
            readers.iter_mut().map(|reader| self.take_one(reader, page).boxed()).collect();
        let outcomes: Vec<Result<bool, Broken>> =
            stream::iter(works).buffer_unordered(WRITERS).collect().await;
        let mut goes_on = true;
        for outcome in outcomes {
            goes_on &= outcome?;
        }
        Ok(goes_on)
    }

    /// Moves all that have nothing to do in a page over it, in one go.
    async fn pass(&self, readers: &mut [Reader], page: &Page) -> Result<(), Broken> {
        let mut idle: Vec<&mut Reader> =
            readers.iter_mut().filter(|reader| reader.may_pass(page)).collect();
        if idle.is_empty() {
            return Ok(());
        }
        let standings: Vec<&Standing> = idle.iter().map(|reader| &reader.standing).collect();
        let mut transaction = self.log.pool().begin_with(BEGIN).await?;
        let moved = control::advance_all(&mut transaction, &standings, page.last).await?;
        transaction.commit().await?;
        for reader in &mut idle {
            if moved.contains(&reader.standing.name) {
                reader.standing.position = page.last;
            }
        }
        Ok(())
    }

    async fn take_one(&self, reader: &mut Reader, page: &Page) -> Result<bool, Broken> {
        let pool = self.log.pool();
        loop {
            match reader.take(pool, page).await? {
                Outcome::Advanced => return Ok(true),
                Outcome::Stopped => return Ok(false),
                Outcome::Lost => {}
            }
            let mut connection = pool.acquire().await?;
            let now = control::shown(&mut connection, &reader.standing.name, false).await?;
            // Another owner moved it on: what it left of the page is ours to try.
            match now {
                Some(now) if follows(&now, &reader.standing) && now.position >= page.after => {
                    reader.standing.position = now.position;
                }
                Some(_) | None => return Ok(false),
            }
        }
    }

    /// Opens what follows the log and is made by these handlers.
    async fn open(&self) -> Result<Vec<Reader>, Broken> {
        let mut connection = self.log.pool().acquire().await?;
        let mut readers = Vec::new();
        for standing in control::standings(self.log.pool()).await? {
            let Some(definition) = self.definition(&standing.name) else {
                continue;
            };
            let is_ready = is_ours(&standing, definition) && !self.renewal.has(&standing.name);
            if standing.state == State::Live && is_ready {
                let number = readers.len();
                let reader = Reader::open(&mut connection, *definition, standing, number).await?;
                readers.push(reader);
            }
        }
        Ok(readers)
    }

    /// Follows the log from where the last of the readers is.
    async fn tail(&self, readers: &[Reader]) -> Result<Tail, Broken> {
        let positions = readers.iter().map(|reader| reader.standing.position);
        let after = match positions.min() {
            Some(position) => position,
            None => self.log.head().await?,
        };
        let seen = self.log.event(after).await?.map(|event| event.event_id);
        let follower = self.log.follow(after);
        Ok(Tail { follower, seen })
    }

    /// Whether something is other than this process believes, that no event tells of: a read model
    /// was retried or replaced, or the database crashed and lost what was never on disk.
    async fn has_changed(&self, readers: &[Reader], tail: &Tail) -> Result<bool, Broken> {
        let last = self.log.event(tail.follower.position()).await?;
        if last.map(|event| event.event_id) != tail.seen {
            return Ok(true);
        }
        let standings = control::standings(self.log.pool()).await?;
        let is_open = |standing: &Standing| {
            readers.iter().any(|reader| {
                let mine = &reader.standing;
                mine.name == standing.name
                    && follows(standing, mine)
                    && mine.position <= standing.position
            })
        };
        let should_be_open = |standing: &Standing| {
            let is_live = standing.state == State::Live && !self.renewal.has(&standing.name);
            self.definition(&standing.name).is_some_and(|it| is_live && !is_newer(standing, it))
        };
        Ok(standings.iter().any(|standing| should_be_open(standing) != is_open(standing)))
    }

    fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.iter().find(|definition| definition.name == name)
    }
}

/// Returns once somebody asked to stop, or nobody is left who could.
async fn asked(mut stopped: watch::Receiver<bool>) {
    let _gone = stopped.wait_for(|stopped| *stopped).await;
}

/// Whether a generation is the one that was seen before, at whatever position.
fn follows(now: &Standing, before: &Standing) -> bool {
    now.state == State::Live
        && now.generation == before.generation
        && now.revision == before.revision
}
