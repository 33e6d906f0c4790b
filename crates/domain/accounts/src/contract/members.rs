//! Members, as others see them, and the names of personal accounts: the ports `AccountReader` and `AccountRepository`.

use portal_authz::action::{ReadMembers, SetOwner, UpdateAccount};
use portal_authz::{Authorized, Job, Platform, Principal, Role, Roles, Unchecked, UserPrincipal};
use portal_kernel::{AccountId, PageRequest, PageSize, StoreError};

use super::{Ports, add_organization, at, cleared, editor, id, organization, profile, provision, told};
use crate::{AccountName, Member};

fn owner(of: AccountId) -> Principal {
    Principal::User(UserPrincipal::new(id(99), Roles::from_iter([(of, Role::Owner)])))
}

fn naming() -> Authorized<SetOwner, Platform> {
    Unchecked::new(Platform).authorize(&Principal::System(Job::Operator)).expect("an operator may name owners")
}

/// A member comes back with what the provider told of the person, whoever reads; nobody else is a member.
pub async fn a_member_is_read_back_as_written(ports: Ports<'_>) {
    let (user, other) = (provision(ports.store, 1).await, provision(ports.store, 2).await);
    let acme = organization(7, "acme");
    let mut tx = ports.begin().await;
    tx.users()
        .save_profiles(&cleared(), vec![(user.clone(), told(profile(), at(5)))])
        .await
        .expect("a profile is saved");
    add_organization(&mut *tx, &acme).await;
    tx.accounts().save_membership(&cleared(), editor(acme.id, &user), at(5)).await.expect("a membership");
    tx.commit().await.expect("a commit");
    let found = ports.accounts.member(acme.id, user.id).await.expect("an answer").expect("a member");
    let found: Authorized<ReadMembers, _> = found.authorize(&owner(acme.id)).expect("an owner may read members");
    let held = editor(acme.id, &user);
    let record = held.copy.expect("a copy").content;
    let expected = Member {
        account: acme.id,
        organization: acme.provider_organization.clone(),
        user: user.id,
        provider_id: user.provider_id.clone(),
        profile: profile(),
        role: held.role,
        provider_role: Some(record.role),
        membership: Some(record.id),
        created_at: at(5),
    };
    assert_eq!(*found, expected);
    let found = ports.accounts.member_for(&naming(), acme.id, user.id).await.expect("an answer");
    assert_eq!(found, Some(expected));
    for (account, nobody) in [(acme.id, other.id), (id(99), user.id), (user.personal_account, other.id)] {
        assert!(ports.accounts.member(account, nobody).await.expect("an answer").is_none());
        assert_eq!(ports.accounts.member_for(&naming(), account, nobody).await.expect("an answer"), None);
    }
    let own = ports.accounts.member_for(&naming(), user.personal_account, user.id).await.expect("an answer");
    let own = own.expect("a member of the own account");
    assert_eq!((own.role, own.provider_role, own.membership), (Some(Role::Owner), None, None));
}

/// Members are listed in pages, each once, and nobody of another account.
pub async fn members_are_read_in_pages(ports: Ports<'_>) {
    let acme = organization(9, "acme");
    let cleared_for: Authorized<ReadMembers, _> =
        Unchecked::new(acme.id).authorize(&owner(acme.id)).expect("an owner may read members");
    let mut people = Vec::new();
    for number in 1..=5 {
        people.push(provision(ports.store, number).await);
    }
    provision(ports.store, 6).await;
    let mut tx = ports.begin().await;
    add_organization(&mut *tx, &acme).await;
    for user in &people {
        tx.accounts().save_membership(&cleared(), editor(acme.id, user), at(5)).await.expect("a membership");
    }
    tx.commit().await.expect("a commit");
    let (mut listed, mut request) =
        (Vec::new(), PageRequest { size: PageSize::parse(2).expect("a page size"), after: None });
    loop {
        let page = ports.accounts.members(&cleared_for, request).await.expect("a page");
        assert!(page.items.len() <= 2);
        listed.extend(page.items.into_iter().map(|member| member.user));
        let Some(after) = page.next else { break };
        request.after = Some(after);
    }
    assert_eq!(listed, people.iter().rev().map(|user| user.id).collect::<Vec<_>>());
}

/// A personal account gets another name here; that of an organization is the provider's.
pub async fn only_a_personal_account_is_renamed_here(ports: Ports<'_>) {
    let (user, acme) = (provision(ports.store, 1).await, organization(7, "acme"));
    let renaming = |account: AccountId| -> Authorized<UpdateAccount, _> {
        Unchecked::new(account).authorize(&owner(account)).expect("an owner may rename")
    };
    let name = || AccountName::parse("Zoë & Söhne").expect("a name");
    let mut tx = ports.begin().await;
    add_organization(&mut *tx, &acme).await;
    tx.accounts().rename(&renaming(user.personal_account), name()).await.expect("another name");
    tx.commit().await.expect("a commit");
    let found = ports.accounts.find(user.personal_account).await.expect("an answer").expect("an account");
    let found: Authorized<UpdateAccount, _> = found.authorize(&owner(user.personal_account)).expect("an owner");
    assert_eq!(found.name, "Zoë & Söhne");
    for account in [acme.id, id(99)] {
        let mut tx = ports.begin().await;
        let refused = tx.accounts().rename(&renaming(account), name()).await;
        assert!(matches!(refused, Err(StoreError::Stale)), "{refused:?}");
    }
}
