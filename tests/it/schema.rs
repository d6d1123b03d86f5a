//! The schema as it is published: its text, and what it promises in all places alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tests::World;

fn published() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/schema.graphql")
}

#[test]
fn the_published_schema_is_the_one_that_is_served() {
    let served = api::sdl();
    if std::env::var_os("OPS_BLESS").is_some() {
        fs::write(published(), &served).expect("the schema to be written");
    }
    let known = fs::read_to_string(published()).unwrap_or_default();
    let differs = known.lines().zip(served.lines()).find(|(known, served)| known != served);
    assert!(
        known == served,
        "api/schema.graphql is not what is served (first difference: {differs:?}); if that is \
         meant, run this test with OPS_BLESS=1"
    );
}

#[tokio::test]
async fn the_schema_can_be_fetched_by_who_may_read_settings() {
    let world = World::start().await;
    let fetched = world.admin().get("/graphql/schema.graphql").await;
    assert_eq!((fetched.status, fetched.text), (200, api::sdl()));
    let (_, nobody) = world.user("nora", &[]).await;
    assert_eq!(nobody.get("/graphql/schema.graphql").await.status, 403);
    assert_eq!(nobody.query("{ __schema { types { name } } }").await.error_code(), "FORBIDDEN");
    let (_, viewer) = world.user("vera", &["viewer"]).await;
    let asked = viewer.query("{ __schema { queryType { name } } }").await.accepted();
    assert_eq!(asked.text_at("/data/__schema/queryType/name"), "Query");
    world.end().await;
}

#[test]
fn nothing_in_the_schema_is_a_floating_point_number() {
    let sdl = api::sdl();
    assert!(!sdl.contains("Float"), "a Float is in the schema");
}

#[test]
fn every_refusal_of_the_rules_has_its_code_in_the_schema() {
    let sdl = api::sdl();
    let (_, rest) = sdl.split_once("enum UserErrorCode {").expect("the codes");
    let listed: BTreeSet<&str> =
        rest.split_once('}').expect("their end").0.split_whitespace().collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut said = BTreeSet::new();
    for folder in ["domain/src", "commands/src"] {
        codes_below(&root.join(folder), &mut said);
    }
    assert!(said.len() > 40, "only {} codes were found", said.len());
    let missing: Vec<_> = said.iter().filter(|code| !listed.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "codes that the schema does not know: {missing:?}");
}

/// The texts that the functions called `code` give.
fn codes_below(folder: &Path, codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            codes_below(&path, codes);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        for (_, after) in text.match_indices("fn code(&self)").map(|(at, _)| text.split_at(at)) {
            let body = after.split("\n    }\n").next().unwrap_or_default();
            let quoted = body.split('"').skip(1).step_by(2);
            let is_code = |text: &&str| {
                !text.is_empty() && text.bytes().all(|it| it.is_ascii_uppercase() || it == b'_')
            };
            codes.extend(quoted.filter(is_code).map(str::to_owned));
        }
    }
}
