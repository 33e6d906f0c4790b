//! Accounts and memberships: the ports `AccountRepository` and `AccountReader`.

use futures_util::future::join;
use portal_authz::action::ReadAccount;
use portal_authz::{Principal, Role, Roles, UserPrincipal};
use portal_kernel::StoreError;

use super::{
    Ports, add_organization, at, cleared, editor, id, myself, named, organization, person, personal, provision,
};
use crate::{AccountOfUser, Membership, OrganizationAccount};

/// An account that does not exist is none, and the accounts of a person who does not exist are an empty list.
pub async fn an_unknown_account_is_none(ports: Ports<'_>) {
    let found = ports.accounts.find(id(1)).await.expect("an answer");
    assert!(found.is_none());
    let found = ports.accounts.of_user(&myself(id(1)), id(1)).await.expect("an answer");
    assert_eq!(found, []);
}

/// An account comes back as it was written, and opens for whoever the policy lets read it.
pub async fn an_account_is_read_back_as_written(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let roles = Roles::from_iter([(user.personal_account, Role::Viewer)]);
    let member = Principal::User(UserPrincipal::new(user.id, roles));
    let found = ports.accounts.find(user.personal_account).await.expect("an answer").expect("an account");
    let found = found.authorize::<ReadAccount>(&member).expect("a viewer may read the account");
    assert_eq!(found.into_inner(), personal(&user));
}

/// An id is used once.
pub async fn a_taken_account_id_is_a_duplicate(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let mut tx = ports.begin().await;
    let twice = tx.accounts().insert(&cleared(), personal(&user)).await;
    assert!(matches!(&twice, Err(StoreError::Duplicate { constraint }) if !constraint.is_empty()), "{twice:?}");
}

/// An organization has one account, which is found by its id and without a copy until the provider told of it.
pub async fn an_organization_has_one_account(ports: Ports<'_>) {
    let (acme, twin) = (organization(1, "acme"), organization(2, "acme"));
    let provider_id = acme.provider_organization.clone().expect("an organization");
    let mut tx = ports.begin().await;
    assert_eq!(tx.accounts().find_organization(&cleared(), provider_id.clone()).await.expect("an answer"), None);
    add_organization(&mut *tx, &acme).await;
    let found = tx.accounts().find_organization(&cleared(), provider_id).await.expect("an answer");
    assert_eq!(found, Some(OrganizationAccount { account: acme.id, created_by: None, given_to: None, copy: None }));
    tx.commit().await.expect("a commit");
    let mut tx = ports.begin().await;
    let twice = tx.accounts().insert(&cleared(), twin).await;
    assert!(matches!(twice, Err(StoreError::Duplicate { .. })), "{twice:?}");
}

/// What the provider told of an organization is read back, and names its account.
pub async fn what_is_told_of_an_organization_is_read_back(ports: Ports<'_>) {
    let user = provision(ports.store, 5).await;
    let acme = organization(1, "acme");
    let provider_id = acme.provider_organization.clone().expect("an organization");
    let renamed = named(&acme, "Acme & Sons");
    let mut tx = ports.begin().await;
    add_organization(&mut *tx, &acme).await;
    let creator_only = OrganizationAccount { copy: None, ..renamed.clone() };
    for told in [creator_only, renamed.clone()] {
        tx.accounts().save_organization(&cleared(), told.clone()).await.expect("an organization is saved");
        let found = tx.accounts().find_organization(&cleared(), provider_id.clone()).await.expect("an answer");
        assert_eq!(found, Some(told));
    }
    tx.accounts().save_membership(&cleared(), editor(acme.id, &user), at(1)).await.expect("a membership");
    tx.commit().await.expect("a commit");
    let found = ports.accounts.of_user(&myself(user.id), user.id).await.expect("an answer");
    assert_eq!(found.last().map(|of| of.account.name.as_str()), Some("Acme & Sons"));
    let mut tx = ports.begin().await;
    let nowhere = tx.accounts().save_organization(&cleared(), named(&organization(9, "none"), "None")).await;
    assert!(matches!(nowhere, Err(StoreError::Stale)), "{nowhere:?}");
}

/// The account of a deleted organization is gone for whoever reads, and all its memberships with it.
pub async fn a_deleted_organization_is_none_and_has_no_members(ports: Ports<'_>) {
    let (user, other) = (provision(ports.store, 5).await, provision(ports.store, 6).await);
    let acme = organization(1, "acme");
    let mut tx = ports.begin().await;
    add_organization(&mut *tx, &acme).await;
    for member in [&user, &other] {
        tx.accounts().save_membership(&cleared(), editor(acme.id, member), at(1)).await.expect("a membership");
    }
    let mut members = tx.accounts().delete_organization(&cleared(), acme.id).await.expect("an answer");
    members.sort();
    assert_eq!(members, [user.id, other.id]);
    tx.commit().await.expect("a commit");
    assert!(ports.accounts.find(acme.id).await.expect("an answer").is_none());
    assert_eq!(ports.known(&user).await.expect("a person").memberships.len(), 1);
}

