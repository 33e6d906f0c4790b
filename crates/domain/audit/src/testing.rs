//! Doubles of this crate's unit tests.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portal_authz::{Job, Principal};
use portal_kernel::{AccountId, AuditEventId, Begin, Finish, Id, StoreError, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    AuditEntry, AuditLog, AuditTx, ChainReader, FoundHead, Head, HeadSigner, HeadVerifier, Inspecting, Link, LinkRange,
    MockAuditLog, Signature, SignedHead, SignedHeads, Signing, Trail,
};

/// One chain, to be tampered with.
#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) links: Vec<Link>,
    pub(crate) head: Option<Head>,
    pub(crate) signed: Vec<SignedHead>,
    /// The head that is noted as signed.
    pub(crate) noted: Option<Head>,
    /// Whether no signature is kept.
    pub(crate) swallows: bool,
    /// Numbers of records that cannot be read.
    pub(crate) unreadable: Vec<i64>,
    /// The longest part that was asked for.
    pub(crate) longest: usize,
}

impl Stored {
    /// Small pages, so that their borders are met.
    const PAGE: usize = 3;

    fn part(&mut self, after: impl Fn(&Link) -> bool, limit: usize) -> Vec<Link> {
        self.longest = self.longest.max(limit);
        let mut links: Vec<_> = self.links.iter().filter(|link| after(link)).cloned().collect();
        links.sort_by_key(|link| (link.seq, link.entry.id));
        links.truncate(limit.min(Self::PAGE));
        links
    }

    /// Those of the greatest numbers first.
    fn last_signed(&self) -> Vec<SignedHead> {
        let mut signed = self.signed.clone();
        signed.sort_by_key(|signed| std::cmp::Reverse((signed.head.seq, *signed.signature.as_bytes())));
        signed
    }

    fn readable(&self, links: Vec<Link>) -> Result<Vec<Link>, StoreError> {
        match links.iter().find(|link| self.unreadable.contains(&link.seq)) {
            Some(_) => Err(StoreError::Corrupt("a row".into())),
            None => Ok(links),
        }
    }
}

/// A store that holds it, for whichever trail it is asked.
#[derive(Default)]
pub(crate) struct MemoryChains(pub(crate) Mutex<Stored>);

#[async_trait]
impl ChainReader for MemoryChains {
    async fn accounts(&self, _: &Inspecting, _: Option<AccountId>, _: usize) -> Result<Vec<AccountId>, StoreError> {
        Ok(Vec::new())
    }

    async fn has_account(&self, _: &Inspecting, _: AccountId) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn places(&self, _: &Inspecting, range: LinkRange) -> Result<Vec<(i64, AuditEventId)>, StoreError> {
        let mut stored = self.0.lock().unwrap();
        let behind = |link: &Link| range.after.is_none_or(|after| (link.seq, link.entry.id) > after);
        Ok(stored.part(behind, range.limit).iter().map(|link| (link.seq, link.entry.id)).collect())
    }

    async fn links(&self, _: &Inspecting, range: LinkRange) -> Result<Vec<Link>, StoreError> {
        let mut stored = self.0.lock().unwrap();
        let behind = |link: &Link| range.after.is_none_or(|after| (link.seq, link.entry.id) > after);
        let links = stored.part(behind, range.limit);
        stored.readable(links)
    }

    async fn head(&self, _: &Inspecting, _: Trail) -> Result<Option<Head>, StoreError> {
        Ok(self.0.lock().unwrap().head)
    }

    async fn signed_heads(
        &self,
        _: &Inspecting,
        _: Trail,
        numbers: RangeInclusive<i64>,
        limit: usize,
    ) -> Result<Vec<SignedHead>, StoreError> {
        let mut signed = self.0.lock().unwrap().signed.clone();
        signed.retain(|signed| numbers.contains(&signed.head.seq));
        signed.sort_by_key(|signed| signed.head.seq);
        signed.truncate(limit);
        Ok(signed)
    }
}

/// A transaction on several of them, by their trails. What it adds stays.
pub(crate) struct MemoryTx {
    pub(crate) chains: Arc<BTreeMap<Trail, MemoryChains>>,
    read: Arc<AtomicUsize>,
    audit: MockAuditLog,
}

impl MemoryTx {
    fn of<T>(&self, trail: Trail, act: impl FnOnce(&mut Stored) -> T) -> T {
        act(&mut self.chains[&trail].0.lock().unwrap())
    }

    fn found(&self, after: Option<Trail>) -> impl Iterator<Item = FoundHead> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.chains.range((from, Bound::Unbounded)).filter_map(|(trail, chain)| {
            let chain = chain.0.lock().unwrap();
            let mut signed = chain.last_signed();
            signed.truncate(2);
            let head = chain.head?;
            Some(FoundHead { trail: *trail, is_noted: chain.noted == Some(head), known: Some((head, signed)) })
        })
    }
}

#[async_trait]
impl SignedHeads for MemoryTx {
    async fn unsigned(
        &mut self,
        _: &Signing,
        after: Option<Trail>,
        limit: usize,
    ) -> Result<Vec<FoundHead>, StoreError> {
        Ok(self.found(after).filter(|found| !found.is_noted).take(limit).collect())
    }

