//! The header `Authorization`, read as Clerk's SDK reads it.

use std::borrow::Cow;

use memchr::memchr;
use portal_identity::RequestParts;

/// The token of the request, if the header holds one.
///
/// Clerk's rules: the scheme is exactly `Bearer`; a value without a scheme is itself the token; any other scheme is as
/// if there were no header. Repeated lines are one value with commas, as everywhere in HTTP, which no token survives.
pub(crate) fn token_in_header<'r>(request: &'r RequestParts<'_>, rfc_bearer: bool) -> Option<Cow<'r, str>> {
    match request.value("authorization")? {
        Cow::Borrowed(value) => read(value, rfc_bearer).map(Cow::Borrowed),
        Cow::Owned(value) => read(&value, rfc_bearer).map(|token| Cow::Owned(token.to_owned())),
    }
}

fn read(value: &str, rfc_bearer: bool) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if rfc_bearer {
        let token = rest.trim_start_matches(' ');
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token);
    }
    let second = memchr(b' ', rest.as_bytes()).map_or(rest, |space| &rest[..space]);
    match (scheme, second) {
        (bare, "") => Some(bare),
        ("Bearer", token) => Some(token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str], rfc_bearer: bool) -> Option<String> {
        let request = RequestParts::new("GET", "https://portal.example/");
        let request = lines.iter().fold(request, |request, line| request.header("authorization", *line));
        token_in_header(&request, rfc_bearer).map(Cow::into_owned)
    }

    #[test]
    fn the_header_reads_as_in_clerks_sdk() {
        for (line, token) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("  Bearer a.b.c\t", Some("a.b.c")),
            ("a.b.c", Some("a.b.c")),
            ("Bearer a.b.c d", Some("a.b.c")),
            ("Bearer", Some("Bearer")),
            ("Bearer ", Some("Bearer")),
            ("Bearer  a.b.c", Some("Bearer")),
            ("bearer a.b.c", None),
            ("BEARER a.b.c", None),
            ("Basic dXNlcjpwYXNz", None),
            ("Bearer\ta.b.c", Some("Bearer\ta.b.c")),
            ("", None),
            ("   ", None),
        ] {
            assert_eq!(found(&[line], false).as_deref(), token, "{line:?}");
        }
    }

    #[test]
    fn with_the_switch_the_header_reads_as_in_rfc_6750() {
        for (line, token) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bearer a.b.c", Some("a.b.c")),
            ("BEARER   a.b.c", Some("a.b.c")),
            ("Bearer a.b.c d", Some("a.b.c d")),
            ("a.b.c", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic dXNlcjpwYXNz", None),
            ("", None),
        ] {
            assert_eq!(found(&[line], true).as_deref(), token, "{line:?}");
        }
    }

    #[test]
    fn repeated_lines_never_yield_the_token_of_one_of_them() {
        assert_eq!(found(&["Bearer a.b.c", "Bearer d.e.f"], false).as_deref(), Some("a.b.c,"));
        assert_eq!(found(&["Bearer a.b.c", "Bearer d.e.f", "x"], true).as_deref(), Some("a.b.c, Bearer d.e.f, x"));
        assert_eq!(found(&["Basic x", "Bearer d.e.f"], false), None);
        assert_eq!(found(&[], false), None);
    }
}
