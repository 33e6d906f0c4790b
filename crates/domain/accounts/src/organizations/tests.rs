use portal_audit::{Effect, Provenance};
use portal_authz::{Delegate, Roles, UserPrincipal};
use portal_identity::{
    InvitationStatus, Listed, MockOrganizationAdmin, ProviderInvitation, ProviderInvitationId, ProviderMembership,
    ProviderMembershipId, ProviderOrganization, ProviderUserId,
};
use portal_kernel::{Begin, Timestamp, UserId};
use portal_testkit::{CountingIds, FixedClock};

use super::*;
use crate::testing::memory::MemoryStore;
use crate::{Member, RoleMap};

const CREATOR: &str = "user_alice";

fn person(name: &str) -> ProviderUserId {
    ProviderUserId::parse(&format!("user_{name}")).unwrap()
}

fn acme(version: i64) -> ProviderOrganization {
    ProviderOrganization {
        id: ProviderOrganizationId::parse("org_acme").unwrap(),
        name: format!("Acme {version}"),
        created_by: ProviderUserId::parse(CREATOR).ok(),
        updated_at: Timestamp::from_unix_seconds(version).unwrap(),
    }
}

fn membership(name: &str, role: &str, version: i64) -> ProviderMembership {
    ProviderMembership {
        id: ProviderMembershipId::parse(&format!("orgmem_{name}")).unwrap(),
        organization: acme(1),
        user: person(name),
        role: role.to_owned(),
        updated_at: Timestamp::from_unix_seconds(version).unwrap(),
    }
}

fn invitation(role: &str, status: InvitationStatus, expires_in: i64) -> ProviderInvitation {
    let end = FixedClock::default().now().unix_seconds() + expires_in;
    ProviderInvitation {
        id: ProviderInvitationId::parse("orginv_1").unwrap(),
        organization: acme(1).id,
        email: "new@example.test".to_owned(),
        role: role.to_owned(),
        inviter: Some(person("adam")),
        status,
        created_at: None,
        expires_at: Timestamp::from_unix_seconds(end),
    }
}

fn down<T>() -> Result<T, OrganizationAdminError> {
    Err(DirectoryError::Unavailable("down".into()).into())
}

/// Acme with alice as owner, adam and anna as admins, edith as editor.
struct World {
    store: MemoryStore,
    organizations: Organizations,
    account: AccountId,
}

impl World {
    async fn new(admin: MockOrganizationAdmin) -> Self {
        let store = MemoryStore::default();
        let facts = Facts {
            role_map: RoleMap::default(),
            ids: Arc::new(CountingIds::default()),
            clock: Arc::new(FixedClock::default()),
        };
        let caller = Caller { principal: Principal::System(Job::Organizations), provenance: Provenance::default() };
        let members = [("alice", "org:admin"), ("adam", "org:admin"), ("anna", "org:admin"), ("edith", "org:editor")];
        let members = members.map(|(name, role)| ProviderEvent::Membership(membership(name, role, 1)));
        let events = members.into_iter().chain([ProviderEvent::Organization(acme(1))]).collect();
        let cleared = merging().unwrap();
        let mut tx = store.begin().await.unwrap();
        facts.apply(&mut Merge::new(&mut *tx, &cleared, &caller), events, Source::Read).await.unwrap();
        tx.commit().await.unwrap();
        let account = {
            let mut rows = store.rows.lock().await;
            rows.records.clear();
            rows.changes.clear();
            rows.organizations.values().next().unwrap().account
        };
        let reader = Arc::new(store.clone());
        let organizations =
            Organizations { admin: Arc::new(admin), reader, store: Arc::new(store.clone()), facts: Arc::new(facts) };
        Self { store, organizations, account }
    }

    async fn id(&self, name: &str) -> UserId {
        let rows = self.store.rows.lock().await;
        rows.users.values().find(|user| user.provider_id == person(name)).unwrap().id
    }

    async fn role(&self, name: &str) -> Option<Role> {
        let id = self.id(name).await;
        let rows = self.store.rows.lock().await;
        rows.memberships.get(&(self.account.to_string(), id.to_string())).and_then(|held| held.role)
    }

