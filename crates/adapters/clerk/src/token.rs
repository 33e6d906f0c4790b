//! A token taken apart, before anything in it is believed.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portal_identity::TokenType;
use serde_json::Value;

use crate::StrictChoices;
use crate::error::TokenVerificationError;
use crate::json::{self, Members};
use crate::loose::to_text;

/// Longest token that is looked at. A cookie holds 4 KiB, and servers stop at headers of this size.
pub(crate) const MAX_LENGTH: usize = 16 * 1_024;

/// Clerk's categories of tokens, all signed by the same key.
const CATEGORY_SESSION: &str = "cl_B7d4PD111AAA";
const CATEGORY_MACHINE: &str = "cl_B7d4PD333AAA";
/// Stamped on everything by instances that do not tell categories apart.
const CATEGORY_NO_INFORMATION: &str = "cl_I7d4PD111III";

/// `typ` of OAuth access tokens (RFC 9068).
const ACCESS_TOKEN_TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

/// The parts of a token. Nothing here is verified.
pub(crate) struct DecodedToken<'t> {
    pub(crate) header: Members,
    pub(crate) claims: Members,
    /// Clerk's SDK stumbles over null, and only over null, where it should find an object.
    pub(crate) header_is_null: bool,
    pub(crate) claims_are_null: bool,
    /// What the signature covers.
    pub(crate) signed: &'t [u8],
    /// Base64url without padding.
    pub(crate) signature: &'t str,
    padded: bool,
}

impl<'t> DecodedToken<'t> {
    /// Three segments of canonical base64url, the first two of them JSON objects; otherwise `token-invalid`.
    pub(crate) fn read(token: &'t str, choices: &StrictChoices) -> Result<Self, TokenVerificationError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenVerificationError::decoding());
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenVerificationError::shape());
        };
        let padded = token.contains('=');
        if padded && choices.strict_encoding {
            return Err(TokenVerificationError::decoding());
        }
        let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
        let signature = signature.trim_end_matches('=');
        bytes(signature)?;
        let (header, claims) = (object(header, choices)?, object(payload, choices)?);
        Ok(Self {
            header_is_null: header.is_none(),
            claims_are_null: claims.is_none(),
            header: header.unwrap_or_default(),
            claims: claims.unwrap_or_default(),
            signed,
            signature,
            padded,
        })
    }

    /// The id of the key that is said to have signed it. Without [`StrictChoices::plain_key_ids`] any value is one.
    pub(crate) fn kid(&self, choices: &StrictChoices) -> Option<Cow<'_, str>> {
        match self.header.get("kid")? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            other => (!choices.plain_key_ids).then(|| to_text(other)),
        }
    }

    /// Whether the token names itself as anything but a session: another category, a machine, an OAuth access token.
    pub(crate) fn is_of_another_class(&self) -> bool {
        self.has_foreign_category() || self.is_machine_token()
    }

    /// Whether the token is stamped with another class than a session's.
    pub(crate) fn has_foreign_category(&self) -> bool {
        self.header
            .get("cat")
            .is_some_and(|cat| !matches!(cat.as_str(), Some(CATEGORY_SESSION | CATEGORY_NO_INFORMATION)))
    }

    /// Whether the token is stamped as a machine's.
    pub(crate) fn has_machine_category(&self) -> bool {
        self.header.get("cat").and_then(Value::as_str) == Some(CATEGORY_MACHINE)
    }

    fn is_machine_token(&self) -> bool {
        self.machine_type().is_some()
    }

    /// The class of machine token that this JWT names itself as.
    pub(crate) fn machine_type(&self) -> Option<TokenType> {
        // Clerk's SDK recognises machine tokens only where all three segments are there and unpadded.
        if self.padded || self.signature.is_empty() {
            return None;
        }
        let (sub, typ) = (self.claims.get("sub"), self.header.get("typ"));
        if sub.and_then(Value::as_str).is_some_and(|sub| sub.starts_with("mch_")) {
            return Some(TokenType::M2mToken);
        }
        let access_token = typ.and_then(Value::as_str).is_some_and(|typ| ACCESS_TOKEN_TYPES.contains(&typ));
        access_token.then_some(TokenType::OauthToken)
    }

    /// Whether the category allows a machine's token: that of machines, or none at all.
    pub(crate) fn may_be_of_machine(&self) -> bool {
        !self.header.contains_key("cat") || self.has_machine_category()
    }
}

/// Refuses characters and trailing bits that no encoder writes: one token, one spelling.
fn bytes(segment: &str) -> Result<Vec<u8>, TokenVerificationError> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| TokenVerificationError::decoding())
}

