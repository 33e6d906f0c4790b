//! What a store can answer, and a transaction as an owned value.
//!
//! A use case begins one transaction, works through the repositories that the transaction hands out, and gives it to [`finish`].
//! A transaction that is dropped unfinished (time-out, panic, shutdown) is rolled back.

use async_trait::async_trait;

/// The cause of an error, for the log only.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a store did not do what was asked. After any of these the transaction is over.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique constraint was violated where the use case did not expect it.
    #[error("a row violates the unique constraint {constraint}")]
    Duplicate {
        /// The constraint's name, as the migration gives it.
        constraint: String,
    },
    /// The row changed or vanished since it was read.
    #[error("the row was changed by somebody else")]
    Stale,
    /// Deadlock, serialization failure or lock time-out: the same call may succeed when repeated.
    #[error("the database asks to repeat the transaction")]
    Retryable(#[source] BoxError),
    /// The database cannot be reached, is read-only or has no free connection.
    #[error("the database is unavailable")]
    Unavailable(#[source] BoxError),
    /// A stored row does not make a valid entity, or a value can be in no row.
    #[error("a stored row is not valid")]
    Corrupt(#[source] BoxError),
    /// Anything else; a defect.
    #[error("the database refused a statement")]
    Other(#[source] BoxError),
}

impl StoreError {
    /// Whether what was to be stored cannot be, however often it is tried. Of what is neither this nor [`Self::may_pass`] nobody knows: a
    /// defect that may be mended.
    pub const fn never_passes(&self) -> bool {
        match self {
            Self::Duplicate { .. } | Self::Corrupt(_) => true,
            Self::Unavailable(_) | Self::Retryable(_) | Self::Stale | Self::Other(_) => false,
        }
    }

    /// Whether the same call may succeed later, without anybody doing anything.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Retryable(_) | Self::Stale => true,
            Self::Duplicate { .. } | Self::Corrupt(_) | Self::Other(_) => false,
        }
    }
}

/// The end of a transaction.
#[async_trait]
pub trait Finish: Send {
    /// Makes the changes durable. An error leaves the outcome unknown to the caller, never half done.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;

    /// Undoes the changes.
    async fn rollback(self: Box<Self>) -> Result<(), StoreError>;
}

/// A store that starts transactions; `T` names the repositories that one use case may touch.
#[async_trait]
pub trait Begin<T: ?Sized + Finish>: Send + Sync {
    /// Takes a connection and opens a transaction. Never call it while holding another transaction: a small pool would deadlock.
    async fn begin(&self) -> Result<Box<T>, StoreError>;
}

/// Whether a store answers at all.
#[async_trait]
pub trait Ping: Send + Sync {
    /// Asks it something trivial.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Commits on `Ok`, rolls back on `Err`; the body's own error wins over a failed rollback.
pub async fn finish<T, V, E>(tx: Box<T>, outcome: Result<V, E>) -> Result<V, E>
where
    T: ?Sized + Finish,
    E: From<StoreError>,
{
    match outcome {
        Ok(value) => {
            tx.commit().await?;
            Ok(value)
        }
        Err(error) => {
            // A connection that cannot roll back is broken, and the pool closes it.
            let _ = tx.rollback().await;
            Err(error)
        }
    }
}
