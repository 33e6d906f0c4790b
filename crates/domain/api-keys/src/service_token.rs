//! Credentials of trusted internal services: named, scoped, stored as digests. Managed by operators at the command line only.

use std::fmt;
use std::sync::Arc;

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::action::ManageServiceTokens;
use portal_authz::{Authorized, Denied, Platform, Scopes, Unchecked};
use portal_kernel::{Change, Clock, Entropy, IdGen, SecretString, ServiceTokenId, StoreError, Timestamp, finish};

use crate::credential::{SERVICE_PREFIX, mint};
use crate::ports::{ApiKeysStore, ApiKeysTx, ServiceTokenReader};
use crate::{Digest, KeySecret, KeySecrets, Networks, NewSecret, Overlap, PepperVersion, Peppers, Rotation};

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
    /// Its name, unique among those that were not revoked.
    pub name: ServiceName,
    /// What it allows.
    pub scopes: Scopes,
    /// From where it can be used.
    pub networks: Networks,
    /// Its secrets.
    pub secrets: KeySecrets,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was ended; final.
    pub revoked_at: Option<Timestamp>,
}

/// What becomes of a service token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceTokenState {
    /// It can be used, by its newest secret.
    Live,
    /// It can be used, by the secret before as well.
    Rotating,
    /// Its time is over.
    Expired,
    /// It was ended for good.
    Revoked,
}

impl ServiceTokenState {
    /// The text in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Rotating => "rotating",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether it cannot be used any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked)
    }
}

impl ServiceToken {
    /// What can be done with it now.
    pub fn state(&self, now: Timestamp) -> ServiceTokenState {
        let previous = self.secrets.previous.as_ref();
        if self.revoked_at.is_some() {
            ServiceTokenState::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            ServiceTokenState::Expired
        } else if previous.is_some_and(|secret| secret.is_live(now)) {
            ServiceTokenState::Rotating
        } else {
            ServiceTokenState::Live
        }
    }

    /// With a new secret; the one before goes on for the overlap.
    #[must_use]
    pub fn rotated(self, rotation: &Rotation) -> Self {
        Self { secrets: self.secrets.rotated(rotation), ..self }
    }
}

/// What a new token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTokenDraft {
    /// Its name.
    pub name: ServiceName,
    /// What it allows.
    pub scopes: Scopes,
    /// From where it can be used.
    pub networks: Networks,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A token as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedServiceToken {
    /// The token.
    pub token: ServiceToken,
    /// When it was last used; up to a minute behind.
    pub last_used_at: Option<Timestamp>,
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

/// Why a token was not made, rotated, revoked or listed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceTokenError {
    /// A token without scopes would be good for nothing.
    #[error("a service token needs at least one scope")]
    NoScope,
    /// It would end before it begins.
    #[error("a service token ends after it was made")]
    AlreadyOver,
    /// A token that was not revoked has that name.
    #[error("a service token has that name; revoke it first or choose another name")]
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
        draft: ServiceTokenDraft,
    ) -> Result<(ServiceToken, SecretString), ServiceTokenError> {
        let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&who.principal)?;
        let ServiceTokenDraft { name, scopes, networks, expires_at } = draft;
        let created_at = self.clock.now();
        if scopes.is_empty() {
            return Err(ServiceTokenError::NoScope);
        }
        if expires_at.is_some_and(|end| end <= created_at) {
            return Err(ServiceTokenError::AlreadyOver);
        }
        let (NewSecret { kid, digest, pepper_version }, text) = self.new_secret();
        let secrets = KeySecrets::first(KeySecret { kid, created_at, expires_at: None, revoked_at: None });
        let id = self.ids.make();
        let token = ServiceToken { id, name, scopes, networks, secrets, created_at, expires_at, revoked_at: None };
        let new = NewServiceToken { token: token.clone(), digest, pepper_version };
        let mut tx = self.store.begin().await?;
        let outcome = self.create_in(&mut *tx, who, &cleared, new).await;
        finish(tx, outcome).await?;
        Ok((token, text))
    }

    async fn create_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        cleared: &Cleared,
        new: NewServiceToken,
    ) -> Result<(), ServiceTokenError> {
        let id = new.token.id;
        if !tx.service_tokens().insert(cleared, new).await? {
            return Err(ServiceTokenError::NameTaken);
        }
        Ok(self.tell(tx, who, id, AuditAction::ServiceTokenCreated).await?)
    }

    /// Gives the live token of that name a new secret and returns the text, which is not kept. The secret before it goes on for the
    /// overlap, and one before that ends: never more than two are live.
    pub async fn rotate(
        &self,
        who: &Caller,
        name: ServiceName,
        overlap: Overlap,
    ) -> Result<(ServiceToken, SecretString), ServiceTokenError> {
        let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&who.principal)?;
        let (secret, text) = self.new_secret();
        let rotation = Rotation { secret, at: self.clock.now(), overlap };
        let mut tx = self.store.begin().await?;
        let outcome = self.rotate_in(&mut *tx, who, &cleared, name, rotation).await;
        Ok((finish(tx, outcome).await?, text))
    }

    async fn rotate_in(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        cleared: &Cleared,
        name: ServiceName,
        rotation: Rotation,
    ) -> Result<ServiceToken, ServiceTokenError> {
        let rotated = tx.service_tokens().rotate(cleared, name, rotation).await?;
        let token = rotated.ok_or(ServiceTokenError::NotFound)?;
        self.tell(tx, who, token.id, AuditAction::ServiceTokenRotated).await?;
        Ok(token)
    }

    /// Ends the token of that name, with all of its secrets.
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
        self.tell(tx, who, token.id, AuditAction::ServiceTokenRevoked).await?;
        Ok(token)
    }

    /// All tokens, revoked ones included.
    pub async fn list(&self, who: &Caller) -> Result<Vec<ListedServiceToken>, ServiceTokenError> {
        let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&who.principal)?;
        Ok(self.reader.all(&cleared).await?)
    }

    fn new_secret(&self) -> (NewSecret, SecretString) {
        let minted = mint(SERVICE_PREFIX, &*self.entropy);
        let (pepper_version, digest) = self.peppers.digest(&minted.text);
        (NewSecret { kid: minted.kid, digest, pepper_version }, minted.text)
    }

    /// Writes down what was done, for the trail and for the other replicas.
    async fn tell(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        id: ServiceTokenId,
        action: AuditAction,
    ) -> Result<(), StoreError> {
        let source = (&*self.ids, &*self.clock);
        tx.audit().record(AuditRecord::now(source, who, None, action, Subject::ServiceToken(id))).await?;
        tx.changes().changed(Change::ServiceToken(id)).await
    }
}

#[cfg(test)]
mod tests;