    async fn caller(&self, name: &str) -> Caller {
        let roles = self.role(name).await.map(|role| (self.account, role)).into_iter().collect();
        let user = UserPrincipal { reverified: true, ..UserPrincipal::new(self.id(name).await, roles) };
        Caller { principal: Principal::User(user), provenance: Provenance::default() }
    }

    async fn change(&self, who: &str, whom: &str, to: Role) -> Result<Member, OrganizationError> {
        let whom = self.id(whom).await;
        self.organizations.change_role(&self.caller(who).await, self.account, whom, to).await
    }

    async fn remove(&self, who: &str, whom: &str) -> Result<(), OrganizationError> {
        let whom = self.id(whom).await;
        self.organizations.remove(&self.caller(who).await, self.account, whom).await
    }

    async fn transfer(&self, who: &str, whom: &str) -> Result<Member, OrganizationError> {
        let to = self.id(whom).await;
        self.organizations.transfer(&self.caller(who).await, &person(who), self.account, to).await
    }

    /// What was recorded since the beginning.
    async fn trail(&self) -> Vec<(AuditAction, &'static str)> {
        let rows = self.store.rows.lock().await;
        rows.records.iter().map(|record| (record.action, record.effect.as_str())).collect()
    }
}

#[tokio::test]
async fn a_role_changes_at_the_provider_first_and_leaves_one_record_that_is_opened_and_closed() {
    let mut admin = MockOrganizationAdmin::new();
    admin.expect_set_role().once().returning(|_, member, role| {
        assert_eq!((member, role), (&person("edith"), "org:viewer"));
        Ok(membership("edith", role, 2))
    });
    let world = World::new(admin).await;
    for _ in 0..2 {
        let changed = world.change("adam", "edith", Role::Viewer).await.unwrap();
        assert_eq!(changed.role, Some(Role::Viewer));
    }
    let expected = [(AuditAction::MembershipChanged, "opened"), (AuditAction::MembershipChanged, "succeeded")];
    assert_eq!(world.trail().await, expected);
    let id = world.id("edith").await;
    assert_eq!(world.store.rows.lock().await.changes, [Change::User(id)]);
}

#[tokio::test]
async fn nobody_asks_the_provider_for_what_the_policy_refuses() {
    let world = World::new(MockOrganizationAdmin::new()).await;
    for (who, whom, to) in [
        ("edith", "edith", Role::Admin),
        ("adam", "adam", Role::Viewer),
        ("adam", "anna", Role::Viewer),
        ("adam", "alice", Role::Viewer),
        ("adam", "edith", Role::Admin),
        ("adam", "edith", Role::Owner),
        ("alice", "edith", Role::Owner),
        ("alice", "alice", Role::Admin),
    ] {
        let refused = world.change(who, whom, to).await;
        assert!(matches!(refused, Err(OrganizationError::Denied(Denied::Forbidden))), "{who} {whom} {to}: {refused:?}");
    }
    for (who, whom) in [("edith", "adam"), ("adam", "anna"), ("adam", "alice")] {
        let refused = world.remove(who, whom).await;
        assert!(matches!(refused, Err(OrganizationError::Denied(Denied::Forbidden))), "{who} {whom}: {refused:?}");
    }
    let stays = world.remove("alice", "alice").await;
    assert!(matches!(stays, Err(OrganizationError::Denied(Denied::LastOwner))), "{stays:?}");
    let taken = world.transfer("adam", "anna").await;
    assert!(matches!(taken, Err(OrganizationError::Denied(Denied::Forbidden))), "{taken:?}");
    assert!(world.trail().await.is_empty());
}

