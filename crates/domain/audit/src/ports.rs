//! What the audit trail needs from a store.

use async_trait::async_trait;
use portal_kernel::StoreError;

use crate::AuditRecord;

/// The trail, inside a transaction. It can only be appended to.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AuditLog: Send {
    /// Appends; visible when the transaction commits.
    async fn record(&mut self, record: AuditRecord) -> Result<(), StoreError>;
}
