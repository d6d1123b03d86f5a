//! A town of users and organizations whose every deed is decided by the domain and recorded.
//!
//! It is driven by steps, which are plain numbers: what a step means follows from what there is, so
//! that any list of steps is a valid history, and a shorter list is one, too.

use crate::recording::{append_usage, record, usage_record};
use chrono::{DateTime, TimeDelta};
use domain::access::{Permission, role, security};
use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::catalogue::rate_card::RateCardPublished;
use domain::catalogue::tier::{CallPricing, TierVersionPublished};
use domain::catalogue::{meter, model, rate_card, standard, tier};
use domain::commerce::purchase::{self, Purchase};
use domain::credits::{self, Account, Charge, ChargeLine, CreditsGranted, GrantKind, PriceUsed};
use domain::credits::{GrantSource, Verdict};
use domain::identity::api_key::{self, ApiKey, ApiKeyCreated};
use domain::identity::user::{self, User};
use domain::metering::rating::Prices;
use domain::metering::{UsageRecorded, rate};
use domain::operations::service::{self, Observation, Outcome, Service, ServiceRegistered, Verb};
use domain::tenancy::{self, Organization, OrganizationRole};
use domain::values::*;
use domain::{Aggregate, Event, Instant, Personal};
use event_log::{EventLog, Position};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is done next: which deed, by or on which thing, and how.
pub(crate) type Step = (u8, u8, u16);

/// An organization and what belongs to it.
#[derive(Default)]
pub(crate) struct House {
    pub(crate) organization: Organization,
    pub(crate) account: Account,
    pub(crate) usage: Vec<(Position, Instant, UsageRecorded)>,
    pub(crate) charged: usize,
    pub(crate) charges: Vec<(String, MicroDollars)>,
}

/// Everything as the domain knows it, to compare read models with.
#[derive(Default)]
pub(crate) struct Town {
    ids: u128,
    pub(crate) users: BTreeMap<UserId, User>,
    pub(crate) houses: BTreeMap<OrganizationId, House>,
    pub(crate) purchases: BTreeMap<PurchaseId, Purchase>,
    pub(crate) services: BTreeMap<ServiceId, Service>,
    pub(crate) api_keys: BTreeMap<ApiKeyId, ApiKey>,
    pub(crate) last: Position,
}

fn nth<K: Copy, V>(map: &BTreeMap<K, V>, number: u8) -> Option<K> {
    let index = usize::from(number).checked_rem(map.len())?;
    map.keys().nth(index).copied()
}

fn text(text: &str) -> Text {
    text.parse().unwrap()
}

fn credits_of(number: u16) -> Credits {
    Credits::from_micro(i64::from(number) * 1_234_567 + 1)
}

impl Town {
    fn uuid(&mut self) -> Uuid {
        self.ids += 1;
        // Ids of version 7 begin with their time, so that they sort as they were made.
        Uuid::from_u128((self.ids << 80) | (7 << 76) | (2 << 62))
    }

    fn now(&self) -> Instant {
        let seconds = i64::try_from(self.ids).unwrap() * 701;
        DateTime::from_timestamp(1_780_000_000 + seconds, 123_456_000).unwrap()
    }

    /// Publishes the standard catalogue.
    pub(crate) async fn found(log: &EventLog) -> Self {
        let mut town = Self::default();
        let mut events: Vec<(String, Event)> = Vec::new();
        let mut versions: BTreeMap<Code, u32> = BTreeMap::new();
        for (tier, terms) in standard::tiers().unwrap() {
            let version = *versions.entry(tier.clone()).and_modify(|it| *it += 1).or_insert(1);
            let event =
                tier::Event::from(TierVersionPublished { tier: tier.clone(), version, terms });
            events.push((format!("tier/{tier}"), event.into()));
        }
        for defined in standard::meters().unwrap() {
            let stream = format!("meter/{}", defined.meter);
            events.push((stream, meter::Event::from(defined).into()));
        }
        for pack in standard::credit_packs().unwrap() {
            let stream = format!("credit_pack/{}", pack.credit_pack);
            events.push((stream, domain::catalogue::credit_pack::Event::from(pack).into()));
        }
        for offer in standard::add_ons().unwrap() {
            let stream = format!("add_on/{}", offer.add_on);
            events.push((stream, domain::catalogue::add_on::Event::from(offer).into()));
        }
        let card = RateCardPublished { version: 1, rates: standard::rates().unwrap() };
        events.push(("rate_card/default".to_owned(), rate_card::Event::from(card).into()));
        events.push(("model/gpt-4o".to_owned(), model::Event::from(priced()).into()));
        town.record(log, Uuid::nil(), events).await;
        town
    }

