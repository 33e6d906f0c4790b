//! Where verification may depart from Clerk's own SDK: one switch each, all off in `exact`, on in `strict`.

use std::str::FromStr;

/// How closely verdicts follow Clerk's own backend SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compatibility {
    /// Status and reason equal those of Clerk's SDK.
    Exact,
    /// Only the answers listed at [`StrictChoices`] are stricter.
    #[default]
    Strict,
}

/// The text is neither `exact` nor `strict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be strict or exact")]
pub struct InvalidCompatibility;

impl FromStr for Compatibility {
    type Err = InvalidCompatibility;

    fn from_str(text: &str) -> Result<Self, InvalidCompatibility> {
        match text {
            "exact" => Ok(Self::Exact),
            "strict" => Ok(Self::Strict),
            _ => Err(InvalidCompatibility),
        }
    }
}

/// The departures from Clerk's SDK, by name. Start from [`StrictChoices::strict`] or [`StrictChoices::exact`].
///
/// These hold whatever is chosen. A token longer than 16 KiB is `token-invalid`, and so is JSON that nests deeper than 127 levels. Keys
/// that check signatures are RSA keys of 2048 bits or more. The key set is fetched because of an unknown key id once a minute at most,
/// and not within seconds of a failed fetch. A cookie that would break the response is dropped. What nobody signed does not change the
/// path of a call. Missing and contradictory settings stop the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, and any combination is meaningful")]
pub struct StrictChoices {
    /// `iss` of a session must be the configured issuer; checked last. Otherwise `token-verification-failed`.
    pub check_issuer: bool,
    /// `sid` must begin with `sess_`; checked after `iat`. Otherwise `token-verification-failed`. Tokens made from a
    /// JWT template have no `sid`, and on instances that do not stamp a category nothing else tells them apart.
    pub require_session_id: bool,
    /// Only RS256; RS384 and RS512 are `token-invalid-algorithm`.
    pub rs256_only: bool,
    /// A header with `crit` is `token-invalid`: no extension is understood here (RFC 7515, section 4.1.11).
    pub reject_unknown_crit: bool,
    /// Where an audience is configured, an `aud` that is neither a string nor an array of strings is refused.
    pub strict_aud_types: bool,
    /// Where an audience is configured, a token without one is refused.
    pub require_audience: bool,
    /// Segments are base64url without padding, and their text is UTF-8; otherwise `token-invalid`.
    pub strict_encoding: bool,
    /// A name that occurs twice in one JSON object of the header or the payload is `token-invalid`; Clerk's SDK takes
    /// the last.
    pub reject_duplicate_claims: bool,
    /// `exp`, `nbf` and `iat` are whole seconds from 1970 to 9999; otherwise `token-verification-failed`. Clerk's SDK
    /// cuts fractions off and takes a number that is too large for a date as "never".
    pub strict_times: bool,
    /// An `act` that does not say who is driving is `token-verification-failed`. When off, the driver is an
    /// impersonator by the name of `unknown`; an `act` never gets lost.
    pub reject_malformed_actor: bool,
    /// A key set that cannot be fetched again because the source is down is used for up to 24 hours. Clerk's SDK drops
    /// it after five minutes, which signs everybody out.
    pub keep_stale_keys: bool,
    /// When a signature fails and the key set is older than a minute, the set is fetched again, at most once a minute:
    /// a replaced key may have kept its id.
    pub refetch_on_bad_signature: bool,
    /// A production instance takes the result of a handshake from cookies only. In the query string it would let a stranger plant
    /// a session in somebody's browser.
    pub no_handshake_in_query: bool,
    /// Of the cookies that the provider sets, only Clerk's own are taken over, and of ASCII: `__session…`, `__client_uat…`,
    /// `__refresh…` and `__clerk_…`.
    pub own_cookies_only: bool,
    /// A redirect counter beyond 3, below 0 or without meaning ends a chain of handshakes, as 3 does. Clerk's SDK compares with 3 only.
    pub count_redirects: bool,
    /// The result of a handshake is asked for once more if the Backend API fails. Clerk's SDK takes the failure for a sign-out.
    pub retry_handshake_payload: bool,
    /// A token in a cookie may lack `azp` where authorized parties are configured, if `iss` is this instance's: handshakes bring such
    /// tokens, and without this nobody stays signed in on a page. A wrong `azp` is refused everywhere, a missing one in a header too.
    pub lenient_cookie_azp: bool,
    /// A token in a header is never refreshed, whatever cookies come with it.
    pub no_refresh_for_headers: bool,
    /// A development instance sends a browser back only to configured satellites. Clerk's SDK redirects to any address in the query.
    pub known_satellites_only: bool,
    /// Claims of a version that is not known give no organization. Clerk's SDK reads everything but the number 2 as version 1.
    pub known_claim_versions_only: bool,
    /// If there are as many permission masks (`fpm`) as features in all, each belongs to the feature at its place. Clerk's SDK counts
    /// the organization's features only; published descriptions count all.
    pub count_user_features: bool,
    /// A key source that cannot be reached, or sends what is no JSON, has the reason `jwk-remote-failed-to-load`. In Clerk's SDK it is
    /// `unexpected-error`, which says nothing. An outage it is in both.
    pub name_key_outages: bool,
    /// The header `x-clerk-auth-message` is left out; messages may name configured authorized parties.
    pub omit_message_header: bool,
    /// Configured authorized parties do not count for JWTs of machines and OAuth clients. Clerk mints those without `azp`, so
    /// that in Clerk's SDK none of them passes where parties are configured.
    pub machine_ignores_azp: bool,
    /// A token of a machine, an OAuth client or an API key that the Backend API describes as revoked, expired or inactive
    /// is `token-invalid`. Clerk's SDK takes any description for a good token.
    pub check_machine_state: bool,
    /// A machine's token must be meant for this service, or it is `token-verification-failed`: the own machine id is among
    /// its scopes or in its `aud`, or Clerk compared it because the machine secret key was used. Where neither can be told,
    /// every such token is refused. In Clerk's SDK any token of the instance passes.
    pub require_m2m_audience: bool,
    /// A token that the Backend API accepted is believed for up to a minute without asking again, if the cache of tokens is
    /// on: each question is billed. A revoked one counts that much longer.
    pub cache_opaque_tokens: bool,
    /// Keys that are not RSA keys for RS256 signatures are as if they were not there. Clerk's SDK finds them by their id and says
    /// `token-verification-failed`.
    pub rs256_keys_only: bool,
    /// Header and payload are JSON objects; otherwise `token-invalid`. Clerk's SDK takes any other value for an object without members,
    /// and stumbles over null, which is `unexpected-error`.
    pub require_objects: bool,
    /// Of the claims that are read before a signature is checked, to choose between cookies and to compare with `client_uat`, `iat` and
    /// `exp` are numbers and `iss` has one scheme; anything else is none. Clerk's SDK compares as JavaScript does.
    pub typed_cookie_claims: bool,
    /// Where several types of token are accepted, a JWT that bears the category of machines and nothing else of theirs is
    /// `token-type-mismatch`, as it is where only sessions are. In Clerk's SDK it is `token-invalid`.
    pub check_class_first: bool,
    /// A session state (`sts`) that is not known counts as `pending`, which is signed out for every purpose. In Clerk's SDK only
    /// `pending` itself does.
    pub unknown_status_is_pending: bool,
    /// Organization claims are mended: permissions that cannot be read are none and leave id and role, an empty verb gives no
    /// permission, a role is a text with exactly one `org:`, and without an id of an organization there is none. Clerk's SDK stumbles
    /// over the first, which is `unexpected-error` for a cookie, and takes the others as they are written.
    pub mend_organizations: bool,
    /// What an answer of the Backend API is, its content says. Clerk's SDK reads as JSON what is called `application/json` and nothing
    /// more; the rest is text, which says nothing. The client of an OAuth token it reads from what calls itself one.
    pub judge_answers_by_content: bool,
    /// An error code of the Backend API becomes part of a reason only if it is a plain word; otherwise the reason ends in
    /// `unexpected-bapi-error`. Clerk's SDK repeats any.
    pub plain_error_codes: bool,
    /// Only a session id is put into a path of the Backend API. Clerk's SDK asks about whatever stands in `sid`, except dot segments:
    /// what is behind a slash, a question mark or a number sign there changes which path it is.
    pub require_session_id_in_path: bool,
    /// The subject of a machine's token is a machine, that of an OAuth client's a person, that of an API key a person, an organization
    /// or a machine; otherwise it is refused. Clerk's SDK takes any text.
    pub check_machine_subject: bool,
    /// Between two spaces, or in an empty text, there is no scope. In Clerk's SDK there is an empty one.
    pub drop_empty_scopes: bool,
    /// A refused token is of the type that its prefix names. Clerk's SDK calls one with a prefix and the form of a JWT a machine's.
    pub name_class_by_prefix: bool,
    /// The subject of a session is a user id; otherwise `token-verification-failed`. Clerk's SDK takes any text, an empty one too.
    pub require_user_subject: bool,
    /// A token of another class is never a session, wherever it comes from. Clerk's SDK looks at cookies, and at headers where only
    /// sessions are accepted; elsewhere, as for the session that a handshake or a refresh brings, it refuses the category of machines
    /// and nothing else.
    pub check_class_everywhere: bool,
    /// A number beyond a double or half of a surrogate pair makes a token `token-invalid`. Clerk's SDK reads the number as infinite
    /// and keeps the half; in a time, infinity is "never".
    pub reject_unrepresentable_values: bool,
    /// A key id is a text that the key set lists; any other is `jwk-kid-mismatch`. Clerk's SDK takes any value for a text, and by
    /// the name of what every JavaScript object has it finds something, which is `token-verification-failed`.
    pub plain_key_ids: bool,
    /// What the Backend API says about a token of a machine, an OAuth client or an API key names the token and its subject;
    /// otherwise it is no verdict (`unexpected-error`). Clerk's SDK takes any answer for a good token, an empty one too.
    pub require_description: bool,
    /// To [`has`](portal_identity::SessionAuth::has), an empty role, permission, feature or plan is none, and a scope alone (`o:`) is
    /// no name. In Clerk's SDK they are compared as anything else is.
    pub strict_questions: bool,
    /// `Authorization` as RFC 6750 has it: `Bearer` in any case, and no token without a scheme. For services that are
    /// an API and nothing else; off in both presets.
    pub rfc_bearer: bool,
}

