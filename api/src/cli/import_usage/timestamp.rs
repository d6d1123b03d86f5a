//! Moments as usage files write them.
//!
//! * RFC 3339: `2023-11-16T18:15:46Z`, `2023-11-16T19:15:46.68+01:00`;
//! * the same with a space, as databases export it: `2023-11-16 18:15:46.6805900`;
//! * whole seconds or milliseconds since 1970: `1700158546`, `1700158546680`.
//!
//! Without a zone it is UTC. Fractions have up to nine digits and are cut off after the
//! microsecond, which is what the log keeps; cut off and not rounded, so that no call moves into
//! the next hour.

use chrono::{NaiveDate, TimeDelta};
use domain::Instant;

/// Numbers below this are seconds (until the year 5138), the others milliseconds.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Reads a moment; `None` when the text is none.
pub(super) fn parse(text: &str) -> Option<Instant> {
    let text = text.trim();
    if text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        return match number < MILLISECONDS_FROM {
            true => chrono::DateTime::from_timestamp(number, 0),
            false => chrono::DateTime::from_timestamp_millis(number),
        };
    }
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (micros, zone) = fraction(rest)?;
    let [year, month, day] = parts(date, b'-', [4, 2, 2])?;
    let [hour, minute, second] = parts(time, b':', [2, 2, 2])?;
    let local = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?
        .and_hms_micro_opt(hour, minute, second, micros)?;
    Some((local - offset(zone)?).and_utc())
}

/// Three numbers of fixed widths, separated by one character.
fn parts(text: &str, separator: u8, widths: [usize; 3]) -> Option<[u32; 3]> {
    let mut rest = text.as_bytes();
    let mut numbers = [0; 3];
    for (place, width) in widths.into_iter().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(&[separator])?;
        }
        let (digits, after) = rest.split_at_checked(width)?;
        numbers[place] = number(digits)?;
        rest = after;
    }
    rest.is_empty().then_some(numbers)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Microseconds, and what follows them.
fn fraction(rest: &str) -> Option<(u32, &str)> {
    let Some(rest) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 || end > 9 {
        return None;
    }
    let (digits, zone) = rest.split_at(end);
    let kept = number(&digits.as_bytes()[..end.min(6)])?;
    let missing = u32::try_from(6_usize.saturating_sub(end)).ok()?;
    Some((kept * 10_u32.pow(missing), zone))
}

/// How far a zone is ahead of UTC.
fn offset(zone: &str) -> Option<TimeDelta> {
    let ahead = match zone.as_bytes() {
        b"" | b"Z" | b"z" | b" UTC" => return Some(TimeDelta::zero()),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let digits = &zone.as_bytes()[1..];
    let (hours, minutes) = match digits.len() {
        5 if digits[2] == b':' => (&digits[..2], &digits[3..]),
        4 => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(TimeDelta::minutes(ahead * i64::from(hours * 60 + minutes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        parse(text).map_or_else(
            || "none".to_owned(),
            |at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        )
    }

    #[test]
    fn every_way_of_writing_gives_the_same_moment() {
        for text in [
            "2023-11-16T18:15:46Z",
            "2023-11-16t18:15:46z",
            "2023-11-16 18:15:46",
            "2023-11-16 18:15:46 UTC",
            "2023-11-16T19:15:46+01:00",
            "2023-11-16 12:45:46.000-0530",
            "1700158546",
            "1700158546000",
        ] {
            assert_eq!(shown(text), "2023-11-16T18:15:46.000000Z", "{text}");
        }
    }

    #[test]
    fn what_is_finer_than_a_microsecond_is_cut_off() {
        assert_eq!(shown("2023-11-16 18:15:46.6805900"), "2023-11-16T18:15:46.680590Z");
        assert_eq!(shown("2023-11-16T18:59:59.999999999Z"), "2023-11-16T18:59:59.999999Z");
        assert_eq!(shown("2023-11-16 18:15:46.5"), "2023-11-16T18:15:46.500000Z");
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "yesterday",
            "374",
            "2023-11-16",
            "2023-02-29 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16 18:15:60",
            "2023-11-16 18:15:46.",
            "2023-11-16 18:15:46.1234567890",
            "2023-11-16 18:15:46 CET",
            "2023-11-16 18:15:46+1",
            "2023/11/16 18:15:46",
            "16.11.2023 18:15:46",
            "1700158546.68",
            "-1700158546",
            "２023-11-16 18:15:46",
        ] {
            assert_eq!(shown(text), "none", "{text}");
        }
    }
}
