//! The history that the tests look at, made through the same front door as any other.
//!
//! `acme` (professional) calls two models while the price of one and the rate card change, buys
//! credits, spends, holds, and is refunded; `lone-wolf` (own key) pays fees; `tight` (free) has
//! almost nothing and owes. One user is erased. Part of `late`'s usage is never charged.

use commands::{
    AccessCommand, CatalogueCommand, Command, CreditCommand, Executor, PurchaseCommand, Request,
    ServiceCommand, Subject, SystemClock, TenancyCommand, UsageItem, UsageReport, flows,
};
use commands::{Caller, new_command_id};
use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::catalogue::rate_card::PowerLevel;
use domain::catalogue::standard;
use domain::credits::{GrantKind, GrantSource};
use domain::identity::user::ErasureGround;
use domain::values::{Amount, Credits, Currency, Money, OrganizationId, Text, UserId};
use event_log::note::{Cosigner, Note};
use event_log::signing_keys::SIGNING_KEYS_FILE;
use event_log::tree::guard::{GUARD_FILE, Guard};
use event_log::tree::keeper::{Evidence, Keeper};
use event_log::{NewEvent, SigningKeys, UsageBatch, UsageRecord};
use installation::Installation;
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const EMAIL: &str = "ada@example.org";

/// Asks for commands and expects them to be accepted.
pub(crate) struct World {
    pub(crate) executor: Executor,
}

