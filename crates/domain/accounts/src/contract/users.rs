//! People: the ports `UserRepository` and `SignInReader`, and the transactions around them.

use futures_util::future::join;
use portal_authz::Role;
use portal_kernel::StoreError;

use super::{
    Ports, add_organization, as_known, at, cleared, editor, organization, ownership, person, personal, profile,
    provision, provision_in, told,
};
use crate::{Profile, UserState, Versioned};

/// Nobody is found in an empty store.
pub async fn an_unknown_person_is_none(ports: Ports<'_>) {
    assert_eq!(ports.known(&person(1)).await, None);
}

/// User, personal account and ownership come back as they were written, to the microsecond.
pub async fn a_first_sign_in_is_read_back_as_written(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    provision(ports.store, 2).await;
    assert_eq!(ports.known(&user).await, Some(as_known(user)));
}

/// Readers see what was committed and nothing else.
pub async fn uncommitted_writes_are_invisible(ports: Ports<'_>) {
    let user = person(1);
    let mut tx = ports.begin().await;
    provision_in(&mut *tx, &user).await;
    assert_eq!(ports.known(&user).await, None, "before the commit");
    tx.commit().await.expect("a commit");
    assert!(ports.known(&user).await.is_some(), "after the commit");
}

/// After a rollback all ids are free again.
pub async fn rolled_back_writes_leave_nothing(ports: Ports<'_>) {
    let user = person(1);
    let mut tx = ports.begin().await;
    provision_in(&mut *tx, &user).await;
    tx.rollback().await.expect("a rollback");
    assert_eq!(ports.known(&user).await, None);
    provision(ports.store, 1).await;
}

/// A transaction that is dropped unfinished is rolled back, and holds nobody up.
pub async fn dropped_writes_leave_nothing(ports: Ports<'_>) {
    let user = person(1);
    let mut tx = ports.begin().await;
    provision_in(&mut *tx, &user).await;
    drop(tx);
    assert_eq!(ports.known(&user).await, None);
    provision(ports.store, 1).await;
}

/// After a store error nothing of the transaction can be made durable: a commit does not pretend that it was.
pub async fn a_transaction_that_failed_cannot_be_committed(ports: Ports<'_>) {
    let user = person(1);
    let mut tx = ports.begin().await;
    provision_in(&mut *tx, &user).await;
    let twice = tx.accounts().insert(&cleared(), personal(&user)).await;
    assert!(matches!(twice, Err(StoreError::Duplicate { .. })), "an account of that id exists: {twice:?}");
    assert!(tx.commit().await.is_err(), "the commit says that nothing was written");
    assert_eq!(ports.known(&user).await, None);
}

/// The second person with a provider id is refused with `false`, which does not end the transaction.
pub async fn a_taken_provider_id_answers_false(ports: Ports<'_>) {
    let first = provision(ports.store, 1).await;
    let mut second = person(2);
    second.provider_id = first.provider_id.clone();
    let mut tx = ports.begin().await;
    tx.accounts().insert(&cleared(), personal(&second)).await.expect("an account is added");
    let added = tx.users().insert(&cleared(), second.clone()).await.expect("an answer");
    assert!(!added, "the provider id is taken");
    second.provider_id = person(2).provider_id;
    assert!(tx.users().insert(&cleared(), second.clone()).await.expect("an answer"), "the transaction goes on");
    tx.rollback().await.expect("a rollback");
    assert_eq!(ports.known(&first).await, Some(as_known(first)));
}

/// Of two transactions that add the same person, the second waits for the first and then answers `false`.
pub async fn of_two_concurrent_first_sign_ins_one_answers_false(ports: Ports<'_>) {
    let (first, mut second) = (person(1), person(2));
    second.provider_id = first.provider_id.clone();
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    provision_in(&mut *winner, &first).await;
    loser.accounts().insert(&cleared(), personal(&second)).await.expect("an account is added");
    let late = async { loser.users().insert(&cleared(), second).await.expect("an answer after the wait") };
    let (added, committed) = join(late, winner.commit()).await;
    committed.expect("a commit");
    assert!(!added, "the provider id was taken by a transaction that committed in between");
    loser.rollback().await.expect("a rollback");
    assert_eq!(ports.known(&first).await, Some(as_known(first)));
}

