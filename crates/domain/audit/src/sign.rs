//! Signing how far each chain has come: what a signature vouches for was verified before.

use std::sync::Arc;

use portal_authz::{Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{Clock, StoreError, finish};

use crate::chain::link;
use crate::ports::{SignedHeads, Signing};
use crate::{AuditStore, Finding, Head, HeadSigner, HeadVerifier, Link, SignedHead, Trail};

/// Chains in one answer of the store.
const CHAINS: usize = 200;

/// Records in one answer of the store.
const PAGE: usize = 500;

/// Pages of one chain in one run. Of a longer chain the record that was come to is signed, and the next run goes on from there.
const PAGES: usize = 20;

/// Signed heads that are not ours are passed over, so many of them.
const MOST_PLANTED: usize = 1_000;

/// Why not all heads were signed. Those that were stay so.
#[derive(Debug, thiserror::Error)]
pub enum SignHeadsError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the heads of the audit trails could not be signed")]
    Store(#[from] StoreError),
}

/// What became of a chain that was to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningNews {
    /// The signature is stored.
    Signed(SignedHead),
    /// The records behind the last signed head do not fit, and nothing was signed.
    Broken {
        /// Whose chain.
        trail: Trail,
        /// The first thing that is wrong.
        finding: Finding,
    },
}

/// The use case, with what it needs.
pub struct SignHeads {
    /// Where transactions come from.
    pub store: Arc<AuditStore>,
    /// Holds the key.
    pub signer: Arc<dyn HeadSigner>,
    /// Knows the keys that heads were signed with.
    pub verifier: Arc<dyn HeadVerifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

enum Outcome {
    /// Its end is signed.
    Done,
    /// The signature is of this record; whether it is the end.
    Stored(SignedHead, bool),
    Broken(Finding),
}

impl SignHeads {
    /// Verifies each chain that grew from its last signed head on, signs how far it has come, and tells it through `tell` once it is
    /// stored. A chain that is broken is told, and keeps no other from being signed. Returns how many chains are so long that another
    /// run is needed. Any number of replicas may do so at the same time: of one head one signature is stored, and one is told.
    pub async fn run(&self, mut tell: impl FnMut(SigningNews) + Send) -> Result<usize, SignHeadsError> {
        let cleared = Unchecked::new(Platform).authorize(&Principal::System(Job::Audit))?;
        let (mut after, mut unfinished) = (None, 0);
        loop {
            let mut tx = self.store.begin().await?;
            let found = tx.signed_heads().unsigned(&cleared, after, CHAINS).await;
            let found = finish(tx, found).await?;
            for trail in &found {
                match self.sign(&cleared, *trail).await? {
                    Outcome::Done => {}
                    Outcome::Stored(signed, is_end) => {
                        unfinished += usize::from(!is_end);
                        tell(SigningNews::Signed(signed));
                    }
                    Outcome::Broken(finding) => tell(SigningNews::Broken { trail: *trail, finding }),
                }
            }
            if found.len() < CHAINS {
                return Ok(unfinished);
            }
            after = found.last().copied();
        }
    }

    async fn sign(&self, cleared: &Signing, trail: Trail) -> Result<Outcome, StoreError> {
        let mut tx = self.store.begin().await?;
        let mut walk = Walk { sign_heads: self, cleared, trail, at: Head::EMPTY };
        let outcome = match walk.walk(tx.signed_heads()).await {
            Err(StoreError::Corrupt(_)) => Ok(Outcome::Broken(Finding::Unreadable { seq: walk.at.seq })),
            outcome => outcome,
        };
        if let Ok(Outcome::Broken(_)) = outcome {
            tx.rollback().await?;
            return outcome;
        }
        finish(tx, outcome).await
    }
}

struct Walk<'a> {
    sign_heads: &'a SignHeads,
    cleared: &'a Signing,
    trail: Trail,
    /// The last record that is as it was written.
    at: Head,
}

impl Walk<'_> {
    async fn walk(&mut self, heads: &mut dyn SignedHeads) -> Result<Outcome, StoreError> {
        // In this order: whoever appends and signs meanwhile makes the head run ahead of the signature, never the other way.
        let signed = match self.last_signed(heads).await? {
            Ok(signed) => signed,
            Err(finding) => return Ok(Outcome::Broken(finding)),
        };
        let head = heads.head(self.cleared, self.trail).await?.unwrap_or(Head::EMPTY);
        if signed.seq > head.seq {
            return Ok(Outcome::Broken(Finding::BeyondEnd { seq: head.seq, signed: signed.seq }));
        }
        if signed.seq == head.seq {
            let is_same = signed == head;
            return Ok(if is_same { Outcome::Done } else { Outcome::Broken(Finding::Rewritten { seq: head.seq }) });
        }
        self.at = signed;
        let mut pages = 0;
        while self.at.seq < head.seq {
            let page = heads.links(self.cleared, self.trail, self.at.seq, PAGE).await?;
            pages += 1;
            if page.is_empty() {
                return Ok(Outcome::Broken(Finding::CutOff { seq: self.at.seq, expected: head.seq }));
            }
            for found in page.iter().take_while(|found| found.seq <= head.seq) {
                if let Some(finding) = self.misfit(found) {
                    return Ok(Outcome::Broken(finding));
                }
                self.at = found.head();
            }
            if self.at.seq < head.seq && page.last().is_some_and(|last| last.seq > head.seq) {
                return Ok(Outcome::Broken(Finding::Missing { seq: self.at.seq.saturating_add(1) }));
            }
            if pages >= PAGES
                && self.at.seq < head.seq
                && let Some(signed) = self.add(heads).await?
            {
                return Ok(Outcome::Stored(signed, false));
            }
        }
        if self.at != head {
            return Ok(Outcome::Broken(Finding::HeadDiffers { seq: head.seq }));
        }
        Ok(self.add(heads).await?.map_or(Outcome::Done, |signed| Outcome::Stored(signed, true)))
    }

    /// The furthest head that a known key signed. What somebody planted counts for nothing, and `verify` tells of it.
    async fn last_signed(&self, heads: &mut dyn SignedHeads) -> Result<Result<Head, Finding>, StoreError> {
        let mut first = None;
        for limit in [1, MOST_PLANTED] {
            let found = heads.last_signed(self.cleared, self.trail, limit).await?;
            if let Some(valid) = found.iter().find(|signed| signed.is_valid(&*self.sign_heads.verifier)) {
                return Ok(Ok(valid.head));
            }
            if found.len() < limit {
                return Ok(Ok(Head::EMPTY));
            }
            first = found.first().map(|signed| signed.head.seq);
        }
        Ok(Err(Finding::SignatureInvalid { seq: first.unwrap_or_default() }))
    }

    /// What is wrong with the record that should come next.
    fn misfit(&self, found: &Link) -> Option<Finding> {
        let seq = self.at.seq.saturating_add(1);
        if found.seq < seq {
            return Some(Finding::Surplus { seq: found.seq });
        }
        if found.seq > seq {
            return Some(Finding::Missing { seq });
        }
        (link(&self.at.hash, seq, &found.entry) != found.hash).then_some(Finding::Changed { seq })
    }

    /// None if somebody else signed there.
    async fn add(&self, heads: &mut dyn SignedHeads) -> Result<Option<SignedHead>, StoreError> {
        let SignHeads { signer, clock, .. } = self.sign_heads;
        let signed = SignedHead::new(&**signer, self.trail, self.at, clock.now());
        Ok(heads.add(self.cleared, signed).await?.then_some(signed))
    }
}

#[cfg(test)]
mod tests;
