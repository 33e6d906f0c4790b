//! People in accounts where they are no members: the port `UnconfirmedMembers`, and what `SignInReader` tells of them.

use futures_util::future::join;
use portal_identity::ProviderOrganizationId;
use portal_kernel::AccountId;

use super::{Ports, add_organization, at, cleared, looking_up, organization, person, provision};
use crate::{Standing, User};

async fn standing(ports: Ports<'_>, user: &User) -> Option<Standing> {
    let id = ProviderOrganizationId::parse("org_acme").expect("a provider id");
    ports.sign_in.standing(&looking_up(), user.id, id).await.expect("an answer")
}

fn marks(removed: Option<u64>, trusted: Option<u64>) -> Standing {
    let account = organization(7, "acme").id;
    Standing { account, removed_at: removed.map(at), trusted_since: trusted.map(at) }
}

async fn acme(ports: Ports<'_>) -> (User, AccountId) {
    let user = provision(ports.store, 1).await;
    let acme = organization(7, "acme");
    let mut tx = ports.begin().await;
    add_organization(&mut *tx, &acme).await;
    tx.commit().await.expect("a commit");
    (user, acme.id)
}

/// An organization without account here says nothing of anybody, and neither does one that was deleted.
pub async fn nobody_stands_in_an_organization_without_account(ports: Ports<'_>) {
    assert_eq!(standing(ports, &person(1)).await, None);
    let (user, acme) = acme(ports).await;
    assert_eq!(standing(ports, &user).await, Some(marks(None, None)));
    let mut tx = ports.begin().await;
    tx.accounts().delete_organization(&cleared(), acme).await.expect("an answer");
    tx.commit().await.expect("a commit");
    assert_eq!(standing(ports, &user).await, None);
}

/// Tokens are believed since the first time, a denial leaves it so or begins it, and a removal ends it; of that person alone.
pub async fn a_removal_lets_tokens_be_believed_anew_and_a_denial_does_not(ports: Ports<'_>) {
    let (user, acme) = acme(ports).await;
    let other = provision(ports.store, 2).await;
    let cleared = cleared();
    let mut tx = ports.begin().await;
    assert_eq!(tx.unconfirmed().trust(&cleared, acme, user.id, at(10)).await.expect("an answer"), at(10));
    assert_eq!(tx.unconfirmed().trust(&cleared, acme, user.id, at(20)).await.expect("an answer"), at(10));
    tx.commit().await.expect("a commit");
    assert_eq!(standing(ports, &user).await, Some(marks(None, Some(10))));
    for (second, is_removal, expected) in [
        (30, false, marks(Some(30), Some(10))),
        (40, true, marks(Some(40), None)),
        (50, false, marks(Some(50), Some(50))),
        (60, false, marks(Some(60), Some(50))),
        (70, true, marks(Some(70), None)),
    ] {
        let mut tx = ports.begin().await;
        let port = tx.unconfirmed();
        let noted = if is_removal {
            port.removed(&cleared, acme, user.id, at(second)).await
        } else {
            port.denied(&cleared, acme, user.id, at(second)).await
        };
        noted.expect("it is noted");
        tx.commit().await.expect("a commit");
        assert_eq!(standing(ports, &user).await, Some(expected), "after {second}");
    }
    assert_eq!(standing(ports, &other).await, Some(marks(None, None)));
    let mut tx = ports.begin().await;
    tx.unconfirmed().removed(&cleared, acme, other.id, at(80)).await.expect("it is noted");
    tx.unconfirmed().trust(&cleared, acme, other.id, at(90)).await.expect("an answer");
    tx.rollback().await.expect("a rollback");
    assert_eq!(standing(ports, &other).await, Some(marks(None, None)));
}

/// Of two requests that begin to believe at the same time the second is told when the first did.
pub async fn of_two_who_begin_to_believe_the_first_one_counts(ports: Ports<'_>) {
    let (user, acme) = acme(ports).await;
    let cleared = cleared();
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    first.unconfirmed().trust(&cleared, acme, user.id, at(10)).await.expect("an answer");
    let late =
        async { second.unconfirmed().trust(&cleared, acme, user.id, at(11)).await.expect("an answer after the wait") };
    let (since, committed) = join(late, first.commit()).await;
    committed.expect("a commit");
    assert_eq!(since, at(10));
    second.commit().await.expect("a commit");
}
