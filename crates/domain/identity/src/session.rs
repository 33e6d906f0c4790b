//! What a verified session token says (`clerk.md` §2.8).

use portal_kernel::Timestamp;

use crate::{ProviderOrganizationId, ProviderSessionId, ProviderUserId};

/// State of the session at the time the token was minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// Usable.
    Active,
    /// A session task is outstanding; counts as signed out for every purpose.
    Pending,
}

/// Somebody else who is driving this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `act.sub`: usually a user id, but the provider does not promise it.
    pub subject: String,
    /// Person or program.
    pub kind: ActorKind,
}

/// What drives a session in another's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// A person impersonates the user.
    Impersonator,
    /// A program acts for the user (`act.type` = `agent`).
    Agent,
}

/// The organization that was active when the token was minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveOrganization {
    /// The provider's id; in compatibility `exact` as the token writes it, and nobody has a role or a permission where it is empty.
    pub id: ProviderOrganizationId,
    /// The provider's slug, where the token has one.
    pub slug: Option<String>,
    /// The provider's role key with exactly one leading `org:`; in compatibility `exact` as the SDK writes it.
    pub role: Option<String>,
    /// Custom permissions, `org:<feature>:<verb>`.
    pub permissions: Vec<String>,
}

/// Minutes since each factor was verified, as of minting; `None` where the factor is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorVerificationAge {
    /// First factor.
    pub first: Option<u32>,
    /// Second factor.
    pub second: Option<u32>,
}

/// Whose feature or plan it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlugScope {
    /// `o`: the active organization's.
    Organization,
    /// `u`: the person's.
    User,
    /// `ou` or `uo`.
    Both,
}

/// A feature or a plan, with whose it is: one element of `fea` or `pla`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedSlug {
    /// Whose.
    pub scope: SlugScope,
    /// The name that the provider's dashboard shows.
    pub slug: String,
}

/// The auth object of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionAuth {
    /// `sub`; in compatibility `exact` as the token writes it, which need not be the id of a person.
    pub user_id: ProviderUserId,
    /// `sid`; absent only in compatibility `exact`, where it is as the token writes it.
    pub session_id: Option<ProviderSessionId>,
    /// `sts`; absent on instances without session tasks, and in compatibility `exact` if it is not known.
    pub session_status: Option<SessionStatus>,
    /// `act`.
    pub actor: Option<Actor>,
    /// `o`, or the `org_…` claims of version 1.
    pub organization: Option<ActiveOrganization>,
    /// `fva`.
    pub factor_verification_age: Option<FactorVerificationAge>,
    /// `fea`; empty if it is missing or cannot be read.
    pub features: Vec<ScopedSlug>,
    /// `pla`; empty if it is missing or cannot be read.
    pub plans: Vec<ScopedSlug>,
    /// `iat`, where the token has one.
    pub issued_at: Option<Timestamp>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// Questions to [`has`](Self::has) without a name count as in Clerk's SDK; only in compatibility `exact`.
    pub lenient_questions: bool,
}

impl SessionAuth {
    /// A pending session verifies, yet nobody is signed in: guards must ask.
    pub fn is_pending(&self) -> bool {
        self.session_status == Some(SessionStatus::Pending)
    }
}
