//! The executor: one way in for every command.
//!
//! Who asks and may they → load → decide → append → outcome. A lost race is decided again on what
//! is there then, a bounded number of times; from the second attempt on, commands of this process
//! that want the same stream queue for it one after another, because only one of them can win at a
//! time. The append is what decides who won, so the queue saves work and nothing depends on it.

use crate::access::Authority;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::command::{AccessCommand, Command, Subject};
use crate::denials::Denials;
use crate::failure::{Failure, Refusal};
use crate::flows::erasures;
use crate::loader::{Freshness, Loader};
use crate::plan::{Plan, Planner};
use crate::price_book::PriceBooks;
use crate::workers::OpenAction;
use domain::retention::policy;
use domain::{Aggregate, Event, OfAnotherKind};
use event_log::{Append, AppendError, CommandKey, EventLog, KeyRing, Position, StreamId};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use uuid::Uuid;

/// How often a lost race is run again before the caller is told to come back.
const ATTEMPTS_MAX: u32 = 64;

/// How often a purge that the log refuses is planned again before the caller is told why.
const PURGES_MAX: u32 = 4;

/// Something to be done, by somebody, once.
#[derive(Clone, Debug)]
pub struct Request {
    /// Chosen by whoever asks; the same for every repeat.
    pub command_id: Uuid,
    /// Who asks.
    pub caller: Caller,
    /// The version of the thing that the caller had seen, when that matters to them.
    pub expected_version: Option<i64>,
    /// What.
    pub command: Command,
}

/// What the log said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which command.
    pub command_id: Uuid,
    /// Position of its last event, or the head when nothing had to happen.
    pub position: Position,
    /// Its events in order.
    pub event_ids: Vec<Uuid>,
    /// When the log took it.
    pub recorded_at: domain::Instant,
    /// Whether it had taken effect before this request.
    pub was_replayed: bool,
}

/// A command that took effect, and what it made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the log said.
    pub receipt: Receipt,
    /// What it is about.
    pub subject: Subject,
}

/// Carries out commands. Clones share everything.
#[derive(Clone)]
pub struct Executor {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) log: EventLog,
    pub(crate) keys: KeyRing,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) loader: Loader,
    pub(crate) denials: Denials,
    pub(crate) price_books: PriceBooks,
    pub(crate) service_news: tokio::sync::Notify,
    pub(crate) open_actions: Mutex<Option<(Position, Vec<OpenAction>)>>,
    turns: Turns,
}

type Turn = Arc<tokio::sync::Mutex<()>>;

/// Who is next for a stream that several commands of this process want.
#[derive(Default)]
struct Turns(Mutex<HashMap<StreamId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn take(&self, stream: &StreamId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.of(stream);
        turn.lock_owned().await
    }

    fn of(&self, stream: &StreamId) -> Turn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(stream).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Turn::default();
        turns.insert(stream.clone(), Arc::downgrade(&turn));
        turn
    }
}

impl Executor {
    /// An executor on a log.
    #[must_use]
    pub fn new(log: EventLog, keys: KeyRing, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            loader: Loader::new(log.clone(), keys.clone()),
            denials: Denials::default(),
            price_books: PriceBooks::default(),
            service_news: tokio::sync::Notify::new(),
            open_actions: Mutex::default(),
            turns: Turns::default(),
            log,
            keys,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The log it appends to.
    #[must_use]
    pub fn log(&self) -> &EventLog {
        &self.inner.log
    }

    /// The keys that personal data is sealed with.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.inner.keys
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// One thing as it was at a position, folded from its own events, and the version of its stream
    /// then; zero when it had no events yet. The id is empty for what there is only one of.
    ///
    /// # Errors
    /// When the log does not answer, or holds an event that this program does not know.
    pub async fn as_of<A>(&self, id: &str, at: Position) -> Result<(A, i64), Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let loaded = self.inner.loader.load_at::<A>(id, at).await?;
        Ok((loaded.state, loaded.version))
    }

    /// Carries out a command once, however often it is asked with the same id.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the rules say no, [`Failure::Forbidden`] when the caller may not;
    /// both are recorded. Everything else says what to do next.
    pub async fn execute(&self, request: Request) -> Result<Outcome, Failure> {
        let result = self.execute_quietly(&request).await;
        if let Err(failure) = &result {
            self.record_denial(&request, failure).await;
        }
        if matches!(request.command, Command::Operations(_)) && result.is_ok() {
            self.inner.service_news.notify_waiters();
        }
        if let (Ok(_), Command::Access(AccessCommand::PersonErase { user_id, .. })) =
            (&result, &request.command)
        {
            // The flow would do it as well; whoever asked should not find it undone meanwhile.
            if let Err(error) = erasures::carry_out(self, *user_id).await {
                tracing::warn!(%error, %user_id, "an erasure is carried out later");
            }
        }
        result
    }

