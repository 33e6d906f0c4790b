//! Everything that the provider knows, read page by page and merged: what webhooks lost is found here.
//!
//! A record that is there is merged like any other fact. One that is missing is only suspected to be gone: pages shift while they are
//! read. After a complete scan each suspect is asked for by itself, and what is confirmed is removed, unless that is so much at once
//! that the provider's answers are more likely to be wrong than right.

mod report;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portal_audit::{AuditAction, AuditRecord, Caller, Provenance, Subject};
use portal_authz::action::Reconcile;
use portal_authz::{Authorized, Denied, Job, Platform, Principal, Unchecked};
use portal_identity::{
    DirectoryError, DirectoryListing, IdentityDirectory, Listed, ProviderEvent, ProviderMembershipId,
    ProviderOrganizationId, ProviderUserId,
};
use portal_kernel::{AccountId, Change, Clock, IdGen, StoreError, Timestamp, UserId, finish};

use crate::Source;
use crate::facts::{Facts, Merge};
use crate::ports::{AccountsStore, Merging, ReconcileReader};

pub use report::{ReconcileReport, Tally};

/// A scan that did not move for so long was given up: another replica goes on with it.
const GIVEN_UP: Duration = Duration::from_mins(5);

/// Rows of ours that are read at a time.
pub(crate) const ROWS: usize = 500;

/// Facts in one transaction: each takes up to four locks, and the server has some thousands for everybody.
const AT_ONCE: usize = 100;

/// So many removals at once are believed, however few records there are.
const ALWAYS_BELIEVED: usize = 10;

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
}

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
    /// Lists what the provider knows.
    pub listing: Arc<dyn DirectoryListing>,
    /// Tells about one person.
    pub directory: Arc<dyn IdentityDirectory>,
    /// Reads what we know, and how far the last scan got.
    pub reader: Arc<dyn ReconcileReader>,
    /// Where it is written.
    pub store: Arc<AccountsStore>,
    /// Writes it.
    pub facts: Arc<Facts>,
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
    /// That an operator began it; written with the first move of the cursor.
    opening: Option<AuditRecord>,
}

