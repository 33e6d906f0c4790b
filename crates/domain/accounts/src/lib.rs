//! Users, accounts and memberships.
//!
//! Identity is the provider's; what a person owns here is ours. [`sign_in`] turns a verified session into a principal and provisions on
//! the first one; nothing else does.
#![warn(missing_docs)]

pub mod account;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod ended_sessions;
pub mod facts;
pub mod failed_sign_ins;
pub mod global_sign_out;
pub mod known_users;
pub mod member;
pub mod membership;
pub mod merge;
pub mod organizations;
pub mod ports;
pub mod profile;
pub mod read;
pub mod reconcile;
pub mod retention;
pub mod seen_sessions;
pub mod sessions;
pub mod settings;
pub mod sign_in;
#[cfg(test)]
mod testing;
pub mod turns;
pub mod user;
pub mod webhooks;

pub use account::{
    Account, AccountKind, AccountName, AccountState, InvalidAccountName, OrganizationAccount, OrganizationRecord,
};
pub use ended_sessions::{EndedSessions, Epoch};
pub use facts::Facts;
pub use failed_sign_ins::{FailedSignIns, SignInFailure};
pub use global_sign_out::GlobalSignOut;
pub use known_users::KnownUsers;
pub use member::{Member, RoleChange};
pub use membership::{InvalidRoleMap, KnownMembership, Membership, MembershipRecord, RoleMap, Standing, Stays};
pub use merge::{Source, Versioned};
pub use organizations::{EmailAddress, InvalidEmailAddress, Invitation, OrganizationError, Organizations};
pub use ports::{
    AccountReader, AccountRepository, AccountsStore, AccountsTx, EndedSessionReader, Merging, ParkedWebhooks,
    ProviderIds, ReconcileReader, ScanCursors, SessionEpochs, SessionSightings, SignInReader, UnconfirmedEnds,
    UnconfirmedMembers, UserRepository, WebhookInbox,
};
#[cfg(any(test, feature = "testing"))]
pub use ports::{
    MockAccountReader, MockAccountRepository, MockEndedSessionReader, MockParkedWebhooks, MockProviderIds,
    MockReconcileReader, MockScanCursors, MockSessionEpochs, MockSessionSightings, MockSignInReader,
    MockUnconfirmedEnds, MockUnconfirmedMembers, MockUserRepository, MockWebhookInbox,
};
pub use profile::{Profiles, UpdateProfileError};
pub use read::{AccountOfUser, Accounts, ReadAccountError};
pub use reconcile::{
    CompleteScan, Counterpart, LeftOut, ReconcileError, ReconcileHealth, ReconcileOptions, ReconcileReport, Reconciler,
    ScanCursor, ScanMove, ScanPosition, Stay, StayHere, Tally,
};
pub use retention::{Retention, RetentionError};
pub use seen_sessions::SeenSessions;
pub use sessions::{
    RevocationHealth, RevokeAgain, RevokedAgain, Sessions, SessionsError, UnconfirmedEnd, UnconfirmedEndCount,
};
pub use settings::{
    CustomFields, CustomPatch, FieldName, FieldValue, InvalidSettings, Locale, Patch, PersonalSettings, SettingsPatch,
    Theme, TimeZone, Username,
};
pub use sign_in::{STEP_UP, SignIn, SignInError, SignInHealth, SignedIn};
pub use turns::Turns;
pub use user::{KnownUser, Profile, User, UserState};
pub use webhooks::{
    InboxEntry, Intake, ParkedWebhook, ReceiveWebhookError, ReplayWebhookError, WebhookHealth, WebhookOutcome, Webhooks,
};
