//! A moment in history: a position of the log, or a time that stands for one.

use crate::Failure;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use event_log::{EventLog, Position};
use std::str::FromStr;

/// A moment as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// With this position and everything before it.
    Position(Position),
    /// With everything that was recorded at or before this time.
    Time(DateTime<Utc>),
}

const TIMES: [&str; 4] =
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(position) = text.parse::<u32>().map(i64::from).or_else(|_| text.parse()) {
            return if position >= 0 {
                Ok(Self::Position(Position(position)))
            } else {
                Err(format!("{text} is no position; they are counted from 1, and 0 is before all"))
            };
        }
        time(text).map(Self::Time).ok_or_else(|| {
            format!(
                "{text:?} is neither a position such as 1200 nor a time such as \
                 2026-11-21T05:00:00Z or 2026-11-21 (midnight, UTC)"
            )
        })
    }
}

/// Reads a time; one without a zone is in UTC, and a day is its first instant.
fn time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let naive = TIMES
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| day.and_then(|day| day.and_hms_opt(0, 0, 0)))?;
    Some(naive.and_utc())
}

/// The position a moment stands for; the head where none is named.
///
/// # Errors
/// [`Failure::Usage`] for a position that is not recorded yet.
pub(crate) async fn resolve(log: &EventLog, moment: Option<Moment>) -> Result<Position, Failure> {
    let head = log.head().await?;
    match moment {
        None => Ok(head),
        Some(Moment::Time(at)) => Ok(log.position_at(at).await?),
        Some(Moment::Position(position)) if position > head => Err(Failure::Usage(format!(
            "position {position} is not recorded yet; the log ends at {head}"
        ))),
        Some(Moment::Position(position)) => Ok(position),
    }
}

/// A time as it is printed: in UTC, to the microsecond where it has any.
#[must_use]
pub(crate) fn printed(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_position_and_everything_else_a_time_in_utc() {
        assert_eq!("1200".parse(), Ok(Moment::Position(Position(1200))));
        let five = Moment::Time("2026-11-21T05:00:00Z".parse().expect("a time"));
        for text in [
            "2026-11-21T05:00:00Z",
            "2026-11-21T06:00:00+01:00",
            "2026-11-21T05:00:00",
            "2026-11-21 05:00",
        ] {
            assert_eq!(text.parse(), Ok(five), "{text}");
        }
        let midnight = Moment::Time("2026-11-21T00:00:00Z".parse().expect("a time"));
        assert_eq!("2026-11-21".parse(), Ok(midnight));
    }

    #[test]
    fn what_is_no_moment_is_refused_by_its_text() {
        for text in ["-1", "yesterday", "2026-13-01", "", "1.5"] {
            let error = text.parse::<Moment>().expect_err("it is no moment");
            assert!(error.contains(text), "{error}");
        }
    }
}
