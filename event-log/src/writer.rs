//! The writers: two tasks, each with a connection of its own, that take turns at the lock. A third
//! has no task: whoever has a command that is alone calls it by themselves, and nobody is woken.
//!
//! While one waits for the disk the next group gathers and the other one records it. A group whose
//! outcome is unknown (the connection broke, the server restarted) is carried out again on a new
//! connection once the old backend is surely gone: command ids and usage identities make that
//! safe, and whoever waits gets the truth. Only when the database stays away for longer than
//! `recovery` is the answer "unknown".

use crate::append::{Append, AppendError, Receipt};
use crate::backend::Backend;
use crate::call::{self, Answer, Verdict};
use crate::evidence::Prepared;
use crate::log::{CommitMode, Settings};
use crate::lone_call::{self, SEARCH_PATH, Tip};
use crate::queue::{CommandJob, Group, Queue, UsageJob};
use crate::usage_call::{self, UsageAnswer};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait before asking a database again that did not answer, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// One of those that append.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    tip: Arc<Tip>,
    options: PgConnectOptions,
    commit_mode: CommitMode,
    call_limit: Duration,
    recovery: Duration,
    partition_rows: i64,
    session: Option<Session>,
    /// A backend whose connection broke: it may still be at work.
    lost: Option<Backend>,
}

struct Session {
    connection: PgConnection,
    backend: Backend,
    barrier: &'static str,
}

/// What a failed call says about its outcome.
enum Failure {
    /// Nothing happened; whoever waits is told this.
    Certain(AppendError),
    /// It may have happened.
    Unknown(sqlx::Error),
}