/// If the first of two such transactions is rolled back, the second succeeds.
pub async fn a_first_sign_in_that_waits_for_a_failing_one_succeeds(ports: Ports<'_>) {
    let (first, mut second) = (person(1), person(2));
    second.provider_id = first.provider_id.clone();
    let (mut failing, mut waiting) = (ports.begin().await, ports.begin().await);
    provision_in(&mut *failing, &first).await;
    let ((), rolled_back) = join(provision_in(&mut *waiting, &second), failing.rollback()).await;
    rolled_back.expect("a rollback");
    waiting.commit().await.expect("a commit");
    assert_eq!(ports.known(&first).await, Some(as_known(second)));
}

/// A person without personal account is refused.
pub async fn a_person_needs_a_personal_account(ports: Ports<'_>) {
    let mut tx = ports.begin().await;
    assert!(tx.users().insert(&cleared(), person(1)).await.is_err());
}

/// A person who was asked about when they were added rests; after that the right to ask goes to one caller per rest.
pub async fn the_right_to_ask_for_a_profile_goes_to_one_caller_per_rest(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for (now, asked_before, expected) in [
        (at(30), at(0).minus(std::time::Duration::from_secs(30)), false),
        (at(60), at(0), true),
        (at(61), at(1), false),
        (at(119), at(59), false),
        (at(120), at(60), true),
    ] {
        let mut tx = ports.begin().await;
        let claimed = tx.users().claim(&cleared(), user.id, now, asked_before).await.expect("an answer");
        tx.commit().await.expect("a commit");
        assert_eq!(claimed, expected, "at {now}, if nobody asked after {asked_before}");
    }
}

/// Of two transactions that claim at the same time, the second waits for the first and then answers `false`.
pub async fn of_two_concurrent_claims_one_wins(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    let won = winner.users().claim(&cleared(), user.id, at(60), at(0)).await.expect("an answer");
    let late =
        async { loser.users().claim(&cleared(), user.id, at(60), at(0)).await.expect("an answer after the wait") };
    let (also_won, committed) = join(late, winner.commit()).await;
    committed.expect("a commit");
    assert!(won && !also_won);
    loser.commit().await.expect("a commit");
}

/// A claim that is rolled back leaves the right to the next caller.
pub async fn a_claim_that_is_rolled_back_is_free_again(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for attempt in 1..=2 {
        let mut tx = ports.begin().await;
        let claimed = tx.users().claim(&cleared(), user.id, at(60), at(0)).await.expect("an answer");
        tx.rollback().await.expect("a rollback");
        assert!(claimed, "attempt {attempt}");
    }
}

/// There is nothing to ask for when the profile is known, or when there is no such person.
pub async fn a_known_profile_is_never_claimed(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let mut tx = ports.begin().await;
    tx.users()
        .save_profiles(&cleared(), vec![(user.clone(), told(profile(), at(5)))])
        .await
        .expect("a profile is saved");
    for id in [user.id, person(9).id] {
        let claimed = tx.users().claim(&cleared(), id, at(9_000), at(8_000)).await.expect("an answer");
        assert!(!claimed, "{id}");
    }
    tx.commit().await.expect("a commit");
}

/// A profile comes back as it was written, on that person alone, and a later one replaces all of it.
pub async fn a_profile_is_read_back_as_written(ports: Ports<'_>) {
    let (mut user, other) = (provision(ports.store, 1).await, provision(ports.store, 2).await);
    for (second, saved) in [(5, profile()), (6, Profile::default())] {
        let mut tx = ports.begin().await;
        tx.users()
            .save_profiles(&cleared(), vec![(user.clone(), told(saved.clone(), at(second)))])
            .await
            .expect("a profile is saved");
        tx.commit().await.expect("a commit");
        user.copy = Some(told(saved, at(second)));
        assert_eq!(ports.known(&user).await, Some(as_known(user.clone())));
    }
    assert_eq!(ports.known(&other).await, Some(as_known(other)));
}

