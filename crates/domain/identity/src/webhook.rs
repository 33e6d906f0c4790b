//! What the provider sends on its own, when something happened to a person, an organization, a membership or a session.

use crate::{ProviderEvent, ProviderMembershipId};

/// The headers of a delivery, in their order.
pub type WebhookHeaders<'a> = [(&'a str, &'a [u8])];

/// Nobody knows who sent it: to be answered with 400 and nothing of the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delivery is not the provider's: {0}")]
pub struct WebhookRefused(pub &'static str);

/// A message, as its body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// What happened, in the provider's words: `user.created` and the like.
    pub kind: String,
    /// What of it this program keeps.
    pub news: WebhookNews,
}

/// What a message is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookNews {
    /// Something to keep.
    Event(Box<ProviderEvent>),
    /// A membership is gone for good, and the message does not say whose it was, or where.
    MembershipDeleted(ProviderMembershipId),
    /// Nothing that this program keeps; also every kind that is not known.
    Nothing,
    /// A kind that is kept, and cannot be read. Says why, without what was sent.
    Unreadable(&'static str),
}
