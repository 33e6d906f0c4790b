//! The trail.

use async_trait::async_trait;
use diesel_async::RunQueryDsl;
use portal_audit::{AuditLog, AuditRecord};
use portal_kernel::StoreError;

use crate::row::audit::{AuditRow, PlatformAuditRow};
use crate::schema::{audit_events, platform_audit_events};
use crate::tx::PgTx;

#[async_trait]
impl AuditLog for PgTx {
    async fn record(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        let inserted = if let Some(account) = record.account {
            let row = AuditRow::new(account, record);
            diesel::insert_into(audit_events::table).values(row).execute(&mut self.conn).await
        } else {
            let row = PlatformAuditRow::from(record);
            diesel::insert_into(platform_audit_events::table).values(row).execute(&mut self.conn).await
        };
        self.noted(inserted).map(drop)
    }
}
