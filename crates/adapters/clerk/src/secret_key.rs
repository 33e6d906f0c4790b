//! The secret keys, which open the Backend API: one of the instance, one of a machine.

use std::fmt;

use portal_kernel::{ExposeSecret, SecretString};

use crate::InstanceType;

/// The text is not a secret key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a secret key; copy it from Clerk's dashboard: sk_live_… or sk_test_…")]
pub struct InvalidSecretKey;

/// `sk_test_…` or `sk_live_…`. Never printed.
#[derive(Clone)]
pub struct SecretKey {
    text: SecretString,
    instance_type: InstanceType,
}

impl SecretKey {
    /// Accepts the two prefixes and their older forms `test_` and `live_`, without the white space around the key.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidSecretKey> {
        let text = text.expose_secret().trim();
        let (instance_type, body) =
            if let Some(body) = text.strip_prefix("sk_live_").or_else(|| text.strip_prefix("live_")) {
                (InstanceType::Production, body)
            } else if let Some(body) = text.strip_prefix("sk_test_").or_else(|| text.strip_prefix("test_")) {
                (InstanceType::Development, body)
            } else {
                return Err(InvalidSecretKey);
            };
        // The key becomes a header value.
        if body.is_empty() || !body.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(InvalidSecretKey);
        }
        Ok(Self { text: SecretString::from(text), instance_type })
    }

    /// Development or production.
    pub fn instance_type(&self) -> InstanceType {
        self.instance_type
    }
}

impl ExposeSecret<str> for SecretKey {
    fn expose_secret(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("instance_type", &self.instance_type).finish_non_exhaustive()
    }
}

/// The text is not a machine secret key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a machine secret key; copy it from the machine in Clerk's dashboard: ak_…")]
pub struct InvalidMachineSecretKey;

/// `ak_…`: this service as a machine, which asks about tokens that were granted to it. Never printed.
#[derive(Clone)]
pub struct MachineSecretKey(SecretString);

impl MachineSecretKey {
    /// Accepts the prefix and printable characters, without the white space around the key.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidMachineSecretKey> {
        let text = text.expose_secret().trim();
        let body = text.strip_prefix("ak_").unwrap_or_default();
        // The key becomes a header value.
        let clean = !body.is_empty() && body.bytes().all(|c| c.is_ascii_graphic());
        if clean { Ok(Self(SecretString::from(text))) } else { Err(InvalidMachineSecretKey) }
    }
}

impl ExposeSecret<str> for MachineSecretKey {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for MachineSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineSecretKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SecretKey, InvalidSecretKey> {
        SecretKey::parse(&SecretString::from(text))
    }

    #[test]
    fn a_key_knows_its_instance_and_never_shows_itself() {
        for (text, instance_type) in [
            ("sk_test_s3cret", InstanceType::Development),
            ("sk_live_s3cret", InstanceType::Production),
            ("test_s3cret", InstanceType::Development),
            (" live_s3cret\n", InstanceType::Production),
        ] {
            let key = parse(text).unwrap();
            assert_eq!(key.instance_type(), instance_type);
            assert_eq!(key.expose_secret(), text.trim());
            assert!(!format!("{key:?}").contains("s3cret"));
        }
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        for text in
            ["", "sk_test_", "pk_test_s3cret", "s3cret", "sk_test_s3 cret", "sk_test_s3\r\ncret", "SK_TEST_s3cret"]
        {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{text:?}");
        }
    }

    #[test]
    fn a_machine_secret_key_has_its_prefix_and_never_shows_itself() {
        let parse = |text: &str| MachineSecretKey::parse(&SecretString::from(text));
        let key = parse(" ak_s3cret\n").unwrap();
        assert_eq!(key.expose_secret(), "ak_s3cret");
        assert!(!format!("{key:?}").contains("s3cret"));
        for text in ["", "ak_", "sk_test_s3cret", "AK_s3cret", "s3cret", "ak_s3 cret", "ak_s3\r\ncret", "ak_s3crét"] {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{text:?}");
        }
    }
}
