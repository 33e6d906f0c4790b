//! What a handler requires of its caller, as the type of its first argument.

use std::future::Future;

use actix_web::HttpRequest;
use portal_authz::Kind;

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
}

impl RequirementKind {
    /// The text in the OpenAPI document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Session => "session",
            Self::Service => "service",
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
    fn resolve(req: &HttpRequest) -> impl Future<Output = Result<Self, Problem>>;
}

/// No requirement. Written out, so that no handler is public by omission.
#[derive(Debug, Clone, Copy)]
pub struct Public;

impl Requirement for Public {
    const KIND: RequirementKind = RequirementKind::Public;
    const ACTION: Option<Kind> = None;

    async fn resolve(_: &HttpRequest) -> Result<Self, Problem> {
        Ok(Self)
    }
}
