//! Ids that the identity provider made: `user_…`, `sess_…`, `org_…`, `orgmem_…`, `orginv_…`, `mch_…`. Never ours, never keyed by e-mail.

use std::fmt;
use std::sync::Arc;

/// Longest id accepted. Clerk's are about 32 characters.
const MAX_LENGTH: usize = 128;

/// The text is not a provider id of the expected kind. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a provider id that begins with {expected}")]
pub struct InvalidProviderId {
    /// The prefix that was asked for.
    pub expected: &'static str,
}

fn is_well_formed(prefix: &str, text: &str) -> bool {
    let body = text.strip_prefix(prefix).unwrap_or_default();
    // Only these characters: the id becomes a path segment of the Backend API (`clerk.md` §1.4).
    let clean = !body.is_empty() && body.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    clean && text.len() <= MAX_LENGTH
}

macro_rules! provider_id {
    ($(#[doc = $doc:literal] $name:ident = $prefix:literal;)+) => {$(
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts the prefix followed by letters, digits and underscores, 128 characters at most.
            pub fn parse(text: &str) -> Result<Self, InvalidProviderId> {
                if !is_well_formed($prefix, text) {
                    return Err(InvalidProviderId { expected: $prefix });
                }
                Ok(Self::as_written(text))
            }

            /// Takes any text, an empty one too: what a verified token says in compatibility `exact`. Such an id names nobody, and
            /// is no part of a path, unless it [is well formed](Self::is_well_formed).
            pub fn as_written(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// Whether it is one that the provider makes, as every id that was parsed is.
            pub fn is_well_formed(&self) -> bool {
                is_well_formed($prefix, &self.0)
            }

            /// The text as the provider wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

provider_id! {
    /// A person at the provider.
    ProviderUserId = "user_";
    /// A login of a person on one browser.
    ProviderSessionId = "sess_";
    /// An organization at the provider.
    ProviderOrganizationId = "org_";
    /// One stay of a person in an organization: whoever leaves and comes back gets another one.
    ProviderMembershipId = "orgmem_";
    /// An invitation into an organization.
    ProviderInvitationId = "orginv_";
    /// A machine at the provider.
    ProviderMachineId = "mch_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_and_word_characters_pass() {
        assert_eq!(ProviderUserId::parse("user_2aBc_9").map(|id| id.to_string()), Ok("user_2aBc_9".to_owned()));
        for text in
            ["", "user_", "sess_1", "user_../x", "user_%2e", "user_é", "user_a b", &format!("user_{}", "a".repeat(124))]
        {
            assert_eq!(ProviderUserId::parse(text), Err(InvalidProviderId { expected: "user_" }), "{text:?}");
            let written = ProviderUserId::as_written(text);
            assert_eq!((written.as_str(), written.is_well_formed()), (text, false));
        }
        assert!(ProviderUserId::as_written("user_1").is_well_formed());
        assert_eq!(ProviderUserId::as_written("user_1"), ProviderUserId::parse("user_1").unwrap());
    }
}
