//! Frontends on other origins: exactly the configured ones, with Bearer tokens and never with cookies.

use actix_cors::Cors;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::uri::Authority;

use crate::observe::X_REQUEST_ID;
use crate::rate_limits::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// Seconds a browser may remember a preflight's answer.
const MAX_AGE: usize = 600;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers preflights before any authentication. Credentials mode is never allowed, so a foreign page cannot use anybody's cookies.
pub fn cors(allowed_origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY])
        .expose_headers([X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, RATE_LIMIT, RATE_LIMIT_POLICY])
        .max_age(MAX_AGE);
    allowed_origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// Whether the text is an origin as browsers send it: `scheme://host[:port]`, nothing more, no wildcard.
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let Ok(authority) = rest.parse::<Authority>() else { return false };
    // Browsers leave the scheme's own port out.
    let own_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let port = rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let usable_port = match (port, authority.port_u16()) {
        (None, None) => true,
        (Some(_), Some(port)) => port != own_port && port != 0,
        _ => false,
    };
    !authority.host().is_empty() && authority.as_str() == rest && rest.chars().all(plain) && usable_port
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for text in ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000"] {
            assert!(is_origin(text), "{text}");
        }
        for text in [
            "*",
            "https://*.example.com",
            "https://app.example.com/",
            "app.example.com",
            "null",
            "https://",
            "HTTPS://X.example",
            "ftp://a",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
