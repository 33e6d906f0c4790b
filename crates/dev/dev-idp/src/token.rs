//! Session tokens as Clerk mints them, and tokens that only an attacker or a misconfiguration would send.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portal_kernel::Timestamp;
use serde_json::{Map, Value, json};

use crate::key::{ISSUER, SigningKey};
use crate::people::Person;

/// Header `cat` of session tokens.
pub const CATEGORY_SESSION: &str = "cl_B7d4PD111AAA";
/// Header `cat` of tokens made from a template.
pub const CATEGORY_TEMPLATE: &str = "cl_B7d4PD222AAA";
/// Header `cat` of machine tokens.
pub const CATEGORY_MACHINE: &str = "cl_B7d4PD333AAA";

/// How long a session token lives.
pub const LIFETIME: Duration = Duration::from_mins(1);

const NOT_BEFORE_MARGIN: i64 = 10;

/// How a token is signed, whatever its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// As Clerk does.
    Rs256,
    /// The right key with a longer digest.
    Rs384,
    /// The right key with the longest digest.
    Rs512,
    /// HMAC with the public key in PEM as its secret, which anybody can compute.
    Hs256WithPublicPem,
    /// An empty signature.
    None,
}

impl SigningAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Hs256WithPublicPem => "HS256",
            Self::None => "none",
        }
    }
}

/// A token before it is signed; each part can be bent before [`TokenMint::encode`] writes it.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    /// The header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    /// How it is signed. [`TokenSpec::algorithm`] also changes the header.
    pub algorithm: SigningAlgorithm,
    /// The key that signs in place of the instance's.
    pub signer: Option<Arc<SigningKey>>,
    /// Flips a bit of the finished signature.
    pub corrupt: bool,
}

impl TokenSpec {
    /// Sets a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a header field.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Signs differently and says so in the header.
    #[must_use]
    pub fn algorithm(mut self, algorithm: SigningAlgorithm) -> Self {
        self.algorithm = algorithm;
        self.header("alg", algorithm.name())
    }

    /// Signs with another key; the header keeps the `kid` of the instance.
    #[must_use]
    pub fn signed_by(mut self, key: impl Into<Arc<SigningKey>>) -> Self {
        self.signer = Some(key.into());
        self
    }

    /// Breaks the signature.
    #[must_use]
    pub fn corrupt_signature(mut self) -> Self {
        self.corrupt = true;
        self
    }

    /// The form before version 2: no `v`, and the organization in flat claims with the role's prefix.
    #[must_use]
    pub fn version_1(mut self) -> Self {
        self.claims.remove("v");
        let Some(organization) = self.claims.remove("o") else { return self };
        let role = organization["rol"].as_str().unwrap_or_default();
        self.claim("org_id", organization["id"].clone())
            .claim("org_slug", organization["slg"].clone())
            .claim("org_role", format!("org:{role}"))
            .claim("org_permissions", json!([]))
    }

    /// A token made from a template: another category, and nothing that names a session.
    #[must_use]
    pub fn template(self) -> Self {
        self.without_session().header("cat", CATEGORY_TEMPLATE)
    }

    /// A machine token of `machine_id` (`mch_…`).
    #[must_use]
    pub fn machine(self, machine_id: &str) -> Self {
        self.without_session()
            .without_claim("azp")
            .header("cat", CATEGORY_MACHINE)
            .claim("sub", machine_id)
            .claim("jti", format!("mt_{}", random_hex::<16>()))
            .claim("scopes", machine_id)
    }

    /// A session with an outstanding task, which counts as signed out.
    #[must_use]
    pub fn pending(self) -> Self {
        self.claim("sts", "pending")
    }

    /// A session that another person drives.
    #[must_use]
    pub fn impersonated_by(self, user_id: &str) -> Self {
        self.claim("act", json!({ "iss": "https://dashboard.clerk.com", "sub": user_id }))
    }

