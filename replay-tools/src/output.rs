//! What a person sees while a tool works, and how figures are written.

use domain::values::Credits;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};

/// Where answers go.
pub(crate) type Out<'a> = &'a mut (dyn Write + Send);

/// A bar on standard error where that is a terminal; otherwise nothing is drawn.
#[must_use]
pub(crate) fn progress(length: i64, unit: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(8)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(u64::try_from(length).ok(), target);
    let form = format!("{{bar:30}} {{human_pos}} of {{human_len}} {unit} {{per_sec}} {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&form) {
        bar.set_style(style);
    }
    bar
}

/// A whole number with its thousands set apart.
#[must_use]
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What credits are worth, in dollars: six digits after the point, nine where it takes them.
#[must_use]
pub(crate) fn dollars(credits: Credits) -> String {
    if credits.worth().in_credits() == Some(credits) {
        return credits.worth().to_string();
    }
    let nano = credits.micro();
    let sign = if nano < 0 { "-" } else { "" };
    let (whole, rest) = (nano.unsigned_abs() / 1_000_000_000, nano.unsigned_abs() % 1_000_000_000);
    format!("{sign}{whole}.{rest:09}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_written_in_dollars_without_losing_any() {
        for (micro, text) in
            [(1_000_000, "0.001000"), (1, "0.000000001"), (-1_500, "-0.000001500"), (0, "0.000000")]
        {
            assert_eq!(dollars(Credits::from_micro(micro)), text);
        }
    }

    #[test]
    fn long_numbers_are_set_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(19_366), "19,366");
        assert_eq!(thousands(1_000_000), "1,000,000");
    }
}
