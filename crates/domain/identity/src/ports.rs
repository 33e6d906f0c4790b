//! What this program needs from an identity provider.

use std::time::Duration;

use async_trait::async_trait;

use portal_kernel::Timestamp;

use crate::{
    AuthenticateRequestOptions, DirectoryError, OrganizationAdminError, ProviderInvitation, ProviderInvitationId,
    ProviderMembership, ProviderOrganization, ProviderOrganizationId, ProviderSession, ProviderSessionId, ProviderUser,
    ProviderUserId, RequestParts, RequestState, WebhookHeaders, WebhookMessage, WebhookRefused,
};

/// Judges who sent a request.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait RequestAuthenticator: Send + Sync {
    /// Never fails: what goes wrong is a reason of the verdict. Safe to repeat, except that what a handshake brought can be taken
    /// once.
    async fn authenticate_request<'r>(
        &self,
        request: &RequestParts<'r>,
        options: &AuthenticateRequestOptions,
    ) -> RequestState;
}

/// Reads people from the provider.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait IdentityDirectory: Send + Sync {
    /// The person, or none if the provider does not know the id. Answers or fails within a few seconds.
    async fn user(&self, id: &ProviderUserId) -> Result<Option<ProviderUser>, DirectoryError>;

    /// All organizations the person belongs to. Answers or fails within a few seconds.
    async fn memberships(&self, id: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError>;
}

/// Lists and ends sessions at the provider.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait SessionControl: Send + Sync {
    /// The sessions of a person, ended ones among them as long as the provider keeps them. Nobody else's.
    async fn sessions(&self, user: &ProviderUserId) -> Result<Vec<ProviderSession>, DirectoryError>;

    /// Lets the provider make no further token for a session. Repeating it succeeds.
    async fn revoke(&self, id: &ProviderSessionId) -> Result<(), DirectoryError>;
}

/// Changes organizations at the provider. Calls are not repeated. What a call brought is as it was at that moment.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait OrganizationAdmin: Send + Sync {
    /// Gives it another name.
    async fn rename(
        &self,
        id: &ProviderOrganizationId,
        name: &str,
    ) -> Result<ProviderOrganization, OrganizationAdminError>;

    /// Deletes it with all memberships. Repeating it succeeds.
    async fn delete(&self, id: &ProviderOrganizationId) -> Result<(), OrganizationAdminError>;

    /// Gives a member another role, by the provider's key.
    async fn set_role(
        &self,
        id: &ProviderOrganizationId,
        member: &ProviderUserId,
        role: &str,
    ) -> Result<ProviderMembership, OrganizationAdminError>;

    /// Ends a membership. Repeating it succeeds.
    async fn remove(&self, id: &ProviderOrganizationId, member: &ProviderUserId) -> Result<(), OrganizationAdminError>;

    /// Invitations that nobody accepted yet, the newest first, from that one on; of those that are too late some may be among them.
    async fn pending_invitations(
        &self,
        id: &ProviderOrganizationId,
        offset: usize,
        limit: usize,
    ) -> Result<Listed<ProviderInvitation>, OrganizationAdminError>;

    /// One invitation, of this organization.
    async fn invitation(
        &self,
        id: &ProviderOrganizationId,
        invitation: &ProviderInvitationId,
    ) -> Result<ProviderInvitation, OrganizationAdminError>;

    /// Sends an invitation.
    async fn invite(
        &self,
        id: &ProviderOrganizationId,
        inviter: &ProviderUserId,
        email: &str,
        role: &str,
    ) -> Result<ProviderInvitation, OrganizationAdminError>;

    /// Takes an invitation back.
    async fn revoke_invitation(
        &self,
        id: &ProviderOrganizationId,
        invitation: &ProviderInvitationId,
        by: &ProviderUserId,
    ) -> Result<ProviderInvitation, OrganizationAdminError>;
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// In the order in which they appeared at the provider.
    pub items: Vec<T>,
    /// How many of this part could not be read.
    pub unreadable: usize,
    /// Where the next part begins; none at the end.
    pub next: Option<usize>,
}

/// How long one question about what the provider knows may take, with all its tries and the waits between them.
pub const LONGEST_QUESTION: Duration = Duration::from_mins(2);

/// Lists everything that the provider knows, and tells about what was not listed. Waits where the provider asks to slow down, and asks for
/// less at once where an answer is too large or comes too slowly, for [`LONGEST_QUESTION`] at most. Lists shift while they are read: what
/// is not in them may be there all the same.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait DirectoryListing: Send + Sync {
    /// People, from that one on, no more than `most`.
    async fn users(&self, offset: usize, most: usize) -> Result<Listed<ProviderUser>, DirectoryError>;

    /// Organizations, from that one on, no more than `most`.
    async fn organizations(&self, offset: usize, most: usize) -> Result<Listed<ProviderOrganization>, DirectoryError>;

    /// Members of an organization, from that one on; none if the provider does not know it.
    async fn members(
        &self,
        id: &ProviderOrganizationId,
        offset: usize,
    ) -> Result<Listed<ProviderMembership>, DirectoryError>;

    /// The person, or none if the provider does not know the id.
    async fn user(&self, id: &ProviderUserId) -> Result<Option<ProviderUser>, DirectoryError>;

    /// All organizations the person belongs to.
    async fn memberships(&self, id: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError>;

    /// The organization, or none if the provider does not know the id.
    async fn organization(&self, id: &ProviderOrganizationId) -> Result<Option<ProviderOrganization>, DirectoryError>;
}

/// Tells the provider's webhooks from everybody else's, and reads them.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
pub trait WebhookVerifier: Send + Sync {
    /// Whether the headers alone already say that the provider did not send it a moment ago: one is missing, cannot be read or is too old.
    #[expect(clippy::elidable_lifetime_names, reason = "the mock needs the name")]
    fn screen<'a>(&self, headers: &WebhookHeaders<'a>, now: Timestamp) -> Result<(), WebhookRefused>;

    /// The id of the message if the provider sent it a moment ago, the same for every attempt and replay. Nothing of the body is read.
    #[expect(clippy::elidable_lifetime_names, reason = "the mock needs the name")]
    fn verify<'a>(&self, headers: &WebhookHeaders<'a>, body: &[u8], now: Timestamp) -> Result<String, WebhookRefused>;

    /// What a verified body says. Never fails: what cannot be read is news of its own.
    fn read(&self, body: &[u8]) -> WebhookMessage;
}
