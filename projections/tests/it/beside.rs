//! A rebuild goes on beside the live read model: it is seen from outside, nobody waits for it, and
//! promotion and going back never show less than was shown before.

use crate::dump;
use crate::load::{Load, lively};
use crate::rebuilt::{PATIENCE, all_equal};
use crate::recording::{append_usage, usage_record};
use crate::town::Town;
use event_log::{CommitMode, EventLog, Position};
use projections::rebuild::{Comparison, Promote, RebuildError, Rebuilt, rebuild, roll_back};
use projections::{Definition, Generation, Runtime, State, Walk, definitions, generations, usage};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use test_postgres::Server;
use tokio::task::JoinHandle;

fn definition(name: &str) -> Definition {
    definitions().into_iter().find(|it| it.name == name).unwrap()
}

/// The generation of a read model that somebody works on.
pub(crate) async fn in_the_making(log: &EventLog, name: &str) -> Option<Generation> {
    let all = generations(log.pool()).await.unwrap();
    all.into_iter().find(|it| it.name == name && it.target.is_some())
}

/// I23: promotion, going back and promotion again never move a reader back, for every read model,
/// while the town writes and the runtime keeps all of them up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_read_model_is_rebuilt_under_load_and_no_reader_fails_or_goes_back() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = lively(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let before = town.last;
    let other = server.open(CommitMode::default()).await;
    let load = Load::start(&server, town).await;
    for definition in definitions() {
        for generation in [2, 3] {
            let promote = Promote::IfEqual;
            let rebuilt = rebuild(&other, &definition, promote, &mut |_, _| ()).await.unwrap();
            assert_eq!(rebuilt.comparison, Comparison::Equal, "{}", rebuilt.name);
            assert_eq!((rebuilt.promoted, rebuilt.generation), (true, generation));
        }
        assert_eq!(roll_back(&other, &definition).await.unwrap(), 2);
        assert!(in_the_making(&log, definition.name).await.is_none());
    }
    let (town, steps, looks) = load.end().await;
    assert!(steps > 50 && looks > 20, "{steps} steps and {looks} looks are no load");
    assert!(town.last.0 > before.0 + 50);
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    crate::models::agree(log.pool(), &town).await;
    all_equal(&log).await;
}

/// A rebuild of the usage that stops in its tracks whenever it has come further, until it is told
/// to go on.
struct Halting {
    halts: Receiver<(Position, Position)>,
    go_on: SyncSender<()>,
    task: JoinHandle<Result<Rebuilt, RebuildError>>,
}

impl Halting {
    fn start(log: EventLog) -> Self {
        let (halted, halts) = sync_channel(0);
        let (go_on, going) = sync_channel::<()>(0);
        let task = tokio::spawn(async move {
            let mut watch = move |at: Position, to: Position| {
                // Somebody else has to look after what this thread would have.
                tokio::task::block_in_place(|| {
                    // Nobody listens any more: go on to the end.
                    if halted.send((at, to)).is_ok() {
                        let _ended = going.recv();
                    }
                });
            };
            rebuild(&log, &definition("usage"), Promote::IfEqual, &mut watch).await
        });
        Self { halts, go_on, task }
    }

    fn next(&self) -> (Position, Position) {
        self.halts.recv_timeout(PATIENCE).unwrap()
    }

    /// Lets it go on without any further halt.
    async fn finish(self) -> Result<Rebuilt, RebuildError> {
        drop(self.halts);
        let _gone = self.go_on.try_send(());
        drop(self.go_on);
        self.task.await.unwrap()
    }
}

