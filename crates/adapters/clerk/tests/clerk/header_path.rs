//! Verdicts on requests with a token in `Authorization`.

use portal_clerk::{
    Auth, AuthReason, AuthStatus, AuthenticateRequestOptions, Refresh, RefreshFailure, RequestAuthenticator,
    RequestParts, RequestState, StrictChoices, TokenVerificationErrorReason as Reason,
};
use serde_json::json;

use crate::minting::{KEY, NOW, OTHER, claims, header};
use crate::setup::{Setup, session, with_public_key};

fn exact() -> Setup {
    let mut options = with_public_key();
    options.choices = StrictChoices::exact();
    Setup::new(options)
}

fn out(state: RequestState) -> (AuthReason, String, Vec<(String, String)>) {
    match state {
        RequestState::SignedOut(out) => (out.reason, out.message, out.headers),
        state => panic!("{state:?}"),
    }
}

#[tokio::test]
async fn h1_tokens_of_another_class_are_a_mismatch_without_a_message() {
    let machine = KEY.token(&header(&json!({ "cat": null })), &claims(&json!({ "sub": "mch_1" })));
    let access = KEY.token(&header(&json!({ "typ": "at+jwt" })), &claims(&json!({})));
    let template = OTHER.token(&header(&json!({ "cat": "cl_B7d4PD222AAA" })), &claims(&json!({ "exp": NOW - 60 })));
    for token in [machine, access, template] {
        let (reason, message, headers) = out(exact().get(&format!("Bearer {token}")).await);
        assert_eq!((reason, message.as_str()), (AuthReason::TokenTypeMismatch, ""));
        assert_eq!(
            headers,
            [
                ("x-clerk-auth-status".into(), "signed-out".into()),
                ("x-clerk-auth-reason".into(), "token-type-mismatch".into()),
            ]
        );
    }
}

#[tokio::test]
async fn h2_a_token_that_verifies_is_signed_in_without_headers() {
    for method in ["GET", "POST", "HEAD", "OPTIONS"] {
        let state = Setup::new(with_public_key()).request(method, &format!("Bearer {}", session(&json!({})))).await;
        assert_eq!((state.status(), state.reason(), state.headers().len()), (AuthStatus::SignedIn, None, 0));
    }
    let state = Setup::new(with_public_key()).get(&format!("Bearer {}", session(&json!({ "sts": "pending" })))).await;
    let RequestState::SignedIn { auth: Auth::Session(auth), .. } = state else {
        panic!("a pending session is a signed-in state")
    };
    assert!(auth.is_pending());
}

#[tokio::test]
async fn h3_an_expired_token_says_why_it_was_not_refreshed() {
    let expired = format!("Bearer {}", session(&json!({ "exp": NOW - 5 })));
    let message = "JWT is expired. Expiry date: Wed, 31 Dec 2025 23:59:55 GMT, Current date: Thu, 01 Jan 2026 00:00:00 GMT. \
                   (reason=token-expired, token-carrier=header)";
    for (method, failure, text) in [
        (
            "GET",
            RefreshFailure::NonEligibleNoRefreshCookie,
            "session-token-expired-refresh-non-eligible-no-refresh-cookie",
        ),
        ("POST", RefreshFailure::NonEligibleNonGet, "session-token-expired-refresh-non-eligible-non-get"),
        ("HEAD", RefreshFailure::NonEligibleNonGet, "session-token-expired-refresh-non-eligible-non-get"),
        ("get", RefreshFailure::NonEligibleNonGet, "session-token-expired-refresh-non-eligible-non-get"),
    ] {
        let (reason, found, headers) = out(exact().request(method, &expired).await);
        assert_eq!(reason, AuthReason::SessionTokenExpiredRefresh(Refresh::Failed(failure)), "{method}");
        assert_eq!(found, message, "{method}");
        assert!(headers.contains(&("x-clerk-auth-reason".into(), text.into())), "{method}");
        assert!(headers.contains(&("x-clerk-auth-message".into(), message.into())), "{method}");
    }
}

#[tokio::test]
async fn h4_a_token_from_the_future_says_so() {
    for (change, reason, text) in [
        (json!({ "nbf": NOW + 6 }), AuthReason::SessionTokenNbf, "(reason=token-not-active-yet, token-carrier=header)"),
        (
            json!({ "iat": NOW + 6 }),
            AuthReason::SessionTokenIatInTheFuture,
            "(reason=token-iat-in-the-future, token-carrier=header)",
        ),
    ] {
        let (found, message, _) = out(exact().get(&format!("Bearer {}", session(&change))).await);
        assert_eq!(found, reason);
        assert!(message.ends_with(text), "{message}");
    }
}

