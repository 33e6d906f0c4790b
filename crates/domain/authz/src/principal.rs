//! Who is acting. Built in two places only: from a session in `accounts::sign_in`, from a credential in `api_keys::verify`.

use portal_kernel::{AccountId, ApiKeyId, ServiceTokenId, UserId};

use crate::{Role, Scope, Scopes};

/// Whoever asks for something. A closed set: a new kind of caller must be given its rows in the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A signed-in person.
    User(UserPrincipal),
    /// A person who acts as another one. Reads only.
    Impersonator(Delegate),
    /// A program that acts for a person. Reads only.
    Agent(Delegate),
    /// A trusted internal service.
    Service(ServicePrincipal),
    /// Whoever holds an API key.
    ApiKey(KeyPrincipal),
    /// The program itself.
    System(Job),
}

/// A person and their role in each account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPrincipal {
    /// Our id.
    pub user: UserId,
    /// Where the person is a member.
    pub roles: Roles,
    /// Whether the primary e-mail is known to be unverified. One that is not known is not.
    pub email_unverified: bool,
    /// Whether the person proved a moment ago who they are, as the session of this request says.
    pub reverified: bool,
}

impl UserPrincipal {
    /// A person of whom nothing speaks against anything, and who did not prove again who they are.
    pub const fn new(user: UserId, roles: Roles) -> Self {
        Self { user, roles, email_unverified: false, reverified: false }
    }
}

/// Somebody who acts as a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegate {
    /// As whom.
    pub user: UserPrincipal,
    /// Who really: the provider's text, for the audit trail.
    pub actor: String,
}

/// The holder of an API key, known by the key alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPrincipal {
    /// The key.
    pub key: ApiKeyId,
    /// Its owner.
    pub account: AccountId,
}

/// A service, known by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePrincipal {
    /// The token's id; none for the legacy token, which is in no table.
    pub token: Option<ServiceTokenId>,
    /// The token's name.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
}

impl ServicePrincipal {
    /// Whether the token allows it.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }
}

/// A part of the program that acts on its own. Each may do what it is for and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Turns a verified session into a principal; provisions on the way.
    SignIn,
    /// Looks a presented credential up.
    VerifyKey,
    /// Takes in what the identity provider sends on its own.
    Webhooks,
    /// Ends sessions that their people end.
    Sessions,
    /// Merges what members changed at the identity provider.
    Organizations,
    /// Reads everything that the identity provider knows, and compares.
    Reconciler,
    /// A person at the command line of the program.
    Operator,
    /// Signs the heads of the audit trails.
    Audit,
    /// Deletes what is not kept for good.
    Retention,
    /// Ends the keys of accounts that are gone.
    KeyEnds,
    /// Measures how long revoked keys go on.
    Canary,
}

impl Job {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::SignIn,
        Self::VerifyKey,
        Self::Webhooks,
        Self::Sessions,
        Self::Organizations,
        Self::Reconciler,
        Self::Operator,
        Self::Audit,
        Self::Retention,
        Self::KeyEnds,
        Self::Canary,
    ];

    /// The text in the audit trail and the policy matrix.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::VerifyKey => "verify-key",
            Self::Webhooks => "webhooks",
            Self::Sessions => "sessions",
            Self::Organizations => "organizations",
            Self::Reconciler => "reconciler",
            Self::Operator => "operator",
            Self::Audit => "audit",
            Self::Retention => "retention",
            Self::KeyEnds => "key-ends",
            Self::Canary => "canary",
        }
    }
}

/// Roles of one person, at most one per account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(Vec<(AccountId, Role)>);

impl Roles {
    /// The role in that account; none for a stranger.
    pub fn of(&self, account: AccountId) -> Option<Role> {
        self.0.iter().find(|(of, _)| *of == account).map(|(_, role)| *role)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (AccountId, Role)> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<(AccountId, Role)> for Roles {
    fn from_iter<T: IntoIterator<Item = (AccountId, Role)>>(roles: T) -> Self {
        Self(roles.into_iter().collect())
    }
}
