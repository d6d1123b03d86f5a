//! A small price list of well-known models, so that the demonstration needs no file.
//!
//! The figures are those of the LiteLLM price list, version 1.106.2 (MIT), as written there: US
//! dollars for one token. `opscenter import models` takes in the whole list.

use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::catalogue::standard::Mistake;
use domain::values::Amount;

/// Model, provider, one token in, one token out, longest prompt, longest answer; prices above
/// 200,000 tokens where there are some.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u64,
    u64,
    Option<(&'static str, &'static str)>,
);

#[rustfmt::skip]
const MODELS: &[Row] = &[
    ("gpt-4o", "openai", "2.5e-06", "1e-05", 128_000, 16_384, None),
    ("gpt-4o-mini", "openai", "1.5e-07", "6e-07", 128_000, 16_384, None),
    ("gpt-4.1", "openai", "2e-06", "8e-06", 1_047_576, 32_768, None),
    ("gemini/gemini-2.5-pro", "gemini", "1.25e-06", "1e-05", 1_048_576, 65_536,
        Some(("2.5e-06", "1.5e-05"))),
    ("gemini/gemini-2.5-flash", "gemini", "3e-07", "2.5e-06", 1_048_576, 65_536, None),
    ("mistral/mistral-small-latest", "mistral", "1.5e-07", "6e-07", 262_144, 262_144, None),
    ("deepseek/deepseek-chat", "deepseek", "2.8e-07", "4.2e-07", 131_072, 8_192, None),
    ("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", "together_ai", "1.04e-06", "1.04e-06",
        131_072, 131_072, None),
];

/// Above this many tokens some models cost more.
const LONG: u64 = 200_000;

/// The list as it is recorded.
pub(super) fn models() -> Result<Vec<ModelPriced>, Mistake> {
    MODELS.iter().map(model).collect()
}

fn model(row: &Row) -> Result<ModelPriced, Mistake> {
    let &(name, provider, input, output, longest_prompt, longest_answer, long) = row;
    let amount = |text: &str| Ok::<Amount, Mistake>(text.parse()?);
    let mut stated = vec![(String::new(), 0, input, output)];
    stated
        .extend(long.map(|(input, output)| ("_above_200k_tokens".to_owned(), LONG, input, output)));
    let (mut tokens, mut prices) = (Vec::new(), std::collections::BTreeMap::new());
    for (suffix, above, input, output) in stated {
        let (input, output) = (amount(input)?, amount(output)?);
        prices.insert(format!("input_cost_per_token{suffix}"), input);
        prices.insert(format!("output_cost_per_token{suffix}"), output);
        tokens.push(TokenPrice { above, input, output });
    }
    Ok(ModelPriced {
        model: name.parse()?,
        version: 0,
        provider: provider.parse()?,
        mode: Some("chat".parse()?),
        tokens,
        prices,
        max_input_tokens: Some(longest_prompt),
        max_output_tokens: Some(longest_answer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_can_be_read() {
        let models = models().expect("the list");
        assert_eq!(models.len(), 8);
        let long = models.iter().find(|model| model.tokens.len() == 2).expect("a long price");
        assert_eq!(long.token_price(LONG + 1).expect("a price").input.to_string(), "0.0000025");
    }
}
