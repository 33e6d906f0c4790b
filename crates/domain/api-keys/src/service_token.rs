//! Credentials of trusted internal services: named, scoped, stored as digests. Managed by operators at the command line only.

use std::fmt;
use std::sync::Arc;

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::action::ManageServiceTokens;
use portal_authz::{Authorized, Denied, Platform, Scopes, Unchecked};
use portal_kernel::{Clock, Entropy, IdGen, SecretString, ServiceTokenId, StoreError, Timestamp, finish};

use crate::credential::{SERVICE_PREFIX, mint};
use crate::ports::{ApiKeysStore, ApiKeysTx, ServiceTokenReader};
use crate::{Digest, Kid, PepperVersion, Peppers};

/// What operators call a token: 1 to 64 lower-case letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(String);

/// The text cannot name a service token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 64 lower-case letters, digits and hyphens")]
pub struct InvalidServiceName;

impl ServiceName {
    /// Checks the text.
    pub fn parse(text: &str) -> Result<Self, InvalidServiceName> {
        let clean = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if clean && (1..=64).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(InvalidServiceName) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A service token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceToken {
    /// Its id.
    pub id: ServiceTokenId,
    /// Its name, unique among live tokens.
    pub name: ServiceName,
    /// What it allows.
    pub scopes: Scopes,
    /// Public part of its text.
    pub kid: Kid,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was ended; final.
    pub revoked_at: Option<Timestamp>,
}

/// A token to store, with the digest of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewServiceToken {
    /// The token.
    pub token: ServiceToken,
    /// Proves knowledge of the secret.
    pub digest: Digest,
    /// Made with this pepper.
    pub pepper_version: PepperVersion,
}

/// Why a token was not made, revoked or listed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceTokenError {
    /// A token without scopes would be good for nothing.
    #[error("a service token needs at least one scope")]
    NoScope,
    /// A live token has that name.
    #[error("a live service token has that name; revoke it first or choose another name")]
    NameTaken,
    /// No live token has that name.
    #[error("no live service token has that name")]
    NotFound,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed; nothing changed.
    #[error("the service tokens could not be changed")]
    Store(#[from] StoreError),
}

/// The use cases of an operator.
pub struct ServiceTokens {
    /// Where transactions come from.
    pub store: Arc<ApiKeysStore>,
    /// Reads outside transactions.
    pub reader: Arc<dyn ServiceTokenReader>,
    /// Makes digests.
    pub peppers: Arc<Peppers>,
    /// New ids.
    pub ids: Arc<dyn IdGen>,
    /// New secrets.
    pub entropy: Arc<dyn Entropy>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

type Cleared = Authorized<ManageServiceTokens, Platform>;

impl ServiceTokens {
    /// Makes a token and returns its text, which is not kept.
    pub async fn create(
        &self,
        who: &Caller,
        name: ServiceName,
        scopes: Scopes,
    ) -> Result<(ServiceToken, SecretString), ServiceTokenError> {
        let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&who.principal)?;
        if scopes.is_empty() {
            return Err(ServiceTokenError::NoScope);
        }
        let minted = mint(SERVICE_PREFIX, &*self.entropy);
        let (pepper_version, digest) = self.peppers.digest(&minted.text);
        let token = ServiceToken {
            id: self.ids.make(),
            name,
            scopes,
            kid: minted.kid,
            created_at: self.clock.now(),
            revoked_at: None,
        };
        let new = NewServiceToken { token: token.clone(), digest, pepper_version };
        let mut tx = self.store.begin().await?;
        let outcome = self.create_in(&mut *tx, who, &cleared, new).await;
        finish(tx, outcome).await?;
        Ok((token, minted.text))
    }

    async fn create_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        cleared: &Cleared,
        new: NewServiceToken,
    ) -> Result<(), ServiceTokenError> {
        let subject = Subject::ServiceToken(new.token.id);
        if !tx.service_tokens().insert(cleared, new).await? {
            return Err(ServiceTokenError::NameTaken);
        }
        Ok(tx.audit().record(self.record(who, AuditAction::ServiceTokenCreated, subject)).await?)
    }

