//! Facts about people.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portal_audit::{AuditAction, Subject};
use portal_authz::Role;
use portal_identity::{ProviderUser, ProviderUserId};
use portal_kernel::{Change, StoreError, Timestamp};

use super::{Fact, Facts, Merge, warn_of_no_owner};
use crate::{Account, Membership, PersonalSettings, Profile, Source, User, UserState, Versioned};

/// Name of a personal account until the person chooses another.
const PERSONAL_NAME: &str = "Personal";

/// A person in the transaction.
pub(crate) enum Found {
    /// Was there.
    Known(User),
    /// Was made just now.
    Made(User),
    /// Was deleted at the provider.
    Deleted,
}

impl Facts {
    /// The person behind a provider id, made with a personal account if there is none. The id must be locked.
    pub(crate) async fn person(
        &self,
        merge: &mut Merge<'_>,
        id: &ProviderUserId,
        asked_at: Option<Timestamp>,
    ) -> Result<Found, StoreError> {
        if let Some(user) = merge.tx.users().find(merge.cleared, id.clone()).await? {
            return Ok(if user.state == UserState::Deleted { Found::Deleted } else { Found::Known(user) });
        }
        self.make_person(merge, id, asked_at).await.map(Found::Made)
    }

    async fn make_person(
        &self,
        merge: &mut Merge<'_>,
        id: &ProviderUserId,
        asked_at: Option<Timestamp>,
    ) -> Result<User, StoreError> {
        let at = self.clock.now();
        let personal = Account {
            id: self.ids.make(),
            name: PERSONAL_NAME.to_owned(),
            provider_organization: None,
            created_at: at,
        };
        let user = User {
            id: self.ids.make(),
            provider_id: id.clone(),
            personal_account: personal.id,
            state: UserState::Active,
            copy: None,
            settings: PersonalSettings::default(),
            asked_at,
            memberships_asked_at: None,
            created_at: at,
        };
        let owner =
            Membership { account: personal.id, user: user.id, role: Some(Role::Owner), copy: None, rivals: Vec::new() };
        merge.tx.accounts().insert(merge.cleared, personal).await?;
        if !merge.tx.users().insert(merge.cleared, user.clone()).await? {
            return Err(StoreError::Stale);
        }
        merge.tx.accounts().save_membership(merge.cleared, owner, at).await?;
        self.record(merge, Some(user.personal_account), AuditAction::UserProvisioned, Subject::User(user.id)).await?;
        Ok(user)
    }

    /// Applies facts about people, whom it reads and writes together, and tells what each fact changed. Other facts, and those about
    /// somebody who is buried, change nothing.
    pub(super) async fn keep_users<'c>(
        &self,
        merge: &mut Merge<'c>,
        facts: &[Fact<'_, 'c>],
        buried: &[String],
        source: Source,
    ) -> Result<Vec<Vec<Change>>, StoreError> {
        let is_here = |user: &&ProviderUser| !buried.iter().any(|id| user.id.as_str() == id);
        let told = facts.iter().filter_map(Fact::user).filter(is_here);
        let ids: BTreeSet<_> = told.map(|user| user.id.clone()).collect();
        let found = merge.tx.users().find_all(merge.cleared, ids.into_iter().collect()).await?;
        // Each as they are here, with what to save of them.
        let keep = |user: User| (user.provider_id.clone(), (user, None));
        let mut people: BTreeMap<_, _> = found.into_iter().map(keep).collect();
        let mut changes = Vec::with_capacity(facts.len());
        for fact in facts {
            merge.caller = fact.caller;
            if let Some(told) = fact.user().filter(is_here) {
                if !people.contains_key(&told.id) {
                    let made = self.make_person(merge, &told.id, None).await?;
                    people.insert(told.id.clone(), (made, None));
                }
                if let Some((known, copy)) = people.get_mut(&told.id) {
                    self.keep_user(merge, known, copy, told.clone(), source).await?;
                }
            }
            changes.push(std::mem::take(&mut merge.changes));
        }
        let news: Vec<_> = people.into_values().filter_map(|(known, copy)| Some((known, copy?))).collect();
        if !news.is_empty() {
            merge.tx.users().save_profiles(merge.cleared, news).await?;
        }
        Ok(changes)
    }

    /// `copy` is what is to be saved of the person, if there is anything yet.
    async fn keep_user(
        &self,
        merge: &mut Merge<'_>,
        known: &User,
        copy: &mut Option<Versioned<Profile>>,
        told: ProviderUser,
        source: Source,
    ) -> Result<(), StoreError> {
        let version = told.updated_at;
        let before = copy.as_ref().or(known.copy.as_ref());
        let state = copy.as_ref().map_or(known.state, |copy| copy.content.state());
        let Some(now) = Versioned::merged(before.cloned(), Profile::from(told), version, source) else { return Ok(()) };
        if known.state == UserState::Deleted {
            return Ok(());
        }
        merge.changed(Change::User(known.id)).await?;
        if now.content.state() != state {
            let is_paused = now.content.state() == UserState::Paused;
            let action = if is_paused { AuditAction::UserPaused } else { AuditAction::UserResumed };
            self.record(merge, Some(known.personal_account), action, Subject::User(known.id)).await?;
            merge.changed(Change::Account(known.personal_account)).await?;
        }
        *copy = Some(now);
        Ok(())
    }

    pub(super) async fn remove_user(&self, merge: &mut Merge<'_>, id: ProviderUserId) -> Result<(), StoreError> {
        let Some(user) = merge.tx.users().find(merge.cleared, id).await? else { return Ok(()) };
        let subject = Subject::User(user.id);
        for (account, role) in merge.tx.users().delete(merge.cleared, user.id).await? {
            if role == Some(Role::Owner) {
                warn_of_no_owner(account);
            }
            self.record(merge, Some(account), AuditAction::MembershipRemoved, subject.clone()).await?;
        }
        self.record(merge, Some(user.personal_account), AuditAction::UserDeleted, subject).await?;
        // Their tokens verify for a while. Those of this very second end as well.
        let before = merge.tx.epochs().now().await?.plus(Duration::from_secs(1));
        merge.tx.epochs().advance(merge.cleared, user.provider_id.clone(), before).await?;
        merge.changed(Change::Tokens { of: Some(user.provider_id.to_string()), before }).await?;
        // The keys of the account that goes with them count no more.
        merge.changed(Change::Account(user.personal_account)).await?;
        merge.changed(Change::User(user.id)).await
    }
}
