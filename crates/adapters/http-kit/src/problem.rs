//! Errors as RFC 9457 problem bodies.
//!
//! What the caller reads and what the log reads are different fields: `detail` and the members are for the caller, `cause` never leaves
//! the process. An error is logged once, where it becomes a response.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use portal_accounts::{STEP_UP, SignInError};
use portal_api_keys::AuthenticateError;
use portal_authz::Denied;
use portal_identity::{ReverificationError, TokenVerificationErrorReason, reverification_error};
use portal_kernel::{BoxError, StoreError};
use serde_json::{Map, Value, json};

use crate::context::request_id;

/// Wait before a request that met an outage is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Code for a session that is over while its token verifies.
pub(crate) const SESSION_ENDED: &str = "session_ended";

/// An error on its way to the caller.
#[derive(Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Option<String>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Arc<BoxError>>,
}

/// The body of every error, `application/problem+json` (RFC 9457).
#[derive(utoipa::ToSchema, serde::Deserialize)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes what Problem renders")]
pub struct ProblemBody {
    /// Always `about:blank`: `code` tells the kind.
    #[schema(example = "about:blank")]
    r#type: String,
    /// The kind in words.
    #[schema(example = "Not found")]
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// Stable; programs decide by it.
    #[schema(example = "not_found")]
    code: String,
    /// This occurrence in words; absent where it would tell too much.
    detail: Option<String>,
    /// The member of the body that is not valid, on some 422.
    #[schema(example = "networks")]
    field: Option<String>,
    /// The key that an earlier request gave its secret, on 409 `secret_already_issued`.
    #[schema(example = "key_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    key_id: Option<String>,
    /// Clerk's reason why nobody is signed in, on 401 and some 503.
    reason: Option<String>,
    /// The limits that were exceeded, on 429.
    #[serde(rename = "violated-policies")]
    violated_policies: Option<Vec<String>>,
    /// Also in the header `x-request-id`.
    #[schema(example = "req_01jdzqzr4ne5z8p5t2z6fj7x3b")]
    request_id: String,
}

impl Problem {
    /// A problem of that status.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, detail: None, members: Map::new(), headers: Vec::new(), cause: None }
    }

    /// Absent, or not the caller's to know about: the same words for both.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found")
    }

    /// Not even readable.
    pub fn bad_request(code: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, title)
    }

    /// Readable, and not valid.
    pub fn invalid(code: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title)
    }

    /// No credential or a bad one; `error` is RFC 6750's word for it, none where no credential was given.
    pub fn unauthenticated(code: &'static str, title: &'static str, error: Option<&str>) -> Self {
        let challenge = error.map_or_else(|| "Bearer".to_owned(), |error| format!("Bearer error=\"{error}\""));
        Self::new(StatusCode::UNAUTHORIZED, code, title).header(header::WWW_AUTHENTICATE, &challenge)
    }

    /// Something that this program needs is down.
    pub fn unavailable(code: &'static str, title: &'static str) -> Self {
        let seconds = RETRY_AFTER.as_secs().to_string();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title).header(header::RETRY_AFTER, &seconds)
    }

    /// A defect.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error")
    }

    /// Explains this occurrence to the caller.
    #[must_use]
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header; a value that is not legal in a header is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(Arc::new(cause.into()));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable text that tells what went wrong.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The kind in words.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// Renders it, and logs it if it is the program's fault.
    pub fn respond(self, req: &HttpRequest) -> HttpResponse {
        let request_id = self.log(req);
        self.render(request_id)
    }

    /// As [`Problem::respond`], with a page that is given the request's id.
    pub fn respond_with_page(self, req: &HttpRequest, page: impl FnOnce(&Self, &str) -> String) -> HttpResponse {
        let request_id = self.log(req).unwrap_or_default();
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.content_type("text/html; charset=utf-8").body(page(&self, &request_id))
    }

    fn log(&self, req: &HttpRequest) -> Option<String> {
        let request_id = request_id(req).map(|id| id.to_string());
        if self.status.is_server_error() {
            let cause = self.cause.as_deref().map(|cause| describe(&**cause)).unwrap_or_default();
            tracing::error!(
                request.id = request_id,
                http.status = self.status.as_u16(),
                problem.code = self.code,
                cause,
                "a request failed"
            );
        }
        request_id
    }

    fn render(&self, request_id: Option<String>) -> HttpResponse {
        let mut body = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
        });
        if let Value::Object(body) = &mut body {
            body.extend(self.members.clone());
            // What went wrong inside is nobody's business outside.
            if let Some(detail) = self.detail.as_ref().filter(|_| !self.status.is_server_error()) {
                body.insert("detail".to_owned(), detail.as_str().into());
            }
            if let Some(id) = request_id {
                body.insert("request_id".to_owned(), id.into());
            }
        }
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.content_type("application/problem+json").body(body.to_string())
    }
}

/// An error and its causes on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem").field("status", &self.status).field("code", &self.code).finish_non_exhaustive()
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.render(None)
    }
}

