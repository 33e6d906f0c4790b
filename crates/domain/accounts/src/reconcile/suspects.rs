//! What may be gone: it is here, and was not listed.

use portal_identity::{DirectoryError, ProviderEvent};
use portal_kernel::{AccountId, StoreError, Timestamp, UserId};

use super::{ROWS, Reconciler, Scan, Stay};

/// What may be gone at the provider.
pub(super) struct Suspects {
    /// As it would be told.
    pub(super) events: Vec<ProviderEvent>,
    /// How many records are here at all.
    pub(super) known: usize,
    /// How many people of those that are here the provider listed.
    pub(super) recognized: usize,
}

impl Reconciler {
    /// What is here since before the scan and was not listed.
    pub(super) async fn suspects(&self, scan: &Scan) -> Result<Suspects, StoreError> {
        let (mut suspects, mut known, mut recognized) = (Vec::new(), 0, 0);
        let is_missing = |id: &str, created_at: Timestamp| created_at < scan.started_at && !scan.seen.contains(id);
        let mut after = None;
        loop {
            let rows = self.reader.users(&scan.cleared, after, ROWS).await?;
            known += rows.len();
            let before = rows.iter().filter(|row| row.created_at < scan.started_at);
            recognized += before.filter(|row| scan.seen.contains(row.provider_id.as_str())).count();
            let missing = rows.iter().filter(|row| is_missing(row.provider_id.as_str(), row.created_at));
            suspects.extend(missing.map(|row| ProviderEvent::UserDeleted(row.provider_id.clone())));
            match rows.last() {
                Some(last) => after = Some(last.id),
                None => break,
            }
        }
        let mut after = None;
        loop {
            let rows = self.reader.organizations(&scan.cleared, after, ROWS).await?;
            known += rows.len();
            let missing = rows.iter().filter(|row| is_missing(row.provider_id.as_str(), row.created_at));
            suspects.extend(missing.map(|row| ProviderEvent::OrganizationDeleted(row.provider_id.clone())));
            match rows.last() {
                Some(last) => after = Some(last.id),
                None => break,
            }
        }
        let mut after: Option<(AccountId, UserId)> = None;
        loop {
            let rows = self.reader.memberships(&scan.cleared, after, ROWS).await?;
            known += rows.len();
            // With the organization or the person goes the membership, and is no suspect of its own.
            let has_parents =
                |stay: &Stay| scan.seen.contains(stay.organization.as_str()) && scan.seen.contains(stay.user.as_str());
            let missing = rows.iter().filter(|row| is_missing(row.provider_id.membership.as_str(), row.created_at));
            suspects.extend(missing.filter(|row| has_parents(&row.provider_id)).map(|row| {
                let Stay { membership, organization, user } = row.provider_id.clone();
                ProviderEvent::MembershipDeleted { id: membership, organization, user }
            }));
            match rows.last() {
                Some(last) => after = Some(last.id),
                None => break,
            }
        }
        Ok(Suspects { events: suspects, known, recognized })
    }

    /// What the provider says when it is asked about the suspect alone: gone, or here and missed before.
    pub(super) async fn confirmed(&self, suspect: ProviderEvent) -> Result<Option<ProviderEvent>, DirectoryError> {
        Ok(match &suspect {
            ProviderEvent::UserDeleted(id) => Some(self.listing.user(id).await?.map_or(suspect, ProviderEvent::User)),
            ProviderEvent::OrganizationDeleted(id) => {
                Some(self.listing.organization(id).await?.map_or(suspect, ProviderEvent::Organization))
            }
            ProviderEvent::MembershipDeleted { id, user, .. } => {
                let listed = self.listing.memberships(user).await?;
                let found = listed.into_iter().find(|membership| membership.id == *id);
                Some(found.map_or(suspect, ProviderEvent::Membership))
            }
            ProviderEvent::User(_)
            | ProviderEvent::Organization(_)
            | ProviderEvent::Membership(_)
            | ProviderEvent::SessionEnded(_) => None,
        })
    }
}