/// Usage of the first house, in batches; answers the last position.
async fn much_usage(log: &EventLog, town: &mut Town, batches: u128) {
    let house = *town.houses.keys().next().unwrap();
    for batch in 0..batches {
        let id = |it: u128| {
            uuid::Uuid::from_u128(
                (1 << 100) | (u128::from(town.last.0.unsigned_abs()) << 40) | (batch << 20) | it,
            )
        };
        let record = |it: u16| (crate::models::at(i64::from(it)), usage_record(id(it.into()), it));
        let records: Vec<_> = (0..900).map(record).collect();
        town.last = *append_usage(log, house, &records).await.last().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_shows_its_states_and_how_far_it_is_and_holds_nobody_up() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = lively(&log).await;
    much_usage(&log, &mut town, 2).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let begun_at = town.last;
    let halting = Halting::start(server.open(CommitMode::default()).await);
    let (_, target) = halting.next();
    assert_eq!(target, begun_at);
    let building = in_the_making(&log, "usage").await.unwrap();
    assert_eq!((building.state, building.generation), (State::Building, 2));
    assert_eq!((building.target, building.is_abandoned), (Some(begun_at), false));
    // The live one goes on meanwhile, and readers see what comes.
    much_usage(&log, &mut town, 5).await;
    runtime.progress().wait(&["usage"], town.last, PATIENCE).await.unwrap();
    halting.go_on.send(()).unwrap();
    // From here on the halts are those of catching up, once the whole is folded.
    let caught = loop {
        let (at, _) = halting.next();
        let seen = in_the_making(&log, "usage").await.unwrap();
        if seen.state == State::CatchingUp {
            assert_eq!((seen.position, seen.target), (at, Some(town.last)));
            assert!(seen.events_per_second.unwrap() > 0, "{seen:?}");
            break seen;
        }
        assert_eq!(seen.state, State::Building);
        halting.go_on.send(()).unwrap();
    };
    assert!(caught.position > begun_at && caught.position < town.last, "{caught:?}");
    // Whoever holds the live one holds up the comparison: until then it is ready.
    let mut hold = log.pool().begin().await.unwrap();
    let sql = "select 1 from read_model.projection where name = 'usage' for update";
    sqlx::query(sql).execute(&mut *hold).await.unwrap();
    let finishing = tokio::spawn(halting.finish());
    loop {
        let seen = in_the_making(&log, "usage").await.unwrap();
        if seen.state == State::Ready {
            assert_eq!(seen.position, town.last);
            break;
        }
        tokio::task::yield_now().await;
    }
    hold.rollback().await.unwrap();
    let rebuilt = finishing.await.unwrap().unwrap();
    assert_eq!((rebuilt.comparison, rebuilt.promoted), (Comparison::Equal, true));
    let states: Vec<(i32, State)> = generations(log.pool())
        .await
        .unwrap()
        .into_iter()
        .filter(|it| it.name == "usage")
        .map(|it| (it.generation, it.state))
        .collect();
    assert_eq!(states, [(1, State::Retired), (2, State::Live)]);
    runtime.stop().await;
    all_equal(&log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_rebuilds_of_one_read_model_one_works_and_the_other_says_so() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = lively(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let halting = Halting::start(server.open(CommitMode::default()).await);
    halting.next();
    let promote = Promote::Always;
    let usage = definition("usage");
    let busy = rebuild(&log, &usage, promote, &mut |_, _| ()).await.unwrap_err();
    assert!(matches!(&busy, RebuildError::Busy(name) if name == "usage"), "{busy}");
    assert!(busy.to_string().contains("--status"), "{busy}");
    let busy = roll_back(&log, &usage).await.unwrap_err();
    assert!(matches!(busy, RebuildError::Busy(_)), "{busy}");
    // Another read model is another matter, and the one at work was not disturbed.
    let bill = rebuild(&log, &definition("bill"), promote, &mut |_, _| ()).await.unwrap();
    assert!(bill.promoted);
    let rebuilt = halting.finish().await.unwrap();
    assert_eq!((rebuilt.comparison, rebuilt.promoted), (Comparison::Equal, true));
    assert!(rebuild(&log, &usage, promote, &mut |_, _| ()).await.unwrap().promoted);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_reads_for_long_delays_the_promotion_and_no_other_reader() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = lively(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let mut long = log.pool().begin().await.unwrap();
    let sql = "select count(*) from read_model.usage_hour";
    let _: i64 = sqlx::query_scalar(sql).fetch_one(&mut *long).await.unwrap();
    let other = server.open(CommitMode::default()).await;
    let rebuilding = tokio::spawn(async move {
        rebuild(&other, &definition("usage"), Promote::IfEqual, &mut |_, _| ()).await
    });
    // The promotion waits for the lock, gives up, and comes again: twice is enough to know.
    let waiting =
        "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'";
    let (mut tries, mut was_waiting) = (0, false);
    let house = *town.houses.keys().next().unwrap();
    while tries < 2 {
        let count: i64 = sqlx::query_scalar(waiting).fetch_one(log.pool()).await.unwrap();
        tries += i32::from(count > 0 && !was_waiting);
        was_waiting = count > 0;
        let (filter, walk) = (usage::Filter::of(house), Walk::ascending(10));
        let reading = usage::hours(log.pool(), &filter, &walk);
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    }
    assert!(!rebuilding.is_finished());
    long.commit().await.unwrap();
    assert!(rebuilding.await.unwrap().unwrap().promoted);
    runtime.stop().await;
    all_equal(&log).await;
}
