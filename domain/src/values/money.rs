//! Money as it is legally stated: whole minor units of one currency.

use super::amount::{Amount, Rounding, write_decimal};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A currency that we know the minor unit of (ISO 4217, list one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(&'static str, u8);

/// Code and digits after the point.
const CURRENCIES: &[(&str, u8)] = &[
    ("AUD", 2),
    ("BHD", 3),
    ("BRL", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CLF", 4),
    ("CLP", 0),
    ("CNY", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("MXN", 2),
    ("MYR", 2),
    ("NOK", 2),
    ("NZD", 2),
    ("OMR", 3),
    ("PHP", 2),
    ("PLN", 2),
    ("PYG", 0),
    ("RON", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("THB", 2),
    ("TND", 3),
    ("TRY", 2),
    ("UGX", 0),
    ("USD", 2),
    ("UYW", 4),
    ("VND", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("ZAR", 2),
];

impl Currency {
    /// US dollars.
    pub const USD: Self = Self("USD", 2);

    /// The three letters.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.0
    }

    /// How many digits the minor unit has.
    #[must_use]
    pub const fn exponent(self) -> u8 {
        self.1
    }
}

/// Why something is not money, or not the money that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// No such currency, or one we do not keep.
    #[error("{code:?} is not a currency we know; use a three-letter code such as \"USD\"")]
    UnknownCurrency {
        /// What was given.
        code: String,
    },
    /// The amount is no decimal number of the currency's minor unit.
    #[error("{text:?} is not an amount of {currency}: at most {digits} digits after the point")]
    NotAnAmount {
        /// What was given.
        text: String,
        /// Of which currency.
        currency: &'static str,
        /// Its digits.
        digits: u8,
    },
    /// Two currencies cannot be added.
    #[error("{left} and {right} cannot be added")]
    Mixed {
        /// The first currency.
        left: &'static str,
        /// The second.
        right: &'static str,
    },
    /// The sum does not fit.
    #[error("the sum is too large")]
    TooLarge,
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        CURRENCIES
            .iter()
            .find(|(code, _)| *code == text)
            .map(|(code, exponent)| Self(code, *exponent))
            .ok_or_else(|| MoneyError::UnknownCurrency { code: text.chars().take(20).collect() })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// An amount of one currency in whole minor units. Printed as `49.00 USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i128,
    currency: Currency,
}

impl Money {
    /// From minor units (cents).
    #[must_use]
    pub const fn new(minor: i128, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// From a decimal text such as `49.00`.
    ///
    /// # Errors
    /// [`MoneyError::NotAnAmount`] when it is no number or finer than the minor unit.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let refuse = || MoneyError::NotAnAmount {
            text: text.chars().take(40).collect(),
            currency: currency.0,
            digits: currency.1,
        };
        let amount: Amount = text.parse().map_err(|_| refuse())?;
        let minor = amount.round(currency.1, Rounding::HalfEven).map_err(|_| refuse())?;
        if Amount::new(minor, u32::from(currency.1)) != Ok(amount) {
            return Err(refuse());
        }
        Ok(Self { minor, currency })
    }

    /// In minor units.
    #[must_use]
    pub const fn minor(self) -> i128 {
        self.minor
    }

    /// Of which currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The sum within one currency.
    ///
    /// # Errors
    /// [`MoneyError::Mixed`] for two currencies, [`MoneyError::TooLarge`] when it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency.0, right: other.currency.0 });
        }
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::TooLarge)?;
        Ok(Self { minor, currency: self.currency })
    }

    /// The number without the currency: `49.00`.
    #[must_use]
    pub fn amount(self) -> String {
        struct Plain(Money);
        impl fmt::Display for Plain {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_decimal(formatter, self.0.minor, usize::from(self.0.currency.1))
            }
        }
        Plain(self).to_string()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.amount(), self.currency)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    amount: String,
    currency: String,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { amount: self.amount(), currency: self.currency.0.to_owned() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let currency = written.currency.parse().map_err(serde::de::Error::custom)?;
        Self::parse(&written.amount, currency).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_never_finer_than_its_minor_unit() {
        assert_eq!(
            Money::parse("49", Currency::USD).map(|m| m.to_string()).as_deref(),
            Ok("49.00 USD")
        );
        assert!(Money::parse("0.001", Currency::USD).is_err());
        let yen: Currency = "JPY".parse().expect("known");
        assert!(Money::parse("1.5", yen).is_err());
        assert_eq!(Money::new(5, "KWD".parse().expect("known")).amount(), "0.005");
    }

    #[test]
    fn two_currencies_are_never_added() {
        let euro = Money::new(1, "EUR".parse().expect("known"));
        assert!(Money::new(1, Currency::USD).plus(euro).is_err());
    }
}
