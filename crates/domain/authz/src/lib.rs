//! Who may do what, decided in one pure place.
//!
//! [`decide()`] is the whole policy: total, without I/O, without a clock. [`Unchecked`] and [`Authorized`] make asking it unavoidable:
//! what was loaded cannot be read before it was authorized, and what writes takes the proof.
#![warn(missing_docs)]

pub mod action;
pub mod decide;
pub mod matrix;
pub mod principal;
pub mod proof;
pub mod role;
pub mod scope;

pub use action::{Action, Kind};
pub use decide::{Denied, Target, decide, permissions};
pub use principal::{Delegate, Job, KeyPrincipal, Principal, Roles, ServicePrincipal, UserPrincipal};
pub use proof::{Authorized, Owned, Platform, Unchecked};
pub use role::Role;
pub use scope::{InvalidScope, Scope, Scopes};
