//! A presented service token becomes a principal. Of a token that makes none the caller is not told why; the log is.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use portal_authz::{Denied, Principal, ServicePrincipal};
use portal_kernel::{Clock, ServiceTokenId, StoreError, Timestamp};

use crate::credential::{SERVICE_PREFIX, read};
use crate::verify::look_up;
use crate::{
    Digest, Kid, LastUsed, LegacyToken, PepperVersion, Peppers, ServiceCredentialReader, ServiceName, ServiceToken,
};

/// A service token as stored, with the digest of one of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredServiceToken {
    /// The token.
    pub token: ServiceToken,
    /// Proves knowledge of the secret.
    pub digest: Digest,
    /// Made with this pepper.
    pub pepper_version: PepperVersion,
    /// When this secret ends by itself.
    pub secret_expires_at: Option<Timestamp>,
}

impl StoredServiceToken {
    /// Whether who knows the secret may use it from there. What only the holder can have caused is looked at last.
    fn judge(&self, secret_matches: bool, address: Option<IpAddr>, now: Timestamp) -> Result<(), ServiceRefusal> {
        let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        let networks = &self.token.networks;
        if !secret_matches {
            Err(ServiceRefusal::WrongSecret)
        } else if self.token.revoked_at.is_some() {
            Err(ServiceRefusal::Revoked)
        } else if over(self.token.expires_at) {
            Err(ServiceRefusal::Expired)
        } else if over(self.secret_expires_at) {
            Err(ServiceRefusal::SecretReplaced)
        } else if !networks.is_empty() && !address.is_some_and(|address| networks.allows(address)) {
            Err(ServiceRefusal::NetworkNotAllowed)
        } else {
            Ok(())
        }
    }
}

/// What is wrong with a presented service token. For the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceRefusal {
    /// The text is none.
    Malformed,
    /// None has that kid.
    Unknown,
    /// One has that kid, and another secret.
    WrongSecret,
    /// An operator ended it.
    Revoked,
    /// Its time is over.
    Expired,
    /// It was rotated, and the time of this secret is over.
    SecretReplaced,
    /// It cannot be used from there.
    NetworkNotAllowed,
}

impl ServiceRefusal {
    /// The text in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::WrongSecret => "wrong_secret",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::SecretReplaced => "secret_replaced",
            Self::NetworkNotAllowed => "network_not_allowed",
        }
    }
}

/// A refusal, with what is known of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRefused {
    /// Why.
    pub why: ServiceRefusal,
    /// The public part of what was presented.
    pub kid: Option<Kid>,
    /// Whose it is, once the secret matched.
    pub name: Option<ServiceName>,
}

impl fmt::Display for ServiceRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.as_str())
    }
}

/// Why a presented service token makes no principal.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// Not a token, or one that does not count. Which one is not told.
    #[error("the service token is not valid")]
    Invalid(ServiceRefused),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed. Never an answer about the token.
    #[error("the service token could not be looked up")]
    Store(#[from] StoreError),
}

/// Judges presented service tokens.
pub struct Services {
    /// Finds records.
    pub reader: Arc<dyn ServiceCredentialReader>,
    /// Compares digests.
    pub peppers: Arc<Peppers>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where uses are noted.
    pub last_used: Arc<LastUsed<ServiceTokenId>>,
    /// What is accepted besides, where it is.
    pub legacy: Option<LegacyToken>,
}

impl Services {
    /// Whether the text would be compared with the legacy token: it may be guessed, so whoever asks counts it first.
    pub fn may_be_legacy(&self, presented: &str) -> bool {
        self.legacy.is_some() && !presented.starts_with(SERVICE_PREFIX)
    }

