//! From rows to the log: a thread reads and checks, the log takes a thousand at a time.
//!
//! Several batches are on their way at once, so that the next is made while one is committed, and
//! they stay in the file's order. What the process holds is bounded by the batches in flight,
//! whatever the file's size.

use super::check::{BadCell, Checker};
use super::file::{FileError, Hashed, Input};
use super::outcome::UsageImported;
use super::rows::{FileFault, Format, Next, Rows};
use commands::{Caller, Executor, Failure, PreparedUsage, UsageAnswer, UsageItem, UsageReport};
use domain::values::{OrganizationId, Text};
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use indicatif::ProgressBar;
use std::io::Read;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Records in a batch; the log takes no more at once.
const BATCH: usize = 1_000;
/// Batches that are prepared ahead of those that are written.
const PREPARED: usize = 2;
/// Batches on their way to the log.
const IN_FLIGHT: usize = 3;
/// Batches that are read ahead of these.
const READ_AHEAD: usize = 2;
/// How often a batch that the log could not take is offered again, and how long before the first
/// time; each further wait is twice as long.
const TRIES: u32 = 6;
const WAIT: Duration = Duration::from_millis(250);

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) format: Format,
    pub(super) delimiter: u8,
    /// Whether one refused row ends it.
    pub(super) stops: bool,
}

/// What keeps an import from going on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("{input} cannot be read as a file of usage")]
    Fault { input: String, source: FileFault },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the import ended early; {recorded} rows were recorded, and importing again records the \
         others and nothing twice"
    )]
    Interrupted { recorded: u64, source: Failure },
    #[error("reading was interrupted; import again, which records nothing twice")]
    Ended,
}

/// Reads a file through without recording: counts, refusals, price, and the name of its content.
pub(super) fn look_through(
    input: &Input,
    manner: Manner,
    checker: &mut Checker,
    shown: ProgressBar,
    imported: &mut UsageImported,
) -> Result<String, RecordError> {
    let fault = |source| RecordError::Fault { input: input.name(), source };
    let mut source = Hashed::new(input.open(shown)?);
    let mut keep = |_| true;
    // Every fault of the file is wanted, so that it can be corrected at once.
    let manner = Manner { stops: false, ..manner };
    read_rows(&mut source, manner, checker, imported, &mut keep).map_err(fault)?;
    source.finish().map_err(|error| fault(FileFault::Read(error)))
}

/// Reads a file through only to name its content.
pub(super) fn hash(input: &Input, shown: ProgressBar) -> Result<String, RecordError> {
    let source = Hashed::new(input.open(shown)?);
    let fault = |source| RecordError::Fault { input: input.name(), source };
    source.finish().map_err(|error| fault(FileFault::Read(error)))
}

/// A row that can be recorded.
struct Item {
    line: u64,
    usage: UsageItem,
}

