//! The one secret that internal services shared before each had a token of its own: accepted for a while, as a service of its own name.

use portal_authz::{Scopes, ServicePrincipal};
use portal_kernel::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::Brand;
use crate::credential::SERVICE_PREFIX;

/// Why the text cannot be the legacy token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLegacyToken {
    /// It could be guessed.
    #[error("has at least {} characters", LegacyToken::SHORTEST)]
    TooShort,
    /// It could not stand in a header.
    #[error("has visible ASCII characters only")]
    Characters,
    /// It begins like a key or token that is looked up.
    #[error("must be no key or token of this program: those are accepted without this setting")]
    NotLegacy,
    /// It would be good for nothing.
    #[error("needs at least one scope")]
    NoScope,
}

/// The legacy token, as its digest.
#[derive(Clone)]
pub struct LegacyToken {
    digest: [u8; 32],
    scopes: Scopes,
}

impl LegacyToken {
    /// What whoever presents it is called, in the log and in the audit trail. No service token has such a name.
    pub const NAME: &str = "legacy_token";
    /// The fewest characters.
    pub const SHORTEST: usize = 32;

    /// Checks the text, and keeps its digest.
    pub fn new(text: &SecretString, scopes: Scopes, brand: &Brand) -> Result<Self, InvalidLegacyToken> {
        let text = text.expose_secret();
        if text.len() < Self::SHORTEST {
            Err(InvalidLegacyToken::TooShort)
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(InvalidLegacyToken::Characters)
        } else if text.starts_with(SERVICE_PREFIX) || brand.is_of_a_key(text) {
            Err(InvalidLegacyToken::NotLegacy)
        } else if scopes.is_empty() {
            Err(InvalidLegacyToken::NoScope)
        } else {
            Ok(Self { digest: Sha256::digest(text).into(), scopes })
        }
    }

    /// What it allows.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The service that shows the token; none for any other text, which takes the same time.
    pub(crate) fn authenticate(&self, presented: &str) -> Option<ServicePrincipal> {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        let is_it: bool = presented.ct_eq(&self.digest).into();
        is_it.then(|| ServicePrincipal { token: None, name: Self::NAME.to_owned(), scopes: self.scopes.clone() })
    }
}

#[cfg(test)]
mod tests {
    use portal_authz::Scope;

    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    fn made(text: &str) -> Result<LegacyToken, InvalidLegacyToken> {
        LegacyToken::new(&text.into(), Scopes::from_iter([Scope::KeysVerify]), &Brand::default())
    }

    #[test]
    fn the_text_itself_makes_a_service_of_its_own_name_with_the_scopes() {
        let token = made(TEXT).unwrap();
        let service = token.authenticate(TEXT).unwrap();
        assert_eq!((service.token, service.name.as_str()), (None, "legacy_token"));
        assert_eq!(service.scopes, Scopes::from_iter([Scope::KeysVerify]));
        for other in ["", &TEXT[1..], &format!("{TEXT}0"), &TEXT.to_uppercase()] {
            assert_eq!(token.authenticate(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_can_be_guessed_sent_by_nobody_or_taken_for_another_credential_is_refused() {
        let padded = |text: &str| format!("{text}{TEXT}");
        for (text, why) in [
            (TEXT[1..].to_owned(), InvalidLegacyToken::TooShort),
            (padded(" "), InvalidLegacyToken::Characters),
            (padded("é"), InvalidLegacyToken::Characters),
            (padded("portal_svc_"), InvalidLegacyToken::NotLegacy),
            (padded("cort_live_"), InvalidLegacyToken::NotLegacy),
            (padded("cort_test_"), InvalidLegacyToken::NotLegacy),
        ] {
            assert_eq!(made(&text).err(), Some(why), "{text:?}");
        }
        let nothing = LegacyToken::new(&TEXT.into(), Scopes::default(), &Brand::default());
        assert_eq!(nothing.err(), Some(InvalidLegacyToken::NoScope));
    }

    #[test]
    fn no_service_token_has_its_name() {
        assert!(crate::ServiceName::parse(LegacyToken::NAME).is_err());
    }
}
