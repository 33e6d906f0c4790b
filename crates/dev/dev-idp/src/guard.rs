//! Who may talk to the provider: programs and pages of this machine.
//!
//! The provider lets anybody sign in as anybody. A page of a foreign site must not reach it through the
//! developer's browser, neither directly nor through a host name that it points at this machine.

use std::net::SocketAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};

use crate::error::{ApiError, DevIdpError};

/// Beginnings of production keys; the last two are spellings of an older time.
const LIVE: [&str; 3] = ["sk_live_", "pk_live_", "live_"];

/// Refuses an address that other machines could reach.
pub(crate) fn check_bind(address: SocketAddr) -> Result<(), DevIdpError> {
    if address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(DevIdpError::NotLoopback(address)) }
}

/// Refuses to run beside keys of a production instance. Takes the settings as pairs of name and value.
pub fn refuse_live_keys<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), DevIdpError> {
    let live = |value: &str| LIVE.iter().any(|prefix| value.trim().starts_with(prefix));
    match settings.into_iter().find(|(_, value)| live(value)) {
        Some((setting, _)) => Err(DevIdpError::LiveKey { setting: setting.to_owned() }),
        None => Ok(()),
    }
}

/// Middleware of every path: the request must be addressed to this machine by a name of its own.
pub(crate) async fn local_host_only(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    // A host name can be claimed; where a connection comes from cannot.
    let from_this_machine = request.peer_addr().is_none_or(|peer| peer.ip().to_canonical().is_loopback());
    if from_this_machine && addressed_to_this_machine(&request) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    Ok(request.into_response(ApiError::host_not_allowed().error_response()).map_into_right_body())
}

/// Middleware of pages that do something for a person: only their own site may ask for them.
pub(crate) async fn same_origin_only(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if from_own_pages(request.headers()) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    Ok(request.into_response(ApiError::cross_site().error_response()).map_into_right_body())
}

fn addressed_to_this_machine(request: &ServiceRequest) -> bool {
    // Every name that the request carries must be local: which one counts depends on the HTTP version.
    // Forwarding headers never count.
    let authority = request.uri().authority().map(|authority| is_local(authority.as_str()));
    let headers = request.headers().get_all(HOST).map(|host| host.to_str().is_ok_and(is_local));
    let mut verdicts = authority.into_iter().chain(headers).peekable();
    verdicts.peek().is_some() && verdicts.all(|local| local)
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

fn from_own_pages(headers: &HeaderMap) -> bool {
    // Absent when no browser asks, or an old one.
    headers.get_all("sec-fetch-site").all(|site| site == "same-origin" || site == "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "localhost.",
            "localhost:",
            "localhost:80x",
            "localhost:+80",
            "localhost:80:80",
            "evil@localhost",
            "127.0.0.2",
            "127.0.0.1.example.com",
            "::1",
            "[::1",
            "[::ffff:127.0.0.1]",
            "0.0.0.0:8080",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn only_loopback_addresses_may_be_bound() {
        for address in ["127.0.0.1:8080", "127.8.8.8:0", "[::1]:8080", "[::ffff:127.0.0.1]:80"] {
            assert!(check_bind(address.parse().unwrap()).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:8080", "[::]:8080", "192.168.1.4:8080", "[2001:db8::1]:80"] {
            let refusal = check_bind(address.parse().unwrap()).unwrap_err().to_string();
            assert!(refusal.contains(address), "{refusal}");
        }
    }

    #[test]
    fn a_live_key_is_refused_by_its_setting_and_never_repeated() {
        let found = refuse_live_keys([("CLERK_PUBLISHABLE_KEY", "pk_test_x"), ("CLERK_SECRET_KEY", " sk_live_hidden")]);
        let text = found.unwrap_err().to_string();
        assert!(text.starts_with("CLERK_SECRET_KEY"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
        assert!(refuse_live_keys([("A", "pk_live_x")]).is_err());
        assert!(refuse_live_keys([("A", "sk_test_x"), ("B", "")]).is_ok());
    }
}