/// Reads and checks row after row. `keep` says whether to go on.
fn read_rows(
    source: impl Read,
    manner: Manner,
    checker: &mut Checker,
    imported: &mut UsageImported,
    keep: &mut dyn FnMut(Item) -> bool,
) -> Result<(), FileFault> {
    let columns = checker.columns();
    let mut rows = Rows::open(manner.format, manner.delimiter, columns, source)?;
    let mut cells = Vec::new();
    loop {
        let (line, checked) = match rows.next(&mut cells)? {
            Next::Row { line } => (line, checker.check(imported.read + 1, &cells)),
            Next::Bad { line, column, reason } => (line, Err(BadCell { column, reason })),
            Next::End => break,
        };
        imported.read += 1;
        match checked {
            Ok((usage, price)) => {
                imported.price = imported.price.saturating_plus(price);
                if !keep(Item { line, usage }) {
                    break;
                }
            }
            Err(bad) => {
                imported.refuse(line, bad);
                if manner.stops {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A thousand rows and their lines.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    items: Vec<UsageItem>,
}

/// Whose usage is recorded, as what, by whom.
pub(super) struct Target<'a> {
    pub(super) executor: &'a Executor,
    pub(super) organization_id: OrganizationId,
    pub(super) source: Text,
}

/// Records a file. What it counts stands in `imported` also when it ends early.
pub(super) async fn record(
    target: Target<'_>,
    input: &Input,
    manner: Manner,
    checker: Checker,
    shown: ProgressBar,
    imported: &mut UsageImported,
) -> Result<(), RecordError> {
    let (sender, batches) = mpsc::channel(READ_AHEAD);
    let from = input.clone();
    let reading =
        tokio::task::spawn_blocking(move || read_batches(&from, manner, checker, shown, &sender));
    let ended = record_batches(&target, batches, manner.stops, imported).await;
    let read = reading.await.map_err(|_| RecordError::Ended)?;
    let recorded = imported.recorded;
    ended.map_err(|source| RecordError::Interrupted { recorded, source })?;
    let seen = read?;
    imported.read = seen.read;
    imported.price = seen.price;
    imported.refused += seen.refused;
    imported.refusals.extend(seen.refusals);
    imported.refusals.sort_by_key(|row| row.line);
    Ok(())
}

/// Records batches as they come, in their order: the next are prepared while the one before is
/// written. When this returns, whoever reads learns from the closed channel that nothing more is
/// wanted.
async fn record_batches(
    target: &Target<'_>,
    mut batches: mpsc::Receiver<Batch>,
    stops: bool,
    imported: &mut UsageImported,
) -> Result<(), Failure> {
    let wanted = AtomicBool::new(true);
    let next = |context: &mut Context<'_>| match wanted.load(Ordering::Relaxed) {
        true => batches.poll_recv(context),
        false => Poll::Ready(None),
    };
    // Both stages give their results in order, and begin with them in order.
    let answers = poll_fn(next)
        .map(|batch| prepare(target, batch))
        .buffered(PREPARED)
        .map(|ready| write(target, ready))
        .buffered(IN_FLIGHT);
    let mut answers = pin!(answers);
    let mut ended = Ok(());
    // What is on its way is waited for in any case, so that it is counted.
    while let Some(answer) = answers.next().await {
        match answer {
            Ok((lines, answer)) => {
                let agrees = imported.take_in(&lines, &answer);
                wanted.fetch_and(agrees || !stops, Ordering::Relaxed);
            }
            Err(failure) => {
                wanted.store(false, Ordering::Relaxed);
                ended = ended.and(Err(failure));
            }
        }
    }
    ended
}

fn read_batches(
    input: &Input,
    manner: Manner,
    mut checker: Checker,
    shown: ProgressBar,
    sender: &mpsc::Sender<Batch>,
) -> Result<UsageImported, RecordError> {
    let mut seen = UsageImported::default();
    let mut batch = Batch::default();
    let mut keep = |Item { line, usage }: Item| {
        batch.lines.push(line);
        batch.items.push(usage);
        batch.items.len() < BATCH || sender.blocking_send(std::mem::take(&mut batch)).is_ok()
    };
    let source = input.open(shown)?;
    read_rows(source, manner, &mut checker, &mut seen, &mut keep)
        .map_err(|source| RecordError::Fault { input: input.name(), source })?;
    if !batch.items.is_empty() {
        // Nobody listens any more where recording was stopped.
        let _ = sender.blocking_send(batch);
    }
    Ok(seen)
}

/// A batch on its way.
struct Ready {
    lines: Vec<u64>,
    report: UsageReport,
    prepared: Result<PreparedUsage, Failure>,
}

async fn prepare(target: &Target<'_>, Batch { lines, items: records }: Batch) -> Ready {
    let organization_id = target.organization_id;
    let source = target.source.clone();
    let report = UsageReport { organization_id, source, records, command_id: None };
    let prepared = target.executor.prepare_usage(&Caller::system("import"), &report).await;
    Ready { lines, report, prepared }
}

/// Offers a batch to the log until it is taken or refused. That is always safe: every record is
/// known by its id.
async fn write(
    target: &Target<'_>,
    Ready { lines, report, mut prepared }: Ready,
) -> Result<(Vec<u64>, UsageAnswer), Failure> {
    let executor = target.executor;
    let mut wait = WAIT;
    for attempt in 1.. {
        let answer = match prepared {
            Ok(prepared) => executor.record_prepared_usage(prepared).await,
            Err(failure) => Err(failure),
        };
        match answer {
            Err(Failure::Busy | Failure::Unavailable(_)) if attempt < TRIES => {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            answer => return answer.map(|answer| (lines, answer)),
        }
        prepared = executor.prepare_usage(&Caller::system("import"), &report).await;
    }
    Err(Failure::Busy)
}
