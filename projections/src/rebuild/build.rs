//! The stages of a rebuild: building, catching up, ready, promoted.

use super::compare::{self, Comparison};
use super::pages::{PAGE_EVENTS, check, follow, pages};
use super::{ATTEMPTS, PAUSE, Promote, RebuildError, Rebuilt, SWAP, shown};
use crate::builds::{self, Stage};
use crate::control::{self, Standing, State};
use crate::projection::Definition;
use crate::reader::Reader;
use crate::rows_sql::{self, Written};
use event_log::{EventLog, Position};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::{Duration, Instant};

/// Holds the live generation still. Whoever is stopped in its tracks meanwhile loses the hold.
const STILL: &str = "begin; set local idle_in_transaction_session_timeout = '10s'";
/// Shows both generations as they are at one moment.
const SNAPSHOT: &str = "begin isolation level repeatable read, read only";
type Watch<'a> = &'a mut (dyn FnMut(Position, Position) + Send);

/// A generation in the making.
struct Build<'a> {
    log: &'a EventLog,
    /// The session that owns it and writes it.
    owner: &'a mut PgConnection,
    reader: Reader,
    stage: Stage,
    rebuilt: Rebuilt,
    watch: Watch<'a>,
}

/// Makes a generation, up to its promotion where that is wanted. What is not promoted is left to
/// be thrown away.
pub(super) async fn make(
    log: &EventLog,
    owner: &mut PgConnection,
    definition: &Definition,
    (promote, rows_in_memory): (Promote, usize),
    watch: Watch<'_>,
) -> Result<Rebuilt, RebuildError> {
    let (mut build, target) = Build::begin(log, owner, definition, watch).await?;
    build.whole(target, rows_in_memory).await?;
    build.catch_up().await?;
    build.rebuilt.comparison = build.compare().await?;
    build.rebuilt.position = build.reader.standing.position;
    let is_wanted = match promote {
        Promote::Never => false,
        Promote::IfEqual => !matches!(build.rebuilt.comparison, Comparison::Different(_)),
        Promote::Always => true,
    };
    if is_wanted {
        build.promote(promote).await?;
    }
    Ok(build.rebuilt)
}

/// How far a generation should be.
async fn target_of(
    log: &EventLog,
    definition: &Definition,
    live: &Standing,
) -> Result<Position, RebuildError> {
    match compare::obstacle(definition, live) {
        None => Ok(live.position),
        Some(_) => Ok(log.head().await?.max(live.position)),
    }
}

impl<'a> Build<'a> {
    async fn begin(
        log: &'a EventLog,
        owner: &'a mut PgConnection,
        definition: &Definition,
        watch: Watch<'a>,
    ) -> Result<(Self, Position), RebuildError> {
        let live = shown(owner, definition, false).await?;
        let target = target_of(log, definition, &live).await?;
        let generation = builds::begin(owner, definition, target).await?;
        let standing = Standing {
            generation,
            code_version: definition.version,
            state: State::Building,
            position: Position::START,
            ..live
        };
        let reader = Reader::open(owner, *definition, standing, 0).await?;
        let stage = Stage::new(definition.name, State::Building, Position::START);
        let rebuilt = Rebuilt {
            name: definition.name.to_owned(),
            generation,
            position: Position::START,
            rows: 0,
            comparison: Comparison::Impossible(String::new()),
            promoted: false,
            folding: Duration::ZERO,
            writing: Duration::ZERO,
        };
        Ok((Self { log, owner, reader, stage, rebuilt, watch }, target))
    }

    /// Folds in memory and writes in bulk.
    async fn whole(&mut self, target: Position, rows_in_memory: usize) -> Result<(), RebuildError> {
        let (begun, mut parked) = (Instant::now(), Vec::new());
        let mut pages = pages(self.log, self.reader.definition, Position::START, target);
        while let Some(page) = pages.recv().await {
            let applied = self.reader.fold(&page?, target);
            check(&applied)?;
            parked.extend(applied.parked);
            (self.watch)(applied.to, target);
            self.stage.note(self.owner, applied.to, target).await?;
            if self.reader.rows_in_memory() > rows_in_memory {
                break;
            }
        }
        drop(pages);
        self.rebuilt.folding = begun.elapsed();
        let begun = Instant::now();
        let mut copying = self.owner.begin().await?;
        self.rebuilt.rows = self.reader.write_all(&mut copying, &parked).await?;
        let standing = &self.reader.standing;
        self.stage.moved(&mut copying, standing, (standing.position, target)).await?;
        copying.commit().await?;
        let (definition, generation) = (self.reader.definition, self.reader.standing.generation);
        rows_sql::create_keys(self.owner, &definition, generation).await?;
        // What did not fit into memory goes in faster while readers' indexes are not there yet.
        self.follow(target).await?;
        rows_sql::create_indexes(self.owner, &definition, generation).await?;
        self.rebuilt.writing = begun.elapsed();
        Ok(())
    }

