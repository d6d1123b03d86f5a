//! Events that were set aside, tried again in their order.
//!
//! The generation stands still meanwhile. Each event that is taken in leaves the list in the same
//! transaction, so that none is applied twice; the first that fails again stays, with all behind
//! it.

use crate::control;
use crate::page::Decoder;
use crate::parking;
use crate::projection::Definition;
use crate::reader::Reader;
use crate::rebuild::RebuildError;
use event_log::{EventLog, Position};

/// What came of trying again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retried {
    /// How many events were taken in.
    pub applied: usize,
    /// How many are still set aside.
    pub left: usize,
    /// Why the first of these could not be taken in.
    pub error: Option<String>,
}

/// Tries again what a read model set aside of one thing.
///
/// # Errors
/// See [`RebuildError`]; nothing has changed then.
pub async fn retry(
    log: &EventLog,
    definition: &Definition,
    thing: &str,
) -> Result<Retried, RebuildError> {
    let mut transaction = log.pool().begin().await?;
    let shown = control::shown(&mut transaction, definition.name, true).await?;
    let standing = shown.ok_or_else(|| RebuildError::Unknown(definition.name.to_owned()))?;
    let mut waiting = parking::parked(&mut *transaction, definition.name).await?;
    waiting.retain(|parked| parked.thing == thing);
    let mut reader = Reader::open(&mut transaction, *definition, standing.clone(), 0).await?;
    reader.forgive(thing);
    let decoder = Decoder::new(&[*definition]);
    let mut retried = Retried { applied: 0, left: waiting.len(), error: None };
    for parked in waiting {
        let recorded = log.event(parked.position).await?.into_iter().collect();
        let Some(page) = decoder.page(recorded) else { break };
        reader.standing.position = Position(parked.position.0 - 1);
        let applied = reader.apply(&mut transaction, &page, parked.position).await?;
        if let Some(again) = applied.parked.first() {
            retried.error = Some(again.error.clone());
            break;
        }
        reader.write(&mut transaction, &[]).await?;
        parking::unpark(&mut transaction, &standing, parked.position).await?;
        retried.applied += 1;
        retried.left -= 1;
    }
    control::revise(&mut transaction, &standing).await?;
    transaction.commit().await?;
    Ok(retried)
}
