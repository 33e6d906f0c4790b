//! What a service token allows.

use std::fmt;

/// One permission of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Hold all API keys, and decide with them in place of asking.
    KeysFeed,
    /// Ask whether an API key may be used.
    KeysVerify,
    /// Read the program's metrics.
    MetricsRead,
}

/// The text names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope; known are: keys:feed, keys:verify, metrics:read")]
pub struct InvalidScope;

impl Scope {
    /// All of them, in the order of their text.
    pub const ALL: [Self; 3] = [Self::KeysFeed, Self::KeysVerify, Self::MetricsRead];

    /// The stored and shown text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeysFeed => "keys:feed",
            Self::KeysVerify => "keys:verify",
            Self::MetricsRead => "metrics:read",
        }
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(InvalidScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Whether the set holds it.
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether the set allows nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their text.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_and_holds_each_scope_once() {
        let scopes: Scopes = [Scope::MetricsRead, Scope::KeysVerify, Scope::MetricsRead].into_iter().collect();
        assert_eq!(scopes.iter().collect::<Vec<_>>(), [Scope::KeysVerify, Scope::MetricsRead]);
    }

    #[test]
    fn an_unknown_scope_is_an_error_that_names_the_known_ones() {
        let message = Scope::parse("keys:*").unwrap_err().to_string();
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Ok(scope));
            assert!(message.contains(scope.as_str()));
        }
    }
}
