//! Points in time, cut to microseconds as PostgreSQL stores them, and the clock they are read from.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC with microsecond precision, so that what is read back equals what was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Converts to UTC and drops what is finer than a microsecond.
    pub fn new(moment: OffsetDateTime) -> Self {
        let moment = moment.to_offset(time::UtcOffset::UTC);
        Self(moment.replace_microsecond(moment.microsecond()).unwrap_or(moment))
    }

    /// Seconds since 1970, or none outside the years that can be represented.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// Milliseconds since 1970.
    pub fn unix_millis(self) -> i64 {
        self.0.unix_timestamp() * 1_000 + i64::from(self.0.millisecond())
    }

    /// Microseconds since 1970: everything there is of it.
    pub fn unix_micros(self) -> i64 {
        self.0.unix_timestamp() * 1_000_000 + i64::from(self.0.microsecond())
    }

    /// The moment that much later; stays at the last representable one.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        time::Duration::try_from(span).ok().and_then(|span| self.0.checked_add(span)).map_or(self, Self::new)
    }

    /// The moment that much earlier; stays at the first representable one.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        time::Duration::try_from(span).ok().and_then(|span| self.0.checked_sub(span)).map_or(self, Self::new)
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0 - earlier.0).unwrap_or(Duration::ZERO)
    }

    /// For adapters that store it.
    pub fn to_offset(self) -> OffsetDateTime {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    /// As [`Timestamp::new`]; what lies outside the years that can be represented panics.
    fn from(moment: SystemTime) -> Self {
        Self::new(moment.into())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

/// The text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time in RFC 3339, for example 2026-02-03T04:05:06Z")]
pub struct InvalidTimestamp;

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// RFC 3339 with any offset; cut as [`Timestamp::new`] does.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        // In UTC it may lie outside of the years that can be represented.
        moment.checked_to_offset(time::UtcOffset::UTC).map(Self::new).ok_or(InvalidTimestamp)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The one place where the time comes from. Implemented by the program (the system clock) and by tests (a clock that is set by hand).
pub trait Clock: Send + Sync {
    /// The current moment.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn nanoseconds_and_offsets_are_dropped() {
        let fine = Timestamp::new(datetime!(2026-02-03 04:05:06.123_456_789 +02:00));
        assert_eq!(fine.to_string(), "2026-02-03T02:05:06.123456Z");
        assert_eq!(fine.unix_millis() % 1_000, 123);
    }

    #[test]
    fn what_is_written_is_read_back_and_counted_in_microseconds() {
        let moment = Timestamp::new(datetime!(1969-12-31 23:59:59.999_999 UTC));
        assert_eq!(moment.unix_micros(), -1);
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert_eq!("2026-02-03T04:05:06+02:00".parse(), Ok(Timestamp::new(datetime!(2026-02-03 02:05:06 UTC))));
        for text in ["", "now", "2026-02-03", "2026-02-03T04:05:06", "9999-12-31T23:59:59-01:00", "1770000000"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn a_moment_of_the_standard_library_keeps_its_microseconds() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_000_999);
        assert_eq!(Timestamp::from(moment).to_string(), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn arithmetic_never_leaves_the_representable_range() {
        let now = Timestamp::new(datetime!(2026-02-03 04:05:06 UTC));
        assert_eq!(now.plus(Duration::MAX), now);
        assert_eq!(now.plus(Duration::from_mins(1)).since(now), Duration::from_mins(1));
        assert_eq!(now.since(now.plus(Duration::from_mins(1))), Duration::ZERO);
        assert_eq!(Timestamp::from_unix_seconds(i64::MAX), None);
    }
}
