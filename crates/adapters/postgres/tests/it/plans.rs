//! How the server looks for what statements ask for.

use portal_accounts::ReconcileReader;
use portal_api_keys::contract::may_follow;
use portal_api_keys::{KeyFeedReader, Kid};
use portal_authz::{Job, Platform, Principal, Unchecked};
use portal_kernel::{AccountId, Id, UserId};
use portal_postgres::PgStore;
use uuid::Uuid;

use crate::support::store;

/// Statements are noted on threads of web workers.
const WEB_WORKER: &str = "actix-server worker";

/// So few rows are not worth an index, whatever it finds.
const PLAN: &str = "CREATE FUNCTION plan(statement text) RETURNS SETOF text LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_sort = off AS
    $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || statement; END $$";

/// The statement about that table that is run, with its parameters by number.
fn statement(store: &PgStore, table: &str, run: impl AsyncFn() + Send + Sync) -> String {
    let noted = store.statements().clone();
    std::thread::scope(|scope| {
        let read = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            noted.start();
            runtime.block_on(run());
            noted.finish()
        };
        let statements =
            std::thread::Builder::new().name(WEB_WORKER.to_owned()).spawn_scoped(scope, read).expect("a thread");
        let mut statements = statements.join().expect("statements");
        statements.retain(|statement| statement.contains(table));
        assert_eq!(statements.len(), 1, "{statements:?}");
        statements.remove(0)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memberships_behind_one_are_found_by_the_index() {
    let (database, store) = store().await;
    let mut text = statement(&store, "memberships", async || {
        let cleared =
            Unchecked::new(Platform).authorize(&Principal::System(Job::Reconciler)).expect("the reconciler may");
        let after = Some((AccountId::from_uuid(Uuid::nil()), UserId::from_uuid(Uuid::nil())));
        store.memberships(&cleared, after, 500).await.expect("a part");
    });
    let late = "'f0000000-0000-0000-0000-000000000000'";
    for (parameter, value) in [("$1", late), ("$2", late), ("$3", late), ("$4", "500")] {
        assert!(text.contains(parameter), "{text}");
        text = text.replace(parameter, value);
    }
    database
        .execute(
            "INSERT INTO accounts (id, name, provider_organization_id, created_at)
                 SELECT gen_random_uuid(), 'Acme', 'org_' || number, now() FROM generate_series(1, 3000) AS number;
             INSERT INTO users (id, provider_id, personal_account_id, created_at)
                 SELECT gen_random_uuid(), 'user_1', id, now() FROM accounts LIMIT 1;
             INSERT INTO memberships
                 (account_id, user_id, role, created_at, provider_membership_id, provider_role, provider_updated_at)
                 SELECT accounts.id, users.id, 'admin', now(), 'orgmem_1', 'org:admin', now() FROM accounts, users;
             ANALYZE",
        )
        .await
        .unwrap();
    database.execute(PLAN).await.unwrap();
    let plan = database.texts(&format!("SELECT plan($statement${text}$statement$) AS text")).await.unwrap();
    let condition = plan.iter().find(|line| line.contains("Index Cond") && line.contains("account_id >="));
    assert!(condition.is_some(), "{}", plan.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_behind_one_are_found_by_the_index_of_kids() {
    let (database, store) = store().await;
    let mut text = statement(&store, "key_locator", async || {
        let after = Some(Kid::parse("000000000000").expect("a kid"));
        store.live(&may_follow(), after, 1_000).await.expect("a page");
    });
    for (parameter, value) in [("$1", "'deleted'"), ("$2", "'000000001000'"), ("$3", "100")] {
        assert!(text.contains(parameter), "{text}");
        text = text.replace(parameter, value);
    }
    assert!(!text.contains('$'), "{text}");
    database
        .execute(
            "INSERT INTO accounts (id, name, provider_organization_id, created_at)
                 SELECT gen_random_uuid(), 'Acme', 'org_' || number, now() FROM generate_series(1, 100) AS number;
             INSERT INTO users (id, provider_id, personal_account_id, created_at)
                 SELECT gen_random_uuid(), 'user_1', id, now() FROM accounts LIMIT 1;
             INSERT INTO api_keys (account_id, id, name, environment, made_by, created_at, revision)
                 SELECT accounts.id, gen_random_uuid(), 'test', 'live', users.id, now(), 1
                 FROM accounts, users, generate_series(1, 30);
             INSERT INTO key_locator (kid, account_id)
                 SELECT lpad(row_number() OVER (ORDER BY id)::text, 12, '0'), account_id FROM api_keys;
             INSERT INTO api_key_secrets (account_id, kid, key_id, digest, pepper_version, created_at, revision)
                 SELECT account_id, lpad(row_number() OVER (ORDER BY id)::text, 12, '0'), id, sha256(''), 1, now(), 1
                 FROM api_keys;
             ANALYZE",
        )
        .await
        .unwrap();
    database.execute(PLAN).await.unwrap();
    let plan = database.texts(&format!("SELECT plan($statement${text}$statement$) AS text")).await.unwrap();
    let condition = plan.iter().find(|line| line.contains("Index Cond") && line.contains("kid > "));
    assert!(condition.is_some() && !plan.iter().any(|line| line.contains("Sort")), "{}", plan.join("\n"));
}
