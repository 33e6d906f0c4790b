//! What the provider told about a person becomes profile and memberships.

use portal_audit::{AuditAction, AuditRecord, Caller, Subject};
use portal_authz::Role;
use portal_identity::ProviderMembership;
use portal_kernel::{Change, StoreError, finish};

use crate::ports::AccountsTx;
use crate::sign_in::Clearance;
use crate::user::displayable;
use crate::{Membership, Profile, SignIn, User};

impl SignIn {
    /// Stores the profile and every membership whose role key is mapped, in one transaction. Repeating it changes nothing.
    pub(crate) async fn merge(
        &self,
        cleared: &Clearance,
        caller: &Caller,
        user: &User,
        profile: Profile,
        memberships: Vec<ProviderMembership>,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let outcome = self.merge_in(&mut *tx, cleared, caller, user, profile, memberships).await;
        finish(tx, outcome).await
    }

    async fn merge_in(
        &self,
        tx: &mut dyn AccountsTx,
        cleared: &Clearance,
        caller: &Caller,
        user: &User,
        profile: Profile,
        mut memberships: Vec<ProviderMembership>,
    ) -> Result<(), StoreError> {
        let at = self.clock.now();
        // Everybody takes the accounts in one order, so that colleagues who sign in together cannot deadlock.
        memberships.sort_by(|a, b| a.organization.id.cmp(&b.organization.id));
        for ProviderMembership { mut organization, role: provider_role } in memberships {
            organization.name = displayable(&organization.name, 256).unwrap_or_else(|| organization.id.to_string());
            let Some(mapped) = self.role_map.role(&provider_role) else {
                tracing::warn!(organization = %organization.id, role = provider_role, "an unmapped role gives no access");
                continue;
            };
            let role = if organization.created_by.as_ref() == Some(&user.provider_id) { Role::Owner } else { mapped };
            let (account, made) =
                tx.accounts().find_or_insert_organization(cleared, self.ids.make(), organization, at).await?;
            let source = (&*self.ids, &*self.clock);
            if made {
                let subject = Subject::Account(account);
                let record = AuditRecord::now(source, caller, Some(account), AuditAction::AccountCreated, subject);
                tx.audit().record(record).await?;
            }
            let membership = Membership { account, user: user.id, role, provider_role: Some(provider_role) };
            if tx.accounts().insert_membership(cleared, membership, at).await? {
                let subject = Subject::User(user.id);
                let record = AuditRecord::now(source, caller, Some(account), AuditAction::MembershipCreated, subject);
                tx.audit().record(record).await?;
            }
        }
        tx.users().save_profile(cleared, user.id, profile, at).await?;
        tx.changes().changed(Change::User(user.id)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_audit::Provenance;
    use portal_identity::{MockIdentityDirectory, ProviderOrganization, ProviderUserId};
    use portal_kernel::AccountId;
    use portal_testkit::{CountingIds, FixedClock};

    use super::*;
    use crate::testing::{Ending, MockAccountsStore, MockTx, known, organization, provider_user, session};
    use crate::{MockSignInReader, RoleMap};

    fn member_of(created_by: &str, role: &str) -> ProviderMembership {
        ProviderMembership {
            organization: ProviderOrganization {
                id: organization("org:admin").id,
                name: "Acme".to_owned(),
                created_by: Some(ProviderUserId::parse(created_by).unwrap()),
            },
            role: role.to_owned(),
        }
    }

    async fn sign_in_with(tx: MockTx, memberships: Vec<ProviderMembership>) -> Arc<MockAccountsStore> {
        let mut claim = MockTx::default();
        claim.users.expect_claim_profile().returning(|_, _, _, _| Ok(true));
        let store = Arc::new(MockAccountsStore::new([claim, tx]));
        let mut reader = MockSignInReader::new();
        reader.expect_find().returning(|_, _| Ok(Some(Arc::new(known(false)))));
        let mut directory = MockIdentityDirectory::new();
        directory.expect_user().returning(|_| Ok(Some(provider_user())));
        directory.expect_memberships().return_once(|_| Ok(memberships));
        let sign_in = SignIn {
            reader: Arc::new(reader),
            store: store.clone(),
            directory: Arc::new(directory),
            role_map: RoleMap::default(),
            ids: Arc::new(CountingIds::default()),
            clock: Arc::new(FixedClock::default()),
        };
        sign_in.sign_in(&session(), &Provenance::default()).await.unwrap();
        store
    }

    fn expecting(role: Role) -> MockTx {
        let account: AccountId = "acc_00000000000000000000000009".parse().unwrap();
        let mut tx = MockTx::default();
        tx.accounts.expect_find_or_insert_organization().once().returning(move |_, _, _, _| Ok((account, true)));
        tx.accounts
            .expect_insert_membership()
            .withf(move |_, member, _| member.role == role && member.account == account)
            .once()
            .returning(|_, _, _| Ok(true));
        tx.audit.expect_record().times(2).returning(|_| Ok(()));
        tx.users.expect_save_profile().once().returning(|_, _, _, _| Ok(()));
        tx
    }

    #[tokio::test]
    async fn the_creator_of_an_organization_owns_it() {
        let creator = session().user_id;
        let store = sign_in_with(expecting(Role::Owner), vec![member_of(creator.as_str(), "org:admin")]).await;
        assert_eq!(store.endings(), [Ending::Committed, Ending::Committed]);
    }

    #[tokio::test]
    async fn anybody_else_gets_the_mapped_role() {
        let store = sign_in_with(expecting(Role::Viewer), vec![member_of("user_boss", "org:viewer")]).await;
        assert_eq!(store.endings(), [Ending::Committed, Ending::Committed]);
    }

    #[tokio::test]
    async fn an_unmapped_role_makes_no_membership() {
        let mut tx = MockTx::default();
        tx.accounts.expect_insert_membership().never();
        tx.users.expect_save_profile().once().returning(|_, _, _, _| Ok(()));
        let store = sign_in_with(tx, vec![member_of("user_boss", "org:guest")]).await;
        assert_eq!(store.endings(), [Ending::Committed, Ending::Committed]);
    }
}
