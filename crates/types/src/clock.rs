//! Time as a parameter: stages never read the wall clock, the node hands it in.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A calendar day without time zone, as OMOP `date` fields hold it.
pub type Day = NaiveDate;

/// An instant in UTC with second precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z; out-of-range values clamp to the epoch.
    pub fn from_unix_s(seconds: i64) -> Self {
        Self(DateTime::from_timestamp(seconds, 0).unwrap_or_default())
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix_s(self) -> i64 {
        self.0.timestamp()
    }

    /// The UTC day this instant falls on.
    pub fn day(self) -> Day {
        self.0.date_naive()
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl From<Timestamp> for String {
    fn from(value: Timestamp) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_timestamp(&text).ok_or_else(|| "not an RFC 3339 timestamp".to_owned())
    }
}

/// Reads an RFC 3339 timestamp (`2026-01-31T12:00:00Z`) or a bare day, which means its first second in UTC.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    if let Some(day) = parse_day(text) {
        return day.and_hms_opt(0, 0, 0).map(|t| Timestamp(t.and_utc()));
    }
    DateTime::parse_from_rfc3339(text).ok().map(|t| Timestamp::from_unix_s(t.timestamp()))
}

/// Reads `YYYY-MM-DD`; a day that is not in the calendar (2025-02-30) is `None`.
pub fn parse_day(text: &str) -> Option<Day> {
    if text.len() != 10 {
        return None;
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

/// Where the node gets the time from.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(Utc::now().timestamp())
    }
}

/// A clock that stands still, for tests and for replaying a run.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_outside_the_calendar_is_refused() {
        assert!(parse_day("2025-02-30").is_none());
        assert!(parse_day("2024-02-29").is_some());
        assert!(parse_day("2024-2-9").is_none());
    }

    #[test]
    fn timestamps_round_trip_through_text() {
        let t = parse_timestamp("2026-01-31T12:00:00+01:00").unwrap();
        assert_eq!(t.to_string(), "2026-01-31T11:00:00Z");
        assert_eq!(parse_timestamp(&t.to_string()), Some(t));
    }
}
