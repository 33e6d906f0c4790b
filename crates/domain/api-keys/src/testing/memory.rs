//! A store in memory, for tests of what happens over many transactions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portal_audit::{AuditLog, AuditRecord};
use portal_authz::action::{
    CreateKey, DisableKey, EndKeysOfDeleted, KeepCanary, LookUpCredential, RevokeKey, RotateKey, UpdateKey,
};
use portal_authz::{Authorized, Platform, Unchecked};
use portal_kernel::{AccountId, ApiKeyId, Begin, Change, ChangeLog, Finish, IdempotencyLog, StoreError, Timestamp};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::MemoryRequests;
use crate::ports::{ApiKeyRepository, ApiKeysTx, CanaryRepository, CredentialReader, ServiceTokenRepository};
use crate::{
    ApiKey, CanaryLife, KeyPatch, KeySecret, KeyState, Kid, MockServiceTokenRepository, NewApiKey, NewSecret,
    NewerDigest, Rotation, StoredKey,
};

/// Everything that is stored.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    pub(crate) keys: Vec<ApiKey>,
    secrets: Vec<(ApiKeyId, KeySecret, NewSecret)>,
    pub(crate) records: Vec<AuditRecord>,
    pub(crate) changes: Vec<Change>,
    pub(crate) requests: MemoryRequests,
    pub(crate) deleted: Vec<AccountId>,
    canary: Option<i64>,
}

/// One transaction at a time.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    pub(crate) rows: Arc<Mutex<Rows>>,
}

struct MemoryTx {
    stored: OwnedMutexGuard<Rows>,
    rows: Rows,
    service_tokens: MockServiceTokenRepository,
}

impl MemoryTx {
    fn save(&mut self, key: ApiKey) -> Result<ApiKey, StoreError> {
        let stored = self.rows.keys.iter_mut().find(|stored| stored.id == key.id && stored.account == key.account);
        let stored = stored.filter(|stored| stored.revision + 1 == key.revision).ok_or(StoreError::Stale)?;
        *stored = key.clone();
        Ok(key)
    }

    /// Secrets that the key names are as it says; the others have ended.
    fn save_secrets(&mut self, key: &ApiKey, at: Timestamp) {
        for (_, secret, _) in self.rows.secrets.iter_mut().filter(|(of, ..)| *of == key.id) {
            match key.secrets.iter().find(|named| named.kid == secret.kid) {
                Some(named) => *secret = named.clone(),
                None => secret.revoked_at = secret.revoked_at.or(Some(at)),
            }
        }
    }
}

#[async_trait]
impl Begin<dyn ApiKeysTx> for MemoryStore {
    async fn begin(&self) -> Result<Box<dyn ApiKeysTx>, StoreError> {
        let stored = self.rows.clone().lock_owned().await;
        let rows = stored.clone();
        Ok(Box::new(MemoryTx { stored, rows, service_tokens: MockServiceTokenRepository::new() }))
    }
}

#[async_trait]
impl Finish for MemoryTx {
    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        *self.stored = self.rows;
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl ApiKeysTx for MemoryTx {
    fn keys(&mut self) -> &mut dyn ApiKeyRepository {
        self
    }

    fn service_tokens(&mut self) -> &mut dyn ServiceTokenRepository {
        &mut self.service_tokens
    }

    fn canary(&mut self) -> &mut dyn CanaryRepository {
        self
    }

    fn requests(&mut self) -> &mut dyn IdempotencyLog {
        &mut self.rows.requests
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }

    fn changes(&mut self) -> &mut dyn ChangeLog {
        self
    }
}

#[async_trait]
impl AuditLog for MemoryTx {
    async fn record(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        self.rows.records.push(record);
        Ok(())
    }
}

#[async_trait]
impl ChangeLog for MemoryTx {
    async fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        self.rows.changes.push(change);
        Ok(())
    }
}

