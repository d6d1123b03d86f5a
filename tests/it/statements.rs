//! How many statements a document costs the database: a number that does not grow with its rows.

use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::World;
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Counts what the database driver says it sent.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query" && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The fewest statements of several tries: others in the process ask now and then, too.
async fn statements(world: &World, counter: &Counter, document: &str) -> usize {
    let mut fewest = usize::MAX;
    for _ in 0..20 {
        let before = counter.0.load(Ordering::Relaxed);
        let _answer = world.admin().query(document).await.accepted();
        fewest = fewest.min(counter.0.load(Ordering::Relaxed) - before);
    }
    fewest
}

#[tokio::test]
async fn the_statements_of_a_document_do_not_grow_with_its_rows() {
    let counter = Counter::default();
    tracing::subscriber::set_global_default(counter.clone()).expect("the only subscriber");
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let small = world.organization("small", "free", &owner).await;
    let large = world.organization("large", "free", &owner).await;
    for at in 0..8 {
        let (user, _) = world.user(&format!("u{at}"), &[]).await;
        let add = json!({ "organizationId": large, "userId": user, "role": "MEMBER" });
        let _added = world.admin().run("memberAdd", add, "").await.accepted();
    }
    world.read_models_have_caught_up().await;
    let document = |id: &str| {
        format!(
            "{{ organization(id: \"{id}\") {{ members {{ nodes {{ role user {{ id roles }} }} }} \
             creditBalance {{ available }} }} }}"
        )
    };
    let one = statements(&world, &counter, &document(&small)).await;
    let nine = statements(&world, &counter, &document(&large)).await;
    assert!(one > 3, "the driver tells nothing: {one} statements");
    assert!(nine <= one, "{one} statements for one member, {nine} for nine");
    let back = document(&large).replace("members", "members(last: 9, orderBy: DESCENDING)");
    let nine = statements(&world, &counter, &back).await;
    assert!(nine <= one, "{one} statements forward, {nine} back");
    world.end().await;
}
