//! The role that the program signs in with is an ordinary one in production: it owns its database and nothing else.

use std::time::Duration;

use portal_accounts::SignInReader;
use portal_accounts::contract::{looking_up, provision};
use portal_dev_postgres::testing::OwnServer;
use portal_postgres::testing::TestSession;
use portal_postgres::{PgTarget, migrate, pending_migrations};

use crate::support::{checkout, impatient};

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_role_migrates_and_stores() {
    let server = OwnServer::start(&checkout(), &[], &[]).unwrap();
    let mut superuser = TestSession::open(&server.url("postgres")).await.unwrap();
    superuser.execute("CREATE ROLE app LOGIN PASSWORD 'pa+ss w%rd/?'").await.unwrap();
    superuser.execute("CREATE DATABASE app OWNER app").await.unwrap();
    let url = format!("postgresql://app:pa+ss%20w%25rd%2F%3F@localhost:{}/app", server.port());
    let target = PgTarget::parse(&url).unwrap();
    assert!(!migrate(&target).await.unwrap().is_empty());
    assert!(pending_migrations(&target).await.unwrap().is_empty());
    let store = impatient(&url, Duration::from_secs(5));
    let user = provision(&store, 1).await;
    assert!(SignInReader::find(&store, &looking_up(), user.provider_id).await.unwrap().is_some());
}
