//! People change what they chose here. What the provider tells of them is changed at the provider.

use std::sync::Arc;

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::action::UpdateSelf;
use portal_authz::{Authorized, Denied, Platform, Unchecked};
use portal_kernel::{Change, Clock, IdGen, StoreError, finish};

use crate::ports::{AccountsStore, AccountsTx};
use crate::{InvalidSettings, PersonalSettings, SettingsPatch, User};

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateProfileError {
    /// Another person has the username.
    #[error("the username is taken")]
    UsernameTaken,
    /// The settings would not be valid.
    #[error(transparent)]
    Invalid(#[from] InvalidSettings),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the settings could not be stored")]
    Store(#[from] StoreError),
}

/// The use case, with what it needs.
pub struct Profiles {
    /// Where settings are stored.
    pub store: Arc<AccountsStore>,
    /// New ids.
    pub ids: Arc<dyn IdGen>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Profiles {
    /// Changes the settings of the caller, and answers what they are now. A change that changes nothing leaves no record.
    pub async fn update(
        &self,
        caller: &Caller,
        user: &User,
        patch: SettingsPatch,
    ) -> Result<PersonalSettings, UpdateProfileError> {
        let cleared = Unchecked::new(Platform).authorize(&caller.principal)?;
        let mut tx = self.store.begin().await?;
        let outcome = self.update_in(&mut *tx, &cleared, caller, user, patch).await;
        finish(tx, outcome).await
    }

    async fn update_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Authorized<UpdateSelf, Platform>,
        caller: &Caller,
        user: &User,
        patch: SettingsPatch,
    ) -> Result<PersonalSettings, UpdateProfileError> {
        let before = tx.users().lock_settings(cleared, user.id).await?.ok_or(StoreError::Stale)?;
        let after = before.clone().patched(patch)?;
        if after == before {
            return Ok(after);
        }
        if !tx.users().save_settings(cleared, user.id, after.clone()).await? {
            return Err(UpdateProfileError::UsernameTaken);
        }
        let (account, subject) = (Some(user.personal_account), Subject::User(user.id));
        let source: (&dyn IdGen, &dyn Clock) = (&*self.ids, &*self.clock);
        tx.audit().record(AuditRecord::now(source, caller, account, AuditAction::ProfileUpdated, subject)).await?;
        tx.changes().changed(Change::User(user.id)).await?;
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use portal_audit::Provenance;
    use portal_authz::{Delegate, Principal, Roles, UserPrincipal};
    use portal_testkit::{CountingIds, FixedClock};

    use super::*;
    use crate::testing::known;
    use crate::testing::memory::MemoryStore;
    use crate::{Patch, Theme, Username};

    fn caller(principal: Principal) -> Caller {
        Caller { principal, provenance: Provenance::default() }
    }

    fn person() -> UserPrincipal {
        UserPrincipal::new(known(true).user.id, Roles::default())
    }

    async fn profiles() -> (Profiles, MemoryStore) {
        let store = MemoryStore::default();
        let alice = known(true).user;
        let taken = PersonalSettings { username: Some(Username::parse("bob").unwrap()), ..Default::default() };
        let bob = User { id: "usr_00000000000000000000000002".parse().unwrap(), settings: taken, ..alice.clone() };
        for user in [alice, bob] {
            store.rows.lock().await.users.insert(user.id.to_string(), user);
        }
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        (Profiles { store: Arc::new(store.clone()), ids, clock }, store)
    }

    fn named(text: &str) -> SettingsPatch {
        SettingsPatch { username: Patch::Set(Username::parse(text).unwrap()), ..Default::default() }
    }

    #[tokio::test]
    async fn a_change_is_stored_recorded_and_told_once() {
        let (profiles, store) = profiles().await;
        let (me, alice) = (caller(Principal::User(person())), known(true).user);
        let patch = SettingsPatch { theme: Patch::Set(Theme::Dark), ..named("alice") };
        for _ in 0..2 {
            let after = profiles.update(&me, &alice, patch.clone()).await.unwrap();
            assert_eq!((after.username.unwrap().as_str(), after.theme), ("alice", Some(Theme::Dark)));
        }
        let rows = store.rows.lock().await;
        assert_eq!(rows.changes, [Change::User(alice.id)]);
        assert_eq!(rows.records.iter().map(|record| record.action).collect::<Vec<_>>(), [AuditAction::ProfileUpdated]);
    }

    #[tokio::test]
    async fn a_taken_username_changes_nothing() {
        let (profiles, store) = profiles().await;
        let refused = profiles.update(&caller(Principal::User(person())), &known(true).user, named("bob")).await;
        assert!(matches!(refused, Err(UpdateProfileError::UsernameTaken)));
        let rows = store.rows.lock().await;
        assert!(rows.changes.is_empty() && rows.records.is_empty());
    }

    #[tokio::test]
    async fn whoever_acts_for_a_person_changes_nothing() {
        let (profiles, _) = profiles().await;
        let delegate = Delegate { user: person(), actor: "user_support".to_owned() };
        for principal in [Principal::Impersonator(delegate.clone()), Principal::Agent(delegate)] {
            let refused = profiles.update(&caller(principal), &known(true).user, named("other")).await;
            assert!(matches!(refused, Err(UpdateProfileError::Denied(Denied::Forbidden))));
        }
    }
}
