//! Pages of the log on their way into a generation that readers do not see.

use super::RebuildError;
use crate::builds::Stage;
use crate::page::{Decoder, Page};
use crate::projection::Definition;
use crate::reader::{Applied, Reader};
use crate::rows_sql::Written;
use event_log::{EventLog, Position, ReadError};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

/// How many events are read at once.
pub(super) const PAGE_EVENTS: usize = 2_000;
/// How many positions one statement reads: the database keeps what the oldest statement may see.
const STRETCH_POSITIONS: i64 = 200_000;

/// Takes the events up to a position into the tables of a generation. Rows, checkpoint and what is
/// shown of the progress move together, a page at a time; `taken` is told what was written.
pub(super) async fn follow(
    log: &EventLog,
    owner: &mut PgConnection,
    (reader, stage): (&mut Reader, &mut Stage),
    target: Position,
    taken: &mut (dyn FnMut(Position, Written) + Send),
) -> Result<(), RebuildError> {
    let from = reader.standing.position;
    if from >= target {
        return Ok(());
    }
    let mut pages = pages(log, reader.definition, from, target);
    while let Some(page) = pages.recv().await {
        let page = page?;
        let mut step = owner.begin().await?;
        let applied = reader.apply(&mut step, &page, target).await?;
        check(&applied)?;
        let written = reader.write(&mut step, &applied.parked).await?;
        stage.moved(&mut step, &reader.standing, (applied.to, target)).await?;
        step.commit().await?;
        reader.standing.position = applied.to;
        taken(applied.to, written);
    }
    Ok(())
}

pub(super) fn check(applied: &Applied) -> Result<(), RebuildError> {
    match &applied.stopped {
        None => Ok(()),
        Some((position, error)) => {
            Err(RebuildError::Handler { position: *position, error: error.clone() })
        }
    }
}

/// Reads and decodes ahead of whoever takes the pages.
pub(super) fn pages(
    log: &EventLog,
    definition: Definition,
    after: Position,
    to: Position,
) -> mpsc::Receiver<Result<Page, ReadError>> {
    let (sender, receiver) = mpsc::channel(2);
    let (log, types) = (log.clone(), definition.takes.names());
    tokio::spawn(async move {
        let decoder = Decoder::new(&[definition]);
        let mut from = after;
        while from < to {
            let until = Position(from.0.saturating_add(STRETCH_POSITIONS).min(to.0));
            let mut stretches = log.read_ahead(from, until, types.as_deref(), PAGE_EVENTS);
            while let Some(stretch) = stretches.recv().await {
                let page = stretch.map(|stretch| decoder.stretch(stretch));
                let is_broken = page.is_err();
                if sender.send(page).await.is_err() || is_broken {
                    return;
                }
            }
            from = until;
        }
    });
    receiver
}
