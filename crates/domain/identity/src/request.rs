//! The part of an HTTP request that decides who is calling.

use std::borrow::Cow;

/// Method, public URL and the headers that matter; made from any framework's request.
///
/// The URL is the one the caller sees: building it from forwarded headers is the business of whoever knows which proxies to
/// trust. Authentication never reads a body.
///
/// Borrows what it is made from where it can: it is made anew for every request.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestParts<'a> {
    method: Cow<'a, str>,
    url: Cow<'a, str>,
    headers: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> RequestParts<'a> {
    /// The header names that are kept, in lower case. All others are ignored, so no other header can change the verdict.
    pub const RELEVANT_HEADERS: [&'static str; 7] =
        ["authorization", "cookie", "accept", "sec-fetch-dest", "referer", "origin", "host"];

    /// Starts without headers; `url` is absolute.
    pub fn new(method: impl Into<Cow<'a, str>>, url: impl Into<Cow<'a, str>>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new() }
    }

    /// Adds one header line if it is a relevant one; names compare without case, repeated lines keep their order.
    #[must_use]
    #[inline]
    pub fn header(mut self, name: &str, value: impl Into<Cow<'a, str>>) -> Self {
        if let Some(known) = relevant(name) {
            self.headers.push((known, value.into()));
        }
        self
    }

    /// Adds the relevant ones of these header lines; a `&HeaderMap`, of the crate `http` as of actix-web, is given as it is.
    ///
    /// Bytes that are no text are replaced, which makes a value that no credential equals.
    #[must_use]
    pub fn headers<N, V>(mut self, lines: impl IntoIterator<Item = (&'a N, &'a V)>) -> Self
    where
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        for (name, value) in lines {
            if let Some(known) = relevant(name.as_ref()) {
                self.headers.push((known, text(value.as_ref())));
            }
        }
        self
    }

    /// The method as sent; methods are case-sensitive.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The public URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of a header, without white space around it; several lines are one value with commas (RFC 9110, section 5.3). None
    /// without the header and for an empty value. The name in lower case.
    pub fn value<'s>(&'s self, name: &'s str) -> Option<Cow<'s, str>> {
        let mut lines = self.all(name);
        let first = Cow::Borrowed(lines.next()?);
        let value = lines.fold(first, |value, line| Cow::Owned(format!("{value}, {line}")));
        Some(value).filter(|value| !value.is_empty())
    }

    /// All lines of a header, each without white space around it; the name in lower case.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        let blank = [' ', '\t'];
        self.headers.iter().filter(move |(known, _)| *known == name).map(move |(_, value)| value.trim_matches(blank))
    }
}

fn relevant(name: &str) -> Option<&'static str> {
    RequestParts::RELEVANT_HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

fn text(value: &[u8]) -> Cow<'_, str> {
    // The usual case first: replacing looks at every byte, checking at many at once.
    std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

impl std::fmt::Debug for RequestParts<'_> {
    /// Without header values: they are credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| *name).collect();
        f.debug_struct("RequestParts").field("method", &self.method).field("headers", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irrelevant_headers_are_dropped_and_values_never_printed() {
        let parts = RequestParts::new("GET", "https://portal.example/v1/me")
            .header("Authorization", "Bearer s3cret")
            .header("X-User-Id", "user_1");
        assert_eq!(parts.value("authorization").as_deref(), Some("Bearer s3cret"));
        assert_eq!(parts.value("x-user-id"), None);
        assert!(!format!("{parts:?}").contains("s3cret"));
    }

    #[test]
    fn repeated_lines_are_one_value() {
        let parts = RequestParts::new("GET", "https://portal.example/")
            .header("accept", " text/html\t")
            .header("accept", "*/*")
            .header("origin", " ");
        assert_eq!(parts.value("accept").as_deref(), Some("text/html, */*"));
        assert_eq!(parts.value("origin"), None);
        assert_eq!(parts.all("accept").collect::<Vec<_>>(), ["text/html", "*/*"]);
    }

    #[test]
    fn a_map_of_headers_is_taken_line_by_line() {
        let (names, values) = (["Cookie", "X-User-Id", "cookie"], [&b"a=1"[..], b"user_1", b"b=\xff"]);
        let parts = RequestParts::new("GET", "https://portal.example/").headers(names.iter().zip(&values));
        assert_eq!(parts.all("cookie").collect::<Vec<_>>(), ["a=1", "b=\u{fffd}"]);
        assert_eq!(parts.value("x-user-id"), None);
    }
}
