//! What changed, told to every cache of every replica.
//!
//! The transaction that changes something writes the change down ([`ChangeLog`]); every process reads what was written
//! ([`ChangeFeed`]) and tells its caches ([`ChangeListener`]). A cache answers only while the feed is current, so that no replica
//! goes on with what another one ended.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{AccountId, ApiKeyId, ServiceTokenId, StoreError, Timestamp, UserId};

/// What changed. Says where to look again, not what is there now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A person: state, profile, where they are a member, or in which role.
    User(UserId),
    /// An account: its state or its name.
    Account(AccountId),
    /// An API key: what it is restricted to, its secrets, or whether it can be used.
    Key(ApiKeyId),
    /// A service token: made, its secrets, or whether it can be used.
    ServiceToken(ServiceTokenId),
    /// A session ended; the identity provider's id.
    Session(String),
    /// Session tokens that were made before a moment ended. The moment only ever moves on.
    Tokens {
        /// Whose, by the identity provider's id; none for everybody's.
        of: Option<String>,
        /// The moment.
        before: Timestamp,
    },
}

impl Change {
    /// The stored text of what kind of thing it is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Account(_) => "account",
            Self::Key(_) => "key",
            Self::ServiceToken(_) => "service-token",
            Self::Session(_) => "session",
            Self::Tokens { .. } => "tokens",
        }
    }

    /// The stored text of which one it is.
    pub fn subject(&self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::Account(id) => id.to_string(),
            Self::Key(id) => id.to_string(),
            Self::ServiceToken(id) => id.to_string(),
            Self::Session(id) => id.clone(),
            Self::Tokens { of: None, before } => before.to_string(),
            Self::Tokens { of: Some(person), before } => format!("{before} {person}"),
        }
    }

    /// From the stored texts; none for those of a later version of the program.
    pub fn parse(kind: &str, subject: &str) -> Option<Self> {
        match kind {
            "user" => subject.parse().ok().map(Self::User),
            "account" => subject.parse().ok().map(Self::Account),
            "key" => subject.parse().ok().map(Self::Key),
            "service-token" => subject.parse().ok().map(Self::ServiceToken),
            "session" => Some(Self::Session(subject.to_owned())),
            "tokens" => {
                let (before, of) =
                    subject.split_once(' ').map_or((subject, None), |(at, of)| (at, Some(of.to_owned())));
                Some(Self::Tokens { of, before: before.parse().ok()? })
            }
            _ => None,
        }
    }
}

/// Writes changes down, inside the transaction that makes them.
#[async_trait]
pub trait ChangeLog: Send {
    /// Every replica hears of it soon after the commit, and only if there is one.
    async fn changed(&mut self, change: Change) -> Result<(), StoreError>;
}

/// Something that remembers what the store said.
pub trait ChangeListener: Send + Sync {
    /// Forgets what depends on it. Called from one thread; must be quick.
    fn changed(&self, change: &Change);

    /// Forgets everything: changes may have been missed.
    fn missed(&self);
}

/// Reads what all replicas wrote.
pub trait ChangeFeed: Send + Sync {
    /// Whether everything that was committed up to a moment ago has been told. While this is false, and it is before the feed runs, no
    /// cache may answer.
    fn is_current(&self) -> bool;

    /// Tells this listener too, from now on.
    fn subscribe(&self, listener: Arc<dyn ChangeListener>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let before = "2026-02-03T04:05:06.123457Z".parse().unwrap();
        for change in [
            Change::User("usr_00000000000000000000000001".parse().unwrap()),
            Change::Account("acc_00000000000000000000000001".parse().unwrap()),
            Change::Key("key_00000000000000000000000001".parse().unwrap()),
            Change::ServiceToken("svc_00000000000000000000000001".parse().unwrap()),
            Change::Session("sess_1".to_owned()),
            Change::Tokens { of: Some("user_1".to_owned()), before },
            Change::Tokens { of: None, before },
        ] {
            assert_eq!(Change::parse(change.kind(), &change.subject()), Some(change));
        }
    }

    #[test]
    fn what_is_not_known_is_none() {
        assert_eq!(Change::parse("galaxy", "gal_1"), None);
        assert_eq!(Change::parse("user", "acc_00000000000000000000000001"), None);
        assert_eq!(Change::parse("tokens", "user_1"), None);
    }
}
