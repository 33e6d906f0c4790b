//! Proofs of authorization, as types.
//!
//! A proof cannot be built by hand:
//!
//! ```compile_fail,E0451
//! use portal_authz::{Authorized, action::CreateKey};
//! use std::marker::PhantomData;
//! fn forge(account: portal_kernel::AccountId) -> Authorized<CreateKey, portal_kernel::AccountId> {
//!     Authorized { resource: account, action: PhantomData }
//! }
//! ```
//!
//! A proof for one action is no proof for another:
//!
//! ```compile_fail,E0308
//! use portal_authz::{Authorized, action::{CreateKey, ReadKeys}};
//! use portal_kernel::AccountId;
//! fn create(_: Authorized<CreateKey, AccountId>) {}
//! fn misuse(proof: Authorized<ReadKeys, AccountId>) { create(proof) }
//! ```
//!
//! What was loaded cannot be looked into before it was authorized:
//!
//! ```compile_fail,E0616
//! use portal_authz::Unchecked;
//! fn peek(account: Unchecked<portal_kernel::AccountId>) -> portal_kernel::AccountId { account.0 }
//! ```

use std::marker::PhantomData;
use std::ops::Deref;

use portal_kernel::AccountId;

use crate::{Action, Denied, Principal, Target, decide};

/// Something the policy can be asked about.
pub trait Owned {
    /// What to ask the policy about.
    fn target(&self) -> Target;
}

/// The program as a whole, for actions that concern no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform;

impl Owned for Platform {
    fn target(&self) -> Target {
        Target::Platform
    }
}

/// An account id stands for the account's contents: whoever may list or add is cleared for the id, and the query uses that id.
impl Owned for AccountId {
    fn target(&self) -> Target {
        Target::Account { account: *self, made_by: None }
    }
}

/// Loaded, and sealed until somebody was authorized for it.
#[derive(Clone)]
#[must_use]
pub struct Unchecked<R>(R);

impl<R> std::fmt::Debug for Unchecked<R> {
    /// The seal, not what is under it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unchecked")
    }
}

impl<R: Owned> Unchecked<R> {
    /// Seals a resource.
    pub fn new(resource: R) -> Self {
        Self(resource)
    }

    /// Opens the seal for one action, or not at all.
    pub fn authorize<A: Action>(self, who: &Principal) -> Result<Authorized<A, R>, Denied> {
        decide(who, A::KIND, &self.0.target())?;
        Ok(Authorized { resource: self.0, action: PhantomData })
    }
}

/// Proof that somebody was authorized for action `A` on this resource.
#[derive(Debug, Clone)]
#[must_use]
pub struct Authorized<A, R> {
    resource: R,
    action: PhantomData<fn() -> A>,
}

impl<A, R> Authorized<A, R> {
    /// Gives the resource away, and the proof with it.
    pub fn into_inner(self) -> R {
        self.resource
    }
}

impl<A, R> Deref for Authorized<A, R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.resource
    }
}
