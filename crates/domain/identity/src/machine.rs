//! What a verified machine token says (`clerk.md` §4).

use portal_kernel::Timestamp;

use crate::{ProviderMachineId, ProviderOrganizationId, ProviderUserId, TokenType};

/// The auth object of a machine. It never has a session, and `has` is always false for it: authorize by scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineAuth {
    /// Which class of token.
    pub token_type: TokenType,
    /// The token's own id; empty for a JWT without `jti`, and in compatibility `exact` where Clerk names none.
    pub id: String,
    /// Whom it stands for: `user_…`, `org_…` or `mch_…`; in compatibility `exact` any text, and none where Clerk names none.
    pub subject: String,
    /// The person, where the subject is one.
    pub user_id: Option<ProviderUserId>,
    /// The organization, where the subject is one.
    pub organization_id: Option<ProviderOrganizationId>,
    /// The machine, where the subject is one.
    pub machine_id: Option<ProviderMachineId>,
    /// The OAuth client, for [`TokenType::OauthToken`].
    pub client_id: Option<String>,
    /// Granted scopes; for [`TokenType::M2mToken`] the machines that may be called with it.
    pub scopes: Vec<String>,
    /// Custom claims as JSON text, where there are any.
    pub claims: Option<String>,
    /// When it ends, where it does.
    pub expires_at: Option<Timestamp>,
}
