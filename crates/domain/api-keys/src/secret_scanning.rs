//! Credentials that somebody published, as partners report who scan what is published.
//!
//! Whoever reports a key has its whole text, so the key ends itself, as it does for whoever finds it. Service tokens are told to operators: which
//! service stops is for them to decide.

use std::fmt::Write;
use std::sync::Arc;

use portal_audit::{Caller, Provenance};
use portal_authz::Denied;
use portal_kernel::{ExposeSecret, SecretString, StoreError};
use sha2::{Digest as _, Sha256};

use crate::credential::{SERVICE_PREFIX, read};
use crate::verify::look_up;
use crate::{ApiKeys, RevokeKeyError, ServiceName, Services, Verifier, VerifyError};

/// How many secrets are taken in at once.
pub const MOST_REPORTED: usize = 1_000;

/// Of what a partner says about the place, so much is kept.
const LONGEST_SOURCE: usize = 64;
const LONGEST_URL: usize = 400;

/// The public keys of partners.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
pub trait ReportSignatures: Send + Sync {
    /// Whether a key of that identifier is known.
    fn knows(&self, key: &str) -> bool;

    /// Whether the key of that identifier signed exactly these bytes.
    fn is_signed(&self, key: &str, signature: &str, body: &[u8]) -> bool;
}

/// A secret that a partner found.
#[derive(Debug, Clone, Copy)]
pub struct FoundSecret<'a> {
    /// The whole text.
    pub text: &'a SecretString,
    /// What kind of place it was found in, in the partner's words.
    pub source: &'a str,
    /// Where it was found; may be empty.
    pub url: &'a str,
}

impl FoundSecret<'_> {
    /// SHA-256 of the text in hexadecimal digits, by which a partner knows it again.
    pub fn hash(&self) -> String {
        let hash = Sha256::digest(self.text.expose_secret());
        hash.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// For the trail, whatever the partner sent.
    fn reason(&self) -> String {
        let clean =
            |text: &str, longest| -> String { text.chars().filter(char::is_ascii_graphic).take(longest).collect() };
        let (source, url) = (clean(self.source, LONGEST_SOURCE), clean(self.url, LONGEST_URL));
        let parts = ["published", &source, &url];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// What a reported text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// That of no credential of ours.
    Nothing,
    /// That of an API key, which has ended.
    Key,
    /// That of a service token of that name, which is as it was.
    ServiceToken(ServiceName),
}

/// Why a report was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("a reported secret could not be judged")]
    Store(#[from] StoreError),
}

impl From<VerifyError> for ReportError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Denied(denied) => Self::Denied(denied),
            VerifyError::Store(error) => Self::Store(error),
            VerifyError::TooMany => Self::Store(StoreError::Other(error.into())),
        }
    }
}

/// The use case, with what it needs.
pub struct SecretScanning {
    /// Who may report.
    pub signatures: Arc<dyn ReportSignatures>,
    /// Knows the texts of keys.
    pub verifier: Arc<Verifier>,
    /// Ends keys.
    pub keys: Arc<ApiKeys>,
    /// Knows the texts of service tokens.
    pub services: Arc<Services>,
}

impl SecretScanning {
    /// Ends the key of a reported text, unless that secret had ended before, and says what the text is. The report must be signed. Repeating it
    /// says the same and changes nothing more.
    pub async fn take_in(&self, found: FoundSecret<'_>, from: &Provenance) -> Result<Reported, ReportError> {
        let text = found.text.expose_secret();
        if let Some(holder) = self.verifier.holder(text).await? {
            if !holder.has_ended {
                let provenance = Provenance { reason: Some(found.reason()), ..from.clone() };
                let who = Caller { principal: holder.principal, provenance };
                match self.keys.revoke_own(Some(&who)).await {
                    Ok(()) | Err(RevokeKeyError::NotFound) => {}
                    Err(RevokeKeyError::Denied(denied)) => return Err(denied.into()),
                    Err(RevokeKeyError::Store(error)) => return Err(error.into()),
                }
            }
            return Ok(Reported::Key);
        }
        Ok(self.service_token(text).await?.map_or(Reported::Nothing, Reported::ServiceToken))
    }

