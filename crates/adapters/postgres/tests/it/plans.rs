//! How the server looks for what statements ask for.

use portal_accounts::ReconcileReader;
use portal_authz::{Job, Platform, Principal, Unchecked};
use portal_kernel::{AccountId, Id, UserId};
use portal_postgres::PgStore;
use uuid::Uuid;

use crate::support::store;

/// Statements are noted on threads of web workers.
const WEB_WORKER: &str = "actix-server worker";

/// The statement by which a scan reads memberships, with its parameters by number.
fn statement(store: &PgStore) -> String {
    let noted = store.statements().clone();
    std::thread::scope(|scope| {
        let read = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let cleared =
                Unchecked::new(Platform).authorize(&Principal::System(Job::Reconciler)).expect("the reconciler may");
            let after = Some((AccountId::from_uuid(Uuid::nil()), UserId::from_uuid(Uuid::nil())));
            noted.start();
            runtime.block_on(store.memberships(&cleared, after, 500)).expect("a part");
            noted.finish()
        };
        let statements =
            std::thread::Builder::new().name(WEB_WORKER.to_owned()).spawn_scoped(scope, read).expect("a thread");
        let mut statements = statements.join().expect("statements");
        statements.retain(|statement| statement.contains("memberships"));
        assert_eq!(statements.len(), 1, "{statements:?}");
        statements.remove(0)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memberships_behind_one_are_found_by_the_index() {
    let (database, store) = store().await;
    let mut text = statement(&store);
    let late = "'f0000000-0000-0000-0000-000000000000'";
    for (parameter, value) in [("$1", late), ("$2", late), ("$3", late), ("$4", "500")] {
        assert!(text.contains(parameter), "{text}");
        text = text.replace(parameter, value);
    }
    database
        .execute(
            "CREATE FUNCTION plan(statement text) RETURNS SETOF text LANGUAGE plpgsql
                 -- So few rows are not worth an index, whatever it finds.
                 SET enable_seqscan = off SET enable_sort = off AS
                 $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || statement; END $$;
             INSERT INTO accounts (id, name, provider_organization_id, created_at)
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
    let plan = database.texts(&format!("SELECT plan($statement${text}$statement$) AS text")).await.unwrap();
    let condition = plan.iter().find(|line| line.contains("Index Cond") && line.contains("account_id >="));
    assert!(condition.is_some(), "{}", plan.join("\n"));
}