/// Where a person is a member can be asked by one caller per rest, known profile or not, and nowhere once they were deleted.
pub async fn the_right_to_ask_for_memberships_goes_to_one_caller_per_rest(ports: Ports<'_>) {
    let mut user = provision(ports.store, 1).await;
    let mut tx = ports.begin().await;
    tx.users()
        .save_profiles(&cleared(), vec![(user.clone(), told(profile(), at(5)))])
        .await
        .expect("a profile is saved");
    tx.commit().await.expect("a commit");
    for (now, asked_before, expected) in
        [(at(30), at(29), true), (at(60), at(29), false), (at(89), at(29), false), (at(90), at(30), true)]
    {
        let mut tx = ports.begin().await;
        let claimed = tx.users().claim_memberships(&cleared(), user.id, now, asked_before).await.expect("an answer");
        tx.commit().await.expect("a commit");
        assert_eq!(claimed, expected, "at {now}, if nobody asked after {asked_before}");
    }
    (user.copy, user.memberships_asked_at) = (Some(told(profile(), at(5))), Some(at(90)));
    assert_eq!(ports.known(&user).await, Some(as_known(user.clone())));
    let mut tx = ports.begin().await;
    tx.users().delete(&cleared(), user.id).await.expect("an answer");
    for id in [user.id, person(9).id] {
        let claimed = tx.users().claim_memberships(&cleared(), id, at(900), at(800)).await.expect("an answer");
        assert!(!claimed, "{id}");
    }
    tx.rollback().await.expect("a rollback");
}

/// Who is in doubt can be asked for again.
pub async fn a_doubtful_profile_is_claimed(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let mut tx = ports.begin().await;
    let doubtful = Versioned { doubtful: true, ..told(profile(), at(5)) };
    tx.users().save_profiles(&cleared(), vec![(user.clone(), doubtful)]).await.expect("a profile is saved");
    assert!(tx.users().claim(&cleared(), user.id, at(9_000), at(8_000)).await.expect("an answer"));
    tx.commit().await.expect("a commit");
}

/// Whoever writes in a transaction finds what is written, the person included.
pub async fn a_person_is_found_inside_a_transaction(ports: Ports<'_>) {
    let user = person(1);
    let mut tx = ports.begin().await;
    assert_eq!(tx.users().find(&cleared(), user.provider_id.clone()).await.expect("an answer"), None);
    provision_in(&mut *tx, &user).await;
    assert_eq!(tx.users().find(&cleared(), user.provider_id.clone()).await.expect("an answer"), Some(user));
    tx.rollback().await.expect("a rollback");
}

/// Those who are here are found together, whoever else is asked for.
pub async fn people_are_found_together(ports: Ports<'_>) {
    let people = [provision(ports.store, 1).await, provision(ports.store, 2).await, provision(ports.store, 3).await];
    let mut tx = ports.begin().await;
    let ids = [&people[2], &people[0], &person(9)].map(|user| user.provider_id.clone());
    let mut found = tx.users().find_all(&cleared(), ids.to_vec()).await.expect("an answer");
    found.sort_by_key(|user| user.provider_id.clone());
    assert_eq!(found, [people[0].clone(), people[2].clone()]);
    assert_eq!(tx.users().find_all(&cleared(), Vec::new()).await.expect("an answer"), []);
    tx.rollback().await.expect("a rollback");
}

