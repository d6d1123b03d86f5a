//! From rows to the log: a thread reads and checks, the log takes a thousand at a time.
//!
//! Several batches are on their way at once, so that the next is made while one is committed. What
//! the process holds is bounded by the batches in flight, whatever the file's size.

use super::check::{BadCell, Checker};
use super::file::{FileError, Hashed, Input};
use super::outcome::UsageImported;
use super::rows::{FileFault, Format, Next, Rows};
use commands::{Caller, Executor, Failure, UsageAnswer, UsageItem, UsageReport};
use domain::values::{OrganizationId, Text};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use indicatif::ProgressBar;
use std::io::Read;
use std::time::Duration;
use tokio::sync::mpsc;

/// Records in a batch; the log takes no more at once.
const BATCH: usize = 1_000;
/// Batches on their way to the log.
const IN_FLIGHT: usize = 4;
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
    let (sender, mut batches) = mpsc::channel(READ_AHEAD);
    let from = input.clone();
    let reading =
        tokio::task::spawn_blocking(move || read_batches(&from, manner, checker, shown, &sender));
    let mut in_flight = FuturesOrdered::new();
    let mut ended: Option<Failure> = None;
    let mut goes_on = true;
    loop {
        let is_open = goes_on && ended.is_none() && in_flight.len() < IN_FLIGHT;
        tokio::select! {
            batch = batches.recv(), if is_open => match batch {
                Some(Batch { lines, items }) => {
                    in_flight.push_back(offer(&target, lines, items));
                }
                None => goes_on = false,
            },
            answer = in_flight.next(), if !in_flight.is_empty() => match answer {
                Some((lines, Ok(answer))) => {
                    let agrees = imported.take_in(&lines, &answer);
                    goes_on &= agrees || !manner.stops;
                }
                Some((_, Err(failure))) => ended = ended.or(Some(failure)),
                None => {}
            },
            else => break,
        }
    }
    // Whoever reads learns from the closed channel that nothing more is wanted.
    drop(batches);
    let read = reading.await.map_err(|_| RecordError::Ended)?;
    let recorded = imported.recorded;
    if let Some(source) = ended {
        return Err(RecordError::Interrupted { recorded, source });
    }
    let seen = read?;
    imported.read = seen.read;
    imported.price = seen.price;
    imported.refused += seen.refused;
    imported.refusals.extend(seen.refusals);
    imported.refusals.sort_by_key(|row| row.line);
    Ok(())
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

/// Offers a batch to the log until it is taken or refused. That is always safe: every record is
/// known by its id.
async fn offer(
    target: &Target<'_>,
    lines: Vec<u64>,
    records: Vec<UsageItem>,
) -> (Vec<u64>, Result<UsageAnswer, Failure>) {
    let report = UsageReport {
        organization_id: target.organization_id,
        source: target.source.clone(),
        records,
        command_id: None,
    };
    let caller = Caller::system("import");
    let mut wait = WAIT;
    for _ in 1..TRIES {
        match target.executor.record_usage(&caller, report.clone()).await {
            Err(Failure::Busy | Failure::Unavailable(_)) => {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            answer => return (lines, answer),
        }
    }
    let answer = target.executor.record_usage(&caller, report).await;
    (lines, answer)
}
