//! Rules that every table keeps, asked of the catalogue: a new table is held to them without a new test.

use std::fs;

use portal_postgres::testing::TestDatabase;

use crate::support::{checkout, database};

/// What breaks a rule; empty if nothing does.
async fn offenders(database: &TestDatabase, sql: &str) -> Vec<String> {
    let mut found = database.texts(sql).await.expect("a catalogue query");
    found.retain(|line| !line.contains("__diesel_schema_migrations"));
    found
}

const NOTHING: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn every_unique_index_of_a_tenant_table_holds_the_account() {
    // The reader of a presented key knows its kid and nothing else.
    const EXCEPTIONS: [&str; 1] = ["key_locator_pkey"];
    let offenders = offenders(
        &database().await,
        "SELECT indexrelid::regclass::text AS text FROM pg_index
         JOIN pg_attribute AS account ON account.attrelid = indrelid AND account.attname = 'account_id'
         JOIN pg_class ON pg_class.oid = indrelid AND relnamespace = 'public'::regnamespace
         WHERE indisunique AND NOT account.attnum = ANY (indkey) ORDER BY 1",
    )
    .await;
    assert_eq!(offenders, EXCEPTIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_id_is_required_refers_to_an_account_and_begins_an_index() {
    let offenders = offenders(
        &database().await,
        "SELECT attrelid::regclass::text AS text FROM pg_attribute
         JOIN pg_class ON pg_class.oid = attrelid AND relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
         WHERE attname = 'account_id' AND NOT (
             attnotnull
             AND EXISTS (SELECT FROM pg_constraint WHERE conrelid = attrelid AND contype = 'f'
                 AND confrelid = 'accounts'::regclass AND conkey = ARRAY[attnum])
             AND EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indkey[0] = attnum AND indpred IS NULL))",
    )
    .await;
    assert_eq!(offenders, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_key_begins_an_index() {
    let offenders = offenders(
        &database().await,
        "SELECT conname::text AS text FROM pg_constraint
         WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND NOT EXISTS (
             SELECT FROM pg_index WHERE indrelid = conrelid AND indpred IS NULL
                 AND (string_to_array(indkey::text, ' ')::int2[])[1:cardinality(conkey)] @> conkey)",
    )
    .await;
    assert_eq!(offenders, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_constraint_index_and_trigger_is_named_in_a_migration() {
    let migrations = fs::read_dir(checkout().join("migrations")).unwrap();
    let migrations = migrations.map(|change| fs::read_to_string(change.unwrap().path().join("up.sql")).unwrap());
    let text = migrations.collect::<String>();
    let words: Vec<_> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    // NOT NULL has names of the server's choice from PostgreSQL 18 on; nothing reads them.
    let database = database().await;
    let names = database.texts(
        "SELECT conname::text AS text FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
         UNION SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'
         UNION SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal",
    );
    let mut unnamed = names.await.unwrap();
    unnamed.retain(|name| !words.contains(&name.as_str()) && name != "__diesel_schema_migrations_pkey");
    assert_eq!(unnamed, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_place_for_a_plain_secret() {
    let offenders = offenders(
        &database().await,
        "SELECT table_name || '.' || column_name AS text FROM information_schema.columns
         WHERE table_schema = 'public' AND data_type IN ('text', 'bytea', 'character varying', 'json', 'jsonb', 'ARRAY')
             -- Which session or token it was is no secret.
             AND column_name <> 'credential_id'
             AND column_name ~ '(secret|token|password|pepper|plain|credential|private)'",
    )
    .await;
    assert_eq!(offenders, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_has_32_bytes_and_a_pepper() {
    let database = database().await;
    let digests =
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND column_name ~ 'digest'";
    assert!(database.count(digests).await.unwrap() >= 2);
    let offenders = offenders(
        &database,
        "SELECT table_name || '.' || column_name AS text FROM information_schema.columns AS digest
         WHERE table_schema = 'public' AND (data_type = 'bytea' OR column_name ~ 'digest')
         -- What the provider sent, as it came: no secret, and read by people.
         AND (table_name, column_name) NOT IN (('webhook_inbox', 'body'))
             -- Of what somebody asked for, which holds no secret.
             AND (table_name, column_name) NOT IN (('named_requests', 'fingerprint'))
             -- The audit trail's, which nobody presents.
             AND NOT (table_name ~ 'audit_' AND column_name IN ('hash', 'signed_hash', 'signature')) AND NOT (
             data_type = 'bytea' AND is_nullable = 'NO' AND column_name ~ 'digest'
             AND EXISTS (SELECT FROM pg_constraint WHERE conrelid = table_name::regclass AND contype = 'c' AND convalidated
                 AND pg_get_constraintdef(oid) = format('CHECK ((octet_length(%s) = 32))', column_name))
             AND EXISTS (SELECT FROM information_schema.columns AS pepper WHERE pepper.table_name = digest.table_name
                 AND pepper.column_name = 'pepper_version' AND pepper.is_nullable = 'NO'))",
    )
    .await;
    assert_eq!(offenders, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_have_a_zone_and_text_has_no_padding() {
    let offenders = offenders(
        &database().await,
        "SELECT table_name || '.' || column_name AS text FROM information_schema.columns WHERE table_schema = 'public'
         AND data_type IN ('timestamp without time zone', 'time with time zone', 'character', 'real', 'double precision', 'money')",
    )
    .await;
    assert_eq!(offenders, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_cannot_be_rewritten() {
    let database = database().await;
    database
        .execute(
            "INSERT INTO accounts (id, name, created_at) VALUES (gen_random_uuid(), 'Acme', now());
             INSERT INTO audit_events (account_id, id, at, actor_kind, actor_id, action, subject, seq, hash, effect)
                 SELECT id, gen_random_uuid(), now(), 'system', 'sign-in', 'user.provisioned', 'usr', 1, sha256(''), 'done'
                 FROM accounts;
             INSERT INTO platform_audit_events (id, at, actor_kind, actor_id, action, subject, seq, hash, effect)
                 VALUES (gen_random_uuid(), now(), 'system', 'operator', 'service_token.created', 'svc', 1, sha256(''), 'done');
             INSERT INTO audit_signed_heads (account_id, seq, hash, at, signature)
                 SELECT id, 1, sha256(''), now(), sha256('') || sha256('') FROM accounts;
             INSERT INTO platform_audit_signed_heads (seq, hash, at, signature)
                 VALUES (1, sha256(''), now(), sha256('') || sha256(''))",
        )
        .await
        .unwrap();
    let trails = database
        .texts("SELECT relname::text AS text FROM pg_class WHERE relkind IN ('r', 'p') AND relname ~ 'audit_(events|signed_heads)$'");
    let trails = trails.await.unwrap();
    assert_eq!(trails.len(), 4);
    for trail in trails {
        for change in ["UPDATE $ SET at = now()", "DELETE FROM $", "TRUNCATE $", "TRUNCATE $ CASCADE"] {
            let error = database.execute(&change.replace('$', &trail)).await.unwrap_err().to_string();
            assert_eq!(error, format!("rows of {trail} are only ever added"), "{change}");
        }
        assert_eq!(database.count(&format!("SELECT count(*) FROM {trail}")).await.unwrap(), 1);
    }
    // Neither by way of the account.
    for change in ["TRUNCATE accounts CASCADE", "DELETE FROM accounts"] {
        assert!(database.execute(change).await.is_err(), "{change}");
    }
}
