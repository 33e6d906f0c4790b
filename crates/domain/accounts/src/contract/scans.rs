//! What a scan of the provider needs: the ports `ScanCursors` and `ReconcileReader`.

use portal_authz::action::Reconcile;
use portal_authz::{Authorized, Job, Platform, Principal, Unchecked};
use portal_identity::{ProviderMembershipId, ProviderOrganizationId};

use super::{Ports, add_organization, at, cleared, editor, organization, provision};
use crate::{Counterpart, ScanMove, ScanPosition, Stay};

fn scanning() -> Authorized<Reconcile, Platform> {
    let who = Principal::System(Job::Reconciler);
    Unchecked::new(Platform).authorize(&who).expect("the reconciler may reconcile")
}

/// The cursor is idle, and due, in a new store.
pub async fn a_new_store_was_never_scanned(ports: Ports<'_>) {
    let cursor = ports.scans.cursor(&scanning()).await.expect("a cursor");
    assert_eq!((cursor.position, cursor.version), (ScanPosition::Idle, 0));
    assert_eq!((cursor.failures, cursor.last_complete), (0, None));
    assert!(cursor.moved_at < at(0));
}

/// Of two who move the cursor from one version, one fails; a move that is rolled back is none.
pub async fn a_cursor_is_moved_by_one(ports: Ports<'_>) {
    let from = ports.scans.cursor(&scanning()).await.expect("a cursor");
    for commit in [false, true] {
        let mut tx = ports.begin().await;
        let moved = tx.scans().advance(&scanning(), from, to(7), at(3)).await.expect("an answer");
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
        let stored = ports.scans.cursor(&scanning()).await.expect("a cursor");
        assert_eq!(stored, if commit { moved.expect("it moved") } else { from });
    }
    let mut late = ports.begin().await;
    let moved = late.scans().advance(&scanning(), from, to(9), at(4)).await.expect("an answer");
    assert_eq!(moved, None);
    late.rollback().await.expect("a rollback");
    assert_eq!(ports.scans.cursor(&scanning()).await.expect("a cursor").position, ScanPosition::Users(7));
}

fn to(offset: usize) -> ScanMove {
    ScanPosition::Users(offset).into()
}

/// What a move says is read back; what the last complete scan mended stays until the next one ends.
pub async fn failures_and_the_last_complete_scan_are_read_back(ports: Ports<'_>) {
    let mut from = ports.scans.cursor(&scanning()).await.expect("a cursor");
    let complete = |drift| ScanMove { drift: Some(drift), ..ScanPosition::Idle.into() };
    for (step, to) in (1..).zip([ScanMove { failures: 2, ..to(7) }, complete(3), to(0), complete(0)]) {
        let mut tx = ports.begin().await;
        let moved = tx.scans().advance(&scanning(), from, to, at(step)).await.expect("an answer").expect("it moved");
        tx.commit().await.expect("a commit");
        assert_eq!(moved, from.after(to, at(step)));
        from = ports.scans.cursor(&scanning()).await.expect("a cursor");
        assert_eq!(from, moved);
    }
    assert_eq!(from.last_complete.map(|scan| (scan.drift, scan.ended_at)), Some((0, at(4))));
}

/// All people, organizations and memberships are listed once, in parts; what was deleted is not, and personal accounts are not.
pub async fn what_is_known_is_listed_in_parts(ports: Ports<'_>) {
    let (first, second, third) =
        (provision(ports.store, 1).await, provision(ports.store, 2).await, provision(ports.store, 3).await);
    let (acme, gone) = (organization(10, "acme"), organization(11, "gone"));
    let mut tx = ports.begin().await;
    for account in [&acme, &gone] {
        add_organization(&mut *tx, account).await;
        for user in [&first, &second] {
            tx.accounts().save_membership(&cleared(), editor(account.id, user), at(5)).await.expect("a membership");
        }
    }
    tx.accounts().delete_organization(&cleared(), gone.id).await.expect("an organization is deleted");
    tx.users().delete(&cleared(), third.id).await.expect("a person is deleted");
    tx.commit().await.expect("a commit");

    let mut people = Vec::new();
    while let Some(next) = ports
        .scans
        .users(&scanning(), people.last().map(|row: &Counterpart<_, _>| row.id), 1)
        .await
        .expect("a part")
        .pop()
    {
        people.push(next);
    }
    let expected = [&first, &second].map(|user| Counterpart {
        id: user.id,
        provider_id: user.provider_id.clone(),
        created_at: user.created_at,
    });
    assert_eq!(people, expected);

    let organizations = ports.scans.organizations(&scanning(), None, 9).await.expect("a part");
    let id = ProviderOrganizationId::parse("org_acme").expect("a provider id");
    let expected = Counterpart { id: acme.id, provider_id: id.clone(), created_at: acme.created_at };
    assert_eq!(organizations, [expected]);
    assert_eq!(ports.scans.organizations(&scanning(), Some(acme.id), 9).await.expect("a part"), []);

    let stay = |user: &crate::User| Counterpart {
        id: (acme.id, user.id),
        provider_id: Stay {
            membership: ProviderMembershipId::parse("orgmem_1").expect("a provider id"),
            organization: id.clone(),
            user: user.provider_id.clone(),
        },
        created_at: at(5),
    };
    let memberships = ports.scans.memberships(&scanning(), None, 9).await.expect("a part");
    assert_eq!(memberships, [stay(&first), stay(&second)]);
    let rest = ports.scans.memberships(&scanning(), Some((acme.id, first.id)), 9).await.expect("a part");
    assert_eq!(rest, [stay(&second)]);
}
