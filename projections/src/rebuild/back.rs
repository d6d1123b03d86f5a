//! Going back to the generation before.
//!
//! It is brought up to where the live one stands before readers see it, by the handlers that made
//! it: so only a program of that version can go back to it, and readers never do in position. That
//! happens in steps while the live one goes on; it is held still only for the last of them.

use super::pages::{PAGE_EVENTS, follow};
use super::{ATTEMPTS, PAUSE, RebuildError, SWAP, disown, own, shown};
use crate::builds::{self, Stage};
use crate::control::{self, Standing, State};
use crate::projection::Definition;
use crate::reader::Reader;
use crate::rows_sql;
use event_log::EventLog;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// Lets readers see the generation before the live one again; answers its number.
///
/// # Errors
/// [`RebuildError::NothingKept`] when none is kept that these handlers made; see [`RebuildError`]
/// for the rest. Readers see what they saw then.
pub async fn roll_back(log: &EventLog, definition: &Definition) -> Result<i32, RebuildError> {
    let mut owner = own(log, definition.name).await?;
    let back = bring_back(log, &mut owner, definition).await;
    disown(owner, definition.name).await;
    back
}

async fn bring_back(
    log: &EventLog,
    owner: &mut PgConnection,
    definition: &Definition,
) -> Result<i32, RebuildError> {
    builds::discard(owner, definition.name).await?;
    let kept = kept(owner, definition).await?;
    let (generation, from) = (kept.generation, kept.position);
    let live = shown(owner, definition, false).await?;
    let standing = (generation, definition.version, State::CatchingUp);
    builds::insert(owner, definition, standing, (from, live.position)).await?;
    let mut stage = Stage::new(definition.name, State::CatchingUp, from);
    let mut reader = Reader::open(owner, *definition, kept, 0).await?;
    let near = i64::try_from(PAGE_EVENTS).unwrap_or(i64::MAX);
    loop {
        let live = shown(owner, definition, false).await?;
        if live.position.0 - reader.standing.position.0 <= near {
            break;
        }
        let going = (&mut reader, &mut stage);
        follow(log, owner, going, live.position, &mut |_, _| ()).await?;
    }
    let mut attempts = 1;
    loop {
        match swap(log, owner, reader.standing.clone(), &mut stage, definition).await {
            Err(error) if error.is_lock_timeout() && attempts < ATTEMPTS => attempts += 1,
            other => return other.map(|()| generation),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Holds the live one still, takes the last events in, and lets readers see the one before.
async fn swap(
    log: &EventLog,
    owner: &mut PgConnection,
    standing: Standing,
    stage: &mut Stage,
    definition: &Definition,
) -> Result<(), RebuildError> {
    let generation = standing.generation;
    let mut swap = owner.begin_with(SWAP).await?;
    let live = shown(&mut swap, definition, true).await?;
    // Opened anew: what an attempt that failed left in memory was never written.
    let mut reader = Reader::open(&mut swap, *definition, standing, 0).await?;
    follow(log, &mut swap, (&mut reader, stage), live.position, &mut |_, _| ()).await?;
    control::swap(&mut swap, &live, &reader.standing).await?;
    builds::strike(&mut swap, definition.name).await?;
    rows_sql::show(&mut swap, definition, generation).await?;
    Ok(swap.commit().await?)
}

/// The generation that is kept, if these handlers made it.
async fn kept(owner: &mut PgConnection, definition: &Definition) -> Result<Standing, RebuildError> {
    let kept = control::kept(owner, definition.name).await?;
    let is_ours =
        |it: &Standing| it.code_version == definition.version && it.layout == definition.layout();
    kept.filter(is_ours).ok_or_else(|| {
        let (name, version) = (definition.name.to_owned(), definition.version);
        RebuildError::NothingKept { name, version }
    })
}
