//! Everything that the provider knows, read page by page and merged: what webhooks lost is found here.
//!
//! A record that is there is merged like any other fact. One that is missing is only suspected to be gone: pages shift while they are
//! read. After a complete scan each suspect is asked for by itself, and what is confirmed is removed, unless that is so much at once
//! that the provider's answers are more likely to be wrong than right.

mod cursor;
mod health;
mod reading;
mod report;
mod suspects;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::action::Reconcile;
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_identity::{
    DirectoryError, DirectoryListing, LONGEST_QUESTION, ProviderEvent, ProviderMembershipId, ProviderOrganizationId,
    ProviderUserId,
};
use portal_kernel::{AccountId, Change, Clock, IdGen, StoreError, Timestamp, UserId, finish};

use crate::Source;
use crate::facts::{Fact, Facts, Merge};
use crate::ports::{AccountsStore, Merging, ReconcileReader};

pub use cursor::{CompleteScan, ScanCursor, ScanMove, ScanPosition};
pub use health::ReconcileHealth;
use reading::Detour;
pub use report::{LeftOut, ReconcileReport, Tally};
use suspects::Suspects;

/// A scan that did not move for so long was given up: another replica goes on with it.
const GIVEN_UP: Duration = Duration::from_mins(5);

// The cursor moves with each answer.
const _: () = assert!(LONGEST_QUESTION.as_secs() * 2 < GIVEN_UP.as_secs());

/// Rows of ours that are read at a time.
pub(crate) const ROWS: usize = 500;

/// Facts in one transaction: each takes up to four locks, and the server has some thousands for everybody.
const AT_ONCE: usize = 100;

/// What could not be read so often is left out, and the scan goes on behind it.
const MOST_FAILURES: u32 = 3;

/// So many removals at once are believed, however few records there are.
const ALWAYS_BELIEVED: usize = 10;

/// A record of ours, as far as it can be missing at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterpart<I, P> {
    /// Our id, by which the next ones are asked for.
    pub id: I,
    /// The provider's.
    pub provider_id: P,
    /// When it appeared here.
    pub created_at: Timestamp,
}

/// A membership of ours.
pub type StayHere = Counterpart<(AccountId, UserId), Stay>;

/// A stay in an organization, by all the provider's ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// The provider's id of the membership.
    pub membership: ProviderMembershipId,
    /// Where.
    pub organization: ProviderOrganizationId,
    /// Who.
    pub user: ProviderUserId,
}

/// How a scan is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReconcileOptions {
    /// Find out what would change, and change nothing.
    pub dry_run: bool,
    /// Remove so many records at most; a twentieth of what is known, unless given.
    pub most_removals: Option<usize>,
}

