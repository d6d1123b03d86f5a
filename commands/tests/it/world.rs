//! A furnished world: a log of its own, an executor, the standard catalogue, one organization.

use commands::{
    AccessCommand, CatalogueCommand, Clock, Command, CreditCommand, Executor, Failure, NewKey,
    Outcome, Request, RetentionCommand, Subject, SystemClock, TenancyCommand, flows,
    new_command_id,
};
use commands::{Caller, UsageItem};
use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::catalogue::standard;
use domain::credits::{Account, GrantKind, GrantSource};
use domain::identity::api_key::{PrintedKey, hash_secret};
use domain::retention::RecordKind;
use domain::tenancy::OrganizationRole;
use domain::values::{Code, Credits, OrganizationId, Text, UserId};
use domain::{Event, fold};
use event_log::{CommitMode, EventLog, KeyRing, MasterKey, Position, StreamId};
use std::sync::Arc;
use test_postgres::Server;
use uuid::Uuid;

/// Everything that a story needs.
pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) owner: UserId,
    pub(crate) organization: OrganizationId,
    pub(crate) server: Server,
}

pub(crate) fn code(text: &str) -> Code {
    text.parse().unwrap()
}

pub(crate) fn text(text: &str) -> Text {
    text.parse().unwrap()
}

pub(crate) fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

pub(crate) fn system() -> Caller {
    Caller::system("test")
}

pub(crate) fn request(caller: &Caller, command: impl Into<Command>) -> Request {
    Request {
        command_id: new_command_id(),
        caller: caller.clone(),
        expected_version: None,
        command: command.into(),
    }
}

impl World {
    /// With the organization `acme` on a tier; its tier's credits are granted already.
    pub(crate) async fn on_tier(tier: &str) -> Self {
        let server = Server::start().await;
        let executor = executor(&server).await;
        let nobody = OrganizationId::new(Uuid::nil());
        let owner = UserId::new(Uuid::nil());
        let mut world = Self { executor, owner, organization: nobody, server };
        world.publish_catalogue().await;
        world.owner = world.person("ada@example.org").await;
        world.organization = world.organization_of("acme", world.owner, tier).await;
        flows::settle(&world.executor).await.unwrap();
        world
    }

    pub(crate) async fn asks(&self, command: impl Into<Command>) -> Result<Outcome, Failure> {
        self.executor.execute(request(&system(), command)).await
    }

    /// Refuses somebody something, and has what is kept of that kept for so many days.
    pub(crate) async fn refuses_and_keeps_that(&self, keep_days: u32) {
        let nobody = AccessCommand::UserActivate { user_id: UserId::new(Uuid::nil()) };
        self.asks(nobody).await.unwrap_err();
        let (organization_id, kind) = (None, RecordKind::Denials);
        let set = RetentionCommand::RetentionPolicySet { organization_id, kind, keep_days };
        self.asks(set).await.unwrap();
    }

    async fn publish_catalogue(&self) {
        for meter in standard::meters().unwrap() {
            self.asks(CatalogueCommand::MeterDefine(meter)).await.unwrap();
        }
        for (tier, terms) in standard::tiers().unwrap() {
            let terms = Box::new(terms);
            self.asks(CatalogueCommand::TierPublish { tier, terms }).await.unwrap();
        }
        for pack in standard::credit_packs().unwrap() {
            self.asks(CatalogueCommand::CreditPackPublish(Box::new(pack))).await.unwrap();
        }
        let rates = Box::new(standard::rates().unwrap());
        self.asks(CatalogueCommand::RateCardPublish(rates)).await.unwrap();
        let entry = model("gpt-4o", "2.5e-06", "1e-05");
        self.asks(CatalogueCommand::ModelPrice(Box::new(entry))).await.unwrap();
    }

    /// An active user.
    pub(crate) async fn person(&self, email: &str) -> UserId {
        let invite = AccessCommand::UserInvite { email: email.into(), name: "Somebody".into() };
        let outcome = self.asks(invite).await.unwrap();
        let Subject::User(user_id) = outcome.subject else { panic!("an invitation is of a user") };
        self.asks(AccessCommand::UserActivate { user_id }).await.unwrap();
        user_id
    }

    pub(crate) async fn with_role(&self, email: &str, role: &str) -> Caller {
        let user_id = self.person(email).await;
        self.asks(AccessCommand::UserRoleAssign { user_id, role: code(role) }).await.unwrap();
        Caller::user(user_id)
    }

