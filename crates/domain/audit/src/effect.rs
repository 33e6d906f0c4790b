//! Effects of ours, which are in the record's transaction, and effects elsewhere, which no transaction holds.
//!
//! Before something outside is tried, a record is opened and committed; when its end is known, a further record closes it. Nothing is
//! ever updated: whoever reads puts the two together.

use std::time::Duration;

use portal_kernel::{AuditEventId, Timestamp};

/// After this an opened record that nobody closed tells nothing any more.
const PATIENCE: Duration = Duration::from_hours(1);

/// How an effect elsewhere ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EffectResult {
    /// It happened.
    Succeeded,
    /// It did not happen.
    Failed,
}

impl EffectResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// How a record relates to what it tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It happens in the record's own transaction.
    Done,
    /// It is about to be tried elsewhere.
    Opened,
    /// It ended elsewhere.
    Closed {
        /// The record that was written before.
        opened: AuditEventId,
        /// How.
        result: EffectResult,
    },
}

impl Effect {
    /// The stored text; never changes once it was written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Opened => "opened",
            Self::Closed { result, .. } => result.as_str(),
        }
    }

    /// The opened record whose end is told.
    pub const fn closes(self) -> Option<AuditEventId> {
        match self {
            Self::Done | Self::Opened => None,
            Self::Closed { opened, .. } => Some(opened),
        }
    }
}

/// What a reader is told of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An effect of ours happened.
    Done,
    /// An effect elsewhere is being tried.
    Pending,
    /// Nobody told for an hour how an effect elsewhere ended.
    Unknown,
    /// An effect elsewhere happened.
    Succeeded,
    /// An effect elsewhere did not happen.
    Failed,
}

impl Outcome {
    /// The shown text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// From the stored effect of a record and of the one that closes it. `Unknown` for texts of a later version.
    pub fn read(effect: &str, closed: Option<&str>, at: Timestamp, now: Timestamp) -> Self {
        match (effect, closed) {
            ("done", _) => Self::Done,
            ("opened", Some("succeeded")) | ("succeeded", _) => Self::Succeeded,
            ("opened", Some("failed")) | ("failed", _) => Self::Failed,
            ("opened", None) if now.since(at) < PATIENCE => Self::Pending,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opened_record_is_pending_for_an_hour_and_unknown_after() {
        let opened = Timestamp::from_unix_seconds(1_800_000_000).unwrap();
        let hour = Duration::from_hours(1);
        for (after, closed, expected) in [
            (Duration::ZERO, None, Outcome::Pending),
            (hour.checked_sub(Duration::from_micros(1)).unwrap(), None, Outcome::Pending),
            (hour, None, Outcome::Unknown),
            (Duration::ZERO, Some("succeeded"), Outcome::Succeeded),
            (2 * hour, Some("succeeded"), Outcome::Succeeded),
            (2 * hour, Some("failed"), Outcome::Failed),
            (Duration::ZERO, Some("postponed"), Outcome::Unknown),
        ] {
            assert_eq!(Outcome::read("opened", closed, opened, opened.plus(after)), expected, "{after:?} {closed:?}");
        }
        assert_eq!(Outcome::read("done", None, opened, opened.plus(2 * hour)), Outcome::Done);
        assert_eq!(Outcome::read("dreamt", None, opened, opened), Outcome::Unknown);
    }
}