/// What may be gone at the provider.
struct Suspects {
    /// As it would be told.
    events: Vec<ProviderEvent>,
    /// How many records are here at all.
    known: usize,
    /// How many people of those that are here the provider listed.
    recognized: usize,
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
            opening: None,
        };
        if caller.principal == Principal::System(Job::Operator) && !options.dry_run {
            scan.opening = Some(self.opening(caller));
        }
        // Whoever moves the cursor first scans.
        match self.apply_at_once(&mut scan, &[], Some(position)).await {
            Err(StoreError::Stale) => return Err(ReconcileError::Busy(started_at)),
            outcome => outcome?,
        }
        self.read_everything(&mut scan, position).await?;
        scan.report.complete = from_the_start;
        if scan.report.complete && scan.report.unusable == 0 {
            self.remove_what_is_gone(&mut scan).await?;
        }
        self.apply(&mut scan, Vec::new(), ScanPosition::Idle).await?;
        Ok(scan.report)
    }

    /// What is mended leaves records of its own; this one tells of the scan, whatever comes of it.
    fn opening(&self, caller: &Caller) -> AuditRecord {
        let source: (&dyn IdGen, &dyn Clock) = (&*self.facts.ids, &*self.facts.clock);
        AuditRecord::now(source, caller, None, AuditAction::DirectoryReconciled, Subject::Platform)
    }

    async fn read_everything(&self, scan: &mut Scan, mut position: ScanPosition) -> Result<(), ReconcileError> {
        loop {
            let (events, next) = match position {
                ScanPosition::Idle => return Ok(()),
                ScanPosition::Users(offset) => {
                    let Listed { items, unreadable, next } = self.listing.users(offset).await?;
                    scan.report.unusable += unreadable;
                    let next = next.map_or(ScanPosition::Organizations(0), ScanPosition::Users);
                    (items.into_iter().map(ProviderEvent::User).collect(), next)
                }
                ScanPosition::Organizations(offset) => {
                    let Listed { items, unreadable, next } = self.listing.organizations(offset).await?;
                    scan.report.unusable += unreadable;
                    let mut events = Vec::new();
                    for organization in items {
                        let members = self.listing.members(&organization.id).await?;
                        scan.report.unusable += members.unreadable;
                        events.push(ProviderEvent::Organization(organization));
                        events.extend(members.items.into_iter().map(ProviderEvent::Membership));
                    }
                    (events, next.map_or(ScanPosition::Idle, ScanPosition::Organizations))
                }
            };
            for event in &events {
                scan.tally(event).read += 1;
                scan.seen.insert(subject(event).to_owned());
            }
            // Idle is where the scan ends, and it has not yet.
            let saved = if next == ScanPosition::Idle { position } else { next };
            self.apply(scan, events, saved).await?;
            position = next;
        }
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
        Ok(self.apply_at_once(scan, &[], Some(to)).await?)
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
        to: Option<ScanPosition>,
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
            for (event, changes) in events.iter().zip(self.facts.apply_each(&mut merge, events, Source::Read).await?) {
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
            scan.cursor = cursor;
        }
        Ok(())
    }

    async fn remove_what_is_gone(&self, scan: &mut Scan) -> Result<(), ReconcileError> {
        let Suspects { events: suspects, known, recognized } = self.suspects(scan).await?;
        let most = scan.options.most_removals.unwrap_or_else(|| (known / 20).max(ALWAYS_BELIEVED));
        // A provider that knows nothing of what is here is another one.
        let is_another = known > 0 && recognized == 0;
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

    /// What is here since before the scan and was not listed.
    async fn suspects(&self, scan: &Scan) -> Result<Suspects, StoreError> {
        let (mut suspects, mut known, mut recognized) = (Vec::new(), 0, 0);
        let is_missing = |id: &str, created_at: Timestamp| created_at < scan.started_at && !scan.seen.contains(id);
        let mut after = None;
        loop {
            let rows = self.reader.users(&scan.cleared, after, ROWS).await?;
            known += rows.len();
            let before = rows.iter().filter(|row| row.created_at < scan.started_at);
            recognized += before.filter(|row| scan.seen.contains(row.provider_id.as_str())).count();
            let missing = rows.iter().filter(|row| is_missing(row.provider_id.as_str(), row.created_at));
            suspects.extend(missing.map(|row| ProviderEvent::UserDeleted(row.provider_id.clone())));
            match rows.last() {
                Some(last) => after = Some(last.id),
                None => break,
            }
        }
        let mut after = None;
        loop {
            let rows = self.reader.organizations(&scan.cleared, after, ROWS).await?;
            known += rows.len();
            let missing = rows.iter().filter(|row| is_missing(row.provider_id.as_str(), row.created_at));
            suspects.extend(missing.map(|row| ProviderEvent::OrganizationDeleted(row.provider_id.clone())));
            match rows.last() {
                Some(last) => after = Some(last.id),
                None => break,
            }
        }
        let mut after: Option<(AccountId, UserId)> = None;
        loop {
            let rows = self.reader.memberships(&scan.cleared, after, ROWS).await?;
            known += rows.len();
            // With the organization or the person goes the membership, and is no suspect of its own.
            let has_parents =
                |stay: &Stay| scan.seen.contains(stay.organization.as_str()) && scan.seen.contains(stay.user.as_str());
            let missing = rows.iter().filter(|row| is_missing(row.provider_id.membership.as_str(), row.created_at));
            suspects.extend(missing.filter(|row| has_parents(&row.provider_id)).map(|row| {
                let Stay { membership, organization, user } = row.provider_id.clone();
                ProviderEvent::MembershipDeleted { id: membership, organization, user }
            }));
            match rows.last() {
                Some(last) => after = Some(last.id),
                None => break,
            }
        }
        Ok(Suspects { events: suspects, known, recognized })
    }

    /// What the provider says when it is asked about the suspect alone: gone, or here and missed before.
    async fn confirmed(&self, suspect: ProviderEvent) -> Result<Option<ProviderEvent>, DirectoryError> {
        Ok(match &suspect {
            ProviderEvent::UserDeleted(id) => Some(self.directory.user(id).await?.map_or(suspect, ProviderEvent::User)),
            ProviderEvent::OrganizationDeleted(id) => {
                Some(self.listing.organization(id).await?.map_or(suspect, ProviderEvent::Organization))
            }
            ProviderEvent::MembershipDeleted { id, user, .. } => {
                let listed = self.directory.memberships(user).await?;
                let found = listed.into_iter().find(|membership| membership.id == *id);
                Some(found.map_or(suspect, ProviderEvent::Membership))
            }
            ProviderEvent::User(_)
            | ProviderEvent::Organization(_)
            | ProviderEvent::Membership(_)
            | ProviderEvent::SessionEnded(_) => None,
        })
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
