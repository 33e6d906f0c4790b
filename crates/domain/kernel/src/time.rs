//! Points in time, cut to microseconds as PostgreSQL stores them, and the clock they are read from.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime};

/// A moment in UTC with microsecond precision, so that what is read back equals what was written. Within the years -9999 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Since 1970. A number and no date: most moments are only compared.
    unix_micros: i64,
}

const FIRST: i64 = unix_micros(PrimitiveDateTime::MIN.assume_utc());
const LAST: i64 = unix_micros(PrimitiveDateTime::MAX.assume_utc());
const MICROS_PER_SECOND: i64 = 1_000_000;

const fn unix_micros(moment: OffsetDateTime) -> i64 {
    // Below a second the offset changes nothing.
    moment.unix_timestamp() * MICROS_PER_SECOND + moment.microsecond() as i64
}

impl Timestamp {
    /// Converts to UTC and drops what is finer than a microsecond.
    pub fn new(moment: OffsetDateTime) -> Self {
        Self { unix_micros: unix_micros(moment).clamp(FIRST, LAST) }
    }

    fn of_micros(unix_micros: i64) -> Option<Self> {
        (FIRST..=LAST).contains(&unix_micros).then_some(Self { unix_micros })
    }

    /// Seconds since 1970, or none outside the years that can be represented.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        seconds.checked_mul(MICROS_PER_SECOND).and_then(Self::of_micros)
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.unix_micros.div_euclid(MICROS_PER_SECOND)
    }

    /// Whole milliseconds since 1970.
    pub fn unix_millis(self) -> i64 {
        self.unix_micros.div_euclid(1_000)
    }

    /// Microseconds since 1970: everything there is of it.
    pub fn unix_micros(self) -> i64 {
        self.unix_micros
    }

    /// The moment that much later; unchanged where that cannot be represented.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        micros(span).and_then(|span| Self::of_micros(self.unix_micros.checked_add(span)?)).unwrap_or(self)
    }

    /// The moment that much earlier; unchanged where that cannot be represented.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        micros(span).and_then(|span| Self::of_micros(self.unix_micros.checked_sub(span)?)).unwrap_or(self)
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.unix_micros - earlier.unix_micros).unwrap_or_default())
    }

    /// For adapters that store it.
    pub fn to_offset(self) -> OffsetDateTime {
        let below_a_second = time::Duration::microseconds(self.unix_micros.rem_euclid(MICROS_PER_SECOND));
        // Every value that can be made lies in the range.
        let second = OffsetDateTime::from_unix_timestamp(self.unix_seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        second + below_a_second
    }
}

fn micros(span: Duration) -> Option<i64> {
    i64::try_from(span.as_micros()).ok()
}

impl From<SystemTime> for Timestamp {
    /// As [`Timestamp::new`]; what lies outside the years that can be represented is the first or the last moment of them.
    fn from(moment: SystemTime) -> Self {
        let unix_micros = match moment.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => micros(since).unwrap_or(LAST),
            // Rounded to the earlier microsecond, as everywhere.
            Err(before) => i64::try_from(before.duration().as_nanos().div_ceil(1_000)).map_or(FIRST, |micros| -micros),
        };
        Self { unix_micros: unix_micros.clamp(FIRST, LAST) }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_offset().format(&Rfc3339).map_err(|_| fmt::Error)?)
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
        Self::of_micros(unix_micros(moment)).ok_or(InvalidTimestamp)
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
        let before = SystemTime::UNIX_EPOCH - Duration::from_nanos(500_000_001);
        assert_eq!(Timestamp::from(before).to_string(), "1969-12-31T23:59:59.499999Z");
    }

    #[test]
    fn arithmetic_never_leaves_the_representable_range() {
        let now = Timestamp::new(datetime!(2026-02-03 04:05:06 UTC));
        assert_eq!(now.plus(Duration::MAX), now);
        assert_eq!(now.plus(Duration::from_mins(1)).since(now), Duration::from_mins(1));
        assert_eq!(now.since(now.plus(Duration::from_mins(1))), Duration::ZERO);
        assert_eq!(now.minus(Duration::MAX), now);
        assert_eq!(Timestamp::from_unix_seconds(i64::MAX), None);
        let (first, last) = (Timestamp { unix_micros: FIRST }, Timestamp { unix_micros: LAST });
        assert_eq!(first.to_offset(), PrimitiveDateTime::MIN.assume_utc());
        assert_eq!(first.minus(Duration::from_micros(1)), first);
        assert_eq!(last.plus(Duration::from_micros(1)), last);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999999Z");
    }
}
