//! Whatever is killed, and whenever: what was acknowledged is there, once.
//!
//! Eight clients send commands to a real server. In each round the server, its database, or both
//! are killed at a random moment; a command whose answer was lost is sent again under the same id.
//! `OPS_CRASH_ROUNDS` asks for more rounds, `OPS_CRASH_SEED` for the moments of an earlier run (the
//! machine's own timing is not repeated by that).

use crate::programs::door::{CREDIT_GRANT, Door, Lost, place};
use crate::programs::furnished::{Furnished, MODEL, furnish};
use crate::programs::{Folder, PATIENCE, Server, command, eventually, printed, serve};
use futures_util::future::join_all;
use installation::Place;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

const CLIENTS: usize = 8;
/// Of these, so many report usage; the others give credits.
const METERS: usize = 2;
/// How many records a report has.
const RECORDS: usize = 20;

/// What comes to an end in a round.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// `kill -9` of the server.
    Server,
    /// An immediate stop of the database below a running server.
    Database,
    /// Both at once.
    Both,
}

const BLOWS: [Blow; 3] = [Blow::Server, Blow::Database, Blow::Both];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    /// The next number below a limit (xorshift64*).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit
    }
}

/// A command as it is sent, however often.
#[derive(Clone)]
struct Work {
    is_usage: bool,
    input: Value,
}

impl Work {
    fn grant(organization: &str) -> Self {
        let input = json!({ "commandId": Uuid::now_v7(), "organizationId": organization,
                            "credits": "1", "reason": "one more" });
        Self { is_usage: false, input }
    }

    fn usage(organization: &str) -> Self {
        let batch = Uuid::now_v7();
        let record = |number: usize| {
            json!({ "usage_id": format!("{batch}/{number}"), "model": MODEL,
                    "occurred_at": "2026-11-16T18:15:46Z",
                    "quantities": { "llm_tokens_input": 374, "llm_tokens_output": 44 } })
        };
        let records: Vec<Value> = (0..RECORDS).map(record).collect();
        let input = json!({ "organization": organization, "source": "test",
                            "command_id": batch, "records": records });
        Self { is_usage: true, input }
    }

    /// Sends it once; where it stands in the log, every record for itself.
    async fn send(&self, door: &Door) -> Result<Vec<i64>, Lost> {
        if !self.is_usage {
            let done = door.command(&CREDIT_GRANT, self.input.clone()).await?;
            assert_eq!(done["userErrors"], json!([]), "{}", self.input);
            return Ok(vec![place(&done["receipt"]["position"])]);
        }
        let (status, answer) = door.post("/api/v1/usage/batch", &self.input).await?;
        assert_eq!(status, 200, "{answer:#}");
        let verdicts = answer["verdicts"].as_array().expect("a verdict for each record");
        assert_eq!(verdicts.len(), RECORDS);
        assert!(verdicts.iter().all(|verdict| verdict["verdict"] != "different"), "{answer:#}");
        Ok(verdicts.iter().map(|verdict| place(&verdict["position"])).collect())
    }
}

/// Somebody who sends one command after another, and remembers what was acknowledged.
struct Client {
    number: usize,
    organization: String,
    /// Sent, and not known to have taken effect.
    pending: Option<Work>,
    acknowledged: Vec<(Work, Vec<i64>)>,
}

impl Client {
    fn new(number: usize, furnished: &Furnished) -> Self {
        let is_meter = number < METERS;
        let organization = if is_meter { furnished.metered } else { furnished.counted };
        let organization = organization.to_string();
        Self { number, organization, pending: None, acknowledged: Vec::new() }
    }

    fn next(&self) -> Work {
        match self.number < METERS {
            true => Work::usage(&self.organization),
            false => Work::grant(&self.organization),
        }
    }

    /// Sends what is pending, else something new.
    async fn step(&mut self, door: &Door) -> Result<(), Lost> {
        let work = self.pending.take().unwrap_or_else(|| self.next());
        match work.send(door).await {
            Ok(places) => self.acknowledged.push((work, places)),
            Err(lost) => {
                self.pending = Some(work);
                return Err(lost);
            }
        }
        Ok(())
    }

