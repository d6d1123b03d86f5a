//! Credits, and the dollars they stand for.
//!
//! One credit is worth exactly $0.001. Credits are counted in micro-credits and charges in
//! micro-dollars, both whole numbers, and one micro-dollar is exactly 1,000 micro-credits: no
//! conversion between the two ever rounds.

use super::amount::{Amount, Rounding, write_decimal};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How many micro-credits one micro-dollar is: a credit is $0.001.
pub const MICRO_CREDITS_PER_MICRO_DOLLAR: i64 = 1_000;

const MICRO: i64 = 1_000_000;

/// A number of credits, exact to a millionth. May be negative as a difference or an overdraft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credits(i64);

/// An amount of US dollars, exact to a millionth: what a charge is rounded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroDollars(i64);

macro_rules! millionths {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(i64::MAX);

            /// From millionths.
            #[must_use]
            pub const fn from_micro(micro: i64) -> Self {
                Self(micro)
            }

            #[doc = concat!("From whole ", $what, "; `None` when there are too many.")]
            #[must_use]
            pub const fn from_whole(whole: i64) -> Option<Self> {
                match whole.checked_mul(MICRO) {
                    Some(micro) => Some(Self(micro)),
                    None => None,
                }
            }

            /// In millionths.
            #[must_use]
            pub const fn micro(self) -> i64 {
                self.0
            }

            /// Whether it is more than nothing.
            #[must_use]
            pub const fn is_positive(self) -> bool {
                self.0 > 0
            }

            /// Whether it is nothing.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The sum, `None` when it does not fit.
            #[must_use]
            pub const fn plus(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The difference, `None` when it does not fit.
            #[must_use]
            pub const fn minus(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// The sum when history is taken in. Decisions use [`Self::plus`] and refuse what does
            /// not fit, so that no recorded history ever reaches the bound.
            #[must_use]
            pub const fn saturating_plus(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference when history is taken in; see [`Self::saturating_plus`].
            #[must_use]
            pub const fn saturating_minus(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_decimal(formatter, i128::from(self.0), 6)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let amount: Amount = text.parse().map_err(|error| format!("{error}"))?;
                let micro = amount.round(6, Rounding::HalfEven).map_err(|e| e.to_string())?;
                if Amount::new(micro, 6) != Ok(amount) {
                    return Err(format!("{text:?} has more than 6 digits after the point"));
                }
                i64::try_from(micro).map(Self).map_err(|_| {
                    format!(concat!("{:?} is more ", $what, " than can be kept"), text)
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::names::from_text(deserializer)
            }
        }
    };
}

millionths!(Credits, "credits");
millionths!(MicroDollars, "dollars");

impl Credits {
    /// What these credits are worth when spent, rounded down to a micro-dollar.
    #[must_use]
    pub const fn worth(self) -> MicroDollars {
        MicroDollars(self.0.div_euclid(MICRO_CREDITS_PER_MICRO_DOLLAR))
    }

    /// The smaller of two.
    #[must_use]
    pub const fn at_most(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }
}

impl MicroDollars {
    /// The credits that pay for this; `None` when there are too many.
    #[must_use]
    pub const fn in_credits(self) -> Option<Credits> {
        match self.0.checked_mul(MICRO_CREDITS_PER_MICRO_DOLLAR) {
            Some(micro) => Some(Credits(micro)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_credit_is_a_tenth_of_a_cent() {
        let credit = Credits::from_whole(1).expect("fits");
        assert_eq!(credit.worth().to_string(), "0.001000");
        assert_eq!(credit.worth().in_credits(), Some(credit));
    }

    #[test]
    fn a_seventh_digit_is_refused_instead_of_rounded() {
        assert!("0.0000001".parse::<Credits>().is_err());
        assert_eq!("0.0000010".parse(), Ok(Credits::from_micro(1)));
        assert!("9300000000000".parse::<Credits>().is_err());
    }

    #[test]
    fn a_json_number_is_no_credits() {
        assert!(serde_json::from_str::<Credits>("1.5").is_err());
        assert_eq!(serde_json::from_str::<Credits>("\"1.5\"").ok(), "1.5".parse().ok());
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same_number_of_credits(micro in any::<i64>()) {
            let credits = Credits::from_micro(micro);
            prop_assert_eq!(credits.to_string().parse(), Ok(credits));
        }
    }
}