impl Writer {
    pub(crate) fn new(
        (queue, tip): (Arc<Queue>, Arc<Tip>),
        settings: &Settings,
        partition_rows: i64,
    ) -> Self {
        let millis = |limit: Duration| limit.as_millis().to_string();
        // The guards: a stalled writer frees the lock instead of keeping everybody out.
        let options = settings.connect.clone().application_name("opscenter append").options([
            ("lock_timeout", millis(settings.lock_timeout)),
            ("statement_timeout", millis(settings.statement_timeout)),
            ("idle_in_transaction_session_timeout", millis(settings.statement_timeout)),
            // Planned once, while tables are small, and kept while they grow: only ever by index.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("enable_seqscan", "off".to_owned()),
            ("enable_hashjoin", "off".to_owned()),
            ("enable_mergejoin", "off".to_owned()),
            ("jit", "off".to_owned()),
            ("search_path", SEARCH_PATH.to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
        ]);
        Self {
            queue,
            tip,
            options,
            commit_mode: settings.commit_mode,
            call_limit: settings.statement_timeout * 2,
            recovery: settings.recovery,
            partition_rows,
            session: None,
            lost: None,
        }
    }

    /// Records what waits until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        while let Some(group) = queue.next().await {
            let _under_way = queue.begin();
            let last = match group {
                Group::Commands(jobs) => self.commands(jobs).await,
                Group::Usage(job) => self.usage(*job).await,
            };
            if let Some((head, room)) = last
                && room - head <= self.partition_rows / 4
            {
                self.keep_partitions_ahead().await;
            }
        }
        self.close().await;
    }

    /// Records a command that is alone. None if that is not the way to record it, or if it is not
    /// known whether it was: then nothing of it is at work any more, and under the same id it takes
    /// effect once.
    pub(crate) async fn alone(
        &mut self,
        append: &Append,
        events: &[Prepared],
    ) -> Result<Option<Receipt>, AppendError> {
        let _ready = self.session().await;
        let Some(mut session) = self.session.take() else { return Ok(None) };
        // Until it has answered it counts as broken: whoever gives up on waiting leaves it so.
        self.lost = Some(session.backend);
        let tip = Arc::clone(&self.tip);
        let call = lone_call::append(&mut session.connection, &tip, append, events);
        let receipt = match tokio::time::timeout(self.call_limit, call).await {
            Ok(Ok(receipt)) => receipt,
            Ok(Err(error)) if error.as_database_error().is_some() => {
                tracing::debug!(%error, "a lone command is recorded the long way");
                None
            }
            Ok(Err(_)) | Err(_) => return self.end_lost().await.map(|()| None),
        };
        self.session = Some(session);
        self.lost = None;
        let Some(receipt) = receipt else { return Ok(None) };
        let (before, last) = (receipt.first_position.0 - 1, receipt.last_position.0);
        let quarter = (self.partition_rows / 4).max(1);
        if before / quarter < last / quarter {
            self.keep_partitions_ahead().await;
        }
        Ok(Some(receipt))
    }

    /// Returns once the backend of a broken connection is gone.
    async fn end_lost(&mut self) -> Result<(), AppendError> {
        let deadline = Instant::now() + self.recovery;
        let mut pause = PAUSE_MIN;
        while let Err(error) = self.session().await {
            if Instant::now() + pause >= deadline {
                return Err(AppendError::Unavailable(Arc::new(error)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }

    /// Closes the connection in order.
    pub(crate) async fn close(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.connection.close().await
        {
            tracing::debug!(%error, "closing an append connection failed");
        }
    }

    /// Carries out a group of commands and answers each. Gives back the head and the room.
    async fn commands(&mut self, jobs: Vec<CommandJob>) -> Option<(i64, i64)> {
        let deadline = Instant::now() + self.recovery;
        match self.settle(deadline, jobs.as_slice()).await {
            Ok(answer) => {
                let ahead = answer.last_recorded().map(|head| (head, answer.room));
                for (index, job) in jobs.into_iter().enumerate() {
                    let verdict = answer.verdict(index, &job);
                    let outcome = self.conclude(verdict, &job).await;
                    // Whoever asked may have gone; the command counts all the same.
                    let _gone = job.reply.send(outcome);
                }
                ahead
            }
            // One of them is to blame; alone, each gets its own answer.
            Err(AppendError::Refused(_)) if jobs.len() > 1 => {
                for job in jobs {
                    let alone = vec![job];
                    Box::pin(self.commands(alone)).await;
                }
                None
            }
            Err(error) => {
                for job in jobs {
                    let _gone = job.reply.send(Err(error.clone()));
                }
                None
            }
        }
    }

    /// Reads a verdict; where the next partition is missing, makes it and tries once more.
    async fn conclude(
        &mut self,
        verdict: Result<Verdict, sqlx::Error>,
        job: &CommandJob,
    ) -> Result<Receipt, AppendError> {
        let unavailable = |error| AppendError::Unavailable(Arc::new(error));
        match verdict.map_err(unavailable)? {
            Verdict::Known(outcome) => outcome,
            Verdict::NoRoom { capacity } => {
                self.keep_partitions_ahead().await;
                let deadline = Instant::now() + self.recovery;
                let alone = std::slice::from_ref(job);
                let again = self.settle(deadline, alone).await?;
                match again.verdict(0, job).map_err(unavailable)? {
                    Verdict::Known(outcome) => outcome,
                    Verdict::NoRoom { .. } => Err(no_room(capacity)),
                }
            }
        }
    }

    /// Carries out a usage batch and answers it. Gives back the head and the room.
    async fn usage(&mut self, job: UsageJob) -> Option<(i64, i64)> {
        let outcome = self.usage_outcome(&job).await;
        let (reply, ahead) = match outcome {
            Ok(answer) => {
                let ahead = answer.last_recorded().map(|head| (head, answer.room));
                (answer.receipt(&job), ahead)
            }
            Err(error) => (Err(error), None),
        };
        let _gone = job.reply.send(reply);
        ahead
    }

    async fn usage_outcome(&mut self, job: &UsageJob) -> Result<UsageAnswer, AppendError> {
        let deadline = Instant::now() + self.recovery;
        let answer = self.settle(deadline, job).await?;
        if !answer.has_no_room() {
            return Ok(answer);
        }
        self.keep_partitions_ahead().await;
        let again = self.settle(deadline, job).await?;
        if again.has_no_room() {
            return Err(no_room(again.room));
        }
        Ok(again)
    }

    /// Makes a call and, as long as its outcome is unknown and there is time, makes it again.
    async fn settle<W: Work + ?Sized>(
        &mut self,
        deadline: Instant,
        work: &W,
    ) -> Result<W::Answer, AppendError> {
        let mut pause = PAUSE_MIN;
        loop {
            let failure = match self.attempt(work).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let error = match failure {
                Failure::Certain(error) => return Err(error),
                Failure::Unknown(error) => error,
            };
            tracing::warn!(%error, "an append did not come back; asking again");
            if Instant::now() + pause >= deadline {
                return Err(AppendError::Unavailable(Arc::new(error)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt<W: Work + ?Sized>(&mut self, work: &W) -> Result<W::Answer, Failure> {
        let limit = self.call_limit;
        let session = self.session().await.map_err(Failure::Unknown)?;
        let result = match tokio::time::timeout(limit, work.call(session)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(sqlx::Error::PoolTimedOut),
        };
        result.map_err(|error| {
            let failure = classify(error);
            if matches!(failure, Failure::Unknown(_)) {
                self.lost = self.session.take().map(|session| session.backend);
            }
            failure
        })
    }

    /// The connection, opened anew when it broke. The backend of the broken one is gone before
    /// this returns, so that nothing it began can still take effect afterwards.
    async fn session(&mut self) -> Result<&mut Session, sqlx::Error> {
        if self.session.is_none() {
            let mut session = self.open().await?;
            if let Some(lost) = self.lost {
                lost.end(&mut session.connection).await?;
                self.lost = None;
            }
            self.session = Some(session);
        }
        self.session.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    async fn open(&self) -> Result<Session, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let may_emit: bool = sqlx::query_scalar(
            "select has_function_privilege(
                    'pg_logical_emit_message(boolean, text, text)', 'execute')",
        )
        .fetch_one(&mut connection)
        .await?;
        let backend = Backend::of(&mut connection).await?;
        let barrier = match self.commit_mode {
            CommitMode::Synchronous => "none",
            CommitMode::Adaptive | CommitMode::Barrier if may_emit => "message",
            CommitMode::Adaptive | CommitMode::Barrier => "row",
        };
        Ok(Session { connection, backend, barrier })
    }

    /// Makes the next partition while there is still room in the last.
    async fn keep_partitions_ahead(&mut self) {
        let made = match self.session().await {
            Ok(session) => sqlx::query("select event_log.keep_partitions_ahead()")
                .execute(&mut session.connection)
                .await
                .map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            tracing::error!(%error, "the next partition of the log could not be made");
        }
    }
}

/// What can be asked of the log in one call.
trait Work: Sync {
    type Answer: Send;

    fn call(
        &self,
        session: &mut Session,
    ) -> impl Future<Output = Result<Self::Answer, sqlx::Error>> + Send;
}

impl Work for [CommandJob] {
    type Answer = Answer;

    async fn call(&self, session: &mut Session) -> Result<Answer, sqlx::Error> {
        call::append(&mut session.connection, session.barrier, self).await
    }
}

impl Work for UsageJob {
    type Answer = UsageAnswer;

    async fn call(&self, session: &mut Session) -> Result<UsageAnswer, sqlx::Error> {
        usage_call::append_usage(&mut session.connection, session.barrier, self).await
    }
}

fn no_room(capacity: i64) -> AppendError {
    tracing::error!(capacity, "the log has no partition for the next event");
    AppendError::Refused(format!(
        "there is no partition after position {capacity}; run the migration to make the next one"
    ))
}

/// Tells what certainly did not happen from what may have.
fn classify(error: sqlx::Error) -> Failure {
    let sqlx::Error::Database(database) = &error else {
        return Failure::Unknown(error);
    };
    let code = database.code().unwrap_or_default();
    match &*code {
        // The lock could not be had in time: nothing was written.
        "55P03" => Failure::Certain(AppendError::Busy),
        // Inside another transaction, another isolation level, or values the tables do not take:
        // all of it fails before the first commit.
        "2D000" | "25000" => Failure::Certain(AppendError::Refused(database.message().to_owned())),
        code if code.starts_with("22") || code.starts_with("23") => {
            tracing::error!(code, message = database.message(), "an append was refused");
            Failure::Certain(AppendError::Refused("the tables do not take these values".to_owned()))
        }
        _ => Failure::Unknown(error),
    }
}
