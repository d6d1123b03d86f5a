//! The handle on an event log: opening it, appending to it, closing it.
//!
//! Reading is in `read.rs`, following in `follow.rs`.

use crate::append::{Append, AppendError, Receipt};
use crate::archive::Archives;
use crate::evidence::{self, Prepared};
use crate::follow::Bell;
use crate::lone_call::Tip;
use crate::migrate::{Layout, SCHEMA_VERSION};
use crate::queue::{CommandJob, Queue, UsageJob};
use crate::settled::OnDisk;
use crate::tree::guard::Halt;
use crate::usage::{UsageBatch, UsageReceipt, content_key};
use crate::writer::Writer;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How long after its last use a connection is taken without asking the database whether it still
/// answers, which takes as long as a small question does. No database that went away is back in so
/// short a time, so that a new connection would be refused as well.
const TRUSTED_FOR: Duration = Duration::from_millis(20);

/// How an append becomes durable. The results are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CommitMode {
    /// A command that is alone as [`Self::Synchronous`] and in one statement; what comes together
    /// as [`Self::Barrier`].
    #[default]
    Adaptive,
    /// Order under the lock, flush outside it: the lock is never held across the disk.
    Barrier,
    /// A plain durable commit under the lock.
    Synchronous,
}

/// How to open a log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database, as the service's role.
    pub connect: PgConnectOptions,
    /// How many connections readers may use at once.
    pub read_connections: u32,
    /// How many connections append what comes together: two take turns at the lock while the other
    /// waits for the disk; more would only queue there. Lone commands have one beside them.
    pub append_connections: u32,
    /// How an append becomes durable.
    pub commit_mode: CommitMode,
    /// How many commands may wait before more are answered with "busy".
    pub queue_limit: usize,
    /// How long an append waits for its turn at the lock.
    pub lock_timeout: Duration,
    /// How long one call may take in the database.
    pub statement_timeout: Duration,
    /// How long an append whose outcome is unknown is pursued before saying so.
    pub recovery: Duration,
    /// How often followers look without having been woken.
    pub poll_floor: Duration,
    /// The folder of the bundles that bodies of archived partitions are in.
    pub archive: Option<PathBuf>,
}

impl Settings {
    /// The usual settings for a database.
    #[must_use]
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            read_connections: 8,
            append_connections: 2,
            commit_mode: CommitMode::default(),
            queue_limit: 4_096,
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            recovery: Duration::from_secs(10),
            poll_floor: Duration::from_millis(250),
            archive: None,
        }
    }

    /// The usual settings for a database named by its URL.
    pub fn from_url(url: &str) -> Result<Self, OpenError> {
        let connect = PgConnectOptions::from_str(url).map_err(|_| OpenError::Url)?;
        Ok(Self::new(connect))
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is no address; it is not shown, for it may hold a password.
    #[error("the database URL cannot be read; it looks like postgres://user@host:5432/name")]
    Url,
    /// Nobody answers there, or not to us.
    #[error("the database cannot be reached; check that it runs and that the address is right")]
    Unreachable(#[source] sqlx::Error),
    /// The server is older than what the log needs.
    #[error("the database server is version {found}; version 15 or newer is needed")]
    ServerTooOld {
        /// Its major version.
        found: i32,
    },
    /// Text would not survive.
    #[error("the database has the encoding {found}; create it with encoding UTF8")]
    Encoding {
        /// What it has.
        found: String,
    },
    /// There is no log yet.
    #[error("the database has no event log yet; run the migration first")]
    NotMigrated,
    /// The program is newer than the tables.
    #[error("the log has schema version {found}, this program needs {needed}; run the migration")]
    SchemaTooOld {
        /// What is there.
        found: i32,
        /// What this program knows.
        needed: i32,
    },
    /// The tables are newer than the program.
    #[error("the log has schema version {found}, newer than this program's {known}; update it")]
    SchemaNewer {
        /// What is there.
        found: i32,
        /// What this program knows.
        known: i32,
    },
}

struct Shared {
    queue: Arc<Queue>,
    pool: PgPool,
    bell: Bell,
    on_disk: OnDisk,
    writers: Mutex<Vec<JoinHandle<()>>>,
    /// Of commands that are alone, in the mode that has any.
    lone: Option<tokio::sync::Mutex<Writer>>,
    /// Why nothing is appended, if so.
    halt: RwLock<Option<Halt>>,
    archives: Archives,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writers carry out what waits and end by themselves.
        self.queue.close();
    }
}