impl From<actix_web::Error> for Problem {
    /// Extractors are configured to fail with a problem; any other failure of theirs keeps its status and says no more.
    fn from(error: actix_web::Error) -> Self {
        if let Some(problem) = error.as_error::<Self>() {
            return problem.clone();
        }
        match error.as_response_error().status_code() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Body too large")
            }
            status if status.is_client_error() => Self::new(status, "bad_request", "Bad request"),
            _ => Self::internal().cause(error.to_string()),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Hidden => Self::not_found(),
            Denied::Forbidden => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed").detail("Your role does not allow this.")
            }
            Denied::EmailNotVerified => {
                Self::new(StatusCode::FORBIDDEN, "email_not_verified", "The primary e-mail is not verified")
                    .detail("Verify the address at the sign-in provider, and repeat.")
            }
            Denied::ReverificationRequired => {
                Self::new(StatusCode::FORBIDDEN, "reverification_required", "Prove again who you are")
                    .detail("Verify a factor of the session again, and repeat with a fresh token.")
                    .member("clerk_error", clerk_error(&reverification_error(STEP_UP)))
            }
            Denied::LastOwner => Self::new(StatusCode::CONFLICT, "last_owner", "An account keeps its owner")
                .detail("Transfer the ownership to another member first."),
        }
    }
}

/// As Clerk's helpers in the browser recognise it: they ask the person, and repeat the call (`clerk.md` §5).
fn clerk_error(error: &ReverificationError) -> Value {
    let rule = error.reverification;
    let asked = rule
        .preset()
        .map_or_else(|| json!({ "level": rule.level().as_str(), "afterMinutes": rule.after_minutes() }), Value::from);
    json!({ "type": error.error_type, "reason": error.reason, "metadata": { "reverification": asked } })
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Retryable(_) | StoreError::Unavailable(_) => {
                Self::unavailable("unavailable", "Temporarily unavailable").cause(error)
            }
            StoreError::Stale => Self::new(StatusCode::CONFLICT, "conflict", "Changed by somebody else")
                .detail("Read it again and repeat."),
            StoreError::Duplicate { .. } | StoreError::Corrupt(_) | StoreError::Other(_) => {
                Self::internal().cause(error)
            }
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::DelegateOfStranger => {
                Self::new(StatusCode::FORBIDDEN, "user_not_provisioned", "This person was never here")
                    .detail("Only the person can be provisioned, by signing in.")
            }
            SignInError::SessionEnded => {
                Self::unauthenticated(SESSION_ENDED, "This session is over", Some("invalid_token"))
            }
            SignInError::NoPerson => Self::unauthenticated("unauthenticated", "Not signed in", Some("invalid_token"))
                .member("reason", TokenVerificationErrorReason::TokenVerificationFailed.as_str()),
            SignInError::Paused => Self::new(StatusCode::FORBIDDEN, "user_paused", "This person is banned")
                .detail("The sign-in provider does not let this person sign in."),
            SignInError::Deleted => {
                Self::unauthenticated("user_deleted", "This person was deleted", Some("invalid_token"))
            }
            SignInError::ProvisioningFailed(cause) => {
                Self::unavailable("provisioning_failed", "The account could not be prepared").cause(cause)
            }
            SignInError::Denied(denied) => denied.into(),
            SignInError::Store(error) => error.into(),
        }
    }
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Invalid(_) => {
                Self::unauthenticated("invalid_service_token", "The service token is not valid", Some("invalid_token"))
            }
            AuthenticateError::Denied(denied) => denied.into(),
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;
    use portal_identity::{Reverification, ReverificationLevel};

    use super::*;

    async fn body(problem: Problem) -> Value {
        let response = problem.respond(&TestRequest::default().to_http_request());
        assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json");
        serde_json::from_slice(&to_bytes(response.into_body()).await.unwrap()).unwrap()
    }

    #[actix_web::test]
    async fn an_outage_says_when_to_come_back_and_not_what_broke() {
        let outage = Problem::from(StoreError::Unavailable("password=s3cret refused".into())).detail("never shown");
        let response = outage.clone().respond(&TestRequest::default().to_http_request());
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        let body = body(outage).await;
        assert_eq!(body["code"], "unavailable");
        assert_eq!(body.get("detail"), None);
        assert!(!body.to_string().contains("s3cret"));
    }

    #[actix_web::test]
    async fn hidden_and_absent_have_the_same_body() {
        let strip = |mut body: Value| {
            body.as_object_mut().unwrap().remove("request_id");
            body
        };
        let hidden = strip(body(Denied::Hidden.into()).await);
        assert_eq!(hidden, strip(body(Problem::not_found()).await));
    }

    #[actix_web::test]
    async fn a_fresh_proof_is_asked_for_in_clerks_words() {
        let asked = body(Denied::ReverificationRequired.into()).await;
        assert_eq!(asked["code"], "reverification_required");
        let expected = json!({ "type": "forbidden", "reason": "reverification-error", "metadata": { "reverification": "strict" } });
        assert_eq!(asked["clerk_error"], expected);
        let custom = Reverification::Custom { level: ReverificationLevel::FirstFactor, after_minutes: 7 };
        let asked = clerk_error(&reverification_error(custom));
        let expected = json!({ "level": "first_factor", "afterMinutes": 7 });
        assert_eq!(asked["metadata"]["reverification"], expected);
    }

    #[actix_web::test]
    async fn a_challenge_goes_with_every_401() {
        let problem = Problem::unauthenticated("unauthenticated", "Not signed in", Some("invalid_token"));
        let response = problem.respond(&TestRequest::default().to_http_request());
        assert_eq!(response.headers().get("www-authenticate").unwrap(), "Bearer error=\"invalid_token\"");
    }
}
