//! `opscenter log keys`, `rotate-key` and `retire-key`: the signing keys as an operator sees them.

use crate::world::World;
use event_log::SigningKeys;
use event_log::note::VerifierKey;

fn keys(text: &str) -> Vec<VerifierKey> {
    text.lines().map(|line| line.parse().expect("a verifier key")).collect()
}

#[tokio::test]
async fn keys_are_listed_rotated_and_retired_and_no_secret_is_printed() {
    let world = World::empty();
    for command in ["keys", "rotate-key", "retire-key"] {
        let said = world.run(&["log", command]).await.ended(1);
        assert!(said.err.contains("opscenter serve"), "{}", said.err);
    }
    let data = world.folder().join("data");
    assert!(!data.exists(), "looking makes nothing");
    std::fs::create_dir(&data).expect("a folder");
    let file = data.join("log-keys.json");
    let server = SigningKeys::load_or_create(&file).expect("keys");

    let first = keys(&world.run(&["log", "keys"]).await.ended(0).out);
    assert_eq!(first, server.verifier_keys());
    let said = world.run(&["log", "retire-key"]).await.ended(1);
    assert!(said.err.contains("rotate-key"), "{}", said.err);
    let second = keys(&world.run(&["log", "rotate-key"]).await.ended(0).out);
    let both = [first.clone(), second].concat();
    assert_eq!(keys(&world.run(&["log", "keys"]).await.ended(0).out), both);
    let said = world.run(&["log", "rotate-key"]).await.ended(1);
    assert!(said.err.contains("retire-key"), "{}", said.err);

    let secrets = std::fs::read_to_string(&file).expect("the file");
    let listed = world.run(&["log", "keys", "--json"]).await.ended(0);
    let report = listed.json();
    assert_eq!(report["log_id"], server.log_id().to_string());
    for (key, state) in
        report["keys"].as_array().expect("a list").iter().zip(["overlapping", "active"])
    {
        assert_eq!((&key["state"], key["retired_at"].is_null()), (&state.into(), true));
        assert_eq!(key.as_object().expect("an object").len(), 4, "{key}");
    }
    let secrets: serde_json::Value = serde_json::from_str(&secrets).expect("JSON");
    for key in secrets["keys"].as_array().expect("a list") {
        assert!(!listed.out.contains(key["secret"].as_str().expect("a secret")));
    }
    assert_eq!(keys(&world.run(&["log", "retire-key"]).await.ended(0).out), first);
    assert_eq!(keys(&world.run(&["log", "keys"]).await.ended(0).out), both, "kept for ever");

    // A managed place gives the text, and is where it is changed.
    let text = std::fs::read_to_string(&file).expect("the file");
    std::fs::remove_file(&file).expect("it can be removed");
    for (command, code) in [("keys", 0), ("rotate-key", 1)] {
        let mut program = world.program(&["log", command]);
        program.env("OPS_LOG_KEYS", &text);
        let said = world.run_program(program).await.ended(code);
        match code {
            0 => assert_eq!(keys(&said.out), both),
            _ => assert!(said.err.contains("OPS_LOG_KEYS"), "{}", said.err),
        }
    }
    let mut program = world.program(&["log", "keys"]);
    program.env("OPS_LOG_KEYS", "{}");
    let said = world.run_program(program).await.ended(1);
    assert!(said.err.contains("restore them from your backup"), "{}", said.err);
}
