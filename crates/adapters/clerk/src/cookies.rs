//! Cookies as Clerk's SDK reads them: one that cannot be read never hides the others.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The cookies of one request, as they were sent.
pub(crate) struct Cookies<'r>(Vec<(&'r str, &'r str)>);

impl<'r> Cookies<'r> {
    /// Splits all lines of the header; nothing is decoded yet, so that no value can pretend to be two cookies.
    pub(crate) fn read(lines: impl Iterator<Item = &'r str>) -> Self {
        let blank = [' ', '\t'];
        let pair = |piece: &'r str| {
            let (name, value) = piece.split_once('=')?;
            Some((name.trim_matches(blank), value.trim_matches(blank)))
        };
        Self(lines.flat_map(|line| line.split(';')).filter_map(pair).collect())
    }

    /// The value of the first cookie by this name; an empty one is as good as none.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'r, str>> {
        self.first(|known| known == name)
    }

    /// As [`Cookies::get`], of the name with the suffix of one instance.
    pub(crate) fn get_suffixed(&self, name: &str, suffix: &str) -> Option<Cow<'r, str>> {
        self.first(|known| {
            known.strip_prefix(name).and_then(|rest| rest.strip_prefix('_')).is_some_and(|rest| rest == suffix)
        })
    }

    fn first(&self, is_it: impl Fn(&str) -> bool) -> Option<Cow<'r, str>> {
        let (_, value) = self.0.iter().find(|(name, _)| is_it(name))?;
        Some(decode(value)).filter(|value| !value.is_empty())
    }
}

/// Percent escapes that mean nothing leave the whole value as it is.
fn decode(value: &str) -> Cow<'_, str> {
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        let escape = rest.as_bytes().get(at + 1..at + 3);
        if !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Cow::Borrowed(value);
        }
        rest = &rest[at + 3..];
    }
    percent_decode_str(value).decode_utf8().unwrap_or(Cow::Borrowed(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(lines: &[&str], name: &str) -> Option<String> {
        Cookies::read(lines.iter().copied()).get(name).map(Cow::into_owned)
    }

    #[test]
    fn values_are_split_before_they_are_decoded() {
        assert_eq!(get(&["a=1%3B%20__session=forged; b=2"], "__session"), None);
        assert_eq!(get(&["a=1%3B%20__session=forged; b=2"], "a").as_deref(), Some("1; __session=forged"));
    }

    #[test]
    fn the_first_of_a_name_wins_and_an_empty_one_is_none() {
        assert_eq!(get(&["a=1; a=2"], "a").as_deref(), Some("1"));
        assert_eq!(get(&["a=1", "a=2"], "a").as_deref(), Some("1"));
        assert_eq!(get(&["a=; a=2"], "a"), None);
        assert_eq!(get(&["a=1"], "A"), None);
    }

    #[test]
    fn one_that_cannot_be_read_hides_no_other() {
        let line = "junk; =x; \"quoted\"; spaced name = v ; bad=%zz; cut=%4; bytes=%ff; utf8=%C3%A9;;a=1=2";
        for (name, value) in [
            ("junk", None),
            ("spaced name", Some("v")),
            ("bad", Some("%zz")),
            ("cut", Some("%4")),
            ("bytes", Some("%ff")),
            ("utf8", Some("é")),
            ("a", Some("1=2")),
        ] {
            assert_eq!(get(&[line], name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn a_suffix_belongs_to_the_name() {
        let cookies = Cookies::read(["__session=1; __session_abc=2; __session_=3"].into_iter());
        assert_eq!(cookies.get_suffixed("__session", "abc").as_deref(), Some("2"));
        assert_eq!(cookies.get_suffixed("__session", "ab"), None);
        assert_eq!(cookies.get_suffixed("__session", "abcd"), None);
    }
}
