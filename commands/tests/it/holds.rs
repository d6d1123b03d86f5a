//! Legal holds that are placed while something is about to be destroyed: never overlooked.

use crate::world::*;
use commands::{
    AccessCommand, Command, Executor, Failure, Outcome, RetentionCommand, Subject, TenancyCommand,
};
use domain::identity::user::ErasureGround;
use domain::retention::{HoldTarget, RecordKind};
use domain::tenancy::OrganizationRole;
use domain::values::UserId;
use event_log::Position;
use sqlx::{Connection, PgConnection};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What everybody who appends waits for, held by the test.
struct Line {
    holder: PgConnection,
    watcher: PgConnection,
}

impl Line {
    async fn hold(world: &World) -> Self {
        let (mut holder, watcher) =
            (world.server.superuser().await, world.server.superuser().await);
        let sql = "select pg_advisory_lock(1869640547, 1)";
        sqlx::query(sql).execute(&mut holder).await.unwrap();
        Self { holder, watcher }
    }

    /// Asks something; returns when its append waits, as the `place`-th.
    async fn join(
        &mut self,
        place: i64,
        executor: &Executor,
        command: impl Into<Command>,
    ) -> JoinHandle<Result<Outcome, Failure>> {
        let (executor, asked) = (executor.clone(), request(&system(), command));
        let asking = tokio::spawn(async move { executor.execute(asked).await });
        let sql = "select count(*) from pg_locks where locktype = 'advisory'
                    and classid = 1869640547 and objid = 1 and not granted";
        let waiting = async {
            loop {
                let count: i64 =
                    sqlx::query_scalar(sql).fetch_one(&mut self.watcher).await.unwrap();
                if count >= place || asking.is_finished() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it waits");
        asking
    }

    /// Lets them go on, in the order in which they came.
    async fn release(self) {
        self.holder.close().await.unwrap();
        self.watcher.close().await.unwrap();
    }
}

fn hold(target: HoldTarget) -> RetentionCommand {
    RetentionCommand::LegalHoldPlace { target, reason: text("case 2026-17") }
}

fn erase(user_id: UserId) -> AccessCommand {
    AccessCommand::PersonErase { user_id, ground: ErasureGround::Requested, reference: None }
}

fn code_of(failure: &Failure) -> &'static str {
    match failure {
        Failure::Refused(refusal) => refusal.code(),
        _ => panic!("{failure} is no refusal"),
    }
}

#[tokio::test]
async fn a_hold_on_an_organization_at_the_same_moment_refuses_the_erasure_of_a_member() {
    let world = World::on_tier("professional").await;
    let person = world.member("held@x.org", OrganizationRole::Member).await.user_id().unwrap();
    let target = HoldTarget::Organization(world.organization);
    let other = executor(&world.server).await;
    // At first there was never a hold, then there was one.
    for turn in 0..2 {
        let mut line = Line::hold(&world).await;
        let held = line.join(1, &world.executor, hold(target)).await;
        // It has looked for holds, found none, and waits behind one.
        let erased = line.join(2, &other, erase(person)).await;
        line.release().await;
        let held = held.await.unwrap().unwrap();
        let refused = erased.await.unwrap().expect_err("a hold stands");
        assert_eq!(code_of(&refused), "LEGAL_HOLD_STANDS", "{turn}: {refused}");
        let Subject::LegalHold(_, legal_hold_id) = held.subject else { panic!("it is of a hold") };
        let reason = text("closed");
        let release = RetentionCommand::LegalHoldRelease { target, legal_hold_id, reason };
        world.asks(release).await.unwrap();
    }
    world.asks(erase(person)).await.unwrap();
}

#[tokio::test]
async fn who_joins_a_held_organization_at_the_same_moment_is_not_erased() {
    let world = World::on_tier("professional").await;
    let user_id = world.person("joins@x.org").await;
    world.asks(hold(HoldTarget::Organization(world.organization))).await.unwrap();
    let other = executor(&world.server).await;
    let (organization_id, role) = (world.organization, OrganizationRole::Member);
    let mut line = Line::hold(&world).await;
    let add = TenancyCommand::MemberAdd { organization_id, user_id, role };
    let joined = line.join(1, &world.executor, add).await;
    let erased = line.join(2, &other, erase(user_id)).await;
    line.release().await;
    joined.await.unwrap().unwrap();
    let refused = erased.await.unwrap().expect_err("a hold stands");
    assert_eq!(code_of(&refused), "LEGAL_HOLD_STANDS", "{refused}");
}

/// The log's clock, forty days on.
const LATER: &str = "create or replace function event_log.clock() returns timestamptz
    language sql volatile as $$select clock_timestamp() + interval '40 days'$$";

fn purge() -> RetentionCommand {
    RetentionCommand::RetentionPurge { organization_id: None, kind: RecordKind::Denials }
}

/// A world whose platform has refused something that may be purged by now.
async fn with_old_denials() -> World {
    let world = World::on_tier("professional").await;
    world.refuses_and_keeps_that(30).await;
    world.server.execute(LATER).await;
    // The log's time goes on with what it records.
    world.grant("1").await;
    world
}

/// How many denials have lost their bodies.
async fn bare(world: &World) -> usize {
    let events = world.log().read(Position(0), 10_000).await.unwrap();
    events.iter().filter(|event| event.payload.is_empty()).count()
}

#[tokio::test]
async fn records_of_the_platform_are_kept_while_a_hold_stands_on_anything() {
    let world = with_old_denials().await;
    let owner = world.person("other@x.org").await;
    let organizations =
        [world.organization, world.organization_of("rival", owner, "professional").await];
    let mut held = Vec::new();
    for organization_id in organizations {
        let placed = world.asks(hold(HoldTarget::Organization(organization_id))).await.unwrap();
        let Subject::LegalHold(target, id) = placed.subject else { panic!("it is of a hold") };
        held.push((target, id));
    }
    held.sort_by_key(|(target, _)| target.to_string());
    let refused = world.asks(purge()).await.unwrap_err();
    let said = refused.to_string();
    assert_eq!(code_of(&refused), "LEGAL_HOLD_STANDS");
    for part in [&held[0].1.to_string(), &held[0].0.to_string(), "release it first", "; 1 more of"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(bare(&world).await, 0);
    for (target, legal_hold_id) in held {
        let refused = world.asks(purge()).await.unwrap_err();
        assert!(refused.to_string().contains(&legal_hold_id.to_string()), "{refused}");
        let reason = text("closed");
        let release = RetentionCommand::LegalHoldRelease { target, legal_hold_id, reason };
        world.asks(release).await.unwrap();
    }
    let purged = world.asks(purge()).await.unwrap();
    assert_eq!((purged.receipt.event_ids.len(), bare(&world).await), (1, 1));
}

#[tokio::test]
async fn a_hold_at_the_same_moment_keeps_the_records_of_the_platform() {
    let world = with_old_denials().await;
    let other = executor(&world.server).await;
    let mut line = Line::hold(&world).await;
    let target = HoldTarget::Organization(world.organization);
    let held = line.join(1, &world.executor, hold(target)).await;
    let purged = line.join(2, &other, purge()).await;
    line.release().await;
    held.await.unwrap().unwrap();
    let refused = purged.await.unwrap().expect_err("a hold stands");
    assert_eq!(code_of(&refused), "LEGAL_HOLD_STANDS", "{refused}");
    assert_eq!(bare(&world).await, 0);
}
