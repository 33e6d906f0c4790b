//! What can go wrong at start, and the error answers over HTTP.
//!
//! The HTTP body has Clerk's shape, because the programs that read it were written for Clerk.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};

use crate::people;
use crate::token::random_hex;

/// Why the local identity provider does not start, or does not know what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DevIdpError {
    /// The key file cannot be read or written.
    #[error("cannot read or write the signing key {}", path.display())]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The key file is open to other users of this machine, who could sign in as anybody.
    #[error("the signing key {path} can be read or changed by others; run: chmod 600 '{path}'", path = path.display())]
    KeyFileExposed {
        /// The key file.
        path: PathBuf,
    },
    /// The key file holds something else.
    #[error("{} holds no RSA private key; remove it to have a new key made", path.display())]
    KeyFileMalformed {
        /// The key file.
        path: PathBuf,
    },
    /// The cryptography library refused.
    #[error("the cryptography library could not {0}")]
    Crypto(&'static str),
    /// Only programs on this machine may talk to a provider that signs in everybody without a password.
    #[error("the local identity provider serves loopback addresses only, not {0}; bind 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// A key of a production instance is configured. Names the setting, never the key.
    #[error("{setting} is a live key; the local identity provider does not run beside live keys, remove the setting")]
    LiveKey {
        /// Name of the setting.
        setting: String,
    },
    /// Deliveries of webhooks tell about people: they stay on this machine.
    #[error("webhooks are sent to http://localhost, http://127.0.0.1 and http://[::1] only, not to {0}")]
    WebhookEndpoint(String),
    /// Deliveries run as tasks of the caller's runtime.
    #[error("webhooks can be sent from within a tokio runtime only")]
    NoRuntime,
    /// The HTTP client refused to start.
    #[error("no HTTP client for webhooks can be made")]
    HttpClient(#[source] reqwest::Error),
    /// What was asked for is not possible; says why in the words of the Backend API.
    #[error("the identity provider refused: {0}")]
    Refused(String),
    /// There is no such sample person.
    #[error("nobody here is called {name:?}; the sample people are {known}")]
    UnknownPerson {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
}

impl DevIdpError {
    /// The error for a name that [`people::person`] does not know; its text lists those it does.
    pub fn unknown_person(name: &str) -> Self {
        Self::UnknownPerson { name: name.to_owned(), known: people::NAMES.join(", ") }
    }
}

/// An error answer in Clerk's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    long_message: String,
    meta: Option<Value>,
    retry_after: Option<u64>,
}

impl From<ApiError> for DevIdpError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error.long_message)
    }
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: &'static str, long_message: impl Into<String>) -> Self {
        Self { status, code, message, long_message: long_message.into(), meta: None, retry_after: None }
    }

    fn about(self, param: &str) -> Self {
        Self { meta: Some(json!({ "param_name": param })), ..self }
    }

    pub(crate) fn host_not_allowed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            "Host not allowed",
            "The local identity provider answers to localhost, 127.0.0.1 and [::1] only.",
        )
    }

    pub(crate) fn cross_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "cross_site_request",
            "Cross-site request",
            "Pages of the local identity provider cannot be used from other sites.",
        )
    }

    pub(crate) fn authorization_missing() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "authorization_header_format_invalid",
            "Invalid Authorization header format",
            "Send the header 'Authorization: Bearer <secret key>'.",
        )
    }

    pub(crate) fn secret_key_invalid() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "clerk_key_invalid",
            "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct.",
            "The secret key is not the one of this local identity provider.",
        )
    }

    pub(crate) fn not_found(long_message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "resource_not_found", "not found", long_message)
    }

    pub(crate) fn bad_parameter(param: &str, long_message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "form_param_value_invalid", "is invalid", long_message).about(param)
    }

    pub(crate) fn missing_parameter(param: &str) -> Self {
        let text = format!("{param} must be included.");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "form_param_missing", "is missing", text).about(param)
    }

    pub(crate) fn unknown_parameter(param: &str) -> Self {
        let text = format!("{param} is not a valid parameter for this request.");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "form_param_unknown", "is unknown", text).about(param)
    }

    pub(crate) fn identifier_exists(param: &str) -> Self {
        let text = format!("That {param} is taken. Please try another.");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "form_identifier_exists", "already exists", text).about(param)
    }

    pub(crate) fn malformed_body() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "request_body_invalid",
            "Request body invalid",
            "The request body is invalid. Please consult the API documentation for more information.",
        )
    }

    pub(crate) fn unsupported_content_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_type",
            "Content-Type is unsupported",
            "You should use application/json instead.",
        )
    }

    pub(crate) fn missing_query(params: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "missing_query_parameter",
            "Missing query parameter",
            format!("Either of the following query parameters must be provided: {params}."),
        )
    }

    pub(crate) fn user_not_found(id: &str) -> Self {
        Self::not_found(format!("No user was found with id {id}."))
    }

    pub(crate) fn organization_not_found(id: &str) -> Self {
        Self::not_found(format!("No organization was found with id or slug {id}."))
    }

    pub(crate) fn session_not_found(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "resource_not_found",
            "Session not found",
            format!("No session was found with id {id}"),
        )
    }

    pub(crate) fn session_over(id: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "session_refresh_inactive_session",
            "session inactive",
            format!("The session {id} is not active, or its person was deleted."),
        )
    }

    pub(crate) fn invitation_not_found(id: &str) -> Self {
        Self::not_found(format!("No invitation was found with id {id}."))
    }

    pub(crate) fn role_not_found() -> Self {
        Self::not_found("Organization role not found").about("role")
    }

    pub(crate) fn creator_not_found(id: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "organization_creator_not_found",
            "creator not found",
            format!("No users found with id {id}."),
        )
    }

    pub(crate) fn last_admin() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "organization_minimum_permissions_needed",
            "minimum organization permissions needed",
            "There has to be at least one organization member with the minimum required permissions",
        )
    }

    pub(crate) fn already_a_member(who: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "already_a_member_in_organization",
            "already a member",
            format!("{who} is already a member of the organization."),
        )
    }

    pub(crate) fn not_a_member() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not_a_member_in_organization",
            "not a member",
            "Current user is not a member of the organization. Only organization members can perform this action.",
        )
    }

    pub(crate) fn duplicate_invitation(email: &str) -> Self {
        let error = Self::new(
            StatusCode::BAD_REQUEST,
            "duplicate_record",
            "duplicate invitation",
            "There are already pending invitations for the following email addresses.",
        );
        Self { meta: Some(json!({ "email_addresses": [email] })), ..error }
    }

    pub(crate) fn invitation_not_pending() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "organization_invitation_not_pending",
            "not pending",
            "The organization invitation is not in the 'pending' status.",
        )
    }

    pub(crate) fn too_many_requests(retry_after: u64) -> Self {
        let error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "Too many requests",
            "Too many requests. Please try again in a bit.",
        );
        Self { retry_after: Some(retry_after), ..error }
    }

    pub(crate) fn outage() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "Service unavailable",
            "A test switched on an outage of the identity provider.",
        )
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut error = json!({ "code": self.code, "message": self.message, "long_message": self.long_message });
        if let Some(meta) = &self.meta {
            error["meta"] = meta.clone();
        }
        let mut answer = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            answer.insert_header((RETRY_AFTER, seconds));
        }
        answer.json(json!({ "errors": [error], "clerk_trace_id": random_hex::<16>() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        assert_eq!(
            DevIdpError::unknown_person("bob").to_string(),
            "nobody here is called \"bob\"; the sample people are alice, adam, edith, victor, stranger"
        );
    }
}
