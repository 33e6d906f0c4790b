//! Use-case errors as problems: one exhaustive match each.

use portal_accounts::ReadAccountError;
use portal_api_keys::{CreateKeyError, InvalidKeyName, ReadKeyError, RevokeKeyError, VerifyError};
use portal_audit::ReadTrailError;
use portal_http_kit::Problem;
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

impl From<CreateKeyError> for ApiError {
    fn from(error: CreateKeyError) -> Self {
        Self(match error {
            CreateKeyError::Denied(denied) => denied.into(),
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
        })
    }
}

impl From<InvalidKeyName> for ApiError {
    fn from(error: InvalidKeyName) -> Self {
        Self(Problem::invalid("invalid_name", "The name is not valid").detail(error))
    }
}

impl From<InvalidPageSize> for ApiError {
    fn from(error: InvalidPageSize) -> Self {
        Self(Problem::bad_request("invalid_query", "The query string is not valid").detail(error))
    }
}
