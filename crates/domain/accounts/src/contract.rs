//! What every store of accounts promises, as code: an adapter's tests call each function with an empty store of its own.
//!
//! Uses nothing but the ports. A function panics where the store breaks the promise that is the function's name.
#![expect(clippy::missing_panics_doc, reason = "panicking is how a contract says that it was broken")]

pub mod accounts;
pub mod inbox;
pub mod members;
pub mod scans;
pub mod settings;
pub mod trail;
pub mod unconfirmed;
pub mod unconfirmed_ends;
pub mod users;

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use portal_authz::action::{BuildPrincipal, ViewSelf};
use portal_authz::{Authorized, Job, Platform, Principal, Role, Roles, Unchecked, UserPrincipal};
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Id, Timestamp, UserId};

use crate::{
    Account, AccountReader, AccountsStore, AccountsTx, EndedSessionReader, KnownMembership, KnownUser, Membership,
    MembershipRecord, Merging, OrganizationAccount, OrganizationRecord, ParkedWebhooks, PersonalSettings, Profile,
    ReconcileReader, SignInReader, User, UserState, Versioned,
};

/// The store under test, behind all of its ports.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// Writes.
    pub store: &'a AccountsStore,
    /// Reads people.
    pub sign_in: &'a dyn SignInReader,
    /// Reads accounts.
    pub accounts: &'a dyn AccountReader,
    /// Reads which sessions ended.
    pub ended: &'a dyn EndedSessionReader,
    /// Reads what scans compare with.
    pub scans: &'a dyn ReconcileReader,
    /// Reads which messages were put aside.
    pub parked: &'a dyn ParkedWebhooks,
}

impl Ports<'_> {
    async fn begin(self) -> Box<dyn AccountsTx> {
        self.store.begin().await.expect("a transaction begins")
    }

    async fn known(self, user: &User) -> Option<KnownUser> {
        let found = self.sign_in.find(&looking_up(), user.provider_id.clone()).await.expect("a person is looked up");
        found.map(Arc::unwrap_or_clone)
    }
}

/// Makes a person and their personal account as a first sign-in does; for the contracts of the crates above this one, too.
pub async fn provision(store: &AccountsStore, number: u32) -> User {
    let user = person(number);
    let mut tx = store.begin().await.expect("a transaction begins");
    provision_in(&mut *tx, &user).await;
    tx.commit().await.expect("a first sign-in is committed");
    user
}

async fn provision_in(tx: &mut dyn AccountsTx, user: &User) {
    tx.accounts().insert(&cleared(), personal(user)).await.expect("a personal account is added");
    let added = tx.users().insert(&cleared(), user.clone()).await.expect("a person is added");
    assert!(added, "the provider id was free");
    tx.accounts().save_membership(&cleared(), ownership(user), user.created_at).await.expect("an ownership is added");
}

/// For whoever writes what the provider tells.
pub fn cleared() -> Merging {
    let who = Principal::System(Job::SignIn);
    Unchecked::new(Platform).authorize(&who).expect("a sign-in may merge facts")
}

/// For whoever looks people up.
pub fn looking_up() -> Authorized<BuildPrincipal, Platform> {
    let who = Principal::System(Job::SignIn);
    Unchecked::new(Platform).authorize(&who).expect("a sign-in may build principals")
}

/// A version of a profile that the provider told at that moment.
pub fn told(content: Profile, version: Timestamp) -> Versioned<Profile> {
    Versioned { content, version, doubtful: false }
}

fn myself(user: UserId) -> Authorized<ViewSelf, Platform> {
    let who = Principal::User(UserPrincipal::new(user, Roles::default()));
    Unchecked::new(Platform).authorize(&who).expect("a person may see their own accounts")
}

/// A moment, with microseconds: what is read back must equal what was written.
fn at(second: u64) -> Timestamp {
    let start = Timestamp::from_unix_seconds(1_800_000_000).expect("a year that can be represented");
    start.plus(Duration::from_secs(second) + Duration::from_micros(123_457))
}

/// The id of that number; greater numbers make greater ids.
fn id<I: Id + FromStr<Err: Debug>>(number: u32) -> I {
    format!("{}_{number:026}", I::PREFIX).parse().expect("digits make an id")
}

fn person(number: u32) -> User {
    User {
        id: id(number),
        provider_id: ProviderUserId::parse(&format!("user_{number}")).expect("a provider id"),
        personal_account: id(number),
        state: UserState::Active,
        copy: None,
        settings: PersonalSettings::default(),
        asked_at: Some(at(0)),
        memberships_asked_at: None,
        created_at: at(0),
    }
}

fn personal(user: &User) -> Account {
    Account {
        id: user.personal_account,
        name: "Personal".to_owned(),
        provider_organization: None,
        created_at: user.created_at,
    }
}

fn ownership(user: &User) -> Membership {
    Membership {
        account: user.personal_account,
        user: user.id,
        role: Some(Role::Owner),
        copy: None,
        rivals: Vec::new(),
    }
}

fn as_known(user: User) -> KnownUser {
    let owner = ownership(&user);
    let membership =
        KnownMembership { account: owner.account, role: owner.role, provider_role: None, provider_organization: None };
    KnownUser { user, memberships: vec![membership] }
}

/// A profile with something in every field.
pub fn profile() -> Profile {
    Profile {
        email: Some("zoë@example.test".to_owned()),
        email_verified: true,
        first_name: Some("Zoë".to_owned()),
        last_name: Some("O'Neil; DROP TABLE".to_owned()),
        image_url: Some("https://img.example.test/1".to_owned()),
        banned: false,
    }
}

/// An account of an organization that nobody told of yet.
fn organization(number: u32, name: &str) -> Account {
    let id = ProviderOrganizationId::parse(&format!("org_{name}")).expect("a provider id");
    Account { id: self::id(number), name: name.to_owned(), provider_organization: Some(id), created_at: at(1) }
}

/// What is told of it later.
fn named(account: &Account, name: &str) -> OrganizationAccount {
    let created_by = Some(ProviderUserId::parse("user_boss").expect("a provider id"));
    let content = OrganizationRecord { name: name.to_owned() };
    let copy = Some(Versioned { content, version: at(7), doubtful: true });
    let given_to = Some(ProviderUserId::parse("user_heir").expect("a provider id"));
    OrganizationAccount { account: account.id, created_by, given_to, copy }
}

async fn add_organization(tx: &mut dyn AccountsTx, account: &Account) {
    tx.accounts().insert(&cleared(), account.clone()).await.expect("an account is added");
}

fn editor(account: AccountId, user: &User) -> Membership {
    let id = ProviderMembershipId::parse("orgmem_1").expect("a provider id");
    let content = MembershipRecord { id, role: "org:member".to_owned() };
    let copy = Some(Versioned { content, version: at(6), doubtful: true });
    let rival = ProviderMembershipId::parse("orgmem_0").expect("a provider id");
    let rivals = vec![MembershipRecord { id: rival, role: "org:\"viewer\"".to_owned() }];
    Membership { account, user: user.id, role: Some(Role::Editor), copy, rivals }
}
