//! The publishable key: which instance this is, and where its Frontend API lives.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};
use url::Url;

/// The dashboard writes keys without padding; padded spellings occur.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of a cookie suffix.
const SUFFIX_LENGTH: usize = 8;

/// Development or production; keys of the two never work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceType {
    /// `pk_test_`, `sk_test_`
    Development,
    /// `pk_live_`, `sk_live_`
    Production,
}

impl fmt::Display for InstanceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Production => "production",
        })
    }
}

/// The text is not a publishable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a publishable key; copy it from Clerk's dashboard: pk_live_… or pk_test_…")]
pub struct InvalidPublishableKey;

/// `pk_test_…` or `pk_live_…`, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishableKey {
    text: String,
    instance_type: InstanceType,
    frontend_host: String,
    cookie_suffix: String,
}

impl PublishableKey {
    /// Accepts what Clerk's SDK accepts, without the white space around it, as long as the part inside is a host name.
    pub fn parse(text: &str) -> Result<Self, InvalidPublishableKey> {
        let text = text.trim();
        let (instance_type, encoded) = if let Some(encoded) = text.strip_prefix("pk_live_") {
            (InstanceType::Production, encoded)
        } else if let Some(encoded) = text.strip_prefix("pk_test_") {
            (InstanceType::Development, encoded)
        } else {
            return Err(InvalidPublishableKey);
        };
        let decoded = BASE64.decode(encoded).map_err(|_| InvalidPublishableKey)?;
        let decoded = String::from_utf8(decoded).map_err(|_| InvalidPublishableKey)?;
        let host = decoded.strip_suffix('$').ok_or(InvalidPublishableKey)?;
        if !host.contains('.') || !is_host(host) {
            return Err(InvalidPublishableKey);
        }
        let mut cookie_suffix = URL_SAFE_NO_PAD.encode(Sha1::digest(text.as_bytes()));
        cookie_suffix.truncate(SUFFIX_LENGTH);
        Ok(Self { text: text.to_owned(), instance_type, frontend_host: host.to_owned(), cookie_suffix })
    }

    /// The key as configured; the names of Clerk's cookies depend on this very spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What follows the names of this instance's cookies after an underscore, where several instances share a domain. Made of the key
    /// as configured: a padded spelling has another one (`clerk.md` §3.2).
    pub fn cookie_suffix(&self) -> &str {
        &self.cookie_suffix
    }

    /// Development or production.
    pub fn instance_type(&self) -> InstanceType {
        self.instance_type
    }

    /// The host inside the key, for example `clerk.example.com`; it decides which issuer is ours.
    pub fn frontend_host(&self) -> &str {
        &self.frontend_host
    }
}

/// A host with an optional port and nothing else.
fn is_host(text: &str) -> bool {
    let plain = text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b':'));
    plain
        && Url::parse(&format!("https://{text}"))
            .is_ok_and(|url| url.host_str().is_some_and(|host| text.starts_with(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_name_their_instance() {
        for (text, instance_type, host) in [
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k", InstanceType::Production, "clerk.example.com"),
            ("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k", InstanceType::Development, "clerk.example.com"),
            (
                "pk_test_Zm9vLWJhci0xMy5jbGVyay5hY2NvdW50cy5kZXYk",
                InstanceType::Development,
                "foo-bar-13.clerk.accounts.dev",
            ),
            // A host of another length, with the padding and without it.
            ("pk_test_Y2xlcmsuZXhhbXBsZS5vcmdzJA==", InstanceType::Development, "clerk.example.orgs"),
            ("pk_test_Y2xlcmsuZXhhbXBsZS5vcmdzJA", InstanceType::Development, "clerk.example.orgs"),
            (" pk_live_Y2xlcmsuZXhhbXBsZS5jb20k\n", InstanceType::Production, "clerk.example.com"),
        ] {
            let key = PublishableKey::parse(text).unwrap();
            assert_eq!((key.instance_type(), key.frontend_host(), key.as_str()), (instance_type, host, text.trim()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let encode = |text: &str| format!("pk_test_{}", BASE64.encode(text));
        for text in [
            String::new(),
            "pk_test_".into(),
            "pk_prod_Y2xlcmsuZXhhbXBsZS5jb20k".into(),
            "sk_test_Y2xlcmsuZXhhbXBsZS5jb20k".into(),
            "Y2xlcmsuZXhhbXBsZS5jb20k".into(),
            "pk_test_Y2xlcmsu_ZXhhbXBsZS5jb20k".into(),
            "pk_test_!!!".into(),
            encode("clerk.example.com"),
            encode("clerk.example.com$$"),
            encode("clerk$example.com$"),
            encode("localhost$"),
            encode("clerk.example.com/path$"),
            encode("user@clerk.example.com$"),
            encode("clerk.example.com:port$"),
            encode("$"),
        ] {
            assert_eq!(PublishableKey::parse(&text), Err(InvalidPublishableKey), "{text}");
        }
    }
}
