//! The vocabulary that every other crate shares: ids, time, secrets, pages, store errors and transactions.
//!
//! Nothing here knows what an account or a key is, and nothing here does I/O.
#![warn(missing_docs)]

pub mod feed;
pub mod id;
pub mod idempotency;
pub mod page;
pub mod secret;
pub mod store;
pub mod time;

pub use feed::{Change, ChangeFeed, ChangeListener, ChangeLog};
pub use id::{AccountId, ApiKeyId, AuditEventId, Id, IdGen, InvalidId, ReplicaId, RequestId, ServiceTokenId, UserId};
pub use idempotency::{
    EarlierRequest, Fingerprint, IdempotencyKey, IdempotencyLog, InvalidIdempotencyKey, NamedRequest,
};
pub use page::{InvalidPageSize, Page, PageRequest, PageSize};
pub use secret::{Entropy, ExposeSecret, SecretSlice, SecretString};
pub use store::{Begin, BoxError, Finish, Ping, StoreError, finish};
pub use time::{Clock, InvalidTimestamp, Timestamp};
