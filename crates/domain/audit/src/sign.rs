//! Signing how far each chain has come.

use std::sync::Arc;

use portal_authz::{Denied, Job, Platform, Principal, Unchecked};
use portal_kernel::{Clock, StoreError, finish};

use crate::ports::Signing;
use crate::{AuditStore, AuditTx, HeadSigner, SignedHead};

/// Heads in one transaction.
const BATCH: usize = 200;

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

/// The use case, with what it needs.
pub struct SignHeads {
    /// Where transactions come from.
    pub store: Arc<AuditStore>,
    /// Holds the key.
    pub signer: Arc<dyn HeadSigner>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl SignHeads {
    /// Signs the head of every chain that grew since it was last signed, and tells each through `signed` once it is stored. Any number
    /// of replicas may do so at the same time: of one head one signature is stored, and one is told.
    pub async fn run(&self, mut signed: impl FnMut(&SignedHead) + Send) -> Result<(), SignHeadsError> {
        let cleared = Unchecked::new(Platform).authorize(&Principal::System(Job::Audit))?;
        loop {
            let mut tx = self.store.begin().await?;
            let outcome = self.sign_some(&mut *tx, &cleared).await;
            let (found, added) = finish(tx, outcome).await?;
            added.iter().for_each(&mut signed);
            if found < BATCH {
                return Ok(());
            }
        }
    }

    /// How many were found, and the signatures that were added.
    async fn sign_some(
        &self,
        tx: &mut dyn AuditTx,
        cleared: &Signing,
    ) -> Result<(usize, Vec<SignedHead>), SignHeadsError> {
        let unsigned = tx.signed_heads().unsigned(cleared, BATCH).await?;
        let found = unsigned.len();
        let mut added = Vec::with_capacity(found);
        for (trail, head) in unsigned {
            let signed = SignedHead::new(&*self.signer, trail, head, self.clock.now());
            if tx.signed_heads().add(cleared, signed).await? {
                added.push(signed);
            }
        }
        Ok((found, added))
    }
}

#[cfg(test)]
mod tests;
