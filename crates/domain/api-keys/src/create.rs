//! Creating a key.

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::action::CreateKey;
use portal_authz::{Authorized, Denied, Principal, Unchecked};
use portal_kernel::{AccountId, SecretString, StoreError, finish};

use crate::credential::mint;
use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys, KeyEnvironment, KeyName, NewApiKey};

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed; no key exists.
    #[error("the key could not be stored")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Makes a key and returns its text, which is not kept: this is the only time anybody sees it.
    pub async fn create(
        &self,
        who: &Caller,
        account: AccountId,
        name: KeyName,
        environment: KeyEnvironment,
    ) -> Result<(ApiKey, SecretString), CreateKeyError> {
        let cleared = Unchecked::new(account).authorize::<CreateKey>(&who.principal)?;
        // Only a person in person passes the policy; the type system does not know.
        let Principal::User(user) = &who.principal else { return Err(Denied::Forbidden.into()) };
        let minted = mint(self.brand.prefix(environment), &*self.entropy);
        let (pepper_version, digest) = self.peppers.digest(&minted.text);
        let key = ApiKey {
            id: self.ids.make(),
            account,
            name,
            environment,
            kid: minted.kid,
            made_by: user.user,
            created_at: self.clock.now(),
            revoked_at: None,
            revision: 1,
        };
        let new = NewApiKey { key: key.clone(), digest, pepper_version };
        let mut tx = self.store.begin().await?;
        let outcome = self.create_in(&mut *tx, who, &cleared, new).await;
        finish(tx, outcome).await?;
        Ok((key, minted.text))
    }

    async fn create_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        cleared: &Authorized<CreateKey, AccountId>,
        new: NewApiKey,
    ) -> Result<(), StoreError> {
        let subject = Subject::ApiKey(new.key.id);
        tx.keys().insert(cleared, new).await?;
        let source = (&*self.ids, &*self.clock);
        tx.audit().record(AuditRecord::now(source, who, Some(**cleared), AuditAction::ApiKeyCreated, subject)).await
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::Role;
    use portal_kernel::ExposeSecret;

    use super::*;
    use crate::testing::{Ending, Fixture, account, member};

    fn name() -> KeyName {
        KeyName::parse("ci").unwrap()
    }

    #[tokio::test]
    async fn an_editor_gets_the_text_once_and_only_its_digest_is_stored() {
        let mut fixture = Fixture::default();
        fixture
            .tx
            .keys
            .expect_insert()
            .withf(|into, new| **into == account() && new.key.account == account() && new.key.revision == 1)
            .once()
            .returning(|_, _| Ok(()));
        fixture
            .tx
            .audit
            .expect_record()
            .withf(|record| record.action == AuditAction::ApiKeyCreated && record.account == Some(account()))
            .once()
            .returning(|_| Ok(()));
        let (keys, store) = fixture.build();
        let (key, text) = keys.create(&member(Role::Editor), account(), name(), KeyEnvironment::Test).await.unwrap();
        assert_eq!(keys.brand.read(text.expose_secret()), Some((KeyEnvironment::Test, key.kid)));
        assert_eq!(store.endings(), [Ending::Committed]);
    }

    #[tokio::test]
    async fn a_viewer_and_a_stranger_open_no_transaction() {
        let (keys, store) = Fixture::default().build();
        let viewer = keys.create(&member(Role::Viewer), account(), name(), KeyEnvironment::Live).await;
        assert!(matches!(viewer, Err(CreateKeyError::Denied(Denied::Forbidden))));
        let elsewhere = "acc_00000000000000000000000009".parse().unwrap();
        let stranger = keys.create(&member(Role::Owner), elsewhere, name(), KeyEnvironment::Live).await;
        assert!(matches!(stranger, Err(CreateKeyError::Denied(Denied::Hidden))));
        assert_eq!(store.endings(), []);
    }

    #[tokio::test]
    async fn a_failed_record_undoes_the_key() {
        let mut fixture = Fixture::default();
        fixture.tx.keys.expect_insert().once().returning(|_, _| Ok(()));
        fixture.tx.audit.expect_record().once().returning(|_| Err(StoreError::Unavailable("gone".into())));
        let (keys, store) = fixture.build();
        let outcome = keys.create(&member(Role::Owner), account(), name(), KeyEnvironment::Live).await;
        assert!(matches!(outcome, Err(CreateKeyError::Store(StoreError::Unavailable(_)))));
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }
}
