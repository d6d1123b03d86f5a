//! The queue before the lock: what waits, and which of it goes together in one call.
//!
//! Commands and usage wait apart, so that a command waits behind at most one chunk of usage. A
//! group is what is there, never what might come: nothing here waits on a timer.

use crate::append::{Append, AppendError, EVENTS_MAX, Receipt};
use crate::evidence::Prepared;
use crate::usage::{Place, UsageBatch, UsageReceipt};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::{Notify, oneshot};

/// What one call may weigh.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// A command that waits, its events taken out, salted and hashed.
pub(crate) struct CommandJob {
    pub(crate) append: Append,
    pub(crate) events: Vec<Prepared>,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<Receipt, AppendError>>,
}

/// A usage batch that waits, its records taken out; `places` says which record is which row.
pub(crate) struct UsageJob {
    pub(crate) batch: UsageBatch,
    pub(crate) usage_ids: Vec<String>,
    pub(crate) contents: Vec<uuid::Uuid>,
    pub(crate) events: Vec<Prepared>,
    pub(crate) places: Vec<Place>,
    pub(crate) reply: oneshot::Sender<Result<UsageReceipt, AppendError>>,
}

/// What a writer takes at once.
pub(crate) enum Group {
    Commands(Vec<CommandJob>),
    Usage(Box<UsageJob>),
}

#[derive(Default)]
struct Waiting {
    commands: VecDeque<CommandJob>,
    usage: VecDeque<UsageJob>,
    usage_is_next: bool,
    closing: bool,
}

/// Shared by everybody who appends and by the writers.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Notify,
    limit: usize,
    /// How many groups are being recorded.
    under_way: AtomicUsize,
}

/// Held while a group is being recorded.
pub(crate) struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        let (waiting, ready) = (Mutex::default(), Notify::new());
        Self { waiting, ready, limit, under_way: AtomicUsize::new(0) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets a command wait, or says why it may not.
    pub(crate) fn push_command(&self, job: CommandJob) -> Result<(), AppendError> {
        self.with(|waiting| {
            admit(waiting.closing, waiting.commands.len(), self.limit)?;
            waiting.commands.push_back(job);
            Ok(())
        })?;
        self.ready.notify_one();
        Ok(())
    }

    /// Lets a usage batch wait, or says why it may not.
    pub(crate) fn push_usage(&self, job: UsageJob) -> Result<(), AppendError> {
        // A batch weighs as much as many commands: far fewer of them may wait.
        let limit = self.limit.div_ceil(32);
        self.with(|waiting| {
            admit(waiting.closing, waiting.usage.len(), limit)?;
            waiting.usage.push_back(job);
            Ok(())
        })?;
        self.ready.notify_one();
        Ok(())
    }

    /// The next group, as soon as anything waits; none once the queue is closed and empty.
    pub(crate) async fn next(&self) -> Option<Group> {
        loop {
            let ready = self.ready.notified();
            let (group, more, closing) = self.with(|waiting| {
                let group = take(waiting);
                let more = !waiting.commands.is_empty() || !waiting.usage.is_empty();
                (group, more, waiting.closing)
            });
            if more || closing {
                self.ready.notify_one();
            }
            match group {
                Some(group) => return Some(group),
                None if closing => return None,
                None => ready.await,
            }
        }
    }

    /// A group begins to be recorded.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(&self.under_way)
    }

    /// The same for a command that was not queued, if nothing waits and nothing is under way.
    pub(crate) fn begin_alone(&self) -> Option<UnderWay<'_>> {
        let is_idle = |waiting: &mut Waiting| {
            waiting.commands.is_empty() && waiting.usage.is_empty() && !waiting.closing
        };
        if !self.with(is_idle) {
            return None;
        }
        let order = Ordering::SeqCst;
        self.under_way.compare_exchange(0, 1, order, order).ok()?;
        Some(UnderWay(&self.under_way))
    }

    /// Takes nothing more; what waits is still carried out.
    pub(crate) fn close(&self) {
        self.with(|waiting| waiting.closing = true);
        self.ready.notify_one();
    }
}

fn admit(closing: bool, length: usize, limit: usize) -> Result<(), AppendError> {
    if closing {
        return Err(AppendError::Refused("the log was closed".to_owned()));
    }
    if length >= limit {
        return Err(AppendError::Busy);
    }
    Ok(())
}

fn take(waiting: &mut Waiting) -> Option<Group> {
    let usage_first = waiting.usage_is_next || waiting.commands.is_empty();
    if usage_first && let Some(job) = waiting.usage.pop_front() {
        waiting.usage_is_next = false;
        return Some(Group::Usage(Box::new(job)));
    }
    if waiting.commands.is_empty() {
        return None;
    }
    waiting.usage_is_next = true;
    Some(Group::Commands(take_commands(&mut waiting.commands)))
}

/// What goes into one call. A command waits for the next when an earlier one of the group
///
/// * relies on the version of a stream it relies on, too: it would as good as surely conflict;
/// * has its id: the second is answered with the receipt of the first;
/// * and it has conditions on tags or claims: those are checked for the first of a call only.
fn take_commands(waiting: &mut VecDeque<CommandJob>) -> Vec<CommandJob> {
    let (mut relied_on, mut ids) = (HashSet::new(), HashSet::new());
    let (mut taken, mut left) = (Vec::new(), VecDeque::new());
    let (mut events, mut bytes) = (0, 0);
    while let Some(job) = waiting.pop_front() {
        let full = !taken.is_empty()
            && (events + job.events.len().max(1) > EVENTS_MAX
                || bytes + job.bytes > GROUP_BYTES_MAX);
        if full {
            waiting.push_front(job);
            break;
        }
        let append = &job.append;
        let must_wait = (append.needs_to_be_first() && !taken.is_empty())
            || ids.contains(&append.command.id)
            || append.expected_streams().any(|stream| relied_on.contains(stream));
        if must_wait {
            left.push_back(job);
            continue;
        }
        ids.insert(append.command.id);
        relied_on.extend(append.expected_streams().cloned());
        events += job.events.len().max(1);
        bytes += job.bytes;
        taken.push(job);
    }
    while let Some(job) = left.pop_back() {
        waiting.push_front(job);
    }
    taken
}
