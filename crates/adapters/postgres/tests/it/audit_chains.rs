//! Chains beside each other, under writers that meet, and through the migration that began them.

use std::sync::Arc;

use portal_accounts::contract::provision;
use portal_audit::contract::{inspecting, operator, signing};
use portal_audit::{
    Actor, AuditAction, AuditEntry, AuditRecord, ChainReader, Effect, Hash, Head, HeadVerifier, Inspector, LinkRange,
    MockHeadVerifier, Provenance, Subject, Trail, Verdict,
};
use portal_kernel::{AccountId, AuditEventId, Id, IdGen};
use portal_postgres::testing::{TestDatabase, revert_through};
use portal_postgres::{PgStore, migrate};
use portal_testkit::CountingIds;
use tokio::task::JoinSet;

use crate::support::{audit, database, now, soon, store};

/// The version of the migration that chained the records.
const CHAINED: &str = "20261121000900";

pub(crate) fn record(ids: &CountingIds, account: Option<AccountId>) -> AuditRecord {
    AuditRecord {
        id: AuditEventId::from_uuid(ids.uuid()),
        at: now(),
        account,
        actor: Actor { kind: "user", id: "usr_00000000000000000000000001".to_owned(), behind: None },
        action: AuditAction::ApiKeyCreated,
        subject: Subject::User("usr_00000000000000000000000001".parse().expect("an id")),
        effect: Effect::Done,
        provenance: Provenance::default(),
    }
}

/// Without any signature, which none of these tests has.
pub(crate) async fn verdict(store: &Arc<PgStore>, trail: Trail) -> Verdict {
    let verifier: Arc<dyn HeadVerifier> = Arc::new(MockHeadVerifier::new());
    let inspector = Inspector { chains: store.clone(), verifier };
    inspector.verify(&operator(), trail, &[]).await.expect("a verdict")
}