/// An open event log. Clones share everything.
#[derive(Clone)]
pub struct EventLog {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog").finish_non_exhaustive()
    }
}

impl EventLog {
    /// Opens a log that was migrated, as the service's role.
    pub async fn connect(settings: Settings) -> Result<Self, OpenError> {
        let pool = PgPoolOptions::new()
            // One more for the listener, which never gives its connection back.
            .max_connections(settings.read_connections + 1)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for >= TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(settings.connect.clone().application_name("opscenter"))
            .await
            .map_err(OpenError::Unreachable)?;
        let partition_rows = check_database(&pool).await?;
        let queue = Arc::new(Queue::new(settings.queue_limit));
        let tip = Arc::new(Tip::default());
        let writer = || {
            let shared = (Arc::clone(&queue), Arc::clone(&tip));
            Writer::new(shared, &settings, partition_rows)
        };
        let writers = (0..settings.append_connections.clamp(1, 2))
            .map(|_| tokio::spawn(writer().run()))
            .collect();
        let is_adaptive = settings.commit_mode == CommitMode::Adaptive;
        let lone = is_adaptive.then(|| tokio::sync::Mutex::new(writer()));
        let bell = Bell::hang(pool.clone(), settings.poll_floor);
        let on_disk = OnDisk::default();
        let writers = Mutex::new(writers);
        let halt = RwLock::new(None);
        let archives = Archives::new(settings.archive);
        let shared = Shared { queue, pool, bell, on_disk, writers, lone, halt, archives };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Records one command's events, as a whole or not at all. The answer comes when they are on
    /// disk; whoever gives up on waiting does not know whether they were recorded.
    pub async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.check_halt()?;
        append.check()?;
        let bytes = append.bytes();
        let mut append = append;
        let events = prepare(std::mem::take(&mut append.events))?;
        let receipt = match self.append_alone(&append, &events).await? {
            Some(receipt) => receipt,
            None => {
                let (reply, outcome) = oneshot::channel();
                self.shared.queue.push_command(CommandJob { append, events, bytes, reply })?;
                outcome.await.unwrap_or_else(|_| Err(abandoned()))?
            }
        };
        self.shared.on_disk.reaches(receipt.last_position);
        Ok(receipt)
    }

    /// Records a command while nothing else is recorded or waits, if it is one that can be.
    async fn append_alone(
        &self,
        append: &Append,
        events: &[Prepared],
    ) -> Result<Option<Receipt>, AppendError> {
        let Some(lone) = &self.shared.lone else { return Ok(None) };
        let Some(_under_way) = self.shared.queue.begin_alone() else { return Ok(None) };
        let Ok(mut writer) = lone.try_lock() else { return Ok(None) };
        writer.alone(append, events).await
    }

