//! Rows as stored, and the entities they make. A row that makes none is corrupt.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod epoch;
pub(crate) mod key;
pub(crate) mod service_token;

use portal_kernel::Timestamp;
use time::OffsetDateTime;

pub(crate) fn moment(stored: Option<OffsetDateTime>) -> Option<Timestamp> {
    stored.map(Timestamp::new)
}