    pub(crate) async fn member(&self, email: &str, role: OrganizationRole) -> Caller {
        let user_id = self.person(email).await;
        let organization_id = self.organization;
        self.asks(TenancyCommand::MemberAdd { organization_id, user_id, role }).await.unwrap();
        Caller::user(user_id)
    }

    pub(crate) async fn organization_of(
        &self,
        slug: &str,
        owner: UserId,
        tier: &str,
    ) -> OrganizationId {
        let (slug, name, tier) = (code(slug), text(slug), code(tier));
        let create = TenancyCommand::OrganizationCreate { slug, name, owner, tier };
        let outcome = self.asks(create).await.unwrap();
        let Subject::Organization(id) = outcome.subject else { panic!("it is of an organization") };
        id
    }

    /// A key of a user, as it is printed once.
    pub(crate) async fn key_of(&self, user_id: UserId) -> (PrintedKey, Outcome) {
        let public = *new_command_id().as_bytes().last_chunk::<12>().unwrap();
        let printed = PrintedKey::new(code("test"), public, &[9; 32]);
        let key = NewKey {
            public_part: printed.public_part.clone(),
            secret_hash: hash_secret(&printed.secret),
        };
        let create = AccessCommand::ApiKeyCreate {
            user_id,
            organization_id: None,
            name: text("a key"),
            scopes: [].into(),
            expires_at: None,
            key,
        };
        let outcome = self.asks(create).await.unwrap();
        (printed, outcome)
    }

    pub(crate) async fn grant(&self, amount: &str) -> Outcome {
        let grant = CreditCommand::CreditGrant {
            organization_id: self.organization,
            credits: credits(amount),
            kind: GrantKind::Promotional,
            source: GrantSource::Manual { reason: text("test") },
            priority: 100,
            effective_at: None,
            expires_at: None,
        };
        self.asks(grant).await.unwrap()
    }

    pub(crate) fn spend(&self, amount: &str) -> CreditCommand {
        CreditCommand::CreditSpend {
            organization_id: self.organization,
            credits: credits(amount),
            reason: text("test"),
        }
    }

    /// The account as the log tells it, read by nobody's cache.
    pub(crate) async fn account(&self) -> Account {
        let stream = StreamId::new("credit_account", &self.organization.to_string()).unwrap();
        let recorded = self.log().read_stream(&stream, 0, None).await.unwrap();
        let events: Vec<_> = recorded
            .iter()
            .map(|r| Event::decode(&r.type_name, r.schema_version, &r.payload).unwrap())
            .map(|event| event.try_into().unwrap())
            .collect();
        fold(&events)
    }

    pub(crate) fn log(&self) -> &EventLog {
        self.executor.log()
    }

    /// Every event, decoded.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let recorded = self.log().read(Position(0), 100_000).await.unwrap();
        let decode =
            |r: &event_log::Recorded| Event::decode(&r.type_name, r.schema_version, &r.payload);
        recorded.iter().map(|r| decode(r).unwrap()).collect()
    }
}

pub(crate) async fn executor(server: &Server) -> Executor {
    executor_with(server, Arc::new(SystemClock)).await
}

pub(crate) async fn executor_with(server: &Server, clock: Arc<dyn Clock>) -> Executor {
    let log = server.open(CommitMode::Barrier).await;
    let master = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let keys = KeyRing::open(&log, &master).await.unwrap();
    Executor::new(log, keys, clock)
}

/// A model that is sold by the token.
pub(crate) fn model(name: &str, input: &str, output: &str) -> ModelPriced {
    let (input, output) = (input.parse().unwrap(), output.parse().unwrap());
    ModelPriced {
        model: name.parse().unwrap(),
        version: 0,
        provider: text("openai"),
        mode: Some(text("chat")),
        tokens: vec![TokenPrice { above: 0, input, output }],
        prices: [("input_cost_per_token".into(), input), ("output_cost_per_token".into(), output)]
            .into(),
        max_input_tokens: None,
        max_output_tokens: None,
    }
}

/// A call of 374 tokens in and 44 out: $0.001375 at list price.
pub(crate) fn call(id: u32) -> UsageItem {
    UsageItem {
        usage_id: text(&format!("{id:08}")),
        occurred_at: "2026-11-16T18:15:46Z".parse().unwrap(),
        model: Some("gpt-4o".parse().unwrap()),
        power: Default::default(),
        quantities: [(code("llm_tokens_input"), 374), (code("llm_tokens_output"), 44)].into(),
    }
}
