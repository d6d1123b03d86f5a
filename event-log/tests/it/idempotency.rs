//! Idempotency (I7): a command id takes effect once, and every repeat gets the first answer again.

use crate::world::*;
use event_log::{AppendError, UsageOutcome};
use test_postgres::Server;
use tokio::task::JoinSet;

#[tokio::test]
async fn i7_a_command_id_takes_effect_once_and_is_answered_alike_for_ever() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let name = format!("{mode:?}");
        let asked = expecting(&name, 0, command(vec![on(&name, "1"), on(&name, "2")]));
        let first = accepted(&log, asked.clone()).await;
        assert!(!first.was_replayed);
        // Same id and content, although its expectation no longer holds.
        let again = accepted(&log, asked.clone()).await;
        assert!(again.was_replayed);
        assert_eq!(event_log::Receipt { was_replayed: false, ..again }, first);
        // Same id, other content; and as another tenant's.
        let mut other = asked.clone();
        other.command.content_hash = [2; 32];
        let mut foreign = asked.clone();
        foreign.tenant = uuid::Uuid::nil();
        for reuse in [other, foreign] {
            let AppendError::CommandReused { command_id } = refused(&log, reuse).await else {
                panic!("a reused id was not noticed");
            };
            assert_eq!(command_id, first.command_id);
        }
        // Another id at the same version.
        let late = expecting(&name, 0, command(vec![on(&name, "3")]));
        assert!(matches!(refused(&log, late.clone()).await, AppendError::Conflict { .. }));
        // What was refused left no receipt: the same id may be asked again and then counts.
        assert_eq!(log.receipt(late.command.id).await.unwrap(), None);
        let mut retried = late;
        retried.conditions.clear();
        assert!(!accepted(&log, retried).await.was_replayed);
        // An empty append.
        let empty = command(vec![]);
        let receipt = accepted(&log, empty.clone()).await;
        let head = log.head().await.unwrap();
        assert_eq!((receipt.first_position, receipt.last_position), (head, head));
        accepted(&log, command(vec![loose("later")])).await;
        let again = accepted(&log, empty).await;
        assert_eq!((again.last_position, again.event_ids.len()), (head, 0));
        assert_eq!(
            log.receipt(first.command_id).await.unwrap().unwrap().event_ids,
            first.event_ids
        );
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_fifty_retries_at_once_have_one_effect_and_equal_receipts() {
    let server = Server::start().await;
    for mode in MODES {
        let logs = [server.open(mode).await, server.open(mode).await];
        let head = logs[0].head().await.unwrap();
        let asked = command(vec![loose("once")]);
        let mut retries = JoinSet::new();
        for retry in 0..50 {
            let (log, asked) = (logs[retry % 2].clone(), asked.clone());
            retries.spawn(async move { accepted(&log, asked).await });
        }
        let mut fresh = 0;
        while let Some(ended) = retries.join_next().await {
            let receipt = ended.unwrap();
            assert_eq!(receipt.first_position, head.next());
            assert_eq!(receipt.event_ids, [asked.events[0].event_id]);
            fresh += usize::from(!receipt.was_replayed);
        }
        assert_eq!(fresh, 1);
        assert_eq!(logs[0].head().await.unwrap(), head.next());
        for log in logs {
            log.close().await;
        }
    }
}

#[tokio::test]
async fn i7_a_usage_batch_that_is_a_command_is_answered_alike() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let source = format!("{mode:?}");
        log.append_usage(usage(&source, &[("known", "0")])).await.unwrap();
        let mut batch = usage(&source, &[("a", "1"), ("known", "0"), ("a", "1"), ("b", "2")]);
        batch.command = Some(command(vec![]).command);
        let first = log.append_usage(batch.clone()).await.unwrap();
        let again = log.append_usage(batch.clone()).await.unwrap();
        assert!(again.was_replayed && !first.was_replayed);
        assert_eq!(event_log::UsageReceipt { was_replayed: false, ..again }, first);
        let kept = log.receipt(batch.command.unwrap().id).await.unwrap().unwrap();
        assert_eq!((Some(kept.first_position), kept.event_ids.len()), (first.first_position, 2));
        // A batch in which nothing is new replays as such, too.
        let mut stale = usage(&source, &[("a", "1")]);
        stale.command = Some(command(vec![]).command);
        let first = log.append_usage(stale.clone()).await.unwrap();
        assert!(matches!(first.outcomes[..], [UsageOutcome::Repeated(_)]));
        log.append_usage(usage(&source, &[("c", "3")])).await.unwrap();
        assert_eq!(log.append_usage(stale).await.unwrap().outcomes, first.outcomes);
        verified(&log).await;
        log.close().await;
    }
}
