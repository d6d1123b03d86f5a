//! An import that is killed at any moment, and imported again, ends in the same totals.

use crate::data::{calls, prices};
use crate::import_usage::{MAP, expected};
use crate::world::{PATIENCE, World};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often it is killed; `OPS_KILL_ROUNDS` asks for more.
const ROUNDS: u32 = 5;

#[tokio::test]
async fn killed_at_random_moments_and_imported_again_it_ends_in_the_same_totals() {
    let world = World::furnished().await;
    let (calls, list) = (calls(world.folder()), prices(world.folder()).display().to_string());
    world.run(&["import", "models", &list]).await.ended(0);
    let path = calls.path.display().to_string();
    let import = |slug: &'static str| {
        let organization = ["--organization", slug, "--model", "gpt-4o", "--map", MAP, "--json"];
        ["import", "usage", &path].into_iter().chain(organization).collect::<Vec<&str>>()
    };
    // How long it takes when nobody disturbs it.
    let begun = Instant::now();
    world.run(&import("professional")).await.ended(0);
    let whole = begun.elapsed();

    let rounds = std::env::var("OPS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").subsec_nanos();
    let mut random = u64::from(seed);
    let mut killed = 0;
    for _ in 0..rounds.unwrap_or(ROUNDS) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        let micros = u64::try_from(whole.as_micros()).expect("it fits");
        let moment = Duration::from_micros((random >> 20) % micros);
        let mut child = world.program(&import("managed")).spawn().expect("it can be started");
        if tokio::time::timeout(moment, child.wait()).await.is_err() {
            child.kill().await.expect("it can be killed");
            killed += 1;
        }
    }
    println!("seed {seed}: killed {killed} times within {whole:?}");
    let ended = tokio::time::timeout(PATIENCE, world.run(&import("managed"))).await;
    let said = ended.expect("it ends").ended(0).json();
    let count = |name: &str| said[name].as_u64().expect("a count");
    assert_eq!(count("recorded") + count("repeated"), calls.rows);
    let (totals, _) = expected(&calls, &list, ["gpt-4o", "markup:25", "precision", "12000"]);
    assert_eq!(world.totals("managed").await, totals);
}
