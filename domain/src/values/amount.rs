//! Exact decimal numbers: unit prices, rates and values before they are rounded.
//!
//! An [`Amount`] is `mantissa × 10^-scale` with an `i128` mantissa. Real price lists go down to
//! 10⁻²⁴ of a dollar for one token, so the scale may be up to [`Amount::SCALE_MAX`]. Addition and
//! multiplication are exact or fail; nothing is ever rounded except by [`Amount::round`], which is
//! called once, where a charge is made.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// An exact decimal number, kept without trailing zeros, so that equal numbers are equal values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amount {
    mantissa: i128,
    scale: u8,
}

/// Why a text or a calculation is not an [`Amount`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is not a decimal number such as `12`, `-0.5` or `1.25e-06`.
    #[error("{text:?} is not a decimal number; write it like \"12.5\" or \"1.25e-06\"")]
    NotANumber {
        /// The text, shortened.
        text: String,
    },
    /// The number is larger or finer than can be kept exactly.
    #[error("the number is too large or too fine to be kept exactly")]
    OutOfRange,
}

/// How the one rounding of a charge is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest; a tie goes to the even neighbour ("banker's rounding").
    HalfEven,
    /// Towards the larger absolute value.
    AwayFromZero,
}

impl Amount {
    /// The most digits after the decimal point.
    pub const SCALE_MAX: u8 = 36;
    /// Nothing.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };
    /// One.
    pub const ONE: Self = Self { mantissa: 1, scale: 0 };

    /// `mantissa × 10^-scale`.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`] when the scale is beyond [`Self::SCALE_MAX`] even without
    /// trailing zeros.
    pub fn new(mut mantissa: i128, mut scale: u32) -> Result<Self, AmountError> {
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        match u8::try_from(scale) {
            Ok(scale) if scale <= Self::SCALE_MAX => Ok(Self { mantissa, scale }),
            _ => Err(AmountError::OutOfRange),
        }
    }

    /// A whole number.
    #[must_use]
    pub const fn integer(value: i64) -> Self {
        Self { mantissa: value as i128, scale: 0 }
    }

    /// A percentage as a factor: 60 is 0.6.
    #[must_use]
    pub fn percent(value: u32) -> Self {
        // Two digits always fit, so this cannot be out of range.
        Self::new(i128::from(value), 2).unwrap_or(Self::ZERO)
    }

    /// Whether the number is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// Whether the number is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The exact sum.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`] when the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        let scale = self.scale.max(other.scale);
        let left = self.mantissa_at(scale)?;
        let right = other.mantissa_at(scale)?;
        let sum = left.checked_add(right).ok_or(AmountError::OutOfRange)?;
        Self::new(sum, u32::from(scale))
    }

    /// The exact product.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`] when the product does not fit.
    pub fn multiply(self, other: Self) -> Result<Self, AmountError> {
        let mantissa = self.mantissa.checked_mul(other.mantissa).ok_or(AmountError::OutOfRange)?;
        Self::new(mantissa, u32::from(self.scale) + u32::from(other.scale))
    }

    /// The exact product with a quantity.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`] when the product does not fit.
    pub fn times(self, quantity: u64) -> Result<Self, AmountError> {
        let mantissa =
            self.mantissa.checked_mul(i128::from(quantity)).ok_or(AmountError::OutOfRange)?;
        Self::new(mantissa, u32::from(self.scale))
    }

    /// The number in units of `10^-scale`, rounded as asked.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`] when the result does not fit.
    pub fn round(self, scale: u8, rounding: Rounding) -> Result<i128, AmountError> {
        if scale >= self.scale {
            return self.mantissa_at(scale);
        }
        let divisor = power_of_ten(u32::from(self.scale - scale))?;
        let quotient = self.mantissa / divisor;
        let rest = (self.mantissa % divisor).abs();
        let away = if self.mantissa < 0 { -1 } else { 1 };
        let up = match rounding {
            Rounding::AwayFromZero => rest != 0,
            // Compared as rest against what is missing to the divisor: doubling could overflow.
            Rounding::HalfEven => match rest.cmp(&(divisor - rest)) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => quotient % 2 != 0,
                std::cmp::Ordering::Greater => true,
            },
        };
        Ok(if up { quotient + away } else { quotient })
    }

    fn mantissa_at(self, scale: u8) -> Result<i128, AmountError> {
        let factor = power_of_ten(u32::from(scale.saturating_sub(self.scale)))?;
        self.mantissa.checked_mul(factor).ok_or(AmountError::OutOfRange)
    }
}

fn power_of_ten(exponent: u32) -> Result<i128, AmountError> {
    10_i128.checked_pow(exponent).ok_or(AmountError::OutOfRange)
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Whole parts first: bringing both to one scale could overflow for far-apart numbers.
        let split = |amount: &Self| {
            let divisor = 10_i128.pow(u32::from(amount.scale));
            (amount.mantissa.div_euclid(divisor), amount.mantissa.rem_euclid(divisor))
        };
        let ((left, left_rest), (right, right_rest)) = (split(self), split(other));
        let scale = self.scale.max(other.scale);
        let fraction =
            |rest: i128, own: u8| rest.saturating_mul(10_i128.pow(u32::from(scale - own)));
        left.cmp(&right)
            .then_with(|| fraction(left_rest, self.scale).cmp(&fraction(right_rest, other.scale)))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse(text)
            .ok_or_else(|| AmountError::NotANumber { text: text.chars().take(40).collect() })?
    }
}

