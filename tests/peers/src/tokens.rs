//! Tokens on which libraries for Clerk disagree, or should not, each with what it should get.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::minting::{KEY, OTHER, claims, encode, header};

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) token: String,
    pub(crate) expected: &'static str,
}

const OUT: &str = "out";
const IN: &str = "in";

/// A good token for an hour, without an organization.
pub(crate) fn good(now: i64) -> String {
    Minting { now }.with(&json!({}))
}

struct Minting {
    now: i64,
}

impl Minting {
    /// Nothing but what a session needs, with some claims changed, or removed by null.
    fn claims(&self, change: &Value) -> Value {
        let mut base = json!({
            "iat": self.now, "nbf": self.now - 10, "exp": self.now + 3_600, "o": null, "fea": null,
        });
        let members = base.as_object_mut().expect("an object");
        members.extend(change.as_object().expect("an object").clone());
        claims(&base)
    }

    fn with(&self, change: &Value) -> String {
        self.headed(&json!({}), change)
    }

    fn headed(&self, head: &Value, change: &Value) -> String {
        KEY.token(&header(head), &self.claims(change))
    }

    /// Signed by something else than the right key with the right algorithm.
    fn by(&self, alg: &str, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
        let message = format!("{}.{}", encode(&header(&json!({ "alg": alg }))), encode(&self.claims(&json!({}))));
        let signature = URL_SAFE_NO_PAD.encode(sign(&message));
        format!("{message}.{signature}")
    }

    /// The payload as text, for what no JSON value can hold.
    fn raw(&self, change: impl FnOnce(String) -> String) -> String {
        let payload = change(self.claims(&json!({})).to_string());
        KEY.sign(&format!("{}.{}", encode(&header(&json!({}))), URL_SAFE_NO_PAD.encode(payload)), None)
    }
}

/// Another last character for the same bytes: its lowest bits are not used.
fn with_odd_last_bits(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let at = ALPHABET.find(last).expect("base64url");
    format!("{rest}{}", &ALPHABET[at + 1..at + 2])
}

pub(crate) fn rows(now: i64) -> Vec<Row> {
    let mint = Minting { now };
    let mut rows = times(&mint);
    rows.extend(claims_of_a_session(&mint));
    rows.extend(classes(&mint));
    rows.extend(forms(&mint));
    rows.extend(identities(&mint));
    rows
}

fn row(name: &'static str, token: String, expected: &'static str) -> Row {
    Row { name, token, expected }
}

fn times(mint: &Minting) -> Vec<Row> {
    let now = mint.now;
    let expired = |seconds: i64| mint.with(&json!({ "iat": now - 600, "nbf": now - 610, "exp": now - seconds }));
    vec![
        row("good", good(now), IN),
        row("expired 3 s ago", expired(3), IN),
        row("expired 50 s ago", expired(50), OUT),
        row("expired 120 s ago", expired(120), OUT),
        row("nbf 50 s ahead", mint.with(&json!({ "nbf": now + 50 })), OUT),
        row("iat 300 s ahead", mint.with(&json!({ "iat": now + 300 })), OUT),
        row("exp missing", mint.with(&json!({ "exp": null })), OUT),
        row("exp as an integral float", mint.raw(|text| text.replace(&exp(now), &format!("{}.0", exp(now)))), IN),
        row("exp after 2038", mint.with(&json!({ "exp": 4_102_444_800_i64 })), IN),
    ]
}

fn exp(now: i64) -> String {
    format!("\"exp\":{}", now + 3_600)
}

fn claims_of_a_session(mint: &Minting) -> Vec<Row> {
    vec![
        row("issuer of another instance, same key", mint.with(&json!({ "iss": "https://clerk.other.example" })), OUT),
        row("issuer missing", mint.with(&json!({ "iss": null })), OUT),
        row("azp wrong", mint.with(&json!({ "azp": "https://evil.example" })), OUT),
        row("azp missing", mint.with(&json!({ "azp": null })), OUT),
        row("sub missing", mint.with(&json!({ "sub": null })), OUT),
        row("sid missing", mint.with(&json!({ "sid": null })), OUT),
        row("sts pending", mint.with(&json!({ "sts": "pending" })), "pending"),
        row("aud present", mint.with(&json!({ "aud": "https://api.example" })), IN),
    ]
}

fn classes(mint: &Minting) -> Vec<Row> {
    let template = json!({ "cat": "cl_B7d4PD222AAA" });
    let machine = json!({ "cat": "cl_B7d4PD333AAA" });
    let of_a_machine = json!({ "sub": "mch_2vYVtestGmRKXTaGqgXJ6ZmTqbu", "scopes": "mch_1" });
    vec![
        row("JWT-template category as session", mint.headed(&template, &json!({})), OUT),
        row("M2M category as session", mint.headed(&machine, &of_a_machine), OUT),
        row("typ at+jwt", mint.headed(&json!({ "typ": "at+jwt" }), &json!({})), OUT),
    ]
}

fn forms(mint: &Minting) -> Vec<Row> {
    let good = good(mint.now);
    let twice = mint.raw(|text| text.replacen('{', "{\"sub\":\"user_somebody_else\",", 1));
    let by_other = OTHER.token(&header(&json!({})), &mint.claims(&json!({})));
    let hmac_with_public_key = mint.by("HS256", |message| {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, KEY.pem().as_bytes());
        hmac::sign(&secret, message.as_bytes()).as_ref().to_vec()
    });
    vec![
        row("unknown `crit` header", mint.headed(&json!({ "crit": ["x"], "x": 1 }), &json!({})), OUT),
        row("duplicate `sub` in the payload", twice, OUT),
        row("signature with trailing ==", format!("{good}=="), OUT),
        row("alg none", mint.by("none", |_| Vec::new()), OUT),
        row("HS256 with the public key", hmac_with_public_key, OUT),
        row("wrong key", by_other, OUT),
        row("4 segments", format!("{good}.x"), OUT),
        row("non-canonical base64 bits", with_odd_last_bits(&good), OUT),
    ]
}

fn identities(mint: &Minting) -> Vec<Row> {
    let v2 = json!({ "o": { "id": "org_2abc", "slg": "acme", "rol": "admin" } });
    let v1 = json!({ "v": null, "org_id": "org_2abc", "org_slug": "acme", "org_role": "org:admin" });
    let actor = json!({ "act": { "iss": "https://dashboard.clerk.com", "sub": "user_2support" } });
    vec![
        row("org claim v2", mint.with(&v2), "in, role org:admin"),
        row("org claim v1 without permissions", mint.with(&v1), "in, role org:admin"),
        row("act present", mint.with(&actor), "in, impersonator"),
    ]
}