#[tokio::test]
async fn a_stranger_learns_nothing_and_a_delegate_changes_nothing() {
    let world = World::new(MockOrganizationAdmin::new()).await;
    let (edith, stranger) = (world.id("edith").await, "usr_00000000000000000000000999".parse().unwrap());
    let stranger = UserPrincipal::new(stranger, Roles::default());
    let stranger = Caller { principal: Principal::User(stranger), provenance: Provenance::default() };
    let refused = world.organizations.remove(&stranger, world.account, edith).await;
    assert!(matches!(refused, Err(OrganizationError::Denied(Denied::Hidden))), "{refused:?}");
    let Principal::User(user) = world.caller("alice").await.principal else { unreachable!() };
    let delegate = Delegate { user, actor: "user_support".to_owned() };
    for principal in [Principal::Impersonator(delegate.clone()), Principal::Agent(delegate)] {
        let caller = Caller { principal, provenance: Provenance::default() };
        let refused = world.organizations.delete(&caller, world.account).await;
        assert!(matches!(refused, Err(OrganizationError::Denied(Denied::Forbidden))), "{refused:?}");
        let refused = world.organizations.change_role(&caller, world.account, edith, Role::Viewer).await;
        assert!(matches!(refused, Err(OrganizationError::Denied(Denied::Forbidden))), "{refused:?}");
    }
}

#[tokio::test]
async fn whoever_leaves_or_is_removed_is_no_member_any_more() {
    let mut admin = MockOrganizationAdmin::new();
    admin.expect_remove().times(2).returning(|_, _| Ok(()));
    let world = World::new(admin).await;
    world.remove("edith", "edith").await.unwrap();
    world.remove("alice", "adam").await.unwrap();
    assert_eq!((world.role("edith").await, world.role("adam").await), (None, None));
    let gone = world.remove("alice", "adam").await;
    assert!(matches!(gone, Err(OrganizationError::NotFound)), "{gone:?}");
    let once = [(AuditAction::MembershipRemoved, "opened"), (AuditAction::MembershipRemoved, "succeeded")];
    assert_eq!(world.trail().await, [once, once].concat());
}

#[tokio::test]
async fn what_the_provider_did_is_told_as_far_as_it_is_known() {
    for (answer, effects, expected) in [
        (Err(OrganizationRefusal::LastAdmin.into()), vec!["opened", "failed"], "Refused(LastAdmin)"),
        (Err(OrganizationAdminError::NotFound), vec!["opened", "failed"], "NotFound"),
        (down(), vec!["opened"], "Provider(Unavailable(\"down\"))"),
    ] {
        let mut admin = MockOrganizationAdmin::new();
        let mut answer = Some(answer);
        admin.expect_remove().once().returning(move |_, _| answer.take().unwrap());
        let world = World::new(admin).await;
        let failed = world.remove("alice", "adam").await.unwrap_err();
        assert_eq!(format!("{failed:?}"), expected);
        let trail = world.trail().await;
        assert_eq!(trail.into_iter().map(|(_, effect)| effect).collect::<Vec<_>>(), effects);
        assert_eq!(world.role("adam").await, Some(Role::Admin), "nothing changed here");
    }
}

#[tokio::test]
async fn an_account_is_given_to_another_member_and_has_one_owner_at_any_time() {
    let mut admin = MockOrganizationAdmin::new();
    admin.expect_set_role().once().returning(|_, _, role| {
        assert_eq!(role, "org:admin");
        Ok(membership("edith", role, 2))
    });
    let world = World::new(admin).await;
    assert_eq!(world.transfer("alice", "edith").await.unwrap().role, Some(Role::Owner));
    assert_eq!((world.role("alice").await, world.role("edith").await), (Some(Role::Admin), Some(Role::Owner)));
    assert_eq!(world.trail().await.last(), Some(&(AuditAction::OwnershipTransferred, "done")));
    // A later record of the creator's does not give it back.
    let cleared = merging().unwrap();
    let caller = world.caller("alice").await;
    let mut tx = world.store.begin().await.unwrap();
    let again = vec![ProviderEvent::Membership(membership("alice", "org:admin", 9))];
    let mut merge = Merge::new(&mut *tx, &cleared, &caller);
    world.organizations.facts.apply(&mut merge, again, Source::Told).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((world.role("alice").await, world.role("edith").await), (Some(Role::Admin), Some(Role::Owner)));
    assert_eq!(world.transfer("edith", "alice").await.unwrap().role, Some(Role::Owner));
    assert_eq!((world.role("alice").await, world.role("edith").await), (Some(Role::Owner), Some(Role::Admin)));
}

