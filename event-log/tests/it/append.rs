//! Appending and reading back: what goes in comes out, and a refusal leaves nothing behind.

use crate::world::*;
use event_log::{AppendError, Position};
use test_postgres::Server;

#[tokio::test]
async fn what_was_appended_is_read_back_as_it_was() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let head = log.head().await.unwrap();
        let mut event = on("round-trip", [0, 159, 146, 150]);
        event.meta = b"about".to_vec();
        event.correlation = Some(uuid::Uuid::now_v7());
        let receipt = accepted(&log, command(vec![event.clone(), loose("x")])).await;
        assert_eq!(receipt.first_position, head.next());
        assert_eq!(receipt.last_position, head.next().next());
        let read = log.read(head, 10).await.unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].payload, event.payload);
        assert_eq!(read[0].meta, event.meta);
        assert_eq!(read[0].stream, event.stream);
        assert_eq!(read[0].correlation, event.correlation);
        assert_eq!(read[0].event_id, event.event_id);
        assert_eq!(read[0].recorded_at, receipt.recorded_at);
        assert_eq!(read[1].stream_version, None);
        assert_eq!(verified(&log).await, receipt.last_position);
        log.close().await;
    }
}

#[tokio::test]
async fn a_conflict_names_the_stream_and_both_versions() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let name = format!("{mode:?}");
        accepted(&log, expecting(&name, 0, command(vec![on(&name, "1"), on(&name, "2")]))).await;
        let error = refused(&log, expecting(&name, 1, command(vec![on(&name, "3")]))).await;
        let AppendError::Conflict { stream: named, expected, actual } = error else {
            panic!("{error}");
        };
        assert_eq!((named, expected, actual), (stream(&name), 1, 2));
        assert_eq!(log.stream_head(&stream(&name)).await.unwrap().unwrap().0, 2);
        log.close().await;
    }
}

#[tokio::test]
async fn usage_is_recorded_once_and_a_repeat_is_told_where() {
    use event_log::UsageOutcome::{Different, Recorded, Repeated};
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let source = format!("{mode:?}");
        let p = |offset: i64, head: Position| Position(head.0 + offset);
        let head = log.head().await.unwrap();
        let first = log.append_usage(usage(&source, &[("a", "1"), ("b", "2"), ("a", "1")])).await;
        let first = first.unwrap();
        assert_eq!(
            first.outcomes,
            [Recorded(p(1, head)), Recorded(p(2, head)), Repeated(p(1, head))]
        );
        let again = log.append_usage(usage(&source, &[("b", "2"), ("c", "3"), ("a", "9")])).await;
        assert_eq!(
            again.unwrap().outcomes,
            [Repeated(p(2, head)), Recorded(p(3, head)), Different { position: p(1, head) }]
        );
        // The first of the batch contradicts what stands; the second only repeats it.
        let mixed = log.append_usage(usage(&source, &[("a", "9"), ("a", "1")])).await.unwrap();
        assert_eq!(mixed.outcomes, [Different { position: p(1, head) }, Repeated(p(1, head))]);
        assert_eq!((mixed.first_position, mixed.last_position), (None, None));
        assert_eq!(log.usage_position(TENANT, &source, "b").await.unwrap(), Some(p(2, head)));
        assert_eq!(verified(&log).await, p(3, head));
        log.close().await;
    }
}
