//! What one route asks of the authenticator.

use crate::TokenType;

/// Which classes of token a route accepts (`clerk.md` §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptsToken {
    /// One class.
    One(TokenType),
    /// Whatever is presented.
    Any,
    /// One of these.
    OneOf(&'static [TokenType]),
}

impl AcceptsToken {
    /// Whether tokens of this class are accepted.
    pub fn includes(self, token_type: TokenType) -> bool {
        match self {
            Self::One(only) => only == token_type,
            Self::Any => true,
            Self::OneOf(list) => list.contains(&token_type),
        }
    }
}

/// How a request is to be judged; the same for all requests of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticateRequestOptions {
    /// Accepted classes of token.
    pub accepts_token: AcceptsToken,
    /// Whether the browser may be sent through a handshake, and what one brought is taken. Only for routes whose answer reaches a
    /// browser as a document: elsewhere the redirect would not be followed, and the cookies would be lost. Without it, a request that
    /// needs a handshake is signed out for the same reason.
    pub handshakes: bool,
}

impl AuthenticateRequestOptions {
    /// A route that answers a browser with a page.
    pub const DOCUMENT: Self = Self { accepts_token: AcceptsToken::One(TokenType::SessionToken), handshakes: true };

    /// A route that answers a program.
    pub const API: Self = Self { accepts_token: AcceptsToken::One(TokenType::SessionToken), handshakes: false };
}

impl Default for AuthenticateRequestOptions {
    /// As Clerk's SDK: sessions, with handshakes.
    fn default() -> Self {
        Self::DOCUMENT
    }
}
