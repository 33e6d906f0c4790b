//! Creating a key.

use portal_audit::{AuditAction, Caller};
use portal_authz::action::CreateKey;
use portal_authz::{Authorized, Denied, Principal, Unchecked};
use portal_kernel::{AccountId, IdempotencyKey, NamedRequest, SecretString, StoreError, Timestamp, finish};

use crate::credential::mint;
use crate::once::{Repeated, Wanted, named, once};
use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys, KeyEnvironment, KeyName, KeyPolicy, KeySecret, KeySecrets, NewApiKey};

/// What somebody wants to have a key for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDraft {
    /// What people will call it.
    pub name: KeyName,
    /// Live or test.
    pub environment: KeyEnvironment,
    /// What it is restricted to.
    pub policy: KeyPolicy,
    /// When its time is over.
    pub expires_at: Option<Timestamp>,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its time would be over already.
    #[error("the end lies in the past")]
    EndIsPast,
    /// The account has as many live keys as it may have.
    #[error("the account has as many live keys as it may have")]
    TooManyKeys,
    /// The request has a name that was used before.
    #[error("the name of the request was used before")]
    Repeated(#[from] Repeated),
    /// The store failed; no key exists.
    #[error("the key could not be stored")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Makes a key and returns its text, which is not kept: this is the only time anybody sees it. A request with a name makes one key,
    /// however often it is repeated.
    pub async fn create(
        &self,
        who: &Caller,
        account: AccountId,
        draft: KeyDraft,
        name_of_request: Option<IdempotencyKey>,
    ) -> Result<(ApiKey, SecretString), CreateKeyError> {
        let cleared = Unchecked::new(account).authorize::<CreateKey>(&who.principal)?;
        // Only a person in person passes the policy; the type system does not know.
        let Principal::User(user) = &who.principal else { return Err(Denied::Forbidden.into()) };
        let (id, created_at) = (self.ids.make(), self.clock.now());
        let request = named(name_of_request, (account, user.user), &Wanted::Key(&draft), (id, created_at));
        let KeyDraft { name, environment, policy, expires_at } = draft;
        if expires_at.is_some_and(|end| end <= created_at) {
            return Err(CreateKeyError::EndIsPast);
        }
        let minted = mint(self.brand.prefix(environment), &*self.entropy);
        let (pepper_version, digest) = self.peppers.digest(&minted.text);
        let secret = KeySecret { kid: minted.kid, created_at, expires_at: None, revoked_at: None };
        let key = ApiKey {
            id,
            account,
            name,
            environment,
            policy,
            secrets: KeySecrets::first(secret),
            made_by: user.user,
            created_at,
            expires_at,
            disabled_at: None,
            revoked_at: None,
            last_used_at: None,
            revision: 1,
        };
        let new = NewApiKey { key: key.clone(), digest, pepper_version };
        let mut tx = self.store.begin().await?;
        let outcome = self.create_in(&mut *tx, who, &cleared, (request, new)).await;
        finish(tx, outcome).await?;
        Ok((key, minted.text))
    }

    async fn create_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        cleared: &Authorized<CreateKey, AccountId>,
        (request, new): (Option<NamedRequest>, NewApiKey),
    ) -> Result<(), CreateKeyError> {
        once::<CreateKeyError>(tx, request).await?;
        if tx.keys().count_live(cleared, self.clock.now()).await? >= self.most_keys {
            return Err(CreateKeyError::TooManyKeys);
        }
        let key = new.key.clone();
        tx.keys().insert(cleared, new).await?;
        Ok(self.tell(tx, who, &key, AuditAction::ApiKeyCreated).await?)
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::Role;
    use portal_kernel::{Change, ExposeSecret};

    use super::*;
    use crate::testing::{Ending, Fixture, account, key, member};
    use crate::{ModelAllowList, Networks};

    fn draft(environment: KeyEnvironment) -> KeyDraft {
        let name = KeyName::parse("ci").unwrap();
        KeyDraft { name, environment, policy: KeyPolicy::default(), expires_at: None }
    }

    fn with_live_keys(count: usize) -> Fixture {
        let mut fixture = Fixture::default();
        fixture.tx.keys.expect_count_live().withf(|of, _| **of == account()).once().returning(move |_, _| Ok(count));
        fixture
    }

    #[tokio::test]
    async fn an_editor_gets_the_text_once_and_only_its_digest_is_stored() {
        let mut fixture = with_live_keys(99);
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
        let (key, text) =
            keys.create(&member(Role::Editor), account(), draft(KeyEnvironment::Test), None).await.unwrap();
        assert_eq!(keys.brand.read(text.expose_secret()), Some((KeyEnvironment::Test, key.secrets.newest.kid)));
        assert_eq!((store.endings(), store.changes()), (vec![Ending::Committed], vec![Change::Key(key.id)]));
    }

    #[tokio::test]
    async fn a_viewer_and_a_stranger_open_no_transaction() {
        let (keys, store) = Fixture::default().build();
        let viewer = keys.create(&member(Role::Viewer), account(), draft(KeyEnvironment::Live), None).await;
        assert!(matches!(viewer, Err(CreateKeyError::Denied(Denied::Forbidden))));
        let elsewhere = "acc_00000000000000000000000009".parse().unwrap();
        let stranger = keys.create(&member(Role::Owner), elsewhere, draft(KeyEnvironment::Live), None).await;
        assert!(matches!(stranger, Err(CreateKeyError::Denied(Denied::Hidden))));
        assert_eq!(store.endings(), []);
    }

    #[tokio::test]
    async fn a_failed_record_undoes_the_key() {
        let mut fixture = with_live_keys(0);
        fixture.tx.keys.expect_insert().once().returning(|_, _| Ok(()));
        fixture.tx.audit.expect_record().once().returning(|_| Err(StoreError::Unavailable("gone".into())));
        let (keys, store) = fixture.build();
        let outcome = keys.create(&member(Role::Owner), account(), draft(KeyEnvironment::Live), None).await;
        assert!(matches!(outcome, Err(CreateKeyError::Store(StoreError::Unavailable(_)))));
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }

    #[tokio::test]
    async fn a_key_begins_with_its_restrictions_and_its_end() {
        let policy = KeyPolicy {
            models: ModelAllowList::parse(["llama-*"]).unwrap(),
            networks: Networks::parse(["192.0.2.0/24"]).unwrap(),
            ..KeyPolicy::default()
        };
        let draft = KeyDraft {
            policy: policy.clone(),
            expires_at: Some(key().created_at.plus(std::time::Duration::from_micros(1))),
            ..draft(KeyEnvironment::Live)
        };
        let expected = (policy, draft.expires_at);
        let mut fixture = with_live_keys(0);
        let stored = expected.clone();
        fixture
            .tx
            .keys
            .expect_insert()
            .withf(move |_, new| (new.key.policy.clone(), new.key.expires_at) == stored)
            .once()
            .returning(|_, _| Ok(()));
        fixture.tx.audit.expect_record().returning(|_| Ok(()));
        let (keys, _) = fixture.build();
        let (key, _) = keys.create(&member(Role::Editor), account(), draft, None).await.unwrap();
        assert_eq!((key.policy, key.expires_at), expected);
    }

    #[tokio::test]
    async fn an_account_has_only_so_many_live_keys() {
        let mut fixture = with_live_keys(100);
        fixture.tx.keys.expect_insert().never();
        let (keys, store) = fixture.build();
        let outcome = keys.create(&member(Role::Owner), account(), draft(KeyEnvironment::Live), None).await;
        assert!(matches!(outcome, Err(CreateKeyError::TooManyKeys)));
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }

    #[tokio::test]
    async fn a_key_does_not_begin_after_its_end() {
        let (keys, store) = Fixture::default().build();
        let draft = KeyDraft { expires_at: Some(key().created_at), ..draft(KeyEnvironment::Live) };
        let outcome = keys.create(&member(Role::Owner), account(), draft, None).await;
        assert!(matches!(outcome, Err(CreateKeyError::EndIsPast)));
        assert_eq!(store.endings(), []);
    }
}
