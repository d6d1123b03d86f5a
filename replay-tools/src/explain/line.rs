//! One line of a charge: the usage record behind it, priced again and compared.

use super::catalogue::Catalogue;
use super::steps::steps;
use crate::Failure;
use crate::history::{at_positions, decode};
use crate::moment::printed;
use domain::catalogue::model::ModelPriced;
use domain::credits::{ChargeLine, PriceUsed, UsageCharged, Verdict};
use domain::metering::rating::{Explanation, Prices, RatedPart, rate};
use domain::metering::{Event as UsageEvent, Unpriceable, UsageRecorded};
use domain::values::{Amount, MicroDollars, ModelName, Text};
use event_log::{EventLog, Recorded};
use serde::Serialize;
use std::collections::BTreeMap;

/// A line with everything that it follows from.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) line: usize,
    pub(super) usage_position: i64,
    pub(super) source: Text,
    pub(super) usage_id: Text,
    pub(super) occurred_at: String,
    pub(super) recorded_at: String,
    pub(super) model: Option<ModelName>,
    /// The version of the price list's entry; none where the rate card's fallback holds.
    pub(super) model_version: Option<u32>,
    pub(super) model_position: Option<i64>,
    pub(super) power: &'static str,
    pub(super) parts: Vec<RatedPart>,
    /// The arithmetic, one step after the other.
    pub(super) steps: Vec<String>,
    /// Dollars before rounding.
    pub(super) exact: Option<Amount>,
    /// Dollars charged, as recorded.
    pub(super) charge: MicroDollars,
    /// Dollars charged, as priced again.
    pub(super) recomputed: MicroDollars,
    /// Why the record was set aside, if it was.
    pub(super) quarantined: Option<String>,
}

/// Prices every line again; says what differs.
pub(super) async fn all(
    log: &EventLog,
    recorded: &Recorded,
    charge: &UsageCharged,
    catalogue: &mut Catalogue,
) -> Result<(Vec<Line>, Vec<String>), Failure> {
    let positions: Vec<i64> = charge.lines.iter().map(|line| line.usage_position).collect();
    let found = at_positions(log, &positions).await?;
    let by_position: BTreeMap<i64, &Recorded> =
        found.iter().map(|usage| (usage.position.0, usage)).collect();
    let (mut lines, mut differences) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(&charge.lines) {
        let usage = by_position.get(&line.usage_position).copied();
        let Some((usage, content)) = of_organization(usage, recorded)? else {
            differences.push(format!(
                "line {number}: position {} holds no usage of this organization",
                line.usage_position
            ));
            continue;
        };
        if let Some(model) = &content.model {
            catalogue.read_model(log, model, recorded.position).await?;
        }
        let again = Again { number, line, usage, content: &content, charge, catalogue };
        let (line, differs) = again.priced()?;
        lines.push(line);
        differences.extend(differs.into_iter().map(|what| format!("line {number}: {what}")));
    }
    Ok((lines, differences))
}

fn of_organization<'a>(
    usage: Option<&'a Recorded>,
    charge: &Recorded,
) -> Result<Option<(&'a Recorded, UsageRecorded)>, Failure> {
    let Some(usage) = usage.filter(|usage| usage.tenant == charge.tenant) else {
        return Ok(None);
    };
    let content = UsageEvent::try_from(decode(usage)?).ok();
    Ok(content.map(|UsageEvent::UsageRecorded(content)| (usage, content)))
}

/// A line about to be priced again.
struct Again<'a> {
    number: usize,
    line: &'a ChargeLine,
    usage: &'a Recorded,
    content: &'a UsageRecorded,
    charge: &'a UsageCharged,
    catalogue: &'a Catalogue,
}

