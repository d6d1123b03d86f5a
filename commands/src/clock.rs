//! Time as an input: the one place that reads a clock.

use domain::Instant;

/// Says what time it is.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC, to the microsecond.
    fn now(&self) -> Instant;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in elsewhere")]
    fn now(&self) -> Instant {
        let now = chrono::Utc::now();
        // The log keeps microseconds; what is decided must be what is read back.
        chrono::DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }
}