pub(crate) fn text(text: &str) -> Text {
    text.parse().unwrap()
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

impl World {
    pub(crate) fn new(installation: &Installation) -> Self {
        let keys = installation.keys().unwrap().clone();
        let clock = Arc::new(SystemClock);
        Self { executor: Executor::new(installation.log().clone(), keys, clock) }
    }

    pub(crate) async fn ask(&self, command: impl Into<Command>) -> Subject {
        let request = Request {
            command_id: new_command_id(),
            caller: Caller::system("test"),
            expected_version: None,
            command: command.into(),
        };
        self.executor.execute(request).await.unwrap().subject
    }

    pub(crate) async fn settle(&self) {
        flows::settle(&self.executor).await.unwrap();
    }

    async fn user(&self, email: &str) -> UserId {
        let (email, name) = (email.to_owned(), "Ada L.".to_owned());
        match self.ask(AccessCommand::UserInvite { email, name }).await {
            Subject::User(id) => id,
            other => panic!("{other:?}"),
        }
    }

    async fn organization(&self, slug: &str, tier: &str, owner: UserId) -> OrganizationId {
        let (slug, name) = (slug.parse().unwrap(), text(slug));
        let tier = tier.parse().unwrap();
        match self.ask(TenancyCommand::OrganizationCreate { slug, name, owner, tier }).await {
            Subject::Organization(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn grant(&self, organization_id: OrganizationId, credits: &str) {
        self.ask(CreditCommand::CreditGrant {
            organization_id,
            credits: credits.parse().unwrap(),
            kind: GrantKind::Promotional,
            source: GrantSource::Manual { reason: text("welcome") },
            priority: 10,
            effective_at: None,
            expires_at: None,
        })
        .await;
    }

    async fn price(&self, model: &str, input: &str, output: &str) {
        let token = TokenPrice { above: 0, input: amount(input), output: amount(output) };
        let long = TokenPrice { above: 5_000, input: amount("1e-05"), ..token.clone() };
        let prices = [("input_cost_per_token".to_owned(), token.input)].into();
        self.ask(CatalogueCommand::ModelPrice(Box::new(ModelPriced {
            model: model.parse().unwrap(),
            version: 0,
            provider: text("openai"),
            mode: None,
            tokens: vec![token, long],
            prices,
            max_input_tokens: None,
            max_output_tokens: None,
        })))
        .await;
    }

    /// Records usage whose figures are all different.
    pub(crate) async fn usage(
        &self,
        organization_id: OrganizationId,
        source: &str,
        model: &str,
        count: u64,
    ) {
        let numbers: Vec<u64> = (0..count).collect();
        for part in numbers.chunks(100) {
            let records = part.iter().map(|number| item(*number, model)).collect();
            let source = text(source);
            let report = UsageReport { organization_id, source, records, command_id: None };
            self.executor.record_usage(&Caller::system("test"), report).await.unwrap();
        }
    }
}

fn item(number: u64, model: &str) -> UsageItem {
    let seconds = i64::try_from(number).unwrap() * 97;
    // Begins in the last hours of November, so that charges fall into two months.
    let begin: domain::Instant = "2026-11-30T20:00:00Z".parse().unwrap();
    let mut quantities: BTreeMap<_, _> = [
        ("llm_tokens_input".parse().unwrap(), 374 + number * 13),
        ("llm_tokens_output".parse().unwrap(), 44 + number * 7 % 50),
    ]
    .into();
    if number % 10 == 3 {
        quantities.insert("concurrent_connections".parse().unwrap(), number % 17);
        quantities.insert("tts_characters".parse().unwrap(), 1_001);
    }
    UsageItem {
        usage_id: text(&number.to_string()),
        occurred_at: begin + chrono::TimeDelta::seconds(seconds),
        model: Some(model.parse().unwrap()),
        power: PowerLevel::ALL[usize::try_from(number % 3).unwrap()],
        quantities,
    }
}

/// Makes the history.
pub(crate) async fn furnish(installation: &Installation) {
    let world = World::new(installation);
    catalogue(&world).await;
    let ada = world.user(EMAIL).await;
    let acme = world.organization("acme", "professional", ada).await;
    let wolf = world.organization("lone-wolf", "byok", ada).await;
    let tight = world.organization("tight", "free", ada).await;
    world.settle().await;
    world.grant(wolf, "20").await;
    world.grant(tight, "0.123457").await;
    world.usage(acme, "gateway", "gpt-4o", 300).await;
    world.usage(wolf, "gateway", "gpt-4o", 40).await;
    world.price("gpt-4o", "3e-06", "1.25e-05").await;
    world.usage(acme, "batch", "gpt-4o", 120).await;
    let mut rates = standard::rates().unwrap();
    rates.power.insert(PowerLevel::Eco, amount("0.2"));
    world.ask(CatalogueCommand::RateCardPublish(Box::new(rates))).await;
    world.usage(acme, "other", "unlisted-model", 30).await;
    world.usage(tight, "gateway", "gpt-4o", 30).await;
    unpriced(installation, acme).await;
    world.settle().await;
    money(&world, acme).await;
    service(&world).await;
    let gone = world.user("gone@example.org").await;
    let (ground, reference) = (ErasureGround::Requested, None);
    world.ask(AccessCommand::PersonErase { user_id: gone, ground, reference }).await;
    for other in ["bea@example.org", "cyd@example.org"] {
        world.user(other).await;
    }
    world.settle().await;
    sign(installation).await;
    let late = world.organization("late", "starter", ada).await;
    world.settle().await;
    world.usage(late, "gateway", "gpt-4o", 5).await;
    sign(installation).await;
    cosign(installation).await;
}

/// Lets the tree grow up to the head, and signs it.
pub(crate) async fn sign(installation: &Installation) {
    let folder = installation.data_dir();
    let keys = SigningKeys::load_or_create(&folder.join(SIGNING_KEYS_FILE)).unwrap();
    let guard = Guard::at(folder.join(GUARD_FILE));
    let head = installation.log().head().await.unwrap();
    Keeper::start(installation.log(), Evidence { keys, guard: guard.clone() }).stop().await;
    assert_eq!(guard.read().unwrap().unwrap().position, head, "signed as it was stopped");
}

/// The witness of these tests.
pub(crate) fn witness() -> Cosigner {
    Cosigner::new("example.org/witness".parse().unwrap(), &[7; 32])
}

/// Lets the witness sign the newest checkpoint.
async fn cosign(installation: &Installation) {
    let (size, note): (i64, String) =
        sqlx::query_as("select size, note from event_log.checkpoint order by size desc limit 1")
            .fetch_one(installation.pool())
            .await
            .unwrap();
    let note: Note = note.parse().unwrap();
    let line = witness().cosign(note.text(), 1_800_000_000).to_string();
    sqlx::query("select event_log.keep_cosignature($1, $2, $3, to_timestamp(1800000000))")
        .bind(size)
        .bind(witness().verifier().name().as_str())
        .bind(line.trim_end())
        .execute(installation.pool())
        .await
        .unwrap();
}

async fn catalogue(world: &World) {
    for (tier, terms) in standard::tiers().unwrap() {
        let terms = Box::new(terms);
        world.ask(CatalogueCommand::TierPublish { tier, terms }).await;
    }
    for meter in standard::meters().unwrap() {
        world.ask(CatalogueCommand::MeterDefine(meter)).await;
    }
    for pack in standard::credit_packs().unwrap() {
        world.ask(CatalogueCommand::CreditPackPublish(Box::new(pack))).await;
    }
    // The published card, with prices for two more meters that the records name.
    let mut rates = standard::rates().unwrap();
    rates.meters.entry("concurrent_connections".parse().unwrap()).or_insert(Amount::ZERO);
    world.ask(CatalogueCommand::RateCardPublish(Box::new(rates))).await;
    world.price("gpt-4o", "2.5e-06", "1e-05").await;
}

async fn money(world: &World, organization_id: OrganizationId) {
    let credit_pack = "1000".parse().or_else(|_| pack()).unwrap();
    let initiate = PurchaseCommand::PurchaseInitiate { organization_id, credit_pack };
    let Subject::Purchase(purchase_id) = world.ask(initiate).await else { panic!("no purchase") };
    let amount = Money::parse("10.00", Currency::USD).unwrap();
    let reference = text("transfer 4711");
    world.ask(PurchaseCommand::PurchasePay { purchase_id, amount, reference }).await;
    world.settle().await;
    let reason = text("too many");
    let credits = Some(Credits::from_whole(100).unwrap());
    world.ask(PurchaseCommand::PurchaseRefund { purchase_id, credits, reason }).await;
    let credits = Credits::from_whole(50).unwrap();
    let reason = text("a report");
    world.ask(CreditCommand::CreditSpend { organization_id, credits, reason }).await;
    let reason = text("a call");
    let hold = CreditCommand::CreditHoldPlace { organization_id, credits, seconds: 3_600, reason };
    let Subject::Hold(_, hold_id) = world.ask(hold).await else { panic!("no hold") };
    let credits = Credits::from_whole(20).unwrap();
    world.ask(CreditCommand::CreditHoldCapture { organization_id, hold_id, credits }).await;
    let reason = text("another call");
    world
        .ask(CreditCommand::CreditHoldPlace { organization_id, credits, seconds: 3_600, reason })
        .await;
}

/// A record of a meter that nobody defined: past the front door, as an older program might have let
/// it through. It is set aside, never free.
async fn unpriced(installation: &Installation, organization_id: OrganizationId) {
    let payload = br#"{"source":"old","usage_id":"1","model":null,"power":"precision",
        "quantities":{"unheard_of":7}}"#;
    let event = NewEvent {
        tenant: organization_id.uuid(),
        stream: None,
        type_name: "usage_recorded".into(),
        schema_version: 1,
        event_id: uuid::Uuid::now_v7(),
        occurred_at: "2026-12-01T10:00:00Z".parse().unwrap(),
        actor: "system/old".to_owned(),
        causation: None,
        correlation: None,
        meta: Vec::new(),
        payload: payload.to_vec(),
        tags: Vec::new(),
        subjects: Vec::new(),
    };
    let mut content = event.occurred_at.timestamp_micros().to_be_bytes().to_vec();
    content.extend_from_slice(&event.payload);
    let content_hash = sha2::Sha256::digest(&content).into();
    let record = UsageRecord { usage_id: "1".to_owned(), content_hash, event };
    let (source, records) = ("old".to_owned(), vec![record]);
    let batch = UsageBatch { tenant: organization_id.uuid(), source, records, command: None };
    installation.log().append_usage(batch).await.unwrap();
}

fn pack() -> Result<domain::values::Code, std::io::Error> {
    let smallest = standard::credit_packs().unwrap().into_iter().min_by_key(|pack| pack.credits);
    smallest.map(|pack| pack.credit_pack).ok_or_else(|| std::io::Error::other("no packs"))
}

async fn service(world: &World) {
    let verbs = [domain::operations::service::Verb::Restart].into();
    let (name, container) = ("vllm".parse().unwrap(), text("vllm-1"));
    world.ask(ServiceCommand::ServiceRegister { name, container, verbs }).await;
}