    /// The service behind a token that was presented from an address. Where the address is not known, only a token that may be used from
    /// everywhere counts.
    pub async fn authenticate(&self, presented: &str, address: Option<IpAddr>) -> Result<Principal, AuthenticateError> {
        let refused = |why, kid, name| Err(AuthenticateError::Invalid(ServiceRefused { why, kid, name }));
        if let Some(legacy) = self.legacy.as_ref().filter(|_| self.may_be_legacy(presented))
            && let Some(service) = legacy.authenticate(presented)
        {
            return Ok(Principal::Service(service));
        }
        let Some(kid) = read(SERVICE_PREFIX, presented) else {
            return refused(ServiceRefusal::Malformed, None, None);
        };
        let Some(stored) = self.reader.service_token(&look_up()?, kid).await? else {
            self.peppers.match_nothing(presented);
            return refused(ServiceRefusal::Unknown, Some(kid), None);
        };
        let matches = self.peppers.matches(presented, stored.pepper_version, &stored.digest);
        let now = self.clock.now();
        if let Err(why) = stored.judge(matches, address, now) {
            return refused(why, Some(kid), matches.then(|| stored.token.name.clone()));
        }
        self.last_used.note(stored.token.id, now);
        let ServiceToken { id, name, scopes, .. } = &stored.token;
        Ok(Principal::Service(ServicePrincipal { token: Some(*id), name: name.to_string(), scopes: scopes.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portal_kernel::ExposeSecret;
    use portal_testkit::{CountingEntropy, FixedClock};

    use super::*;
    use crate::credential::{Minted, mint};
    use crate::testing::{peppers, service_token};
    use crate::{MockServiceCredentialReader, Networks};

    const INSIDE: &str = "10.1.2.3";

    fn minted() -> Minted {
        mint(SERVICE_PREFIX, &CountingEntropy::default())
    }

    fn stored() -> StoredServiceToken {
        let (pepper_version, digest) = peppers().digest(&minted().text);
        let networks = Networks::parse(["10.0.0.0/8"]).unwrap();
        let token = ServiceToken { networks, ..service_token() };
        StoredServiceToken { token, digest, pepper_version, secret_expires_at: None }
    }

    async fn present(
        found: Option<StoredServiceToken>,
        text: &str,
        address: Option<&str>,
    ) -> Result<Principal, ServiceRefused> {
        let mut reader = MockServiceCredentialReader::new();
        let found = found.map(Arc::new);
        reader.expect_service_token().returning(move |_, _| Ok(found.clone()));
        let services = Services {
            reader: Arc::new(reader),
            peppers: Arc::new(peppers()),
            clock: Arc::new(FixedClock::default()),
            last_used: Arc::default(),
            legacy: None,
        };
        let address = address.map(|address| address.parse().unwrap());
        services.authenticate(text, address).await.map_err(|error| match error {
            AuthenticateError::Invalid(refused) => refused,
            other => panic!("{other}"),
        })
    }

    #[tokio::test]
    async fn a_service_token_makes_a_service_until_its_last_moment() {
        let end = Some(FixedClock::default().now().plus(Duration::from_micros(1)));
        let ending = StoredServiceToken { secret_expires_at: end, ..stored() };
        let ending = StoredServiceToken { token: ServiceToken { expires_at: end, ..ending.token.clone() }, ..ending };
        for found in [stored(), ending] {
            let who = present(Some(found), minted().text.expose_secret(), Some(INSIDE)).await.unwrap();
            let ServiceToken { id, name, scopes, .. } = service_token();
            assert_eq!(who, Principal::Service(ServicePrincipal { token: Some(id), name: name.to_string(), scopes }));
        }
    }

    #[tokio::test]
    async fn why_a_token_is_refused_is_known_here_and_whose_it_is_only_if_the_secret_matched() {
        let now = Some(FixedClock::default().now());
        let with = |change: &dyn Fn(&mut StoredServiceToken)| {
            let mut changed = stored();
            change(&mut changed);
            Some(changed)
        };
        let (_, foreign) = peppers().digest(&"another text".into());
        let known = Some(service_token().name);
        for (found, address, why, name) in [
            (None, Some(INSIDE), ServiceRefusal::Unknown, None),
            (with(&|it| it.digest = foreign), Some(INSIDE), ServiceRefusal::WrongSecret, None),
            (with(&|it| it.token.revoked_at = now), Some(INSIDE), ServiceRefusal::Revoked, known.clone()),
            (with(&|it| it.token.expires_at = now), Some(INSIDE), ServiceRefusal::Expired, known.clone()),
            (with(&|it| it.secret_expires_at = now), Some(INSIDE), ServiceRefusal::SecretReplaced, known.clone()),
            (Some(stored()), Some("192.0.2.1"), ServiceRefusal::NetworkNotAllowed, known.clone()),
            (Some(stored()), None, ServiceRefusal::NetworkNotAllowed, known),
        ] {
            let refused = present(found, minted().text.expose_secret(), address).await;
            assert_eq!(refused, Err(ServiceRefused { why, kid: Some(minted().kid), name }));
        }
    }

    #[tokio::test]
    async fn a_text_that_is_no_token_is_not_looked_up() {
        for text in
            ["", "nonsense", "portal_svc_", minted().text.expose_secret().trim_end_matches(char::is_alphanumeric)]
        {
            let refused = present(None, text, Some(INSIDE)).await;
            assert_eq!(refused, Err(ServiceRefused { why: ServiceRefusal::Malformed, kid: None, name: None }));
        }
    }
}
