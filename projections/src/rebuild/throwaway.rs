//! Read models as they were: a copy in memory, folded from the beginning of the log and thrown away.

use super::RebuildError;
use super::pages::pages;
use crate::occurrence::Occurrence;
use crate::page::chain;
use crate::projection::{Definition, Projection};
use crate::table::RowSet;
use event_log::{EventLog, Position};

/// The rows of a read model as they were at a position: a copy in memory, for whoever asks about
/// the past.
///
/// # Errors
/// [`RebuildError::TooLarge`] beyond `rows_max` rows; see [`RebuildError`] for the rest.
pub async fn build_to<P: Projection>(
    log: &EventLog,
    to: Position,
    rows_max: usize,
) -> Result<P::Rows, RebuildError> {
    let mut rows = P::Rows::default();
    let mut set_aside = std::collections::BTreeSet::new();
    let to = to.min(log.head().await?);
    let mut pages = pages(log, Definition::of::<P>(), Position::START, to);
    while let Some(page) = pages.recv().await {
        for entry in page?.of(0, Position::START, to) {
            if P::PARKS && set_aside.contains(&entry.thing()) {
                continue;
            }
            let take = |occurrence: &Occurrence| {
                if P::PARKS {
                    rows.tables().into_iter().for_each(|table| table.begin());
                }
                P::apply(occurrence, &mut rows)
            };
            let Err(error) = entry.occurrence().and_then(take) else {
                continue;
            };
            if !P::PARKS {
                return Err(RebuildError::Handler {
                    position: entry.position,
                    error: chain(&error),
                });
            }
            rows.tables().into_iter().for_each(|table| table.undo());
            set_aside.insert(entry.thing());
        }
        let count = rows.tables().into_iter().map(|table| table.len()).sum();
        if count > rows_max {
            return Err(RebuildError::TooLarge { rows: count, limit: rows_max });
        }
    }
    Ok(rows)
}
