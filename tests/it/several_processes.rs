//! Several servers on one database: whichever is asked, there is one history.

use crate::programs::door::{CREDIT_GRANT, Door, place};
use crate::programs::furnished::{Furnished, MODEL, furnish};
use crate::programs::{Folder, Server, eventually, serve};
use futures_util::future::{join, join_all};
use installation::Place;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use uuid::Uuid;

/// Two servers, as on two machines: each with a folder of its own and the same keys.
struct Pair {
    // Dropped in this order: the servers before their database.
    servers: Vec<Server>,
    doors: Vec<Door>,
    furnished: Furnished,
    _folders: Vec<Folder>,
    _database: test_postgres::Server,
}

impl Pair {
    async fn start() -> Self {
        let database = test_postgres::Server::start().await;
        let url = database.role("opscenter_service").to_url_lossy().to_string();
        let folders = vec![Folder::new(), Folder::new()];
        let mut place = Place::folder(&folders[0].0);
        place.database_url = Some(url.clone());
        let furnished = furnish(&place).await;
        for name in ["master.key", "log-keys.json"] {
            let [from, to] = [0, 1].map(|number: usize| folders[number].0.join(name));
            std::fs::copy(from, to).expect("a key of the installation");
        }
        let mut servers = Vec::new();
        for (number, folder) in folders.iter().enumerate() {
            if number > 0 {
                // Whoever joins a log that was signed has to know up to where.
                let [from, to] = [0, number].map(|it| folders[it].0.join("log-guard.json"));
                let copied = async || from.is_file().then(|| std::fs::copy(&from, &to));
                eventually("a first checkpoint", copied).await.expect("a copy");
            }
            let mut command = serve(&folder.0, "127.0.0.1:0");
            command.env("DATABASE_URL", &url);
            servers.push(Server::start(command).await);
        }
        let doors = servers.iter().map(|it| Door::new(it.address, &furnished.admin)).collect();
        Self { servers, doors, furnished, _folders: folders, _database: database }
    }

    fn grant(&self) -> Value {
        json!({ "commandId": Uuid::now_v7(), "reason": "one more", "credits": "1",
                "organizationId": self.furnished.counted.to_string() })
    }

    /// How many credits a server says were given, once it has seen a position.
    async fn issued(&self, door: &Door, position: &str) -> i64 {
        let document = "query($id: ID!) { creditBalance(organizationId: $id) { issued } }";
        let id = self.furnished.counted.to_string();
        let seen = door.at_least(position).ask(document, json!({ "id": id })).await;
        let issued = seen["creditBalance"]["issued"].as_str().expect("text");
        issued.strip_suffix(".000000").expect("whole credits").parse().expect("a number")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_acknowledged_the_other_shows_to_whoever_asks_for_it() {
    let pair = Pair::start().await;
    for number in 1..=20 {
        let (here, there) = (&pair.doors[number % 2], &pair.doors[(number + 1) % 2]);
        let done = here.done(&CREDIT_GRANT, pair.grant()).await;
        let position = done["receipt"]["position"].as_str().expect("a position");
        let number = i64::try_from(number).expect("a small number");
        assert_eq!(pair.issued(there, position).await, number);
    }
    for server in pair.servers {
        assert!(server.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_id_at_both_servers_at_once_takes_effect_once() {
    const COMMANDS: i64 = 25;
    let pair = Pair::start().await;
    let (one, other) = (&pair.doors[0], &pair.doors[1]);
    let both = (0..COMMANDS).map(|_| async {
        let input = pair.grant();
        let here = one.done(&CREDIT_GRANT, input.clone());
        let (here, there) = join(here, other.done(&CREDIT_GRANT, input)).await;
        let (here, there) = (&here["receipt"], &there["receipt"]);
        assert_eq!(here["position"], there["position"]);
        assert_eq!(here["eventIds"], there["eventIds"]);
        assert_ne!(here["wasReplayed"], there["wasReplayed"], "one of them took effect");
        here["position"].clone()
    });
    let mut positions = join_all(both).await;
    positions.sort_by_key(place);
    let last = positions.last().and_then(Value::as_str).expect("a position");
    for door in &pair.doors {
        assert_eq!(pair.issued(door, last).await, COMMANDS);
    }
    positions.dedup();
    assert_eq!(positions.len(), usize::try_from(COMMANDS).expect("a small number"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_server_is_killed_the_other_charges_what_was_reported_to_it() {
    let mut pair = Pair::start().await;
    let organization = pair.furnished.metered.to_string();
    let report = |number: usize| {
        let records: Vec<Value> = (0..50)
            .map(|record| {
                json!({ "usage_id": format!("{number}/{record}"), "model": MODEL,
                        "occurred_at": "2026-11-16T18:15:46Z",
                        "quantities": { "llm_tokens_input": 374, "llm_tokens_output": 44 } })
            })
            .collect();
        json!({ "organization": organization, "source": "pair", "records": records })
    };
    let document = "query($id: ID!) { creditBalance(organizationId: $id) { chargedUsd } }";
    let charged = async |door: &Door| {
        let seen = door.answer(document, json!({ "id": organization })).await.ok()?;
        let text = seen["data"]["creditBalance"]["chargedUsd"].as_str()?.replace('.', "");
        text.parse::<i64>().ok()
    };
    let one = charged(&pair.doors[1]).await.expect("what the first call cost");
    for number in 0..4 {
        let (status, answer) =
            pair.doors[0].post("/api/v1/usage/batch", &report(number)).await.expect("an answer");
        assert_eq!(status, 200, "{answer}");
    }
    // Somewhere in charging: before, within, or after.
    pair.servers.remove(0).kill().await;
    let all = eventually("a charge for every record", async || {
        charged(&pair.doors[1]).await.filter(|charged| *charged >= one * 201)
    });
    assert_eq!(all.await, one * 201);
}
