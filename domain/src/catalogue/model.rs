//! Models and their prices, as a price list states them.
//!
//! Every price of an entry is kept under the price list's own name for it. What a call costs is
//! read from the token prices, which may depend on how long the prompt is.

use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{Amount, ModelName, Text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Prices of one token, in US dollars, for prompts above a length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPrice {
    /// Holds for prompts of more tokens than this.
    pub above: u64,
    /// One token in.
    pub input: Amount,
    /// One token out.
    pub output: Amount,
}

events! {
    /// What can have happened to a model.
    pub enum Event {
        /// The model costs this from now on.
        ModelPriced = "model_priced" 1 "catalogue.model.price" {
            /// Which.
            model: ModelName,
            /// 1, 2, 3, …
            version: u32,
            /// Who runs it.
            provider: Text,
            /// What it does: `chat`, `embedding`, …; `None` when the list does not say.
            mode: Option<Text>,
            /// Token prices by prompt length, shortest first; empty when it is not sold by token.
            tokens: Vec<TokenPrice>,
            /// Every price of the entry, in US dollars, under the list's own name.
            prices: BTreeMap<String, Amount>,
            /// The longest prompt, in tokens, when the list says.
            max_input_tokens: Option<u64>,
            /// The longest answer, in tokens, when the list says.
            max_output_tokens: Option<u64>,
        }
    }
}

/// What can be asked of a model's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// State its prices; the version of the given entry is ignored and the next one taken.
    Price(Box<ModelPriced>),
}

/// Why a model's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A price below zero.
    #[error("price {name:?} is negative: {price}")]
    NegativePrice {
        /// The list's name for it.
        name: String,
        /// The price.
        price: Amount,
    },
    /// Nothing to charge by.
    #[error("the entry states no price")]
    NoPrice,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NegativePrice { .. } => "MODEL_PRICE_NEGATIVE",
            Self::NoPrice => "MODEL_PRICE_MISSING",
        }
    }
}

/// A model and its newest prices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The newest entry; `None` when there never was one.
    pub priced: Option<ModelPriced>,
}

impl ModelPriced {
    /// The token prices that hold for a prompt of this many tokens.
    #[must_use]
    pub fn token_price(&self, input_tokens: u64) -> Option<&TokenPrice> {
        self.tokens.iter().rev().find(|price| price.above == 0 || input_tokens > price.above)
    }
}

impl Aggregate for Model {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "model";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Price(mut entry) = command;
        if entry.prices.is_empty() {
            return Err(Refusal::NoPrice);
        }
        if let Some((name, price)) = entry.prices.iter().find(|(_, price)| price.is_negative()) {
            return Err(Refusal::NegativePrice { name: name.clone(), price: *price });
        }
        entry.version = match &self.priced {
            None => 1,
            Some(current) => {
                entry.version = current.version;
                if *current == *entry {
                    return Ok(vec![]);
                }
                current.version.saturating_add(1)
            }
        };
        Ok(vec![Event::ModelPriced(*entry)])
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::ModelPriced(priced) => self.priced = Some(priced.clone()),
        }
        self
    }
}
