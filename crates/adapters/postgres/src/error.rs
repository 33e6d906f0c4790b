//! PostgreSQL's errors in the words of the domain. The only place that reads messages.

use diesel::result::{DatabaseErrorKind, Error};
use portal_kernel::StoreError;

/// What an error means for the caller. Deadlocks, time-outs and shutdowns have no kind of their own in diesel and are told by their
/// English messages, which every session asks for.
pub(crate) fn store_error(error: Error) -> StoreError {
    let Error::DatabaseError(kind, info) = &error else {
        return match error {
            Error::BrokenTransactionManager => StoreError::Unavailable(error.into()),
            Error::DeserializationError(_) => StoreError::Corrupt(error.into()),
            _ => StoreError::Other(error.into()),
        };
    };
    let message = info.message();
    match kind {
        DatabaseErrorKind::UniqueViolation => {
            StoreError::Duplicate { constraint: info.constraint_name().unwrap_or_default().to_owned() }
        }
        DatabaseErrorKind::SerializationFailure => StoreError::Retryable(error.into()),
        DatabaseErrorKind::ClosedConnection
        | DatabaseErrorKind::UnableToSendCommand
        | DatabaseErrorKind::ReadOnlyTransaction => StoreError::Unavailable(error.into()),
        _ if message == "deadlock detected" || message.starts_with("canceling statement due to lock timeout") => {
            StoreError::Retryable(error.into())
        }
        _ if is_outage(message) => StoreError::Unavailable(error.into()),
        _ if is_in_no_row(message) => StoreError::Corrupt(error.into()),
        _ => StoreError::Other(error.into()),
    }
}

/// Whether the connection ends with this error. It may take a moment until it says so itself.
pub(crate) fn ends_connection(error: &Error) -> bool {
    let Error::DatabaseError(kind, info) = error else { return false };
    matches!(kind, DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand)
        || ["terminating connection", "the database system is"].iter().any(|end| info.message().starts_with(end))
}

fn is_outage(message: &str) -> bool {
    [
        "canceling statement due to statement timeout",
        "canceling statement due to user request",
        "terminating connection",
        "the database system is",
        "sorry, too many clients already",
        "remaining connection slots are reserved",
        "could not extend file",
        "could not write to file",
        "out of memory",
        // The lock table is full.
        "out of shared memory",
    ]
    .iter()
    .any(|outage| message.starts_with(outage))
}

/// Whether the value itself cannot be stored, whatever the schema says.
fn is_in_no_row(message: &str) -> bool {
    ["invalid byte sequence for encoding", "index row size", "index row requires", "value too long for type"]
        .iter()
        .any(|refusal| message.starts_with(refusal))
}

/// A row that does not make an entity.
#[derive(Debug, thiserror::Error)]
#[error("{table}.{column} holds a value that is not valid")]
struct CorruptRow {
    table: &'static str,
    column: &'static str,
}

pub(crate) fn corrupt(table: &'static str, column: &'static str) -> StoreError {
    StoreError::Corrupt(Box::new(CorruptRow { table, column }))
}
