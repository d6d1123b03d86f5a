//! An installation with something in it, written by the executor before any server starts.

use commands::{
    AccessCommand, Caller, CatalogueCommand, Command, Executor, NewKey, Request, Subject,
    SystemClock, TenancyCommand, UsageItem, UsageReport, flows, new_command_id,
};
use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::catalogue::standard;
use domain::identity::api_key::{PrintedKey, hash_secret};
use domain::values::{OrganizationId, UserId};
use installation::{Access, Installation, Place};
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

/// The model that usage is of.
pub(crate) const MODEL: &str = "gpt-4o";

/// What a test needs to know of an installation to use it.
pub(crate) struct Furnished {
    /// A key of somebody who may do everything.
    pub(crate) admin: String,
    /// A key of somebody who may look, and little more.
    pub(crate) viewer: String,
    /// An organization that gets and spends credits; its tier gives none.
    pub(crate) counted: OrganizationId,
    /// An organization that uses the model; one call of it is recorded and charged.
    pub(crate) metered: OrganizationId,
}

fn read<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("it is written here as it should be")
}

/// Writes catalogue, users, keys and organizations, and closes again.
pub(crate) async fn furnish(place: &Place) -> Furnished {
    let installation = Installation::open(place, Access::Serve).await.expect("it opens");
    let keys = installation.keys().expect("there are keys").clone();
    let executor = Executor::new(installation.log().clone(), keys, Arc::new(SystemClock));
    let writer = Writer(&executor);
    writer.catalogue().await;
    let (ada, admin) = writer.user("ada@example.org", "admin").await;
    let (_, viewer) = writer.user("vic@example.org", "viewer").await;
    let counted = writer.organization("counted", "free", ada).await;
    let metered = writer.organization("metered", "managed", ada).await;
    flows::settle(&executor).await.expect("tiers give their credits");
    writer.call(metered).await;
    flows::settle(&executor).await.expect("the call is charged");
    installation.close().await;
    Furnished { admin, viewer, counted, metered }
}

struct Writer<'a>(&'a Executor);

impl Writer<'_> {
    async fn ask(&self, command: impl Into<Command>) -> Subject {
        let request = Request {
            command_id: new_command_id(),
            caller: Caller::system("test"),
            expected_version: None,
            command: command.into(),
        };
        self.0.execute(request).await.expect("it is allowed").subject
    }

    async fn catalogue(&self) {
        for meter in standard::meters().expect("meters") {
            self.ask(CatalogueCommand::MeterDefine(meter)).await;
        }
        for (tier, terms) in standard::tiers().expect("tiers") {
            let terms = Box::new(terms);
            self.ask(CatalogueCommand::TierPublish { tier, terms }).await;
        }
        for pack in standard::credit_packs().expect("packs") {
            self.ask(CatalogueCommand::CreditPackPublish(Box::new(pack))).await;
        }
        let rates = Box::new(standard::rates().expect("rates"));
        self.ask(CatalogueCommand::RateCardPublish(rates)).await;
        let token = TokenPrice { above: 0, input: read("2.5e-06"), output: read("1e-05") };
        self.ask(CatalogueCommand::ModelPrice(Box::new(ModelPriced {
            model: read(MODEL),
            version: 0,
            provider: read("openai"),
            mode: None,
            prices: [("input_cost_per_token".to_owned(), token.input)].into(),
            tokens: vec![token],
            max_input_tokens: None,
            max_output_tokens: None,
        })))
        .await;
    }

    /// An active user with a platform role, and a key of theirs.
    async fn user(&self, email: &str, role: &str) -> (UserId, String) {
        let invite = AccessCommand::UserInvite { email: email.to_owned(), name: email.to_owned() };
        let Subject::User(user_id) = self.ask(invite).await else { panic!("no user") };
        self.ask(AccessCommand::UserActivate { user_id }).await;
        self.ask(AccessCommand::UserRoleAssign { user_id, role: read(role) }).await;
        let public = *new_command_id().as_bytes().last_chunk::<12>().expect("sixteen");
        let printed = PrintedKey::new(read("test"), public, &[9; 32]);
        let (public_part, secret_hash) =
            (printed.public_part.clone(), hash_secret(&printed.secret));
        self.ask(AccessCommand::ApiKeyCreate {
            user_id,
            organization_id: None,
            name: read("a key"),
            scopes: [].into(),
            expires_at: None,
            key: NewKey { public_part, secret_hash },
        })
        .await;
        (user_id, printed.print())
    }

    async fn organization(&self, slug: &str, tier: &str, owner: UserId) -> OrganizationId {
        let (slug, name) = (read(slug), read(slug));
        let create = TenancyCommand::OrganizationCreate { slug, name, owner, tier: read(tier) };
        match self.ask(create).await {
            Subject::Organization(id) => id,
            other => panic!("{other:?} is no organization"),
        }
    }

    /// One call of the model: 374 tokens in, 44 out.
    async fn call(&self, organization_id: OrganizationId) {
        let record = UsageItem {
            usage_id: read("first"),
            occurred_at: read("2026-11-16T18:15:46Z"),
            model: Some(read(MODEL)),
            power: Default::default(),
            quantities: [(read("llm_tokens_input"), 374), (read("llm_tokens_output"), 44)].into(),
        };
        let (source, records) = (read("test"), vec![record]);
        let report = UsageReport { organization_id, source, records, command_id: None };
        self.0.record_usage(&Caller::system("test"), report).await.expect("it is recorded");
    }
}
