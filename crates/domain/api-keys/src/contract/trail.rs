//! The audit trail, as far as a transaction shows it: the port `AuditLog`.

use portal_audit::{Actor, AuditAction, AuditRecord, Effect, Provenance, Subject};
use portal_kernel::StoreError;

use super::{Ports, at, id};

/// A record stays once its transaction is committed, and only then.
pub async fn a_record_stays_once_it_is_committed(ports: Ports<'_>) {
    let record = AuditRecord {
        id: id(7),
        at: at(1),
        account: None,
        actor: Actor { kind: "system", id: "operator".to_owned(), behind: None },
        action: AuditAction::ServiceTokenCreated,
        subject: Subject::ServiceToken(id(1)),
        effect: Effect::Done,
        provenance: Provenance::default(),
    };
    for commit in [false, true] {
        let mut tx = ports.begin().await;
        tx.audit().record(record.clone()).await.expect("a record is added");
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
    }
    let mut tx = ports.begin().await;
    tx.audit().record(record).await.expect("a record is added");
    let again = tx.commit().await;
    assert!(matches!(again, Err(StoreError::Duplicate { .. })), "the committed record is there: {again:?}");
}