    /// Takes one step. What is refused is recorded as refused.
    pub(crate) async fn step(&mut self, log: &EventLog, (deed, which, how): Step) {
        match deed % 14 {
            0 => self.invite(log).await,
            1 => self.change_user(log, which, how).await,
            2 => self.create_organization(log, which).await,
            3 => self.change_member(log, which, how).await,
            4 => self.change_organization(log, which, how).await,
            5 => self.grant(log, which, how).await,
            6 | 7 => self.spend(log, which, how).await,
            8 | 9 => self.use_something(log, which, how).await,
            10 => self.charge(log, which).await,
            11 => self.buy(log, which, how).await,
            12 => self.operate(log, which, how).await,
            _ => self.keep_keys(log, which, how).await,
        }
    }

    async fn invite(&mut self, log: &EventLog) {
        let user_id = UserId::new(self.uuid());
        let clear = |text: String| Personal::Sealed(text.into_bytes());
        let invited = user::UserInvited {
            user_id,
            email: clear(format!("{user_id}@example.org")),
            name: clear("Ada".to_owned()),
        };
        let event = user::Event::from(invited);
        let state = User::default().evolve(&event);
        self.users.insert(user_id, state);
        self.record(log, Uuid::nil(), vec![(format!("user/{user_id}"), event.into())]).await;
    }

    async fn change_user(&mut self, log: &EventLog, which: u8, how: u16) {
        let Some(id) = nth(&self.users, which) else { return };
        let role: Code = ["admin", "finance", "viewer"][usize::from(how) % 3].parse().unwrap();
        let command = match how % 5 {
            0 => user::Command::Suspend { reason: text("away") },
            1 => user::Command::Reactivate,
            2 => user::Command::AssignRole { role },
            3 => user::Command::RemoveRole { role },
            _ => user::Command::Activate,
        };
        let state = self.users.get_mut(&id).unwrap();
        let events = ask(state, command);
        self.record_of(log, Uuid::nil(), &format!("user/{id}"), events).await;
    }

    async fn create_organization(&mut self, log: &EventLog, which: u8) {
        let Some(owner) = nth(&self.users, which) else { return };
        let id = OrganizationId::new(self.uuid());
        let mut house = House::default();
        let create =
            tenancy::Command::Create(Box::new(tenancy::organization::OrganizationCreated {
                organization_id: id,
                slug: format!("org-{}", self.ids).parse().unwrap(),
                name: text("Some Organization"),
                owner,
                tier: "professional".parse().unwrap(),
                tier_version: 1,
            }));
        let events = ask(&mut house.organization, create);
        self.houses.insert(id, house);
        self.record_of(log, id.uuid(), &format!("organization/{id}"), events).await;
    }

    async fn change_member(&mut self, log: &EventLog, which: u8, how: u16) {
        let ids = (nth(&self.houses, which), nth(&self.users, how.to_le_bytes()[0]));
        let (Some(id), Some(user_id)) = ids else { return };
        let role = OrganizationRole::ALL[usize::from(how / 7) % 4];
        let by_owner = true;
        let command = match how % 3 {
            0 => tenancy::Command::AddMember { user_id, role, by_owner },
            1 => tenancy::Command::ChangeMemberRole { user_id, role, by_owner },
            _ => tenancy::Command::RemoveMember { user_id, by_owner },
        };
        let state = &mut self.houses.get_mut(&id).unwrap().organization;
        let events = ask(state, command);
        self.record_of(log, id.uuid(), &format!("organization/{id}"), events).await;
    }

