//! Furnishing: every step is a command that somebody in the demonstration asks, with the rights
//! that they have. Command ids follow from the steps' names, so that a step that was done before is
//! only repeated: a second run changes nothing, and one that was cut off is finished.

use super::keys;
use super::offers::offers;
use super::people::{ADMINISTRATOR, Bought, COMPANIES, Company, PEOPLE, PURCHASES, SERVICES};
use super::traffic::{self, PATTERNS};
use crate::cli::end::Stopped;
use crate::cli::progress::{Counts, bar};
use crate::cli::session::Session;
use chrono::{DateTime, TimeDelta};
use commands::{
    AccessCommand, Caller, Command, Executor, Failure, PurchaseCommand, Receipt, Request,
    ServiceCommand, Subject, TenancyCommand, UsageReport, UsageVerdict,
};
use domain::Instant;
use domain::access::{Action, Permission, Resource};
use domain::catalogue::standard;
use domain::identity::api_key::hash_secret;
use domain::operations::service::Verb;
use domain::values::{Credits, OrganizationId, PurchaseId, Text, UserId};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use uuid::Uuid;

/// The first 48 bits of every command id: milliseconds at the beginning of 2026, so that ids of the
/// demonstration stand together, before everything that comes later.
const ID_TIME: u64 = 1_767_225_600_000;
/// Until when the demonstration's setup link works; it is used at once.
const SETUP_UNTIL: i64 = 4_102_444_800;

/// The installation is somebody's already.
#[derive(Debug, thiserror::Error)]
#[error(
    "this installation is in use, and the demonstration furnishes an empty one; name another \
     folder with --data"
)]
struct InUse;

/// What the demonstration made, for its summary.
pub(super) struct Furnished {
    /// The organizations by short name.
    pub(super) organizations: HashMap<&'static str, OrganizationId>,
    /// When the first of them was made; the traffic is that of the day before.
    pub(super) made_at: Instant,
    /// Commands and usage records that are new.
    pub(super) new: u64,
}

/// Carries out the steps and counts what was new.
pub(super) struct Furnisher<'a> {
    session: &'a Session,
    executor: &'a Executor,
    admin: Caller,
    people: HashMap<&'static str, UserId>,
    organizations: HashMap<&'static str, OrganizationId>,
    made_at: Option<Instant>,
    new: u64,
    quiet: bool,
}

impl<'a> Furnisher<'a> {
    pub(super) fn new(session: &'a Session, quiet: bool) -> Self {
        Self {
            session,
            executor: session.executor(),
            admin: Caller::anonymous(),
            people: HashMap::new(),
            organizations: HashMap::new(),
            made_at: None,
            new: 0,
            quiet,
        }
    }

    /// Does everything, in order.
    pub(super) async fn furnish(mut self) -> Result<Furnished, Stopped> {
        self.administrator().await?;
        self.catalogue().await?;
        self.people().await?;
        self.companies().await?;
        self.settle().await?;
        self.purchases().await?;
        self.settle().await?;
        self.refunds().await?;
        self.keys_and_services().await?;
        self.traffic().await?;
        self.settle().await?;
        let made_at = self.made_at.unwrap_or_else(|| self.executor.clock().now());
        Ok(Furnished { organizations: self.organizations, made_at, new: self.new })
    }

    fn tell(&self, what: &str) {
        if !self.quiet {
            eprintln!("  {what}");
        }
    }

    async fn settle(&self) -> Result<(), Failure> {
        let head = self.executor.log().head().await?;
        self.session.settle_up_to(head, self.quiet).await
    }

    /// Asks for one step in somebody's name.
    async fn ask(
        &mut self,
        step: &str,
        caller: &Caller,
        command: impl Into<Command>,
    ) -> Result<(Subject, Option<Receipt>), Failure> {
        let command_id = command_id(step);
        let command = command.into();
        let subject = command.subject(command_id);
        let caller = caller.clone();
        let request = Request { command_id, caller, expected_version: None, command };
        match self.executor.execute(request).await {
            Ok(outcome) => {
                let news = !outcome.receipt.was_replayed && !outcome.receipt.event_ids.is_empty();
                self.new += u64::from(news);
                Ok((subject, Some(outcome.receipt)))
            }
            // Another version of this program took the step, with other words.
            Err(Failure::CommandReused { .. }) => Ok((subject, None)),
            Err(failure) => Err(failure),
        }
    }

    async fn as_admin(
        &mut self,
        step: &str,
        command: impl Into<Command>,
    ) -> Result<Subject, Failure> {
        let admin = self.admin.clone();
        Ok(self.ask(step, &admin, command).await?.0)
    }

