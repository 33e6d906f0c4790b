//! Proving again who one is, before something that matters (`clerk.md` §5).

use crate::FactorVerificationAge;

/// How thoroughly somebody must have proved again who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReverificationLevel {
    /// `first_factor`
    FirstFactor,
    /// `second_factor`; the first where there is no second.
    SecondFactor,
    /// `multi_factor`: both; the first where there is no second.
    MultiFactor,
}

impl ReverificationLevel {
    /// Clerk's text for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstFactor => "first_factor",
            Self::SecondFactor => "second_factor",
            Self::MultiFactor => "multi_factor",
        }
    }
}

/// How long ago somebody may have proved who they are: one of Clerk's presets, or a rule of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reverification {
    /// `strict_mfa`: both factors within 10 minutes.
    StrictMfa,
    /// `strict`: the second factor within 10 minutes.
    Strict,
    /// `moderate`: the second factor within an hour.
    Moderate,
    /// `lax`: the second factor within a day.
    Lax,
    /// Anything else.
    Custom {
        /// Which factors.
        level: ReverificationLevel,
        /// Younger than this; 0 is no rule, and nobody satisfies it.
        after_minutes: u32,
    },
}

impl Reverification {
    /// Clerk's text for a preset; none for [`Reverification::Custom`].
    pub const fn preset(self) -> Option<&'static str> {
        match self {
            Self::StrictMfa => Some("strict_mfa"),
            Self::Strict => Some("strict"),
            Self::Moderate => Some("moderate"),
            Self::Lax => Some("lax"),
            Self::Custom { .. } => None,
        }
    }

    /// The factors asked for.
    pub const fn level(self) -> ReverificationLevel {
        match self {
            Self::StrictMfa => ReverificationLevel::MultiFactor,
            Self::Strict | Self::Moderate | Self::Lax => ReverificationLevel::SecondFactor,
            Self::Custom { level, .. } => level,
        }
    }

    /// The age in minutes that a proof must not have reached.
    pub const fn after_minutes(self) -> u32 {
        match self {
            Self::StrictMfa | Self::Strict => 10,
            Self::Moderate => 60,
            Self::Lax => 1_440,
            Self::Custom { after_minutes, .. } => after_minutes,
        }
    }

    /// Whether the ages, as of the minting of a token, are young enough.
    pub(crate) fn is_met_by(self, age: FactorVerificationAge) -> bool {
        let fresh = |age: Option<u32>| age.is_some_and(|age| age < self.after_minutes());
        match (self.level(), age.first, age.second) {
            (ReverificationLevel::SecondFactor, _, Some(_)) => fresh(age.second),
            (ReverificationLevel::MultiFactor, _, Some(_)) => fresh(age.first) && fresh(age.second),
            (ReverificationLevel::FirstFactor, ..)
            | (ReverificationLevel::SecondFactor | ReverificationLevel::MultiFactor, _, None) => fresh(age.first),
        }
    }
}

/// What a caller is told who must prove again who they are. Clerk's helpers in the browser recognise the body
/// `{"clerk_error":{"type":…,"reason":…,"metadata":{"reverification":…}}}` in an answer with status 403, ask the person,
/// and repeat the call. The last value is the [`Reverification::preset`], or `{"level":…,"afterMinutes":…}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReverificationError {
    /// `type`
    pub error_type: &'static str,
    /// `reason`
    pub reason: &'static str,
    /// `metadata.reverification`: the rule that was not met.
    pub reverification: Reverification,
}

/// The content of the answer to a call for which [`SessionAuth::has`](crate::SessionAuth::has) denied this rule.
pub const fn reverification_error(reverification: Reverification) -> ReverificationError {
    ReverificationError { error_type: "forbidden", reason: "reverification-error", reverification }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_clerks() {
        use ReverificationLevel::{FirstFactor, MultiFactor, SecondFactor};
        for (rule, preset, level, after) in [
            (Reverification::StrictMfa, Some("strict_mfa"), MultiFactor, 10),
            (Reverification::Strict, Some("strict"), SecondFactor, 10),
            (Reverification::Moderate, Some("moderate"), SecondFactor, 60),
            (Reverification::Lax, Some("lax"), SecondFactor, 1_440),
            (Reverification::Custom { level: FirstFactor, after_minutes: 7 }, None, FirstFactor, 7),
        ] {
            assert_eq!((rule.preset(), rule.level(), rule.after_minutes()), (preset, level, after));
            let told = reverification_error(rule);
            assert_eq!((told.error_type, told.reason), ("forbidden", "reverification-error"));
            assert_eq!(told.reverification, rule);
        }
        assert_eq!(
            [FirstFactor, SecondFactor, MultiFactor].map(ReverificationLevel::as_str),
            ["first_factor", "second_factor", "multi_factor"]
        );
    }
}
