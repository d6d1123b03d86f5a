//! Rebuilt equals live: for random histories, cut into random batches, with random interruptions.

use crate::dump;
use crate::process::Process;
use crate::recording::{append_usage, usage_record};
use crate::town::{Step, Town};
use event_log::CommitMode;
use event_log::{EventLog, Settings};
use projections::rebuild::{Comparison, Promote, rebuild, rebuild_within};
use projections::{Options, Runtime};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;
use test_postgres::Server;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Rebuilds every read model and compares it with the live one, byte for byte.
pub(crate) async fn all_equal(log: &EventLog) {
    for definition in projections::definitions() {
        let rebuilt = rebuild(log, &definition, Promote::Never, &mut |_, _| ()).await.unwrap();
        assert_eq!(rebuilt.comparison, Comparison::Equal, "{}", definition.name);
        assert!(!rebuilt.promoted);
    }
}

/// A part of a history, and how it is taken in.
#[derive(Clone, Debug)]
struct Stretch {
    steps: Vec<Step>,
    page_events: usize,
    /// After how many steps the runtime is cut off wherever it is, to be started anew.
    cut_every: usize,
}

fn stretch() -> impl Strategy<Value = Stretch> {
    (vec(any::<Step>(), 10..60), 1_usize..40, 2_usize..30)
        .prop_map(|(steps, page_events, cut_every)| Stretch { steps, page_events, cut_every })
}

async fn live_through(settings: &Settings, log: &EventLog, town: &mut Town, stretch: &Stretch) {
    let options = Options { page_events: stretch.page_events, ..Options::default() };
    for steps in stretch.steps.chunks(stretch.cut_every) {
        // Killed at the end of its scope, in the middle of whatever it is at.
        let _process = Process::start(settings.clone(), options.clone()).await;
        for step in steps {
            town.step(log, *step).await;
        }
    }
    let runtime = Runtime::start_with(log, projections::definitions(), options).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    crate::models::agree(log.pool(), town).await;
    all_equal(log).await;
}

#[test]
fn rebuilt_rows_equal_live_ones_byte_for_byte_for_any_history_batches_and_interruptions() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let (server, log, town) = tokio.block_on(async {
        let server = Server::start().await;
        let log = server.open(CommitMode::default()).await;
        let town = Town::found(&log).await;
        (server, log, town)
    });
    let settings = server.settings(CommitMode::default());
    // One town lives through all cases: what came before is part of every history.
    let town = std::cell::RefCell::new(town);
    let config =
        Config { cases: 10, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&stretch(), |stretch| {
            tokio.block_on(live_through(&settings, &log, &mut town.borrow_mut(), &stretch));
            Ok(())
        })
        .unwrap();
    tokio.block_on(has_variety(&log));
}

/// A history in which little happened would prove little.
async fn has_variety(log: &EventLog) {
    let sql = "select distinct type from event_log.log order by 1";
    let types: Vec<String> = sqlx::query_scalar(sql).fetch_all(log.pool()).await.unwrap();
    assert!(types.len() > 30, "only {types:?}");
}

#[tokio::test]
async fn a_crash_of_the_database_costs_neither_rows_nor_order() {
    let mut server = Server::start().await;
    let mut log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    let mut runtime = Runtime::start(&log).await.unwrap();
    for round in 0_u16..3 {
        for number in 0..40_u8 {
            town.step(&log, (number, number, round * 1_000 + u16::from(number) * 331)).await;
        }
        // What was acknowledged survives; the read models are at most what the log is.
        server.crash_and_restart();
        if round == 1 {
            drop(runtime);
            log = server.open(CommitMode::default()).await;
            runtime = Runtime::start(&log).await.unwrap();
        }
        runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    }
    runtime.stop().await;
    crate::models::agree(log.pool(), &town).await;
    all_equal(&log).await;
}

#[tokio::test]
async fn a_read_model_that_does_not_fit_into_memory_is_rebuilt_page_by_page_to_the_same_rows() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    for number in 0..40_u8 {
        town.step(&log, (number, number, u16::from(number) * 331)).await;
    }
    let house = *town.houses.keys().next().unwrap();
    for batch in 0..5_u128 {
        let id = |it: u128| uuid::Uuid::from_u128((1 << 100) | (batch * 1_000 + it));
        let records: Vec<_> = (0..900_u16)
            .map(|it| (crate::models::at(i64::from(it)), usage_record(id(it.into()), it)))
            .collect();
        town.last = *append_usage(&log, house, &records).await.last().unwrap();
    }
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    for definition in projections::definitions() {
        let before = indexes(&log, 1).await;
        let promote = Promote::IfEqual;
        let rebuilt = rebuild_within(&log, &definition, promote, 0, &mut |_, _| ()).await.unwrap();
        assert_eq!(rebuilt.comparison, Comparison::Equal, "{}", definition.name);
        assert_eq!(rebuilt.position, town.last);
        assert!(rebuilt.promoted);
        let after = indexes(&log, rebuilt.generation).await;
        let of_both = before.iter().filter(|index| after.contains(index)).count();
        assert!(of_both > 0 && of_both == after.len(), "{before:#?} {after:#?}");
    }
    assert_eq!(indexes(&log, 1).await, indexes(&log, 2).await);
}

/// The keys and indexes of every table of a generation, without its number.
async fn indexes(log: &EventLog, generation: i32) -> Vec<String> {
    let sql = "select regexp_replace(indexdef, '_g[0-9]+', '', 'g') from pg_indexes
                where schemaname = 'read_model' and tablename ~ ('_g' || $1::text || '$')
                order by 1";
    sqlx::query_scalar(sql).bind(generation).fetch_all(log.pool()).await.unwrap()
}
