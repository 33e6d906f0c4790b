//! What a handler requires of its caller, as the type of its first argument.

use std::future::Future;

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse};
use portal_audit::Provenance;
use portal_authz::Kind;
use portal_kernel::UserId;

use crate::context::{Kit, provenance};
use crate::problem::Problem;

/// Who can call a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequirementKind {
    /// Anybody.
    Public,
    /// A signed-in person.
    Session,
    /// A service with a token.
    Service,
    /// Whoever holds an API key.
    ApiKey,
    /// A signed-in person, in a browser.
    Page,
    /// Whoever signed the body.
    Signature,
}

impl RequirementKind {
    /// The text in the OpenAPI document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Session => "session",
            Self::Service => "service",
            Self::ApiKey => "api-key",
            Self::Page => "page",
            Self::Signature => "signature",
        }
    }
}

/// Why a requirement is not met.
pub enum Refusal {
    /// An error.
    Problem(Problem),
    /// The browser has to go somewhere else first. The headers of the provider's verdict go along.
    Redirect {
        /// 303, or 307 for what the provider asks for.
        status: StatusCode,
        /// Where; none if it is among the verdict's headers.
        location: Option<String>,
    },
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Refusal {
    /// As an answer without a body, or the problem.
    pub(crate) fn respond(self) -> Result<HttpResponse, Problem> {
        match self {
            Self::Problem(problem) => Err(problem),
            Self::Redirect { status, location } => {
                let mut response = HttpResponse::build(status);
                if let Some(location) = location {
                    response.insert_header((LOCATION, location));
                }
                response.insert_header((REFERRER_POLICY, "no-referrer"));
                Ok(response.finish())
            }
        }
    }
}

/// A requirement that is resolved before anything else of the request is read.
pub trait Requirement: Sized + 'static {
    /// For the OpenAPI document and the tests that walk it.
    const KIND: RequirementKind;
    /// The action that the policy is asked about.
    const ACTION: Option<Kind>;

    /// Meets the requirement, or says why not. Never looks at the path: the guard stands at the handler.
    fn resolve(req: &HttpRequest) -> impl Future<Output = Result<Self, Refusal>>;

    /// The person who was verified, whose limits count the request.
    fn user(&self) -> Option<UserId> {
        None
    }
}

/// A body that carries its sender's signature, which the use case verifies once all of it is there: the signature covers every byte.
#[derive(Debug, Clone)]
pub struct Signed {
    provenance: Provenance,
}

impl Signed {
    /// Through which request the body came.
    pub fn provenance(self) -> Provenance {
        self.provenance
    }
}

impl Requirement for Signed {
    const KIND: RequirementKind = RequirementKind::Signature;
    const ACTION: Option<Kind> = None;

    async fn resolve(req: &HttpRequest) -> Result<Self, Refusal> {
        Ok(Self { provenance: provenance(req, Kit::of(req)?) })
    }
}

/// No requirement. Written out, so that no handler is public by omission.
#[derive(Debug, Clone, Copy)]
pub struct Public;

impl Requirement for Public {
    const KIND: RequirementKind = RequirementKind::Public;
    const ACTION: Option<Kind> = None;

    async fn resolve(_: &HttpRequest) -> Result<Self, Refusal> {
        Ok(Self)
    }
}
