//! What a scan found.

use std::fmt;

use portal_identity::ProviderOrganizationId;

use super::ScanPosition;

/// How many differences a report names.
const LONGEST_REPORT: usize = 200;

/// Of one kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many the provider listed.
    pub read: usize,
    /// How many were not as they should be here.
    pub changed: usize,
    /// How many are gone at the provider and were still here.
    pub gone: usize,
}

/// What the provider has and could not be read, time and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// The record at that place of the list.
    Record(ScanPosition),
    /// The members of an organization, or some of them.
    Members(ProviderOrganizationId),
    /// All of a kind from that place on: too much in a row could not be read.
    Rest(ScanPosition),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(position) => write!(f, "the record at {position}"),
            Self::Members(organization) => write!(f, "the members of {organization}"),
            Self::Rest(position) => write!(f, "everything from {position} on"),
        }
    }
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReconcileReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// It began at the beginning and came to the end: only then can anything be missing.
    pub complete: bool,
    /// People.
    pub users: Tally,
    /// Organizations.
    pub organizations: Tally,
    /// Members.
    pub memberships: Tally,
    /// Records that could not be read or stored. Nothing is removed while there are any.
    pub unusable: usize,
    /// More records are missing than are believed: none was removed.
    pub too_many_missing: Option<usize>,
    /// What could not be read, time and again.
    pub left_out: Vec<LeftOut>,
    /// What was not as it should be, one line each, the first 200.
    pub differences: Vec<String>,
}

impl ReconcileReport {
    /// Whether everything was read, and mended if it was to be.
    pub fn is_finished(&self) -> bool {
        self.complete && self.unusable == 0 && self.too_many_missing.is_none()
    }

    /// How many records were not as they should be: what webhooks lost.
    pub fn drift(&self) -> usize {
        [self.users, self.organizations, self.memberships].iter().map(|tally| tally.changed + tally.gone).sum()
    }

    pub(super) fn differ(&mut self, line: String) {
        if self.differences.len() < LONGEST_REPORT {
            self.differences.push(line);
        }
    }
}
