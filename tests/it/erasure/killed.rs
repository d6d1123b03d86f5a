//! Whatever is killed while people are erased: each erasure that was asked for is carried out, none
//! stays half done, and an answer is true.

use super::{ERASE, id, invite, replay};
use crate::programs::door::Door;
use crate::programs::furnished::furnish;
use crate::programs::{Folder, Server, eventually, serve};
use installation::Place;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How many people are erased in a round, and after how many answers something is killed.
const PEOPLE: usize = 8;
const ROUNDS: [(usize, bool); 3] = [(0, false), (2, true), (5, false)];

/// Asks for everybody's erasure at once and kills the server, or its database, with some of the
/// answers still to come. What was asked for is given back: it is asked again.
async fn struck(
    folder: &Folder,
    server: Server,
    door: &Door,
    people: &[String],
    (answers, database): (usize, bool),
) -> Vec<Value> {
    let mut asking = JoinSet::new();
    let mut asked = Vec::new();
    for user in people {
        let erase = json!({ "commandId": id(), "userId": user, "ground": "REQUESTED" });
        asked.push(erase.clone());
        let door = door.clone();
        asking.spawn(async move { door.command(&ERASE, erase).await.is_ok() });
    }
    let mut answered = 0;
    while answered < answers {
        let told = asking.join_next().await.expect("there are more").expect("it does not panic");
        answered += usize::from(told);
    }
    if database {
        folder.stop_postgres_immediately();
    }
    server.kill().await;
    while asking.join_next().await.is_some() {}
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn i30_erasures_that_are_killed_are_finished_and_none_stays_half_done() {
    let folder = Folder::new();
    let furnished = furnish(&Place::folder(&folder.0)).await;
    let mut everybody = 0;
    for (round, blow) in ROUNDS.into_iter().enumerate() {
        let server = Server::start(serve(&folder.0, "127.0.0.1:0")).await;
        let door = Door::new(server.address, &furnished.admin);
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let email = format!("canary-{round}-{number}@nowhere.example");
            people.push(invite(&door, &email, "Quirina Canaria").await);
        }
        let asked = struck(&folder, server, &door, &people, blow).await;
        let server = Server::start(serve(&folder.0, "127.0.0.1:0")).await;
        let door = Door::new(server.address, &furnished.admin);
        // Whatever was begun is finished without anybody asking again.
        eventually("the end of every erasure that was begun", async || {
            let seen = door.ask("{ users(first: 200) { nodes { status } } }", json!({})).await;
            let nodes = seen["users"]["nodes"].as_array().expect("people").clone();
            nodes.iter().all(|it| it["status"] != "erasing").then_some(())
        })
        .await;
        for erase in asked {
            let erased = door.done(&ERASE, erase).await;
            assert_eq!(erased["user"]["email"], Value::Null, "{erased}");
        }
        everybody += PEOPLE;
        let search = ["erasure-report", "--json", "--search", "canary-", "--search", "Quirina"];
        let report: Value = serde_json::from_str(&replay(&folder, &search).await).expect("JSON");
        assert_eq!((&report["ok"], &report["proofs_hold"]), (&json!(true), &json!(true)));
        assert_eq!(report["erasures"].as_array().map(Vec::len), Some(everybody), "{report:#}");
        assert!(server.stop().await.success());
    }
}
