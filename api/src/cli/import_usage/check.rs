//! From the cells of a row to a usage record, or to the cell that stands in the way.
//!
//! A record is priced as well, with the prices and the tier as they are now: what could not be
//! charged is refused with its line, and a dry run knows what the file costs.

use super::mapping::Mapping;
use super::timestamp;
use crate::cli::suggest::did_you_mean;
use commands::{PriceBook, UsageItem};
use domain::Instant;
use domain::catalogue::rate_card::PowerLevel;
use domain::catalogue::tier::CallPricing;
use domain::metering::UsageRecorded;
use domain::metering::rating::{INPUT_TOKENS, OUTPUT_TOKENS};
use domain::values::{Code, MicroDollars, ModelName, Text};
use std::collections::HashMap;
use std::sync::Arc;

/// The longest id that a source may give a record.
const ID_BYTES_MAX: usize = 200;
/// How many different names of models are remembered.
const MODELS_MAX: usize = 10_000;

/// What every row of a file is read with.
pub(super) struct Checker {
    pub(super) mapping: Mapping,
    pub(super) id_column: Option<String>,
    pub(super) source: Text,
    pub(super) models: Models,
    pub(super) power: PowerLevel,
    pub(super) pricing: CallPricing,
    /// Nothing occurs later than this.
    pub(super) latest: Instant,
    /// Nothing occurred before this: the beginning of 2000.
    pub(super) earliest: Instant,
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadCell {
    pub(super) column: Option<String>,
    pub(super) reason: String,
}

fn bad<T>(column: &str, reason: String) -> Result<T, BadCell> {
    Err(BadCell { column: Some(column.to_owned()), reason })
}

impl Checker {
    /// The columns that are read, in the order in which [`check`](Self::check) expects their cells.
    pub(super) fn columns(&self) -> Vec<String> {
        let Mapping { occurred_at, model, meters } = &self.mapping;
        let mut columns = vec![occurred_at.clone()];
        columns.extend(self.id_column.clone());
        columns.extend(model.clone());
        columns.extend(meters.iter().map(|(_, column)| column.clone()));
        columns
    }

    /// Reads a row, the n-th of the file, and says what it costs.
    pub(super) fn check(
        &mut self,
        number: u64,
        cells: &[String],
    ) -> Result<(UsageItem, MicroDollars), BadCell> {
        let mut cells = cells.iter();
        let mut next = || cells.next().map_or("", String::as_str);
        let occurred_at = self.moment(next())?;
        let usage_id = match &self.id_column {
            Some(column) => given_id(column, next())?,
            // Zero-padded, so that ids sort as the rows do.
            None => number_id(number)?,
        };
        let model = match &self.mapping.model {
            Some(column) => Some(self.models.named(column, next())?),
            None => self.models.of_all.clone(),
        };
        let mut quantities = std::collections::BTreeMap::new();
        for (meter, column) in &self.mapping.meters {
            quantities.insert(meter.clone(), quantity(column, next())?);
        }
        let (source, power) = (self.source.clone(), self.power);
        let record = UsageRecorded { source, usage_id, model, power, quantities };
        let whole_row = |reason: String| BadCell { column: None, reason };
        record.check().map_err(|refusal| whole_row(refusal.to_string()))?;
        let priced = self.models.book.rate(&record, self.pricing);
        let charge = priced.map_err(|reason| whole_row(reason.to_string()))?.charge;
        let UsageRecorded { usage_id, model, quantities, .. } = record;
        Ok((UsageItem { usage_id, occurred_at, model, power, quantities }, charge))
    }

