//! How far scans got.

use std::fmt;

use portal_kernel::Timestamp;

/// How far a scan got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanPosition {
    /// None is under way.
    Idle,
    /// People, from that one on.
    Users(usize),
    /// Organizations and their members, from that organization on.
    Organizations(usize),
}

impl fmt::Display for ScanPosition {
    /// The stored text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Users(offset) => write!(f, "users:{offset}"),
            Self::Organizations(offset) => write!(f, "organizations:{offset}"),
        }
    }
}

impl ScanPosition {
    /// Where the next kind of record begins.
    #[must_use]
    pub(super) fn next_kind(self) -> Self {
        match self {
            Self::Users(_) => Self::Organizations(0),
            Self::Organizations(_) | Self::Idle => Self::Idle,
        }
    }

    /// Behind the record that it is at.
    #[must_use]
    pub(super) fn next_record(self) -> Self {
        match self {
            Self::Users(offset) => Self::Users(offset.saturating_add(1)),
            Self::Organizations(offset) => Self::Organizations(offset.saturating_add(1)),
            Self::Idle => Self::Idle,
        }
    }

    /// From the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        let offset = |text: &str| text.parse().ok();
        match text.split_once(':') {
            None if text == "idle" => Some(Self::Idle),
            Some(("users", rest)) => offset(rest).map(Self::Users),
            Some(("organizations", rest)) => offset(rest).map(Self::Organizations),
            _ => None,
        }
    }
}

/// The saved position. Moves from version to version: of two who move it from the same one, one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanCursor {
    /// How far.
    pub position: ScanPosition,
    /// Counts the moves.
    pub version: i64,
    /// When it moved last; for an idle one, when the last scan ended.
    pub moved_at: Timestamp,
    /// How often what is there could not be read.
    pub failures: u32,
    /// The last scan that read and mended everything, if there was one.
    pub last_complete: Option<CompleteScan>,
}

impl ScanCursor {
    /// Where it is after a move.
    #[must_use]
    pub fn after(self, to: ScanMove, at: Timestamp) -> Self {
        Self {
            position: to.position,
            version: self.version.saturating_add(1),
            moved_at: at,
            failures: to.failures,
            last_complete: to.drift.map(|drift| CompleteScan { ended_at: at, drift }).or(self.last_complete),
        }
    }
}

/// A scan that read and mended everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompleteScan {
    /// When it ended.
    pub ended_at: Timestamp,
    /// How many records it had to mend.
    pub drift: u32,
}

/// A move of the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanMove {
    /// To where.
    pub position: ScanPosition,
    /// How often what is there could not be read.
    pub failures: u32,
    /// What was mended, if a scan that read and mended everything ends with this move.
    pub drift: Option<u32>,
}

impl From<ScanPosition> for ScanMove {
    fn from(position: ScanPosition) -> Self {
        Self { position, failures: 0, drift: None }
    }
}
