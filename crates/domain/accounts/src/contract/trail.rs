//! The audit trail, as far as a transaction shows it: the port `AuditLog`.

use portal_audit::{Actor, AuditAction, AuditRecord, Effect, Provenance, Subject};
use portal_kernel::{AccountId, StoreError};

use super::{Ports, at, id, person, provision, provision_in};

fn record(number: u32, account: Option<AccountId>) -> AuditRecord {
    AuditRecord {
        id: id(number),
        at: at(1),
        account,
        actor: Actor { kind: "system", id: "sign-in".to_owned(), behind: None },
        action: AuditAction::UserProvisioned,
        subject: Subject::User(id(1)),
        effect: Effect::Done,
        provenance: Provenance {
            request_id: Some(id(1)),
            address_prefix: Some("192.0.2.0/24".to_owned()),
            credential: Some("sess_1".to_owned()),
            reason: Some("it's \"quoted\"; --".to_owned()),
        },
    }
}

/// A record stays once its transaction is committed, and only then; in an account's trail and in the platform's.
pub async fn a_record_stays_once_it_is_committed(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for account in [None, Some(user.personal_account)] {
        for commit in [false, true] {
            let mut tx = ports.begin().await;
            tx.audit().record(record(7, account)).await.expect("a record is added");
            let ended = if commit { tx.commit().await } else { tx.rollback().await };
            ended.expect("the transaction ends");
        }
        let mut tx = ports.begin().await;
        tx.audit().record(record(7, account)).await.expect("a record is added");
        let again = tx.commit().await;
        assert!(matches!(again, Err(StoreError::Duplicate { .. })), "the committed record is there: {again:?}");
    }
}

/// A record of an account that does not exist is refused, and the transaction with it.
pub async fn a_record_needs_its_account(ports: Ports<'_>) {
    let mut tx = ports.begin().await;
    provision_in(&mut *tx, &person(1)).await;
    tx.audit().record(record(7, Some(id(9)))).await.expect("a record is added");
    assert!(tx.commit().await.is_err());
    assert_eq!(ports.known(&person(1)).await, None);
}
