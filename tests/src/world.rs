//! A whole installation for one test.

use crate::Client;
use api::server::{Server, ServerSettings};
use commands::{Caller, CatalogueCommand, Command, Executor, Request, new_command_id};
use data_encoding::BASE64;
use domain::catalogue::standard;
use event_log::tree::guard::{GUARD_FILE, Guard};
use event_log::tree::keeper::Evidence;
use event_log::{CommitMode, EventLog, KeyRing, MasterKey, SigningKeys};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use test_postgres::Server as Postgres;
use uuid::Uuid;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a condition is looked at again.
const LOOK: Duration = Duration::from_millis(10);

/// A Postgres server, a running server, and an administrator. [`end`](Self::end) it.
pub struct World {
    postgres: Postgres,
    log: EventLog,
    keys: KeyRing,
    evidence: Evidence,
    server: Option<Server>,
    admin: Client,
}

impl World {
    /// An installation that nobody has set up; its clients have no key.
    pub async fn untouched() -> Self {
        let postgres = Postgres::start().await;
        let mut settings = postgres.settings(CommitMode::Barrier);
        settings.read_connections = 24;
        let log = EventLog::connect(settings).await.unwrap();
        let master = MasterKey::from_base64(&BASE64.encode(&[7; 32])).unwrap();
        let keys = KeyRing::open(&log, &master).await.unwrap();
        let evidence = evidence();
        let server = start(&log, &keys, &evidence).await;
        let admin = Client::new(server.address());
        Self { postgres, log, keys, evidence, server: Some(server), admin }
    }

    /// An installation with its first administrator.
    pub async fn start() -> Self {
        let mut world = Self::untouched().await;
        let token = world.setup_token();
        let input = json!({ "token": token, "email": "ada@example.org", "name": "Ada" });
        let answer = world.admin.run("setupComplete", input, "printedKey").await.accepted();
        world.admin = world.admin.with_key(&answer.text_at("/data/setupComplete/printedKey"));
        world
    }

    /// The same with the published tiers, packs, meters and rates.
    pub async fn furnished() -> Self {
        let world = Self::start().await;
        for command in catalogue() {
            world.carry_out(command).await;
        }
        world
    }

    /// The server that runs.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server().address()
    }

    /// What commands are carried out by.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        self.server().executor()
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &EventLog {
        &self.log
    }

    /// What seals and opens personal data.
    #[must_use]
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// What remembers the last checkpoint that was signed.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.evidence.guard
    }

    /// The database server.
    #[must_use]
    pub const fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The first administrator; without a key where nobody was set up.
    #[must_use]
    pub const fn admin(&self) -> &Client {
        &self.admin
    }

    /// The last part of the set-up link.
    #[must_use]
    pub fn setup_token(&self) -> String {
        let link = self.server().setup_link().unwrap();
        link.rsplit('/').next().unwrap().to_owned()
    }

    /// Stops the server and starts another on the same log.
    pub async fn restart(&mut self) {
        self.server.take().unwrap().stop().await;
        let server = start(&self.log, &self.keys, &self.evidence).await;
        let key = self.admin.key().to_owned();
        self.admin = Client::new(server.address());
        if !key.is_empty() {
            self.admin = self.admin.with_key(&key);
        }
        self.server = Some(server);
    }

    /// Carries out a command in the name of the system.
    pub async fn carry_out(&self, command: impl Into<Command>) {
        let request = Request {
            command_id: new_command_id(),
            caller: Caller::system("test"),
            expected_version: None,
            command: command.into(),
        };
        self.executor().execute(request).await.unwrap();
    }

    /// An active user with platform roles, and a client with a key of theirs.
    pub async fn user(&self, name: &str, roles: &[&str]) -> (String, Client) {
        let admin = &self.admin;
        let invite = json!({ "email": format!("{name}@example.org"), "name": name });
        let answer = admin.run("userInvite", invite, "user { id }").await.accepted();
        let id = answer.text_at("/data/userInvite/user/id");
        let user = json!({ "userId": id });
        let _active = admin.run("userActivate", user, "").await.accepted();
        for role in roles {
            let assign = json!({ "userId": id, "role": role });
            let _assigned = admin.run("userRoleAssign", assign, "").await.accepted();
        }
        let key = self.key(json!({ "userId": id, "name": "a key" })).await;
        (id, self.admin.with_key(&key))
    }

    /// A new key, as it is printed.
    pub async fn key(&self, input: Value) -> String {
        let answer = self.admin.run("apiKeyCreate", input, "printedKey").await.accepted();
        answer.text_at("/data/apiKeyCreate/printedKey")
    }

    /// A new organization on a tier.
    pub async fn organization(&self, slug: &str, tier: &str, owner: &str) -> String {
        let input = json!({ "slug": slug, "name": slug, "owner": owner, "tier": tier });
        let answer =
            self.admin.run("organizationCreate", input, "organization { id }").await.accepted();
        answer.text_at("/data/organizationCreate/organization/id")
    }

    /// Credits given to an organization.
    pub async fn grant(&self, organization: &str, credits: &str) {
        let input =
            json!({ "organizationId": organization, "credits": credits, "reason": "for a test" });
        let _granted = self.admin.run("creditGrant", input, "").await.accepted();
    }

    /// Returns once every read model has taken in everything that is in the log now.
    pub async fn read_models_have_caught_up(&self) {
        let head = self.log.head().await.unwrap();
        let names: Vec<_> = projections::definitions().iter().map(|it| it.name).collect();
        self.server().progress().wait(&names, head, PATIENCE).await.unwrap();
    }

    /// Stops the server, closes the log, and ends the database.
    pub async fn end(mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        self.log.close().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(folder) = self.evidence.guard.path().parent() {
            let _removed = std::fs::remove_dir_all(folder);
        }
    }
}

/// Signing keys and a guard in a folder of their own.
fn evidence() -> Evidence {
    let folder = std::env::temp_dir().join(format!("evidence-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let keys = SigningKeys::load_or_create(&folder.join("log-keys.json")).unwrap();
    Evidence { keys, guard: Guard::at(folder.join(GUARD_FILE)) }
}

async fn start(log: &EventLog, keys: &KeyRing, evidence: &Evidence) -> Server {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut settings = ServerSettings::new(address, log.clone(), keys.clone());
    settings.carries_out_actions = false;
    settings.evidence = Some(evidence.clone());
    Server::start(settings).await.unwrap()
}

/// The published catalogue as commands.
fn catalogue() -> Vec<CatalogueCommand> {
    let mut all: Vec<CatalogueCommand> = Vec::new();
    all.extend(standard::tiers().unwrap().into_iter().map(|(tier, terms)| {
        let terms = Box::new(terms);
        CatalogueCommand::TierPublish { tier, terms }
    }));
    let packs = standard::credit_packs().unwrap();
    all.extend(packs.into_iter().map(|it| CatalogueCommand::CreditPackPublish(Box::new(it))));
    all.extend(standard::meters().unwrap().into_iter().map(CatalogueCommand::MeterDefine));
    all.push(CatalogueCommand::RateCardPublish(Box::new(standard::rates().unwrap())));
    all
}

/// Waits for a condition and answers what it found.
///
/// # Panics
/// When it does not come true in time.
pub async fn until<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A new command id, as text.
#[must_use]
pub fn command_id() -> String {
    Uuid::now_v7().to_string()
}
