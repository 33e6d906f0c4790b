//! What can be asked for. Each action is a [`Kind`] for the policy and an empty enum for signatures.

mod sealed {
    pub trait Sealed {}
}

/// An action as a type: `Session<CreateKey>`, `Authorized<CreateKey, AccountId>`. Sealed, so that all actions are listed here.
pub trait Action: sealed::Sealed + 'static {
    /// The same action as a value.
    const KIND: Kind;
}

macro_rules! actions {
    ($(#[doc = $doc:literal] $name:ident = $text:literal;)+) => {
        /// An action as a value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {$(
            #[doc = $doc]
            $name,
        )+}

        impl Kind {
            /// All of them, in the order of the policy matrix.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The text in the policy matrix, the OpenAPI document and `me.permissions`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        $(
            #[doc = $doc]
            #[derive(Debug)]
            pub enum $name {}

            impl sealed::Sealed for $name {}

            impl Action for $name {
                const KIND: Kind = Kind::$name;
            }
        )+
    };
}

actions! {
    /// Read one's own profile and the list of one's accounts.
    ViewSelf = "view-self";
    /// Read one's own sessions.
    ReadSessions = "read-sessions";
    /// End one's own sessions.
    EndSessions = "end-sessions";
    /// Change one's own name, display and fields.
    UpdateSelf = "update-self";
    /// Read an account.
    ReadAccount = "read-account";
    /// Rename an account.
    UpdateAccount = "update-account";
    /// Give an account to another member.
    TransferOwnership = "transfer-ownership";
    /// Delete the organization behind an account, and with it the account.
    DeleteAccount = "delete-account";
    /// Read who is a member of an account.
    ReadMembers = "read-members";
    /// Give a member another role.
    ChangeRole = "change-role";
    /// End a membership; one's own is left.
    RemoveMember = "remove-member";
    /// Read who is invited into an account.
    ReadInvitations = "read-invitations";
    /// Invite somebody into an account.
    InviteMember = "invite-member";
    /// Take an invitation back.
    RevokeInvitation = "revoke-invitation";
    /// Read the account's API keys, masked.
    ReadKeys = "read-keys";
    /// Make an API key.
    CreateKey = "create-key";
    /// Rename an API key, restrict what it is good for, or say when it ends.
    UpdateKey = "update-key";
    /// Stop an API key for a while, and let it go on.
    DisableKey = "disable-key";
    /// Give an API key a new secret.
    RotateKey = "rotate-key";
    /// End an API key for good.
    RevokeKey = "revoke-key";
    /// Read the account's audit trail.
    ReadAuditTrail = "read-audit-trail";
    /// Ask whether a presented API key may be used.
    VerifyKeys = "verify-keys";
    /// Read the API keys that gateways decide with, and what changes of them.
    ReadKeyFeed = "read-key-feed";
    /// Read the program's metrics.
    ReadMetrics = "read-metrics";
    /// Look up and provision the person behind a verified session.
    BuildPrincipal = "build-principal";
    /// Write what the identity provider tells about people and organizations.
    MergeFacts = "merge-facts";
    /// Read everything that the identity provider knows, and compare.
    Reconcile = "reconcile";
    /// Say who owns an account that lost its owner.
    SetOwner = "set-owner";
    /// Sign everybody out.
    EndAllSessions = "end-all-sessions";
    /// List and replay webhooks that were put aside.
    ManageWebhooks = "manage-webhooks";
    /// Look up the record behind a presented credential, and note that it was used.
    LookUpCredential = "look-up-credential";
    /// Delete the names of requests that count no more.
    ForgetRequests = "forget-requests";
    /// End the API keys of accounts that are gone.
    EndKeysOfDeleted = "end-keys-of-deleted";
    /// Make and revoke the key by which it is measured how long revoked keys go on.
    KeepCanary = "keep-canary";
    /// Make, list, rotate and revoke service tokens.
    ManageServiceTokens = "manage-service-tokens";
    /// Vouch for how far each audit trail has come.
    SignAuditHeads = "sign-audit-heads";
    /// Verify and export all audit trails.
    InspectAuditTrails = "inspect-audit-trails";
}

impl Kind {
    /// Whether it needs an organization: in an account of one person alone there is nothing of the kind.
    pub const fn needs_organization(self) -> bool {
        matches!(
            self,
            Self::TransferOwnership
                | Self::DeleteAccount
                | Self::ChangeRole
                | Self::RemoveMember
                | Self::ReadInvitations
                | Self::InviteMember
                | Self::RevokeInvitation
        )
    }
}
