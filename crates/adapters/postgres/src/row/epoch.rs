//! `session_epochs`.

use portal_accounts::Epoch;
use portal_identity::ProviderUserId;
use portal_kernel::{StoreError, Timestamp};
use time::OffsetDateTime;

use crate::error::corrupt;

/// In place of a person. No id of the provider's looks like it.
pub(crate) const EVERYBODY: &str = "*";

pub(crate) fn epoch(person: &str, before: OffsetDateTime) -> Result<Epoch, StoreError> {
    let person = (person != EVERYBODY).then(|| ProviderUserId::parse(person)).transpose();
    let person = person.map_err(|_| corrupt("session_epochs", "person"))?;
    Ok(Epoch { person, before: Timestamp::new(before) })
}