/// A membership comes back as it was written, a later one replaces all of it, and it ends alone.
pub async fn a_membership_is_read_back_as_written(ports: Ports<'_>) {
    let (user, other) = (provision(ports.store, 1).await, provision(ports.store, 2).await);
    let acme = organization(5, "acme");
    let mut tx = ports.begin().await;
    add_organization(&mut *tx, &acme).await;
    let without_role = Membership { role: None, ..editor(acme.id, &user) };
    let without_copy = Membership { copy: None, ..editor(acme.id, &user) };
    assert_eq!(tx.accounts().find_membership(&cleared(), acme.id, user.id).await.expect("an answer"), None);
    for written in [without_role, without_copy, editor(acme.id, &user)] {
        tx.accounts().save_membership(&cleared(), written.clone(), at(1)).await.expect("a membership is saved");
        let found = tx.accounts().find_membership(&cleared(), acme.id, user.id).await.expect("an answer");
        assert_eq!(found, Some(written.clone()));
        // By the provider's id, which only a membership that the provider told of has.
        let told = written.copy.map(|copy| copy.content.id);
        let by_id = editor(acme.id, &user).copy.map(|copy| copy.content.id).expect("an id");
        let stay = tx.accounts().find_stay(&cleared(), by_id).await.expect("an answer");
        assert_eq!(stay.as_ref().map(|stay| stay.membership.clone()), told);
        assert!(stay.is_none_or(|stay| {
            Some(stay.organization) == acme.provider_organization && stay.user == user.provider_id
        }));
        for rival in &written.rivals {
            let stay = tx.accounts().find_stay(&cleared(), rival.id.clone()).await.expect("an answer");
            assert_eq!(
                stay.map(|stay| (stay.membership, stay.user)),
                Some((rival.id.clone(), user.provider_id.clone()))
            );
        }
    }
    tx.accounts().save_membership(&cleared(), editor(acme.id, &other), at(1)).await.expect("a membership is saved");
    tx.commit().await.expect("a commit");
    let known = ports.known(&user).await.expect("a person");
    assert_eq!(known.memberships.len(), 2, "the personal account and the organization");
    let member = known.memberships.iter().find(|member| member.account == acme.id).expect("a membership");
    assert_eq!((member.role, member.provider_role.as_deref()), (Some(Role::Editor), Some("org:member")));
    assert_eq!(member.provider_organization, acme.provider_organization);
    let mut tx = ports.begin().await;
    for _ in 0..2 {
        tx.accounts().remove_membership(&cleared(), acme.id, user.id).await.expect("a membership ends");
    }
    tx.commit().await.expect("a commit");
    assert_eq!(ports.known(&user).await.expect("a person").memberships.len(), 1);
    assert_eq!(ports.known(&other).await.expect("a person").memberships.len(), 2);
}

/// A membership without a role is known, and is none of the person's accounts.
pub async fn a_membership_without_a_role_gives_no_account(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let acme = organization(5, "acme");
    let mut tx = ports.begin().await;
    add_organization(&mut *tx, &acme).await;
    let unmapped = Membership { role: None, ..editor(acme.id, &user) };
    tx.accounts().save_membership(&cleared(), unmapped, at(1)).await.expect("a membership is saved");
    tx.commit().await.expect("a commit");
    assert_eq!(ports.known(&user).await.expect("a person").memberships.len(), 2);
    assert_eq!(ports.accounts.of_user(&myself(user.id), user.id).await.expect("an answer").len(), 1);
}

/// Nobody else merges facts about an id until the transaction ends, and then it is told whether the id is buried.
pub async fn ids_are_merged_by_one_transaction_at_a_time(ports: Ports<'_>) {
    let ids = || vec!["user_b".to_owned(), "org_a".to_owned()];
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    assert_eq!(first.provider_ids().lock(&cleared(), ids()).await.expect("a lock"), [""; 0]);
    for _ in 0..2 {
        first.provider_ids().bury(&cleared(), "user_b".to_owned(), at(1)).await.expect("an id is buried");
    }
    let waiting = async { second.provider_ids().lock(&cleared(), ids()).await.expect("a lock after the wait") };
    let (buried, committed) = join(waiting, first.commit()).await;
    committed.expect("a commit");
    assert_eq!(buried, ["user_b"]);
    second.rollback().await.expect("a rollback");
}

/// A membership needs a person and an account.
pub async fn a_membership_of_nobody_or_nowhere_is_refused(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for membership in [editor(user.personal_account, &person(9)), editor(id(9), &user)] {
        let mut tx = ports.begin().await;
        assert!(tx.accounts().save_membership(&cleared(), membership, at(1)).await.is_err());
        tx.rollback().await.expect("a rollback");
    }
}

/// A person's accounts come with their roles, the personal one first and the others by name; nobody else's are among them.
pub async fn accounts_of_a_person_begin_with_the_personal_one(ports: Ports<'_>) {
    let (user, other) = (provision(ports.store, 5).await, provision(ports.store, 6).await);
    let mut tx = ports.begin().await;
    let mut expected = vec![AccountOfUser { account: personal(&user), role: Role::Owner }];
    for (number, name) in [(1, "Zeta"), (2, "Acme"), (3, "Beta")] {
        let account = organization(number, name);
        add_organization(&mut *tx, &account).await;
        tx.accounts().save_membership(&cleared(), editor(account.id, &user), at(1)).await.expect("a membership");
        expected.push(AccountOfUser { account, role: Role::Editor });
    }
    let foreign = organization(4, "Foreign");
    add_organization(&mut *tx, &foreign).await;
    tx.accounts().save_membership(&cleared(), editor(foreign.id, &other), at(1)).await.expect("a membership");
    tx.commit().await.expect("a commit");
    expected[1..].sort_by(|one, another| one.account.name.cmp(&another.account.name));
    let found = ports.accounts.of_user(&myself(user.id), user.id).await.expect("an answer");
    assert_eq!(found, expected);
}
