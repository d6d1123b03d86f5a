//! The arithmetic of a price, step by step, every number exact.

use crate::Failure;
use domain::catalogue::tier::CallPricing;
use domain::metering::UsageRecorded;
use domain::metering::rating::{Explanation, INPUT_TOKENS, OUTPUT_TOKENS, RatedPart};
use domain::values::{Amount, AmountError};

/// The steps from quantities to the charge.
///
/// # Errors
/// [`Failure::Problem`] when they do not lead to the exact value that rating gave.
pub(super) fn steps(found: &Explanation, usage: &UsageRecorded) -> Result<Vec<String>, Failure> {
    let too_large = |error: AmountError| Failure::Problem(error.to_string());
    let (steps, exact) = worked(found, usage).map_err(too_large)?;
    if exact == found.exact {
        Ok(steps)
    } else {
        Err(Failure::Problem(format!(
            "the steps of a price lead to {exact}, and rating says {}",
            found.exact
        )))
    }
}

fn is_token(part: &RatedPart) -> bool {
    [INPUT_TOKENS, OUTPUT_TOKENS].contains(&part.meter.as_str())
}

fn worked(
    found: &Explanation,
    usage: &UsageRecorded,
) -> Result<(Vec<String>, Amount), AmountError> {
    let mut steps = Vec::new();
    let (mut tokens, mut others) = (Amount::ZERO, Amount::ZERO);
    for part in &found.parts {
        let RatedPart { meter, quantity, unit_price, value } = part;
        steps.push(format!("{quantity} {meter} × {unit_price} = {value}"));
        let sum = if is_token(part) { &mut tokens } else { &mut others };
        *sum = sum.plus(*value)?;
    }
    let has_others = found.parts.iter().any(|part| !is_token(part));
    let mut value = tokens;
    let mut go = |what: String, next: Amount| {
        steps.push(format!("{what} = {next}"));
        value = next;
        next
    };
    let exact = match found.pricing {
        CallPricing::Markup { percent } => {
            let powered = tokens.multiply(found.power)?;
            let level = usage.power.as_str();
            go(format!("tokens {tokens} × {} (power {level})", found.power), powered);
            let list = powered.plus(others)?;
            if has_others {
                go(format!("{powered} + others {others}"), list);
            }
            let factor = Amount::ONE.plus(Amount::percent(percent))?;
            go(format!("{list} × {factor} (markup {percent} %)"), list.multiply(factor)?)
        }
        CallPricing::OwnKeyFee { percent, .. } => {
            let rate = Amount::percent(percent);
            let fee = tokens.multiply(rate)?;
            go(format!("tokens {tokens} × {rate} (fee {percent} % of the list price)"), fee);
            let sum = fee.plus(others)?;
            if has_others { go(format!("{fee} + others {others}"), sum) } else { fee }
        }
    };
    steps.push(format!(
        "{exact} rounded half-even to a micro-dollar{} = {}",
        minimum(found.pricing),
        found.charge
    ));
    Ok((steps, exact))
}

fn minimum(pricing: CallPricing) -> String {
    match pricing {
        CallPricing::Markup { .. } => String::new(),
        CallPricing::OwnKeyFee { minimum, .. } => {
            format!(", at least {} a call", minimum.worth())
        }
    }
}
