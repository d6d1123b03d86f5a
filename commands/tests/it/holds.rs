//! Legal holds that are placed while something is about to be destroyed: never overlooked.

use crate::world::*;
use commands::{
    AccessCommand, Command, Executor, Failure, Outcome, RetentionCommand, Subject, TenancyCommand,
};
use domain::identity::user::ErasureGround;
use domain::retention::HoldTarget;
use domain::tenancy::OrganizationRole;
use domain::values::UserId;
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
