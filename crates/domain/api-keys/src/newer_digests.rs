//! Digests move to the newest pepper while keys are used: nobody but whoever presents a key has the text that a digest is made of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portal_kernel::{AccountId, Change, StoreError, finish};

use crate::ports::{ApiKeysStore, ApiKeysTx};
use crate::verify::look_up;
use crate::{Digest, Kid, PepperVersion, Peppers, StoredKey};

/// As many wait to be written at most; others are made when their keys are used again.
const MOST: usize = 500;

/// The digest of a secret, made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerDigest {
    /// Whose key it is.
    pub account: AccountId,
    /// Which secret.
    pub kid: Kid,
    /// The pepper of the digest that it takes the place of.
    pub replaces: PepperVersion,
    /// Its own pepper.
    pub pepper_version: PepperVersion,
    /// Proves knowledge of the same secret.
    pub digest: Digest,
}

/// Digests that were made and are not written yet.
#[derive(Default)]
pub struct NewerDigests(Mutex<HashMap<Kid, NewerDigest>>);

impl NewerDigests {
    /// To be called with a text that matched the stored digest. Nothing is made of one of the newest pepper.
    pub(crate) fn note(&self, peppers: &Peppers, presented: &str, kid: Kid, stored: &StoredKey) {
        if stored.pepper_version >= peppers.newest() {
            return;
        }
        let mut noted = self.noted();
        if noted.len() >= MOST || noted.contains_key(&kid) {
            return;
        }
        let (pepper_version, digest) = peppers.digest(&presented.into());
        let (account, replaces) = (stored.account, stored.pepper_version);
        noted.insert(kid, NewerDigest { account, kid, replaces, pepper_version, digest });
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<Kid, NewerDigest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes digests that were made anew.
pub struct MoveDigests {
    /// What was made.
    pub newer: Arc<NewerDigests>,
    /// Where it is written.
    pub store: Arc<ApiKeysStore>,
}

impl MoveDigests {
    /// Writes all that was made, tells every server of the keys, and answers how many secrets those were. Asks nothing where there is nothing.
    /// What cannot be written is made again when the key is used again. Safe to do in several places at once.
    pub async fn write(&self) -> Result<usize, StoreError> {
        let digests: Vec<_> = std::mem::take(&mut *self.newer.noted()).into_values().collect();
        if digests.is_empty() {
            return Ok(0);
        }
        let mut tx = self.store.begin().await?;
        let outcome = write_in(&mut *tx, digests).await;
        finish(tx, outcome).await
    }
}

async fn write_in(tx: &mut dyn ApiKeysTx, digests: Vec<NewerDigest>) -> Result<usize, StoreError> {
    let cleared = look_up().map_err(|denied| StoreError::Other(denied.into()))?;
    let moved = tx.keys().move_digests(&cleared, digests).await?;
    for key in &moved {
        tx.changes().changed(Change::Key(*key)).await?;
    }
    Ok(moved.len())
}

#[cfg(test)]
mod tests {
    use portal_kernel::ExposeSecret;

    use super::*;
    use crate::InvalidPepper;
    use crate::testing::memory::MemoryStore;
    use crate::testing::{key, minted, stored};

    const OLD: [u8; 32] = [7; 32];
    const NEW: [u8; 32] = [8; 32];

    fn version(number: i16) -> PepperVersion {
        PepperVersion::parse(number).unwrap()
    }

    fn peppers(versions: &[(i16, [u8; 32])]) -> Peppers {
        let versions = versions.iter().map(|(number, pepper)| (version(*number), pepper.to_vec().into()));
        Peppers::new(versions).unwrap()
    }

    #[test]
    fn a_digest_is_made_anew_once_and_only_with_a_newer_pepper() {
        let (minted, stored) = (minted(), stored());
        let text = minted.text.expose_secret();
        let newer = NewerDigests::default();
        let both = || peppers(&[(1, OLD), (2, NEW)]);
        for peppers in [peppers(&[(1, OLD)]), both().making(version(1)).unwrap()] {
            newer.note(&peppers, text, minted.kid, &stored);
            assert!(newer.noted().is_empty());
        }
        assert!(matches!(both().making(version(3)), Err(InvalidPepper::Missing)));
        for _ in 0..2 {
            newer.note(&both(), text, minted.kid, &stored);
        }
        let (pepper_version, digest) = peppers(&[(2, NEW)]).digest(&minted.text);
        let expected =
            NewerDigest { account: stored.account, kid: minted.kid, replaces: version(1), pepper_version, digest };
        assert_eq!(newer.noted().drain().collect::<Vec<_>>(), [(minted.kid, expected)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (newer, both) = (NewerDigests::default(), peppers(&[(1, OLD), (2, NEW)]));
        for number in 0..=MOST {
            newer.note(&both, "a text", Kid::parse(&format!("{number:012}")).unwrap(), &stored());
        }
        assert_eq!(newer.noted().len(), MOST);
    }

    #[tokio::test]
    async fn what_is_written_is_told_and_nothing_is_asked_without() {
        let store = MemoryStore::default();
        store.rows.lock().await.keys.push(key());
        let digests = MoveDigests { newer: Arc::default(), store: Arc::new(store.clone()) };
        assert_eq!(digests.write().await.unwrap(), 0);
        let both = peppers(&[(1, OLD), (2, NEW)]);
        let kid = key().secrets.newest.kid;
        digests.newer.note(&both, minted().text.expose_secret(), kid, &stored());
        assert_eq!(digests.write().await.unwrap(), 1);
        assert_eq!(store.rows.lock().await.changes, [Change::Key(key().id)]);
        assert_eq!(digests.write().await.unwrap(), 0);
    }
}
