//! What a key is good for.

use std::fmt;

/// One thing that a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyScope {
    /// `inference`
    Inference,
    /// `usage:read`
    UsageRead,
}

impl KeyScope {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Inference, Self::UsageRead];

    /// The text in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::UsageRead => "usage:read",
        }
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyScopes> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(InvalidKeyScopes::Unknown)
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why these are not the scopes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyScopes {
    /// A key without scopes would be good for nothing.
    #[error("a key needs at least one scope")]
    Empty,
    /// There is no such scope.
    #[error("a scope is inference or usage:read")]
    Unknown,
}

/// What a key is good for; never nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyScopes([bool; KeyScope::ALL.len()]);

impl KeyScopes {
    /// Sorts them, and drops what is said twice.
    pub fn new(scopes: impl IntoIterator<Item = KeyScope>) -> Result<Self, InvalidKeyScopes> {
        let mut known = [false; KeyScope::ALL.len()];
        for scope in scopes {
            known[scope as usize] = true;
        }
        if known.contains(&true) { Ok(Self(known)) } else { Err(InvalidKeyScopes::Empty) }
    }

    /// Reads the texts.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, InvalidKeyScopes> {
        let scopes: Result<Vec<_>, _> = texts.into_iter().map(|text| KeyScope::parse(text.as_ref())).collect();
        Self::new(scopes?)
    }

    /// Whether the key is good for it.
    pub fn contains(&self, scope: KeyScope) -> bool {
        self.0[scope as usize]
    }

    /// All of them, in the order of [`KeyScope::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = KeyScope> + '_ {
        KeyScope::ALL.into_iter().filter(|scope| self.contains(*scope))
    }
}

impl Default for KeyScopes {
    /// `inference`
    fn default() -> Self {
        Self(KeyScope::ALL.map(|scope| scope == KeyScope::Inference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_closed_list_and_never_none() {
        let both = KeyScopes::parse(["usage:read", "inference", "usage:read"]).unwrap();
        assert_eq!(both.iter().collect::<Vec<_>>(), KeyScope::ALL);
        let one = KeyScopes::parse(["usage:read"]).unwrap();
        assert!(one.contains(KeyScope::UsageRead) && !one.contains(KeyScope::Inference));
        assert_eq!(KeyScopes::parse([""; 0]), Err(InvalidKeyScopes::Empty));
        for text in ["", "Inference", "inference ", "keys:write", "*"] {
            assert_eq!(KeyScopes::parse(["inference", text]), Err(InvalidKeyScopes::Unknown), "{text:?}");
        }
    }
}
