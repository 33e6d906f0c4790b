//! Tokens of machines, OAuth clients and Clerk API keys (`clerk.md` §4): which of them a text is, and whether it counts.

use std::sync::Arc;

use portal_identity::{MachineAuth, ProviderMachineId, ProviderOrganizationId, ProviderUserId, TokenType};

use crate::http::BackendApi;
use crate::machine_api::MachineApi;
use crate::machine_error::MachineTokenError;
use crate::machine_jwt;
use crate::token::{DecodedToken, MAX_LENGTH};
use crate::verify::Verifier;
use crate::{ClientError, StrictChoices};

/// How opaque tokens begin. No JWT begins so: none of them is base64url of the start of a JSON object.
const PREFIXES: [(&str, TokenType); 3] =
    [("mt_", TokenType::M2mToken), ("oat_", TokenType::OauthToken), ("ak_", TokenType::ApiKey)];

/// The class that the prefix of an opaque token names.
fn opaque_class(token: &str) -> Option<TokenType> {
    PREFIXES.iter().find(|(prefix, _)| token.starts_with(prefix)).map(|(_, token_type)| *token_type)
}

/// The class of machine token, by its looks alone; none for anything that is to be judged as a session token.
pub(crate) fn classify(token: &str) -> Option<TokenType> {
    // Looks count as in Clerk's SDK; what a stricter reading refuses is refused by verification, in the class that it has.
    opaque_class(token).or_else(|| DecodedToken::read(token, &StrictChoices::exact()).ok()?.machine_type())
}

/// The class of a token that was refused. One with a prefix and the form of a JWT is none, and Clerk's SDK calls it a machine's.
pub(crate) fn class_of_refused(token: &str, token_type: TokenType, choices: &StrictChoices) -> TokenType {
    let mistaken = !choices.name_class_by_prefix && is_jwt_form(token) && opaque_class(token).is_some();
    if mistaken { TokenType::M2mToken } else { token_type }
}

/// Three segments of base64url, whatever they hold.
fn is_jwt_form(token: &str) -> bool {
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    token.split('.').count() == 3 && token.split('.').all(is_segment)
}

/// Verifies machine tokens of one instance: JWTs with the keys at hand, opaque ones by asking the Backend API.
pub(crate) struct MachineVerifier {
    verifier: Arc<Verifier>,
    api: MachineApi,
}

impl MachineVerifier {
    /// `api` speaks with the secret key of the instance. Without it, only JWTs verify, and machine-to-machine tokens if
    /// there is a machine secret key.
    pub(crate) fn new(verifier: Arc<Verifier>, api: Option<BackendApi>) -> Result<Self, ClientError> {
        let api = MachineApi::new(&verifier.settings, api)?;
        Ok(Self { verifier, api })
    }

    /// What the token says, if it counts. `token_type` is what [`classify`] said about it.
    pub(crate) async fn verify(
        &self,
        token: &str,
        token_type: TokenType,
    ) -> Result<Arc<MachineAuth>, MachineTokenError> {
        if token.len() > MAX_LENGTH {
            return Err(MachineTokenError::invalid("The token is too long."));
        }
        let jwt = is_jwt_form(token);
        let own_id = if token_type == TokenType::M2mToken { self.own_id(jwt)? } else { None };
        if jwt {
            return machine_jwt::verify(&self.verifier, token, token_type, own_id).await.map(Arc::new);
        }
        self.api.verify(token, token_type, own_id, &self.verifier).await
    }

    /// The id that a machine's token must name; none if it does not matter, or Clerk sees to it.
    fn own_id(&self, jwt: bool) -> Result<Option<&ProviderMachineId>, MachineTokenError> {
        let settings = &self.verifier.settings;
        let clerk_compares = !jwt && settings.machine_secret_key().is_some();
        if clerk_compares || !settings.choices().require_m2m_audience {
            return Ok(None);
        }
        settings.machine_id().map(Some).ok_or_else(|| {
            MachineTokenError::failed(
                "It cannot be told whether the M2M token is meant for this machine: its id is not configured.",
            )
        })
    }
}

/// The refusal of a machine's token that is meant for others.
pub(crate) fn not_for_us() -> MachineTokenError {
    MachineTokenError::failed("The M2M token is not meant for this machine.")
}