    /// The setup link is issued and used, as whoever installs the product does.
    async fn administrator(&mut self) -> Result<(), Stopped> {
        let keys = self.executor.keys().clone();
        let done = self.executor.log().receipt(command_id("setup")).await?.is_some();
        let state: domain::installation::Installation = self.session.state("").await?;
        if !done && state.administrator.is_some() {
            return Err(InUse.into());
        }
        let token = keys::setup_token(&keys);
        let key = keys::key(&keys, "administrator")?;
        if !done {
            let expires_at = DateTime::from_timestamp(SETUP_UNTIL, 0)
                .unwrap_or_else(|| self.executor.clock().now() + TimeDelta::hours(1));
            let link =
                AccessCommand::SetupLinkIssue { token_hash: hash_secret(&token), expires_at };
            // Of its own id each time: a server may have issued another link in between.
            let request = Request {
                command_id: commands::new_command_id(),
                caller: Caller::system("demo"),
                expected_version: None,
                command: link.into(),
            };
            self.executor.execute(request).await?;
        }
        let complete = AccessCommand::SetupComplete {
            token,
            email: ADMINISTRATOR.email(),
            name: ADMINISTRATOR.1.to_owned(),
            key: Some(keys::recorded(&key)),
        };
        let (subject, _) = self.ask("setup", &Caller::anonymous(), complete).await?;
        if let Subject::User(user_id) = subject {
            self.people.insert(ADMINISTRATOR.0, user_id);
        }
        self.admin = self.executor.authenticate(&key.print()).await?;
        self.tell("the setup link was used: Ada is the first administrator");
        Ok(())
    }

    async fn catalogue(&mut self) -> Result<(), Stopped> {
        let offers = offers()?;
        let named = |name: &str| offers.iter().filter(|(_, offer)| offer.name() == name).count();
        let is_first = |step: &str| step.starts_with("tier/") && step.ends_with("/1");
        let first_versions = offers.iter().filter(|(step, _)| is_first(step)).count();
        let (versions, add_ons) = (named("tier_publish"), named("add_on_publish"));
        let (packs, meters) = (named("credit_pack_publish"), named("meter_define"));
        let (tiers, models) = (first_versions, named("model_price"));
        let told = format!(
            "the catalogue is published: {versions} versions of {tiers} tiers, {add_ons} add-ons, \
             {packs} credit packs, {meters} meters, {models} models, the rate card"
        );
        for (step, offer) in offers {
            self.as_admin(&step, offer).await?;
        }
        self.tell(&told);
        Ok(())
    }

    async fn people(&mut self) -> Result<(), Stopped> {
        for person in PEOPLE {
            let (email, name) = (person.email(), person.1.to_owned());
            let handle = person.0;
            let invite = AccessCommand::UserInvite { email, name };
            let subject = self.as_admin(&format!("user/{handle}/invite"), invite).await?;
            let Subject::User(user_id) = subject else { continue };
            self.people.insert(handle, user_id);
            let activate = AccessCommand::UserActivate { user_id };
            self.as_admin(&format!("user/{handle}/activate"), activate).await?;
            if let Some(role) = person.2 {
                let assign = AccessCommand::UserRoleAssign { user_id, role: role.parse()? };
                self.as_admin(&format!("user/{handle}/role"), assign).await?;
            }
        }
        let count = PEOPLE.len() + 1;
        self.tell(&format!("{count} people have joined, one with each role of the platform"));
        Ok(())
    }

    fn person(&self, handle: &str) -> Result<UserId, Stopped> {
        let known = self.people.get(handle).copied();
        known.ok_or_else(|| format!("nobody is called {handle}").into())
    }

    fn organization(&self, slug: &str) -> Result<OrganizationId, Stopped> {
        let known = self.organizations.get(slug).copied();
        known.ok_or_else(|| format!("no organization is called {slug}").into())
    }

    async fn companies(&mut self) -> Result<(), Stopped> {
        for company in COMPANIES {
            self.company(company).await?;
        }
        let names: Vec<String> = COMPANIES
            .iter()
            .map(|company| format!("{} on {}", company.slug, company.tier))
            .collect();
        self.tell(&format!("organizations: {}", names.join(", ")));
        Ok(())
    }

    async fn company(&mut self, company: &Company) -> Result<(), Stopped> {
        let Company { slug, name, tier, owner, members } = *company;
        let create = TenancyCommand::OrganizationCreate {
            slug: slug.parse()?,
            name: name.parse()?,
            owner: self.person(owner)?,
            tier: tier.parse()?,
        };
        let admin = self.admin.clone();
        let (subject, receipt) = self.ask(&format!("organization/{slug}"), &admin, create).await?;
        let Subject::Organization(organization_id) = subject else { return Ok(()) };
        self.organizations.insert(slug, organization_id);
        if self.made_at.is_none() {
            self.made_at = receipt.map(|receipt| receipt.recorded_at);
        }
        // From here on it is the owner who says who belongs to it.
        let owner = Caller::user(self.person(owner)?);
        for (handle, role) in members {
            let (user_id, role) = (self.person(handle)?, *role);
            let add = TenancyCommand::MemberAdd { organization_id, user_id, role };
            self.ask(&format!("member/{slug}/{handle}"), &owner, add).await?;
        }
        Ok(())
    }

