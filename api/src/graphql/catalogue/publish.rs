//! What puts something on offer, or offers the next version of it.

use super::{AddOn, CreditPack, Tier};
use crate::graphql::outcome::{Asked, carry_out, payload};
use crate::graphql::scalars::{DateTime, Decimal, MoneyInput, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, InputObject, Object, OneofObject};
use commands::{CatalogueCommand, Outcome, Subject};
use domain::catalogue::add_on::AddOnPublished;
use domain::catalogue::credit_pack::CreditPackPublished;
use domain::catalogue::tier::{CallPricing, Limit, Terms};
use domain::values::{Code, Text};
use projections::Projection as _;
use projections::catalogue::{self, Catalogue};
use projections::directory::{self, Directory};
use uuid::Uuid;

async fn tier_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Tier>, Problem> {
    let Subject::Tier(code) = &outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Directory::NAME, outcome.receipt.position).await?;
    let versions = directory::tier_versions(pool, Some(code)).await?;
    Ok(Some(Tier { code: code.clone(), versions }))
}

async fn add_on_of(asking: &Asking, outcome: &Outcome) -> Result<Option<AddOn>, Problem> {
    let Subject::AddOn(code) = &outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Catalogue::NAME, outcome.receipt.position).await?;
    let rows = catalogue::add_ons(pool).await?;
    Ok(rows.into_iter().find(|row| row.add_on == *code).map(AddOn))
}

async fn pack_of(asking: &Asking, outcome: &Outcome) -> Result<Option<CreditPack>, Problem> {
    let Subject::CreditPack(code) = &outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Catalogue::NAME, outcome.receipt.position).await?;
    let rows = catalogue::credit_packs(pool).await?;
    Ok(rows.into_iter().find(|row| row.credit_pack == *code).map(CreditPack))
}

payload! {
    /// What became of a command about a tier.
    TierPayload {
        /// The tier with all its versions.
        tier: Tier = tier_of
    }
}

payload! {
    /// What became of a command about an add-on.
    AddOnPayload {
        /// The add-on as it is offered from now on.
        add_on: AddOn = add_on_of
    }
}

payload! {
    /// What became of a command about a credit pack.
    CreditPackPayload {
        /// The credit pack as it is offered from now on.
        credit_pack: CreditPack = pack_of
    }
}

/// Percent on top of the list price.
#[derive(InputObject)]
struct MarkupInput {
    /// Whole percent.
    percent: u32,
}

/// What the platform takes where the organization pays the provider.
#[derive(InputObject)]
struct OwnKeyFeeInput {
    /// Whole percent of the list price.
    percent: u32,
    /// At least so many credits a call.
    minimum_credits: Decimal,
}

/// How a model call is priced.
#[derive(OneofObject)]
enum CallPricingInput {
    /// The platform pays the provider and adds a markup.
    Markup(MarkupInput),
    /// The organization pays the provider with its own key; the platform takes a fee.
    OwnKeyFee(OwnKeyFeeInput),
}

/// The next version of a tier.
#[derive(InputObject)]
struct TierPublishInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version of the stream that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which tier.
    tier: Word<Code>,
    /// The name that people read.
    name: Word<Text>,
    /// From when it is offered.
    effective_from: DateTime,
    /// Price of a month, when it is sold by the month.
    price_month: Option<MoneyInput>,
    /// Price of a year, when it is sold by the year.
    price_year: Option<MoneyInput>,
    /// API calls a month; no limit when not said.
    api_calls: Option<SafeInt>,
    /// Seats.
    seats: u32,
    /// Whether own provider keys may be used.
    #[graphql(default)]
    own_keys: bool,
    /// Whether support answers first.
    #[graphql(default)]
    priority_support: bool,
    /// Whether it is only given by invitation.
    #[graphql(default)]
    invite_only: bool,
    /// Credits that come with a month; a contract says how many when not said.
    monthly_credits: Option<Decimal>,
    /// How a model call is priced.
    call_pricing: CallPricingInput,
    /// What is switched on.
    #[graphql(default)]
    features: Vec<Word<Code>>,
}

