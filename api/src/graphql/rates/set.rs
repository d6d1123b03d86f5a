//! What sets meters and prices.

use super::{Aggregation, Meter, Model, PowerLevel, RateCard, meter_by_code};
use crate::graphql::outcome::{Asked, carry_out, payload};
use crate::graphql::scalars::{DateTime, Decimal, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, InputObject, Object};
use commands::{CatalogueCommand, Outcome, Subject};
use domain::catalogue::meter::MeterDefined;
use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::catalogue::rate_card::Rates;
use domain::values::{Amount, Code, ModelName, Text};
use projections::Projection as _;
use projections::catalogue::{self, Catalogue};
use std::collections::BTreeMap;
use uuid::Uuid;

async fn meter_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Meter>, Problem> {
    let Subject::Meter(code) = &outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Catalogue::NAME, outcome.receipt.position).await?;
    Ok(meter_by_code(pool, code).await?.map(Meter))
}

async fn model_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Model>, Problem> {
    let Subject::Model(name) = &outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Catalogue::NAME, outcome.receipt.position).await?;
    Ok(catalogue::model(pool, name).await?.map(Model))
}

async fn card_of(asking: &Asking, outcome: &Outcome) -> Result<Option<RateCard>, Problem> {
    let pool = asking.model_after(Catalogue::NAME, outcome.receipt.position).await?;
    Ok(catalogue::rate_cards(pool).await?.into_iter().last().map(RateCard))
}

payload! {
    /// What became of a command about a meter.
    MeterPayload {
        /// The meter.
        meter: Meter = meter_of
    }
}

payload! {
    /// What became of a command about a model.
    ModelPayload {
        /// The model with its newest prices.
        model: Model = model_of
    }
}

payload! {
    /// What became of a command about the rate card.
    RateCardPayload {
        /// The version that holds from now on.
        rate_card: RateCard = card_of
    }
}

/// How a meter counts; it never counts otherwise.
#[derive(InputObject)]
struct MeterDefineInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Which.
    meter: Word<Code>,
    /// How single records become one figure.
    aggregation: Aggregation,
    /// The base unit of a quantity: `token`, `second`, `call`.
    unit: Word<Code>,
}

/// Prices of one token for prompts above a length.
#[derive(InputObject)]
struct TokenPriceInput {
    /// Holds for prompts of more tokens than this.
    above: SafeInt,
    /// Dollars for one token in.
    input: Decimal,
    /// Dollars for one token out.
    output: Decimal,
}

/// A price under the list's own name.
#[derive(InputObject)]
struct NamedAmountInput {
    /// The list's own name for it.
    name: String,
    /// In dollars.
    amount: Decimal,
}

/// What a model costs from now on.
#[derive(InputObject)]
struct ModelPriceInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Which.
    model: Word<ModelName>,
    /// Who runs it.
    provider: Word<Text>,
    /// What it does: `chat`, `embedding`, …
    mode: Option<Word<Text>>,
    /// Token prices by prompt length, shortest first; none when it is not sold by the token.
    #[graphql(default)]
    tokens: Vec<TokenPriceInput>,
    /// Every price of the entry.
    prices: Vec<NamedAmountInput>,
    /// The longest prompt, in tokens.
    max_input_tokens: Option<SafeInt>,
    /// The longest answer, in tokens.
    max_output_tokens: Option<SafeInt>,
}

impl ModelPriceInput {
    fn entry(self) -> Result<ModelPriced, Problem> {
        let price = |price: &TokenPriceInput| {
            Ok(TokenPrice {
                above: whole(price.above, "input.tokens.above")?,
                input: price.input.as_of("input.tokens.input")?,
                output: price.output.as_of("input.tokens.output")?,
            })
        };
        let named = |it: NamedAmountInput| Ok((it.name, it.amount.as_of("input.prices.amount")?));
        let length = |length: Option<SafeInt>, field: &str| {
            length.map(|length| whole(length, field)).transpose()
        };
        Ok(ModelPriced {
            model: self.model.0,
            version: 1,
            provider: self.provider.0,
            mode: self.mode.map(|mode| mode.0),
            tokens: self.tokens.iter().map(price).collect::<Result<_, Problem>>()?,
            prices: self.prices.into_iter().map(named).collect::<Result<_, Problem>>()?,
            max_input_tokens: length(self.max_input_tokens, "input.maxInputTokens")?,
            max_output_tokens: length(self.max_output_tokens, "input.maxOutputTokens")?,
        })
    }
}