impl StrictChoices {
    /// All verdicts as in Clerk's SDK.
    pub const fn exact() -> Self {
        Self {
            check_issuer: false,
            require_session_id: false,
            rs256_only: false,
            reject_unknown_crit: false,
            strict_aud_types: false,
            require_audience: false,
            strict_encoding: false,
            reject_duplicate_claims: false,
            strict_times: false,
            reject_malformed_actor: false,
            keep_stale_keys: false,
            refetch_on_bad_signature: false,
            no_handshake_in_query: false,
            own_cookies_only: false,
            count_redirects: false,
            retry_handshake_payload: false,
            lenient_cookie_azp: false,
            no_refresh_for_headers: false,
            known_satellites_only: false,
            known_claim_versions_only: false,
            count_user_features: false,
            name_key_outages: false,
            omit_message_header: false,
            machine_ignores_azp: false,
            check_machine_state: false,
            require_m2m_audience: false,
            cache_opaque_tokens: false,
            rs256_keys_only: false,
            require_objects: false,
            typed_cookie_claims: false,
            check_class_first: false,
            unknown_status_is_pending: false,
            mend_organizations: false,
            judge_answers_by_content: false,
            plain_error_codes: false,
            require_session_id_in_path: false,
            check_machine_subject: false,
            drop_empty_scopes: false,
            name_class_by_prefix: false,
            require_user_subject: false,
            check_class_everywhere: false,
            reject_unrepresentable_values: false,
            plain_key_ids: false,
            require_description: false,
            strict_questions: false,
            rfc_bearer: false,
        }
    }

