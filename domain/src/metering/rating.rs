//! Rating: from one usage record to its price, exactly.
//!
//! For a model call: (input tokens × input price + output tokens × output price) × power × (1 +
//! markup). On a tier that brings its own key the provider bills the tokens and the platform takes
//! a fee of the list price, with a minimum a call. Other meters are charged by the rate card, with
//! the markup. Every step is exact; the one rounding, half-even to a micro-dollar, comes last.

use crate::catalogue::model::ModelPriced;
use crate::catalogue::rate_card::{PowerLevel, Rates};
use crate::catalogue::tier::CallPricing;
use crate::metering::UsageRecorded;
use crate::values::{Amount, AmountError, Code, MicroDollars, ModelName, Rounding};
use serde::{Deserialize, Serialize};

/// The meter of tokens that go in.
pub const INPUT_TOKENS: &str = "llm_tokens_input";
/// The meter of tokens that come out.
pub const OUTPUT_TOKENS: &str = "llm_tokens_output";

/// Why a record has no price. Never a reason to charge nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unpriceable {
    /// The price list has the model, but no price of its tokens.
    #[error("model {0} is not sold by the token")]
    NotByToken(ModelName),
    /// Tokens of no model.
    #[error("tokens are charged by model, and the record names none")]
    NoModel,
    /// The card does not name the meter.
    #[error("the rate card has no price for {0}")]
    NoRate(Code),
    /// The price does not fit.
    #[error("the price is too large to be kept exactly")]
    TooLarge,
}

impl From<AmountError> for Unpriceable {
    fn from(_: AmountError) -> Self {
        Self::TooLarge
    }
}

/// One product of the calculation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatedPart {
    /// Of which meter.
    pub meter: Code,
    /// How much.
    pub quantity: u64,
    /// Dollars for one unit.
    pub unit_price: Amount,
    /// Quantity × unit price.
    pub value: Amount,
}

/// How a charge came to be, in the order of the calculation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The products.
    pub parts: Vec<RatedPart>,
    /// What the power level multiplied model calls by.
    pub power: Amount,
    /// The rule of the tier.
    pub pricing: CallPricing,
    /// The value before rounding, in dollars.
    pub exact: Amount,
    /// The charge: rounded half-even to a micro-dollar, after the minimum of an own key.
    pub charge: MicroDollars,
}

/// Everything a record is priced by.
#[derive(Clone, Copy, Debug)]
pub struct Prices<'a> {
    /// The price list's entry of the record's model, when it has one.
    pub model: Option<&'a ModelPriced>,
    /// The rate card.
    pub rates: &'a Rates,
    /// The tier's rule.
    pub pricing: CallPricing,
}

/// Prices one usage record.
///
/// # Errors
/// [`Unpriceable`] says what is missing; such a record is set aside, never charged nothing.
pub fn rate(usage: &UsageRecorded, prices: Prices<'_>) -> Result<Explanation, Unpriceable> {
    let quantity = |code: &str| {
        usage.quantities.iter().find(|(meter, _)| meter.as_str() == code).map_or(0, |(_, q)| *q)
    };
    let input = quantity(INPUT_TOKENS);
    let mut parts = Vec::new();
    let (mut calls, mut others) = (Amount::ZERO, Amount::ZERO);
    for (meter, quantity) in &usage.quantities {
        let of_call = [INPUT_TOKENS, OUTPUT_TOKENS].contains(&meter.as_str());
        let unit_price = if of_call {
            token_price(usage, prices, meter, input)?
        } else {
            *prices.rates.meters.get(meter).ok_or_else(|| Unpriceable::NoRate(meter.clone()))?
        };
        let value = unit_price.times(*quantity)?;
        let sum = if of_call { &mut calls } else { &mut others };
        *sum = sum.plus(value)?;
        parts.push(RatedPart { meter: meter.clone(), quantity: *quantity, unit_price, value });
    }
    let power = power_factor(prices.rates, usage.power);
    let (exact, minimum) = match prices.pricing {
        CallPricing::Markup { percent } => {
            let factor = Amount::ONE.plus(Amount::percent(percent))?;
            let list = calls.multiply(power)?.plus(others)?;
            (list.multiply(factor)?, MicroDollars::ZERO)
        }
        CallPricing::OwnKeyFee { percent, minimum } => {
            // The fee is a part of the list price; no power level changes what the provider bills.
            let fee = calls.multiply(Amount::percent(percent))?;
            let least = if usage.model.is_some() { minimum.worth() } else { MicroDollars::ZERO };
            (fee.plus(others)?, least)
        }
    };
    let rounded =
        i64::try_from(exact.round(6, Rounding::HalfEven)?).map_err(|_| Unpriceable::TooLarge)?;
    let charge = MicroDollars::from_micro(rounded).max(minimum);
    charge.in_credits().ok_or(Unpriceable::TooLarge)?;
    Ok(Explanation { parts, power, pricing: prices.pricing, exact, charge })
}

fn power_factor(rates: &Rates, level: PowerLevel) -> Amount {
    // A published card has every level; without one the price is the list price, never less.
    rates.power.get(&level).copied().unwrap_or(Amount::ONE)
}

fn token_price(
    usage: &UsageRecorded,
    prices: Prices<'_>,
    meter: &Code,
    input_tokens: u64,
) -> Result<Amount, Unpriceable> {
    let model = usage.model.as_ref().ok_or(Unpriceable::NoModel)?;
    let Some(entry) = prices.model else {
        return per_token(provider_rate(prices.rates, model));
    };
    let price =
        entry.token_price(input_tokens).ok_or_else(|| Unpriceable::NotByToken(model.clone()))?;
    Ok(if meter.as_str() == INPUT_TOKENS { price.input } else { price.output })
}

