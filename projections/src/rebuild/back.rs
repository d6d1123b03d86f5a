//! Going back to the generation before.
//!
//! It is brought up to where the live one stands before readers see it, by the handlers that made
//! it: so only a program of that version can go back to it, and readers never do in position.

use super::{BEGIN, RebuildError, check, pages, shown};
use crate::control;
use crate::projection::Definition;
use crate::reader::Reader;
use crate::rows_sql::{self, Write};
use event_log::{EventLog, Position};

/// Lets readers see the generation before the live one again; answers its number.
///
/// # Errors
/// [`RebuildError::NothingKept`] when none is kept that these handlers made; see [`RebuildError`]
/// for the rest. Nothing has changed then.
pub async fn roll_back(log: &EventLog, definition: &Definition) -> Result<i32, RebuildError> {
    let mut transaction = log.pool().begin_with(BEGIN).await?;
    control::lock_rebuild(&mut transaction, definition.name).await?;
    let live = shown(&mut transaction, definition, true).await?;
    let kept = control::kept(&mut transaction, definition.name).await?;
    let is_ours = |code_version, layout: &str| {
        code_version == definition.version && layout == definition.layout()
    };
    let kept = kept.filter(|kept| is_ours(kept.code_version, &kept.layout)).ok_or_else(|| {
        let (name, version) = (definition.name.to_owned(), definition.version);
        RebuildError::NothingKept { name, version }
    })?;
    let generation = kept.generation;
    let from: Position = kept.position;
    let mut reader = Reader::open(&mut transaction, *definition, kept, 0).await?;
    if from < live.position {
        let mut pages = pages(log, *definition, from, live.position);
        while let Some(page) = pages.recv().await {
            let applied = reader.apply(&mut transaction, &page?, live.position).await?;
            check(&applied)?;
            reader.write(&mut transaction, &applied.parked, Write::Over).await?;
            reader.standing.position = applied.to;
        }
    }
    control::swap(&mut transaction, &live, &reader.standing).await?;
    rows_sql::show(&mut transaction, definition, generation).await?;
    transaction.commit().await?;
    Ok(generation)
}