impl Again<'_> {
    fn priced(&self) -> Result<(Line, Vec<String>), Failure> {
        let at = self.line.usage_position;
        let entry = self.content.model.as_ref().and_then(|name| self.catalogue.model(name, at));
        let result = self.rate(entry.map(|(_, entry)| entry));
        let mut differences = self.in_force();
        differences.extend(self.compare(entry.map(|(_, entry)| entry), result.as_ref()));
        let explanation = result.as_ref().ok();
        let line = Line {
            line: self.number,
            usage_position: at,
            source: self.content.source.clone(),
            usage_id: self.content.usage_id.clone(),
            occurred_at: printed(self.usage.occurred_at),
            recorded_at: printed(self.usage.recorded_at),
            model: self.content.model.clone(),
            model_version: entry.map(|(_, entry)| entry.version),
            model_position: entry.map(|(position, _)| position),
            power: self.content.power.as_str(),
            parts: explanation.map(|found| found.parts.clone()).unwrap_or_default(),
            steps: explanation
                .map(|found| steps(found, self.content))
                .transpose()?
                .unwrap_or_default(),
            exact: explanation.map(|found| found.exact),
            charge: self.line.charge(),
            recomputed: explanation.map_or(MicroDollars::ZERO, |found| found.charge),
            quarantined: result.as_ref().err().map(ToString::to_string),
        };
        Ok((line, differences))
    }

    fn rate(&self, entry: Option<&ModelPriced>) -> Result<Explanation, Unpriceable> {
        let Some((_, card)) = self.catalogue.rate_card(self.line.usage_position) else {
            let meter = self.content.quantities.keys().next().cloned();
            return Err(meter.map_or(Unpriceable::NoModel, Unpriceable::NoRate));
        };
        let prices = Prices { model: entry, rates: &card.rates, pricing: self.charge.pricing };
        rate(self.content, prices)
    }

    /// Whether the charge names the tier, the rule and the card that held when it was used.
    fn in_force(&self) -> Vec<String> {
        let at = self.line.usage_position;
        let (charge, mut differences) = (self.charge, Vec::new());
        let tier = self.catalogue.tier_of_organization(at);
        if tier != Some(&(charge.tier.clone(), charge.tier_version)) {
            let was = tier.map_or_else(
                || "on no tier".to_owned(),
                |(tier, version)| format!("on {tier} version {version}"),
            );
            differences.push(format!(
                "the organization was {was}, charged as {} version {}",
                charge.tier, charge.tier_version
            ));
        }
        let rule =
            self.catalogue.terms(charge.tier_version, at).map(|published| published.terms.calls);
        if rule != Some(charge.pricing) {
            differences.push(format!(
                "{} version {} does not price calls the way it was charged",
                charge.tier, charge.tier_version
            ));
        }
        let card = self.catalogue.rate_card(at).map_or(0, |(_, card)| card.version);
        if card != charge.rate_card_version {
            differences.push(format!(
                "rate card version {card} held, charged by version {}",
                charge.rate_card_version
            ));
        }
        let period = self.usage.occurred_at.format("%Y-%m").to_string();
        if period != charge.period {
            differences.push(format!("it occurred in {period}, charged in {}", charge.period));
        }
        differences
    }

    /// Compares the verdict that was recorded with the one that the rules give.
    fn compare(
        &self,
        entry: Option<&ModelPriced>,
        result: Result<&Explanation, &Unpriceable>,
    ) -> Vec<String> {
        match (&self.line.verdict, result) {
            (Verdict::Quarantined { reason }, Err(again)) if reason == again => Vec::new(),
            (Verdict::Quarantined { reason }, Err(again)) => {
                vec![format!("set aside because {reason}, while the rules say {again}")]
            }
            (Verdict::Quarantined { reason }, Ok(again)) => {
                vec![format!("set aside because {reason}, while its price is {}", again.charge)]
            }
            (Verdict::Rated { charge, .. }, Err(again)) => {
                vec![format!("charged {charge}, while {again}")]
            }
            (Verdict::Rated { price, exact, charge }, Ok(again)) => {
                let mut differences = Vec::new();
                if *charge != again.charge {
                    differences.push(format!("charged {charge}, recomputed {}", again.charge));
                }
                if *exact != again.exact {
                    differences.push(format!("exactly {exact}, recomputed {}", again.exact));
                }
                if self.price_used(*price) != Some(&self.price_again(entry, again)) {
                    differences.push("the prices it names are not those that held".to_owned());
                }
                differences
            }
        }
    }

    fn price_used(&self, index: u32) -> Option<&PriceUsed> {
        self.charge.prices.get(usize::try_from(index).ok()?)
    }

    fn price_again(&self, entry: Option<&ModelPriced>, again: &Explanation) -> PriceUsed {
        let unit_prices = again.parts.iter().map(|part| (part.meter.clone(), part.unit_price));
        PriceUsed {
            model: self.content.model.clone(),
            model_version: entry.map(|entry| entry.version),
            power: again.power,
            unit_prices: unit_prices.collect(),
        }
    }
}