fn whole(number: SafeInt, field: &str) -> Result<u64, Problem> {
    let message = || format!("{field} is {}; it cannot be negative", number.0);
    u64::try_from(number.0).map_err(|_| Problem::input(field, message()))
}

/// The factor of a power level.
#[derive(InputObject)]
struct PowerFactorInput {
    /// Which level.
    level: PowerLevel,
    /// What it multiplies the price of a call by.
    factor: Decimal,
}

/// A price of a meter or a provider.
#[derive(InputObject)]
struct CodedAmountInput {
    /// Which.
    code: Word<Code>,
    /// In dollars.
    amount: Decimal,
}

/// The next version of the rate card.
#[derive(InputObject)]
struct RateCardPublishInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// From when it holds.
    effective_from: DateTime,
    /// One factor for each power level.
    power: Vec<PowerFactorInput>,
    /// Dollars for 1,000 tokens of a provider whose model is on no price list.
    #[graphql(default)]
    providers: Vec<CodedAmountInput>,
    /// The same for a provider that is not named.
    unknown_provider: Decimal,
    /// Dollars for one unit of a meter; what is free is stated as zero.
    meters: Vec<CodedAmountInput>,
}

impl RateCardPublishInput {
    fn rates(self) -> Result<Rates, Problem> {
        let factor =
            |it: &PowerFactorInput| Ok((it.level.into(), it.factor.as_of("input.power.factor")?));
        Ok(Rates {
            effective_from: self.effective_from.0,
            power: self.power.iter().map(factor).collect::<Result<_, Problem>>()?,
            provider_per_1000_tokens: coded(self.providers, "input.providers")?,
            unknown_per_1000_tokens: self.unknown_provider.as_of("input.unknownProvider")?,
            meters: coded(self.meters, "input.meters")?,
        })
    }
}

fn coded(given: Vec<CodedAmountInput>, field: &str) -> Result<BTreeMap<Code, Amount>, Problem> {
    given.into_iter().map(|it| Ok((it.code.0, it.amount.as_of(field)?))).collect()
}

#[derive(Default)]
pub(crate) struct RatesMutation;

#[Object]
impl RatesMutation {
    /// Says how a meter counts.
    async fn meter_define(
        &self,
        ctx: &Context<'_>,
        input: MeterDefineInput,
    ) -> Result<MeterPayload, Problem> {
        let (meter, aggregation) = (input.meter.0, input.aggregation.into());
        let defined = MeterDefined { meter, aggregation, unit: input.unit.0 };
        let define = CatalogueCommand::MeterDefine(defined);
        carry_out(ctx, Asked::once(input.command_id), define).await.map(MeterPayload)
    }

    /// States a model's prices.
    async fn model_price(
        &self,
        ctx: &Context<'_>,
        input: ModelPriceInput,
    ) -> Result<ModelPayload, Problem> {
        let asked = Asked::once(input.command_id);
        let price = CatalogueCommand::ModelPrice(Box::new(input.entry()?));
        carry_out(ctx, asked, price).await.map(ModelPayload)
    }

    /// Lets the next version of the rate card hold.
    async fn rate_card_publish(
        &self,
        ctx: &Context<'_>,
        input: RateCardPublishInput,
    ) -> Result<RateCardPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let publish = CatalogueCommand::RateCardPublish(Box::new(input.rates()?));
        carry_out(ctx, asked, publish).await.map(RateCardPayload)
    }
}