/// What 1,000 tokens cost when no price list has the model: by the provider that stands before the
/// slash of its name, or as one that is not known.
fn provider_rate(rates: &Rates, model: &ModelName) -> Amount {
    let provider = model.as_str().split_once('/').map_or(model.as_str(), |(provider, _)| provider);
    rates
        .provider_per_1000_tokens
        .iter()
        .find(|(code, _)| code.as_str() == provider)
        .map_or(rates.unknown_per_1000_tokens, |(_, rate)| *rate)
}

fn per_token(per_thousand: Amount) -> Result<Amount, Unpriceable> {
    Ok(per_thousand.multiply(Amount::new(1, 3)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::model::TokenPrice;
    use crate::catalogue::standard;
    use crate::values::Credits;

    fn usage(model: Option<&str>, quantities: &[(&str, u64)], power: PowerLevel) -> UsageRecorded {
        UsageRecorded {
            source: "test".parse().expect("a text"),
            usage_id: "1".parse().expect("a text"),
            model: model.map(|name| name.parse().expect("a model name")),
            power,
            quantities: quantities
                .iter()
                .map(|(meter, quantity)| (meter.parse().expect("a code"), *quantity))
                .collect(),
        }
    }

    fn entry() -> ModelPriced {
        let price = |text: &str| text.parse().expect("an amount");
        ModelPriced {
            model: "gpt-4o".parse().expect("a model name"),
            version: 1,
            provider: "openai".parse().expect("a text"),
            mode: None,
            tokens: vec![
                TokenPrice { above: 0, input: price("2.5e-06"), output: price("1e-05") },
                TokenPrice { above: 200_000, input: price("5e-06"), output: price("2e-05") },
            ],
            prices: [].into(),
            max_input_tokens: None,
            max_output_tokens: None,
        }
    }

    fn charge(usage: &UsageRecorded, model: Option<&ModelPriced>, pricing: CallPricing) -> String {
        let rates = standard::rates().expect("rates");
        rate(usage, Prices { model, rates: &rates, pricing }).expect("a price").charge.to_string()
    }

    const fn markup(percent: u32) -> CallPricing {
        CallPricing::Markup { percent }
    }

    #[test]
    fn a_call_costs_its_tokens_times_power_times_markup() {
        let tokens = [("llm_tokens_input", 374), ("llm_tokens_output", 44)];
        let call = |power| usage(Some("gpt-4o"), &tokens, power);
        // 374 × 0.0000025 + 44 × 0.00001 = 0.001375
        assert_eq!(charge(&call(PowerLevel::Precision), Some(&entry()), markup(0)), "0.001375");
        assert_eq!(charge(&call(PowerLevel::Precision), Some(&entry()), markup(60)), "0.002200");
        // 0.001375 × 0.1 = 0.0001375 is a tie and goes to the even neighbour.
        assert_eq!(charge(&call(PowerLevel::Eco), Some(&entry()), markup(0)), "0.000138");
    }

    #[test]
    fn a_long_prompt_is_charged_at_the_price_of_long_prompts() {
        let call =
            |tokens| usage(Some("gpt-4o"), &[("llm_tokens_input", tokens)], PowerLevel::Precision);
        assert_eq!(charge(&call(200_000), Some(&entry()), markup(0)), "0.500000");
        assert_eq!(charge(&call(200_001), Some(&entry()), markup(0)), "1.000005");
    }

    #[test]
    fn with_an_own_key_a_call_costs_the_fee_and_never_less_than_the_minimum() {
        let fee =
            CallPricing::OwnKeyFee { percent: 10, minimum: Credits::from_whole(1).expect("fits") };
        let call =
            |tokens| usage(Some("gpt-4o"), &[("llm_tokens_output", tokens)], PowerLevel::Eco);
        assert_eq!(charge(&call(10), Some(&entry()), fee), "0.001000");
        assert_eq!(charge(&call(10_000), Some(&entry()), fee), "0.010000");
    }

    #[test]
    fn a_model_on_no_list_is_charged_by_its_provider_and_an_unknown_one_is_not_free() {
        let call =
            |model| usage(Some(model), &[("llm_tokens_input", 1_000)], PowerLevel::Precision);
        assert_eq!(charge(&call("together/some-model"), None, markup(0)), "0.002000");
        assert_eq!(charge(&call("some-model"), None, markup(0)), "0.010000");
        assert_eq!(charge(&call("local/llama"), None, markup(0)), "0.000000");
    }

    #[test]
    fn what_has_no_price_is_never_free() {
        let rates = standard::rates().expect("rates");
        let prices = Prices { model: None, rates: &rates, pricing: markup(0) };
        let unheard = usage(None, &[("unheard_of", 1)], PowerLevel::Precision);
        assert!(matches!(rate(&unheard, prices), Err(Unpriceable::NoRate(_))));
        let nameless = usage(None, &[("llm_tokens_input", 1)], PowerLevel::Precision);
        assert_eq!(rate(&nameless, prices), Err(Unpriceable::NoModel));
        let mut image = entry();
        image.tokens.clear();
        let call = usage(Some("gpt-4o"), &[("llm_tokens_input", 1)], PowerLevel::Precision);
        let prices = Prices { model: Some(&image), ..prices };
        assert!(matches!(rate(&call, prices), Err(Unpriceable::NotByToken(_))));
    }
}
