//! Reading keys, masked: no record holds a secret.

use portal_authz::action::ReadKeys;
use portal_authz::{Denied, Principal, Unchecked};
use portal_kernel::{AccountId, ApiKeyId, Page, PageRequest, StoreError};

use crate::{ApiKey, ApiKeys};

/// Why keys were not shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadKeyError {
    /// There is none.
    #[error("no such key")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the keys could not be read")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// One key.
    pub async fn get(&self, who: &Principal, id: ApiKeyId) -> Result<ApiKey, ReadKeyError> {
        let key = self.reader.find(id).await?.ok_or(ReadKeyError::NotFound)?;
        Ok(key.authorize::<ReadKeys>(who)?.into_inner())
    }

    /// Keys of an account, newest first, revoked ones included.
    pub async fn list(
        &self,
        who: &Principal,
        account: AccountId,
        request: PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey, ApiKeyId>, ReadKeyError> {
        let cleared = Unchecked::new(account).authorize::<ReadKeys>(who)?;
        Ok(self.reader.page(&cleared, request).await?)
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::Role;

    use super::*;
    use crate::testing::{Fixture, account, key, member};

    #[tokio::test]
    async fn a_viewer_reads_keys_and_a_stranger_cannot_tell_that_one_exists() {
        let mut fixture = Fixture::default();
        fixture.reader.expect_find().returning(|_| Ok(Some(Unchecked::new(key()))));
        let (keys, _) = fixture.build();
        assert_eq!(keys.get(&member(Role::Viewer).principal, key().id).await.unwrap(), key());
        let mut elsewhere = key();
        elsewhere.account = "acc_00000000000000000000000009".parse().unwrap();
        let mut fixture = Fixture::default();
        fixture.reader.expect_find().returning(move |_| Ok(Some(Unchecked::new(elsewhere.clone()))));
        let (keys, _) = fixture.build();
        let outcome = keys.get(&member(Role::Owner).principal, key().id).await;
        assert!(matches!(outcome, Err(ReadKeyError::Denied(Denied::Hidden))));
    }

    #[tokio::test]
    async fn a_list_is_read_only_for_the_account_that_was_checked() {
        let mut fixture = Fixture::default();
        fixture
            .reader
            .expect_page()
            .withf(|of, _| **of == account())
            .once()
            .returning(|_, _| Ok(Page { items: vec![key()], next: None }));
        let (keys, _) = fixture.build();
        let page = keys.list(&member(Role::Viewer).principal, account(), PageRequest::default()).await.unwrap();
        assert_eq!(page.items, [key()]);
        let elsewhere = "acc_00000000000000000000000009".parse().unwrap();
        let outcome = keys.list(&member(Role::Owner).principal, elsewhere, PageRequest::default()).await;
        assert!(matches!(outcome, Err(ReadKeyError::Denied(Denied::Hidden))));
    }
}
