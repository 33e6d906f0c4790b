//! Users, accounts and memberships.
//!
//! Identity is the provider's; what a person owns here is ours. [`sign_in`] turns a verified session into a principal and provisions on
//! the first one; nothing else does.
#![warn(missing_docs)]

pub mod account;
#[cfg(feature = "testing")]
pub mod contract;
pub mod ended_sessions;
pub mod facts;
pub mod known_users;
pub mod membership;
pub mod merge;
pub mod ports;
pub mod read;
pub mod reconcile;
pub mod sessions;
pub mod sign_in;
#[cfg(test)]
mod testing;
pub mod turns;
pub mod user;
pub mod webhooks;

pub use account::{Account, AccountKind, AccountState, OrganizationAccount, OrganizationRecord};
pub use ended_sessions::EndedSessions;
pub use facts::Facts;
pub use known_users::KnownUsers;
pub use membership::{KnownMembership, Membership, MembershipRecord, RoleMap};
pub use merge::{Source, Versioned};
pub use ports::{
    AccountReader, AccountRepository, AccountsStore, AccountsTx, EndedSessionReader, Merging, ParkedWebhooks,
    ProviderIds, ReconcileReader, ScanCursors, SignInReader, UserRepository, WebhookInbox,
};
#[cfg(any(test, feature = "testing"))]
pub use ports::{
    MockAccountReader, MockAccountRepository, MockEndedSessionReader, MockParkedWebhooks, MockProviderIds,
    MockReconcileReader, MockScanCursors, MockSignInReader, MockUserRepository, MockWebhookInbox,
};
pub use read::{AccountOfUser, Accounts, ReadAccountError};
pub use reconcile::{
    CompleteScan, Counterpart, ReconcileError, ReconcileHealth, ReconcileOptions, ReconcileReport, Reconciler,
    ScanCursor, ScanMove, ScanPosition, Stay, StayHere, Tally,
};
pub use sessions::{Sessions, SessionsError};
pub use sign_in::{SignIn, SignInError, SignInHealth, SignedIn};
pub use turns::Turns;
pub use user::{KnownUser, Profile, User, UserState};
pub use webhooks::{
    InboxEntry, ParkedWebhook, ReceiveWebhookError, ReplayWebhookError, WebhookHealth, WebhookOutcome, Webhooks,
};
