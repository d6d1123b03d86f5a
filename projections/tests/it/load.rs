//! A town that goes on living, and readers that look at it all the time, while something happens
//! to its read models.
//!
//! Every reader uses what queries use. For its read model it looks at a figure that only grows with
//! the log: a failed read, a smaller figure or an older position ends the test.

use crate::recording::record;
use crate::town::{Town, priced};
use domain::catalogue::model;
use domain::values::OrganizationId;
use event_log::{CommitMode, EventLog, Position};
use projections::usage::Filter;
use projections::{
    Scope, Walk, audit_trail, bill, catalogue, confirm, credit_statement, directory, purchases,
    services, standings, usage,
};
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use test_postgres::Server;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Everything that goes on meanwhile.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    writer: JoinHandle<(Town, u64)>,
    readers: Vec<JoinHandle<u64>>,
}

/// A town in which every kind of thing has happened.
pub(crate) async fn lively(log: &EventLog) -> Town {
    let mut town = Town::found(log).await;
    for number in 0..140_u8 {
        town.step(log, (number, number / 14, u16::from(number).wrapping_mul(977))).await;
    }
    town
}

impl Load {
    /// Begins to write and to read.
    pub(crate) async fn start(server: &Server, town: Town) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let house = *town.houses.keys().next().unwrap();
        let log = server.open(CommitMode::default()).await;
        let writer = tokio::spawn(write_on(log, town, Arc::clone(&over)));
        let log = server.open(CommitMode::default()).await;
        let names = crate::dump::names();
        let read = |name| tokio::spawn(read_on(log.clone(), name, house, Arc::clone(&over)));
        let readers = names.into_iter().map(read).collect();
        Self { over, writer, readers }
    }

    /// Ends it; answers the town, how many steps it took, and how often the laziest reader looked.
    pub(crate) async fn end(self) -> (Town, u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        let (town, steps) = self.writer.await.unwrap();
        let mut fewest = u64::MAX;
        for reader in self.readers {
            fewest = fewest.min(reader.await.unwrap());
        }
        (town, steps, fewest)
    }
}

async fn write_on(log: EventLog, mut town: Town, over: Arc<AtomicBool>) -> (Town, u64) {
    let (mut steps, mut version) = (0_u64, 1);
    while !over.load(Ordering::Relaxed) {
        let [low, high, ..] = steps.to_le_bytes();
        let how = u16::from_le_bytes([low, high]).wrapping_mul(977);
        town.step(&log, (low, high.wrapping_add(low / 14), how)).await;
        if steps.is_multiple_of(10) {
            version += 1;
            let priced = model::ModelPriced { version, ..priced() };
            let event = model::Event::from(priced).into();
            let stream = "model/gpt-4o".to_owned();
            town.last = record(&log, Uuid::nil(), vec![(stream, event)]).await;
        }
        steps += 1;
    }
    (town, steps)
}

async fn read_on(
    log: EventLog,
    name: &'static str,
    house: OrganizationId,
    over: Arc<AtomicBool>,
) -> u64 {
    let (mut before, mut looks) = ((Position::START, 0), 0);
    while !over.load(Ordering::Relaxed) {
        let position = position(log.pool(), name).await;
        let figure = figure(log.pool(), name, house).await;
        let now = (position, figure);
        assert!(before.0 <= now.0 && before.1 <= now.1, "{name}: {before:?} became {now:?}");
        // What was there stays there for whoever asks with a position in hand.
        let mut connection = log.pool().acquire().await.unwrap();
        confirm(&mut connection, &[name], position).await.unwrap();
        (before, looks) = (now, looks + 1);
    }
    looks
}

/// How far a read model is.
pub(crate) async fn position(pool: &PgPool, name: &str) -> Position {
    let standings = standings(pool).await.unwrap();
    let of_name: Vec<_> = standings.into_iter().filter(|it| it.name == name).collect();
    let [standing] = of_name.as_slice() else { panic!("{name} has {of_name:?}") };
    standing.position
}

/// A figure of a read model that only grows.
async fn figure(pool: &PgPool, name: &str, house: OrganizationId) -> i64 {
    let newest = &Walk::descending(1);
    let at = |position: Option<Position>| position.map_or(0, |it| it.0);
    match name {
        "directory" => {
            let users = directory::users(pool, None, &Walk::ascending(1_000)).await.unwrap();
            i64::try_from(users.len()).unwrap()
        }
        "catalogue" => {
            let model = catalogue::model(pool, &"gpt-4o".parse().unwrap()).await.unwrap();
            i64::from(model.unwrap().version)
        }
        "usage" => {
            let figures = usage::totals(pool, &Filter::of(house)).await.unwrap();
            figures.iter().map(|figure| figure.records).sum()
        }
        "credit_statement" => {
            let lines = credit_statement::statement(pool, house, None, newest).await.unwrap();
            let balance = credit_statement::balance(pool, house).await.unwrap();
            let line = lines.first().map(|line| line.position);
            assert!(balance.map(|it| it.position) >= line, "a balance behind its statement");
            at(line)
        }
        "bill" => {
            let charges = bill::charges(pool, house, None, newest).await.unwrap();
            at(charges.first().map(|charge| charge.position))
        }
        "purchases" => {
            let all = Scope::Everything;
            let bought = purchases::purchases(pool, all, None, newest).await.unwrap();
            at(bought.first().map(|purchase| purchase.initiated_position))
        }
        "services" => {
            let actions = services::actions(pool, None, newest).await.unwrap();
            at(actions.first().map(|action| action.requested_position))
        }
        "audit_trail" => {
            let filter = audit_trail::Filter::of(Scope::Everything);
            let entries = audit_trail::entries(pool, &filter, newest).await.unwrap();
            at(entries.first().map(|entry| entry.position))
        }
        other => panic!("say what grows in {other}"),
    }
}