/// `None` when the text is no number at all.
fn parse(text: &str) -> Option<Result<Amount, AmountError>> {
    let (number, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at)?, parse_exponent(text.get(at + 1..)?)?),
        None => (text, 0),
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (digits, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    Some(assemble(negative, whole, fraction, exponent))
}

fn parse_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain && digits.len() <= 4 { text.parse().ok() } else { None }
}

fn assemble(
    negative: bool,
    whole: &str,
    fraction: &str,
    exponent: i32,
) -> Result<Amount, AmountError> {
    let mut mantissa: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        mantissa = mantissa
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(byte - b'0')))
            .ok_or(AmountError::OutOfRange)?;
    }
    if negative {
        mantissa = -mantissa;
    }
    let digits = i64::try_from(fraction.len()).map_err(|_| AmountError::OutOfRange)?;
    let scale = digits - i64::from(exponent);
    if mantissa == 0 {
        return Ok(Amount::ZERO);
    }
    match u32::try_from(scale) {
        Ok(scale) => Amount::new(mantissa, scale),
        Err(_) => {
            let up = u32::try_from(-scale).map_err(|_| AmountError::OutOfRange)?;
            let factor = power_of_ten(up)?;
            Amount::new(mantissa.checked_mul(factor).ok_or(AmountError::OutOfRange)?, 0)
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(formatter, self.mantissa, usize::from(self.scale))
    }
}

/// Writes `mantissa × 10^-scale` plainly, with exactly `scale` digits after the point.
pub(super) fn write_decimal(
    formatter: &mut fmt::Formatter<'_>,
    mantissa: i128,
    scale: usize,
) -> fmt::Result {
    let sign = if mantissa < 0 { "-" } else { "" };
    let digits = mantissa.unsigned_abs().to_string();
    if scale == 0 {
        return write!(formatter, "{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    write!(formatter, "{sign}{whole}.{fraction}")
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::names::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str) -> Amount {
        text.parse().expect("a decimal number")
    }

    #[test]
    fn an_exponent_is_read_as_the_exact_decimal_it_stands_for() {
        assert_eq!(amount("1.25e-06").to_string(), "0.00000125");
        assert_eq!(amount("1.5000020000000002e-05").to_string(), "0.000015000020000000002");
        assert_eq!(amount("2E3").to_string(), "2000");
        assert_eq!(amount("0.0"), Amount::ZERO);
    }

    #[test]
    fn what_is_no_decimal_number_is_refused() {
        for text in
            ["", "-", ".", "1.", ".5", "1e", "1e+", "0x10", "1,5", "NaN", "inf", " 1", "1_0"]
        {
            assert!(text.parse::<Amount>().is_err(), "{text:?} was taken for a number");
        }
        assert_eq!("1e999".parse::<Amount>(), Err(AmountError::OutOfRange));
        assert_eq!("9".repeat(40).parse::<Amount>(), Err(AmountError::OutOfRange));
    }

    #[test]
    fn a_tie_is_rounded_to_the_even_neighbour() {
        for (text, rounded) in
            [("0.5", 0), ("1.5", 2), ("2.5", 2), ("-0.5", 0), ("-1.5", -2), ("2.51", 3)]
        {
            assert_eq!(amount(text).round(0, Rounding::HalfEven), Ok(rounded), "{text}");
        }
        assert_eq!(amount("0.0000001").round(6, Rounding::AwayFromZero), Ok(1));
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same_number(mantissa in any::<i64>(), scale in 0_u32..=18) {
            let number = Amount::new(i128::from(mantissa), scale).expect("in range");
            prop_assert_eq!(amount(&number.to_string()), number);
        }

        #[test]
        fn multiplication_distributes_over_addition(
            a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000,
            c in -1_000_000_i64..1_000_000, scale in 0_u32..=9,
        ) {
            let number = |value: i64| Amount::new(i128::from(value), scale).expect("in range");
            let (a, b, c) = (number(a), number(b), number(c));
            let whole = a.plus(b).and_then(|sum| sum.multiply(c));
            let parts = a.multiply(c).and_then(|left| left.plus(b.multiply(c)?));
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn rounding_moves_a_number_by_at_most_half_a_unit(
            mantissa in any::<i64>(), scale in 0_u32..=18, to in 0_u8..=18,
        ) {
            let number = Amount::new(i128::from(mantissa), scale).expect("in range");
            let rounded = number.round(to, Rounding::HalfEven).expect("in range");
            let back = Amount::new(rounded, u32::from(to)).expect("in range");
            let moved = number.plus(back.multiply(Amount::integer(-1)).expect("in range"));
            let doubled = moved.and_then(|by| by.times(2)).expect("in range");
            let unit = Amount::new(1, u32::from(to)).expect("in range");
            let minus_unit = Amount::new(-1, u32::from(to)).expect("in range");
            prop_assert!(doubled <= unit && doubled >= minus_unit);
        }
    }
}
