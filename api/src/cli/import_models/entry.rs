//! One entry of a price list: every price in it, exactly, and what a token costs.
//!
//! A price is a number whose name, or the name of an object around it, contains `cost`; it is kept
//! under its path in the entry, such as `tiered_pricing.0.input_cost_per_token`. What a call is
//! charged by are the token prices, and these are taken only where the list states them:
//!
//! * by length of the prompt: `input_cost_per_token`, `…_above_200k_tokens`, or the ranges of
//!   `tiered_pricing`, whose upper bound still belongs to the lower range;
//! * a side that the list leaves out is zero only for modes that have no such side: an embedding
//!   has no output. An image model that states what a prompt token costs and sells its output by
//!   the image is not sold by the token;
//! * token prices of zero beside other prices that are not, in a mode that is not about text, say
//!   that it is sold by something else (an image, a second, a query), not that it is free.
//!
//! A model that is not sold by the token is loaded with all of its prices, and usage of tokens of
//! it is refused. Nothing that could not be read becomes zero.

use crate::cli::json_members::Members;
use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::values::{Amount, AmountError, Text};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";

/// Modes in which nothing but tokens goes in, and no tokens come out.
const MODES_WITHOUT_OUTPUT: [&str; 3] = ["embedding", "rerank", "moderation"];
/// Modes that are about text: a token price of zero means that tokens are free.
const MODES_OF_TEXT: [&str; 5] = ["chat", "completion", "responses", "embedding", "moderation"];

/// Why an entry is left out. The first words are what it is counted under.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeftOut {
    #[error("it states no price")]
    NoPrice,
    #[error("its name is none: {0}")]
    Name(String),
    #[error("it is not an object")]
    NotAnObject,
    #[error("it stands in the list twice")]
    Twice,
    #[error("it names no provider")]
    NoProvider,
    #[error("price {name} is not a number but {text}")]
    NotANumber { name: String, text: String },
    #[error("price {name} is too large or too fine to be kept exactly: {text}")]
    OutOfRange { name: String, text: String },
    #[error("price {name} is negative: {price}")]
    Negative { name: String, price: Amount },
    #[error("price {name} is stated twice")]
    PriceTwice { name: String },
    #[error("{name} is no text of 1 to 500 characters")]
    NotAText { name: String },
    #[error("{name} is no number of tokens but {text}")]
    NotALimit { name: String, text: String },
}

impl LeftOut {
    /// What it is counted under.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::NoPrice => "states no price",
            Self::Name(_) => "has a name that cannot be kept",
            Self::NotAnObject => "is not an object",
            Self::Twice => "stands in the list twice",
            Self::NoProvider => "names no provider",
            Self::NotANumber { .. } => "has a price that is not a number",
            Self::OutOfRange { .. } => "has a price that cannot be kept exactly",
            Self::Negative { .. } => "has a negative price",
            Self::PriceTwice { .. } => "states a price twice",
            Self::NotAText { .. } => "has a provider or mode that is no text",
            Self::NotALimit { .. } => "has a limit that is no number of tokens",
        }
    }
}

/// Reads one entry; its version is for the model's history to say.
pub(crate) fn read(name: &str, raw: &RawValue) -> Result<ModelPriced, LeftOut> {
    let Members(members) = serde_json::from_str(raw.get()).map_err(|_| LeftOut::NotAnObject)?;
    let mut prices = BTreeMap::new();
    gather("", raw, false, &mut prices)?;
    if prices.is_empty() {
        return Err(LeftOut::NoPrice);
    }
    let model = name
        .parse()
        .map_err(|error: domain::values::TextError| LeftOut::Name(error.to_string()))?;
    let member =
        |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, raw)| *raw);
    let mode = text("mode", member("mode"))?;
    let provider = text("litellm_provider", member("litellm_provider"))?;
    let tokens = token_prices(mode.as_ref(), &prices, member("tiered_pricing"));
    Ok(ModelPriced {
        model,
        version: 0,
        provider: provider.ok_or(LeftOut::NoProvider)?,
        mode,
        tokens,
        prices,
        max_input_tokens: limit("max_input_tokens", member("max_input_tokens"))?,
        max_output_tokens: limit("max_output_tokens", member("max_output_tokens"))?,
    })
}

