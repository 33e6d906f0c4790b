//! Service tokens that were looked up a moment ago, and texts that are none.

use std::sync::Arc;

use async_trait::async_trait;
use portal_authz::action::LookUpCredential;
use portal_authz::{Authorized, Platform};
use portal_kernel::{Change, ChangeFeed, Clock, ServiceTokenId, StoreError};
use portal_memory::Remembered;

use crate::known::Known;
use crate::{Kid, ServiceCredentialReader, StoredServiceToken};

/// How many secrets are remembered at most: an installation has a handful of services, each with one secret or two.
const MOST_KNOWN: usize = 10_000;

/// A [`ServiceCredentialReader`] that remembers service tokens, and answers from memory while the change feed is current.
pub struct KnownServiceTokens {
    store: Arc<dyn ServiceCredentialReader>,
    tokens: Known<StoredServiceToken>,
}

impl Remembered for StoredServiceToken {
    type Key = Kid;
    type Topic = ServiceTokenId;

    fn topics(&self) -> Vec<ServiceTokenId> {
        vec![self.token.id]
    }

    fn topics_of(change: &Change) -> Vec<ServiceTokenId> {
        match change {
            Change::ServiceToken(token) => vec![*token],
            Change::User(_) | Change::Account(_) | Change::Key(_) | Change::Session(_) | Change::Tokens { .. } => {
                Vec::new()
            }
        }
    }
}

impl KnownServiceTokens {
    /// Nothing is remembered yet.
    pub fn new(store: Arc<dyn ServiceCredentialReader>, feed: Arc<dyn ChangeFeed>, clock: Arc<dyn Clock>) -> Self {
        Self { store, tokens: Known::new(feed, clock, MOST_KNOWN) }
    }
}

#[async_trait]
impl ServiceCredentialReader for KnownServiceTokens {
    async fn service_token(
        &self,
        cleared: &Authorized<LookUpCredential, Platform>,
        kid: Kid,
    ) -> Result<Option<Arc<StoredServiceToken>>, StoreError> {
        if let Some(known) = self.tokens.get(&kid) {
            return Ok(known);
        }
        let since = self.tokens.look_up();
        let found = self.store.service_token(cleared, kid).await?;
        self.tokens.remember(kid, found.as_ref(), since);
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
