//! Private parsers, opened to the fuzz targets in `fuzz/`. No part of the API: it may change in any release.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use portal_identity::{ActiveOrganization, RequestParts, SessionAuth};
use serde_json::{Map, Value};

use crate::bearer;
use crate::claims::{self, How};
use crate::cookies::Cookies;
use crate::error::{TokenCarrier, TokenVerificationError};
use crate::http::Answer;
use crate::jwks_document;
use crate::organization;
use crate::rsa_key::VerificationKey;
use crate::token::DecodedToken;
use crate::{ClerkSettings, StrictChoices};

/// A cookie by its name, of these lines of the header.
pub fn cookie(lines: &[&str], name: &str) -> Option<String> {
    Cookies::read(lines.iter().copied()).get(name).map(Into::into)
}

/// A cookie by its name and the suffix of one instance.
pub fn suffixed_cookie(lines: &[&str], name: &str, suffix: &str) -> Option<String> {
    Cookies::read(lines.iter().copied()).get_suffixed(name, suffix).map(Into::into)
}

/// The token in the header `Authorization`.
pub fn bearer(request: &RequestParts<'_>, rfc_bearer: bool) -> Option<String> {
    bearer::token_in_header(request, rfc_bearer).map(Into::into)
}

/// A token taken apart.
pub struct Parts<'t> {
    /// The first part, read.
    pub header: Map<String, Value>,
    /// The second part, read.
    pub claims: Map<String, Value>,
    /// What the signature covers.
    pub signed: &'t [u8],
    /// The third part, without padding.
    pub signature: &'t str,
}

/// Takes a token apart; verifies nothing.
pub fn split<'t>(token: &'t str, choices: &StrictChoices) -> Result<Parts<'t>, TokenVerificationError> {
    let DecodedToken { header, claims, signed, signature, .. } = DecodedToken::read(token, choices)?;
    Ok(Parts { header, claims, signed, signature })
}

/// Checks claims as if their signature had been verified.
pub fn check_claims(
    claims: &Map<String, Value>,
    settings: &ClerkSettings,
    carrier: TokenCarrier,
    now_ms: i64,
) -> Result<SessionAuth, TokenVerificationError> {
    claims::check(claims, settings, now_ms, How::new(carrier, settings)).map(|checked| checked.auth)
}

/// The organization of claims.
pub fn active_organization(claims: &Map<String, Value>, choices: &StrictChoices) -> Option<ActiveOrganization> {
    organization::read(claims, choices)
}

/// A signing key that a document lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedKey {
    /// Its id.
    pub kid: String,
    /// The modulus without leading zeros.
    pub n: Vec<u8>,
    /// The exponent without leading zeros.
    pub e: Vec<u8>,
}

/// The usable keys of a document in strict, sorted; none if it has none.
pub fn signing_keys(document: &[u8]) -> Vec<ListedKey> {
    let answer = Answer { status: 200, date: None, retry_after: None, declares_json: true, body: document.to_vec() };
    let Ok(document) = jwks_document::read(&answer, true) else { return Vec::new() };
    let listed = |(kid, key): (Box<str>, Arc<VerificationKey>)| match key
        .decoding(Algorithm::RS256)
        .map(DecodingKey::kind)
    {
        Some(DecodingKeyKind::RsaModulusExponent { n, e }) => ListedKey { kid: kid.into(), n: n.clone(), e: e.clone() },
        Some(DecodingKeyKind::SecretOrDer(_)) | None => unreachable!("keys of strict are made from their numbers"),
    };
    let mut keys: Vec<_> = document.keys.into_iter().map(listed).collect();
    keys.sort();
    keys
}
