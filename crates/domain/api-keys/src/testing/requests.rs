//! Named requests in memory.

use async_trait::async_trait;
use portal_kernel::{EarlierRequest, Fingerprint, IdempotencyKey, IdempotencyLog, NamedRequest, StoreError, Timestamp};

use super::{account, key, maker};

#[derive(Clone, Default)]
pub(crate) struct MemoryRequests(pub(crate) Vec<NamedRequest>);

#[async_trait]
impl IdempotencyLog for MemoryRequests {
    async fn claim(&mut self, request: NamedRequest) -> Result<Option<EarlierRequest>, StoreError> {
        let forgotten = request.at.minus(NamedRequest::REMEMBERED);
        let name = |request: &NamedRequest| (request.account, request.caller, request.key.clone());
        self.0.retain(|known| name(known) != name(&request) || known.at > forgotten);
        let known = self.0.iter().find(|known| name(known) == name(&request));
        let earlier = known.map(|known| EarlierRequest { fingerprint: known.fingerprint, made: known.made.clone() });
        if earlier.is_none() {
            self.0.push(request);
        }
        Ok(earlier)
    }

    async fn forget(&mut self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        let count = self.0.len();
        let mut left = most;
        self.0.retain(|known| {
            let goes = known.at < before && left > 0;
            left -= usize::from(goes);
            !goes
        });
        Ok(count - self.0.len())
    }
}

/// A request of who made [`key`].
pub(crate) fn named_request(name: &str, at: Timestamp) -> NamedRequest {
    NamedRequest {
        account: account(),
        caller: maker(),
        key: IdempotencyKey::parse(name).unwrap(),
        fingerprint: Fingerprint([7; 32]),
        made: key().id.to_string(),
        at,
    }
}