#[tokio::test]
async fn of_two_transfers_by_one_owner_the_second_is_too_late() {
    let world = World::new(MockOrganizationAdmin::new()).await;
    let (alice, anna) = (world.caller("alice").await, world.id("anna").await);
    world.transfer("alice", "adam").await.unwrap();
    // With the rights that she had a moment ago.
    let late = world.organizations.transfer(&alice, &person("alice"), world.account, anna).await;
    assert!(matches!(late, Err(OrganizationError::Store(StoreError::Stale))), "{late:?}");
    assert_eq!((world.role("adam").await, world.role("anna").await), (Some(Role::Owner), Some(Role::Admin)));
}

#[tokio::test]
async fn an_operator_names_an_owner_where_there_is_none() {
    let world = World::new(MockOrganizationAdmin::new()).await;
    let operator = Caller { principal: Principal::System(Job::Operator), provenance: Provenance::default() };
    let (adam, edith) = (world.id("adam").await, world.id("edith").await);
    let owned = world.organizations.set_owner(&operator, world.account, adam).await;
    assert!(matches!(owned, Err(OrganizationError::HasOwner)), "{owned:?}");
    let (cleared, caller) = (merging().unwrap(), world.caller("alice").await);
    let mut tx = world.store.begin().await.unwrap();
    let demoted = vec![ProviderEvent::Membership(membership("alice", "org:member", 9))];
    let mut merge = Merge::new(&mut *tx, &cleared, &caller);
    world.organizations.facts.apply(&mut merge, demoted, Source::Told).await.unwrap();
    tx.commit().await.unwrap();
    let editor = world.organizations.set_owner(&operator, world.account, edith).await;
    assert!(matches!(editor, Err(OrganizationError::NotAdministrator)), "{editor:?}");
    world.organizations.set_owner(&operator, world.account, adam).await.unwrap();
    assert_eq!(world.role("adam").await, Some(Role::Owner));
    let refused = world.organizations.set_owner(&world.caller("adam").await, world.account, edith).await;
    assert!(matches!(refused, Err(OrganizationError::Denied(_))), "{refused:?}");
}

#[tokio::test]
async fn an_account_is_renamed_and_deleted_with_its_organization() {
    let mut admin = MockOrganizationAdmin::new();
    admin.expect_rename().once().returning(|_, name| Ok(ProviderOrganization { name: name.to_owned(), ..acme(2) }));
    admin.expect_delete().once().returning(|_| Ok(()));
    let world = World::new(admin).await;
    let name = AccountName::parse("Acme & Sons").unwrap();
    for _ in 0..2 {
        world.organizations.rename(&world.caller("adam").await, world.account, name.clone()).await.unwrap();
    }
    let named = world.organizations.account(&world.caller("edith").await.principal, world.account).await.unwrap();
    assert_eq!(named.name, "Acme & Sons");
    world.organizations.delete(&world.caller("alice").await, world.account).await.unwrap();
    assert!(world.store.rows.lock().await.deleted.contains(&world.account.to_string()));
    let trail = world.trail().await;
    assert_eq!(trail[..2], [(AuditAction::AccountUpdated, "opened"), (AuditAction::AccountUpdated, "succeeded")]);
    let ends = |wanted| trail.iter().filter(|(action, _)| *action == wanted).count();
    assert_eq!((ends(AuditAction::AccountDeleted), ends(AuditAction::MembershipRemoved)), (2, 4));
}