#[tokio::test]
async fn h5_any_other_failure_keeps_its_own_reason() {
    let mut options = with_public_key();
    options.authorized_parties = vec!["https://portal.example".into()];
    let setup = Setup::new(options);
    for (token, reason) in [
        ("x".to_owned(), Reason::TokenInvalid),
        ("ak_live_secret".to_owned(), Reason::TokenInvalid),
        (OTHER.session(&json!({})), Reason::TokenInvalidSignature),
        (session(&json!({ "sub": 1 })), Reason::TokenVerificationFailed),
        (session(&json!({ "azp": null })), Reason::TokenInvalidAuthorizedParties),
        (session(&json!({ "azp": "https://evil.example" })), Reason::TokenInvalidAuthorizedParties),
        (session(&json!({ "iss": "https://clerk.other.com" })), Reason::TokenVerificationFailed),
        (session(&json!({ "sid": null })), Reason::TokenVerificationFailed),
        (KEY.token(&header(&json!({ "alg": "none" })), &claims(&json!({}))), Reason::TokenInvalidAlgorithm),
    ] {
        let (found, message, headers) = out(setup.get(&format!("Bearer {token}")).await);
        assert_eq!(found, AuthReason::Token(reason));
        assert!(message.ends_with(&format!("(reason={reason}, token-carrier=header)")), "{message}");
        assert!(!message.contains(&token) || token.len() == 1, "a message never holds the token");
        assert_eq!(headers.len(), 2, "strict leaves the message out of the headers");
    }
}

#[tokio::test]
async fn without_a_token_the_header_path_says_nothing() {
    let request = RequestParts::new("GET", "https://portal.example/");
    let setup = exact();
    for request in [
        request.clone(),
        request.clone().header("authorization", "Basic dXNlcjpwYXNz"),
        request.clone().header("authorization", format!("bearer {}", session(&json!({})))),
        request.clone().header("authorization", ""),
        request.clone().header("x-authorization", format!("Bearer {}", session(&json!({})))),
    ] {
        let (reason, message, headers) =
            out(setup.clerk.authenticate_request(&request, &AuthenticateRequestOptions::DOCUMENT).await);
        assert_eq!((reason, message.as_str()), (AuthReason::DevBrowserMissing, ""));
        assert_eq!(headers[1], ("x-clerk-auth-reason".into(), "dev-browser-missing".into()));
    }
}

#[tokio::test]
async fn a_value_without_a_scheme_is_a_token_unless_the_switch_says_otherwise() {
    let token = session(&json!({}));
    assert_eq!(Setup::new(with_public_key()).get(&token).await.status(), AuthStatus::SignedIn);
    let mut options = with_public_key();
    options.choices.rfc_bearer = true;
    let setup = Setup::new(options);
    assert_eq!(setup.get(&token).await.reason(), Some(&AuthReason::DevBrowserMissing));
    assert_eq!(setup.get(&format!("bearer {token}")).await.status(), AuthStatus::SignedIn);
}

#[tokio::test]
async fn two_authorization_lines_are_no_token_at_all() {
    let token = session(&json!({}));
    let request = RequestParts::new("GET", "https://portal.example/");
    let request = request.header("authorization", format!("Bearer {token}")).header("Authorization", "Bearer x.y.z");
    let state =
        Setup::new(with_public_key()).clerk.authenticate_request(&request, &AuthenticateRequestOptions::DOCUMENT).await;
    assert_eq!(state.reason(), Some(&AuthReason::Token(Reason::TokenInvalid)));
}

#[tokio::test]
async fn hostile_headers_are_refused_and_never_end_a_program() {
    let setup = exact();
    for value in [
        "Bearer ....",
        "Bearer \u{0}.\u{0}.\u{0}",
        "Bearer e30.e30.",
        "Bearer \u{feff}",
        ".",
        "..",
        "Bearer =.=.=",
        "Bearer e30.W10.e30",
    ] {
        assert!(setup.get(value).await.reason().is_some(), "{value:?}");
    }
    let huge = format!("Bearer {}.e30.e30", "A".repeat(1_000_000));
    assert_eq!(setup.get(&huge).await.reason(), Some(&AuthReason::Token(Reason::TokenInvalid)));
}

#[tokio::test]
async fn a_url_that_cannot_be_read_matters_only_where_a_browser_would_be_sent_on() {
    let good = session(&json!({}));
    let forged = OTHER.session(&json!({}));
    let expired = session(&json!({ "exp": NOW - 60 }));
    for (token, reason) in [
        (Some(good), None),
        (Some(forged), Some(AuthReason::Token(Reason::TokenInvalidSignature))),
        (Some(expired), Some(AuthReason::UnexpectedError)),
        (None, Some(AuthReason::UnexpectedError)),
    ] {
        let mut request = RequestParts::new("GET", "no URL");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let setup = Setup::new(with_public_key());
        let state = setup.clerk.authenticate_request(&request, &AuthenticateRequestOptions::DOCUMENT).await;
        assert_eq!(state.reason(), reason.as_ref());
    }
}
