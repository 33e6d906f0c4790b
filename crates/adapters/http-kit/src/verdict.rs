//! The provider's verdict on a request of this server.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderName};
use portal_identity::{AuthenticateRequestOptions, RequestParts, RequestState};

use crate::context::{Kit, keep_headers};
use crate::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The verdict for a route that answers a program. A cookie counts for reading only, and not when another site made the browser ask.
/// An outage that keeps the token from being judged is a problem of its own, never a "signed out".
pub async fn authenticate(req: &HttpRequest) -> Result<RequestState, Problem> {
    judge(req, AuthenticateRequestOptions::API, cookies_count(req)).await
}

/// The verdict for a route that answers a browser with a page.
pub(crate) async fn authenticate_page(req: &HttpRequest) -> Result<RequestState, Problem> {
    judge(req, AuthenticateRequestOptions::DOCUMENT, true).await
}

async fn judge(
    req: &HttpRequest,
    options: AuthenticateRequestOptions,
    with_cookies: bool,
) -> Result<RequestState, Problem> {
    let kit = Kit::of(req)?;
    let state = kit.authenticator.authenticate_request(&parts(req, kit, with_cookies), &options).await;
    match state.reason() {
        Some(reason) if state.is_outage() => {
            Err(Problem::unavailable("identity_unavailable", "Sign-ins cannot be checked right now")
                .member("reason", reason.as_str())
                .cause(format!("the session token could not be judged: {reason}")))
        }
        _ => {
            keep_headers(req, &state);
            Ok(state)
        }
    }
}

fn cookies_count(req: &HttpRequest) -> bool {
    let reads = matches!(*req.method(), Method::GET | Method::HEAD);
    reads && req.headers().get(SEC_FETCH_SITE).is_none_or(|site| site != "cross-site")
}

/// Whether the caller presents a session where only a token in the header counts.
pub(crate) fn has_ignored_session(req: &HttpRequest) -> bool {
    let session = |line: &[u8]| line.windows(SESSION.len()).any(|text| text == SESSION);
    !cookies_count(req)
        && !req.headers().contains_key(AUTHORIZATION)
        && req.headers().get_all(COOKIE).any(|line| session(line.as_bytes()))
}

const SESSION: &[u8] = b"__session";

fn parts<'r>(req: &'r HttpRequest, kit: &Kit, with_cookies: bool) -> RequestParts<'r> {
    let target = req.uri().path_and_query().map_or("/", |target| target.as_str());
    RequestParts::new(req.method().as_str(), [kit.public_origin.as_str(), target].concat())
        .headers(req.headers().iter().filter(|(name, _)| with_cookies || **name != COOKIE))
}