    /// Records up to a thousand usage records of one source, each counted once for ever.
    pub async fn append_usage(&self, batch: UsageBatch) -> Result<UsageReceipt, AppendError> {
        self.check_halt()?;
        batch.check()?;
        let mut batch = batch;
        let places = batch.places();
        let firsts = std::mem::take(&mut batch.records)
            .into_iter()
            .zip(&places)
            .filter_map(|(record, place)| place.is_first.then_some(record));
        let (mut usage_ids, mut contents, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for record in firsts {
            usage_ids.push(record.usage_id);
            contents.push(content_key(&record.content_hash));
            events.push(record.event);
        }
        let events = prepare(events)?;
        let (reply, outcome) = oneshot::channel();
        let job = UsageJob { batch, usage_ids, contents, events, places, reply };
        self.shared.queue.push_usage(job)?;
        let receipt = outcome.await.unwrap_or_else(|_| Err(abandoned()))?;
        if let Some(last) = receipt.last_position {
            self.shared.on_disk.reaches(last);
        }
        Ok(receipt)
    }

    /// Appends nothing more, until [`resume`](Self::resume).
    pub fn halt(&self, halt: Halt) {
        *self.shared.halt.write().unwrap_or_else(PoisonError::into_inner) = Some(halt);
    }

    /// Appends again.
    pub fn resume(&self) {
        if self.halted().is_some() {
            *self.shared.halt.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Why nothing is appended, if so.
    #[must_use]
    pub fn halted(&self) -> Option<Halt> {
        self.shared.halt.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn check_halt(&self) -> Result<(), AppendError> {
        self.halted().map_or(Ok(()), |halt| Err(AppendError::Halted(halt)))
    }

    /// Says when something may have been appended; silence says nothing.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.shared.bell.rings()
    }

    /// The connections of readers, projections and flows, as the service's role.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.shared.pool
    }

    pub(crate) fn archives(&self) -> &Archives {
        &self.shared.archives
    }

    pub(crate) fn on_disk(&self) -> &OnDisk {
        &self.shared.on_disk
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.shared.bell
    }

    /// Takes nothing more, carries out what was accepted, and closes every connection.
    pub async fn close(&self) {
        self.shared.queue.close();
        let writers = {
            let mut writers = self.shared.writers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *writers)
        };
        for writer in writers {
            if let Err(error) = writer.await {
                tracing::error!(%error, "a writer of the log ended badly");
            }
        }
        if let Some(lone) = &self.shared.lone {
            lone.lock().await.close().await;
        }
        self.shared.bell.silence();
        self.shared.pool.close().await;
    }
}

fn prepare(events: Vec<crate::NewEvent>) -> Result<Vec<Prepared>, AppendError> {
    evidence::prepare(events)
        .map_err(|error| AppendError::Refused(format!("no random numbers to be had: {error}")))
}

/// The writer that held the command is gone; its outcome is unknown.
fn abandoned() -> AppendError {
    AppendError::Unavailable(Arc::new(sqlx::Error::WorkerCrashed))
}

/// Checks that the database is one this program can work with; answers the partition size.
async fn check_database(pool: &PgPool) -> Result<i64, OpenError> {
    let reach = OpenError::Unreachable;
    check_server(pool).await?;
    let exists: bool =
        sqlx::query_scalar("select to_regclass('event_log.schema_migration') is not null")
            .fetch_one(pool)
            .await
            .map_err(reach)?;
    if !exists {
        return Err(OpenError::NotMigrated);
    }
    let found: Option<i32> =
        sqlx::query_scalar("select max(version) from event_log.schema_migration")
            .fetch_one(pool)
            .await
            .map_err(reach)?;
    match found.unwrap_or_default() {
        0 => Err(OpenError::NotMigrated),
        found if found < SCHEMA_VERSION => {
            Err(OpenError::SchemaTooOld { found, needed: SCHEMA_VERSION })
        }
        found if found > SCHEMA_VERSION => {
            Err(OpenError::SchemaNewer { found, known: SCHEMA_VERSION })
        }
        _ => {
            let sql = "select value from event_log.setting where name = 'partition_rows'";
            let rows = sqlx::query_scalar(sql).fetch_optional(pool).await.map_err(reach)?;
            // Somebody removed it: then no partition is made any more, but what is there can be
            // read, and verified.
            Ok(rows.unwrap_or(Layout::default().partition_rows))
        }
    }
}

/// Checks the server's version and the database's encoding.
pub(crate) async fn check_server<'e>(executor: impl sqlx::PgExecutor<'e>) -> Result<(), OpenError> {
    let (version, encoding): (i32, String) = sqlx::query_as(
        "select current_setting('server_version_num')::integer / 10000,
                current_setting('server_encoding')",
    )
    .fetch_one(executor)
    .await
    .map_err(OpenError::Unreachable)?;
    if version < 15 {
        return Err(OpenError::ServerTooOld { found: version });
    }
    if encoding != "UTF8" {
        return Err(OpenError::Encoding { found: encoding });
    }
    Ok(())
}