    async fn purchases(&mut self) -> Result<(), Stopped> {
        let packs = standard::credit_packs()?;
        for bought in PURCHASES {
            let purchase_id = self.initiate(bought).await?;
            let pack = packs.iter().find(|pack| pack.credit_pack.as_str() == bought.credit_pack);
            if let (Some(reference), Some(pack)) = (bought.reference, pack) {
                let (amount, reference) = (pack.price, reference.parse::<Text>()?);
                let pay = PurchaseCommand::PurchasePay { purchase_id, amount, reference };
                self.as_admin(&format!("{}/pay", bought.name), pay).await?;
            }
        }
        let paid = PURCHASES.iter().filter(|bought| bought.reference.is_some()).count();
        let waiting = PURCHASES.len() - paid;
        self.tell(&format!("credits were bought: {paid} purchases are paid, {waiting} waits"));
        Ok(())
    }

    async fn initiate(&mut self, bought: &Bought) -> Result<PurchaseId, Stopped> {
        let initiate = PurchaseCommand::PurchaseInitiate {
            organization_id: self.organization(bought.slug)?,
            credit_pack: bought.credit_pack.parse()?,
        };
        let buyer = Caller::user(self.person(bought.by)?);
        let (subject, _) = self.ask(bought.name, &buyer, initiate).await?;
        match subject {
            Subject::Purchase(purchase_id) => Ok(purchase_id),
            other => Err(format!("{other:?} is no purchase").into()),
        }
    }

    async fn refunds(&mut self) -> Result<(), Stopped> {
        for bought in PURCHASES {
            let Some(credits) = bought.refunded.and_then(Credits::from_whole) else { continue };
            let purchase_id = self.initiate(bought).await?;
            let reason = "bought more than needed".parse()?;
            let credits = Some(credits);
            let refund = PurchaseCommand::PurchaseRefund { purchase_id, credits, reason };
            self.as_admin(&format!("{}/refund", bought.name), refund).await?;
            self.tell(&format!("a part of {}'s purchase was refunded", bought.slug));
        }
        Ok(())
    }

    async fn keys_and_services(&mut self) -> Result<(), Stopped> {
        for handle in ["audrey", "fiona"] {
            self.key(handle, handle, None).await?;
        }
        for company in COMPANIES {
            let organization = self.organization(company.slug)?;
            self.key(company.slug, company.owner, Some(organization)).await?;
        }
        for (name, container) in SERVICES {
            let register = ServiceCommand::ServiceRegister {
                name: name.parse()?,
                container: container.parse()?,
                verbs: Verb::ALL.iter().copied().collect(),
            };
            self.as_admin(&format!("service/{name}"), register).await?;
        }
        self.tell("API keys are made, two services registered");
        Ok(())
    }

    /// A key for reading, or for an organization's traffic: that one may record usage and no more.
    async fn key(
        &mut self,
        name: &str,
        handle: &str,
        organization_id: Option<OrganizationId>,
    ) -> Result<(), Stopped> {
        let key = keys::key(self.executor.keys(), name)?;
        let ingests = Permission::new(Resource::Metering, Action::Write);
        let create = AccessCommand::ApiKeyCreate {
            user_id: self.person(handle)?,
            organization_id,
            name: format!("demo key of {name}").parse()?,
            scopes: organization_id.map(|_| ingests).into_iter().collect(),
            expires_at: None,
            key: keys::recorded(&key),
        };
        self.as_admin(&format!("key/{name}"), create).await?;
        Ok(())
    }

    /// A day of calls, hour by hour, as each organization's gateway would tell them.
    async fn traffic(&mut self) -> Result<(), Stopped> {
        let made_at = self.made_at.ok_or("the organizations were made by another version")?;
        let from = traffic::day_before(made_at);
        let calls: u64 = PATTERNS.iter().map(|pattern| pattern.calls).sum();
        let shown = bar(self.quiet, Counts::Things, "a day of traffic", Some(calls));
        for hour in 0..traffic::HOURS {
            for pattern in PATTERNS {
                let key = keys::key(self.executor.keys(), pattern.slug)?;
                let gateway = self.executor.authenticate(&key.print()).await?;
                let records = traffic::hour(pattern, from, hour)?;
                let report = UsageReport {
                    organization_id: self.organization(pattern.slug)?,
                    source: "demo-gateway".parse()?,
                    records,
                    command_id: None,
                };
                let answer = self.executor.record_usage(&gateway, report).await?;
                let is_new = |verdict: &&UsageVerdict| matches!(verdict, UsageVerdict::Recorded(_));
                let new = answer.verdicts.iter().filter(is_new).count();
                self.new += u64::try_from(new)?;
                shown.inc(u64::try_from(answer.verdicts.len())?);
            }
        }
        shown.finish_and_clear();
        let calls = crate::cli::progress::grouped(calls);
        self.tell(&format!("a day of traffic is recorded: {calls} calls"));
        Ok(())
    }
}

/// The command id of a step.
fn command_id(step: &str) -> Uuid {
    let digest = Sha256::digest(format!("demo/{step}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[..6].copy_from_slice(&ID_TIME.to_be_bytes()[2..]);
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Uuid::from_bytes(bytes)
}