/// Why a scan did not come to its end. The next one goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Somebody else is at it.
    #[error("a scan is under way; it moved at {0}")]
    Busy(Timestamp),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The provider did not answer.
    #[error("the identity provider could not be read")]
    Directory(#[from] DirectoryError),
    /// The store failed.
    #[error("what was read could not be stored")]
    Store(#[from] StoreError),
}

/// The use case, with what it needs.
pub struct Reconciler {
    /// Lists what the provider knows, and tells about what it did not list.
    pub listing: Arc<dyn DirectoryListing>,
    /// Reads what we know, and how far the last scan got.
    pub reader: Arc<dyn ReconcileReader>,
    /// Where it is written.
    pub store: Arc<AccountsStore>,
    /// Writes it.
    pub facts: Arc<Facts>,
    /// What scans found.
    pub health: Arc<ReconcileHealth>,
}

/// One scan.
struct Scan {
    cleared: Authorized<Reconcile, Platform>,
    merge: Merging,
    caller: Caller,
    options: ReconcileOptions,
    cursor: ScanCursor,
    started_at: Timestamp,
    /// The provider's ids of everything that was listed.
    seen: HashSet<String>,
    report: ReconcileReport,
    detour: Detour,
    /// That an operator began it; written with the first move of the cursor.
    opening: Option<AuditRecord>,
}

impl Scan {
    fn tally(&mut self, event: &ProviderEvent) -> &mut Tally {
        match event {
            ProviderEvent::Organization(_) | ProviderEvent::OrganizationDeleted(_) => &mut self.report.organizations,
            ProviderEvent::Membership(_) | ProviderEvent::MembershipDeleted { .. } => &mut self.report.memberships,
            ProviderEvent::User(_) | ProviderEvent::UserDeleted(_) | ProviderEvent::SessionEnded(_) => {
                &mut self.report.users
            }
        }
    }
}

impl Reconciler {
    /// Scans if the last scan ended that long ago, or was given up; none if neither. For a job on every replica.
    pub async fn run_if_due(&self, every: Duration) -> Result<Option<ReconcileReport>, ReconcileError> {
        let caller = Caller { principal: Principal::System(Job::Reconciler), provenance: Provenance::default() };
        let cleared = Unchecked::new(Platform).authorize(&caller.principal)?;
        let cursor = self.reader.cursor(&cleared).await?;
        self.health.note(&cursor);
        let rests = self.facts.clock.now().since(cursor.moved_at);
        let wanted = if cursor.position == ScanPosition::Idle { every } else { GIVEN_UP };
        if rests < wanted {
            return Ok(None);
        }
        match self.run(&caller, ReconcileOptions::default()).await {
            Err(ReconcileError::Busy(_)) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Learns what the last complete scan found, on whichever replica.
    pub async fn recall(&self) -> Result<(), ReconcileError> {
        let cleared = Unchecked::new(Platform).authorize(&Principal::System(Job::Reconciler))?;
        self.health.note(&self.reader.cursor(&cleared).await?);
        Ok(())
    }

    /// Scans now. Safe to repeat and to break off.
    pub async fn run(&self, caller: &Caller, options: ReconcileOptions) -> Result<ReconcileReport, ReconcileError> {
        let cleared: Authorized<Reconcile, Platform> = Unchecked::new(Platform).authorize(&caller.principal)?;
        let started_at = self.facts.clock.now();
        let cursor = self.reader.cursor(&cleared).await?;
        let is_busy = cursor.position != ScanPosition::Idle && started_at.since(cursor.moved_at) < GIVEN_UP;
        if is_busy && !options.dry_run {
            return Err(ReconcileError::Busy(cursor.moved_at));
        }
        let from_the_start = options.dry_run || cursor.position == ScanPosition::Idle;
        let position = if from_the_start { ScanPosition::Users(0) } else { cursor.position };
        let merge = Unchecked::new(Platform).authorize(&Principal::System(Job::Reconciler))?;
        let report = ReconcileReport { dry_run: options.dry_run, ..ReconcileReport::default() };
        let mut scan = Scan {
            cleared,
            merge,
            caller: caller.clone(),
            options,
            cursor,
            started_at,
            seen: HashSet::new(),
            report,
            detour: Detour::default(),
            opening: None,
        };
        if caller.principal == Principal::System(Job::Operator) && !options.dry_run {
            scan.opening = Some(self.opening(caller));
        }
        // Whoever moves the cursor first scans.
        let failures = if position == cursor.position { cursor.failures } else { 0 };
        let first = ScanMove { failures, ..position.into() };
        match self.apply_at_once(&mut scan, &[], Some(first)).await {
            Err(StoreError::Stale) => return Err(ReconcileError::Busy(started_at)),
            outcome => outcome?,
        }
        self.read_everything(&mut scan, position).await?;
        scan.report.complete = from_the_start && scan.report.left_out.is_empty();
        if scan.report.complete && scan.report.unusable == 0 {
            self.remove_what_is_gone(&mut scan).await?;
        }
        let drift = u32::try_from(scan.report.drift()).unwrap_or(u32::MAX);
        let drift = scan.report.is_finished().then_some(drift);
        self.apply_at_once(&mut scan, &[], Some(ScanMove { drift, ..ScanPosition::Idle.into() })).await?;
        if !options.dry_run {
            self.health.could_not_use(scan.report.unusable);
        }
        Ok(scan.report)
    }

    /// What is mended leaves records of its own; this one tells of the scan, whatever comes of it.
    fn opening(&self, caller: &Caller) -> AuditRecord {
        let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
        AuditRecord::now(source, caller, None, AuditAction::DirectoryReconciled, Subject::Platform)
    }

    /// Merges, and moves the cursor behind what was merged. What cannot be stored is counted, and stops nothing else.
    async fn apply(&self, scan: &mut Scan, events: Vec<ProviderEvent>, to: ScanPosition) -> Result<(), ReconcileError> {
        for part in events.chunks(AT_ONCE) {
            match self.apply_at_once(scan, part, None).await {
                Ok(()) => {}
                Err(error) if error.may_pass() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "records could not be stored at once; they are stored singly");
                    self.apply_singly(scan, part).await?;
                }
            }
        }
        // What failed at a place may fail again, whatever else was stored meanwhile.
        let failures = if to == scan.cursor.position { scan.cursor.failures } else { 0 };
        Ok(self.apply_at_once(scan, &[], Some(ScanMove { failures, ..to.into() })).await?)
    }

    async fn apply_singly(&self, scan: &mut Scan, events: &[ProviderEvent]) -> Result<(), ReconcileError> {
        for event in events {
            match self.apply_at_once(scan, std::slice::from_ref(event), None).await {
                Ok(()) => {}
                Err(error) if error.may_pass() => return Err(error.into()),
                Err(error) => {
                    tracing::error!(id = subject(event), %error, "a record of the provider could not be stored");
                    scan.report.unusable += 1;
                    scan.report.differ(format!("{} could not be stored", subject(event)));
                }
            }
        }
        Ok(())
    }

    async fn apply_at_once(
        &self,
        scan: &mut Scan,
        events: &[ProviderEvent],
        to: Option<ScanMove>,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let now = self.facts.clock.now();
        let mut moved = None;
        let outcome = async {
            if let Some(to) = to.filter(|_| !scan.options.dry_run) {
                if let Some(opening) = scan.opening.take() {
                    tx.audit().record(opening).await?;
                }
                moved = Some(tx.scans().advance(&scan.cleared, scan.cursor, to, now).await?.ok_or(StoreError::Stale)?);
            }
            let mut changed = Vec::new();
            // One lock for each id is taken first and in one order, so the facts of a page are applied together.
            let mut merge = Merge::new(&mut *tx, &scan.merge, &scan.caller);
            let facts: Vec<_> = events.iter().map(|event| Fact { event, caller: &scan.caller }).collect();
            for (event, changes) in events.iter().zip(self.facts.apply_each(&mut merge, &facts, Source::Read).await?) {
                if !changes.is_empty() {
                    changed.push((event, changes));
                }
            }
            Ok(changed)
        }
        .await;
        let changed: Vec<(&ProviderEvent, Vec<Change>)> = if scan.options.dry_run {
            let _ = tx.rollback().await;
            outcome?
        } else {
            finish(tx, outcome).await?
        };
        for (event, changes) in changed {
            let is_gone = is_deletion(event);
            let tally = scan.tally(event);
            if is_gone {
                tally.gone += 1;
            } else {
                tally.changed += 1;
            }
            scan.report.differ(difference(event, &changes));
        }
        if let Some(cursor) = moved {
            self.health.note(&cursor);
            scan.cursor = cursor;
        }
        Ok(())
    }

    async fn remove_what_is_gone(&self, scan: &mut Scan) -> Result<(), ReconcileError> {
        let Suspects { events: suspects, known, recognized } = self.suspects(scan).await?;
        let most = scan.options.most_removals.unwrap_or_else(|| (known / 20).max(ALWAYS_BELIEVED));
        // A provider that knows nothing of what is here is another one.
        let is_another = !suspects.is_empty() && recognized == 0;
        if suspects.len() > most || (is_another && scan.options.most_removals.is_none()) {
            tracing::error!(
                missing = suspects.len(),
                known,
                most,
                "too much is missing at the provider; nothing is removed"
            );
            scan.report.too_many_missing = Some(suspects.len());
            return Ok(());
        }
        for suspect in suspects {
            if let Some(event) = self.confirmed(suspect).await? {
                self.apply(scan, vec![event], scan.cursor.position).await?;
            }
        }
        Ok(())
    }
}

fn is_deletion(event: &ProviderEvent) -> bool {
    match event {
        ProviderEvent::UserDeleted(_)
        | ProviderEvent::OrganizationDeleted(_)
        | ProviderEvent::MembershipDeleted { .. }
        | ProviderEvent::SessionEnded(_) => true,
        ProviderEvent::User(_) | ProviderEvent::Organization(_) | ProviderEvent::Membership(_) => false,
    }
}

/// The provider's id of what an event is about.
fn subject(event: &ProviderEvent) -> &str {
    match event {
        ProviderEvent::User(user) => user.id.as_str(),
        ProviderEvent::UserDeleted(id) => id.as_str(),
        ProviderEvent::Organization(organization) => organization.id.as_str(),
        ProviderEvent::OrganizationDeleted(id) => id.as_str(),
        ProviderEvent::Membership(membership) => membership.id.as_str(),
        ProviderEvent::MembershipDeleted { id, .. } => id.as_str(),
        ProviderEvent::SessionEnded(id) => id.as_str(),
    }
}

fn difference(event: &ProviderEvent, changes: &[Change]) -> String {
    let what = if is_deletion(event) { "is gone at the provider" } else { "was not as the provider has it" };
    let of = changes.iter().map(Change::subject).collect::<HashSet<_>>();
    let mut of: Vec<_> = of.into_iter().collect();
    of.sort_unstable();
    format!("{} {what} ({})", subject(event), of.join(", "))
}
