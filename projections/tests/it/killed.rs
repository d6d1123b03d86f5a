//! A rebuild that is killed at any moment leaves the live generation serving, and nothing that the
//! next rebuild does not find and remove.

use crate::beside::in_the_making;
use crate::dump;
use crate::load::{Load, lively, position};
use crate::rebuilt::{PATIENCE, all_equal};
use event_log::{CommitMode, EventLog, Settings};
use projections::rebuild::{Comparison, Promote, RebuildError, Rebuilt, rebuild};
use projections::{Definition, Runtime, State, definitions, generations};
use std::time::{Duration, Instant};
use test_postgres::Server;

/// The sessions that own a generation in the making.
const OWNERS: &str = "select pg_terminate_backend(pid) from pg_locks
                       where locktype = 'advisory' and classid = 1869640548 and objsubid = 2";

/// How somebody dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// The process ends, with all it has.
    Process,
    /// The database ends its session.
    Session,
}

/// Starts a rebuild as a process of its own, and ends it after a time. Its outcome, if there was
/// any by then.
async fn cut_off(
    server: &Server,
    definition: Definition,
    after: Duration,
    death: Death,
) -> Option<Result<Rebuilt, RebuildError>> {
    let settings: Settings = server.settings(CommitMode::default());
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let tokio = threads.worker_threads(1).enable_all().build().unwrap();
    let (starting, started) = tokio::sync::oneshot::channel();
    let (done, mut outcome) = tokio::sync::oneshot::channel();
    tokio.spawn(async move {
        let log = EventLog::connect(settings).await.unwrap();
        starting.send(()).unwrap();
        let made = rebuild(&log, &definition, Promote::IfEqual, &mut |_, _| ()).await;
        let _gone = done.send(made);
    });
    started.await.unwrap();
    let early = tokio::time::timeout(after, &mut outcome).await;
    let outcome = match (early, death) {
        (Ok(made), _) => made.ok(),
        (Err(_), Death::Process) => None,
        (Err(_), Death::Session) => {
            server.execute(OWNERS).await;
            // It may have been about to end anyway.
            outcome.await.ok()
        }
    };
    tokio.shutdown_background();
    outcome
}

/// Tables of read models that belong to no generation that is written down.
async fn stray_tables(log: &EventLog) -> Vec<String> {
    let sql = "select relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'read_model' and c.relkind = 'r' and relname ~ '_g[0-9]+$'
                  and relname not in (select unnest(tables) from read_model.projection
                                      union select unnest(tables) from read_model.build)";
    sqlx::query_scalar(sql).fetch_all(log.pool()).await.unwrap()
}

/// The tables of a read model that readers are not shown as the live generation has them.
const NOT_SHOWN: &str = "
    with shown as (
        select v.relname::text as view, t.relname::text as behind
          from pg_class v
          join pg_namespace n on n.oid = v.relnamespace and n.nspname = 'read_model'
          join pg_rewrite r on r.ev_class = v.oid
          join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
           and d.refclassid = 'pg_class'::regclass
          join pg_class t on t.oid = d.refobjid and t.relkind = 'r')
    select e.view || ' shows ' || coalesce(s.behind, 'nothing')
      from unnest($2::text[]) e (view) left join shown s using (view)
     where s.behind is distinct from e.view || '_g' || (
         select generation from read_model.projection where name = $1 and state <> 'retired')";

/// What a killed rebuild may leave: readers see one generation of the read model, whole, and
/// whatever is unfinished is written down and known to be nobody's.
async fn is_in_order(log: &EventLog, definition: &Definition) {
    let name = definition.name;
    let views: Vec<&str> = definition.tables().iter().map(|spec| spec.name).collect();
    let half: Vec<String> =
        sqlx::query_scalar(NOT_SHOWN).bind(name).bind(views).fetch_all(log.pool()).await.unwrap();
    assert_eq!(half, [""; 0], "{name} is half another generation");
    position(log.pool(), name).await;
    let deadline = Instant::now() + PATIENCE;
    while in_the_making(log, name).await.is_some_and(|left| !left.is_abandoned) {
        assert!(Instant::now() < deadline, "what was left is still somebody's");
        tokio::task::yield_now().await;
    }
    assert_eq!(stray_tables(log).await, [""; 0]);
}

/// I23: killed at random points while it builds, catches up, compares and promotes, under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_killed_at_any_moment_leaves_the_live_one_and_the_next_one_works() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = lively(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let load = Load::start(&server, town).await;
    let definitions = definitions();
    // How long each takes when nobody disturbs it.
    let mut wholes = Vec::new();
    for definition in &definitions {
        let begun = Instant::now();
        rebuild(&log, definition, Promote::IfEqual, &mut |_, _| ()).await.unwrap();
        wholes.push(begun.elapsed());
    }
    let (mut unfinished, mut seed) = (0, 7_u32);
    for round in 0..32_u32 {
        let which = usize::try_from(round).unwrap() % definitions.len();
        let (definition, whole) = (definitions[which], wholes[which]);
        // Points spread over the whole of it, and a little beyond.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let after = whole * (seed >> 20) / 3_500;
        let death = if round % 2 == 0 { Death::Process } else { Death::Session };
        let outcome = cut_off(&server, definition, after, death).await;
        is_in_order(&log, &definition).await;
        let is_finished = matches!(&outcome, Some(Ok(rebuilt)) if rebuilt.promoted);
        unfinished += i32::from(!is_finished);
    }
    assert!(unfinished > 3, "only {unfinished} were killed before their end");
    for definition in definitions {
        let promote = Promote::IfEqual;
        let rebuilt = rebuild(&log, &definition, promote, &mut |_, _| ()).await.unwrap();
        assert_eq!((rebuilt.comparison, rebuilt.promoted), (Comparison::Equal, true));
        assert!(in_the_making(&log, definition.name).await.is_none());
    }
    let (town, ..) = load.end().await;
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    assert_eq!(stray_tables(&log).await, [""; 0]);
    all_equal(&log).await;
}

/// I23: killed in the very transaction that promotes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_killed_while_it_promotes_has_promoted_nothing() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = lively(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let before = dump::everything(log.pool()).await;
    for definition in definitions() {
        // Its promotion waits for this reader, with everything done but the commit.
        let mut reader = log.pool().begin().await.unwrap();
        let view = definition.tables().last().unwrap().name;
        let sql = format!("select count(*) from read_model.{view}");
        let _: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *reader).await.unwrap();
        let other = server.open(CommitMode::default()).await;
        let rebuilding = tokio::spawn(async move {
            rebuild(&other, &definition, Promote::IfEqual, &mut |_, _| ()).await
        });
        let waits = "select exists (select from pg_locks
                      where not granted and mode = 'AccessExclusiveLock')";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(log.pool()).await.unwrap() {
            tokio::task::yield_now().await;
        }
        server.execute(OWNERS).await;
        rebuilding.await.unwrap().unwrap_err();
        reader.rollback().await.unwrap();
        is_in_order(&log, &definition).await;
        let left = in_the_making(&log, definition.name).await.unwrap();
        assert_eq!((left.state, left.is_abandoned), (State::Ready, true));
    }
    assert_eq!(dump::everything(log.pool()).await, before);
    let all = generations(log.pool()).await.unwrap();
    assert!(all.iter().filter(|it| it.state == State::Live).all(|it| it.generation == 1));
    runtime.stop().await;
    all_equal(&log).await;
    // The rebuilds of that comparison cleaned up.
    assert!(generations(log.pool()).await.unwrap().iter().all(|it| it.target.is_none()));
    assert_eq!(stray_tables(&log).await, [""; 0]);
}