    async fn service_token(&self, text: &str) -> Result<Option<ServiceName>, ReportError> {
        let Some(kid) = read(SERVICE_PREFIX, text) else { return Ok(None) };
        let Services { reader, peppers, .. } = &*self.services;
        let Some(stored) = reader.service_token(&look_up()?, kid).await? else {
            peppers.match_nothing(text);
            return Ok(None);
        };
        let is_it = peppers.matches(text, stored.pepper_version, &stored.digest);
        Ok(is_it.then(|| stored.token.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use portal_audit::AuditAction;
    use portal_authz::Unchecked;
    use portal_kernel::Clock;
    use portal_testkit::{CountingEntropy, FixedClock};

    use super::*;
    use crate::credential::mint;
    use crate::testing::{Ending, Fixture, MockApiKeysStore, key, minted, peppers, service_token, stored};
    use crate::{
        Brand, KeyRates, MockCredentialReader, MockReportSignatures, MockServiceCredentialReader, StoredKey,
        StoredServiceToken,
    };

    fn scanning(
        fixture: Fixture,
        found: Option<StoredKey>,
        token: Option<StoredServiceToken>,
    ) -> (SecretScanning, Arc<MockApiKeysStore>) {
        let (keys, store) = fixture.build();
        let (mut reader, mut tokens) = (MockCredentialReader::new(), MockServiceCredentialReader::new());
        let (found, token) = (found.map(Arc::new), token.map(Arc::new));
        reader.expect_key().returning(move |_, _| Ok(found.clone()));
        tokens.expect_service_token().returning(move |_, _| Ok(token.clone()));
        let (peppers, clock) = (Arc::new(peppers()), Arc::new(FixedClock::default()));
        let verifier = Verifier {
            reader: Arc::new(reader),
            peppers: peppers.clone(),
            brand: Brand::default(),
            rates: Arc::new(KeyRates::new(1)),
            newer_digests: Arc::default(),
            last_used: Arc::default(),
            clock: clock.clone(),
        };
        let services = Services { reader: Arc::new(tokens), peppers, clock, last_used: Arc::default(), legacy: None };
        let scanning = SecretScanning {
            signatures: Arc::new(MockReportSignatures::new()),
            verifier: Arc::new(verifier),
            keys: Arc::new(keys),
            services: Arc::new(services),
        };
        (scanning, store)
    }

    async fn take_in(scanning: &SecretScanning, text: &SecretString) -> Reported {
        let found = FoundSecret { text, source: "commit", url: "https://example.com/a b" };
        scanning.take_in(found, &Provenance::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_published_key_ends_and_the_trail_says_where_it_was() {
        let mut fixture = Fixture::default();
        fixture.tx.keys.expect_find().once().returning(|_| Ok(Some(Unchecked::new(key()))));
        fixture.tx.keys.expect_find_to_change().once().returning(|_| Ok(Some(Unchecked::new(key()))));
        fixture.tx.keys.expect_revoke().once().returning(|key, at| Ok(key.into_inner().revoked(at)));
        let says_where = |record: &portal_audit::AuditRecord| {
            record.action == AuditAction::ApiKeyRevoked
                && record.provenance.reason.as_deref() == Some("published commit https://example.com/ab")
        };
        fixture.tx.audit.expect_record().withf(says_where).once().returning(|_| Ok(()));
        let (scanning, store) = scanning(fixture, Some(stored()), None);
        assert_eq!(take_in(&scanning, &minted().text).await, Reported::Key);
        assert_eq!(store.endings(), [Ending::Committed]);
    }

    #[tokio::test]
    async fn a_secret_that_ended_before_is_ours_and_takes_nothing_with_it() {
        let now = FixedClock::default().now();
        for ended in [
            StoredKey { secret_revoked_at: Some(now), ..stored() },
            StoredKey { secret_expires_at: Some(now), ..stored() },
        ] {
            let (scanning, store) = scanning(Fixture::default(), Some(ended), None);
            assert_eq!(take_in(&scanning, &minted().text).await, Reported::Key);
            assert_eq!(store.endings(), []);
        }
    }

    #[tokio::test]
    async fn what_is_of_nobody_here_changes_nothing() {
        let (_, foreign) = peppers().digest(&"another text".into());
        for (found, text) in [
            (None, minted().text),
            (Some(StoredKey { digest: foreign, ..stored() }), minted().text),
            (Some(stored()), "noise".into()),
            (None, mint(SERVICE_PREFIX, &CountingEntropy::default()).text),
        ] {
            let (scanning, store) = scanning(Fixture::default(), found, None);
            assert_eq!(take_in(&scanning, &text).await, Reported::Nothing);
            assert_eq!(store.endings(), []);
        }
    }

    #[tokio::test]
    async fn a_service_token_is_told_and_goes_on() {
        let text = mint(SERVICE_PREFIX, &CountingEntropy::default()).text;
        let (pepper_version, digest) = peppers().digest(&text);
        let token = service_token();
        let name = token.name.clone();
        let stored = StoredServiceToken { token, digest, pepper_version, secret_expires_at: None };
        let (scanning, store) = scanning(Fixture::default(), None, Some(stored));
        assert_eq!(take_in(&scanning, &text).await, Reported::ServiceToken(name));
        assert_eq!(store.endings(), []);
    }

    #[test]
    fn a_text_is_known_again_by_its_hash() {
        // Computed with: printf abc | sha256sum
        let text = SecretString::from("abc");
        let hash = FoundSecret { text: &text, source: "", url: "" }.hash();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn of_what_a_partner_says_no_more_than_fits_is_kept() {
        let (text, long) = (SecretString::from("x"), "é\n\u{0}a".repeat(1_000));
        let found = FoundSecret { text: &text, source: &long, url: &long };
        let expected = format!("published {} {}", "a".repeat(LONGEST_SOURCE), "a".repeat(LONGEST_URL));
        assert_eq!(found.reason(), expected);
        assert_eq!(FoundSecret { text: &text, source: "npm", url: "" }.reason(), "published npm");
    }
}
