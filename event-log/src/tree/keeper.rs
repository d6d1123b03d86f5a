//! The keeper of the evidence: lets the tree grow behind the head, and signs checkpoints.
//!
//! Every process that appends runs one. All of them compare the log with the guard once a second
//! and stop appending where it disagrees; the one that holds the lease also lets the tree grow and,
//! about once a second while there is news, signs. A checkpoint ends with a batch, covers only what
//! is on disk, follows from the one before it by a proof that was checked, lies in the guard's file
//! before anybody sees it, and is kept for ever.
//!
//! Two keepers that both believe they hold the lease do no harm: the tree of a size has one root,
//! the guard and the table of checkpoints are written by comparing, and what is signed twice is the
//! same.

use super::grow::{GrowError, Grown, Step};
use super::guard::{Guard, GuardError, Guarded, Halt};
use super::proof::verify_consistency;
use super::read::TreeError;
use crate::note::{Checkpoint, NoteError};
use crate::signing_keys::{SigningKeyError, SigningKeys};
use crate::{EventLog, ReadError, lease_give_back, lease_take};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// Who lets the tree grow, among the readers of the log.
const LEASE: &str = "tree";
const LEASE_LENGTH: Duration = Duration::from_secs(10);
/// How long after news the tree grows: what comes meanwhile is taken in together.
const PACE: Duration = Duration::from_millis(200);
/// How often the guard is compared, and at most how often something is signed.
const SIGNING_PACE: Duration = Duration::from_secs(1);
/// How long after a fault it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What the keeper signs with, and remembers by.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Signs the checkpoints.
    pub keys: SigningKeys,
    /// Remembers the last one.
    pub guard: Guard,
}

/// Why the keeper did not get on.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Grow(GrowError),
    #[error(transparent)]
    Keys(#[from] SigningKeyError),
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Appending and signing have to stop.
    #[error("{0}")]
    Halt(Halt),
}

impl From<sqlx::Error> for KeepError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

impl From<GuardError> for KeepError {
    fn from(error: GuardError) -> Self {
        Self::Halt(Halt::Guard(error.to_string()))
    }
}

impl From<GrowError> for KeepError {
    fn from(error: GrowError) -> Self {
        match error {
            GrowError::Changed { position } => Self::Halt(Halt::Changed { position }),
            GrowError::Read(_) | GrowError::Edge => Self::Grow(error),
        }
    }
}

/// The keeper, running.
#[derive(Debug)]
pub struct Keeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Starts it.
    #[must_use]
    pub fn start(log: &EventLog, evidence: Evidence) -> Self {
        let (stop, stopped) = watch::channel(false);
        let worker = Worker {
            log: log.clone(),
            evidence,
            owner: Uuid::now_v7().to_string(),
            grown: None,
            looked: None,
            epoch: None,
            stands_back: None,
        };
        Self { stop, task: tokio::spawn(worker.run(stopped)) }
    }

    /// Takes in and signs what is there, and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the keeper of the evidence ended badly");
        }
    }
}

/// Compares the log with its keys and its guard; what stands in the way of appending, if anything.
///
/// # Errors
/// When the database does not answer.
pub async fn examine(log: &EventLog, evidence: &Evidence) -> Result<Option<Halt>, ReadError> {
    let log_id: Uuid = sqlx::query_scalar("select event_log.identify($1)")
        .bind(evidence.keys.log_id())
        .fetch_one(log.pool())
        .await?;
    if log_id != evidence.keys.log_id() {
        return Ok(Some(Halt::OtherLog));
    }
    log.disagreement(&evidence.guard).await
}

struct Worker {
    log: EventLog,
    evidence: Evidence,
    owner: String,
    /// The tree, while this process lets it grow.
    grown: Option<Grown>,
    /// When the guard was last compared and something was signed, if there was news.
    looked: Option<Instant>,
    /// The epoch in which this process began: what it remembers is of that one.
    epoch: Option<u64>,
    /// Until when somebody else may find what this one found, so that they stop as well.
    stands_back: Option<(Halt, Instant)>,
}