/// Gathers every price below a value; `priced` when a name around it contains `cost`.
fn gather(
    path: &str,
    raw: &RawValue,
    priced: bool,
    prices: &mut BTreeMap<String, Amount>,
) -> Result<(), LeftOut> {
    let text = raw.get();
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if text.starts_with('{') {
        let Members(members) = serde_json::from_str(text).map_err(|_| LeftOut::NotAnObject)?;
        for (name, value) in members {
            gather(&below(&name), value, priced || name.contains("cost"), prices)?;
        }
        return Ok(());
    }
    if text.starts_with('[') {
        let values: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|_| LeftOut::NotAnObject)?;
        for (place, value) in values.into_iter().enumerate() {
            gather(&below(&place.to_string()), value, priced, prices)?;
        }
        return Ok(());
    }
    if !priced || text == "null" {
        return Ok(());
    }
    let (name, shown) = (path.to_owned(), shortened(text));
    let price: Amount = text.parse().map_err(|error| match error {
        AmountError::NotANumber { .. } => {
            LeftOut::NotANumber { name: name.clone(), text: shown.clone() }
        }
        AmountError::OutOfRange => LeftOut::OutOfRange { name: name.clone(), text: shown.clone() },
    })?;
    if price.is_negative() {
        return Err(LeftOut::Negative { name, price });
    }
    match prices.insert(name.clone(), price) {
        None => Ok(()),
        Some(_) => Err(LeftOut::PriceTwice { name }),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

fn text(name: &str, raw: Option<&RawValue>) -> Result<Option<Text>, LeftOut> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let read = serde_json::from_str::<Text>(raw.get());
    read.map(Some).map_err(|_| LeftOut::NotAText { name: name.to_owned() })
}

/// A whole number, also when the list writes it like `256000.0`.
fn limit(name: &str, raw: Option<&RawValue>) -> Result<Option<u64>, LeftOut> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    whole(raw.get())
        .map(Some)
        .ok_or_else(|| LeftOut::NotALimit { name: name.to_owned(), text: shortened(raw.get()) })
}

fn whole(text: &str) -> Option<u64> {
    text.parse::<Amount>().ok()?.to_string().parse().ok()
}

fn token_prices(
    mode: Option<&Text>,
    prices: &BTreeMap<String, Amount>,
    tiers: Option<&RawValue>,
) -> Vec<TokenPrice> {
    let mode = mode.map_or("", Text::as_str);
    let no_output = MODES_WITHOUT_OUTPUT.contains(&mode);
    let pair = |above: u64, input: Option<&Amount>, output: Option<&Amount>| {
        let output = output.copied().or(no_output.then_some(Amount::ZERO))?;
        Some(TokenPrice { above, input: *input?, output })
    };
    let by_range = tiers.and_then(ranges).map(|lower_bounds| {
        let tier = |(place, above): (usize, u64)| {
            let price = |name| prices.get(&format!("tiered_pricing.{place}.{name}"));
            pair(above, price(INPUT), price(OUTPUT))
        };
        lower_bounds.into_iter().enumerate().map(tier).collect::<Option<Vec<_>>>()
    });
    let mut tokens = match by_range {
        Some(tokens) => tokens.unwrap_or_default(),
        None => match pair(0, prices.get(INPUT), prices.get(OUTPUT)) {
            Some(base) => by_threshold(base, prices),
            None => Vec::new(),
        },
    };
    let token_free = tokens.iter().all(|price| price.input.is_zero() && price.output.is_zero());
    let sold_otherwise = prices.values().any(|price| !price.is_zero());
    if token_free && sold_otherwise && !MODES_OF_TEXT.contains(&mode) {
        tokens.clear();
    }
    tokens.sort_by_key(|price| price.above);
    tokens
}

/// The base price and those above lengths of the prompt; a side that is not stated for a length
/// goes on as it was.
fn by_threshold(base: TokenPrice, prices: &BTreeMap<String, Amount>) -> Vec<TokenPrice> {
    let thousands = |name: &str| -> Option<u64> {
        let rest = name.strip_prefix(INPUT).or_else(|| name.strip_prefix(OUTPUT))?;
        rest.strip_prefix("_above_")?.strip_suffix("k_tokens")?.parse().ok()
    };
    let lengths: BTreeSet<u64> = prices.keys().filter_map(|name| thousands(name)).collect();
    let mut tokens = vec![base];
    for length in lengths {
        let stated = |side: &str| prices.get(&format!("{side}_above_{length}k_tokens")).copied();
        if let Some(below) = tokens.last() {
            let input = stated(INPUT).unwrap_or(below.input);
            let output = stated(OUTPUT).unwrap_or(below.output);
            tokens.push(TokenPrice { above: length.saturating_mul(1_000), input, output });
        }
    }
    tokens
}

