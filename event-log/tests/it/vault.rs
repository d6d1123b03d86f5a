//! The vault: what is kept of a person beside the log opens for them only, and goes with their key.

use crate::world::TENANT;
use event_log::{CommitMode, EventLog, KeyError, KeyRing, MasterKey, Opened};
use test_postgres::Server;
use uuid::Uuid;

async fn items(log: &EventLog, subject: Uuid) -> i64 {
    sqlx::query_scalar("select count(*) from event_log.subject_vault where subject = $1")
        .bind(subject)
        .fetch_one(log.pool())
        .await
        .unwrap()
}

async fn ring(log: &EventLog) -> KeyRing {
    let master = MasterKey::from_base64(&data_encoding::BASE64.encode(&[7; 32])).unwrap();
    KeyRing::open(log, &master).await.unwrap()
}

#[tokio::test]
async fn a_value_is_one_item_of_its_person_and_is_gone_once_they_are_erased() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    let (here, elsewhere) = (ring(&log).await, ring(&log).await);
    let (ada, bob) = (Uuid::now_v7(), Uuid::now_v7());
    let first = here.keep(TENANT, ada, b"203.0.113.7").await.unwrap();
    assert_eq!(here.keep(TENANT, ada, b"203.0.113.7").await.unwrap(), first);
    assert_eq!(elsewhere.keep(TENANT, ada, b"203.0.113.7").await.unwrap(), first);
    let second = here.keep(TENANT, ada, b"203.0.113.8").await.unwrap();
    let of_bob = elsewhere.keep(TENANT, bob, b"203.0.113.7").await.unwrap();
    assert!(first != second && first != of_bob);
    assert_eq!((items(&log, ada).await, items(&log, bob).await), (2, 1));
    let clear = Opened::Clear(b"203.0.113.7".to_vec());
    assert_eq!(elsewhere.look_up(TENANT, ada, first).await.unwrap(), clear);
    assert_eq!(here.look_up(TENANT, bob, of_bob).await.unwrap(), clear);
    // It opens for its own person only, also when somebody moves the row.
    assert_eq!(here.look_up(TENANT, bob, first).await.unwrap(), Opened::Erased);
    let moved = "update event_log.subject_vault v set sealed = o.sealed
                   from event_log.subject_vault o
                  where v.mark <> o.mark and v.subject <> o.subject";
    let kept = "create table kept as select * from event_log.subject_vault";
    server.execute(kept).await;
    server.execute(moved).await;
    let damaged = here.look_up(TENANT, bob, of_bob).await;
    assert!(matches!(damaged, Err(KeyError::Damaged { .. })), "{damaged:?}");
    let back = "update event_log.subject_vault v set sealed = k.sealed from kept k
                 where k.item = v.item; drop table kept";
    server.execute(back).await;
    assert!(here.erase(TENANT, ada).await.unwrap());
    assert_eq!((items(&log, ada).await, items(&log, bob).await), (0, 1));
    for ring in [&here, &elsewhere] {
        assert_eq!(ring.look_up(TENANT, ada, first).await.unwrap(), Opened::Erased);
        assert_eq!(ring.look_up(TENANT, bob, of_bob).await.unwrap(), clear);
    }
    let refused = here.keep(TENANT, ada, b"203.0.113.9").await;
    assert!(matches!(refused, Err(KeyError::Erased { .. })), "{refused:?}");
    assert_eq!(items(&log, ada).await, 0);
    log.close().await;
}

#[tokio::test]
async fn nobody_writes_to_a_vault_but_by_keeping_and_nothing_is_kept_beside_an_erasure() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    let ring = ring(&log).await;
    for change in
        ["delete from event_log.subject_vault", "update event_log.subject_vault set item = item"]
    {
        let refused = sqlx::query(change).execute(log.pool()).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
    for turn in 0..20_u8 {
        let (subject, value) = (Uuid::now_v7(), [turn]);
        let _known = ring.keep(TENANT, subject, b"first").await.unwrap();
        let (erased, _kept_or_refused) =
            tokio::join!(ring.erase(TENANT, subject), ring.keep(TENANT, subject, &value));
        assert!(erased.unwrap());
        assert_eq!(items(&log, subject).await, 0, "turn {turn}");
    }
    log.close().await;
}