/// The members of an object; none for null. Without [`StrictChoices::require_objects`] any other value has no members.
fn object(segment: &str, choices: &StrictChoices) -> Result<Option<Members>, TokenVerificationError> {
    let text = bytes(segment.trim_end_matches('='))?;
    let text = if choices.strict_encoding { text } else { as_text_decoder(text) };
    let parse = if choices.reject_unrepresentable_values { json::parse } else { json::parse_any };
    let parsed = parse(&text).ok_or_else(TokenVerificationError::decoding)?;
    if parsed.has_duplicates && choices.reject_duplicate_claims {
        return Err(TokenVerificationError::decoding());
    }
    match parsed.value {
        Value::Object(members) => Ok(Some(members)),
        _ if choices.require_objects => Err(TokenVerificationError::decoding()),
        Value::Null => Ok(None),
        _ => Ok(Some(Members::new())),
    }
}

/// Reads bytes as `TextDecoder` does in Clerk's SDK: without a byte order mark, with replacement characters for what is
/// not UTF-8.
fn as_text_decoder(text: Vec<u8>) -> Vec<u8> {
    let text = match String::from_utf8(text) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.as_bytes().to_vec(),
        None => text.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use portal_identity::TokenVerificationErrorReason as Reason;
    use serde_json::json;

    use super::*;

    const STRICT: StrictChoices = StrictChoices::strict();
    const EXACT: StrictChoices = StrictChoices::exact();

    fn encode(text: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn token(header: &Value, claims: &Value) -> String {
        format!("{}.{}.c2ln", encode(header.to_string()), encode(claims.to_string()))
    }

    fn readable(token: &str, choices: &StrictChoices) -> bool {
        match DecodedToken::read(token, choices) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.reason(), Reason::TokenInvalid);
                false
            }
        }
    }

    #[test]
    fn the_parts_are_what_was_signed_and_the_signature() {
        let text = token(&json!({ "alg": "RS256", "kid": "ins_1" }), &json!({ "sub": "user_1" }));
        let read = DecodedToken::read(&text, &STRICT).unwrap();
        assert_eq!(read.signed, text.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!((read.signature, read.kid(&STRICT).as_deref()), ("c2ln", Some("ins_1")));
        assert_eq!(read.claims["sub"], json!("user_1"));
    }

    #[test]
    fn a_token_has_16_kib_at_most() {
        let with_signature = |length: usize| {
            let head = token(&json!({}), &json!({}));
            let head = head.trim_end_matches("c2ln");
            format!("{head}{}", "A".repeat(length - head.len()))
        };
        for (length, expected) in [(MAX_LENGTH - 1, true), (MAX_LENGTH, true), (MAX_LENGTH + 1, false)] {
            assert_eq!(readable(&with_signature(length), &STRICT), expected, "{length}");
        }
        assert_eq!(MAX_LENGTH, 16_384);
    }

    #[test]
    fn other_than_three_segments_of_json_is_invalid() {
        let object = encode("{}");
        for text in [
            String::new(),
            "a".into(),
            "..".into(),
            "ak_secret".into(),
            format!("{object}.{object}"),
            format!("{object}.{object}.c2ln.c2ln"),
            format!("{object}.{object}.c2ln."),
            format!("{object}.{}.c2ln", encode("{}x")),
            format!("{object}.{}.c2ln", encode("nul")),
            format!("{object}.{object}.c2l"),
            format!("{object}.{object}.c2ln\u{e9}"),
            format!("{object}.{object}.c2+n"),
            format!("{object}.{object}.c2 n"),
            format!("{object} .{object}.c2ln"),
            format!("{}.{object}.c2ln", "e30A".repeat(5_000)),
        ] {
            assert!(!readable(&text, &STRICT), "{text}");
            assert!(!readable(&text, &EXACT), "{text}");
        }
    }

    #[test]
    fn trailing_bits_that_mean_nothing_are_refused_everywhere() {
        let object = encode("{}");
        assert_eq!(object, "e30");
        for text in [format!("e31.{object}.c2ln"), format!("{object}.e31.c2ln"), format!("{object}.{object}.c2h")] {
            assert!(!readable(&text, &STRICT) && !readable(&text, &EXACT), "{text}");
        }
        assert!(readable(&format!("{object}.{object}.c2g"), &STRICT));
    }

    #[test]
    fn padding_is_a_strict_choice() {
        for text in ["e30.e30.c2g=", "e30.e30.c2ln==", "e30=.e30.c2ln", "e30.e30==.c2ln", "e30.e30.="] {
            assert!(!readable(text, &STRICT), "{text}");
            assert!(readable(text, &EXACT), "{text}");
        }
        assert!(!readable("e3=0.e30.c2ln", &EXACT));
    }

    #[test]
    fn objects_are_a_strict_choice() {
        let object = encode("{}");
        for value in ["null", "[]", "[1]", "1", "true", "\"a\""] {
            for text in [format!("{}.{object}.c2ln", encode(value)), format!("{object}.{}.c2ln", encode(value))] {
                assert!(!readable(&text, &STRICT), "{text}");
                let read = DecodedToken::read(&text, &EXACT).ok().unwrap();
                assert!(read.header.is_empty() && read.claims.is_empty(), "{text}");
                assert_eq!(read.header_is_null || read.claims_are_null, value == "null", "{text}");
            }
        }
    }

    #[test]
    fn repeated_claims_are_a_strict_choice() {
        let twice = format!("e30.{}.c2ln", encode(r#"{"sub":"user_1","sub":"user_2"}"#));
        let nested = format!("e30.{}.c2ln", encode(r#"{"o":{"id":"org_1","id":"org_2"}}"#));
        let header = format!("{}.e30.c2ln", encode(r#"{"alg":"none","alg":"RS256"}"#));
        for text in [&twice, &nested, &header] {
            assert!(!readable(text, &STRICT), "{text}");
            assert!(readable(text, &EXACT), "{text}");
        }
        assert_eq!(DecodedToken::read(&twice, &EXACT).ok().unwrap().claims["sub"], json!("user_2"));
    }

    #[test]
    fn key_ids_are_texts_is_a_strict_choice() {
        for (kid, in_exact) in [(json!(5), "5"), (json!(["ins_1"]), "ins_1"), (json!({}), "[object Object]")] {
            let text = token(&json!({ "kid": kid }), &json!({}));
            let read = DecodedToken::read(&text, &EXACT).ok().unwrap();
            assert_eq!((read.kid(&EXACT).as_deref(), read.kid(&STRICT)), (Some(in_exact), None), "{kid}");
        }
        let text = token(&json!({}), &json!({}));
        assert_eq!(DecodedToken::read(&text, &EXACT).ok().unwrap().kid(&EXACT), None);
    }

    #[test]
    fn values_that_only_javascript_has_are_a_strict_choice() {
        for claims in ["{\"exp\":1e400}", "{\"a\":\"\\ud800\"}"] {
            let text = format!("e30.{}.c2ln", encode(claims));
            assert!(!readable(&text, &STRICT), "{claims}");
            assert!(readable(&text, &EXACT), "{claims}");
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_a_strict_choice() {
        for claims in [&b"{\"a\":\"\xff\"}"[..], b"\xef\xbb\xbf{}"] {
            let text = format!("e30.{}.c2ln", encode(claims));
            assert!(!readable(&text, &STRICT));
            assert!(readable(&text, &EXACT));
        }
    }

    #[test]
    fn the_category_decides_the_class() {
        for (header, another) in [
            (json!({ "cat": "cl_B7d4PD111AAA" }), false),
            (json!({ "cat": "cl_B7d4PD222AAA" }), true),
            (json!({ "cat": "cl_B7d4PD333AAA" }), true),
            (json!({ "cat": "cl_I7d4PD111III" }), false),
            (json!({}), false),
            (json!({ "cat": "cl_unknown" }), true),
            (json!({ "cat": "" }), true),
            (json!({ "cat": null }), true),
            (json!({ "cat": 1 }), true),
        ] {
            let text = token(&header, &json!({ "sub": "user_1" }));
            assert_eq!(DecodedToken::read(&text, &STRICT).ok().unwrap().is_of_another_class(), another, "{header}");
        }
    }

    #[test]
    fn padded_and_unsigned_tokens_are_left_to_the_later_checks() {
        let text = token(&json!({ "typ": "at+jwt" }), &json!({ "sub": "mch_1" }));
        for text in [format!("{text}="), text.trim_end_matches("c2ln").to_owned()] {
            assert!(!DecodedToken::read(&text, &EXACT).ok().unwrap().is_of_another_class(), "{text}");
        }
    }

    #[test]
    fn machines_and_access_tokens_are_another_class() {
        for (header, claims, another) in [
            (json!({ "typ": "at+jwt" }), json!({ "sub": "user_1" }), true),
            (json!({ "typ": "application/at+jwt" }), json!({}), true),
            (json!({ "typ": "AT+JWT" }), json!({}), false),
            (json!({ "typ": ["at+jwt"] }), json!({}), false),
            (json!({ "typ": "JWT" }), json!({ "sub": "mch_1" }), true),
            (json!({}), json!({ "sub": "mch_" }), true),
            (json!({}), json!({ "sub": "user_mch_" }), false),
            (json!({}), json!({ "sub": ["mch_1"] }), false),
            (json!({}), json!({ "sub": 1 }), false),
        ] {
            let text = token(&header, &claims);
            assert_eq!(
                DecodedToken::read(&text, &STRICT).ok().unwrap().is_of_another_class(),
                another,
                "{header} {claims}"
            );
        }
    }
}
