//! People and organizations from the Backend API.

use std::time::Duration;

use portal_clerk::{
    ClerkDirectory, ClientError, DirectoryError, IdentityDirectory, ProviderOrganizationId, ProviderUser,
    ProviderUserId,
};
use serde_json::{Value, json};

use crate::server::{FakeClerk, Reply, nobody};
use crate::setup::{impatient, with_keys_of, with_public_key};

fn directory(url: &str) -> ClerkDirectory {
    ClerkDirectory::new(&with_keys_of(url).validate().unwrap()).unwrap()
}

fn id() -> ProviderUserId {
    ProviderUserId::parse("user_1").unwrap()
}

async fn read(body: &Value) -> Result<Option<ProviderUser>, DirectoryError> {
    let server = FakeClerk::start(Reply::json(200, body)).await;
    directory(server.url()).user(&id()).await
}

fn person() -> Value {
    json!({
        "id": "user_1", "object": "user", "first_name": "Alice", "last_name": null, "image_url": "https://img.clerk.com/x",
        "primary_email_address_id": "idn_2", "updated_at": 1_767_225_600_123_i64, "new_field": { "deep": [1] },
        "email_addresses": [
            { "id": "idn_1", "email_address": "old@example.com", "verification": { "status": "verified" } },
            { "id": "idn_2", "email_address": "alice@example.com", "verification": { "status": "verified", "strategy": "new" } },
        ],
    })
}

#[tokio::test]
async fn a_person_is_read_with_the_primary_address() {
    let server = FakeClerk::start(Reply::json(200, &person())).await;
    let user = directory(server.url()).user(&id()).await.unwrap().unwrap();
    assert_eq!((user.email.as_deref(), user.email_verified), (Some("alice@example.com"), true));
    assert_eq!((user.first_name.as_deref(), user.last_name), (Some("Alice"), None));
    assert_eq!(user.image_url.as_deref(), Some("https://img.clerk.com/x"));
    assert_eq!(user.updated_at.unix_millis(), 1_767_225_600_123);

    let request = &server.requests()[0];
    assert!(request.starts_with("GET /v1/users/user_1 HTTP/1.1\n"), "{request}");
    for header in
        ["authorization: Bearer sk_test_s3cret\n", "clerk-api-version: 2026-05-12\n", "user-agent: portal-clerk@"]
    {
        assert!(request.contains(header), "{header} in {request}");
    }
}

#[tokio::test]
async fn nobody_is_asked_about_an_id_that_clerk_does_not_make() {
    let server = FakeClerk::start(Reply::json(200, &person())).await;
    let directory = directory(server.url());
    for text in ["", "user_1/ban", "user_1?x", "..", "%2e%2e", "org_1"] {
        let id = ProviderUserId::as_written(text);
        assert_eq!(directory.user(&id).await.unwrap(), None, "{text:?}");
        assert_eq!(directory.memberships(&id).await.unwrap(), [], "{text:?}");
    }
    assert_eq!(server.hits(), 0);
}

#[tokio::test]
async fn an_address_counts_as_verified_only_if_clerk_says_so() {
    for verification in
        [json!(null), json!({}), json!({ "status": "unverified" }), json!({ "status": "new" }), json!("verified")]
    {
        let mut body = person();
        body["email_addresses"][1]["verification"] = verification.clone();
        let user = read(&body).await.unwrap().unwrap();
        assert_eq!((user.email.as_deref(), user.email_verified), (Some("alice@example.com"), false), "{verification}");
    }
    for (name, value) in [
        ("primary_email_address_id", json!(null)),
        ("primary_email_address_id", json!("idn_3")),
        ("email_addresses", json!([])),
        ("email_addresses", json!("alice@example.com")),
    ] {
        let mut body = person();
        body[name] = value;
        let user = read(&body).await.unwrap().unwrap();
        assert_eq!((user.email, user.email_verified), (None, false), "{name}");
    }
}