    async fn change_organization(&mut self, log: &EventLog, which: u8, how: u16) {
        let Some(id) = nth(&self.houses, which) else { return };
        let command = match how % 4 {
            0 => tenancy::Command::Rename { name: text(&format!("Name {how}")) },
            1 => tenancy::Command::Suspend { reason: text("unpaid") },
            2 => tenancy::Command::Reactivate,
            _ => tenancy::Command::ChangeTier {
                tier: "managed".parse().unwrap(),
                tier_version: 2,
                reason: text("grown"),
            },
        };
        let state = &mut self.houses.get_mut(&id).unwrap().organization;
        let events = ask(state, command);
        self.record_of(log, id.uuid(), &format!("organization/{id}"), events).await;
    }

    async fn account(&mut self, log: &EventLog, id: OrganizationId, command: credits::Command) {
        let state = &mut self.houses.get_mut(&id).unwrap().account;
        let events = ask(state, command);
        for event in &events {
            if let Event::CreditAccount(credits::Event::UsageCharged(charged)) = event {
                let charges = &mut self.houses.get_mut(&id).unwrap().charges;
                charges.push((charged.period.clone(), charged.total));
            }
        }
        self.record_of(log, id.uuid(), &format!("credit_account/{id}"), events).await;
    }

    async fn grant(&mut self, log: &EventLog, which: u8, how: u16) {
        let Some(id) = nth(&self.houses, which) else { return };
        let (grant_id, at) = (GrantId::new(self.uuid()), self.now());
        let kinds = [GrantKind::Promotional, GrantKind::Purchased, GrantKind::MonthlyAllocation];
        let grant = CreditsGranted {
            grant_id,
            credits: credits_of(how),
            kind: kinds[usize::from(how) % 3],
            source: GrantSource::Manual { reason: text("a gift") },
            priority: how % 3,
            effective_at: how.is_multiple_of(5).then_some(at),
            expires_at: how.is_multiple_of(4).then_some(at + TimeDelta::seconds(9_000)),
        };
        self.account(log, id, credits::Command::Grant { grant: Box::new(grant), at }).await;
    }

    async fn spend(&mut self, log: &EventLog, which: u8, how: u16) {
        let Some(id) = nth(&self.houses, which) else { return };
        let (new, at) = (self.uuid(), self.now());
        let held = self.houses[&id].account.holds.keys().next().copied();
        let granted = self.houses[&id].account.grants.last().map(|grant| grant.grant_id);
        let (credits, reason) = (credits_of(how / 40), text("a job"));
        let command = match (how % 6, held, granted) {
            (0 | 1, ..) => credits::Command::PlaceHold {
                hold_id: HoldId::new(new),
                credits,
                expires_at: at + TimeDelta::seconds(3_000),
                reason,
                at,
            },
            (2, Some(hold_id), _) => credits::Command::CaptureHold { hold_id, credits, at },
            (3, Some(hold_id), _) => credits::Command::ReleaseHold { hold_id, at },
            (4, _, Some(grant_id)) => credits::Command::Void { grant_id, credits, reason, at },
            _ => credits::Command::Spend { spend_id: SpendId::new(new), credits, reason, at },
        };
        self.account(log, id, command).await;
    }

    async fn use_something(&mut self, log: &EventLog, which: u8, how: u16) {
        let Some(id) = nth(&self.houses, which) else { return };
        let mut records = Vec::new();
        for number in 0..=how % 5 {
            let occurred_at = self.now() + TimeDelta::seconds(i64::from(how) * 97);
            records.push((occurred_at, usage_record(self.uuid(), how.wrapping_add(number))));
        }
        let positions = append_usage(log, id, &records).await;
        self.last = positions.last().copied().unwrap_or(self.last);
        let usage = &mut self.houses.get_mut(&id).unwrap().usage;
        let recorded = positions.into_iter().zip(records);
        usage.extend(recorded.map(|(position, (at, record))| (position, at, record)));
    }