#[tokio::test]
async fn a_personal_account_is_renamed_here_and_has_no_members_to_manage() {
    let world = World::new(MockOrganizationAdmin::new()).await;
    let (id, personal) = {
        let rows = world.store.rows.lock().await;
        let alice = rows.users.values().find(|user| user.provider_id == person("alice")).unwrap();
        (alice.id, alice.personal_account)
    };
    let user = UserPrincipal::new(id, Roles::from_iter([(personal, Role::Owner)]));
    let caller = Caller {
        principal: Principal::User(UserPrincipal { reverified: true, ..user }),
        provenance: Provenance::default(),
    };
    let name = AccountName::parse("Mine").unwrap();
    world.organizations.rename(&caller, personal, name).await.unwrap();
    assert_eq!(world.store.rows.lock().await.accounts[&personal.to_string()].name, "Mine");
    assert_eq!(world.trail().await, [(AuditAction::AccountUpdated, "done")]);
    let deleted = world.organizations.delete(&caller, personal).await;
    assert!(matches!(deleted, Err(OrganizationError::PersonalAccount)), "{deleted:?}");
    let email = EmailAddress::parse("new@example.test").unwrap();
    let invited = world.organizations.invite(&caller, &person("alice"), personal, &email, Role::Viewer).await;
    assert!(matches!(invited, Err(OrganizationError::PersonalAccount)), "{invited:?}");
}

#[tokio::test]
async fn invitations_offer_roles_below_ones_own() {
    let mut admin = MockOrganizationAdmin::new();
    admin.expect_invite().once().returning(|_, by, email, role| {
        assert_eq!((by, email, role), (&person("adam"), "new@example.test", "org:viewer"));
        Ok(invitation(role, InvitationStatus::Pending, 60))
    });
    let world = World::new(admin).await;
    let email = EmailAddress::parse("new@example.test").unwrap();
    let invite = async |who: &str, role| {
        let caller = world.caller(who).await;
        world.organizations.invite(&caller, &person(who), world.account, &email, role).await
    };
    let invited = invite("adam", Role::Viewer).await.unwrap();
    assert_eq!((invited.role, invited.status), (Some(Role::Viewer), InvitationStatus::Pending));
    for (who, role) in [("adam", Role::Admin), ("adam", Role::Owner), ("edith", Role::Viewer), ("alice", Role::Owner)] {
        let refused = invite(who, role).await;
        assert!(matches!(refused, Err(OrganizationError::Denied(Denied::Forbidden))), "{who} {role}: {refused:?}");
    }
    let rows = world.store.rows.lock().await;
    assert!(rows.records.iter().all(|record| !format!("{record:?}").contains("new@example.test")));
    assert!(matches!(rows.records.last().unwrap().effect, Effect::Closed { .. }));
}

#[tokio::test]
async fn t27_an_invitation_is_taken_back_in_its_organization_while_it_can_be_accepted() {
    let mut admin = MockOrganizationAdmin::new();
    let states = [
        invitation("org:admin", InvitationStatus::Pending, 60),
        invitation("org:viewer", InvitationStatus::Pending, 0),
        invitation("org:viewer", InvitationStatus::Accepted, 60),
        invitation("org:viewer", InvitationStatus::Revoked, 60),
        ProviderInvitation {
            organization: ProviderOrganizationId::parse("org_other").unwrap(),
            ..invitation("org:viewer", InvitationStatus::Pending, 60)
        },
        invitation("org:viewer", InvitationStatus::Pending, 1),
    ];
    let mut states = states.into_iter();
    admin.expect_invitation().times(6).returning(move |_, _| Ok(states.next().unwrap()));
    admin.expect_revoke_invitation().once().returning(|_, _, by| {
        assert_eq!(*by, person("adam"));
        Ok(invitation("org:viewer", InvitationStatus::Revoked, 60))
    });
    let world = World::new(admin).await;
    let adam = world.caller("adam").await;
    let id = ProviderInvitationId::parse("orginv_1").unwrap();
    let mut told = Vec::new();
    for _ in 0..6 {
        let outcome = world.organizations.revoke_invitation(&adam, &person("adam"), world.account, &id).await;
        told.push(match outcome {
            Ok(invitation) => format!("{:?}", invitation.status),
            Err(error) => format!("{error:?}"),
        });
    }
    let not_pending = "Refused(NotPending)";
    let expected = ["Denied(Forbidden)", not_pending, not_pending, "Revoked", "NotFound", "Revoked"];
    assert_eq!(told, expected);
    let once = [(AuditAction::InvitationRevoked, "opened"), (AuditAction::InvitationRevoked, "succeeded")];
    assert_eq!(world.trail().await, once);
}