#[tokio::test]
async fn answers_that_cannot_be_trusted_are_malformed() {
    let mut bodies = vec![json!([]), json!({}), json!("user_1")];
    for (name, value) in
        [("id", json!("user_2")), ("id", json!(null)), ("updated_at", json!(null)), ("updated_at", json!("now"))]
    {
        let mut body = person();
        body[name] = value;
        bodies.push(body);
    }
    for body in bodies {
        assert!(matches!(read(&body).await, Err(DirectoryError::Malformed(_))), "{body}");
    }
    let server = FakeClerk::start(Reply::status(200, "<html>")).await;
    assert!(matches!(directory(server.url()).user(&id()).await, Err(DirectoryError::Malformed(_))));
    server.set(Reply::json(200, &json!({ "data": [{ "role": "org:admin" }], "total_count": 1 })));
    assert!(matches!(directory(server.url()).memberships(&id()).await, Err(DirectoryError::Malformed(_))));
}

#[tokio::test]
async fn each_failure_has_its_own_meaning() {
    let server = FakeClerk::start(Reply::status(404, "{}")).await;
    let directory = directory(server.url());
    assert!(directory.user(&id()).await.unwrap().is_none());
    assert!(directory.memberships(&id()).await.unwrap().is_empty());

    server.set(Reply::status(429, "").with("retry-after", "7"));
    let error = directory.user(&id()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::RateLimited { retry_after: Some(wait) } if wait == Duration::from_secs(7)));
    server.set(Reply::status(429, "").with("retry-after", "soon"));
    assert!(matches!(directory.memberships(&id()).await, Err(DirectoryError::RateLimited { retry_after: None })));

    for status in [401, 403] {
        server.set(Reply::json(status, &json!({ "errors": [{ "code": "clerk_key_invalid" }] })));
        assert!(matches!(directory.user(&id()).await, Err(DirectoryError::SecretKeyInvalid)), "{status}");
    }
    for status in [500, 503, 402, 302] {
        server.set(Reply::status(status, "").with("location", "/v1/users/user_2"));
        let hits = server.hits();
        assert!(matches!(directory.user(&id()).await, Err(DirectoryError::Unavailable(_))), "{status}");
        assert_eq!(server.hits(), hits + 1, "nothing is repeated or followed");
    }
    server.set(Reply::status(200, vec![b' '; 3 * 1_024 * 1_024]));
    assert!(matches!(directory.user(&id()).await, Err(DirectoryError::Unavailable(_))));
}

#[tokio::test]
async fn silence_ends_in_time_and_errors_tell_no_secret() {
    let server = FakeClerk::start(Reply::Hang(Vec::new())).await;
    for url in [server.url().to_owned(), nobody()] {
        let directory = ClerkDirectory::new(&impatient(&url).validate().unwrap()).unwrap();
        let error = directory.user(&id()).await.unwrap_err();
        assert!(matches!(error, DirectoryError::Unavailable(_)));
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        assert!(!format!("{directory:?}").contains("s3cret"));
    }
    let error = ClerkDirectory::new(&with_public_key().validate().unwrap()).unwrap_err();
    assert!(matches!(error, ClientError::NoSecretKey));
}

#[tokio::test]
async fn all_pages_of_memberships_are_read_once_each() {
    let entry = |number: usize| {
        json!({
            "id": format!("orgmem_{number}"), "role": "org:member", "updated_at": 1_767_225_600_123_i64,
            "organization": { "id": format!("org_{number}"), "name": "Acme", "created_by": "user_9", "updated_at": 1_767_225_600_456_i64 },
        })
    };
    let page = |range: std::ops::Range<usize>| {
        let data: Vec<_> = range.map(entry).collect();
        Reply::json(200, &json!({ "data": data, "total_count": 205 }))
    };
    let server = FakeClerk::start(Reply::status(500, "")).await;
    server.route("/v1/users/user_1/organization_memberships?limit=100&offset=0", page(0..100));
    // The pages shifted by one meanwhile.
    server.route("/v1/users/user_1/organization_memberships?limit=100&offset=100", page(99..199));
    server.route("/v1/users/user_1/organization_memberships?limit=100&offset=200", page(199..205));
    let memberships = directory(server.url()).memberships(&id()).await.unwrap();
    assert_eq!(server.hits(), 3);
    assert_eq!(memberships.len(), 205);
    assert_eq!(memberships[204].organization.id, ProviderOrganizationId::parse("org_204").unwrap());
    assert_eq!(memberships[0].organization.created_by.as_ref().unwrap().as_str(), "user_9");
    assert_eq!(memberships[0].role, "org:member");
}
