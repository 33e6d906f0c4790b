//! Verifying chains, and handing their records out for an export.

use std::sync::Arc;

use portal_authz::{Denied, Platform, Principal, Unchecked};
use portal_kernel::{AccountId, AuditEventId, StoreError, Timestamp};

use crate::chain::link;
use crate::ports::{ChainReader, Inspecting, LinkRange};
use crate::{Head, HeadVerifier, Link, SignedHead, Trail};

/// Records in one answer of the store.
const PAGE: usize = 500;

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A record is not what its hash says.
    #[error("record {seq} was changed")]
    Changed {
        /// Its number.
        seq: i64,
    },
    /// A record is gone, and later ones are there.
    #[error("record {seq} is missing")]
    Missing {
        /// Its number.
        seq: i64,
    },
    /// Where this record belongs stands another one, and it stands elsewhere.
    #[error("record {seq} stands in another place")]
    Reordered {
        /// Its number.
        seq: i64,
    },
    /// Two records have the same number.
    #[error("record {seq} stands there more than once")]
    Surplus {
        /// The number.
        seq: i64,
    },
    /// A row holds what no version of the program writes.
    #[error("a row behind record {seq} cannot be read")]
    Unreadable {
        /// The last record that can.
        seq: i64,
    },
    /// The chain's writers had come further.
    #[error("the chain was cut off behind record {seq}: there were {expected}")]
    CutOff {
        /// The last record.
        seq: i64,
        /// How far the writers had come.
        expected: i64,
    },
    /// The chain's writers know another end.
    #[error("the head does not fit the chain, whose last record is {seq}")]
    HeadDiffers {
        /// The last record.
        seq: i64,
    },
    /// A signed head is not signed by a known key, or something of it was changed.
    #[error("the signature of head {seq} is not valid")]
    SignatureInvalid {
        /// Its number.
        seq: i64,
    },
    /// The database said of a head that it is signed, or did not keep its signature.
    #[error("head {seq} was not signed where the database says that it is")]
    Unsigned {
        /// Its number.
        seq: i64,
    },
    /// A record, or one before it, is not what it was when the head was signed: the hashes were computed anew.
    #[error("record {seq} has another hash than its signed head: it or one before it was rewritten")]
    Rewritten {
        /// Its number.
        seq: i64,
    },
    /// The chain was longer when the head was signed.
    #[error("the chain ends with record {seq}, and a signed head vouches for record {signed}")]
    BeyondEnd {
        /// The last record.
        seq: i64,
        /// The number of the signed head.
        signed: i64,
    },
}

/// What a chain is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Records that are as they were written, from the first on.
    pub records: i64,
    /// How many of those, from the first on, a valid signature vouches for.
    pub vouched: i64,
    /// Signed heads that vouch for them.
    pub signed: usize,
    /// The first thing that is wrong.
    pub finding: Option<Finding>,
}

/// A record that holds what no version of the program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// Its number.
    pub seq: i64,
    /// Its id.
    pub id: AuditEventId,
}

/// Why nothing was inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the audit trails could not be read")]
    Store(#[from] StoreError),
}

/// The use cases of whoever verifies and exports.
pub struct Inspector {
    /// Where the chains are.
    pub chains: Arc<dyn ChainReader>,
    /// Knows the keys that heads are signed with.
    pub verifier: Arc<dyn HeadVerifier>,
}

impl Inspector {
    /// Accounts in the order of their ids, some at a time.
    pub async fn accounts(&self, who: &Principal, after: Option<AccountId>) -> Result<Vec<AccountId>, InspectError> {
        let cleared = cleared(who)?;
        Ok(self.chains.accounts(&cleared, after, PAGE).await?)
    }

    /// Whether there is this account.
    pub async fn has_account(&self, who: &Principal, account: AccountId) -> Result<bool, InspectError> {
        let cleared = cleared(who)?;
        Ok(self.chains.has_account(&cleared, account).await?)
    }

    /// Records of a chain in the order of their numbers, some at a time, as they are stored; of one that cannot be read, where it stands.
    pub async fn records(
        &self,
        who: &Principal,
        trail: Trail,
        after: Option<(i64, AuditEventId)>,
        since: Option<Timestamp>,
    ) -> Result<Vec<Result<Link, Unreadable>>, InspectError> {
        let cleared = cleared(who)?;
        let range = LinkRange { trail, after, since, limit: PAGE };
        match self.chains.links(&cleared, range).await {
            Err(StoreError::Corrupt(_)) => self.singly(&cleared, range).await,
            links => Ok(links?.into_iter().map(Ok).collect()),
        }
    }

    /// The same, one by one.
    async fn singly(
        &self,
        cleared: &Inspecting,
        range: LinkRange,
    ) -> Result<Vec<Result<Link, Unreadable>>, InspectError> {
        let (mut read, mut after) = (Vec::new(), range.after);
        for (seq, id) in self.chains.places(cleared, range).await? {
            match self.chains.links(cleared, LinkRange { after, limit: 1, ..range }).await {
                Err(StoreError::Corrupt(_)) => read.push(Err(Unreadable { seq, id })),
                links => read.extend(links?.into_iter().map(Ok)),
            }
            after = Some((seq, id));
        }
        Ok(read)
    }

