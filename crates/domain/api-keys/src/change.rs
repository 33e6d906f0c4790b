//! What all changes of a key have in common.

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::{Action, Authorized, Denied};
use portal_kernel::{ApiKeyId, Change, StoreError};

use crate::ports::ApiKeysTx;
use crate::{ApiKey, ApiKeys};

/// Opens a key and keeps everybody else from changing it until the transaction ends; none if there is none. Whoever may not change it
/// waits for nobody and holds nobody up.
pub(crate) async fn hold<A: Action, E: From<Denied> + From<StoreError>>(
    tx: &mut dyn ApiKeysTx,
    who: &Caller,
    id: ApiKeyId,
) -> Result<Option<Authorized<A, ApiKey>>, E> {
    let Some(seen) = tx.keys().find(id).await? else { return Ok(None) };
    let _cleared = seen.authorize::<A>(&who.principal)?;
    let Some(held) = tx.keys().find_to_change(id).await? else { return Ok(None) };
    Ok(Some(held.authorize(&who.principal)?))
}

impl ApiKeys {
    /// Writes down what was done, for the trail and for the other replicas.
    pub(crate) async fn tell(
        &self,
        tx: &mut dyn ApiKeysTx,
        who: &Caller,
        key: &ApiKey,
        action: AuditAction,
    ) -> Result<(), StoreError> {
        let source = (&*self.ids, &*self.clock);
        let record = AuditRecord::now(source, who, Some(key.account), action, Subject::ApiKey(key.id));
        tx.audit().record(record).await?;
        tx.changes().changed(Change::Key(key.id)).await
    }
}

#[cfg(test)]
mod tests;
