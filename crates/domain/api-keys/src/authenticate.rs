//! A presented service token becomes a principal. Of a token that makes none it is not told why.

use portal_authz::{Denied, Principal, ServicePrincipal};
use portal_kernel::StoreError;

use crate::credential::{SERVICE_PREFIX, read};
use crate::verify::look_up;
use crate::{Digest, PepperVersion, ServiceToken, Verifier};

/// A service token as stored, with the digest of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredServiceToken {
    /// The token.
    pub token: ServiceToken,
    /// Proves knowledge of the secret.
    pub digest: Digest,
    /// Made with this pepper.
    pub pepper_version: PepperVersion,
}

/// Why a presented service token makes no principal.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// Not a token, an unknown, a wrong or a revoked one. Which one is not told.
    #[error("the service token is not valid")]
    Invalid,
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed. Never an answer about the token.
    #[error("the service token could not be looked up")]
    Store(#[from] StoreError),
}

impl Verifier {
    /// The service behind a presented token.
    pub async fn authenticate_service(&self, presented: &str) -> Result<Principal, AuthenticateError> {
        let kid = read(SERVICE_PREFIX, presented).ok_or(AuthenticateError::Invalid)?;
        let Some(stored) = self.reader.service_token(&look_up()?, kid).await? else {
            self.peppers.match_nothing(presented);
            return Err(AuthenticateError::Invalid);
        };
        if !self.peppers.matches(presented, stored.pepper_version, &stored.digest) || stored.token.revoked_at.is_some()
        {
            return Err(AuthenticateError::Invalid);
        }
        let ServiceToken { id, name, scopes, .. } = stored.token;
        Ok(Principal::Service(ServicePrincipal { token: id, name: name.to_string(), scopes }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_authz::{Scope, Scopes};
    use portal_kernel::{Clock, ExposeSecret};
    use portal_testkit::{CountingEntropy, FixedClock};

    use super::*;
    use crate::credential::mint;
    use crate::testing::peppers;
    use crate::{Brand, MockCredentialReader, ServiceName};

    #[tokio::test]
    async fn a_service_token_makes_a_service_unless_it_is_wrong_or_revoked() {
        let minted = mint(SERVICE_PREFIX, &CountingEntropy::default());
        let (pepper_version, digest) = peppers().digest(&minted.text);
        let token = ServiceToken {
            id: "svc_00000000000000000000000001".parse().unwrap(),
            name: ServiceName::parse("gateway").unwrap(),
            scopes: Scopes::from_iter([Scope::KeysVerify]),
            kid: minted.kid,
            created_at: FixedClock::default().now(),
            revoked_at: None,
        };
        let live = StoredServiceToken { token: token.clone(), digest, pepper_version };
        let revoked = StoredServiceToken {
            token: ServiceToken { revoked_at: Some(FixedClock::default().now()), ..token },
            ..live.clone()
        };
        let (_, foreign) = peppers().digest(&"another text".into());
        let wrong = StoredServiceToken { digest: foreign, ..live.clone() };
        for (found, accepted) in [(Some(live), true), (Some(revoked), false), (Some(wrong), false), (None, false)] {
            let mut reader = MockCredentialReader::new();
            reader.expect_service_token().returning(move |_, _| Ok(found.clone()));
            let verifier = Verifier {
                reader: Arc::new(reader),
                peppers: Arc::new(peppers()),
                brand: Brand::default(),
                clock: Arc::new(FixedClock::default()),
            };
            let outcome = verifier.authenticate_service(minted.text.expose_secret()).await;
            assert_eq!(outcome.is_ok(), accepted);
        }
    }
}
