//! How much of a request is read, and how extractors say no.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::{JsonBody, Payload};
use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::rt::time::timeout;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use crate::problem::Problem;
use crate::routes::{BODY_DEADLINE, request_timeout};

/// Bytes of a JSON body. No request of this API needs more.
pub(crate) const BODY_LIMIT: usize = 16 * 1024;

/// Bytes of all header names and values together.
pub(crate) const HEADER_LIMIT: usize = 16 * 1024;

/// Limits the extractors and makes them fail with a [`Problem`].
pub fn configure_extractors(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(BODY_LIMIT))
        .app_data(
            web::JsonConfig::default()
                .limit(BODY_LIMIT)
                .error_handler(|error, _| json_problem(&error, BODY_LIMIT).into()),
        )
        .app_data(web::PathConfig::default().error_handler(|error, _| path_problem(&error).into()))
        .app_data(web::QueryConfig::default().error_handler(|error, _| query_problem(&error).into()));
}

pub(crate) fn body_too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Body too large")
        .detail(format_args!("A body has at most {limit} bytes."))
}

/// The bytes of a body as they came, up to a limit of the route's own.
pub async fn whole_body(body: web::Payload, limit: usize) -> Result<web::Bytes, Problem> {
    match timeout(BODY_DEADLINE, body.to_bytes_limited(limit)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(Problem::bad_request("unreadable_body", "The body could not be read")),
        Ok(Err(_)) => Err(body_too_large(limit)),
        // The caller's fault, and not an outage.
        Err(_) => Err(request_timeout()),
    }
}

pub(crate) fn headers_too_large() -> Problem {
    Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "Headers too large")
        .detail(format_args!("All headers together have at most {HEADER_LIMIT} bytes."))
}

fn json_problem(error: &JsonPayloadError, limit: usize) -> Problem {
    match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => body_too_large(limit),
        JsonPayloadError::ContentType => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Not JSON")
                .detail("Send Content-Type: application/json.")
        }
        JsonPayloadError::Deserialize(error) if error.classify() == Category::Data => {
            Problem::invalid("invalid_body", "The body is not valid").detail(expectation(error))
        }
        JsonPayloadError::Deserialize(error) => Problem::bad_request("malformed_json", "The body is not JSON")
            .detail(format_args!("At line {}, column {}.", error.line(), error.column())),
        _ => Problem::bad_request("unreadable_body", "The body could not be read"),
    }
}

/// An id that cannot be one names nothing: the same answer as for one that is not there.
fn path_problem(_: &PathError) -> Problem {
    Problem::not_found()
}

fn query_problem(_: &QueryPayloadError) -> Problem {
    Problem::bad_request("invalid_query", "The query string is not valid")
        .detail("A parameter is unknown, repeated or malformed.")
}

/// What was expected where: the part of serde's message that comes from this program. The rest repeats what the caller sent, which
/// may be a secret in the wrong place.
fn expectation(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let expected = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("Expected {expected}"),
        None if text.starts_with("missing field") => text.replacen("missing", "Missing", 1),
        None => "Not valid".to_owned(),
    };
    format!("{expected}, at line {}, column {}.", error.line(), error.column())
}

/// A JSON body of up to so many bytes, where a route needs a limit of its own.
pub struct LargeJson<T, const LIMIT: usize>(pub T);

impl<T: DeserializeOwned + 'static, const LIMIT: usize> FromRequest for LargeJson<T, LIMIT> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = JsonBody::<T>::new(req, payload, None, true).limit(LIMIT);
        Box::pin(async move { body.await.map(Self).map_err(|error| json_problem(&error, LIMIT).into()) })
    }
}

/// A JSON object. Without it, a list of a struct's values in order would pass for the struct.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Sample {
        key: String,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Live,
        Test,
    }

    #[test]
    fn a_refusal_says_what_was_expected_and_never_what_was_sent() {
        for (body, said) in [
            (r#""s3cret""#, "Expected an object, at line 1, column 8."),
            (r#"["s3cret", null]"#, "Expected an object, at line 1, column 0."),
            (r#"{"s3cret": 1}"#, "Expected `key` or `kind`, at line 1, column 9."),
            (r#"{"key": "x", "kind": "s3cret"}"#, "Expected `live` or `test`, at line 1, column 29."),
            (r#"{"key": ["s3cret"]}"#, "Expected a string, at line 1, column 8."),
            ("{}", "Missing field `key`, at line 1, column 2."),
        ] {
            let error = serde_json::from_str::<Object<Sample>>(body).map(|_| ()).unwrap_err();
            assert_eq!(expectation(&error), said, "{body}");
        }
    }
}