    /// A session that a program drives.
    #[must_use]
    pub fn driven_by_agent(self, agent_id: &str) -> Self {
        self.claim("act", json!({ "sub": agent_id, "type": "agent" }))
    }

    /// The organization that `o` names; replaces the active one.
    #[must_use]
    pub fn organization(self, id: &str, slug: &str, role: &str) -> Self {
        self.claim("o", organization_claim(id, slug, role))
    }

    fn without_session(self) -> Self {
        ["sid", "sts", "fva", "v", "o"].into_iter().fold(self, TokenSpec::without_claim)
    }
}

/// Makes the tokens of one instance.
#[derive(Debug, Clone)]
pub struct TokenMint {
    key: Arc<SigningKey>,
}

impl TokenMint {
    /// The mint of a key.
    pub fn new(key: impl Into<Arc<SigningKey>>) -> Self {
        Self { key: key.into() }
    }

    /// A session token as a page of the origin `azp` would get it at that moment.
    pub fn session_token(&self, person: &Person, azp: &str, now: Timestamp) -> String {
        self.encode(&self.session(person, azp, now))
    }

    /// The same token before it is signed, to be bent.
    pub fn session(&self, person: &Person, azp: &str, now: Timestamp) -> TokenSpec {
        let issued = now.unix_seconds();
        let claims = json!({
            "iss": ISSUER,
            "sub": person.user_id,
            "sid": person.session_id,
            "azp": azp,
            "iat": issued,
            "nbf": issued - NOT_BEFORE_MARGIN,
            "exp": now.plus(LIFETIME).unix_seconds(),
            "jti": random_hex::<10>(),
            "v": 2,
            "sts": "active",
            "fva": [0, -1],
        });
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key.kid(), "cat": CATEGORY_SESSION });
        let spec = TokenSpec {
            header: object(header),
            claims: object(claims),
            algorithm: SigningAlgorithm::Rs256,
            signer: None,
            corrupt: false,
        };
        match person.active_membership() {
            Some(held) => spec.organization(&held.organization.id, &held.organization.slug, &held.role),
            None => spec,
        }
    }

    /// What a browser brings back from a handshake: cookies to be set, signed.
    pub fn handshake(&self, directives: &[String], now: Timestamp) -> String {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key.kid(), "cat": CATEGORY_SESSION });
        self.encode(&TokenSpec {
            header: object(header),
            claims: object(json!({ "handshake": directives, "iat": now.unix_seconds() })),
            algorithm: SigningAlgorithm::Rs256,
            signer: None,
            corrupt: false,
        })
    }

    /// Writes and signs a token exactly as described, however wrong that is.
    pub fn encode(&self, spec: &TokenSpec) -> String {
        let message = format!("{}.{}", part(&spec.header), part(&spec.claims));
        let key = spec.signer.as_ref().unwrap_or(&self.key);
        let mut signature = match spec.algorithm {
            SigningAlgorithm::Rs256 => key.sign(&RSA_PKCS1_SHA256, message.as_bytes()),
            SigningAlgorithm::Rs384 => key.sign(&RSA_PKCS1_SHA384, message.as_bytes()),
            SigningAlgorithm::Rs512 => key.sign(&RSA_PKCS1_SHA512, message.as_bytes()),
            SigningAlgorithm::Hs256WithPublicPem => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, key.public_pem().as_bytes());
                hmac::sign(&secret, message.as_bytes()).as_ref().to_vec()
            }
            SigningAlgorithm::None => Vec::new(),
        };
        if spec.corrupt
            && let Some(last) = signature.last_mut()
        {
            *last ^= 1;
        }
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn organization_claim(id: &str, slug: &str, role: &str) -> Value {
    json!({ "id": id, "slg": slug, "rol": role.strip_prefix("org:").unwrap_or(role), "per": "", "fpm": "" })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn part(fields: &Map<String, Value>) -> String {
    URL_SAFE_NO_PAD.encode(Value::Object(fields.clone()).to_string())
}

/// Hexadecimal text of `N` random bytes.
pub(crate) fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system has randomness");
    hex(&bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
