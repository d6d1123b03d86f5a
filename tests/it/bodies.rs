//! Bodies of events through the front door: what is not shown is not loaded, and the door serves
//! no more at once than it can.

use crate::evidence::{fields, raw, sealed, two_organizations};
use reqwest::Method;
use sqlx::{Connection as _, Executor as _};
use std::time::Duration;
use tests::World;
use tokio::task::JoinSet;

/// How long an answer may take that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event as an archived partition keeps it: its body in a bundle, and the bundle is not here.
const ARCHIVE: &str = "
    set session_replication_role = replica;
    update event_log.log
       set payload_commit = sha256('\\x02'::bytea || payload_salt || payload),
           meta_commit = sha256('\\x03'::bytea || meta_salt || meta),
           payload = '', meta = '', payload_salt = '', meta_salt = ''
     where type = 'credits_granted' and tenant =
           (select tenant from event_log.log where type = 'credits_granted'
             order by position desc limit 1);
    insert into event_log.archive (number, file, archived_at) values (0, 'elsewhere', now())";

#[tokio::test]
async fn bodies_that_the_reader_may_not_see_are_not_even_loaded() {
    let (world, owner, _, checkpoint) = two_organizations().await;
    world.postgres().execute(ARCHIVE).await;
    let path = format!("/log/v1/bodies/000.p/{}", checkpoint.size().min(255));
    let (status, own) = raw(&owner, &path).await;
    assert_eq!(status, 200);
    let shown: Vec<_> = fields(&own).into_iter().filter(|it| it[0].is_some()).collect();
    let granted = |payload: &Option<Vec<u8>>| {
        String::from_utf8_lossy(payload.as_deref().unwrap_or_default()).contains("\"5.000000\"")
    };
    assert!(shown.iter().any(|event| granted(&event[2])), "{} are shown", shown.len());
    // Whoever may see it needs it.
    assert_eq!(raw(world.admin(), &path).await.0, 500);
    world.end().await;
}

#[tokio::test]
async fn more_who_ask_for_bodies_at_once_than_are_served_are_told_to_come_back() {
    let world = World::furnished().await;
    let (checkpoint, _) = sealed(&world).await;
    let path = format!("/log/v1/bodies/000.p/{}", checkpoint.size().min(255));
    let mut slow = world.postgres().superuser().await;
    let mut lock = slow.begin().await.unwrap();
    lock.execute("lock table event_log.checkpoint in access exclusive mode").await.unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..5 {
        let request = world.admin().request(Method::GET, &path);
        asking.spawn(async move { request.send().await.unwrap() });
    }
    // Four wait for the database; the other one does not wait for them.
    let first = tokio::time::timeout(PATIENCE, asking.join_next()).await;
    let turned_away = first.expect("one is turned away").unwrap().unwrap();
    assert_eq!(turned_away.status(), 503);
    assert_eq!(turned_away.headers()["retry-after"], "1");
    let said = turned_away.text().await.unwrap();
    assert!(said.contains("UNAVAILABLE") && said.contains("ask again"), "{said}");
    lock.rollback().await.unwrap();
    while let Some(served) = asking.join_next().await {
        let served = served.unwrap();
        assert_eq!(served.status(), 200);
        assert!(!served.bytes().await.unwrap().is_empty());
    }
    // What was sent has left its place.
    tests::until("a place", async || (raw(world.admin(), &path).await.0 == 200).then_some(()))
        .await;
    slow.close().await.unwrap();
    world.end().await;
}
