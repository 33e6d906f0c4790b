//! Accounts and memberships: the ports `AccountRepository` and `AccountReader`.

use futures_util::future::join;
use portal_authz::action::ReadAccount;
use portal_authz::{Principal, Role, Roles, UserPrincipal};
use portal_identity::ProviderOrganization;
use portal_kernel::StoreError;

use super::{Ports, at, cleared, editor, id, myself, organization, ownership, person, personal, provision};
use crate::{Account, AccountOfUser, Membership};

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
    let member = Principal::User(UserPrincipal { user: user.id, roles });
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

/// The account of an organization is made once, with the first caller's id and name; later callers get that one.
pub async fn an_organization_has_one_account(ports: Ports<'_>) {
    let mut tx = ports.begin().await;
    let made = tx.accounts().find_or_insert_organization(&cleared(), id(1), organization("acme"), at(1)).await;
    assert_eq!(made.expect("an account"), (id(1), true));
    let renamed = ProviderOrganization { name: "Acme & Sons".to_owned(), ..organization("acme") };
    let again = tx.accounts().find_or_insert_organization(&cleared(), id(2), renamed.clone(), at(2)).await;
    assert_eq!(again.expect("an account"), (id(1), false), "in the same transaction");
    let other = tx.accounts().find_or_insert_organization(&cleared(), id(3), organization("zeta"), at(2)).await;
    assert_eq!(other.expect("an account"), (id(3), true), "another organization");
    tx.commit().await.expect("a commit");
    let mut tx = ports.begin().await;
    let again = tx.accounts().find_or_insert_organization(&cleared(), id(4), renamed, at(3)).await;
    assert_eq!(again.expect("an account"), (id(1), false), "in a later transaction");
    tx.commit().await.expect("a commit");
    assert!(ports.accounts.find(id(4)).await.expect("an answer").is_none());
}

/// Of two transactions that make the account of one organization, the second waits for the first and gets its account.
pub async fn concurrent_callers_get_the_same_account(ports: Ports<'_>) {
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    let made = first.accounts().find_or_insert_organization(&cleared(), id(1), organization("acme"), at(1)).await;
    assert_eq!(made.expect("an account"), (id(1), true));
    let late = async {
        let accounts = second.accounts();
        accounts.find_or_insert_organization(&cleared(), id(2), organization("acme"), at(1)).await
    };
    let (found, committed) = join(late, first.commit()).await;
    committed.expect("a commit");
    assert_eq!(found.expect("an account after the wait"), (id(1), false));
    second.commit().await.expect("a commit");
}

/// A second membership of a person in an account is refused with `false`, and the stored role stays.
pub async fn a_member_keeps_the_stored_role(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let mut tx = ports.begin().await;
    let demoted = Membership { role: Role::Viewer, provider_role: Some("org:viewer".to_owned()), ..ownership(&user) };
    let added = tx.accounts().insert_membership(&cleared(), demoted, at(1)).await.expect("an answer");
    assert!(!added, "the person is a member already");
    tx.commit().await.expect("a commit");
    let known = ports.known(&user).await.expect("a person");
    assert_eq!(known.memberships.len(), 1);
    assert_eq!((known.memberships[0].role, &known.memberships[0].provider_role), (Role::Owner, &None));
}

/// A membership in an organization comes back with role, role key and organization.
pub async fn a_membership_is_read_back_as_written(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let mut tx = ports.begin().await;
    let made = tx.accounts().find_or_insert_organization(&cleared(), id(5), organization("acme"), at(1)).await;
    let (account, _) = made.expect("an account");
    let added = tx.accounts().insert_membership(&cleared(), editor(account, &user), at(1)).await;
    assert!(added.expect("a membership is added"));
    tx.commit().await.expect("a commit");
    let known = ports.known(&user).await.expect("a person");
    assert_eq!(known.memberships.len(), 2, "the personal account and the organization");
    let member = known.memberships.iter().find(|member| member.account == account).expect("a membership");
    assert_eq!(member.role, Role::Editor);
    assert_eq!(member.provider_role.as_deref(), Some("org:member"));
    assert_eq!(member.provider_organization.as_ref(), Some(&organization("acme").id));
}

/// A membership needs a person and an account.
pub async fn a_membership_of_nobody_or_nowhere_is_refused(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for membership in [editor(user.personal_account, &person(9)), editor(id(9), &user)] {
        let mut tx = ports.begin().await;
        assert!(tx.accounts().insert_membership(&cleared(), membership, at(1)).await.is_err());
        tx.rollback().await.expect("a rollback");
    }
}

/// A person's accounts come with their roles, the personal one first and the others by name; nobody else's are among them.
pub async fn accounts_of_a_person_begin_with_the_personal_one(ports: Ports<'_>) {
    let (user, other) = (provision(ports.store, 5).await, provision(ports.store, 6).await);
    let mut tx = ports.begin().await;
    let mut expected = vec![AccountOfUser { account: personal(&user), role: Role::Owner }];
    for (number, name) in [(1, "Zeta"), (2, "Acme"), (3, "Beta")] {
        let organization = organization(name);
        let account = id(number);
        let made = tx.accounts().find_or_insert_organization(&cleared(), account, organization.clone(), at(1)).await;
        assert!(made.expect("an account").1);
        let added = tx.accounts().insert_membership(&cleared(), editor(account, &user), at(1)).await;
        assert!(added.expect("a membership is added"));
        let provider_organization = Some(organization.id);
        let account = Account { id: account, name: name.to_owned(), provider_organization, created_at: at(1) };
        expected.push(AccountOfUser { account, role: Role::Editor });
    }
    let foreign = tx.accounts().find_or_insert_organization(&cleared(), id(4), organization("Foreign"), at(1)).await;
    let (foreign, _) = foreign.expect("an account");
    assert!(tx.accounts().insert_membership(&cleared(), editor(foreign, &other), at(1)).await.expect("an answer"));
    tx.commit().await.expect("a commit");
    expected[1..].sort_by(|one, another| one.account.name.cmp(&another.account.name));
    let found = ports.accounts.of_user(&myself(user.id), user.id).await.expect("an answer");
    assert_eq!(found, expected);
}