#[tokio::test]
async fn invitations_that_are_too_late_are_not_listed_and_editors_see_none() {
    let mut admin = MockOrganizationAdmin::new();
    admin.expect_pending_invitations().once().returning(|_, offset, _| {
        let items = vec![
            invitation("org:viewer", InvitationStatus::Pending, 0),
            invitation("org:unheard_of", InvitationStatus::Pending, 60),
        ];
        Ok(Listed { items, unreadable: 0, next: Some(offset + 2) })
    });
    let world = World::new(admin).await;
    let adam = world.caller("adam").await.principal;
    let listed = world.organizations.invitations(&adam, world.account, 3, 2).await.unwrap();
    assert_eq!((listed.items.len(), listed.items[0].role, listed.next), (1, None, Some(5)));
    let edith = world.caller("edith").await.principal;
    let refused = world.organizations.invitations(&edith, world.account, 0, 2).await;
    assert!(matches!(refused, Err(OrganizationError::Denied(Denied::Forbidden))), "{refused:?}");
}

#[test]
fn an_address_has_a_name_and_a_host() {
    for good in ["a@b.co", "zoë+tag@sub.example.test"] {
        assert!(EmailAddress::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "a", "@b.co", "a@", "a@b", "a@b@c.co", "a b@c.co", "a@-b.co", "a@b..co", "a@b.co\n"] {
        assert!(EmailAddress::parse(bad).is_err(), "{bad:?}");
    }
    assert!(EmailAddress::parse(&format!("{}@b.co", "a".repeat(250))).is_err());
}

#[tokio::test]
async fn another_meaning_of_a_role_key_counts_when_the_record_is_read_again() {
    let mut world = World::new(MockOrganizationAdmin::new()).await;
    let facts = Facts {
        role_map: RoleMap::parse(["org:admin=admin", "org:editor=viewer"]).unwrap(),
        ids: world.organizations.facts.ids.clone(),
        clock: world.organizations.facts.clock.clone(),
    };
    world.organizations.facts = Arc::new(facts);
    let (cleared, caller) = (merging().unwrap(), world.caller("alice").await);
    for _ in 0..2 {
        let mut tx = world.store.begin().await.unwrap();
        let same = vec![ProviderEvent::Membership(membership("edith", "org:editor", 1))];
        let mut merge = Merge::new(&mut *tx, &cleared, &caller);
        world.organizations.facts.apply(&mut merge, same, Source::Read).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.role("edith").await, Some(Role::Viewer));
    }
    assert_eq!(world.trail().await, [(AuditAction::MembershipChanged, "done")]);
}

#[tokio::test]
async fn what_else_follows_from_an_answer_is_recorded_beside_the_attempt() {
    let mut admin = MockOrganizationAdmin::new();
    admin.expect_set_role().once().returning(|_, _, role| {
        let told = membership("edith", role, 2);
        // The answer is the first record that tells who created the organization.
        Ok(ProviderMembership { organization: acme(2), ..told })
    });
    let world = World::new(admin).await;
    {
        let mut rows = world.store.rows.lock().await;
        rows.organizations.values_mut().for_each(|organization| organization.created_by = None);
        let alice = rows.users.values().find(|user| user.provider_id == person("alice")).unwrap().id;
        let key = (world.account.to_string(), alice.to_string());
        rows.memberships.get_mut(&key).unwrap().role = Some(Role::Admin);
    }
    world.change("adam", "edith", Role::Viewer).await.unwrap();
    assert_eq!(world.role("alice").await, Some(Role::Owner));
    let effects: Vec<_> = world.trail().await.into_iter().map(|(_, effect)| effect).collect();
    assert_eq!(effects, ["opened", "done", "succeeded"]);
}