    async fn heads(&mut self, _: &Signing, after: Option<Trail>, limit: usize) -> Result<Vec<FoundHead>, StoreError> {
        let found: Vec<_> = self.found(after).take(limit).collect();
        self.read.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    async fn note(&mut self, _: &Signing, signed: Vec<(Trail, Head)>) -> Result<(), StoreError> {
        for (trail, head) in signed {
            self.of(trail, |chain| {
                if chain.head == Some(head) {
                    chain.noted = Some(head);
                }
            });
        }
        Ok(())
    }

    async fn last_signed(&mut self, _: &Signing, trail: Trail, limit: usize) -> Result<Vec<SignedHead>, StoreError> {
        let mut signed = self.of(trail, |chain| chain.last_signed());
        signed.truncate(limit);
        Ok(signed)
    }

    async fn head(&mut self, _: &Signing, trail: Trail) -> Result<Option<Head>, StoreError> {
        Ok(self.of(trail, |chain| chain.head))
    }

    async fn links(&mut self, _: &Signing, trail: Trail, after: i64, limit: usize) -> Result<Vec<Link>, StoreError> {
        self.of(trail, |chain| {
            let links = chain.part(|link| link.seq > after, limit);
            chain.readable(links)
        })
    }

    async fn add(&mut self, _: &Signing, head: SignedHead) -> Result<bool, StoreError> {
        Ok(self.of(head.trail, |chain| {
            let is_new = !chain.swallows && chain.signed.iter().all(|signed| signed.signature != head.signature);
            chain.signed.extend(is_new.then_some(head));
            is_new
        }))
    }
}

impl AuditTx for MemoryTx {
    fn audit(&mut self) -> &mut dyn AuditLog {
        &mut self.audit
    }

    fn signed_heads(&mut self) -> &mut dyn SignedHeads {
        self
    }
}

#[async_trait]
impl Finish for MemoryTx {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Begins transactions on the chains; after so many the store is away.
pub(crate) struct MemoryStore {
    pub(crate) chains: Arc<BTreeMap<Trail, MemoryChains>>,
    pub(crate) transactions: AtomicUsize,
    /// How many heads were read whatever was noted of them.
    pub(crate) read: Arc<AtomicUsize>,
}

#[async_trait]
impl Begin<dyn AuditTx> for MemoryStore {
    async fn begin(&self) -> Result<Box<dyn AuditTx>, StoreError> {
        let left = self.transactions.load(Ordering::Relaxed);
        self.transactions.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 {
            return Err(StoreError::Unavailable("away".into()));
        }
        Ok(Box::new(MemoryTx { chains: self.chains.clone(), read: self.read.clone(), audit: MockAuditLog::new() }))
    }
}

/// A key that signs and verifies; good enough for tests, and for nothing else.
pub(crate) struct Key(pub(crate) u8);

impl HeadSigner for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        let digest = Sha256::new().chain_update([self.0]).chain_update(message).finalize();
        Signature::from_bytes(&[digest.as_slice(), digest.as_slice()].concat()).unwrap()
    }
}

impl HeadVerifier for Key {
    fn is_valid(&self, message: &[u8], signature: &Signature) -> bool {
        self.sign(message) == *signature
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000).unwrap()
}

pub(crate) fn operator() -> Principal {
    Principal::System(Job::Operator)
}

/// The part of the program that signs.
pub(crate) fn signer() -> Principal {
    Principal::System(Job::Audit)
}

pub(crate) fn entry(number: usize) -> AuditEntry {
    AuditEntry {
        id: format!("{}_{number:026}", AuditEventId::PREFIX).parse().unwrap(),
        at: now(),
        trail: Trail::Platform,
        actor_kind: "system".to_owned(),
        actor_id: "operator".to_owned(),
        actor_behind: None,
        credential: None,
        action: "service_token.created".to_owned(),
        subject: format!("svc_{number:026}"),
        effect: "done".to_owned(),
        closes: None,
        request_id: None,
        address_prefix: None,
        reason: None,
    }
}

/// A whole chain of that many records, whose head is signed at the given numbers.
pub(crate) fn chain(records: usize, signed: &[usize]) -> Stored {
    chain_of(Trail::Platform, records, signed)
}

/// The same of any trail.
pub(crate) fn chain_of(trail: Trail, records: usize, signed: &[usize]) -> Stored {
    let mut stored = Stored::default();
    let mut head = Head::EMPTY;
    for number in 1..=records {
        let link = head.append(AuditEntry { trail, ..entry(number) });
        head = link.head();
        stored.links.push(link);
        if signed.contains(&number) {
            stored.signed.push(SignedHead::new(&Key(1), trail, head, now()));
        }
    }
    stored.head = (records > 0).then_some(head);
    stored
}

/// Computes every hash anew, and the head with them: what a forger does who may write every table.
pub(crate) fn forge(stored: &mut Stored) {
    let mut head = Head::EMPTY;
    for link in &mut stored.links {
        *link = head.append(link.entry.clone());
        head = link.head();
    }
    stored.head = Some(head);
}