    async fn charge(&mut self, log: &EventLog, which: u8) {
        let Some(id) = nth(&self.houses, which) else { return };
        let charge_id = ChargeId::new(self.uuid());
        let house = self.houses.get_mut(&id).unwrap();
        let open = &house.usage[house.charged..];
        let Some((_, occurred_at, _)) = open.first() else { return };
        let period = occurred_at.format("%Y-%m").to_string();
        let same =
            |it: &&(Position, Instant, UsageRecorded)| it.1.format("%Y-%m").to_string() == period;
        let (pricing, rates) = (CallPricing::Markup { percent: 60 }, standard::rates().unwrap());
        let (mut prices, mut lines) = (Vec::new(), Vec::new());
        for (position, _, record) in open.iter().take_while(same) {
            let verdict = match rate(record, Prices { model: None, rates: &rates, pricing }) {
                Err(reason) => Verdict::Quarantined { reason },
                Ok(rated) => {
                    let part =
                        |part: &domain::metering::RatedPart| (part.meter.clone(), part.unit_price);
                    prices.push(PriceUsed {
                        model: record.model.clone(),
                        model_version: None,
                        power: rated.power,
                        unit_prices: rated.parts.iter().map(part).collect(),
                    });
                    let price = u32::try_from(prices.len() - 1).unwrap();
                    Verdict::Rated { price, exact: rated.exact, charge: rated.charge }
                }
            };
            lines.push(ChargeLine { usage_position: position.0, verdict });
        }
        house.charged += lines.len();
        let charge = Charge {
            charge_id,
            occurred_at: *occurred_at,
            period,
            tier: "professional".parse().unwrap(),
            tier_version: 1,
            rate_card_version: 1,
            pricing,
            prices,
            lines,
        };
        let at = self.now();
        self.account(log, id, credits::Command::ChargeUsage { charge: Box::new(charge), at }).await;
    }

    async fn buy(&mut self, log: &EventLog, which: u8, how: u16) {
        let Some(organization_id) = nth(&self.houses, which) else { return };
        let (new, found) = (self.uuid(), nth(&self.purchases, how.to_le_bytes()[1]));
        let (reference, reason) = (text("ref 1"), text("not needed"));
        let (id, command) = match (how % 6, found) {
            (0, _) | (_, None) => (PurchaseId::new(new), None),
            (1 | 2, Some(id)) => {
                let amount = self.purchases[&id].initiated.as_ref().unwrap().price;
                (id, Some(purchase::Command::Pay { amount, reference }))
            }
            (3, Some(id)) => (id, Some(purchase::Command::Fulfil { grant_id: GrantId::new(new) })),
            (4, Some(id)) if how > 40_000 => (id, Some(purchase::Command::Fail { reason })),
            (_, Some(id)) => {
                let (refund_id, credits) = (RefundId::new(new), Some(credits_of(how)));
                (id, Some(purchase::Command::Refund { refund_id, credits, reason }))
            }
        };
        let command = command.unwrap_or_else(|| {
            let pack = standard::credit_packs().unwrap()[usize::from(how) % 4].clone();
            purchase::Command::Initiate(Box::new(purchase::PurchaseInitiated {
                purchase_id: id,
                organization_id,
                credit_pack: pack.credit_pack,
                credits: pack.credits,
                price: pack.price,
                worth: pack.credits.worth(),
            }))
        });
        let state = self.purchases.entry(id).or_default();
        let events = ask(state, command);
        self.record_of(log, organization_id.uuid(), &format!("purchase/{id}"), events).await;
    }

    async fn operate(&mut self, log: &EventLog, which: u8, how: u16) {
        let (new, at) = (self.uuid(), self.now());
        let found = nth(&self.services, which).filter(|_| !how.is_multiple_of(7));
        let id = found.unwrap_or(ServiceId::new(new));
        let seen = Observation {
            state: service::State::Healthy,
            container_id: Some("c0ffee".to_owned()),
            started_at: Some(at),
            exit_code: None,
        };
        let state = self.services.entry(id).or_default();
        let running = state.running.as_ref().map(|running| running.action_id);
        let command = match (found, running, how % 7) {
            (None, ..) => service::Command::Register(Box::new(ServiceRegistered {
                service_id: id,
                name: format!("service-{}", self.ids).parse().unwrap(),
                container: text("vllm-1"),
                verbs: Verb::ALL.iter().copied().collect(),
            })),
            (Some(_), None, 6) => service::Command::Deregister { reason: text("gone") },
            (Some(_), None, _) => service::Command::Request {
                action_id: ServiceActionId::new(new),
                verb: Verb::ALL[usize::from(how) % 5],
                reason: how.is_multiple_of(2).then(|| text("because")),
                deadline: at + TimeDelta::seconds(30),
            },
            (Some(_), Some(action_id), 1 | 2) => {
                let (worker, lease_until) = ("worker-1".to_owned(), at + TimeDelta::seconds(10));
                service::Command::Dispatch { action_id, worker, lease_until, before: seen }
            }
            (Some(_), Some(action_id), other) => {
                let outcome = match other {
                    3 => Outcome::Failed { reason: "it would not".to_owned(), after: None },
                    4 => Outcome::TimedOut { after: Some(seen) },
                    _ => Outcome::Succeeded { after: seen },
                };
                service::Command::Finish { action_id, outcome }
            }
        };
        let events = ask(state, command);
        self.record_of(log, Uuid::nil(), &format!("service/{id}"), events).await;
    }

