//! The public audit suite for GraphQL over HTTP, run by Node against a real server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use tests::World;
use tokio::process::Command;

/// Prints one line for each audit: its id, its status, what it says.
const SCRIPT: &str = r#"
const { serverAudits } = require(process.env.SUITE);
const headers = { authorization: `Bearer ${process.env.KEY}` };
const fetchFn = (url, init = {}) =>
    fetch(url, { ...init, headers: { ...headers, ...init.headers } });
(async () => {
    for (const audit of serverAudits({ url: process.env.SERVER, fetchFn })) {
        const result = await audit.fn();
        console.log(JSON.stringify([audit.id, result.status, audit.name, result.reason ?? ""]));
    }
})();
"#;

fn suite() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/node/node_modules");
    let modules = std::env::var_os("OPS_NODE_MODULES").map_or(root, PathBuf::from);
    let suite = modules.join("graphql-http/lib/audits/server.js");
    suite.exists().then_some(suite)
}

#[tokio::test]
async fn every_audit_of_graphql_over_http_passes() {
    let Some(suite) = suite() else {
        assert!(
            std::env::var_os("OPS_REQUIRE_ALL").is_none(),
            "the npm package graphql-http is needed here; run ./ops setup"
        );
        eprintln!("NOT TESTED: graphql-http is not installed; run ./ops setup");
        return;
    };
    let world = World::start().await;
    let output = Command::new("node")
        .arg("-e")
        .arg(SCRIPT)
        .env("SUITE", suite)
        .env("KEY", world.admin().key())
        .env("SERVER", format!("http://{}/graphql", world.address()))
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("node to run");
    let lines = String::from_utf8(output.stdout).expect("text");
    let failed: Vec<&str> = lines.lines().filter(|line| !line.contains(r#","ok","#)).collect();
    assert!(failed.is_empty(), "\n  {}\n", failed.join("\n  "));
    assert_eq!(lines.lines().count(), 61, "another number of audits than expected");
    world.end().await;
}