/// Profiles that are saved together come back as they were written, each with the state of its person; with one that is stale none is.
pub async fn profiles_are_saved_together(ports: Ports<'_>) {
    let mut people = [1, 2, 3, 4].map(person);
    for user in &people {
        let mut tx = ports.begin().await;
        provision_in(&mut *tx, user).await;
        tx.commit().await.expect("a commit");
    }
    for round in [0, 1] {
        let is_banned = |number: usize| number % 2 == round;
        let content = |number: usize| Profile {
            first_name: Some(format!("{number} of {round}")),
            banned: is_banned(number),
            ..profile()
        };
        let profiles =
            || (0..3).map(|number| (people[number].clone(), told(content(number), at(5)))).collect::<Vec<_>>();
        let mut tx = ports.begin().await;
        let mut with_nobody = profiles();
        with_nobody.push((person(9), told(profile(), at(5))));
        let refused = tx.users().save_profiles(&cleared(), with_nobody).await;
        assert!(matches!(refused, Err(StoreError::Stale)), "{refused:?}");
        tx.rollback().await.expect("a rollback");
        let mut tx = ports.begin().await;
        tx.users().save_profiles(&cleared(), profiles()).await.expect("profiles are saved");
        tx.commit().await.expect("a commit");
        for (number, user) in people.iter_mut().enumerate().take(3) {
            *user = ports.known(user).await.expect("a person").user;
            let state = if is_banned(number) { UserState::Paused } else { UserState::Active };
            assert_eq!((user.state, &user.copy), (state, &Some(told(content(number), at(5)))));
        }
    }
    assert_eq!(ports.known(&people[3]).await, Some(as_known(people[3].clone())), "nobody else is touched");
}

/// Of a person who is deleted nothing stays but the ids and the personal account.
pub async fn a_deleted_person_is_erased_and_a_member_nowhere(ports: Ports<'_>) {
    let (mut user, other) = (provision(ports.store, 1).await, provision(ports.store, 2).await);
    let acme = organization(7, "acme");
    let mut tx = ports.begin().await;
    tx.users()
        .save_profiles(&cleared(), vec![(user.clone(), told(profile(), at(5)))])
        .await
        .expect("a profile is saved");
    add_organization(&mut *tx, &acme).await;
    for member in [&user, &other] {
        tx.accounts().save_membership(&cleared(), editor(acme.id, member), at(5)).await.expect("a membership");
    }
    let left = tx.users().delete(&cleared(), user.id).await.expect("an answer");
    assert_eq!(left, [(acme.id, Some(Role::Editor))]);
    tx.commit().await.expect("a commit");
    user.state = UserState::Deleted;
    assert_eq!(ports.known(&user).await, Some(as_known(user)));
    assert_eq!(ports.known(&other).await.expect("a person").memberships.len(), 2, "nobody else is touched");
    let mut tx = ports.begin().await;
    let nobody = tx.users().delete(&cleared(), person(9).id).await;
    assert!(matches!(nobody, Err(StoreError::Stale)), "{nobody:?}");
}

/// A profile of somebody who is not there is `Stale`.
pub async fn the_profile_of_a_vanished_person_is_stale(ports: Ports<'_>) {
    let mut tx = ports.begin().await;
    let saved = tx.users().save_profiles(&cleared(), vec![(person(1), told(profile(), at(5)))]).await;
    assert!(matches!(saved, Err(StoreError::Stale)), "{saved:?}");
    assert!(tx.accounts().save_membership(&cleared(), ownership(&person(1)), at(5)).await.is_err());
}

/// A person who is banned is paused, and their personal account with them, until the ban ends; a deleted one stays deleted.
pub async fn a_banned_person_is_paused_until_the_ban_ends(ports: Ports<'_>) {
    let mut user = provision(ports.store, 1).await;
    for (second, banned) in [(5, true), (6, true), (7, false), (8, true)] {
        let content = Profile { banned, ..profile() };
        let mut tx = ports.begin().await;
        tx.users()
            .save_profiles(&cleared(), vec![(user.clone(), told(content.clone(), at(second)))])
            .await
            .expect("a profile");
        tx.commit().await.expect("a commit");
        user = ports.known(&user).await.expect("a person").user;
        let expected = if banned { UserState::Paused } else { UserState::Active };
        assert_eq!((user.state, user.copy.clone().expect("a copy").content), (expected, content));
    }
    let mut tx = ports.begin().await;
    tx.users().delete(&cleared(), user.id).await.expect("a deletion");
    let late = tx.users().save_profiles(&cleared(), vec![(user.clone(), told(profile(), at(9)))]).await;
    assert!(matches!(late, Err(StoreError::Stale)), "{late:?}");
}