    /// Goes on until it is told to stop; says each time that something was acknowledged.
    async fn run(mut self, door: Door, told: Told) -> Self {
        let mut stop = told.stop;
        while !*stop.borrow() {
            match self.step(&door).await {
                Ok(()) => told.acknowledged.send_modify(|counts| counts[self.number] += 1),
                // Not in a hurry: whoever was killed needs the processor to come back.
                Err(_) => {
                    let stopped = stop.wait_for(|stop| *stop);
                    let _stopped = tokio::time::timeout(Duration::from_millis(20), stopped).await;
                }
            }
        }
        self
    }
}

/// What clients and the one who kills tell each other.
#[derive(Clone)]
struct Told {
    stop: watch::Receiver<bool>,
    acknowledged: watch::Sender<[u64; CLIENTS]>,
}

/// Everything that a round needs and leaves behind.
struct Story {
    folder: Folder,
    furnished: Furnished,
    clients: Vec<Client>,
    dice: Dice,
}

impl Story {
    fn door(&self, server: &Server) -> Door {
        Door::new(server.address, &self.furnished.admin)
    }

    async fn serve(&self) -> Server {
        Server::start(serve(&self.folder.0, "127.0.0.1:0")).await
    }

    /// Lets clients work, kills, and sees to it that it goes on. Answers the server if it lives.
    async fn round(&mut self, server: Option<Server>, blow: Blow) -> Option<Server> {
        let server = match server {
            Some(server) => server,
            None => self.serve().await,
        };
        let (stop, stopped) = watch::channel(false);
        let acknowledged = watch::Sender::new([0; CLIENTS]);
        let told = Told { stop: stopped, acknowledged: acknowledged.clone() };
        let (mut running, door) = (JoinSet::new(), self.door(&server));
        for client in self.clients.drain(..) {
            running.spawn(client.run(door.clone(), told.clone()));
        }
        let mut heard = acknowledged.subscribe();
        let enough = 4 + self.dice.below(60);
        let work = heard.wait_for(|counts| counts.iter().sum::<u64>() >= enough);
        // Only whether it came: the value would keep those out who count on.
        let came = tokio::time::timeout(PATIENCE, work).await.is_ok();
        assert!(came, "nothing is acknowledged any more:\n{}", server.said());
        // A moment in the middle of something, not right after an answer.
        tokio::time::sleep(Duration::from_micros(self.dice.below(4_000))).await;
        let server = self.strike(server, blow, &acknowledged).await;
        stop.send_replace(true);
        self.clients = running.join_all().await;
        server
    }

    async fn strike(
        &self,
        mut server: Server,
        blow: Blow,
        acknowledged: &watch::Sender<[u64; CLIENTS]>,
    ) -> Option<Server> {
        match blow {
            Blow::Server => server.kill().await,
            Blow::Both => {
                self.folder.stop_postgres_immediately();
                server.kill().await;
            }
            Blow::Database => {
                self.folder.stop_postgres_immediately();
                let before = *acknowledged.borrow();
                let mut heard = acknowledged.subscribe();
                let all = heard.wait_for(|now| now.iter().zip(&before).all(|(now, was)| now > was));
                let came = tokio::time::timeout(PATIENCE, all).await.is_ok();
                assert!(came, "it does not come back by itself:\n{}", server.said());
                assert!(server.ended().is_none(), "{}", server.said());
                return Some(server);
            }
        }
        None
    }

    /// Sends everything again: what was lost takes effect once, the rest is answered as before.
    async fn send_all_again(&mut self, door: &Door) {
        let again = self.clients.iter_mut().map(async |client| {
            if client.pending.is_some() {
                client.step(door).await.expect("an answer");
            }
            for (work, places) in &client.acknowledged {
                let repeated = work.send(door).await.expect("an answer");
                assert_eq!(&repeated, places, "{}", work.input);
            }
        });
        join_all(again).await;
    }

    fn acknowledged(&self, is_usage: bool) -> Vec<i64> {
        let all = self.clients.iter().flat_map(|client| &client.acknowledged);
        let mut places: Vec<i64> = all
            .filter(|(work, _)| work.is_usage == is_usage)
            .flat_map(|(_, places)| places.iter().copied())
            .collect();
        places.sort_unstable();
        places
    }

    async fn replay(&self, arguments: &[&str]) -> String {
        printed(command("opscenter-replay").args(arguments).arg("--data").arg(&self.folder.0)).await
    }

    async fn totals(&self) -> Value {
        let organization = self.furnished.metered.to_string();
        let said = self.replay(&["totals", "--json", "--organization", &organization]).await;
        serde_json::from_str(&said).expect("JSON")
    }
}