#[async_trait]
impl ApiKeyRepository for MemoryTx {
    async fn find(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError> {
        Ok(self.rows.keys.iter().find(|key| key.id == id).cloned().map(Unchecked::new))
    }

    async fn find_to_change(&mut self, id: ApiKeyId) -> Result<Option<Unchecked<ApiKey>>, StoreError> {
        self.find(id).await
    }

    async fn count_live(&mut self, of: &Authorized<CreateKey, AccountId>, now: Timestamp) -> Result<usize, StoreError> {
        let of_account = self.rows.keys.iter().filter(|key| key.account == **of);
        Ok(of_account.filter(|key| matches!(key.state(now), KeyState::Active | KeyState::Disabled)).count())
    }

    async fn insert(&mut self, into: &Authorized<CreateKey, AccountId>, new: NewApiKey) -> Result<(), StoreError> {
        let NewApiKey { key, digest, pepper_version } = new;
        let secret = NewSecret { kid: key.secrets.newest.kid, digest, pepper_version };
        self.rows.secrets.push((key.id, key.secrets.newest.clone(), secret));
        self.rows.keys.push(ApiKey { account: **into, ..key });
        Ok(())
    }

    async fn update(&mut self, key: Authorized<UpdateKey, ApiKey>, patch: KeyPatch) -> Result<ApiKey, StoreError> {
        self.save(key.into_inner().updated(patch))
    }

    async fn disable(
        &mut self,
        key: Authorized<DisableKey, ApiKey>,
        since: Option<Timestamp>,
    ) -> Result<ApiKey, StoreError> {
        self.save(key.into_inner().disabled(since))
    }

    async fn rotate(&mut self, key: Authorized<RotateKey, ApiKey>, rotation: Rotation) -> Result<ApiKey, StoreError> {
        let key = self.save(key.into_inner().rotated(&rotation))?;
        self.save_secrets(&key, rotation.at);
        self.rows.secrets.push((key.id, key.secrets.newest.clone(), rotation.secret));
        Ok(key)
    }

    async fn revoke(&mut self, key: Authorized<RevokeKey, ApiKey>, at: Timestamp) -> Result<ApiKey, StoreError> {
        let key = self.save(key.into_inner().revoked(at))?;
        self.save_secrets(&key, at);
        Ok(key)
    }

    async fn move_digests(
        &mut self,
        _: &Authorized<LookUpCredential, Platform>,
        digests: Vec<NewerDigest>,
    ) -> Result<Vec<ApiKeyId>, StoreError> {
        let of = |digest: &NewerDigest| {
            self.rows.keys.iter().find(|key| key.secrets.newest.kid == digest.kid).map(|key| key.id)
        };
        Ok(digests.iter().filter_map(of).collect())
    }

    async fn revoke_of_deleted(
        &mut self,
        _: &Authorized<EndKeysOfDeleted, Platform>,
        accounts: Option<Vec<AccountId>>,
        at: Timestamp,
        most: usize,
    ) -> Result<Vec<(AccountId, ApiKeyId)>, StoreError> {
        let Rows { keys, deleted, .. } = &self.rows;
        let is_meant = |key: &ApiKey| accounts.as_ref().is_none_or(|accounts| accounts.contains(&key.account));
        let due = keys.iter().filter(|key| key.revoked_at.is_none() && deleted.contains(&key.account) && is_meant(key));
        let due: Vec<_> = due.take(most).cloned().collect();
        for key in &due {
            let key = self.save(key.clone().revoked(at))?;
            self.save_secrets(&key, at);
        }
        Ok(due.iter().map(|key| (key.account, key.id)).collect())
    }
}

#[async_trait]
impl CanaryRepository for MemoryTx {
    async fn begin(
        &mut self,
        _: &Authorized<KeepCanary, Platform>,
        _: Duration,
    ) -> Result<Option<CanaryLife>, StoreError> {
        if self.rows.canary.is_some() {
            return Ok(None);
        }
        self.rows.canary = Some(1);
        Ok("key_00000000000000000000000000".parse().ok().map(|key| CanaryLife { key, revision: 1 }))
    }

    async fn end(&mut self, _: &Authorized<KeepCanary, Platform>, life: CanaryLife) -> Result<bool, StoreError> {
        Ok(self.rows.canary.take_if(|revision| *revision == life.revision).is_some())
    }
}

#[async_trait]
impl CredentialReader for MemoryStore {
    async fn key(
        &self,
        _: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredKey>>, StoreError> {
        let rows = self.rows.lock().await;
        let Some((id, secret, new)) = rows.secrets.iter().find(|(_, secret, _)| secret.kid == kid) else {
            return Ok(None);
        };
        let key = rows.keys.iter().find(|key| key.id == *id).map(|key| StoredKey {
            key: key.id,
            account: key.account,
            environment: key.environment,
            digest: new.digest,
            pepper_version: new.pepper_version,
            policy: key.policy.clone(),
            secret_expires_at: secret.expires_at,
            secret_revoked_at: secret.revoked_at,
            expires_at: key.expires_at,
            disabled_at: key.disabled_at,
            revoked_at: key.revoked_at,
            revision: key.revision,
        });
        Ok(key.map(Arc::new))
    }

    async fn keys(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kids: Vec<Kid>,
    ) -> Result<Vec<(Kid, Arc<StoredKey>)>, StoreError> {
        let mut found = Vec::new();
        for kid in kids {
            found.extend(self.key(cleared, kid).await?.map(|key| (kid, key)));
        }
        Ok(found)
    }
}
