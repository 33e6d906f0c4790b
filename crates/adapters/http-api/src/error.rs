//! Use-case errors as problems: one exhaustive match each.

use actix_web::http::StatusCode;
use portal_accounts::{OrganizationError, ReadAccountError};
use portal_api_keys::{
    CreateKeyError, DisableKeyError, KeyFeedError, ReadKeyError, Repeated, RevokeKeyError, RotateKeyError,
    UpdateKeyError, VerifyError,
};
use portal_audit::ReadTrailError;
use portal_http_kit::Problem;
use portal_identity::OrganizationRefusal;
use portal_kernel::InvalidPageSize;

/// What a handler of this crate fails with.
pub(crate) struct ApiError(Problem);

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        error.0
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<ReadAccountError> for ApiError {
    fn from(error: ReadAccountError) -> Self {
        Self(match error {
            ReadAccountError::NotFound => Problem::not_found(),
            ReadAccountError::Denied(denied) => denied.into(),
            ReadAccountError::Store(error) => error.into(),
        })
    }
}

impl From<OrganizationError> for ApiError {
    fn from(error: OrganizationError) -> Self {
        let conflict = |code, title| Problem::new(StatusCode::CONFLICT, code, title);
        Self(match error {
            OrganizationError::NotFound => Problem::not_found(),
            OrganizationError::PersonalAccount => conflict("personal_account", "A personal account is one person's")
                .detail("It has no other members, and ends with its person."),
            OrganizationError::RoleNotAvailable => {
                conflict("role_not_available", "No role at the identity provider means this role")
            }
            OrganizationError::NotAdministrator => {
                conflict("not_an_administrator", "The member is no administrator at the identity provider")
            }
            OrganizationError::HasOwner => conflict("has_owner", "The account has an owner"),
            OrganizationError::Denied(denied) => denied.into(),
            OrganizationError::Refused(refusal) => refused(refusal),
            OrganizationError::Provider(cause) => {
                Problem::unavailable("identity_unavailable", "The identity provider cannot be asked right now")
                    .cause(cause)
            }
            OrganizationError::Store(error) => error.into(),
        })
    }
}

fn conflict(code: &'static str, title: &'static str) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, title)
}

/// What the identity provider says no to.
fn refused(refusal: OrganizationRefusal) -> Problem {
    match refusal {
        OrganizationRefusal::LastAdmin => conflict("last_admin", "An organization keeps an administrator"),
        OrganizationRefusal::AlreadyMember => conflict("already_member", "The person is a member already"),
        OrganizationRefusal::AlreadyInvited => conflict("already_invited", "The person is invited already"),
        OrganizationRefusal::UnknownRole => {
            conflict("role_not_available", "No role at the identity provider means this role")
        }
        OrganizationRefusal::NotMember => conflict("conflict", "Changed by somebody else"),
        OrganizationRefusal::NotPending => conflict("invitation_not_pending", "The invitation is not open any more"),
        OrganizationRefusal::Full => conflict("organization_full", "No further members fit in"),
        OrganizationRefusal::InvalidEmail => Problem::invalid("invalid_email", "The e-mail address is not valid"),
        OrganizationRefusal::InvalidName => Problem::invalid("invalid_name", "The name is not valid"),
        OrganizationRefusal::Other => conflict("identity_refused", "The identity provider refuses"),
    }
}

impl From<CreateKeyError> for ApiError {
    fn from(error: CreateKeyError) -> Self {
        Self(match error {
            CreateKeyError::Denied(denied) => denied.into(),
            CreateKeyError::EndIsPast => end_is_past(),
            CreateKeyError::TooManyKeys => {
                conflict("too_many_keys", "The account has as many live keys as it may have")
            }
            CreateKeyError::Repeated(repeated) => refused_repetition(repeated),
            CreateKeyError::Store(error) => error.into(),
        })
    }
}