    /// All switches on, except `rfc_bearer`.
    pub const fn strict() -> Self {
        Self {
            check_issuer: true,
            require_session_id: true,
            rs256_only: true,
            reject_unknown_crit: true,
            strict_aud_types: true,
            require_audience: true,
            strict_encoding: true,
            reject_duplicate_claims: true,
            strict_times: true,
            reject_malformed_actor: true,
            keep_stale_keys: true,
            refetch_on_bad_signature: true,
            no_handshake_in_query: true,
            own_cookies_only: true,
            count_redirects: true,
            retry_handshake_payload: true,
            lenient_cookie_azp: true,
            no_refresh_for_headers: true,
            known_satellites_only: true,
            known_claim_versions_only: true,
            count_user_features: true,
            name_key_outages: true,
            omit_message_header: true,
            machine_ignores_azp: true,
            check_machine_state: true,
            require_m2m_audience: true,
            cache_opaque_tokens: true,
            rs256_keys_only: true,
            require_objects: true,
            typed_cookie_claims: true,
            check_class_first: true,
            unknown_status_is_pending: true,
            mend_organizations: true,
            judge_answers_by_content: true,
            plain_error_codes: true,
            require_session_id_in_path: true,
            check_machine_subject: true,
            drop_empty_scopes: true,
            name_class_by_prefix: true,
            require_user_subject: true,
            check_class_everywhere: true,
            reject_unrepresentable_values: true,
            plain_key_ids: true,
            require_description: true,
            strict_questions: true,
            rfc_bearer: false,
        }
    }
}

impl Default for StrictChoices {
    fn default() -> Self {
        Self::strict()
    }
}

impl From<Compatibility> for StrictChoices {
    fn from(compatibility: Compatibility) -> Self {
        match compatibility {
            Compatibility::Exact => Self::exact(),
            Compatibility::Strict => Self::strict(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_strict() {
        assert_eq!(StrictChoices::from(Compatibility::default()), StrictChoices::strict());
        assert_eq!(StrictChoices::default(), StrictChoices::strict());
    }

    #[test]
    fn only_the_two_published_words_name_a_compatibility() {
        assert_eq!("exact".parse(), Ok(Compatibility::Exact));
        assert_eq!("strict".parse(), Ok(Compatibility::Strict));
        assert_eq!("Strict".parse::<Compatibility>(), Err(InvalidCompatibility));
        assert_eq!("".parse::<Compatibility>(), Err(InvalidCompatibility));
    }
}
