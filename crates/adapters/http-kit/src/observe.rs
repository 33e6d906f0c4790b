//! The outermost layer: a request id, the limit on headers, and the headers that every answer has.

use actix_cors::CorsError;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, HeaderName, HeaderValue, InvalidHeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use crate::Kit;
use crate::context::Observed;
use crate::limits::{HEADER_LIMIT, headers_too_large};
use crate::problem::Problem;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Middleware for the whole program. A request id is always ours: what a client sends in its place is ignored.
pub async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let Some(kit) = request.app_data::<web::Data<Kit>>().cloned() else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut response = if size > HEADER_LIMIT {
        let (request, _) = request.into_parts();
        let refusal = headers_too_large().respond(&request);
        ServiceResponse::new(request, refusal).map_into_right_body()
    } else {
        let response = next.call(request).await?;
        if response.response().error().is_some_and(|error| error.as_error::<CorsError>().is_some()) {
            let (request, _) = response.into_parts();
            let refusal = Problem::bad_request("cors_refused", "This origin may not do this").respond(&request);
            ServiceResponse::new(request, refusal).map_into_right_body()
        } else {
            response.map_into_left_body()
        }
    };
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
    Ok(response)
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