impl TierPublishInput {
    fn terms(self) -> Result<Terms, Problem> {
        let money = |money: Option<MoneyInput>, field: &str| {
            money.map(|money| money.read(field)).transpose()
        };
        let calls = match self.call_pricing {
            CallPricingInput::Markup(markup) => CallPricing::Markup { percent: markup.percent },
            CallPricingInput::OwnKeyFee(fee) => CallPricing::OwnKeyFee {
                percent: fee.percent,
                minimum: fee.minimum_credits.as_of("input.callPricing.ownKeyFee.minimumCredits")?,
            },
        };
        let credits = self.monthly_credits.as_ref();
        Ok(Terms {
            name: self.name.0,
            effective_from: self.effective_from.0,
            price_month: money(self.price_month, "input.priceMonth")?,
            price_year: money(self.price_year, "input.priceYear")?,
            api_calls: limit(self.api_calls, "input.apiCalls")?,
            seats: self.seats,
            own_keys: self.own_keys,
            priority_support: self.priority_support,
            invite_only: self.invite_only,
            monthly_credits: credits.map(|it| it.as_of("input.monthlyCredits")).transpose()?,
            calls,
            features: self.features.into_iter().map(|feature| feature.0).collect(),
        })
    }
}

fn limit(given: Option<SafeInt>, field: &str) -> Result<Limit, Problem> {
    let Some(SafeInt(number)) = given else { return Ok(Limit::Unlimited) };
    whole(number, field).map(Limit::AtMost)
}

fn whole(number: i64, field: &str) -> Result<u64, Problem> {
    u64::try_from(number)
        .map_err(|_| Problem::input(field, format!("{field} is {number}; it cannot be negative")))
}

/// A limit of an add-on.
#[derive(InputObject)]
struct NamedLimitInput {
    /// Of what.
    code: Word<Code>,
    /// How many at most.
    limit: SafeInt,
}

/// An add-on as it is offered from now on.
#[derive(InputObject)]
struct AddOnPublishInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Which.
    add_on: Word<Code>,
    /// The name that people read.
    name: Word<Text>,
    /// Price of a month.
    price_month: MoneyInput,
    /// What it includes.
    #[graphql(default)]
    limits: Vec<NamedLimitInput>,
    /// What it switches on.
    #[graphql(default)]
    features: Vec<Word<Code>>,
}

/// A credit pack as it is offered from now on.
#[derive(InputObject)]
struct CreditPackPublishInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Which.
    credit_pack: Word<Code>,
    /// How many credits are in it.
    credits: Decimal,
    /// What it costs.
    price: MoneyInput,
    /// The tiers it is sold to; without any, to all.
    #[graphql(default)]
    tiers: Vec<Word<Code>>,
}

#[derive(Default)]
pub(crate) struct CatalogueMutation;

#[Object]
impl CatalogueMutation {
    /// Offers the next version of a tier; what is on an earlier one keeps it.
    async fn tier_publish(
        &self,
        ctx: &Context<'_>,
        input: TierPublishInput,
    ) -> Result<TierPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let tier = input.tier.0.clone();
        let terms = Box::new(input.terms()?);
        let publish = CatalogueCommand::TierPublish { tier, terms };
        carry_out(ctx, asked, publish).await.map(TierPayload)
    }

    /// Offers an add-on.
    async fn add_on_publish(
        &self,
        ctx: &Context<'_>,
        input: AddOnPublishInput,
    ) -> Result<AddOnPayload, Problem> {
        let limit = |it: NamedLimitInput| Ok((it.code.0, whole(it.limit.0, "input.limits")?));
        let offer = AddOnPublished {
            add_on: input.add_on.0,
            name: input.name.0,
            price_month: input.price_month.read("input.priceMonth")?,
            limits: input.limits.into_iter().map(limit).collect::<Result<_, Problem>>()?,
            features: input.features.into_iter().map(|feature| feature.0).collect(),
        };
        let publish = CatalogueCommand::AddOnPublish(Box::new(offer));
        carry_out(ctx, Asked::once(input.command_id), publish).await.map(AddOnPayload)
    }

    /// Offers a credit pack.
    async fn credit_pack_publish(
        &self,
        ctx: &Context<'_>,
        input: CreditPackPublishInput,
    ) -> Result<CreditPackPayload, Problem> {
        let offer = CreditPackPublished {
            credit_pack: input.credit_pack.0,
            credits: input.credits.as_of("input.credits")?,
            price: input.price.read("input.price")?,
            tiers: input.tiers.into_iter().map(|tier| tier.0).collect(),
        };
        let publish = CatalogueCommand::CreditPackPublish(Box::new(offer));
        carry_out(ctx, Asked::once(input.command_id), publish).await.map(CreditPackPayload)
    }
}