impl Worker {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut news = self.log.news();
        loop {
            let is_last = *stopped.borrow();
            let pause = match self.pass(is_last).await {
                Ok(()) => {
                    self.log.resume();
                    PACE
                }
                Err(KeepError::Halt(halt)) => {
                    self.halted(halt).await;
                    PAUSE
                }
                Err(error) => {
                    tracing::warn!(%error, "the tree does not grow just now");
                    self.grown = None;
                    PAUSE
                }
            };
            if is_last {
                if let Err(error) = self.give_back().await {
                    tracing::debug!(%error, "the lease on the tree runs out by itself");
                }
                return;
            }
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = async {
                    tokio::time::sleep(pause).await;
                    // News wakes; without any, the guard is still compared.
                    let _quiet = tokio::time::timeout(SIGNING_PACE, news.changed()).await;
                } => {}
            }
        }
    }

    /// Compares, and if the lease is ours, takes in what is there and signs it.
    async fn pass(&mut self, is_last: bool) -> Result<(), KeepError> {
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= SIGNING_PACE);
        if is_due || is_last {
            self.compare().await?;
        }
        if let Some((halt, until)) = &self.stands_back {
            if Instant::now() < *until && !is_last {
                return Err(KeepError::Halt(halt.clone()));
            }
            self.stands_back = None;
        }
        let mut connection = self.log.pool().acquire().await?;
        let is_ours = lease_take(&mut connection, LEASE, &self.owner, LEASE_LENGTH).await?;
        drop(connection);
        if !is_ours {
            self.grown = None;
            return Ok(());
        }
        self.grow().await?;
        if is_due || is_last {
            self.sign().await?;
            self.looked = Some(Instant::now());
        }
        Ok(())
    }

    async fn give_back(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.log.pool().acquire().await?;
        lease_give_back(&mut connection, LEASE, &self.owner).await
    }

    /// Stops appending here. Who finds that the log was changed lets others find it, too.
    async fn halted(&mut self, halt: Halt) {
        if self.log.halted().as_ref() != Some(&halt) {
            tracing::error!(reason = %halt, details = ?halt, "nothing is appended or signed here");
        }
        self.grown = None;
        if matches!(halt, Halt::Changed { .. }) && self.stands_back.is_none() {
            self.stands_back = Some((halt.clone(), Instant::now() + LEASE_LENGTH));
            if let Err(error) = self.give_back().await {
                tracing::debug!(%error, "the lease on the tree runs out by itself");
            }
        }
        self.log.halt(halt);
    }

    async fn compare(&mut self) -> Result<(), KeepError> {
        // Also where this process does not sign: it says what verifies.
        self.evidence.keys.look_again()?;
        if let Some(halt) = examine(&self.log, &self.evidence).await? {
            return Err(KeepError::Halt(halt));
        }
        let epoch = self.evidence.guard.read()?.map_or(1, |guarded| guarded.epoch);
        if *self.epoch.get_or_insert(epoch) != epoch {
            return Err(KeepError::Halt(Halt::EpochOpened { epoch }));
        }
        Ok(())
    }

    /// Takes in what is there now; what is appended meanwhile waits for the next pass.
    async fn grow(&mut self) -> Result<(), KeepError> {
        let head = self.log.head().await?;
        loop {
            let mut grown = match self.grown.take() {
                Some(grown) => grown,
                None => Grown::load(&self.log).await?,
            };
            if grown.position() >= head {
                self.grown = Some(grown);
                return Ok(());
            }
            match grown.step(&self.log).await? {
                Step::Grown => self.grown = Some(grown),
                Step::Nothing => {
                    self.grown = Some(grown);
                    return Ok(());
                }
                Step::Overtaken => {}
            }
        }
    }

    /// Signs the tree as it is, if it has grown since it was signed last.
    async fn sign(&mut self) -> Result<(), KeepError> {
        let Some(grown) = &mut self.grown else { return Ok(()) };
        let Evidence { keys, guard } = &self.evidence;
        let before = guard.read()?;
        if let Some(before) = &before {
            publish(&self.log, before).await?;
        }
        let (size, position) = (grown.edge.size(), grown.position());
        let signed = before.as_ref().filter(|before| before.note.is_some());
        if size == 0 || signed.is_some_and(|signed| signed.position >= position) {
            return Ok(());
        }
        // Nothing is signed that a crash could take back.
        if self.log.settle().await? < position {
            return Ok(());
        }
        let root = grown.edge.root();
        if let Some(old) = before.as_ref().and_then(Guarded::checkpoint) {
            let proof = self.log.consistency(old.size(), size).await?;
            verify_consistency(old.size(), size, old.root(), &root, &proof).map_err(|_| {
                let signed = before.as_ref().map_or(position, |before| before.position);
                KeepError::Halt(Halt::Forked { signed })
            })?;
        }
        let epoch = before.as_ref().map_or(1, |before| before.epoch);
        let tenants = grown.organizations.root();
        let checkpoint =
            Checkpoint::of_log(&keys.origin(epoch), size, root, &tenants, &grown.chain)?;
        let note = keys.sign(&checkpoint)?;
        let now = Guarded::new(epoch, position, &grown.chain, Some(note));
        if guard.advance(before.as_ref(), &now)? {
            publish(&self.log, &now).await?;
        }
        Ok(())
    }
}

/// Keeps the checkpoint that the guard holds, unless it is kept already: a crash may have come
/// between the two.
async fn publish(log: &EventLog, guarded: &Guarded) -> Result<(), KeepError> {
    let (Some(note), Some(checkpoint)) = (&guarded.note, guarded.checkpoint()) else {
        return Ok(());
    };
    sqlx::query("select event_log.keep_checkpoint($1, $2, $3)")
        .bind(guarded.position)
        .bind(checkpoint.root().as_slice())
        .bind(note)
        .execute(log.pool())
        .await?;
    Ok(())
}
