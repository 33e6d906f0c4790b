//! A provider that is slow, asks to slow down, or fails at some of what it has.

use std::future::poll_fn;
use std::task::Poll;

use super::*;

/// Organizations with two members each, all of one part of the list.
fn organizations(numbers: std::ops::Range<usize>) -> Provider {
    let organizations: Vec<_> = numbers.map(organization_of).collect();
    let members = organizations.iter().zip(1..).map(|(organization, number): (_, usize)| {
        let members = [0, 1].map(|person| ProviderMembership {
            id: ProviderMembershipId::parse(&format!("orgmem_{number}{person}")).unwrap(),
            organization: organization.clone(),
            ..member(person)
        });
        (organization.id.to_string(), members.to_vec())
    });
    Provider { members: members.collect(), organizations, at_once: Some(20), ..provider() }
}

impl World {
    /// Scans until one comes to its end, and how many broke off before.
    async fn scan_on(&self) -> (ReconcileReport, usize) {
        for broken_off in 0..50 {
            match self.run(ReconcileOptions::default()).await {
                Ok(report) => return (report, broken_off),
                Err(ReconcileError::Directory(_)) => self.clock.advance(GIVEN_UP),
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("no scan ends");
    }

    fn failures(&self, cursor: Option<ScanCursor>) -> u32 {
        assert!(self.listing.0.lock().unwrap().patience.is_some());
        cursor.unwrap().failures
    }
}

#[tokio::test]
async fn while_one_replica_reads_a_slow_provider_the_other_stands_aside() {
    let world = World::new();
    world.at_the_provider(|provider| *provider = Provider { takes: LONGEST_QUESTION, ..organizations(1..6) });
    let other = world.replica();
    let every = Duration::from_hours(24);
    let mut scan = Box::pin(world.run(ReconcileOptions::default()));
    let mut looked = 0;
    let report = loop {
        if let Poll::Ready(outcome) = poll_fn(|context| Poll::Ready(scan.as_mut().poll(context))).await {
            break outcome.unwrap();
        }
        assert_eq!(other.run_if_due(every).await.unwrap(), None, "nobody gave it up");
        looked += 1;
    };
    assert!(report.is_finished());
    assert_eq!(looked, 7, "the people, the organizations, and the members of each");
    assert_eq!(world.counts().await, (5, 5, 10));
    let cursor = world.store.rows.lock().await.cursor.unwrap();
    assert_eq!((cursor.position, cursor.last_complete.map(|scan| scan.drift)), (ScanPosition::Idle, Some(20)));
}

#[tokio::test]
async fn a_provider_that_asks_to_slow_down_is_read_to_its_end_and_nothing_is_left_out() {
    let world = World::new();
    world.at_the_provider(|provider| *provider = organizations(1..6));
    let mut broken_off = 0;
    let report = loop {
        // The list of the organizations, and the members of one.
        world.at_the_provider(|provider| provider.patience = Some(2));
        match world.run(ReconcileOptions::default()).await {
            Ok(report) => break report,
            Err(ReconcileError::Directory(DirectoryError::RateLimited { .. })) => broken_off += 1,
            Err(error) => panic!("{error:?}"),
        }
        let cursor = world.store.rows.lock().await.cursor;
        assert_eq!(world.failures(cursor), 0, "it is not what was asked for that fails");
        assert!(broken_off < 20, "no scan ends");
        world.clock.advance(GIVEN_UP);
    };
    assert_eq!((report.left_out, report.unusable), (Vec::new(), 0));
    assert_eq!(world.counts().await, (5, 5, 10));
}

#[tokio::test]
async fn an_organization_whose_members_cannot_be_read_hides_no_other() {
    let world = World::new();
    world.at_the_provider(|provider| {
        *provider = Provider { closed: vec!["org_2".to_owned(), "org_4".to_owned()], ..organizations(1..8) };
    });
    let (report, broken_off) = world.scan_on().await;
    assert_eq!(u32::try_from(broken_off).unwrap(), MOST_FAILURES - 1, "the second one is not tried again and again");
    let closed = ["org_2", "org_4"].map(|id| LeftOut::Members(ProviderOrganizationId::parse(id).unwrap()));
    assert_eq!((&report.left_out[..], report.unusable), (&closed[..], 2));
    assert!(!report.complete && !report.is_finished());
    assert_eq!(world.reconciler.health.unusable(), 2);
    assert_eq!(world.counts().await, (5, 7, 10), "five of seven");
    // Neither what it may have held is removed, nor anything else.
    world.at_the_provider(|provider| provider.users.truncate(4));
    world.clock.advance(GIVEN_UP);
    assert_eq!(world.scan_on().await.0.users.gone, 0);
    world.at_the_provider(|provider| provider.closed.clear());
    let other = world.replica();
    let report = other.run_if_due(Duration::ZERO).await.unwrap().unwrap();
    world.reconciler.recall().await.unwrap();
    assert_eq!(world.reconciler.health.unusable(), 0, "whoever read everything");
    assert_eq!((report.is_finished(), report.users.gone, report.memberships.changed), (true, 1, 4));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_out_alone() {
    for (list, at, left_out) in [
        (0, 150, LeftOut::Record(ScanPosition::Users(150))),
        (0, 0, LeftOut::Record(ScanPosition::Users(0))),
        (1, 13, LeftOut::Record(ScanPosition::Organizations(13))),
    ] {
        let world = World::new();
        world.at_the_provider(|provider| {
            *provider = Provider { users: (0..250).map(user).collect(), at_once: Some(100), ..organizations(1..31) };
            provider.fails_at[list] = Some(at);
        });
        let (report, _) = world.scan_on().await;
        assert_eq!((report.left_out, report.unusable), (vec![left_out], 1));
        let (people, organizations, members) = world.counts().await;
        let expected = if list == 0 { (30, 60) } else { (29, 58) };
        assert_eq!((organizations, members), expected, "{list} {at}");
        // A member brings a person.
        assert!(people >= 249, "{people}");
    }
}

#[tokio::test]
async fn where_no_members_can_be_read_the_rest_is_left_out() {
    let world = World::new();
    world.at_the_provider(|provider| {
        let closed = (1..31).map(|number| format!("org_{number}")).collect();
        *provider = Provider { closed, ..organizations(1..31) };
    });
    let (report, _) = world.scan_on().await;
    assert_eq!(report.left_out.len(), usize::try_from(MOST_IN_A_ROW).unwrap());
    let last = ScanPosition::Organizations(report.left_out.len() - 1);
    assert_eq!(report.left_out.last(), Some(&LeftOut::Rest(last)));
}
