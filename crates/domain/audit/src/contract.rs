//! What every store of audit trails promises, as code: an adapter's tests call each function with an empty store of their own.
//!
//! Uses nothing but the ports. A function panics where the store breaks the promise that is the function's name.
#![expect(clippy::missing_panics_doc, reason = "panicking is how a contract says that it was broken")]

pub mod chains;
pub mod events;
pub mod heads;

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use portal_authz::{Job, Platform, Principal, Role, Roles, Unchecked, UserPrincipal};
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};

use crate::ports::{AuditReader, AuditStore, AuditTx, ChainReader, Inspecting, LinkRange, Signing};
use crate::{Actor, AuditAction, AuditRecord, Effect, Head, Link, Provenance, SignedHead, Subject, Trail};

/// The store under test, behind all of its ports.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// Writes.
    pub store: &'a AuditStore,
    /// Reads trails for members.
    pub events: &'a dyn AuditReader,
    /// Reads chains as they are.
    pub chains: &'a dyn ChainReader,
    /// Accounts that exist, in the order of their ids, and in which nothing was recorded.
    pub accounts: [AccountId; 2],
}

impl Ports<'_> {
    async fn begin(self) -> Box<dyn AuditTx> {
        self.store.begin().await.expect("a transaction begins")
    }

    async fn append(self, records: &[AuditRecord]) -> Result<(), StoreError> {
        let mut tx = self.begin().await;
        for record in records {
            tx.audit().record(record.clone()).await.expect("a record is added");
        }
        tx.commit().await
    }

    async fn written(self, records: &[AuditRecord]) {
        self.append(records).await.expect("records are committed");
    }

    async fn links(self, trail: Trail) -> Vec<Link> {
        let range = LinkRange { trail, after: None, since: None, limit: 100 };
        self.chains.links(&inspecting(), range).await.expect("a chain is read")
    }

    async fn head(self, trail: Trail) -> Head {
        let head = self.chains.head(&inspecting(), trail).await.expect("a head is read");
        head.expect("the chain has begun")
    }
}

/// Whoever verifies and exports.
pub fn operator() -> Principal {
    Principal::System(Job::Operator)
}

/// What an operator is cleared for.
pub fn inspecting() -> Inspecting {
    Unchecked::new(Platform).authorize(&operator()).expect("an operator may inspect trails")
}

/// What the signing part of the program is cleared for.
pub fn signing() -> Signing {
    let who = Principal::System(Job::Audit);
    Unchecked::new(Platform).authorize(&who).expect("it may sign heads")
}

fn member(account: AccountId, user: UserId, role: Role) -> Principal {
    Principal::User(UserPrincipal::new(user, Roles::from_iter([(account, role)])))
}

/// A record with something in every field.
fn record(number: u32, account: Option<AccountId>) -> AuditRecord {
    AuditRecord {
        id: id(number),
        at: at(number),
        account,
        actor: Actor { kind: "impersonator", id: id::<UserId>(1).to_string(), behind: Some("user_support".to_owned()) },
        action: AuditAction::MembershipChanged,
        subject: Subject::User(id(2)),
        effect: Effect::Done,
        provenance: Provenance {
            request_id: Some(id(number)),
            address_prefix: Some("192.0.2.0/24".to_owned()),
            credential: Some("sess_1".to_owned()),
            reason: Some("it's \"quoted\"; -- \u{1f511}".to_owned()),
        },
    }
}

/// A record with nothing that can be left out.
fn bare(number: u32, account: Option<AccountId>) -> AuditRecord {
    let actor = Actor { kind: "system", id: "sign-in".to_owned(), behind: None };
    AuditRecord { actor, provenance: Provenance::default(), ..record(number, account) }
}

/// Links in which each hash follows from what is before it.
fn assert_whole(links: &[Link], trail: Trail) {
    let mut head = Head::EMPTY;
    for link in links {
        assert_eq!(*link, head.append(link.entry.clone()));
        assert_eq!(link.entry.trail, trail);
        head = link.head();
    }
}

fn ids(links: &[Link]) -> Vec<u32> {
    let number = |link: &Link| (1..=99).find(|number| link.entry.id == id(*number)).expect("a record of this test");
    links.iter().map(number).collect()
}

fn signed(trail: Trail, head: Head) -> SignedHead {
    let signature = crate::Signature::from_bytes(&[head.hash.as_bytes().as_slice(); 2].concat()).expect("64 bytes");
    SignedHead { trail, head, at: at(9), signature }
}

/// Another signature of it.
fn signed_anew(trail: Trail, head: Head, number: u8) -> SignedHead {
    let signature = crate::Signature::from_bytes(&[number; 64]).expect("64 bytes");
    SignedHead { signature, ..signed(trail, head) }
}

/// A moment, with microseconds: what is read back must equal what was written.
fn at(second: u32) -> Timestamp {
    let start = Timestamp::from_unix_seconds(1_800_000_000).expect("a year that can be represented");
    start.plus(Duration::from_secs(second.into()) + Duration::from_micros(123_457))
}

/// The id of that number; greater numbers make greater ids.
fn id<I: Id + FromStr<Err: Debug>>(number: u32) -> I {
    format!("{}_{number:026}", I::PREFIX).parse().expect("digits make an id")
}
