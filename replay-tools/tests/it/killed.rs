//! `rebuild` as a process that is killed with SIGKILL around its promotion: readers see the old
//! generation or the new one, whole, and the next rebuild works.

use crate::server::Server;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use std::process::Child;
use std::time::{Duration, Instant};

/// The generation that the checkpoint names, and every generation that a view of it shows.
const SHOWN: &str = "
    select (select generation from read_model.projection
             where name = 'directory' and state <> 'retired') || ' shown as ' ||
           string_agg(distinct substring(t.relname from '_g([0-9]+)$'), ' and ') ||
           ' in ' || count(distinct v.relname)
      from pg_class v
      join pg_namespace n on n.oid = v.relnamespace and n.nspname = 'read_model'
      join pg_rewrite r on r.ev_class = v.oid
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
       and d.refclassid = 'pg_class'::regclass
      join pg_class t on t.oid = d.refobjid and t.relkind = 'r'
     where v.relname like 'directory%'";
const LIVE: &str = "select generation::bigint from read_model.projection
                     where name = 'directory' and state = 'live'";
/// Whether somebody still works on it.
const AT_WORK: &str = "select exists (select from read_model.generation
                        where name = 'directory' and not is_abandoned and target is not null)";
const PROMOTES: &str = "select exists (select from pg_locks
                         where not granted and mode = 'AccessExclusiveLock')";

/// The tables, in the order in which they are exchanged.
fn tables() -> Vec<&'static str> {
    let definitions = projections::definitions();
    let directory = definitions.iter().find(|it| it.name == "directory").unwrap();
    directory.tables().iter().map(|spec| spec.name).collect()
}

fn rebuilding(server: &Server) -> Child {
    server.tool("opscenter").args(["rebuild", "directory"]).spawn().unwrap()
}

/// Looks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
    }
}

/// SIGKILL: it has no time for anything.
async fn kill(server: &Server, mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
    until("its session lives on", async || !server.ask::<bool>(AT_WORK).await).await;
}

/// What readers see: one generation, the one that the checkpoint is of, in every view.
async fn is_whole(server: &Server, generation: i64) {
    let expected = format!("{generation} shown as {generation} in {}", tables().len());
    assert_eq!(server.ask::<String>(SHOWN).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_promotes_the_old_generation_or_the_new_one_is_live_and_whole() {
    let server = Server::start().await;
    server.replay(&["rebuild", "directory"]).well();
    let users = "select json_agg(u order by user_id)::text from read_model.directory_user u";
    let before: String = server.ask(users).await;
    let old: i64 = server.ask(LIVE).await;
    is_whole(&server, old).await;

    // A reader of the last table: the other views are exchanged already, uncommitted.
    let mut reader = PgConnection::connect(&server.url("opscenter")).await.unwrap();
    reader.execute("begin").await.unwrap();
    let last = format!("select count(*) from read_model.{}", tables().last().unwrap());
    reader.execute(sqlx::AssertSqlSafe(last)).await.unwrap();
    let process = rebuilding(&server);
    until("it does not promote", async || server.ask::<bool>(PROMOTES).await).await;
    kill(&server, process).await;
    is_whole(&server, old).await;
    reader.execute("rollback").await.unwrap();
    is_whole(&server, old).await;
    assert_eq!(server.ask::<String>(users).await, before);

    // Killed as soon as anybody can see the new one.
    let process = rebuilding(&server);
    until("it is not promoted", async || server.ask::<i64>(LIVE).await > old).await;
    kill(&server, process).await;
    let new: i64 = server.ask(LIVE).await;
    is_whole(&server, new).await;
    assert_eq!(server.ask::<String>(users).await, before);

    let again = server.replay(&["rebuild", "directory", "--json"]).well().json();
    assert_eq!((&again["comparison"], &again["promoted"]), (&"equal".into(), &true.into()));
    let back = server.replay(&["rebuild", "directory", "--roll-back", "--json"]).well().json();
    assert_eq!(back["generation"], new, "the one that outlived its maker is kept");
    is_whole(&server, new).await;
}