fn rounds() -> u64 {
    std::env::var("OPS_CRASH_ROUNDS").map_or(20, |rounds| rounds.parse().expect("a number"))
}

fn seed() -> u64 {
    let chosen = std::env::var("OPS_CRASH_SEED").map(|seed| seed.parse().expect("a number"));
    chosen.unwrap_or_else(|_| Uuid::now_v7().as_u64_pair().1) | 1
}

/// Every position once: nothing stands for two commands.
fn assert_all_different(places: &[i64]) {
    let mut once = places.to_vec();
    once.dedup();
    assert_eq!(once.len(), places.len(), "a position answers two commands");
}

/// Dollars with six digits after the point, as micro-dollars.
fn micro_dollars(value: &Value) -> i64 {
    let text = value.as_str().expect("text");
    let (whole, part) = text.split_once('.').expect("a point");
    assert_eq!(part.len(), 6, "{text}");
    format!("{whole}{part}").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_every_acknowledged_command_is_there_once() {
    let (seed, rounds) = (seed(), rounds());
    eprintln!("{rounds} rounds; OPS_CRASH_SEED={seed}");
    let folder = Folder::new();
    let furnished = furnish(&Place::folder(&folder.0)).await;
    let clients = (0..CLIENTS).map(|number| Client::new(number, &furnished)).collect();
    let mut story = Story { folder, furnished, clients, dice: Dice(seed) };
    let one = story.totals().await;
    let mut server = None;
    for round in 0..rounds {
        let blow = BLOWS[usize::try_from(round % 3).expect("below 3")];
        let began = Instant::now();
        server = story.round(server, blow).await;
        eprintln!("round {round}: {blow:?} in {:?}", began.elapsed());
    }
    let server = match server {
        Some(server) => server,
        None => story.serve().await,
    };
    let door = story.door(&server);
    story.send_all_again(&door).await;
    credits_are_counted_once(&story, &door).await;
    usage_is_counted_once(&story, &one).await;
    assert!(server.stop().await.success());
    // With the tree that was killed while it grew, and every checkpoint that was signed.
    let verified = story.replay(&["verify"]).await;
    for says in ["The log is whole", "The tree over its first", "as log-guard.json remembers"] {
        assert!(verified.contains(says), "{verified}");
    }
    assert!(!verified.contains("what the log says: 0,"), "{verified}");
    read_models_are_what_the_log_says(&story).await;
}

async fn credits_are_counted_once(story: &Story, door: &Door) {
    let grants = story.acknowledged(false);
    assert!(!grants.is_empty());
    assert_all_different(&grants);
    let document = "query($id: ID!) { creditBalance(organizationId: $id) { issued } }";
    let id = story.furnished.counted.to_string();
    let last = Work::grant(&id);
    let done = door.command(&CREDIT_GRANT, last.input).await.expect("an answer");
    let position = done["receipt"]["position"].as_str().expect("a position");
    let found = eventually("a read model that has caught up", async || {
        let seen = door.at_least(position).answer(document, json!({ "id": id })).await.ok()?;
        let issued = &seen["data"]["creditBalance"]["issued"];
        Some(issued.as_str()?.split('.').next()?.to_owned())
    });
    // Each acknowledged command, and the one just now.
    assert_eq!(found.await, (grants.len() + 1).to_string());
}

/// `one` is what a single record made.
async fn usage_is_counted_once(story: &Story, one: &Value) {
    let records = story.acknowledged(true);
    assert!(!records.is_empty());
    assert_all_different(&records);
    let count = i64::try_from(records.len()).expect("not that many") + 1;
    let totals = eventually("a charge for every record", async || {
        let totals = story.totals().await;
        (totals["uncharged_records"] == 0).then_some(totals)
    });
    let totals = totals.await;
    for (meter, figure) in one["meters"].as_object().expect("meters") {
        let figure = figure.as_i64().expect("a number");
        assert_eq!(totals["meters"][meter], figure * count, "{meter}: {totals:#}");
    }
    let charged = micro_dollars(&one["charge_usd"]) * count;
    assert_eq!(micro_dollars(&totals["charge_usd"]), charged, "{totals:#}");
}

async fn read_models_are_what_the_log_says(story: &Story) {
    let said = story.replay(&["rebuild", "--all", "--dry-run", "--json"]).await;
    let rebuilt: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(rebuilt.len() > 5, "{said}");
    for model in rebuilt {
        assert_eq!(model["comparison"], "equal", "{model:#}");
    }
}