    /// Ends the live token of that name.
    pub async fn revoke(&self, who: &Caller, name: ServiceName) -> Result<ServiceToken, ServiceTokenError> {
        let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&who.principal)?;
        let mut tx = self.store.begin().await?;
        let outcome = self.revoke_in(&mut *tx, who, &cleared, name).await;
        finish(tx, outcome).await
    }

    async fn revoke_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        cleared: &Cleared,
        name: ServiceName,
    ) -> Result<ServiceToken, ServiceTokenError> {
        let revoked = tx.service_tokens().revoke(cleared, name, self.clock.now()).await?;
        let token = revoked.ok_or(ServiceTokenError::NotFound)?;
        let subject = Subject::ServiceToken(token.id);
        tx.audit().record(self.record(who, AuditAction::ServiceTokenRevoked, subject)).await?;
        Ok(token)
    }

    /// All tokens, revoked ones included.
    pub async fn list(&self, who: &Caller) -> Result<Vec<ServiceToken>, ServiceTokenError> {
        let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&who.principal)?;
        Ok(self.reader.all(&cleared).await?)
    }

    fn record(&self, who: &Caller, action: AuditAction, subject: Subject) -> AuditRecord {
        AuditRecord::now((&*self.ids, &*self.clock), who, None, action, subject)
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::{Role, Scope};
    use portal_kernel::ExposeSecret;

    use super::*;
    use crate::testing::{Ending, Fixture, MockApiKeysStore, member, operator};

    fn gateway() -> ServiceName {
        ServiceName::parse("gateway-1").unwrap()
    }

    fn scopes() -> Scopes {
        Scopes::from_iter([Scope::KeysVerify])
    }

    fn build(fixture: Fixture) -> (ServiceTokens, Arc<MockApiKeysStore>) {
        fixture.build_service_tokens()
    }

    #[test]
    fn names_are_plain() {
        for text in ["", "Gateway", "a b", "a_b", "é", &"a".repeat(65)] {
            assert_eq!(ServiceName::parse(text), Err(InvalidServiceName), "{text:?}");
        }
    }

    #[tokio::test]
    async fn an_operator_makes_a_token_and_it_is_recorded_for_the_platform() {
        let mut fixture = Fixture::default();
        fixture.tx.service_tokens.expect_insert().once().returning(|_, _| Ok(true));
        fixture
            .tx
            .audit
            .expect_record()
            .withf(|record| record.account.is_none() && record.provenance.reason.as_deref() == Some("new gateway"))
            .once()
            .returning(|_| Ok(()));
        let (tokens, store) = build(fixture);
        let who = operator(Some("new gateway".to_owned()));
        let (token, text) = tokens.create(&who, gateway(), scopes()).await.unwrap();
        assert_eq!(crate::credential::read(SERVICE_PREFIX, text.expose_secret()), Some(token.kid));
        assert_eq!(store.endings(), [Ending::Committed]);
    }

    #[tokio::test]
    async fn nobody_but_an_operator_makes_tokens() {
        let (tokens, store) = build(Fixture::default());
        let outcome = tokens.create(&member(Role::Owner), gateway(), scopes()).await;
        assert!(matches!(outcome, Err(ServiceTokenError::Denied(Denied::Forbidden))));
        assert_eq!(store.endings(), []);
    }

    #[tokio::test]
    async fn a_taken_name_and_an_empty_scope_list_are_refused() {
        let mut fixture = Fixture::default();
        fixture.tx.service_tokens.expect_insert().once().returning(|_, _| Ok(false));
        let (tokens, store) = build(fixture);
        let outcome = tokens.create(&operator(None), gateway(), Scopes::default()).await;
        assert!(matches!(outcome, Err(ServiceTokenError::NoScope)));
        let outcome = tokens.create(&operator(None), gateway(), scopes()).await;
        assert!(matches!(outcome, Err(ServiceTokenError::NameTaken)));
        assert_eq!(store.endings(), [Ending::RolledBack]);
    }
}
