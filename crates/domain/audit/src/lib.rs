//! The append-only record of every privileged act: who did what to what, when, and through which request.
//!
//! A record is written in the transaction of the change it describes: either both exist or neither. One of an effect elsewhere is written
//! before it. The records of an account are a hash chain ([`chain`]) whose head is signed now and then ([`signed_head`]), so that a row
//! that was changed, taken out, moved or cut off is found ([`verify`]), also if all hashes were computed anew.
#![warn(missing_docs)]

pub mod caller;
pub mod chain;
#[cfg(feature = "testing")]
pub mod contract;
pub mod effect;
pub mod entry;
pub mod ports;
pub mod read;
pub mod record;
pub mod sign;
pub mod signed_head;
#[cfg(test)]
mod testing;
pub mod verify;

pub use caller::{Caller, Provenance};
pub use chain::{Hash, Head, InvalidHex, Link, Trail};
pub use effect::{Effect, EffectResult, Outcome};
pub use entry::AuditEntry;
pub use ports::{
    AuditLog, AuditReader, AuditStore, AuditTx, ChainReader, FoundHead, Inspecting, LinkRange, SignedHeads, Signing,
};
#[cfg(any(test, feature = "testing"))]
pub use ports::{MockAuditLog, MockAuditReader, MockChainReader, MockSignedHeads};
pub use read::{AuditEvent, AuditFilter, AuditTrail, FoundEvent, ReadTrailError, TrailOf};
pub use record::{Actor, AuditAction, AuditRecord, Subject};
pub use sign::{SignHeads, SignHeadsError, SigningNews, Turn};
pub use signed_head::{HeadSigner, HeadVerifier, Signature, SignedHead};
#[cfg(any(test, feature = "testing"))]
pub use signed_head::{MockHeadSigner, MockHeadVerifier};
pub use verify::{Finding, InspectError, Inspector, Unreadable, Verdict};
