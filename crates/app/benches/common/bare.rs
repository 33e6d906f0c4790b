//! An App without middleware to compare with.

use std::sync::Arc;

use actix_web::http::header::{HeaderName, HeaderValue};

/// The headers that a handler without middleware has to set itself. Shared: the framework clones a handler for every request.
pub(crate) fn own_headers(answer: &str) -> Arc<[(HeaderName, HeaderValue)]> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let own = |name: &&str| !matches!(*name, "content-length" | "content-type" | "date");
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": ")).filter(|(name, _)| own(name));
    headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}