fn good(records: i64) -> Verdict {
    Verdict { records, vouched: 0, signed: 0, finding: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_meet_at_two_accounts_in_both_orders_do_not_deadlock_and_leave_valid_chains() {
    let database = database().await;
    let store = Arc::new(database.store(10).unwrap());
    let accounts = [provision(&*store, 1).await.personal_account, provision(&*store, 2).await.personal_account];
    let ids = Arc::new(CountingIds::default());
    let mut tasks = JoinSet::new();
    for writer in 0..200 {
        let (store, ids) = (store.clone(), ids.clone());
        tasks.spawn(async move {
            let mut trails = [Some(accounts[0]), Some(accounts[1]), None];
            if writer % 2 == 0 {
                trails.reverse();
            }
            let mut tx = audit(&store).await;
            for account in trails {
                tx.audit().record(record(&ids, account)).await.expect("a record");
            }
            if writer % 5 == 0 { tx.rollback().await } else { tx.commit().await }.expect("the transaction ends");
        });
    }
    soon("two hundred writers", tasks.join_all()).await;
    for trail in [Trail::Account(accounts[0]), Trail::Account(accounts[1]), Trail::Platform] {
        assert_eq!(verdict(&store, trail).await, good(160), "{trail}");
    }
    let deadlocks = "SELECT deadlocks AS count FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.count(deadlocks).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_verified_while_others_write_to_it() {
    let database = database().await;
    let store = Arc::new(database.store(4).unwrap());
    let trail = Trail::Account(provision(&*store, 1).await.personal_account);
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            let ids = CountingIds::default();
            for _ in 0..300 {
                let mut tx = audit(&store).await;
                tx.audit().record(record(&ids, trail.account())).await.expect("a record");
                tx.commit().await.expect("a commit");
            }
        }
    });
    let mut verified = 0;
    while !writing.is_finished() || verified == 0 {
        assert_eq!(verdict(&store, trail).await.finding, None);
        verified += 1;
    }
    writing.await.unwrap();
    assert_eq!(verdict(&store, trail).await, good(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_takes_three_statements() {
    let (database, store) = store().await;
    let account = Some(provision(&store, 1).await.personal_account);
    database
        .execute(
            "CREATE TABLE seen (text text); CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN NULL; END $$;
            CREATE TRIGGER look AFTER INSERT ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION look();
            CREATE TRIGGER look AFTER UPDATE ON audit_heads FOR EACH STATEMENT EXECUTE FUNCTION look()",
        )
        .await
        .unwrap();
    let ids = CountingIds::default();
    let mut tx = audit(&store).await;
    for _ in 0..5 {
        tx.audit().record(record(&ids, account)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let seen = database.texts("SELECT text || ' ' || count(*) AS text FROM seen GROUP BY text ORDER BY text").await;
    // The head is locked by an insert that finds it, and moved by an update.
    assert_eq!(seen.unwrap(), ["audit_events INSERT 1", "audit_heads UPDATE 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_records_touches_no_chain() {
    let (database, store) = store().await;
    provision(&store, 1).await;
    audit(&store).await.commit().await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM audit_heads").await.unwrap(), 0);
    assert_eq!(store.head(&inspecting(), Trail::Platform).await.unwrap(), None);
}

/// The migration computes the same hashes as the program, and what is written after it goes on where it ended.
#[tokio::test(flavor = "multi_thread")]
async fn records_from_before_the_chain_are_chained_by_the_migration() {
    let database = database().await;
    let target = database.target().unwrap();
    let store = Arc::new(database.store(4).unwrap());
    let accounts = [provision(&*store, 1).await.personal_account, provision(&*store, 2).await.personal_account];
    revert_through(&target, CHAINED).await.unwrap();
    let reason = "it''s \"quoted\"; -- \u{1f511}";
    for (table, column, value) in [("audit_events", "account_id, ", "id, "), ("platform_audit_events", "", "")] {
        // Some with all fields, some with none that can be left out; ids in another order than the rows.
        let from = if column.is_empty() { "(SELECT 1) AS one" } else { "accounts" };
        database
            .execute(&format!(
                "INSERT INTO {table} ({column}id, at, actor_kind, actor_id, action, subject)
                 SELECT {value}gen_random_uuid(), '1969-12-31 23:59:59.999999Z', 'system', 'sign-in', 'user.provisioned', ''
                 FROM {from}, generate_series(1, 5);
                 INSERT INTO {table} ({column}id, at, actor_kind, actor_id, actor_behind, action, subject, request_id,
                     address_prefix, reason)
                 SELECT {value}gen_random_uuid(), '2026-02-03 04:05:06.123456Z', 'agent', 'usr_1', 'user_2', 'a', 'b',
                     gen_random_uuid(), '192.0.2.0/24', '{reason}'
                 FROM {from}, generate_series(1, 5)"
            ))
            .await
            .unwrap();
    }
    migrate(&target).await.unwrap();
    let store = Arc::new(database.store(4).unwrap());
    let ids = CountingIds::default();
    for trail in [Trail::Account(accounts[0]), Trail::Account(accounts[1]), Trail::Platform] {
        assert_eq!(verdict(&store, trail).await, good(10), "{trail}");
        let mut tx = audit(&store).await;
        tx.audit().record(record(&ids, trail.account())).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(verdict(&store, trail).await, good(11), "{trail}");
    }
    let change = "UPDATE audit_events SET reason = 'another'";
    assert!(database.execute(change).await.unwrap_err().to_string().contains("only ever added"), "guarded again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_a_head_that_moved_meanwhile_is_kept() {
    let (_database, store) = store().await;
    let account = provision(&store, 1).await.personal_account;
    let ids = CountingIds::default();
    let mut tx = audit(&store).await;
    tx.audit().record(record(&ids, Some(account))).await.unwrap();
    tx.commit().await.unwrap();
    let mut signing_tx = audit(&store).await;
    let found = signing_tx.signed_heads().unsigned(&signing(), None, 9).await.unwrap();
    let trail = found[0].trail;
    let head = signing_tx.signed_heads().head(&signing(), trail).await.unwrap().unwrap();
    // Whoever signs holds no lock that a writer waits for.
    let mut tx = audit(&store).await;
    tx.audit().record(record(&ids, Some(account))).await.unwrap();
    soon("a record", tx.commit()).await.unwrap();
    let signature = portal_audit::Signature::from_bytes(&[7; 64]).unwrap();
    let signed = portal_audit::SignedHead { trail, head, at: now(), signature };
    assert!(signing_tx.signed_heads().add(&signing(), signed).await.unwrap());
    signing_tx.signed_heads().note(&signing(), vec![(trail, head)]).await.unwrap();
    signing_tx.commit().await.unwrap();
    let mut tx = audit(&store).await;
    assert_eq!(
        tx.signed_heads().unsigned(&signing(), None, 9).await.unwrap().len(),
        1,
        "what came since is not signed"
    );
    tx.rollback().await.unwrap();
    assert_eq!(store.signed_heads(&inspecting(), trail, 1..=9, 9).await.unwrap(), [signed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_are_those_of_the_domain() {
    let (_database, store) = store().await;
    let trail = Trail::Account(provision(&store, 1).await.personal_account);
    let record = record(&CountingIds::default(), trail.account());
    let mut tx = audit(&store).await;
    tx.audit().record(record.clone()).await.unwrap();
    tx.commit().await.unwrap();
    let range = LinkRange { trail, after: None, since: None, limit: 9 };
    let links = store.links(&inspecting(), range).await.unwrap();
    assert_eq!(links, [Head { seq: 0, hash: Hash::ORIGIN }.append(AuditEntry::from(record))]);
}

/// How many rows of these tables were read since the database began, by sessions that are over.
async fn rows_read(database: &TestDatabase) -> i64 {
    let alive =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'portal'";
    soon("sessions that end", async {
        while database.count(alive).await.expect("sessions") > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS count FROM pg_stat_user_tables
        WHERE relname IN ('audit_heads', 'audit_signed_heads')";
    database.count(read).await.expect("counts")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_to_find_heads_follows_how_many_are_not_signed_and_how_many_are_asked_for() {
    let database = database().await;
    database
        .execute(
            "INSERT INTO accounts (id, name, created_at) SELECT gen_random_uuid(), 'Acme', now() FROM generate_series(1, 20000);
             INSERT INTO audit_heads (account_id, seq, hash, signed_hash) SELECT id, 3, sha256(''), sha256('') FROM accounts;
             INSERT INTO audit_signed_heads (account_id, seq, hash, at, signature)
                 SELECT id, seq, sha256(''), now(), sha256('') || sha256('') FROM accounts, generate_series(1, 3) AS seq;
             ANALYZE accounts, audit_heads, audit_signed_heads",
        )
        .await
        .unwrap();
    for (grown, most) in [(0, 5), (5, 50)] {
        let grow = format!(
            "UPDATE audit_heads SET seq = 4, hash = sha256('4')
             WHERE account_id IN (SELECT account_id FROM audit_heads ORDER BY account_id DESC LIMIT {grown})"
        );
        database.execute(&grow).await.unwrap();
        let before = rows_read(&database).await;
        let store = database.store(1).unwrap();
        let mut tx = audit(&store).await;
        assert_eq!(tx.signed_heads().unsigned(&signing(), None, 200).await.unwrap().len(), grown);
        tx.rollback().await.unwrap();
        drop(store);
        let read = rows_read(&database).await - before;
        assert!(read <= most, "{read} for {grown}");
    }
    let before = rows_read(&database).await;
    let store = database.store(1).unwrap();
    let mut tx = audit(&store).await;
    let found = tx.signed_heads().heads(&signing(), None, 200).await.unwrap();
    assert!(found.len() == 200 && found.iter().all(|found| found.is_noted));
    tx.rollback().await.unwrap();
    drop(store);
    let read = rows_read(&database).await - before;
    assert!((600..=1_000).contains(&read), "two signed heads for each, and no more: {read}");
}
