//! Signing how far each chain has come: what a signature vouches for was verified before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_authz::{Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{Clock, StoreError, finish};

use crate::chain::link;
use crate::ports::{FoundHead, SignedHeads, Signing};
use crate::{AuditStore, Finding, Head, HeadSigner, HeadVerifier, Link, SignedHead, Trail};

/// Chains in one answer of the store.
const CHAINS: usize = 200;

/// Records in one answer of the store.
const PAGE: usize = 500;

/// Pages of one chain in one run. Of a longer chain the record that was come to is signed, and the next run goes on from there.
const PAGES: usize = 20;

/// Signed heads that are not ours are passed over, so many of them.
const MOST_PLANTED: usize = 1_000;

/// Heads that one run looks at whatever is noted of them.
const SWEPT: usize = 10_000;

/// Chains with a finding that the next run looks at again, whatever is noted of them.
const SUSPECTS: usize = 1_000;

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
    /// Something is wrong. Where the records behind the last signed head do not fit, nothing was signed.
    Broken {
        /// Whose chain.
        trail: Trail,
        /// The first thing that is wrong.
        finding: Finding,
    },
}

/// How far one run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Chains that are so long that another run is needed.
    pub unfinished: usize,
    /// Whether all heads were looked at, in this run and those before it.
    pub is_round: bool,
}

/// What the next run goes on with.
#[derive(Default, Clone)]
struct Progress {
    /// Heads behind this one are looked at, whatever is noted of them.
    after: Option<Trail>,
    suspects: BTreeSet<Trail>,
}

/// The use case, with what it needs.
pub struct SignHeads {
    store: Arc<AuditStore>,
    signer: Arc<dyn HeadSigner>,
    verifier: Arc<dyn HeadVerifier>,
    clock: Arc<dyn Clock>,
    progress: Mutex<Progress>,
}

enum Outcome {
    /// This is its end, and signed.
    Done(Head),
    /// The signature is of this record; whether it is the end.
    Stored(SignedHead, bool),
    Broken(Finding),
}

impl SignHeads {
    /// Transactions, who holds the key, who knows the keys that heads were signed with, and the time.
    pub fn new(
        store: Arc<AuditStore>,
        signer: Arc<dyn HeadSigner>,
        verifier: Arc<dyn HeadVerifier>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, signer, verifier, clock, progress: Mutex::default() }
    }

    /// Verifies each chain that grew from its last signed head on, signs how far it has come, and tells it through `tell` once it is
    /// stored. Chains are found by what is noted of them; some of the others are looked at in each run, so that all are before long.
    /// A chain that is broken is told, and keeps no other from being signed. Any number of replicas may do so at the same time; those
    /// that meet may sign a head twice.
    pub async fn run(&self, mut tell: impl FnMut(SigningNews) + Send) -> Result<Turn, SignHeadsError> {
        let cleared = Unchecked::new(Platform).authorize(&Principal::System(Job::Audit))?;
        let Progress { after, suspects } = self.progress().clone();
        let mut run =
            Run { sign_heads: self, cleared, tell: &mut tell, suspects, broken: BTreeSet::new(), unfinished: 0 };
        for trail in run.suspects.clone() {
            run.look(trail, false).await?;
        }
        run.sign_unsigned().await?;
        let after = run.sweep(after).await?;
        let Run { broken, unfinished, .. } = run;
        *self.progress() = Progress { after, suspects: broken.into_iter().take(SUSPECTS).collect() };
        Ok(Turn { unfinished, is_round: after.is_none() })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of it, and what was found that keeps nobody from signing.
    async fn sign(&self, cleared: &Signing, trail: Trail) -> Result<(Outcome, Option<Finding>), StoreError> {
        let mut tx = self.store.begin().await?;
        let mut walk = Walk { sign_heads: self, cleared, trail, at: Head::EMPTY, planted: None };
        let outcome = match walk.walk(tx.signed_heads()).await {
            Err(StoreError::Corrupt(_)) => Ok(Outcome::Broken(Finding::Unreadable { seq: walk.at.seq })),
            outcome => outcome,
        };
        let planted = walk.planted.map(|seq| Finding::SignatureInvalid { seq });
        if let Ok(outcome @ Outcome::Broken(_)) = outcome {
            tx.rollback().await?;
            return Ok((outcome, planted));
        }
        Ok((finish(tx, outcome).await?, planted))
    }
}

/// One run.
struct Run<'a> {
    sign_heads: &'a SignHeads,
    cleared: Signing,
    tell: &'a mut (dyn FnMut(SigningNews) + Send),
    /// Looked at before all others.
    suspects: BTreeSet<Trail>,
    broken: BTreeSet<Trail>,
    unfinished: usize,
}