/// An auth object that knows nothing but its subject; none if such a subject cannot have such a token. Without
/// [`StrictChoices::check_machine_subject`] any can.
pub(crate) fn auth_of(token_type: TokenType, subject: &str, choices: &StrictChoices) -> Option<MachineAuth> {
    let (is_machine, is_client) = (token_type == TokenType::M2mToken, token_type == TokenType::OauthToken);
    let user_id = ProviderUserId::parse(subject).ok().filter(|_| !is_machine);
    let organization_id = ProviderOrganizationId::parse(subject).ok().filter(|_| !is_machine && !is_client);
    let machine_id = ProviderMachineId::parse(subject).ok().filter(|_| !is_client);
    let is_known = user_id.is_some() || organization_id.is_some() || machine_id.is_some();
    let fits = is_known || !choices.check_machine_subject;
    (fits && token_type != TokenType::SessionToken).then(|| MachineAuth {
        token_type,
        id: String::new(),
        subject: subject.to_owned(),
        user_id,
        organization_id,
        machine_id,
        client_id: None,
        scopes: Vec::new(),
        claims: None,
        expires_at: None,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn jwt(header: &Value, claims: &Value) -> String {
        let encode = |object: &Value| URL_SAFE_NO_PAD.encode(object.to_string());
        format!("{}.{}.c2ln", encode(header), encode(claims))
    }

    #[test]
    fn table_4_1_in_its_order_and_case() {
        let machine = jwt(&json!({ "typ": "JWT" }), &json!({ "sub": "mch_1" }));
        let both = jwt(&json!({ "typ": "at+jwt" }), &json!({ "sub": "mch_1" }));
        for (token, expected) in [
            ("mt_", Some(TokenType::M2mToken)),
            ("mt_abc", Some(TokenType::M2mToken)),
            ("oat_abc", Some(TokenType::OauthToken)),
            ("ak_abc", Some(TokenType::ApiKey)),
            ("mt_oat_ak_", Some(TokenType::M2mToken)),
            ("oat_a.b.c", Some(TokenType::OauthToken)),
            (machine.as_str(), Some(TokenType::M2mToken)),
            (both.as_str(), Some(TokenType::M2mToken)),
            (&jwt(&json!({ "typ": "at+jwt" }), &json!({})), Some(TokenType::OauthToken)),
            (&jwt(&json!({ "typ": "application/at+jwt" }), &json!({ "sub": 1 })), Some(TokenType::OauthToken)),
            (&jwt(&json!({ "typ": "AT+JWT" }), &json!({ "sub": "user_1" })), None),
            (&jwt(&json!({ "typ": "JWT" }), &json!({ "sub": "MCH_1" })), None),
            (&jwt(&json!({}), &json!({ "sub": 1 })), None),
            (&jwt(&json!({}), &json!({ "sub": ["mch_1"] })), None),
            (&jwt(&json!({}), &json!({ "sub": { "a": "mch_1" } })), None),
            (&jwt(&json!({}), &json!({})), None),
            (&format!("{machine}="), None),
            (&format!("{machine}."), None),
            (&format!(" {machine}"), None),
            (machine.trim_end_matches("c2ln"), None),
            ("MT_abc", None),
            ("Oat_abc", None),
            ("AK_abc", None),
            (" ak_abc", None),
            ("a.b.c", None),
            ("", None),
        ] {
            assert_eq!(classify(token), expected, "{token}");
        }
    }

    #[test]
    fn no_jwt_begins_like_an_opaque_token() {
        for start in ["{", " {", "\t{", "\n{", "\r{", "\u{feff}{"] {
            for padding in ["", " ", "  "] {
                let header = URL_SAFE_NO_PAD.encode(format!("{start}{padding}\"a\":1}}"));
                assert!(PREFIXES.iter().all(|(prefix, _)| !header.starts_with(prefix)), "{header}");
            }
        }
    }

    #[test]
    fn the_form_of_a_jwt_is_three_segments_and_nothing_else() {
        for (token, expected) in [
            ("a.b.c", true),
            ("A-9._-_.0", true),
            ("a.b", false),
            ("a.b.c.d", false),
            ("a..c", false),
            (".b.c", false),
            ("a.b.", false),
            ("a.b.c=", false),
            ("a.b.c\n", false),
            ("a.b.é", false),
            ("", false),
        ] {
            assert_eq!(is_jwt_form(token), expected, "{token:?}");
        }
    }

    #[test]
    fn a_subject_fits_its_class_or_there_is_no_auth_object() {
        for (subject, api_key, oauth, m2m) in [
            ("user_1", true, true, false),
            ("org_1", true, false, false),
            ("mch_1", true, false, true),
            ("sess_1", false, false, false),
            ("user_", false, false, false),
            ("", false, false, false),
        ] {
            let fits = |token_type| auth_of(token_type, subject, &StrictChoices::strict()).is_some();
            assert_eq!(fits(TokenType::ApiKey), api_key, "{subject}");
            assert_eq!(fits(TokenType::OauthToken), oauth, "{subject}");
            assert_eq!(fits(TokenType::M2mToken), m2m, "{subject}");
            assert!(!fits(TokenType::SessionToken));
            let exact = auth_of(TokenType::M2mToken, subject, &StrictChoices::exact()).unwrap();
            assert_eq!((exact.subject.as_str(), exact.machine_id.is_some()), (subject, m2m), "{subject}");
            assert_eq!((exact.user_id, exact.organization_id), (None, None), "{subject}");
        }
    }

    #[test]
    fn the_class_of_a_refused_token_is_that_of_its_prefix_only_in_strict() {
        for (token, in_exact) in [
            ("ak_a.b.c", TokenType::M2mToken),
            ("ak_abc", TokenType::ApiKey),
            ("ak_a.b", TokenType::ApiKey),
            ("ak_a.b.c=", TokenType::ApiKey),
        ] {
            assert_eq!(class_of_refused(token, TokenType::ApiKey, &StrictChoices::exact()), in_exact, "{token}");
            assert_eq!(class_of_refused(token, TokenType::ApiKey, &StrictChoices::strict()), TokenType::ApiKey);
        }
        let jwt = jwt(&json!({ "typ": "at+jwt" }), &json!({}));
        assert_eq!(class_of_refused(&jwt, TokenType::OauthToken, &StrictChoices::exact()), TokenType::OauthToken);
    }

    proptest! {
        #[test]
        fn any_text_has_a_class_or_none(text in "(mt_|oat_|ak_|e30)?.{0,40}", parts in "[A-Za-z0-9_=.-]{0,60}") {
            let opaque = PREFIXES.iter().any(|(prefix, _)| text.starts_with(prefix));
            prop_assert_eq!(classify(&text).is_some(), opaque);
            let _ = classify(&parts);
        }
    }
}