impl From<ReadKeyError> for ApiError {
    fn from(error: ReadKeyError) -> Self {
        Self(match error {
            ReadKeyError::NotFound => Problem::not_found(),
            ReadKeyError::Denied(denied) => denied.into(),
            ReadKeyError::Store(error) => error.into(),
        })
    }
}

impl From<RevokeKeyError> for ApiError {
    fn from(error: RevokeKeyError) -> Self {
        Self(match error {
            RevokeKeyError::NotFound => Problem::not_found(),
            RevokeKeyError::Denied(denied) => denied.into(),
            RevokeKeyError::Store(error) => error.into(),
        })
    }
}

impl From<UpdateKeyError> for ApiError {
    fn from(error: UpdateKeyError) -> Self {
        Self(match error {
            UpdateKeyError::NotFound => Problem::not_found(),
            UpdateKeyError::Denied(denied) => denied.into(),
            UpdateKeyError::KeyIsOver => key_is_over(),
            UpdateKeyError::EndIsPast => end_is_past(),
            UpdateKeyError::Store(error) => error.into(),
        })
    }
}

impl From<DisableKeyError> for ApiError {
    fn from(error: DisableKeyError) -> Self {
        Self(match error {
            DisableKeyError::NotFound => Problem::not_found(),
            DisableKeyError::Denied(denied) => denied.into(),
            DisableKeyError::KeyIsOver => key_is_over(),
            DisableKeyError::Store(error) => error.into(),
        })
    }
}

impl From<RotateKeyError> for ApiError {
    fn from(error: RotateKeyError) -> Self {
        Self(match error {
            RotateKeyError::NotFound => Problem::not_found(),
            RotateKeyError::Denied(denied) => denied.into(),
            RotateKeyError::KeyIsOver => key_is_over(),
            RotateKeyError::Repeated(repeated) => refused_repetition(repeated),
            RotateKeyError::Store(error) => error.into(),
        })
    }
}

fn refused_repetition(repeated: Repeated) -> Problem {
    match repeated {
        Repeated::Same(key) => conflict("secret_already_issued", "The secret was issued already")
            .detail("It was in the first answer, and is not kept.")
            .member("key_id", key.to_string()),
        Repeated::Other => Problem::invalid("idempotency_key_reused", "Another request has this Idempotency-Key")
            .detail("Give each request that is to make something else one of its own."),
    }
}

fn key_is_over() -> Problem {
    conflict("key_is_over", "The key was revoked, or its time is over").detail("Make another one.")
}

fn end_is_past() -> Problem {
    Problem::invalid("invalid_expiry", "The end is not valid")
        .detail("The end lies in the past.")
        .member("field", "expires_at")
}

impl From<ReadTrailError> for ApiError {
    fn from(error: ReadTrailError) -> Self {
        Self(match error {
            ReadTrailError::Denied(denied) => denied.into(),
            ReadTrailError::Store(error) => error.into(),
        })
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        Self(match error {
            VerifyError::Denied(denied) => denied.into(),
            VerifyError::Store(error) => error.into(),
            VerifyError::TooMany => {
                Problem::invalid("too_many_keys_asked", "Too many keys").detail(VerifyError::TooMany)
            }
        })
    }
}

impl From<KeyFeedError> for ApiError {
    fn from(error: KeyFeedError) -> Self {
        Self(match error {
            KeyFeedError::Denied(denied) => denied.into(),
            KeyFeedError::PositionTooOld => {
                Problem::new(StatusCode::GONE, "position_too_old", "Not everything since that position is kept")
                    .detail("Read all keys anew, from GET /v1/keys/snapshot.")
            }
            KeyFeedError::Store(error) => error.into(),
        })
    }
}

impl From<InvalidPageSize> for ApiError {
    fn from(error: InvalidPageSize) -> Self {
        Self(Problem::bad_request("invalid_query", "The query string is not valid").detail(error))
    }
}
