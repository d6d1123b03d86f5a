//! What can be seen is not yet on disk, and a crash of the database in that moment takes it back.
//! Nobody may have acted on it.
//!
//! The moment is made long: while the brake is on, no append reaches the disk, though everybody
//! sees it. Then one of the database's processes is killed, whereupon it ends all others, forgets
//! what they shared, and begins anew from the disk.

use crate::programs::furnished::{Furnished, MODEL, furnish};
use crate::programs::{Folder, eventually, signal};
use commands::flows::{self, charging};
use commands::{
    Caller, CreditCommand, Executor, Failure, Outcome, Request, SystemClock, UsageItem,
    UsageReport, new_command_id,
};
use domain::Event;
use domain::credits::{Event as CreditEvent, GrantKind, GrantSource};
use domain::values::OrganizationId;
use event_log::{CommitMode, EventLog, Position, Settings};
use installation::{Access, Installation, Place};
use sqlx::ConnectOptions as _;
use std::sync::Arc;
use std::time::Duration;
use test_postgres::Server;
use tokio::runtime::Runtime;

/// Every barrier waits while there is a row in `brake`.
const BRAKE: [&str; 6] = [
    "create table public.brake (is_on boolean)",
    "grant select on public.brake to public",
    "alter function event_log.flush(text) rename to flush_without_brake",
    "create function event_log.flush(barrier text) returns void language plpgsql as $$
     begin
         while exists (select from public.brake) loop
             perform pg_sleep(0.01);
         end loop;
         perform event_log.flush_without_brake(barrier);
     end
     $$",
    // Writing pages of tables would write the log before them.
    "alter system set bgwriter_lru_maxpages = 0",
    "select pg_reload_conf()",
];

/// A database with a brake, and what is written in it.
struct Scene {
    database: Server,
    /// The process that writes to the disk what nobody waits for; it is stopped while braking.
    writer: u32,
    furnished: Furnished,
    place: Place,
    _folder: Folder,
}

impl Scene {
    async fn set() -> Self {
        let (folder, database) = (Folder::new(), Server::start().await);
        let mut place = Place::folder(&folder.0);
        let url = database.role("opscenter_service").to_url_lossy();
        place.database_url = Some(url.to_string());
        let furnished = furnish(&place).await;
        for statement in BRAKE {
            database.execute(statement).await;
        }
        let writer = writer_of(&database).await.expect("every database has one");
        Self { database, writer, furnished, place, _folder: folder }
    }

    async fn open(&self) -> Process {
        Process::open(&self.place).await
    }

    async fn brake(&self) {
        self.database.execute("insert into public.brake values (true)").await;
        signal(self.writer, "STOP");
    }

    /// Everything that was not on disk is gone.
    async fn crash(&self) {
        signal(self.writer, "KILL");
        eventually("a database that began anew", async || {
            let writer = writer_of(&self.database).await?;
            (writer != self.writer).then_some(())
        })
        .await;
        self.database.execute("delete from public.brake").await;
    }
}

async fn writer_of(database: &Server) -> Option<u32> {
    let mut connection = database.admin().connect().await.ok()?;
    let sql = "select pid from pg_stat_activity where backend_type = 'walwriter'";
    let found: Option<i32> = sqlx::query_scalar(sql).fetch_optional(&mut connection).await.ok()?;
    u32::try_from(found?).ok()
}

/// A process of its own, as far as the database can tell: dropped, it ends where it stands.
struct Process {
    threads: Option<Runtime>,
    executor: Executor,
}

impl Process {
    async fn open(place: &Place) -> Self {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        let threads = threads.worker_threads(1).enable_all().build().expect("threads");
        let place = place.clone();
        let opening = threads.spawn(async move {
            // The moment between "seen" and "on disk" is there only where a barrier follows.
            let barrier = |settings: &mut Settings| settings.commit_mode = CommitMode::Barrier;
            let opened = Installation::open_with(&place, Access::Write, barrier).await;
            let opened = opened.expect("it opens");
            let keys = opened.keys().expect("there are keys").clone();
            Executor::new(opened.log().clone(), keys, Arc::new(SystemClock))
        });
        let executor: Executor = opening.await.expect("it opens");
        // So that it can decide by what happened until now without asking the disk again.
        executor.log().settle().await.expect("it is on disk");
        Self { threads: Some(threads), executor }
    }

    fn log(&self) -> &EventLog {
        self.executor.log()
    }

