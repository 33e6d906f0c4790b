//! What the audit trail needs from a store.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use portal_authz::action::{InspectAuditTrails, ReadAuditTrail, SignAuditHeads};
use portal_authz::{Authorized, Platform};
use portal_kernel::{AccountId, AuditEventId, Begin, Finish, Page, PageRequest, StoreError, Timestamp};

use crate::{AuditFilter, AuditRecord, FoundEvent, Head, HeadVerifier, Link, SignedHead, Trail, TrailOf};

/// The trail, inside a transaction. It can only be appended to.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AuditLog: Send {
    /// Appends; visible when the transaction commits. Whatever is wrong with the record, the commit says so, and nothing is written.
    async fn record(&mut self, record: AuditRecord) -> Result<(), StoreError>;
}

/// Proof for whoever signs heads.
pub type Signing = Authorized<SignAuditHeads, Platform>;

/// How far a chain has come, beside its signatures, as all of it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundHead {
    /// Whose chain.
    pub trail: Trail,
    /// Whether it is noted as signed. Whoever owns the database can note anything.
    pub is_noted: bool,
    /// How far, and the two signed heads of the greatest numbers; none if a row holds what no version of the program writes.
    pub known: Option<(Head, Vec<SignedHead>)>,
}

impl FoundHead {
    /// The head, if a known key signed it, and nobody anything else of its number or beyond.
    pub fn signed(&self, verifier: &dyn HeadVerifier) -> Option<Head> {
        let (head, signed) = self.known.as_ref()?;
        let (last, before) = signed.split_first()?;
        let is_alone = before.iter().all(|before| before.head.seq < head.seq);
        (last.head == *head && is_alone && last.is_valid(verifier)).then_some(*head)
    }
}

/// Signed heads, inside a transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait SignedHeads: Send {
    /// Heads that are not noted as signed, in the order of trails behind `after`, some of them if there are many.
    async fn unsigned(
        &mut self,
        cleared: &Signing,
        after: Option<Trail>,
        limit: usize,
    ) -> Result<Vec<FoundHead>, StoreError>;

    /// The same of all heads, whatever is noted.
    async fn heads(
        &mut self,
        cleared: &Signing,
        after: Option<Trail>,
        limit: usize,
    ) -> Result<Vec<FoundHead>, StoreError>;

    /// Notes that these heads are signed. One that has moved on meanwhile, or that somebody moves, may be left out.
    async fn note(&mut self, cleared: &Signing, signed: Vec<(Trail, Head)>) -> Result<(), StoreError>;

    /// Signed heads, those of the greatest numbers first. What no version of the program writes is left out.
    async fn last_signed(
        &mut self,
        cleared: &Signing,
        trail: Trail,
        limit: usize,
    ) -> Result<Vec<SignedHead>, StoreError>;

    /// How far the chain has come, as its writers know it; none if nothing was recorded.
    async fn head(&mut self, cleared: &Signing, trail: Trail) -> Result<Option<Head>, StoreError>;

    /// Records with greater numbers, in the order of their numbers, then of their ids.
    async fn links(
        &mut self,
        cleared: &Signing,
        trail: Trail,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Link>, StoreError>;

    /// Adds it; false if it is not added, as one of this number and signature is there.
    async fn add(&mut self, cleared: &Signing, head: SignedHead) -> Result<bool, StoreError>;
}

/// The repositories of one transaction.
pub trait AuditTx: Finish {
    /// The trail.
    fn audit(&mut self) -> &mut dyn AuditLog;
    /// Signed heads.
    fn signed_heads(&mut self) -> &mut dyn SignedHeads;
}

/// Where transactions come from.
pub type AuditStore = dyn Begin<dyn AuditTx>;

/// Reads an account's trail for its members, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AuditReader: Send + Sync {
    /// What was recorded last comes first. Records that close others are no events: they are told with what they close.
    async fn page(
        &self,
        of: &Authorized<ReadAuditTrail, TrailOf>,
        filter: AuditFilter,
        request: PageRequest<AuditEventId>,
    ) -> Result<Page<FoundEvent, AuditEventId>, StoreError>;
}

/// Proof for whoever verifies and exports.
pub type Inspecting = Authorized<InspectAuditTrails, Platform>;

/// A part of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRange {
    /// Of which chain.
    pub trail: Trail,
    /// Behind the record with this number and id; from the beginning, whatever stands there, if none.
    pub after: Option<(i64, AuditEventId)>,
    /// Only records of this time or later.
    pub since: Option<Timestamp>,
    /// Records at most.
    pub limit: usize,
}

/// Reads chains as they are stored, outside any transaction.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ChainReader: Send + Sync {
    /// Accounts in the order of their ids, whether or not anything was recorded there.
    async fn accounts(
        &self,
        cleared: &Inspecting,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Whether there is this account, or was one: they are never taken out.
    async fn has_account(&self, cleared: &Inspecting, account: AccountId) -> Result<bool, StoreError>;

    /// Numbers and ids of the records of a part, in the order of [`Self::links`]; also of those that cannot be read.
    async fn places(&self, cleared: &Inspecting, range: LinkRange) -> Result<Vec<(i64, AuditEventId)>, StoreError>;

    /// In the order of their numbers, then of their ids: also what stands there twice.
    async fn links(&self, cleared: &Inspecting, range: LinkRange) -> Result<Vec<Link>, StoreError>;

    /// How far the chain has come, as its writers know it; none if nothing was recorded.
    async fn head(&self, cleared: &Inspecting, trail: Trail) -> Result<Option<Head>, StoreError>;

    /// Signed heads with these numbers, in their order.
    async fn signed_heads(
        &self,
        cleared: &Inspecting,
        trail: Trail,
        numbers: RangeInclusive<i64>,
        limit: usize,
    ) -> Result<Vec<SignedHead>, StoreError>;
}
