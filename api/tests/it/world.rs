//! An installation of its own for every test, in a folder that is removed afterwards; the program
//! that is tested works on it from outside.

use commands::{
    AccessCommand, Caller, CatalogueCommand, Command, Executor, Request, Subject, SystemClock,
    TenancyCommand, flows, new_command_id,
};
use domain::catalogue::model::{Event as ModelEvent, ModelPriced};
use domain::catalogue::standard;
use domain::credits::{Account, Event as CreditEvent, UsageCharged, Verdict};
use domain::metering::{Event as UsageEvent, UsageRecorded};
use domain::values::{MicroDollars, OrganizationId};
use domain::{Aggregate, Event};
use event_log::{Position, Recorded};
use installation::{Access, Installation, Place};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// A folder with an installation.
pub(crate) struct World {
    folder: PathBuf,
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Expects an exit status.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// The output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What the log says of an organization.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) charged_records: u64,
    pub(crate) charge_usd: String,
    pub(crate) balance_credits: String,
    pub(crate) owed_credits: String,
}

impl World {
    /// A folder with nothing in it.
    pub(crate) fn empty() -> Self {
        let name = Uuid::now_v7().simple().to_string();
        let folder = std::env::temp_dir().join("opscenter-tests").join(name);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Self { folder }
    }

