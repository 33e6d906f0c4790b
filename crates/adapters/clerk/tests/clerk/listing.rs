//! Lists of the Backend API: parts that are too large or too slow, and questions that Clerk asks to put off.

use std::time::Duration;

use portal_clerk::{ClerkListing, DirectoryError, ProviderOrganizationId, ProviderUserId};
use portal_identity::DirectoryListing;
use serde_json::{Value, json};

use crate::server::{FakeClerk, Reply};
use crate::setup::{impatient, with_keys_of};

fn listing(url: &str) -> ClerkListing {
    ClerkListing::new(&with_keys_of(url).validate().unwrap()).unwrap()
}

fn user(number: usize) -> Value {
    json!({ "id": format!("user_{number}"), "updated_at": 1_767_225_600_123_i64 })
}

fn users(range: std::ops::Range<usize>) -> Reply {
    Reply::json(200, &range.map(user).collect())
}

fn too_large() -> Reply {
    Reply::status(200, vec![b' '; 3 * 1_024 * 1_024])
}

/// The paths that were asked for, without what is alike in all of them.
fn asked(server: &FakeClerk) -> Vec<String> {
    let path = |request: String| request.split(' ').nth(1).unwrap_or_default().trim_start_matches("/v1/").to_owned();
    server.requests().into_iter().map(path).map(|path| path.replace("&order_by=%2Bcreated_at", "")).collect()
}

#[tokio::test]
async fn half_as_much_is_asked_for_where_an_answer_is_too_large_or_too_slow() {
    for fault in [too_large(), Reply::Hang(Vec::new())] {
        let server = FakeClerk::start(Reply::status(500, "")).await;
        for limit in [100, 50] {
            server.route(&format!("/v1/users?limit={limit}&offset=0"), fault.clone());
        }
        server.route("/v1/users?limit=25&offset=0", users(0..25));
        server.route("/v1/users?limit=50&offset=25", users(25..75));
        server.route("/v1/users?limit=100&offset=75", users(75..80));
        let listing = ClerkListing::new(&impatient(server.url()).validate().unwrap()).unwrap();
        let (mut offset, mut ids) = (Some(0), Vec::new());
        while let Some(from) = offset {
            let part = listing.users(from, usize::MAX).await.unwrap();
            ids.extend(part.items.into_iter().map(|user| user.id.to_string()));
            offset = part.next;
        }
        assert_eq!(ids, (0..80).map(|number| format!("user_{number}")).collect::<Vec<_>>());
        let expected = [(100, 0), (50, 0), (25, 0), (50, 25), (100, 75)];
        let expected = expected.map(|(limit, offset)| format!("users?limit={limit}&offset={offset}"));
        assert_eq!(asked(&server), expected, "and more again once that was answered");
    }
}

#[tokio::test]
async fn a_single_record_that_is_too_large_ends_the_list() {
    let server = FakeClerk::start(too_large()).await;
    let listing = listing(server.url());
    assert!(matches!(listing.users(7, usize::MAX).await, Err(DirectoryError::Unavailable(_))));
    let limits = [100, 50, 25, 12, 6, 3, 1].map(|limit| format!("users?limit={limit}&offset=7"));
    assert_eq!(asked(&server), limits);
}

#[tokio::test]
async fn organizations_and_members_are_halved_by_themselves() {
    let server = FakeClerk::start(Reply::json(200, &json!({ "data": [] }))).await;
    server.route("/v1/organizations?limit=20&", too_large());
    server.route("/v1/organizations/org_1/memberships?limit=100&", too_large());
    let listing = listing(server.url());
    assert!(listing.organizations(0, usize::MAX).await.unwrap().items.is_empty());
    assert!(listing.members(&ProviderOrganizationId::parse("org_1").unwrap(), 0).await.unwrap().items.is_empty());
    let expected = [
        "organizations?limit=20&offset=0",
        "organizations?limit=10&offset=0",
        "organizations/org_1/memberships?limit=100&offset=0",
        "organizations/org_1/memberships?limit=50&offset=0",
    ];
    assert_eq!(asked(&server), expected);
}

/// Lets the server answer well once it was asked.
async fn relents(server: &FakeClerk, reply: Reply) {
    while server.hits() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.set(reply);
}

#[tokio::test]
async fn a_question_about_one_person_or_organization_waits_as_long_as_clerk_asks() {
    let later = || Reply::status(429, "").with("retry-after", "1");
    let person = ProviderUserId::parse("user_1").unwrap();

    let server = FakeClerk::start(later()).await;
    let listing = listing(server.url());
    let (found, ()) = tokio::join!(listing.user(&person), relents(&server, Reply::json(200, &user(1))));
    assert_eq!((found.unwrap().map(|user| user.id), server.hits()), (Some(person.clone()), 2));

    let server = FakeClerk::start(later()).await;
    let listing = self::listing(server.url());
    let (found, ()) = tokio::join!(listing.user(&person), relents(&server, Reply::status(404, "")));
    assert_eq!((found.unwrap(), server.hits()), (None, 2), "gone");

    let server = FakeClerk::start(later()).await;
    let listing = self::listing(server.url());
    let none = Reply::json(200, &json!({ "data": [], "total_count": 0 }));
    let (found, ()) = tokio::join!(listing.memberships(&person), relents(&server, none));
    assert_eq!((found.unwrap(), server.hits()), (Vec::new(), 2));

    let server = FakeClerk::start(later()).await;
    let listing = self::listing(server.url());
    let organization = ProviderOrganizationId::parse("org_1").unwrap();
    let (found, ()) = tokio::join!(listing.organization(&organization), relents(&server, Reply::status(404, "")));
    assert_eq!((found.unwrap(), server.hits()), (None, 2));
}

#[tokio::test]
async fn nobody_is_asked_about_an_id_that_clerk_does_not_make() {
    let server = FakeClerk::start(Reply::json(200, &user(1))).await;
    let listing = listing(server.url());
    for text in ["", "user_1/ban", "org_1"] {
        let id = ProviderUserId::as_written(text);
        assert_eq!(listing.user(&id).await.unwrap(), None);
        assert_eq!(listing.memberships(&id).await.unwrap(), []);
    }
    assert_eq!(server.hits(), 0);
}
