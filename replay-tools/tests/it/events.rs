//! Events come out as they went in, filtered, limited and followed.

use crate::server::{Server, bare_tool, said};
use crate::world::World;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_printed_once_in_order_with_its_body_as_it_was_written() {
    let server = Server::start().await;
    let said = server.replay(&["events"]).well();
    let installation = server.open().await;
    let head = installation.log().head().await.unwrap();
    let recorded = installation.log().read(event_log::Position::START, 100_000).await.unwrap();
    installation.close().await;
    assert_eq!(recorded.len(), usize::try_from(head.0).unwrap());
    assert_eq!(said.out.lines().count(), recorded.len());
    for (line, event) in said.out.lines().zip(&recorded) {
        let shown: Value = serde_json::from_str(line).unwrap();
        assert_eq!(shown["position"], event.position.0);
        assert_eq!(shown["type"], event.type_name.as_str());
        let body = String::from_utf8(event.payload.clone()).unwrap().replace('\n', " ");
        assert!(line.contains(&body), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_what_is_printed() {
    let server = Server::start().await;
    let all = server.replay(&["events"]).well().lines();
    let granted = all.iter().find(|event| event["type"] == "credits_granted").unwrap();
    let (stream, time) = (granted["stream"].as_str().unwrap(), &granted["recorded_at"]);
    let id = granted["organization"].as_str().unwrap();
    let position = |event: &Value| event["position"].as_i64().unwrap();
    let expect = |arguments: &[&str], wanted: &dyn Fn(&Value) -> bool| {
        let said = server.replay(&[&["events"], arguments].concat()).well().lines();
        let wanted: Vec<&Value> = all.iter().filter(|event| wanted(event)).collect();
        assert!(!wanted.is_empty() && wanted.len() < all.len(), "{arguments:?}");
        assert_eq!(said.iter().collect::<Vec<_>>(), wanted, "{arguments:?}");
    };
    expect(&["--type", "credits_granted"], &|event| event["type"] == "credits_granted");
    expect(&["--type", "credits_spent", "--type", "hold_placed"], &|event| {
        event["type"] == "credits_spent" || event["type"] == "hold_placed"
    });
    expect(&["--stream", stream], &|event| event["stream"] == stream);
    expect(&["--organization", "acme"], &|event| event["organization"] == id);
    expect(&["--organization", id], &|event| event["organization"] == id);
    expect(&["--actor", "system/old"], &|event| event["actor"] == "system/old");
    expect(&["--since", time.as_str().unwrap()], &|event| position(event) >= position(granted));
    expect(&["--after", "100", "--limit", "7"], &|event| (101..=107).contains(&position(event)));
    for (arguments, says) in [
        (["--type", "credit_granted"], "credits_granted"),
        (["--organization", "acne"], "there were acme"),
    ] {
        let said = server.replay(&[&["events"], arguments.as_slice()].concat());
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(says), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_prints_what_is_appended_while_it_runs() {
    let server = Server::start().await;
    let head: i64 = server.ask("select max(position) from event_log.log").await;
    let mut tool = server.tool("opscenter");
    tool.args(["events", "--follow", "--type", "credits_granted", "--limit", "1", "--after"]);
    let mut tool = tool.arg(head.to_string()).stdout(Stdio::piped()).spawn().unwrap();
    let installation = server.open().await;
    let world = World::new(&installation);
    let events = server.replay(&["events", "--type", "organization_created"]).well().lines();
    let acme = events[0]["payload"]["organization_id"].as_str().unwrap().parse().unwrap();
    world.grant(acme, "1.5").await;
    let mut line = String::new();
    BufReader::new(tool.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["payload"]["credits"], "1.500000");
    assert!(tool.wait().unwrap().success(), "the limit ends it");
    installation.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_work_on_a_data_folder_beside_its_server_and_without_one() {
    let mut server = Server::start().await;
    let on_folder = |folder: &std::path::Path| {
        let mut tool = bare_tool();
        // Server binaries are looked for in the places that PATH names, too.
        tool.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        tool.env("OPS_DATA", folder).args(["verify", "--json"]);
        said(tool.output().unwrap())
    };
    let beside = on_folder(server.folder()).well().json();
    server.stop();
    let alone = on_folder(server.folder()).well().json();
    assert_eq!(beside["chain"], alone["chain"]);
    assert!(
        !server.folder().join("postgres/postmaster.pid").exists(),
        "it stopped what it started"
    );
    let nowhere = on_folder(&server.folder().join("nowhere"));
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.err.contains("run `opscenter demo`"), "{nowhere:?}");
    assert!(!server.folder().join("nowhere").exists());
}

#[test]
fn help_and_completions_need_no_installation() {
    for arguments in [&["--help"][..], &["verify", "--help"], &["completions", "bash"]] {
        let said = said(bare_tool().args(arguments).output().unwrap()).well();
        assert!(said.out.contains("opscenter-replay"), "{said:?}");
    }
    let said = said(bare_tool().arg("--help").output().unwrap()).well();
    assert!(said.out.contains("Exit codes"), "{said:?}");
    for tool in ["verify", "totals", "explain", "as-of", "rebuild", "events", "completions"] {
        assert!(said.out.contains(tool), "{tool} {said:?}");
    }
}