    /// An installation with the standard catalogue and one organization, named after its tier, on
    /// each of the tiers that charge differently.
    pub(crate) async fn furnished() -> Self {
        let world = Self::empty();
        let open = world.open().await;
        open.furnish().await;
        open.close().await;
        world
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The program, about to work on this installation.
    pub(crate) fn program(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_opscenter"));
        for variable in [
            "DATABASE_URL",
            "DATABASE_OWNER_URL",
            "DOCKER_HOST",
            "REDIS_URL",
            "OPS_ADDRESS",
            "OPS_LOG_KEYS",
            "OPS_MASTER_KEY",
            "OPS_STARTED_AS",
            "OPS_WITNESSES",
            "RUST_LOG",
        ] {
            command.env_remove(variable);
        }
        command.env("OPS_DATA", self.data()).args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        self.run_program(self.program(arguments)).await
    }

    /// Runs a program that was made ready to its end.
    pub(crate) async fn run_program(&self, mut program: tokio::process::Command) -> Said {
        let ended = tokio::time::timeout(PATIENCE, program.output()).await;
        let Output { status, stdout, stderr } =
            ended.expect("the program ends").expect("the program can be started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text is printed");
        Said { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// Opens the installation in this process. Close it before the program is to be alone.
    pub(crate) async fn open(&self) -> Open {
        let place = Place::folder(self.data());
        let installation =
            Installation::open(&place, Access::Write).await.expect("the installation opens");
        let keys = installation.keys().expect("a master key").clone();
        let executor = Executor::new(installation.log().clone(), keys, Arc::new(SystemClock));
        Open { installation, executor }
    }

    /// What the log says of an organization.
    pub(crate) async fn totals(&self, slug: &str) -> Totals {
        let open = self.open().await;
        let totals = open.totals(&[slug]).await;
        open.close().await;
        totals.into_values().next().expect("the organization was asked for")
    }

    /// The position of the last event.
    pub(crate) async fn head(&self) -> Position {
        let open = self.open().await;
        let head = open.executor.log().head().await.expect("the log can be read");
        open.close().await;
        head
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

/// An installation that is open in this process.
pub(crate) struct Open {
    installation: Installation,
    pub(crate) executor: Executor,
}

impl Open {
    pub(crate) async fn close(self) {
        self.installation.close().await;
    }

    /// Asks for a command and expects it to be accepted.
    pub(crate) async fn ask(&self, command: impl Into<Command>) -> Subject {
        let request = Request {
            command_id: new_command_id(),
            caller: Caller::system("test"),
            expected_version: None,
            command: command.into(),
        };
        self.executor.execute(request).await.expect("the command is accepted").subject
    }

    async fn furnish(&self) {
        for (tier, terms) in standard::tiers().expect("tiers") {
            let terms = Box::new(terms);
            self.ask(CatalogueCommand::TierPublish { tier, terms }).await;
        }
        for meter in standard::meters().expect("meters") {
            self.ask(CatalogueCommand::MeterDefine(meter)).await;
        }
        let rates = standard::rates().expect("rates");
        self.ask(CatalogueCommand::RateCardPublish(Box::new(rates))).await;
        let (email, name) = ("ada@example.org".to_owned(), "Ada".to_owned());
        let Subject::User(owner) = self.ask(AccessCommand::UserInvite { email, name }).await else {
            panic!("a user was invited")
        };
        self.ask(AccessCommand::UserActivate { user_id: owner }).await;
        for slug in ["managed", "professional", "byok", "free"] {
            let (name, tier) = (slug.parse().expect("a text"), slug.parse().expect("a code"));
            let slug = slug.parse().expect("a code");
            let create = TenancyCommand::OrganizationCreate { slug, name, owner, tier };
            self.ask(create).await;
        }
        flows::settle(&self.executor).await.expect("the flows settle");
    }

    pub(crate) async fn organization(&self, slug: &str) -> OrganizationId {
        let found = self.executor.organization_named(slug).await.expect("the log can be read");
        found.expect("the organization exists")
    }

    /// Everything in the log, oldest first.
    pub(crate) async fn events(&self) -> Vec<(Recorded, Event)> {
        let mut events = Vec::new();
        let mut after = Position::default();
        loop {
            let page = self.executor.log().read(after, 4_096).await.expect("the log can be read");
            let Some(last) = page.last() else { return events };
            after = last.position;
            for recorded in page {
                let (name, version) = (&recorded.type_name, recorded.schema_version);
                let event = Event::decode(name, version, &recorded.payload).expect("a known event");
                events.push((recorded, event));
            }
        }
    }

    /// The newest entry of every model.
    pub(crate) async fn models(&self) -> BTreeMap<String, ModelPriced> {
        let mut models = BTreeMap::new();
        for (_, event) in self.events().await {
            if let Event::Model(ModelEvent::ModelPriced(priced)) = event {
                models.insert(priced.model.to_string(), priced);
            }
        }
        models
    }

    /// The usage of an organization, in the order of the log.
    pub(crate) async fn usage(&self, slug: &str) -> Vec<(Recorded, UsageRecorded)> {
        let tenant = self.organization(slug).await.uuid();
        let mut usage = Vec::new();
        for (recorded, event) in self.events().await {
            if let Event::Usage(UsageEvent::UsageRecorded(record)) = event
                && recorded.tenant == tenant
            {
                usage.push((recorded, record));
            }
        }
        usage
    }

    /// What the log says of organizations.
    pub(crate) async fn totals(&self, slugs: &[&str]) -> BTreeMap<String, Totals> {
        let mut tallies = HashMap::new();
        for slug in slugs {
            let tenant = self.organization(slug).await.uuid();
            tallies.insert(tenant, ((*slug).to_owned(), Tally::default()));
        }
        for (recorded, event) in self.events().await {
            if let Some((_, tally)) = tallies.get_mut(&recorded.tenant) {
                tally.take_in(event);
            }
        }
        tallies.into_values().map(|(slug, tally)| (slug, tally.totals())).collect()
    }
}

/// Adds up an organization's events.
#[derive(Default)]
struct Tally {
    account: Account,
    charge: MicroDollars,
    records: u64,
    charged_records: u64,
}

impl Tally {
    fn take_in(&mut self, event: Event) {
        if let Event::Usage(_) = &event {
            self.records += 1;
        }
        let Event::CreditAccount(event) = event else { return };
        if let CreditEvent::UsageCharged(UsageCharged { lines, .. }) = &event {
            for line in lines {
                let Verdict::Rated { charge, .. } = &line.verdict else {
                    panic!("{} has no price", line.usage_position)
                };
                self.charge = self.charge.plus(*charge).expect("it fits");
                self.charged_records += 1;
            }
        }
        self.account = std::mem::take(&mut self.account).evolve(&event);
    }

    fn totals(self) -> Totals {
        Totals {
            records: self.records,
            charged_records: self.charged_records,
            charge_usd: self.charge.to_string(),
            balance_credits: self.account.balance().to_string(),
            owed_credits: self.account.owed.to_string(),
        }
    }
}
