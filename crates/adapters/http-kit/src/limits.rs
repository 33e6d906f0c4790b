//! How much of a request is read, and how extractors say no.

use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::web;
use serde_json::error::Category;

use crate::problem::Problem;

/// Bytes of a JSON body. No request of this API needs more.
pub(crate) const BODY_LIMIT: usize = 16 * 1024;

/// Bytes of all header names and values together.
pub(crate) const HEADER_LIMIT: usize = 16 * 1024;

/// Limits the extractors and makes them fail with a [`Problem`].
pub fn configure_extractors(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(BODY_LIMIT))
        .app_data(web::JsonConfig::default().limit(BODY_LIMIT).error_handler(|error, _| json_problem(&error).into()))
        .app_data(web::PathConfig::default().error_handler(|error, _| path_problem(&error).into()))
        .app_data(web::QueryConfig::default().error_handler(|error, _| query_problem(&error).into()));
}

pub(crate) fn body_too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Body too large")
        .detail(format_args!("A body has at most {BODY_LIMIT} bytes."))
}

pub(crate) fn headers_too_large() -> Problem {
    Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "Headers too large")
        .detail(format_args!("All headers together have at most {HEADER_LIMIT} bytes."))
}

fn json_problem(error: &JsonPayloadError) -> Problem {
    match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => body_too_large(),
        JsonPayloadError::ContentType => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Not JSON")
                .detail("Send Content-Type: application/json.")
        }
        JsonPayloadError::Deserialize(error) if error.classify() == Category::Data => {
            Problem::invalid("invalid_body", "The body is not valid").detail(error)
        }
        JsonPayloadError::Deserialize(error) => {
            Problem::bad_request("malformed_json", "The body is not JSON").detail(error)
        }
        _ => Problem::bad_request("unreadable_body", "The body could not be read"),
    }
}

/// An id that cannot be one names nothing: the same answer as for one that is not there.
fn path_problem(_: &PathError) -> Problem {
    Problem::not_found()
}

fn query_problem(error: &QueryPayloadError) -> Problem {
    Problem::bad_request("invalid_query", "The query string is not valid").detail(error)
}