    /// Computes the chain anew and compares it with its head and with every signed head: those in the store, and those of the same
    /// trail that were kept elsewhere. Writers may go on meanwhile.
    pub async fn verify(
        &self,
        who: &Principal,
        trail: Trail,
        elsewhere: &[SignedHead],
    ) -> Result<Verdict, InspectError> {
        let mut walk = Walk {
            inspector: self,
            cleared: cleared(who)?,
            trail,
            elsewhere,
            at: Head::EMPTY,
            last: None,
            vouched: 0,
            signed: 0,
        };
        let finding = match walk.walk().await {
            Ok(finding) => finding,
            Err(StoreError::Corrupt(_)) => Some(Finding::Unreadable { seq: walk.at.seq }),
            Err(error) => return Err(error.into()),
        };
        Ok(Verdict { records: walk.at.seq, vouched: walk.vouched, signed: walk.signed, finding })
    }
}

fn cleared(who: &Principal) -> Result<Inspecting, Denied> {
    Unchecked::new(Platform).authorize(who)
}

struct Walk<'a> {
    inspector: &'a Inspector,
    cleared: Inspecting,
    trail: Trail,
    elsewhere: &'a [SignedHead],
    /// The last record that is as it was written.
    at: Head,
    last: Option<(i64, AuditEventId)>,
    vouched: i64,
    signed: usize,
}

impl Walk<'_> {
    async fn walk(&mut self) -> Result<Option<Finding>, StoreError> {
        loop {
            let page = self.page(self.last).await?;
            if let Some(finding) = self.read(&page).await? {
                return Ok(Some(finding));
            }
            if !page.is_empty() {
                continue;
            }
            // In this order: whoever appends meanwhile is ahead of what was read, never behind.
            let head = self.inspector.chains.head(&self.cleared, self.trail).await?.unwrap_or(Head::EMPTY);
            let promised = self.promised().await?;
            if head.seq <= self.at.seq && promised.is_none() {
                let seq = self.at.seq;
                return Ok((head != self.at).then_some(Finding::HeadDiffers { seq }));
            }
            // What the head or a signature knows was written before: now it must be there.
            let page = self.page(self.last).await?;
            if page.is_empty() {
                return Ok(Some(self.ends_early(head, promised)));
            }
            if let Some(finding) = self.read(&page).await? {
                return Ok(Some(finding));
            }
        }
    }

    async fn page(&self, after: Option<(i64, AuditEventId)>) -> Result<Vec<Link>, StoreError> {
        let range = LinkRange { trail: self.trail, after, since: None, limit: PAGE };
        self.inspector.chains.links(&self.cleared, range).await
    }

    async fn read(&mut self, page: &[Link]) -> Result<Option<Finding>, StoreError> {
        let Some(end) = page.last() else { return Ok(None) };
        let numbers = self.at.seq.saturating_add(1)..=end.seq;
        let mut signed = self.inspector.chains.signed_heads(&self.cleared, self.trail, numbers.clone(), PAGE).await?;
        signed.extend(self.elsewhere.iter().filter(|signed| numbers.contains(&signed.head.seq)));
        signed.sort_by_key(|signed| signed.head.seq);
        let mut signed = signed.into_iter().peekable();
        for (place, found) in page.iter().enumerate() {
            let seq = self.at.seq.saturating_add(1);
            if found.seq < seq {
                return Ok(Some(Finding::Surplus { seq: found.seq }));
            }
            if found.seq != seq || link(&self.at.hash, seq, &found.entry) != found.hash {
                return self.what_happened(&page[place..]).await.map(Some);
            }
            while let Some(signed) = signed.next_if(|signed| signed.head.seq == seq) {
                if !signed.is_valid(&*self.inspector.verifier) {
                    return Ok(Some(Finding::SignatureInvalid { seq }));
                }
                if signed.head != found.head() {
                    return Ok(Some(Finding::Rewritten { seq }));
                }
                (self.signed, self.vouched) = (self.signed + 1, seq);
            }
            self.at = found.head();
            self.last = Some((found.seq, found.entry.id));
        }
        Ok(None)
    }

    /// Why the record that should come next does not: it stands further behind, or nowhere, or not as it was written.
    async fn what_happened(&self, rest: &[Link]) -> Result<Finding, StoreError> {
        let seq = self.at.seq.saturating_add(1);
        let there = rest.first().filter(|found| found.seq == seq).map(|found| found.hash);
        let belongs = |found: &Link| {
            let hash = link(&self.at.hash, seq, &found.entry);
            found.seq != seq && (hash == found.hash || Some(hash) == there)
        };
        let mut rest = rest.to_vec();
        loop {
            if rest.iter().any(belongs) {
                return Ok(Finding::Reordered { seq });
            }
            let Some(end) = rest.last() else { break };
            rest = self.page(Some((end.seq, end.entry.id))).await?;
        }
        Ok(if there.is_some() { Finding::Changed { seq } } else { Finding::Missing { seq } })
    }

    /// A signed head of a record that was not met.
    async fn promised(&self) -> Result<Option<SignedHead>, StoreError> {
        let numbers = self.at.seq.saturating_add(1)..=i64::MAX;
        let elsewhere = self.elsewhere.iter().find(|signed| numbers.contains(&signed.head.seq)).copied();
        let stored = self.inspector.chains.signed_heads(&self.cleared, self.trail, numbers, 1).await?;
        Ok(stored.first().copied().or(elsewhere))
    }

    fn ends_early(&self, head: Head, promised: Option<SignedHead>) -> Finding {
        let seq = self.at.seq;
        match promised {
            _ if head.seq > seq => Finding::CutOff { seq, expected: head.seq },
            Some(signed) if signed.is_valid(&*self.inspector.verifier) => {
                Finding::BeyondEnd { seq, signed: signed.head.seq }
            }
            Some(signed) => Finding::SignatureInvalid { seq: signed.head.seq },
            None => Finding::HeadDiffers { seq },
        }
    }
}

#[cfg(test)]
mod tests;
