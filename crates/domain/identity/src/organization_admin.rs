//! Organizations, as their members change them at the provider.

use portal_kernel::Timestamp;

use crate::{DirectoryError, ProviderInvitationId, ProviderOrganizationId, ProviderUserId};

/// What became of an invitation, as the provider tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationStatus {
    /// Nobody accepted it yet. It may be too late to: that is decided when it is used, by `expires_at`.
    Pending,
    /// Somebody is a member by it.
    Accepted,
    /// It was taken back.
    Revoked,
    /// It was too late.
    Expired,
}

/// An invitation into an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderInvitation {
    /// The provider's id.
    pub id: ProviderInvitationId,
    /// Into which.
    pub organization: ProviderOrganizationId,
    /// To whom. Only who can read mail there can accept it.
    pub email: String,
    /// The provider's role key that comes with it.
    pub role: String,
    /// Who invited, where that is known.
    pub inviter: Option<ProviderUserId>,
    /// What became of it.
    pub status: InvitationStatus,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// From then on nobody can accept it.
    pub expires_at: Option<Timestamp>,
}

/// Why the provider does not do what it understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrganizationRefusal {
    /// An organization keeps an administrator.
    #[error("the organization would be without administrator")]
    LastAdmin,
    /// Who is invited is a member.
    #[error("the person is a member already")]
    AlreadyMember,
    /// There is an invitation that nobody accepted yet.
    #[error("the person is invited already")]
    AlreadyInvited,
    /// The instance has no such role.
    #[error("the instance has no such role")]
    UnknownRole,
    /// Whoever asks is no member any more.
    #[error("whoever asks is no member")]
    NotMember,
    /// The invitation was accepted, taken back or is too old.
    #[error("the invitation is not open any more")]
    NotPending,
    /// No further members fit in.
    #[error("the organization is full")]
    Full,
    /// The address cannot be one.
    #[error("the address is not valid")]
    InvalidEmail,
    /// The name cannot be one.
    #[error("the name is not valid")]
    InvalidName,
    /// A refusal that this program does not know.
    #[error("the provider refuses for a reason of its own")]
    Other,
}

/// Why nothing was changed, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum OrganizationAdminError {
    /// The organization, the member or the invitation is not there.
    #[error("the provider does not know it")]
    NotFound,
    /// The provider says no. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] OrganizationRefusal),
    /// The provider did not answer, or not in words that can be read.
    #[error(transparent)]
    Provider(#[from] DirectoryError),
}