impl Run<'_> {
    /// All chains whose head is not noted as signed.
    async fn sign_unsigned(&mut self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let mut tx = self.sign_heads.store.begin().await?;
            let found = tx.signed_heads().unsigned(&self.cleared, after, CHAINS).await;
            let found = finish(tx, found).await?;
            self.look_at(&found).await?;
            after = found.last().map(|found| found.trail);
            if found.len() < CHAINS {
                return Ok(());
            }
        }
    }

    /// Some of the heads that are noted as signed. None if those were the last ones.
    async fn sweep(&mut self, mut after: Option<Trail>) -> Result<Option<Trail>, StoreError> {
        for _ in 0..SWEPT / CHAINS {
            let mut tx = self.sign_heads.store.begin().await?;
            let found = tx.signed_heads().heads(&self.cleared, after, CHAINS).await;
            let mut found = finish(tx, found).await?;
            after = found.last().filter(|_| found.len() == CHAINS).map(|found| found.trail);
            found.retain(|found| found.is_noted);
            self.look_at(&found).await?;
            if after.is_none() {
                break;
            }
        }
        Ok(after)
    }

    async fn look_at(&mut self, found: &[FoundHead]) -> Result<(), StoreError> {
        let mut signed = Vec::new();
        let verifier = self.sign_heads.verifier.clone();
        for found in found {
            let FoundHead { trail, is_noted, .. } = *found;
            if self.suspects.contains(&trail) {
                continue;
            }
            let head = match found.signed(&*verifier) {
                Some(head) => Some(head).filter(|_| !is_noted),
                None => self.look(trail, is_noted).await?,
            };
            signed.extend(head.map(|head| (trail, head)));
        }
        if signed.is_empty() {
            return Ok(());
        }
        let mut tx = self.sign_heads.store.begin().await?;
        let noted = tx.signed_heads().note(&self.cleared, signed).await;
        finish(tx, noted).await
    }

    /// Its end, if that is signed and nothing is wrong.
    async fn look(&mut self, trail: Trail, is_noted: bool) -> Result<Option<Head>, StoreError> {
        let (outcome, planted) = self.sign_heads.sign(&self.cleared, trail).await?;
        let (end, finding) = match outcome {
            Outcome::Done(head) => (Some(head), planted),
            Outcome::Stored(signed, is_end) => {
                self.unfinished += usize::from(!is_end);
                (self.tell)(SigningNews::Signed(signed));
                let unsigned = is_noted.then_some(Finding::Unsigned { seq: signed.head.seq });
                (is_end.then_some(signed.head), planted.or(unsigned))
            }
            Outcome::Broken(finding) => (None, Some(finding)),
        };
        let Some(finding) = finding else { return Ok(end) };
        self.broken.insert(trail);
        (self.tell)(SigningNews::Broken { trail, finding });
        Ok(None)
    }
}

struct Walk<'a> {
    sign_heads: &'a SignHeads,
    cleared: &'a Signing,
    trail: Trail,
    /// The last record that is as it was written.
    at: Head,
    /// The number of a signature that is not ours, and not behind the last of ours.
    planted: Option<i64>,
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
            return Ok(if is_same {
                Outcome::Done(head)
            } else {
                Outcome::Broken(Finding::Rewritten { seq: head.seq })
            });
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
            if pages >= PAGES && self.at.seq < head.seq {
                match self.add(heads).await? {
                    Outcome::Done(_) => {}
                    Outcome::Stored(signed, _) => return Ok(Outcome::Stored(signed, false)),
                    broken @ Outcome::Broken(_) => return Ok(broken),
                }
            }
        }
        if self.at != head {
            return Ok(Outcome::Broken(Finding::HeadDiffers { seq: head.seq }));
        }
        self.add(heads).await
    }

    /// The furthest head that a known key signed. What somebody planted counts for nothing.
    async fn last_signed(&mut self, heads: &mut dyn SignedHeads) -> Result<Result<Head, Finding>, StoreError> {
        let verifier = &*self.sign_heads.verifier;
        let mut first = None;
        for limit in [2, MOST_PLANTED] {
            let found = heads.last_signed(self.cleared, self.trail, limit).await?;
            let valid = found.iter().find(|signed| signed.is_valid(verifier)).map(|signed| signed.head);
            let from = valid.unwrap_or(Head::EMPTY).seq;
            let planted = found.iter().find(|signed| signed.head.seq >= from && !signed.is_valid(verifier));
            self.planted = planted.map(|signed| signed.head.seq);
            let is_all = found.len() < limit || found.last().is_none_or(|signed| signed.head.seq < from);
            match valid {
                Some(head) if is_all || limit == MOST_PLANTED => return Ok(Ok(head)),
                None if is_all => return Ok(Ok(Head::EMPTY)),
                _ => first = found.first().map(|signed| signed.head.seq),
            }
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

    /// Signs the record that was come to, unless somebody else did meanwhile.
    async fn add(&self, heads: &mut dyn SignedHeads) -> Result<Outcome, StoreError> {
        let SignHeads { signer, clock, .. } = self.sign_heads;
        if self.is_signed(heads).await? {
            return Ok(Outcome::Done(self.at));
        }
        let signed = SignedHead::new(&**signer, self.trail, self.at, clock.now());
        if heads.add(self.cleared, signed).await? {
            return Ok(Outcome::Stored(signed, true));
        }
        // It is there, or the store did not take it.
        let is_signed = self.is_signed(heads).await?;
        let Head { seq, .. } = self.at;
        Ok(if is_signed { Outcome::Done(self.at) } else { Outcome::Broken(Finding::Unsigned { seq }) })
    }

    async fn is_signed(&self, heads: &mut dyn SignedHeads) -> Result<bool, StoreError> {
        let verifier = &*self.sign_heads.verifier;
        let last = heads.last_signed(self.cleared, self.trail, 2).await?;
        Ok(last.iter().any(|signed| signed.head == self.at && signed.is_valid(verifier)))
    }
}

#[cfg(test)]
mod tests;
