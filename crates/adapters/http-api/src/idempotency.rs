//! The header `Idempotency-Key`.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderValue;
use actix_web::{FromRequest, HttpRequest};
use portal_http_kit::Problem;
use portal_kernel::{IdempotencyKey, InvalidIdempotencyKey};

/// What the caller calls the request; none where it has no name.
pub(crate) struct NameOfRequest(pub(crate) Option<IdempotencyKey>);

impl FromRequest for NameOfRequest {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut lines = request.headers().get_all("idempotency-key");
        let name = match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => parse(line).map(Some),
            (Some(_), Some(_)) => Err(InvalidIdempotencyKey),
        };
        ready(name.map(Self).map_err(|error| {
            Problem::bad_request("invalid_idempotency_key", "The Idempotency-Key is not valid").detail(error)
        }))
    }
}

fn parse(line: &HeaderValue) -> Result<IdempotencyKey, InvalidIdempotencyKey> {
    IdempotencyKey::parse(line.to_str().map_err(|_| InvalidIdempotencyKey)?)
}
