//! The append-only record of every privileged act: who did what to what, when, and through which request.
//!
//! A record is written in the transaction of the change it describes: either both exist or neither.
#![warn(missing_docs)]

pub mod caller;
pub mod ports;
pub mod record;

pub use caller::{Caller, Provenance};
pub use ports::AuditLog;
#[cfg(any(test, feature = "testing"))]
pub use ports::MockAuditLog;
pub use record::{Actor, AuditAction, AuditRecord, Subject};
