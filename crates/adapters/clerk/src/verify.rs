//! Clerk's order of checks, which decides the error of a token with several faults.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, crypto};
use portal_identity::TokenType;
use portal_kernel::Clock;
use serde_json::Value;

use crate::cache::VerifiedSession;
use crate::claims::{self, How};
use crate::error::TokenVerificationError;
use crate::keys::{FoundKey, KeySource};
use crate::refresh::Payload;
use crate::rsa_key::VerificationKey;
use crate::stats::Counters;
use crate::token::DecodedToken;
use crate::{ClerkSettings, StrictChoices};

/// Why a token is not a session.
pub(crate) enum Refusal {
    /// It says itself that it is something else.
    AnotherClass {
        /// It has the category of machines' tokens.
        is_machine: bool,
    },
    /// It does not verify.
    Token(TokenVerificationError),
}

impl Refusal {
    /// For whoever asks about a token and not about a request.
    pub(crate) fn into_error(self) -> TokenVerificationError {
        match self {
            Self::AnotherClass { .. } => TokenVerificationError::category(),
            Self::Token(error) => error,
        }
    }
}

impl From<TokenVerificationError> for Refusal {
    fn from(error: TokenVerificationError) -> Self {
        Self::Token(error)
    }
}

/// Verifies session tokens of one instance.
pub(crate) struct Verifier {
    pub(crate) settings: Arc<ClerkSettings>,
    pub(crate) keys: KeySource,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
}

impl Verifier {
    /// Shape, class, key, `typ`, algorithm, signature, and only then the claims: an unsigned token learns nothing about
    /// the configuration.
    pub(crate) async fn verify(&self, token: &str, how: How) -> Result<VerifiedSession, Refusal> {
        let choices = self.settings.choices();
        let token = DecodedToken::read(token, choices)?;
        let (another_class, is_machine) = (token.is_of_another_class(), token.has_machine_category());
        if another_class && (is_machine || !how.any_class) {
            return Err(Refusal::AnotherClass { is_machine });
        }
        if token.header_is_null {
            return Err(TokenVerificationError::decoding().without_name().into());
        }
        let found = self.signer(&token, TokenType::SessionToken).await?;
        if token.claims_are_null {
            return Err(TokenVerificationError::decoding().without_name().into());
        }
        let checked = claims::check(&token.claims, &self.settings, self.clock.now().unix_millis(), how)?;
        Ok(VerifiedSession {
            auth: Arc::new(checked.auth),
            window: checked.window,
            cookie_only: checked.cookie_only,
            another_class,
            key: found.key,
            key_usable_until: found.usable_until,
        })
    }

    /// The cookies in a handshake token. Its age is not checked: it came by way of the browser a moment ago or not at all.
    pub(crate) async fn handshake(&self, token: &str) -> Result<Payload, TokenVerificationError> {
        let choices = self.settings.choices();
        let token = DecodedToken::read(token, choices)?;
        if token.header_is_null {
            return Err(TokenVerificationError::decoding().without_name());
        }
        let found = self.keys.find(token.kid(self.settings.choices()).as_deref()).await?;
        header_type(&token)?;
        let algorithm = algorithm(&token, choices)?;
        if token.has_foreign_category() {
            return Err(TokenVerificationError::handshake_category());
        }
        self.signed_by(&token, algorithm, found).await?;
        let Some(Value::Array(list)) = token.claims.get("handshake") else {
            return Ok(Payload::Directives(Vec::new()));
        };
        let directives: Option<Vec<_>> = list.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        Ok(directives.map_or(Payload::Unusable, Payload::Directives))
    }

    /// Everything between the class of a token and its claims: the key that signed it.
    pub(crate) async fn signer(
        &self,
        token: &DecodedToken<'_>,
        class: TokenType,
    ) -> Result<FoundKey, TokenVerificationError> {
        let found = self.keys.find(token.kid(self.settings.choices()).as_deref()).await?;
        // Access tokens have a `typ` of their own, by which they were recognised.
        if class != TokenType::OauthToken {
            header_type(token)?;
        }
        let algorithm = algorithm(token, self.settings.choices())?;
        self.signed_by(token, algorithm, found).await
    }

    /// The key that signed the token: the one at hand, or the one that took its place.
    async fn signed_by(
        &self,
        token: &DecodedToken<'_>,
        algorithm: Algorithm,
        found: FoundKey,
    ) -> Result<FoundKey, TokenVerificationError> {
        if self.fits(token, &found.key, algorithm)? {
            return Ok(found);
        }
        match self.keys.replacement(token.kid(self.settings.choices()).as_deref(), &found.key).await {
            Some(newer) if self.fits(token, &newer.key, algorithm)? => Ok(newer),
            _ => Err(TokenVerificationError::signature()),
        }
    }

    fn fits(
        &self,
        token: &DecodedToken<'_>,
        key: &VerificationKey,
        algorithm: Algorithm,
    ) -> Result<bool, TokenVerificationError> {
        let decoding = key.decoding(algorithm).ok_or_else(TokenVerificationError::signature_check)?;
        self.counters.signature_checks();
        crypto::verify(token.signature, token.signed, decoding, algorithm)
            .map_err(|_| TokenVerificationError::signature_check())
    }
}

fn header_type(token: &DecodedToken<'_>) -> Result<(), TokenVerificationError> {
    match token.header.get("typ") {
        None => Ok(()),
        Some(Value::String(typ)) if typ == "JWT" => Ok(()),
        typ => Err(TokenVerificationError::header_type(typ)),
    }
}

fn algorithm(token: &DecodedToken<'_>, choices: &StrictChoices) -> Result<Algorithm, TokenVerificationError> {
    let alg = token.header.get("alg");
    let algorithm = match (alg.and_then(Value::as_str), choices.rs256_only) {
        (Some("RS256"), _) => Algorithm::RS256,
        (Some("RS384"), false) => Algorithm::RS384,
        (Some("RS512"), false) => Algorithm::RS512,
        (_, rs256_only) => {
            let supported = if rs256_only { "RS256" } else { "RS256,RS384,RS512" };
            return Err(TokenVerificationError::algorithm(alg, supported));
        }
    };
    if choices.reject_unknown_crit && token.header.contains_key("crit") {
        return Err(TokenVerificationError::critical_header());
    }
    Ok(algorithm)
}
