//! Real keys, made once for all tests, and tokens signed with them.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The moment at which the test clock starts.
pub(crate) const NOW: i64 = 1_767_225_600;
pub(crate) const KID: &str = "ins_test";
pub(crate) const PUBLISHABLE_KEY: &str = "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k";
pub(crate) const ISSUER: &str = "https://clerk.example.com";

/// The key of the instance, and one of somebody else.
pub(crate) static KEY: LazyLock<TestKey> = LazyLock::new(TestKey::generate);
pub(crate) static OTHER: LazyLock<TestKey> = LazyLock::new(TestKey::generate);

pub(crate) struct TestKey(KeyPair);

impl TestKey {
    pub(crate) fn generate() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn components(&self) -> (Vec<u8>, Vec<u8>) {
        let public = self.0.public_key();
        let bytes = |number: aws_lc_rs::io::Positive<'_>| number.big_endian_without_leading_zero().to_vec();
        (bytes(public.modulus()), bytes(public.exponent()))
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    pub(crate) fn pkcs1(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        armour("PUBLIC KEY", &self.spki())
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let (n, e) = self.components();
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        json!({ "use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256", "n": n, "e": e })
    }

    /// Signed as the header's `alg` says; with RS256 where it says something else.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.sign(&format!("{}.{}", encode(header), encode(claims)), header["alg"].as_str())
    }

    pub(crate) fn sign(&self, signed: &str, alg: Option<&str>) -> String {
        let encoding: &'static dyn RsaEncoding = match alg {
            Some("RS384") => &RSA_PKCS1_SHA384,
            Some("RS512") => &RSA_PKCS1_SHA512,
            _ => &RSA_PKCS1_SHA256,
        };
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token of the instance's key id with some claims changed, or removed by null.
    pub(crate) fn session(&self, change: &Value) -> String {
        self.token(&header(&json!({})), &claims(change))
    }
}

pub(crate) fn encode(object: &Value) -> String {
    URL_SAFE_NO_PAD.encode(object.to_string())
}

pub(crate) fn armour(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(crate) fn header(change: &Value) -> Value {
    changed(json!({ "alg": "RS256", "kid": KID, "typ": "JWT", "cat": "cl_B7d4PD111AAA" }), change)
}

pub(crate) fn claims(change: &Value) -> Value {
    let claims = json!({
        "azp": "https://portal.example", "exp": NOW + 60, "iat": NOW, "iss": ISSUER, "nbf": NOW - 10, "jti": "9c1e6f0d2a",
        "sid": "sess_2GbDB4enNdCa5vS1zpC3Xzg9tK9", "sts": "active", "sub": "user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr", "v": 2,
        "fva": [4, -1], "fea": "o:repositories,o:projects",
        "o": { "id": "org_2abc", "slg": "acme", "rol": "admin", "per": "read,create,update,delete,revoke", "fpm": "7,21" },
    });
    changed(claims, change)
}

fn changed(mut object: Value, change: &Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
        if value.is_null() {
            members.remove(name);
        }
    }
    object
}