    fn moment(&self, text: &str) -> Result<Instant, BadCell> {
        let column = &self.mapping.occurred_at;
        let Some(at) = timestamp::parse(text) else {
            let reason = format!(
                "{:?} is no time; write it like 2023-11-16T18:15:46Z, 2023-11-16 18:15:46.68 or \
                 1700158546",
                shortened(text)
            );
            return bad(column, reason);
        };
        if at < self.earliest || at > self.latest {
            let reason = format!("{:?} is before the year 2000 or in the future", shortened(text));
            return bad(column, reason);
        }
        Ok(at)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

fn number_id(number: u64) -> Result<Text, BadCell> {
    format!("{number:012}").parse().map_err(|error: domain::values::TextError| BadCell {
        column: None,
        reason: error.to_string(),
    })
}

fn given_id(column: &str, text: &str) -> Result<Text, BadCell> {
    if text.len() > ID_BYTES_MAX {
        return bad(column, format!("an id has at most {ID_BYTES_MAX} bytes, not {}", text.len()));
    }
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) if text.is_empty() => bad(column, "the id is empty".to_owned()),
        Err(_) => bad(column, "the id has control characters".to_owned()),
    }
}

fn quantity(column: &str, text: &str) -> Result<u64, BadCell> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(quantity) if digits => Ok(quantity),
        Ok(_) | Err(_) if text.is_empty() => bad(column, "the quantity is empty".to_owned()),
        Ok(_) | Err(_) if digits => {
            bad(column, format!("{:?} is more than can be counted", shortened(text)))
        }
        Ok(_) | Err(_) => {
            bad(column, format!("{:?} is no whole number of 0 or more", shortened(text)))
        }
    }
}

/// Which models may be named, and which one is meant when no column names one.
pub(super) struct Models {
    pub(super) book: Arc<PriceBook>,
    /// The model of every row, when the rows do not say.
    pub(super) of_all: Option<ModelName>,
    /// Whether a model that is on no price list is charged by its provider's rate.
    pub(super) unlisted: bool,
    pub(super) known: HashMap<String, ModelName>,
}

impl Models {
    fn named(&mut self, column: &str, text: &str) -> Result<ModelName, BadCell> {
        if let Some(model) = self.known.get(text) {
            return Ok(model.clone());
        }
        let checked = check_model(&self.book, text, self.unlisted);
        let model =
            checked.map_err(|reason| BadCell { column: Some(column.to_owned()), reason })?;
        if self.known.len() < MODELS_MAX {
            self.known.insert(text.to_owned(), model.clone());
        }
        Ok(model)
    }
}

/// A model by name, if it can be charged; else why not.
pub(super) fn check_model(
    book: &PriceBook,
    text: &str,
    unlisted: bool,
) -> Result<ModelName, String> {
    let model: ModelName =
        text.parse().map_err(|_| format!("{:?} is no name of a model", shortened(text)))?;
    if book.model(&model).is_none() && !unlisted {
        let near = did_you_mean(text, book.models().map(ModelName::as_str));
        return Err(format!(
            "model {text:?} is on no price list{near}; import its price with `opscenter import \
             models`, or charge it by its provider's rate with --unlisted-model"
        ));
    }
    Ok(model)
}

/// Why meters and model cannot be charged together, whatever a row says.
pub(super) fn check_charge(
    book: &PriceBook,
    meters: &[(Code, String)],
    models: &Models,
    mapping_has_model: bool,
) -> Result<(), String> {
    let mut tokens = false;
    for (meter, _) in meters {
        if !book.has_meter(meter) {
            let near = did_you_mean(meter.as_str(), book.meters().map(Code::as_str));
            return Err(format!("there is no meter {meter}{near}"));
        }
        tokens |= [INPUT_TOKENS, OUTPUT_TOKENS].contains(&meter.as_str());
    }
    if !tokens || mapping_has_model {
        return Ok(());
    }
    let Some(model) = &models.of_all else {
        return Err("tokens are charged by model; name it with --model, or map model=COLUMN".into());
    };
    match book.model(model) {
        Some(entry) if entry.tokens.is_empty() => Err(format!(
            "model {:?} is not sold by the token, but by {}; map the meter it is sold by",
            model.as_str(),
            entry.prices.keys().take(3).cloned().collect::<Vec<_>>().join(", ")
        )),
        Some(_) | None => Ok(()),
    }
}