/// The lower bounds of tiers by length of the prompt; `None` when the tiers are about something
/// else or leave a length without a price.
fn ranges(raw: &RawValue) -> Option<Vec<u64>> {
    let tiers: Vec<Members<'_>> = serde_json::from_str(raw.get()).ok()?;
    let mut lower_bounds = Vec::with_capacity(tiers.len());
    let mut end = 0;
    for Members(members) in &tiers {
        let (_, range) = members.iter().find(|(name, _)| name == "range")?;
        let bounds: Vec<&RawValue> = serde_json::from_str(range.get()).ok()?;
        let [lower, upper] = bounds[..] else { return None };
        let lower = whole(lower.get())?;
        if lower != end {
            return None;
        }
        end = whole(upper.get())?;
        lower_bounds.push(lower);
    }
    (!lower_bounds.is_empty()).then_some(lower_bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Result<ModelPriced, LeftOut> {
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        read("a-model", raw)
    }

    fn tokens(json: &str) -> Vec<(u64, String, String)> {
        let priced = entry(json).expect("a priced entry");
        let shown =
            |price: &TokenPrice| (price.above, price.input.to_string(), price.output.to_string());
        priced.tokens.iter().map(shown).collect()
    }

    fn price(above: u64, input: &str, output: &str) -> (u64, String, String) {
        (above, input.to_owned(), output.to_owned())
    }

    #[test]
    fn a_price_is_the_decimal_that_the_file_writes() {
        let priced = entry(
            r#"{"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1.25e-06,
                "output_cost_per_token": 1.5000020000000002e-05,
                "search_context_cost_per_query": {"search_context_size_low": 0.030},
                "supports_vision": true, "max_input_tokens": 128000.0}"#,
        )
        .expect("a priced entry");
        let prices: Vec<String> =
            priced.prices.iter().map(|(name, price)| format!("{name}={price}")).collect();
        assert_eq!(
            prices,
            [
                "input_cost_per_token=0.00000125",
                "output_cost_per_token=0.000015000020000000002",
                "search_context_cost_per_query.search_context_size_low=0.03",
            ]
        );
        assert_eq!(priced.max_input_tokens, Some(128_000));
    }

    #[test]
    fn long_prompts_have_prices_of_their_own() {
        let json = r#"{"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-6,
            "output_cost_per_token": 2e-6, "input_cost_per_token_above_200k_tokens": 3e-6,
            "output_cost_per_token_above_200k_tokens": 4e-6,
            "input_cost_per_token_above_200k_tokens_batches": 9e-6}"#;
        let expected = [price(0, "0.000001", "0.000002"), price(200_000, "0.000003", "0.000004")];
        assert_eq!(tokens(json), expected);
    }

    #[test]
    fn tiers_by_length_of_the_prompt_are_token_prices_and_other_tiers_are_not() {
        let json = r#"{"litellm_provider": "p", "mode": "chat", "tiered_pricing": [
            {"range": [0, 256000.0], "input_cost_per_token": 5e-8, "output_cost_per_token": 4e-7},
            {"range": [256000.0, 1000000.0], "input_cost_per_token": 2.5e-7,
             "output_cost_per_token": 2e-6}]}"#;
        let expected =
            [price(0, "0.00000005", "0.0000004"), price(256_000, "0.00000025", "0.000002")];
        assert_eq!(tokens(json), expected);
        let json = r#"{"litellm_provider": "p", "mode": "search", "tiered_pricing": [
            {"max_results_range": [0, 25], "input_cost_per_query": 0.005}]}"#;
        assert_eq!(tokens(json), []);
    }

    #[test]
    fn a_missing_side_is_zero_only_where_there_is_no_such_side() {
        let json = |mode: &str| {
            format!(
                r#"{{"litellm_provider": "p", "mode": "{mode}", "input_cost_per_token": 1e-7}}"#
            )
        };
        assert_eq!(tokens(&json("embedding")), [price(0, "0.0000001", "0")]);
        assert_eq!(tokens(&json("image_generation")), []);
        assert_eq!(tokens(&json("chat")), []);
    }

    #[test]
    fn token_prices_of_zero_are_free_for_text_and_mean_another_unit_for_images() {
        let json = |mode: &str| {
            format!(
                r#"{{"litellm_provider": "p", "mode": "{mode}", "input_cost_per_token": 0.0,
                     "output_cost_per_token": 0, "output_cost_per_image": 0.04}}"#
            )
        };
        assert_eq!(tokens(&json("image_generation")), []);
        assert_eq!(tokens(&json("chat")), [price(0, "0", "0")]);
    }

    #[test]
    fn what_cannot_be_kept_exactly_is_left_out_with_its_reason() {
        let left_out = |members: &str| {
            entry(&format!(r#"{{"litellm_provider": "p", {members}}}"#))
                .expect_err("to be left out")
                .to_string()
        };
        let cases = [
            (r#""mode": "chat""#, "it states no price"),
            (
                r#""input_cost_per_token": "free""#,
                r#"price input_cost_per_token is not a number but "free""#,
            ),
            (
                r#""input_cost_per_token": true"#,
                "price input_cost_per_token is not a number but true",
            ),
            (
                r#""input_cost_per_token": 1e-40"#,
                "price input_cost_per_token is too large or too fine to be kept exactly: 1e-40",
            ),
            (
                r#""input_cost_per_token": -1e-6"#,
                "price input_cost_per_token is negative: -0.000001",
            ),
            (
                r#""input_cost_per_token": 1, "input_cost_per_token": 2"#,
                "price input_cost_per_token is stated twice",
            ),
            (
                r#""input_cost_per_token": 1, "max_input_tokens": "many""#,
                r#"max_input_tokens is no number of tokens but "many""#,
            ),
        ];
        for (members, reason) in cases {
            assert_eq!(left_out(members), reason, "{members}");
        }
        assert_eq!(entry("[]"), Err(LeftOut::NotAnObject));
        assert_eq!(entry(r#"{"input_cost_per_token": 1}"#), Err(LeftOut::NoProvider));
    }
}