    async fn keep_keys(&mut self, log: &EventLog, which: u8, how: u16) {
        let Some(user_id) = nth(&self.users, which) else { return };
        let (new, at) = (self.uuid(), self.now());
        let scopes: std::collections::BTreeSet<Permission> =
            ["billing:r".parse().unwrap(), "users:w".parse().unwrap()].into();
        if how.is_multiple_of(4) {
            let role: Code = "night-shift".parse().unwrap();
            let event = if how.is_multiple_of(8) {
                role::Event::from(role::RoleDefined { role, permissions: scopes })
            } else {
                role::Event::from(role::RoleDeleted { role })
            };
            let events = vec![Event::from(event)];
            return self.record_of(log, Uuid::nil(), "role/night-shift", events).await;
        }
        let found = nth(&self.api_keys, how.to_le_bytes()[1]).filter(|_| how % 4 > 1);
        let id = found.unwrap_or(ApiKeyId::new(new));
        let command = match (found, how % 4) {
            (None, _) => api_key::Command::Create(Box::new(ApiKeyCreated {
                api_key_id: id,
                name: text("importer"),
                public_part: format!("{:012}", self.ids),
                secret_hash: api_key::hash_secret("a secret"),
                user_id,
                organization_id: nth(&self.houses, which),
                scopes,
                expires_at: Some(at),
            })),
            (Some(_), 2) => api_key::Command::Revoke { reason: text("lost") },
            (Some(_), _) => {
                api_key::Command::Rotate { replaced_by: ApiKeyId::new(new), valid_until: at }
            }
        };
        let state = self.api_keys.entry(id).or_default();
        let events = ask(state, command);
        self.record_of(log, Uuid::nil(), &format!("api_key/{id}"), events).await;
    }

    async fn record_of(&mut self, log: &EventLog, tenant: Uuid, stream: &str, events: Vec<Event>) {
        let events = events.into_iter().map(|event| (stream.to_owned(), event)).collect();
        self.record(log, tenant, events).await;
    }

    /// Records one command's events.
    pub(crate) async fn record(
        &mut self,
        log: &EventLog,
        tenant: Uuid,
        events: Vec<(String, Event)>,
    ) {
        if !events.is_empty() {
            self.last = record(log, tenant, events).await;
        }
    }
}

/// The model that everybody calls.
pub(crate) fn priced() -> ModelPriced {
    let price = |text: &str| text.parse::<Amount>().unwrap();
    ModelPriced {
        model: "gpt-4o".parse().unwrap(),
        version: 1,
        provider: text("openai"),
        mode: Some(text("chat")),
        tokens: vec![TokenPrice { above: 0, input: price("2.5e-06"), output: price("1e-05") }],
        prices: [("input_cost_per_token".to_owned(), price("2.5e-06"))].into(),
        max_input_tokens: Some(128_000),
        max_output_tokens: None,
    }
}

/// Asks an aggregate and takes in what happens; a refusal happens, too.
fn ask<A: Aggregate>(state: &mut A, command: A::Command) -> Vec<Event>
where
    A::Event: Into<Event>,
{
    match state.decide(command) {
        Ok(events) => {
            *state = events.iter().fold(state.clone(), A::evolve);
            events.into_iter().map(Into::into).collect()
        }
        Err(refusal) => vec![
            security::Event::from(security::CommandRefused {
                command: "test".to_owned(),
                target: A::KIND.to_owned(),
                code: "REFUSED".to_owned(),
                reason: refusal.to_string(),
                repeated: 0,
            })
            .into(),
        ],
    }
}