    /// The same without recording a denial: for workers and flows, whose lost races are no news.
    pub(crate) async fn execute_quietly(&self, request: &Request) -> Result<Outcome, Failure> {
        Authority::new(self).permit(&request.caller, &request.command).await?;
        let key = CommandKey { id: request.command_id, content_hash: self.content_hash(request)? };
        let mut freshness = Freshness::Kept;
        let (mut turn, mut purges) = (None, 0);
        for _ in 0..ATTEMPTS_MAX {
            let plan = match Planner::new(self, request, freshness).plan().await {
                Ok(plan) => plan,
                // A repeat of what took effect may well be refused by what it led to.
                Err(Failure::Refused(refusal)) => return self.repeat(request, key, refusal).await,
                Err(failure) => return Err(failure),
            };
            match self.append(request, key, &plan).await {
                Ok(outcome) => {
                    if !outcome.receipt.was_replayed {
                        plan.keep(&self.inner.loader);
                    }
                    return Ok(outcome);
                }
                Err(AppendError::Conflict { stream, .. }) => {
                    freshness = Freshness::Now;
                    if turn.is_none() {
                        turn = Some(self.inner.turns.take(&stream).await);
                    }
                }
                Err(AppendError::ConditionFailed { .. }) => freshness = Freshness::Now,
                Err(AppendError::ClaimTaken { scope, .. }) => {
                    let refusal = Refusal::Taken { what: crate::plan::claim_name(&scope) };
                    return self.repeat(request, key, refusal).await;
                }
                Err(AppendError::Refused(why)) if plan.purge.is_some() => {
                    purges += 1;
                    if purges == PURGES_MAX {
                        let refusal = policy::Refusal::NotPurged { why }.into();
                        return self.repeat(request, key, refusal).await;
                    }
                    // What was due when it was looked at may not be any more: look again.
                    tracing::warn!(why, "a purge is planned again");
                    freshness = Freshness::Now;
                }
                Err(error) => return Err(of_append(error)),
            }
        }
        Err(Failure::Busy)
    }

    async fn append(
        &self,
        request: &Request,
        key: CommandKey,
        plan: &Plan,
    ) -> Result<Outcome, AppendError> {
        let append = plan.append(key);
        let receipt = match &plan.purge {
            Some(purge) => self.inner.log.purge(purge.clone(), append).await?,
            None => self.inner.log.append(append).await?,
        };
        Ok(outcome_of(request, receipt))
    }

    /// Answers a refused command with its receipt when it had taken effect before.
    async fn repeat(
        &self,
        request: &Request,
        key: CommandKey,
        refusal: Refusal,
    ) -> Result<Outcome, Failure> {
        if self.inner.log.receipt(key.id).await?.is_none() {
            return Err(refusal.into());
        }
        // Appending nothing under the same id compares the content and gives the receipt back.
        let tenant = Uuid::nil();
        let nothing =
            Append { command: key, tenant, conditions: vec![], claims: vec![], events: vec![] };
        let receipt = self.inner.log.append(nothing).await.map_err(of_append)?;
        Ok(outcome_of(request, receipt))
    }

    async fn record_denial(&self, request: &Request, failure: &Failure) {
        let recorded = self.inner.denials.record(self, request, failure).await;
        if let Err(error) = recorded {
            tracing::warn!(error = %error, "a denial could not be recorded");
        }
    }

    /// Writes down what was denied repeatedly and is only counted so far. Called at shutdown and by
    /// [`crate::flows`] once a minute.
    pub async fn flush_denials(&self) {
        self.inner.denials.flush(self).await;
    }
}

impl Executor {
    /// What tells a repeat from a reuse: who asks for what, without what differs between attempts.
    /// It is kept for ever, so personal data goes in under a key: nobody who has only the database
    /// can try out names and addresses on it.
    fn content_hash(&self, request: &Request) -> Result<[u8; 32], Failure> {
        let content = content(request)?;
        Ok(match &request.command {
            Command::Access(command) if command.is_personal() => {
                self.inner.keys.blind("command", &content)
            }
            Command::Access(_)
            | Command::Tenancy(_)
            | Command::Catalogue(_)
            | Command::Credits(_)
            | Command::Commerce(_)
            | Command::Operations(_)
            | Command::Retention(_) => Sha256::digest(&content).into(),
        })
    }
}

fn outcome_of(request: &Request, receipt: event_log::Receipt) -> Outcome {
    let receipt = Receipt {
        command_id: receipt.command_id,
        position: receipt.last_position,
        event_ids: receipt.event_ids,
        recorded_at: receipt.recorded_at,
        was_replayed: receipt.was_replayed,
    };
    Outcome { receipt, subject: request.command.subject(request.command_id) }
}

pub(crate) fn of_append(error: AppendError) -> Failure {
    match error {
        AppendError::Conflict { expected, actual, .. } => {
            Failure::VersionConflict { expected, actual }
        }
        AppendError::CommandReused { command_id } => Failure::CommandReused { command_id },
        AppendError::TooLarge { .. } => Failure::TooLarge(error.to_string()),
        AppendError::Busy | AppendError::ConditionFailed { .. } => Failure::Busy,
        AppendError::ClaimTaken { ref scope, .. } => {
            Refusal::Taken { what: crate::plan::claim_name(scope) }.into()
        }
        AppendError::Unavailable(_) => Failure::Unavailable(Box::new(error)),
        AppendError::Halted(halt) => Failure::Halted(halt.to_string()),
        AppendError::Refused(_) => Failure::Internal(Box::new(error)),
    }
}

fn content(request: &Request) -> Result<Vec<u8>, Failure> {
    let who = match (request.caller.user_id(), &request.caller.actor) {
        (Some(user_id), _) => user_id.to_string(),
        (None, actor) => actor.to_string(),
    };
    serde_json::to_vec(&(who, &request.command)).map_err(|error| Failure::Internal(Box::new(error)))
}