    /// Goes on page by page, over the rows that are there.
    async fn follow(&mut self, target: Position) -> Result<(), RebuildError> {
        let (rows, watch) = (&mut self.rebuilt.rows, &mut self.watch);
        let mut taken = |at: Position, written: Written| {
            *rows += rows_sql::count(&written);
            watch(at, target);
        };
        let reader = (&mut self.reader, &mut self.stage);
        follow(self.log, self.owner, reader, target, &mut taken).await
    }

    /// Takes in what was recorded meanwhile, in steps, until it is about as far as the live one.
    async fn catch_up(&mut self) -> Result<(), RebuildError> {
        let definition = self.reader.definition;
        let near = i64::try_from(PAGE_EVENTS).unwrap_or(i64::MAX);
        let at = self.reader.standing.position;
        self.stage.enter(self.owner, State::CatchingUp, (at, at)).await?;
        loop {
            let at = self.reader.standing.position;
            let live = shown(self.owner, &definition, false).await?;
            let target = target_of(self.log, &definition, &live).await?;
            self.follow(target).await?;
            if target.0 - at.0 <= near {
                return Ok(self.stage.enter(self.owner, State::Ready, (target, target)).await?);
            }
        }
    }

    /// Compares it with the live one in one snapshot in which both are at the same position. The
    /// live one is held still only until there is such a snapshot.
    async fn compare(&mut self) -> Result<Comparison, RebuildError> {
        let definition = self.reader.definition;
        loop {
            let mut still = self.log.pool().begin_with(STILL).await?;
            let live = shown(&mut still, &definition, true).await?;
            if let Some(why) = compare::obstacle(&definition, &live) {
                return Ok(Comparison::Impossible(why));
            }
            self.follow(live.position).await?;
            let mut snapshot = self.owner.begin_with(SNAPSHOT).await?;
            let seen = shown(&mut snapshot, &definition, false).await?;
            // The hold may have been lost; then the positions tell.
            let _released = still.rollback().await;
            let standing = &self.reader.standing;
            if seen.generation == live.generation && seen.position == standing.position {
                let generations = (live.generation, standing.generation);
                return Ok(compare::compare(&mut snapshot, &definition, generations).await?);
            }
            snapshot.rollback().await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn promote(&mut self, promote: Promote) -> Result<(), RebuildError> {
        let mut attempts = 1;
        loop {
            match self.try_to_promote(promote).await {
                Err(error) if error.is_lock_timeout() && attempts < ATTEMPTS => attempts += 1,
                other => return other,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Holds the live one still, takes the last events in, and lets readers see the new one: all
    /// in one transaction.
    async fn try_to_promote(&mut self, promote: Promote) -> Result<(), RebuildError> {
        let definition = self.reader.definition;
        let mut transaction = self.owner.begin_with(SWAP).await?;
        let live = shown(&mut transaction, &definition, true).await?;
        let target = target_of(self.log, &definition, &live).await?;
        let before = self.reader.standing.clone();
        // Opened anew: what an attempt that failed left in memory was never written.
        let mut reader = Reader::open(&mut transaction, definition, before, 0).await?;
        let mut touched = Written::new();
        let mut taken = |_: Position, written: Written| touched.extend(written);
        let going = (&mut reader, &mut self.stage);
        follow(self.log, &mut transaction, going, target, &mut taken).await?;
        let standing = reader.standing;
        let mut comparison = self.rebuilt.comparison.clone();
        if comparison == Comparison::Equal {
            let generations = (live.generation, standing.generation);
            comparison = compare::touched(&mut transaction, &touched, generations).await?;
        }
        if promote == Promote::IfEqual && matches!(comparison, Comparison::Different(_)) {
            transaction.rollback().await?;
            self.rebuilt.comparison = comparison;
            return Ok(());
        }
        let (generation, position) = (standing.generation, standing.position);
        control::retire_shown(&mut transaction, definition.name).await?;
        control::insert(&mut transaction, &definition, generation, position).await?;
        builds::strike(&mut transaction, definition.name).await?;
        rows_sql::show(&mut transaction, &definition, generation).await?;
        transaction.commit().await?;
        self.rebuilt.rows += rows_sql::count(&touched);
        (self.rebuilt.comparison, self.rebuilt.position) = (comparison, position);
        self.rebuilt.promoted = true;
        Ok(())
    }
}
