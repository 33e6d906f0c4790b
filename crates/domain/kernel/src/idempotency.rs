//! Requests that are repeated because nobody heard the answer.
//!
//! Whoever has something made can name the request. The name is written down by the transaction that makes it, with a digest of what was
//! asked for and the id of what was made, and nothing else: an answer with a secret in it is not kept.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::{AccountId, StoreError, Timestamp, UserId};

/// What its caller calls a request: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text cannot name a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a request has 1 to 255 visible ASCII characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Checks the text.
    pub fn parse(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digest of all that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A request that makes something, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRequest {
    /// Where it makes it.
    pub account: AccountId,
    /// Whose request it is; nobody else's names count.
    pub caller: UserId,
    /// Its name.
    pub key: IdempotencyKey,
    /// What it asks for.
    pub fingerprint: Fingerprint,
    /// Id of what it makes.
    pub made: String,
    /// When.
    pub at: Timestamp,
}

impl NamedRequest {
    /// How long a name is remembered.
    pub const REMEMBERED: Duration = Duration::from_hours(24);
}

/// What a request with the same name was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierRequest {
    /// What it asked for.
    pub fingerprint: Fingerprint,
    /// Id of what it made.
    pub made: String,
}

/// Named requests, inside the transaction that does what they ask for.
#[async_trait]
pub trait IdempotencyLog: Send {
    /// Writes the request down, unless its caller made one with its name in that account less than [`NamedRequest::REMEMBERED`] before it:
    /// then it is that one. Whoever brings the name at the same time waits until this transaction ends.
    async fn claim(&mut self, request: NamedRequest) -> Result<Option<EarlierRequest>, StoreError>;

    /// Deletes those from before that moment, the oldest first and so many at most; answers how many those were.
    async fn forget(&mut self, before: Timestamp, most: usize) -> Result<usize, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_visible_text() {
        let longest = "x".repeat(255);
        for text in ["a", "8e03978e-40d5-43e8-bc93-6894a57f9324", "\"quoted\"", "!~", longest.as_str()] {
            assert_eq!(IdempotencyKey::parse(text).unwrap().as_str(), text);
        }
        let too_long = "x".repeat(256);
        for text in ["", " ", "a b", "a\t", "a\n", "\u{0}", "\u{7f}", "é", too_long.as_str()] {
            assert_eq!(IdempotencyKey::parse(text), Err(InvalidIdempotencyKey), "{text:?}");
        }
    }
}
