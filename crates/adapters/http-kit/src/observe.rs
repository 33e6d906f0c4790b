//! The outermost layer: a request id, the limit on headers, and the headers that every answer has.

use std::future::{Ready, ready};

use actix_cors::CorsError;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::header::{
    CACHE_CONTROL, HeaderName, HeaderValue, InvalidHeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{Error, HttpRequest, web};
use futures_util::TryFutureExt;
use futures_util::future::{Either, MapOk};

use crate::Kit;
use crate::context::Observed;
use crate::limits::{HEADER_LIMIT, headers_too_large};
use crate::problem::Problem;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Middleware for the whole program. A request id is always ours: what a client sends in its place is ignored.
///
/// Spelled out as a service: `from_fn` would allocate for every request.
#[derive(Debug, Clone, Copy)]
pub struct Observe;

impl<S, B> Transform<S, ServiceRequest> for Observe
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = ObserveService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(ObserveService { inner }))
    }
}

/// What [`Observe`] makes of a service.
#[derive(Debug)]
pub struct ObserveService<S> {
    inner: S,
}

impl<S, B> Service<ServiceRequest> for ObserveService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future =
        Either<Ready<Result<Self::Response, Error>>, MapOk<S::Future, fn(ServiceResponse<B>) -> Self::Response>>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > HEADER_LIMIT {
            return Either::Left(ready(Ok(finished(refused(request.into_parts().0, headers_too_large())))));
        }
        Either::Right(self.inner.call(request).map_ok(answered))
    }
}

fn answered<B: MessageBody + 'static>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    let by_cors = response.response().error().is_some_and(|error| error.as_error::<CorsError>().is_some());
    finished(if by_cors {
        let refusal = Problem::bad_request("cors_refused", "This origin may not do this");
        refused(response.into_parts().0, refusal)
    } else {
        response.map_into_left_body()
    })
}

fn refused<B: MessageBody + 'static>(request: HttpRequest, refusal: Problem) -> ServiceResponse<EitherBody<B>> {
    let response = refusal.respond(&request);
    ServiceResponse::new(request, response).map_into_right_body()
}

/// With the headers that every answer has.
fn finished<B>(mut response: ServiceResponse<B>) -> ServiceResponse<B> {
    let Some(kit) = response.request().app_data::<web::Data<Kit>>() else { return response };
    let (id, verdict) = Observed::take(response.request());
    let id = id.unwrap_or_else(|| kit.ids.make());
    let headers = response.headers_mut();
    for (name, value) in &verdict {
        // The verdict's headers must arrive whatever the answer is; one that is not legal is skipped.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), legal(value)) {
            headers.append(name, value);
        }
    }
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(X_REQUEST_ID, id);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    headers.append(VARY, HeaderValue::from_static("Cookie, Authorization, Origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A value of the verdict's, each character as one byte.
fn legal(value: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    if value.is_ascii() {
        return HeaderValue::from_str(value);
    }
    // A character that is no byte becomes one that no header has.
    let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(c).unwrap_or_default()).collect();
    HeaderValue::from_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_a_byte_or_the_header_is_left_out() {
        for (text, bytes) in [
            ("a=1; Path=/", Some(&b"a=1; Path=/"[..])),
            ("a=\u{fc}", Some(b"a=\xfc")),
            ("a=\u{fc}\u{20ac}", None),
            ("a=\u{fc}\r\nb", None),
            ("a\nb", None),
        ] {
            assert_eq!(legal(text).ok().as_ref().map(HeaderValue::as_bytes), bytes, "{text:?}");
        }
    }
}
