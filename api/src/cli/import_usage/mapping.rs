//! Which column says what: `occurred_at=TIMESTAMP,llm_tokens_input=ContextTokens,…`.

use domain::values::Code;
use std::str::FromStr;

/// What is read of a file, by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The column that says when.
    pub occurred_at: String,
    /// The column that names the model, when there is one.
    pub model: Option<String>,
    /// Meters and the columns of their quantities.
    pub meters: Vec<(Code, String)>,
}

/// Why a text is no mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Not a pair.
    #[error("{0:?} is not of the form METER=COLUMN, such as llm_tokens_input=ContextTokens")]
    NotAPair(String),
    /// Not a code.
    #[error("{0:?} is no meter; use occurred_at, model, or a meter such as llm_tokens_input")]
    NotAMeter(String),
    /// Said twice.
    #[error("{0} is mapped twice")]
    Twice(String),
    /// Nothing says when.
    #[error("no column says when; add occurred_at=COLUMN")]
    NoTime,
    /// Nothing says how much.
    #[error("no column says how much; add METER=COLUMN, such as llm_tokens_input=ContextTokens")]
    NoMeter,
}

impl FromStr for Mapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (mut occurred_at, mut model, mut meters) = (None, None, Vec::<(Code, String)>::new());
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (target, column) = match pair.split_once('=') {
                Some((target, column)) if !column.trim().is_empty() => {
                    (target.trim(), column.trim().to_owned())
                }
                Some(_) | None => return Err(MappingError::NotAPair(pair.to_owned())),
            };
            let mapped_before = match target {
                "occurred_at" => occurred_at.replace(column).is_some(),
                "model" => model.replace(column).is_some(),
                _ => {
                    let meter: Code =
                        target.parse().map_err(|_| MappingError::NotAMeter(target.to_owned()))?;
                    let before = meters.iter().any(|(known, _)| *known == meter);
                    meters.push((meter, column));
                    before
                }
            };
            if mapped_before {
                return Err(MappingError::Twice(target.to_owned()));
            }
        }
        if meters.is_empty() {
            return Err(MappingError::NoMeter);
        }
        Ok(Self { occurred_at: occurred_at.ok_or(MappingError::NoTime)?, model, meters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read_and_a_wrong_one_says_what_is_wrong() {
        let read: Mapping =
            "occurred_at=T, llm_tokens_input=In,model=M".parse().expect("a mapping");
        assert_eq!((read.occurred_at.as_str(), read.model.as_deref()), ("T", Some("M")));
        assert_eq!(read.meters.len(), 1);
        let wrong = |text: &str| text.parse::<Mapping>().expect_err("no mapping");
        assert_eq!(wrong("occurred_at"), MappingError::NotAPair("occurred_at".into()));
        assert_eq!(wrong("occurred_at=,a=b"), MappingError::NotAPair("occurred_at=".into()));
        assert_eq!(wrong("occurred_at=T,Calls=N"), MappingError::NotAMeter("Calls".into()));
        assert_eq!(wrong("occurred_at=T"), MappingError::NoMeter);
        assert_eq!(wrong("api_calls=N"), MappingError::NoTime);
        assert_eq!(wrong("occurred_at=T,a=b,a=c"), MappingError::Twice("a".into()));
    }
}