    /// Lets it do something by itself.
    fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.threads.as_ref().expect("it runs").spawn(work)
    }

    async fn head(&self) -> Position {
        self.log().head().await.expect("the head")
    }

    /// Returns once something more can be seen, or says that it does not come.
    async fn grows(&self, from: Position) -> bool {
        let growth = eventually("more to see", async || (self.head().await > from).then_some(()));
        tokio::time::timeout(Duration::from_millis(700), growth).await.is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

async fn ask(executor: Executor, command: CreditCommand) -> Result<Outcome, Failure> {
    let (command_id, caller) = (new_command_id(), Caller::system("test"));
    let command = command.into();
    let request = Request { command_id, caller, expected_version: None, command };
    loop {
        match executor.execute(request.clone()).await {
            // What is not known is asked again under the same id, as every client does.
            Err(Failure::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            answer => return answer,
        }
    }
}

fn report(organization_id: OrganizationId) -> UsageReport {
    let record = |number: i32| UsageItem {
        usage_id: format!("{number}").parse().expect("text"),
        occurred_at: "2026-11-16T18:15:46Z".parse().expect("a moment"),
        model: Some(MODEL.parse().expect("a model")),
        power: Default::default(),
        quantities: [("llm_tokens_input".parse().expect("a meter"), 374)].into(),
    };
    let (source, records) = ("test".parse().expect("text"), (0..10).map(record).collect());
    UsageReport { organization_id, source, records, command_id: None }
}

/// Where usage stands in the log, and which of it was charged.
async fn used_and_charged(log: &EventLog) -> (Vec<i64>, Vec<i64>) {
    let (mut used, mut charged) = (Vec::new(), Vec::new());
    for recorded in log.read(Position::START, 10_000).await.expect("the log") {
        let (name, version) = (&recorded.type_name, recorded.schema_version);
        match Event::decode(name, version, &recorded.payload).expect("an event") {
            Event::Usage(_) => used.push(recorded.position.0),
            Event::CreditAccount(CreditEvent::UsageCharged(event)) => {
                charged.extend(event.lines.iter().map(|line| line.usage_position));
            }
            _ => {}
        }
    }
    charged.sort_unstable();
    (used, charged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_a_crash_took_back_is_not_charged() {
    let scene = Scene::set().await;
    let (gateway, charger) = (scene.open().await, scene.open().await);
    scene.brake().await;
    let before = gateway.head().await;
    let (executor, report) = (gateway.executor.clone(), report(scene.furnished.metered));
    gateway.begin(async move { executor.record_usage(&Caller::system("test"), report).await });
    assert!(charger.grows(before).await, "usage can be seen");
    let (executor, seen) = (charger.executor.clone(), charger.head().await);
    let charging =
        charger.begin(async move { charging::catch_up(&executor, seen, &mut |_| {}).await });
    // It comes if charging does not wait for the disk.
    charger.grows(seen).await;

    // Nobody reports it again.
    drop(gateway);
    scene.crash().await;
    // Whether it went on or gave up: the flow begins again.
    drop(charging.await);
    flows::settle(&charger.executor).await.expect("everything is charged");
    let (used, charged) = used_and_charged(charger.log()).await;
    assert_eq!(charged, used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_that_a_crash_took_back_are_not_spent() {
    let scene = Scene::set().await;
    let organization_id = scene.furnished.counted;
    let (giver, spender) = (scene.open().await, scene.open().await);
    scene.brake().await;
    let before = giver.head().await;
    let grant = CreditCommand::CreditGrant {
        organization_id,
        credits: "1".parse().expect("credits"),
        kind: GrantKind::Promotional,
        source: GrantSource::Manual { reason: "a gift".parse().expect("text") },
        priority: 100,
        effective_at: None,
        expires_at: None,
    };
    giver.begin(ask(giver.executor.clone(), grant));
    assert!(spender.grows(before).await, "the grant can be seen");
    let spend = CreditCommand::CreditSpend {
        organization_id,
        credits: "1".parse().expect("credits"),
        reason: "a call".parse().expect("text"),
    };
    let seen = spender.head().await;
    let spent = spender.begin(ask(spender.executor.clone(), spend));
    // It comes if the spender does not wait for the disk.
    spender.grows(seen).await;

    // Nobody gives the credits again.
    drop(giver);
    scene.crash().await;
    match spent.await.expect("a task") {
        Err(Failure::Refused(refusal)) => assert_eq!(refusal.code(), "CREDITS_TOO_FEW"),
        other => panic!("{other:?}"),
    }
}
