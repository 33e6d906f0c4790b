//! Doubles of this crate's unit tests.

use std::ops::RangeInclusive;
use std::sync::Mutex;

use async_trait::async_trait;
use portal_authz::{Job, Principal};
use portal_kernel::{AccountId, AuditEventId, Id, StoreError, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    AuditEntry, ChainReader, Head, HeadSigner, HeadVerifier, Inspecting, Link, LinkRange, Signature, SignedHead, Trail,
};

/// One chain, to be tampered with.
#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) links: Vec<Link>,
    pub(crate) head: Option<Head>,
    pub(crate) signed: Vec<SignedHead>,
}

/// A store that holds it, for whichever trail it is asked.
#[derive(Default)]
pub(crate) struct MemoryChains(pub(crate) Mutex<Stored>);

#[async_trait]
impl ChainReader for MemoryChains {
    async fn accounts(&self, _: &Inspecting, _: Option<AccountId>, _: usize) -> Result<Vec<AccountId>, StoreError> {
        Ok(Vec::new())
    }

    async fn links(&self, _: &Inspecting, range: LinkRange) -> Result<Vec<Link>, StoreError> {
        let mut links = self.0.lock().unwrap().links.clone();
        let place = |link: &Link| (link.seq, link.entry.id);
        links.retain(|link| range.after.is_none_or(|after| place(link) > after));
        links.sort_by_key(place);
        // Small pages, so that their borders are met.
        links.truncate(range.limit.min(3));
        Ok(links)
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
    let mut stored = Stored::default();
    let mut head = Head::EMPTY;
    for number in 1..=records {
        let link = head.append(entry(number));
        head = link.head();
        stored.links.push(link);
        if signed.contains(&number) {
            stored.signed.push(SignedHead::new(&Key(1), Trail::Platform, head, now()));
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
