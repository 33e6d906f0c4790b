//! The schema's history: there and back again, from many processes at once, and beside what runs for long.

use std::fs;

use portal_kernel::{Ping, StoreError};
use portal_postgres::testing::{TestDatabase, TestSession, revert_all, revert_through};
use portal_postgres::{migrate, pending_migrations};
use tokio::task::JoinSet;

use crate::support::{admin, chain, checkout, database, soon, until};

const NOTHING: [&str; 0] = [];

async fn empty() -> TestDatabase {
    TestDatabase::create_empty(&admin()).await.expect("a database")
}

/// Everything in the schema, one line each, but the history itself.
const DUMP: &str = "
    WITH objects (text) AS (
        SELECT format('column %s.%s %s %s %s', table_name, column_name, udt_name, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL
        SELECT format('constraint %s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL
        SELECT 'trigger ' || pg_get_triggerdef(pg_trigger.oid)
        FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal
        UNION ALL
        SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('relation %s %s', relkind, relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('type %s %s', typtype, typname) FROM pg_type WHERE typnamespace = 'public'::regnamespace
    )
    SELECT text FROM objects WHERE text NOT LIKE '%diesel\\_schema\\_migrations%' ORDER BY text COLLATE \"C\"";

#[tokio::test(flavor = "multi_thread")]
async fn up_down_and_up_again_ends_in_the_same_schema() {
    let database = empty().await;
    let target = database.target().unwrap();
    let applied = migrate(&target).await.unwrap();
    let first = database.texts(DUMP).await.unwrap();
    assert!(first.iter().any(|line| line.starts_with("column accounts.id uuid NO")), "{first:#?}");
    assert_eq!(revert_all(&target).await.unwrap(), applied.len());
    assert_eq!(database.texts(DUMP).await.unwrap(), NOTHING, "nothing is left");
    assert_eq!(migrate(&target).await.unwrap(), applied);
    assert_eq!(database.texts(DUMP).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_of_tests_have_the_migrated_schema() {
    let (migrated, copied) = (empty().await, database().await);
    migrate(&migrated.target().unwrap()).await.unwrap();
    assert_eq!(copied.texts(DUMP).await.unwrap(), migrated.texts(DUMP).await.unwrap());
    assert!(pending_migrations(&copied.target().unwrap()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_what_is_applied_next() {
    let database = empty().await;
    let target = database.target().unwrap();
    let pending = pending_migrations(&target).await.unwrap();
    let folders = fs::read_dir(checkout().join("migrations")).unwrap();
    assert_eq!(pending.len(), folders.count());
    assert_eq!(migrate(&target).await.unwrap(), pending);
    assert!(pending_migrations(&target).await.unwrap().is_empty());
    assert!(migrate(&target).await.unwrap().is_empty(), "repeating it does nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_migrate_at_the_same_time_take_turns() {
    let database = empty().await;
    let target = database.target().unwrap();
    let pending = pending_migrations(&target).await.unwrap();
    let mut replicas = JoinSet::new();
    for _ in 0..5 {
        let target = target.clone();
        replicas.spawn(async move { migrate(&target).await });
    }
    let applied = soon("five migrations", replicas.join_all()).await;
    let mut applied: Vec<_> = applied.into_iter().map(|outcome| outcome.expect("a migration")).collect();
    applied.retain(|names| !names.is_empty());
    assert_eq!(applied, [pending], "one replica did everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_what_is_pending_writes_nothing() {
    let database = empty().await;
    let target = database.target().unwrap();
    let mut replicas = JoinSet::new();
    for _ in 0..5 {
        let target = target.clone();
        replicas.spawn(async move { pending_migrations(&target).await });
    }
    for outcome in soon("five questions", replicas.join_all()).await {
        assert!(!outcome.expect("an answer").is_empty());
    }
    assert_eq!(database.texts(DUMP).await.unwrap(), NOTHING);
    assert_eq!(database.count("SELECT count(*) FROM pg_class WHERE relname ~ 'migrations'").await.unwrap(), 0);
    let name = database.texts("SELECT current_database()::text AS text").await.unwrap().remove(0);
    migrate(&target).await.unwrap();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await.unwrap();
    assert!(pending_migrations(&target).await.unwrap().is_empty(), "also of a server that only reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_an_older_schema_is_not_ready_and_one_on_a_newer_schema_is() {
    let database = database().await;
    let store = database.store(2).unwrap();
    store.ping().await.unwrap();
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')").await.unwrap();
    store.ping().await.unwrap();
    database.execute("DELETE FROM __diesel_schema_migrations WHERE version = '20261121000400'").await.unwrap();
    let Err(error @ StoreError::Unavailable(_)) = store.ping().await else { panic!("the schema is too old") };
    assert_eq!(chain(&error), "the database is unavailable: 1 migrations are not applied");
    let empty = empty().await;
    let Err(StoreError::Unavailable(_)) = empty.store(2).unwrap().ping().await else { panic!("there is no schema") };
}

/// `CREATE INDEX CONCURRENTLY` waits for every older statement; a replica that waited for its turn in one would wait for it in turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_replica_does_not_hold_up_an_index_that_is_built_concurrently() {
    let database = empty().await;
    let target = database.target().unwrap();
    migrate(&target).await.unwrap();
    let mut migrating = database.session().await.unwrap();
    migrating.execute(&format!("SELECT pg_advisory_lock({})", portal_postgres::testing::MIGRATION_LOCK)).await.unwrap();
    let waiting = tokio::spawn(async move { migrate(&target).await });
    let replicas = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'portal-migrate'";
    until("the replica waits", async || database.count(replicas).await.unwrap() == 1).await;
    let index = "CREATE INDEX CONCURRENTLY users_email_idx ON users (email)";
    soon("the index", migrating.execute(index)).await.unwrap();
    assert!(!waiting.is_finished(), "it still waits for its turn");
    drop::<TestSession>(migrating);
    assert!(soon("the replica's turn", waiting).await.unwrap().unwrap().is_empty());
}

/// A server's transaction writes accounts first and its record last; a migration that took the tables in another order would end one of
/// the two.
#[tokio::test(flavor = "multi_thread")]
async fn chaining_the_records_waits_for_a_server_that_writes_and_does_not_deadlock_with_it() {
    let database = database().await;
    let target = database.target().unwrap();
    revert_through(&target, "20261121000900").await.unwrap();
    let mut server = database.session().await.unwrap();
    let account = "INSERT INTO accounts (id, name, created_at) VALUES (gen_random_uuid(), 'Acme', now())";
    server.execute(&format!("BEGIN; {account}")).await.unwrap();
    let migrating = tokio::spawn(async move { migrate(&target).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'portal-migrate' AND wait_event_type = 'Lock'";
    until("the migration waits for the server", async || database.count(waiting).await.unwrap() == 1).await;
    let records = "INSERT INTO platform_audit_events (id, at, actor_kind, actor_id, action, subject)
            VALUES (gen_random_uuid(), now(), 'system', 'operator', 'service_token.created', 'svc');
        INSERT INTO audit_events (account_id, id, at, actor_kind, actor_id, action, subject)
            SELECT id, gen_random_uuid(), now(), 'system', 'sign-in', 'user.provisioned', 'usr' FROM accounts";
    soon("the records", server.execute(records)).await.unwrap();
    assert!(!migrating.is_finished(), "it still waits");
    server.execute("COMMIT").await.unwrap();
    soon("the migration", migrating).await.unwrap().unwrap();
    assert_eq!(database.count("SELECT count(*) FROM audit_events WHERE seq = 1").await.unwrap(), 1);
}

/// Sessions ended before anybody remembered which ends the provider had not confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn ends_that_were_never_confirmed_are_found_in_the_trail() {
    let database = database().await;
    let target = database.target().unwrap();
    revert_through(&target, "20261122001520").await.unwrap();
    database
        .execute(
            r"INSERT INTO accounts (id, name, created_at) VALUES (gen_random_uuid(), 'Acme', now());
             INSERT INTO audit_events (account_id, id, at, actor_kind, actor_id, action, subject, seq, hash, effect)
                 SELECT accounts.id, gen_random_uuid(), now(), 'user', 'usr', action, session, number, sha256(''), 'done'
                 FROM accounts, (VALUES ('sess_open', 'session.ended', 1), ('sess_over', 'session.ended', 2),
                     ('sess_open', 'sign_in.succeeded', 3), ('usr_1', 'session.ended', 4))
                     AS told (session, action, number);
             INSERT INTO buried_provider_ids (id, at) VALUES ('sess_open', now() + interval '10 years'),
                 ('sess_over', now()), ('sess_unheard', now() + interval '10 years'), ('usr_1', now() + interval '10 years')",
        )
        .await
        .unwrap();
    migrate(&target).await.unwrap();
    let found = database.texts("SELECT session_id || ' ' || attempts AS text FROM unconfirmed_ends");
    assert_eq!(found.await.unwrap(), ["sess_open 0"]);
    let due = "SELECT count(*) FROM unconfirmed_ends JOIN accounts ON accounts.id = account_id WHERE try_at <= now()";
    assert_eq!(database.count(due).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_is_undone_and_told() {
    let database = empty().await;
    let target = database.target().unwrap();
    database.execute("CREATE TABLE api_keys ()").await.unwrap();
    let error = migrate(&target).await.unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(text.contains("relation \"api_keys\" already exists"), "{text}");
    let applied = database.texts("SELECT version::text AS text FROM __diesel_schema_migrations").await.unwrap();
    assert_eq!(applied.len(), 2, "those before it stay");
    database.execute("DROP TABLE api_keys").await.unwrap();
    assert_eq!(
        migrate(&target).await.unwrap().len(),
        pending_migrations(&empty().await.target().unwrap()).await.unwrap().len() - 2
    );
}

/// An index is built while others write, by a migration that does nothing else: with another statement it would be in a transaction.
#[test]
fn an_index_on_a_table_that_is_in_use_is_built_concurrently_and_alone() {
    // Rewrites the whole table.
    const EXCEPTIONS: [&str; 1] = ["audit_events_actor_idx"];
    let (mut offenders, mut concurrent) = (Vec::new(), 0);
    for change in fs::read_dir(checkout().join("migrations")).unwrap() {
        let folder = change.unwrap().path();
        let text = fs::read_to_string(folder.join("up.sql")).unwrap();
        let code: Vec<_> = text.lines().filter(|line| !line.starts_with("--")).collect();
        let code = code.join(" ");
        for statement in code.split(';').map(str::trim) {
            let plain = statement.replace("IF NOT EXISTS ", "");
            let words: Vec<_> = plain.split_whitespace().filter(|word| *word != "UNIQUE").collect();
            let ["CREATE", "INDEX", rest @ ..] = &words[..] else { continue };
            let is_concurrent = rest.first() == Some(&"CONCURRENTLY");
            let [name, "ON", table, ..] = &rest[usize::from(is_concurrent)..] else { panic!("{statement}") };
            let is_alone = code.trim().trim_end_matches(';') == statement
                && fs::read_to_string(folder.join("metadata.toml"))
                    .is_ok_and(|text| text == "run_in_transaction = false\n");
            let is_new = code.contains(&format!("CREATE TABLE {table} ("));
            concurrent += usize::from(is_concurrent && is_alone);
            if !(is_new || is_concurrent && is_alone) {
                offenders.push((*name).to_owned());
            }
        }
    }
    assert_eq!(offenders, EXCEPTIONS);
    assert!(concurrent >= 5, "{concurrent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_outlives_the_way_back_and_forth() {
    let database = database().await;
    let target = database.target().unwrap();
    let all = database.texts(DUMP).await.unwrap();
    database
        .execute(
            "INSERT INTO accounts (id, name, created_at) VALUES (gen_random_uuid(), 'Acme', now());
             INSERT INTO users (id, provider_id, personal_account_id, created_at)
                 SELECT gen_random_uuid(), 'user_1', id, now() FROM accounts;
             INSERT INTO memberships (account_id, user_id, role, created_at, provider_membership_id, provider_role, provider_updated_at)
                 SELECT personal_account_id, id, 'admin', now(), 'orgmem_1', 'org:admin', now() FROM users;
             INSERT INTO buried_provider_ids (id, at) VALUES ('sess_1', now());
             INSERT INTO audit_signed_heads (account_id, seq, hash, at, signature)
                 SELECT id, 1, sha256(''), now(), sha256('') || sha256('') FROM accounts;
             INSERT INTO platform_audit_signed_heads (seq, hash, at, signature)
                 VALUES (1, sha256(''), now(), sha256('') || sha256(''))",
        )
        .await
        .unwrap();
    revert_through(&target, "20261122001100").await.unwrap();
    let primary =
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname = 'audit_signed_heads_pkey'";
    assert_eq!(database.texts(primary).await.unwrap(), ["PRIMARY KEY (account_id, seq)"]);
    migrate(&target).await.unwrap();
    assert_eq!(database.texts(DUMP).await.unwrap(), all);
    assert_eq!(database.texts(primary).await.unwrap(), ["PRIMARY KEY (account_id, seq, signature)"]);
    assert_eq!(database.count("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await.unwrap(), 0);
    for table in ["memberships", "buried_provider_ids", "audit_signed_heads", "platform_audit_signed_heads"] {
        assert_eq!(database.count(&format!("SELECT count(*) FROM {table}")).await.unwrap(), 1, "{table}");
    }
}
