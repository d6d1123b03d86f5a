//! Scalars and typed inputs.
//!
//! Nothing passes through floating point: a [`Decimal`] is text, and a JSON number in its place is
//! refused by name before anything is executed. Ids and codes are read into the domain's own types
//! at the door, so that no resolver ever holds an unchecked one.

use crate::problem::Problem;
use async_graphql::registry::Registry;
use async_graphql::{ID, InputType, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::SecondsFormat;
use domain::Instant;
use domain::values::{Amount, Credits, Currency, MicroDollars, Money};
use event_log::Position;
use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

/// The largest number that every JSON reader keeps exactly: 2⁵³ − 1.
const SAFE_MAX: i64 = 9_007_199_254_740_991;

/// An exact decimal number, always written as a string: "49.00".
#[derive(Clone, Debug)]
pub(crate) struct Decimal(pub(crate) String);

#[Scalar(name = "Decimal")]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => {
                text.parse::<Amount>()?;
                Ok(Self(text))
            }
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if text.parse::<Amount>().is_ok())
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl From<Credits> for Decimal {
    fn from(credits: Credits) -> Self {
        Self(credits.to_string())
    }
}

impl From<MicroDollars> for Decimal {
    fn from(dollars: MicroDollars) -> Self {
        Self(dollars.to_string())
    }
}

impl From<Amount> for Decimal {
    fn from(amount: Amount) -> Self {
        Self(amount.to_string())
    }
}

impl Decimal {
    /// As what the domain wants, or why it is none of it.
    pub(crate) fn as_of<T>(&self, field: &str) -> Result<T, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.0.parse().map_err(|error: T::Err| Problem::input(field, error.to_string()))
    }
}

/// A whole number between −(2⁵³ − 1) and 2⁵³ − 1, which every JSON reader keeps exactly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SafeInt(pub(crate) i64);

#[Scalar(name = "SafeInt")]
impl ScalarType for SafeInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        match number {
            Some(number) if number.abs() <= SAFE_MAX => Ok(Self(number)),
            Some(_) | None => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::Number(number)
            if number.as_i64().is_some_and(|number| number.abs() <= SAFE_MAX))
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.clamp(-SAFE_MAX, SAFE_MAX).into())
    }
}

/// A moment in UTC with six decimals: "2026-11-21T04:50:00.000000Z". Any offset is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DateTime(pub(crate) Instant);

#[Scalar(name = "DateTime")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(Self(moment(text)?)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if moment(text).is_ok())
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// Reads a moment; what is finer than a microsecond is cut off, as the log does.
pub(crate) fn moment(text: &str) -> Result<Instant, String> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text)
        .map_err(|_| format!("{text:?} is not a moment; write it like \"2026-11-21T04:50:00Z\""))?;
    let parsed = parsed.to_utc();
    Ok(Instant::from_timestamp_micros(parsed.timestamp_micros()).unwrap_or(parsed))
}

/// A place in the log. Opaque: it is taken from one answer and given back in another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// Which log, so that a position of another one is refused and not misread.
    pub(crate) log: u32,
    /// Where.
    pub(crate) position: Position,
}

impl Display for LogPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{}", self.log, self.position)
    }
}

impl FromStr for LogPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = text.split_once('-').and_then(|(log, position)| {
            let plain = log.len() == 8 && position.bytes().all(|byte| byte.is_ascii_digit());
            let log = u32::from_str_radix(log, 16).ok().filter(|_| plain)?;
            Some(Self { log, position: Position(position.parse().ok()?) })
        });
        read.ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            format!("{text:?} is not a position; take it from a receipt or from `consistency`")
        })
    }
}

#[Scalar(name = "LogPosition")]
impl ScalarType for LogPosition {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(text.parse()?),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if text.parse::<Self>().is_ok())
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// An input that is written as another type and read into one of the domain's.
macro_rules! read_as {
    ($(#[$meta:meta])* $Name:ident as $Written:ty) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub(crate) struct $Name<T>(pub(crate) T);

        impl<T> InputType for $Name<T>
        where
            T: FromStr + Display + Send + Sync,
            T::Err: Display,
        {
            type RawValueType = T;

            fn type_name() -> Cow<'static, str> {
                <$Written as InputType>::type_name()
            }

            fn create_type_info(registry: &mut Registry) -> String {
                <$Written as InputType>::create_type_info(registry)
            }

            fn parse(value: Option<Value>) -> InputValueResult<Self> {
                match value.unwrap_or_default() {
                    Value::String(text) => Ok(Self(text.parse().map_err(|error: T::Err| {
                        InputValueError::custom(error.to_string())
                    })?)),
                    other => Err(InputValueError::expected_type(other)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.to_string())
            }

            fn as_raw_value(&self) -> Option<&T> {
                Some(&self.0)
            }
        }
    };
}

read_as! {
    /// An id of one kind, checked by its prefix.
    Id as ID
}
read_as! {
    /// A text with rules: a code, a name, a reason, a permission.
    Word as String
}

/// An amount of one currency.
#[derive(async_graphql::InputObject)]
pub(crate) struct MoneyInput {
    /// "49.00"; at most as many digits after the point as the currency has.
    amount: Decimal,
    /// Three letters: "USD".
    currency: String,
}

impl MoneyInput {
    /// As the domain's money; `field` is what the input is called.
    pub(crate) fn read(&self, field: &str) -> Result<Money, Problem> {
        let currency: Currency = self
            .currency
            .parse()
            .map_err(|error| Problem::input(&format!("{field}.currency"), format!("{error}")))?;
        Money::parse(&self.amount.0, currency)
            .map_err(|error| Problem::input(&format!("{field}.amount"), error.to_string()))
    }
}

/// An amount of one currency.
#[derive(async_graphql::SimpleObject)]
#[graphql(name = "Money")]
pub(crate) struct MoneyObject {
    /// With all digits of the currency's minor unit: "49.00".
    amount: Decimal,
    /// Three letters.
    currency: &'static str,
}

impl From<Money> for MoneyObject {
    fn from(money: Money) -> Self {
        Self { amount: Decimal(money.amount()), currency: money.currency().code() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_no_decimal() {
        assert!(!Decimal::is_valid(&Value::Number(5.into())));
        assert!(Decimal::is_valid(&Value::String("5.25".into())));
        assert!(!Decimal::is_valid(&Value::String("five".into())));
    }

    #[test]
    fn a_position_is_read_as_it_is_written_and_nothing_else_is() {
        let position = LogPosition { log: 0xab, position: Position(42) };
        assert_eq!(position.to_string(), "000000ab-42");
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["42", "000000ab-", "ab-42", "000000ab--2", "000000ab-+2"] {
            assert!(text.parse::<LogPosition>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_written_in_utc_with_six_decimals() {
        let read = moment("2026-11-21T05:50:00.1234567+01:00").expect("a moment");
        assert_eq!(
            ScalarType::to_value(&DateTime(read)),
            Value::String("2026-11-21T04:50:00.123456Z".into())
        );
    }

    #[test]
    fn a_safe_integer_is_one_that_every_reader_keeps() {
        assert!(SafeInt::is_valid(&Value::Number(SAFE_MAX.into())));
        assert!(!SafeInt::is_valid(&Value::Number((SAFE_MAX + 1).into())));
    }
}
