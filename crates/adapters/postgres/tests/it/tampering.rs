//! Whoever may write every table, and holds no signing key, is found out.

use std::sync::Arc;

use portal_accounts::contract::provision;
use portal_audit::contract::{inspecting, operator};
use portal_audit::{
    ChainReader, Finding, Head, HeadSigner, HeadVerifier, Inspector, LinkRange, SignHeads, Signature, SignedHead,
    SigningNews, Trail, Turn, Verdict,
};
use portal_kernel::Id;
use portal_postgres::PgStore;
use portal_postgres::testing::TestDatabase;
use portal_testkit::{CountingIds, FixedClock};

use crate::audit_chains::record;
use crate::support::{audit, database};

/// Signs with a secret byte: the forger of these tests does not know it.
struct Key(u8);

impl HeadSigner for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        let sum = message.iter().fold(u64::from(self.0), |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(5)
        });
        Signature::from_bytes(&[sum.to_be_bytes(); 8].concat()).expect("64 bytes")
    }
}

impl HeadVerifier for Key {
    fn is_valid(&self, message: &[u8], signature: &Signature) -> bool {
        self.sign(message) == *signature
    }
}

struct World {
    database: TestDatabase,
    store: Arc<PgStore>,
    trail: Trail,
    ids: CountingIds,
    /// What was told outside of the database.
    elsewhere: Vec<SignedHead>,
}

impl World {
    /// Ten records in the trail of an account, or of the platform; the head was signed at the fourth and the eighth.
    async fn new(of_account: bool) -> Self {
        let database = database().await;
        let store = Arc::new(database.store(4).expect("a store"));
        let account = provision(&*store, 1).await.personal_account;
        let trail = if of_account { Trail::Account(account) } else { Trail::Platform };
        let mut world = Self { database, store, trail, ids: CountingIds::default(), elsewhere: Vec::new() };
        for number in 1..=10 {
            world.append(trail).await;
            if number == 4 || number == 8 {
                world.sign().await;
            }
        }
        world
    }

    async fn append(&self, trail: Trail) {
        let mut tx = audit(&self.store).await;
        tx.audit().record(record(&self.ids, trail.account())).await.expect("a record");
        tx.commit().await.expect("a commit");
    }

    async fn sign(&mut self) {
        let finding = self.try_to_sign().await;
        assert_eq!(finding, None);
    }

    /// What keeps the signer from signing.
    async fn try_to_sign(&mut self) -> Option<Finding> {
        let (signer, verifier) = (Arc::new(Key(7)), Arc::new(Key(7)));
        let signing = SignHeads::new(self.store.clone(), signer, verifier, Arc::new(FixedClock::default()));
        let mut broken = None;
        let tell = |news| match news {
            SigningNews::Signed(head) => self.elsewhere.push(head),
            SigningNews::Broken { finding, .. } => broken = Some(finding),
        };
        let turn = signing.run(tell).await.expect("signatures");
        assert_eq!(turn, Turn { unfinished: 0, is_round: true });
        broken
    }

    /// Statements of a forger, who is not held up by triggers. `$` stands for the prefix of the trail's tables.
    async fn tamper(&self, statements: &str) {
        let prefix = if self.trail == Trail::Platform { "platform_audit" } else { "audit" };
        let statements = statements.replace('$', prefix);
        let all = format!(
            "ALTER TABLE {prefix}_events DISABLE TRIGGER USER; ALTER TABLE {prefix}_signed_heads DISABLE TRIGGER USER; {statements}"
        );
        self.database.execute(&all).await.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// Computes all hashes anew, and the head with them, from what the rows say now.
    async fn forge(&self) {
        let range = LinkRange { trail: self.trail, after: None, since: None, limit: 99 };
        let mut head = Head::EMPTY;
        for found in self.store.links(&inspecting(), range).await.expect("a chain") {
            let (id, forged) = (found.entry.id, head.append(found.entry));
            head = forged.head();
            let id = id.uuid();
            self.tamper(&format!(
                "UPDATE $_events SET seq = {}, hash = '\\x{}' WHERE id = '{id}'",
                forged.seq, forged.hash
            ))
            .await;
        }
        self.tamper(&format!("UPDATE $_heads SET seq = {}, hash = '\\x{}'", head.seq, head.hash)).await;
    }

    async fn verify(&self, elsewhere: &[SignedHead]) -> Verdict {
        let inspector = Inspector { chains: self.store.clone(), verifier: Arc::new(Key(7)) };
        inspector.verify(&operator(), self.trail, elsewhere).await.expect("a verdict")
    }

    async fn finding(&self) -> Option<Finding> {
        self.verify(&[]).await.finding
    }
}

async fn both() -> [World; 2] {
    [World::new(true).await, World::new(false).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_touched_is_good() {
    for world in both().await {
        assert_eq!(world.verify(&[]).await, Verdict { records: 10, vouched: 8, signed: 2, finding: None });
        assert_eq!(world.verify(&world.elsewhere).await, Verdict { records: 10, vouched: 8, signed: 4, finding: None });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_found_whatever_was_changed() {
    let changes = [
        "at = at + interval '1 microsecond'",
        "actor_kind = 'system'",
        "actor_id = 'usr_2'",
        "actor_behind = 'somebody'",
        "credential_id = 'sess_9'",
        "action = 'api_key.revoked'",
        "subject = 'key_2'",
        "effect = 'opened'",
        "request_id = gen_random_uuid()",
        "address_prefix = '192.0.2.0/24'",
        "reason = ''",
        "id = gen_random_uuid()",
        "hash = sha256('')",
    ];
    for world in both().await {
        for change in changes {
            world.tamper("CREATE TABLE before AS SELECT * FROM $_events WHERE seq = 3").await;
            world.tamper(&format!("UPDATE $_events SET {change} WHERE seq = 3")).await;
            assert_eq!(world.finding().await, Some(Finding::Changed { seq: 3 }), "{change}");
            world
                .tamper(
                    "DELETE FROM $_events WHERE seq = 3; INSERT INTO $_events SELECT * FROM before; DROP TABLE before",
                )
                .await;
            assert_eq!(world.finding().await, None, "{change}, undone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_row_is_found() {
    for world in both().await {
        world.tamper("DELETE FROM $_events WHERE seq = 5").await;
        assert_eq!(world.finding().await, Some(Finding::Missing { seq: 5 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_rows_are_found() {
    for world in both().await {
        world
            .tamper(
                "UPDATE $_events SET seq = 99 WHERE seq = 5; UPDATE $_events SET seq = 5 WHERE seq = 6;
                 UPDATE $_events SET seq = 6 WHERE seq = 99",
            )
            .await;
        assert_eq!(world.finding().await, Some(Finding::Reordered { seq: 5 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_put_in_is_found() {
    for world in both().await {
        world
            .tamper(
                "ALTER TABLE $_events DROP CONSTRAINT $_events_seq_key;
                 CREATE TABLE copy AS SELECT * FROM $_events WHERE seq = 5;
                 UPDATE copy SET id = gen_random_uuid();
                 INSERT INTO $_events SELECT * FROM copy",
            )
            .await;
        let finding = world.finding().await;
        // Which of the two is the right one is for their ids to say, and those are random.
        assert!(matches!(finding, Some(Finding::Surplus { seq: 5 } | Finding::Changed { seq: 5 })), "{finding:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_chain_is_found() {
    for world in both().await {
        world.tamper("DELETE FROM $_events WHERE seq > 6").await;
        assert_eq!(world.finding().await, Some(Finding::CutOff { seq: 6, expected: 10 }));
        // The forger makes the head fit.
        world.forge().await;
        assert_eq!(world.finding().await, Some(Finding::BeyondEnd { seq: 6, signed: 8 }));
        // And takes the signature away: then only what was kept elsewhere tells.
        world.tamper("DELETE FROM $_signed_heads WHERE seq > 6").await;
        assert_eq!(world.finding().await, None);
        assert_eq!(world.verify(&world.elsewhere).await.finding, Some(Finding::BeyondEnd { seq: 6, signed: 8 }));
        // The same for all of it.
        world.tamper("DELETE FROM $_signed_heads; DELETE FROM $_events; DELETE FROM $_heads").await;
        assert_eq!(world.verify(&world.elsewhere).await.finding, Some(Finding::BeyondEnd { seq: 0, signed: 4 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_re_headed_chain_is_found() {
    for world in both().await {
        world.tamper("UPDATE $_events SET reason = 'another' WHERE seq = 5").await;
        world.forge().await;
        assert_eq!(world.finding().await, Some(Finding::Rewritten { seq: 8 }));
        world.tamper("DELETE FROM $_signed_heads WHERE seq = 8").await;
        assert_eq!(world.finding().await, None, "nothing in the database tells");
        assert_eq!(world.verify(&world.elsewhere).await.finding, Some(Finding::Rewritten { seq: 8 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_fit_is_found() {
    for world in both().await {
        world.tamper("UPDATE $_heads SET hash = sha256('')").await;
        assert_eq!(world.finding().await, Some(Finding::HeadDiffers { seq: 10 }));
        world.tamper("DELETE FROM $_heads").await;
        assert_eq!(world.finding().await, Some(Finding::HeadDiffers { seq: 10 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_signature_is_found() {
    for mut world in both().await {
        world.tamper("UPDATE $_events SET reason = 'another' WHERE seq = 5").await;
        world.forge().await;
        // The forger signs the new chain with another key.
        world.tamper("DELETE FROM $_signed_heads WHERE seq = 8").await;
        let range = LinkRange { trail: world.trail, after: None, since: None, limit: 99 };
        let link = world.store.links(&inspecting(), range).await.unwrap().remove(7);
        let signed = SignedHead::new(&Key(8), world.trail, link.head(), world.elsewhere[0].at);
        world.elsewhere.clear();
        let (column, value) = match world.trail.account() {
            Some(account) => ("account_id, ", format!("'{}', ", account.uuid())),
            None => ("", String::new()),
        };
        world
            .tamper(&format!(
                "INSERT INTO $_signed_heads ({column}seq, hash, at, signature)
                 VALUES ({value}8, '\\x{}', '{}', '\\x{}')",
                link.hash, signed.at, signed.signature
            ))
            .await;
        assert_eq!(world.finding().await, Some(Finding::SignatureInvalid { seq: 8 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_tampered_with_behind_its_last_signature_is_not_signed() {
    for (tampering, forged, expected) in [
        ("UPDATE $_events SET reason = 'another' WHERE seq = 9", false, Finding::Changed { seq: 9 }),
        ("DELETE FROM $_events WHERE seq = 9", false, Finding::Missing { seq: 9 }),
        ("DELETE FROM $_events WHERE seq = 10", false, Finding::CutOff { seq: 9, expected: 10 }),
        ("UPDATE $_events SET at = 'infinity' WHERE seq = 10", false, Finding::Unreadable { seq: 8 }),
        ("UPDATE $_heads SET hash = sha256('')", false, Finding::HeadDiffers { seq: 10 }),
        // Before the last signature, with all hashes computed anew.
        ("UPDATE $_events SET reason = 'another' WHERE seq = 5", true, Finding::Changed { seq: 9 }),
        ("DELETE FROM $_events WHERE seq > 6", true, Finding::BeyondEnd { seq: 6, signed: 8 }),
        ("DELETE FROM $_events WHERE seq > 4", true, Finding::BeyondEnd { seq: 4, signed: 8 }),
    ] {
        for mut world in both().await {
            world.tamper(tampering).await;
            if forged {
                world.forge().await;
            }
            assert_eq!(world.try_to_sign().await, Some(expected), "{tampering}");
            assert_eq!(world.elsewhere.len(), 2, "{tampering}");
        }
    }
}

/// A statement that plants signed heads: of each number with the hash that the expression computes.
fn plant(trail: Trail, rows: &str) -> String {
    let (column, value) = match trail.account() {
        Some(account) => ("account_id, ", format!("'{}', ", account.uuid())),
        None => ("", String::new()),
    };
    format!(
        "INSERT INTO $_signed_heads ({column}seq, hash, at, signature)
         SELECT {value}seq, hash, at::timestamptz, sha256('') || sha256('') FROM {rows} AS rows (seq, hash, at)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_signature_of_any_number_keeps_no_chain_from_being_signed() {
    for mut world in both().await {
        for (seq, at) in [(9, "now()"), (10, "now()"), (11, "'infinity'"), (99, "now()"), (100, "'infinity'")] {
            world.tamper(&plant(world.trail, &format!("(VALUES ({seq}, sha256('planted'), {at}))"))).await;
        }
        let invalid = Some(Finding::SignatureInvalid { seq: 99 });
        assert_eq!(world.try_to_sign().await, invalid);
        assert_eq!(world.elsewhere.last().map(|signed| signed.head.seq), Some(10));
        assert_eq!(world.try_to_sign().await, invalid, "it is told for as long as it is there");
        assert_eq!(world.elsewhere.len(), 3, "nothing grew since");
        assert_eq!(world.finding().await, Some(Finding::SignatureInvalid { seq: 9 }), "it is found all the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_planted_for_the_head_is_told_and_signed_beside() {
    for mut world in both().await {
        world.tamper(&plant(world.trail, "(SELECT seq, hash, now() FROM $_heads)")).await;
        // As whoever signs would have noted it.
        world.tamper("UPDATE $_heads SET signed_hash = hash").await;
        for _ in 0..2 {
            assert_eq!(world.try_to_sign().await, Some(Finding::SignatureInvalid { seq: 10 }));
            assert_eq!(world.elsewhere.len(), 3);
        }
        assert_eq!(world.elsewhere[2].head.seq, 10);
        // The forger takes out what he planted, and what was signed beside it.
        world.tamper("DELETE FROM $_signed_heads WHERE seq = 10; UPDATE $_events SET reason = '' WHERE seq = 9").await;
        world.forge().await;
        assert_eq!(world.finding().await, None);
        assert_eq!(world.verify(&world.elsewhere).await.finding, Some(Finding::Rewritten { seq: 10 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_plants_a_signature_for_each_head_and_notes_it_is_told_at_once() {
    for mut world in both().await {
        let planted = plant(world.trail, "(SELECT NEW.seq, NEW.hash, now())").replace('$', "PLANTED");
        let prefix = if world.trail == Trail::Platform { "platform_audit" } else { "audit" };
        let planted = planted.replace("PLANTED", prefix);
        world
            .database
            .execute(&format!(
                "CREATE FUNCTION plant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 {planted} ON CONFLICT DO NOTHING; NEW.signed_hash := NEW.hash; RETURN NEW; END $$;
                 CREATE TRIGGER plant BEFORE UPDATE ON {prefix}_heads FOR EACH ROW EXECUTE FUNCTION plant()"
            ))
            .await
            .unwrap();
        world.append(world.trail).await;
        assert_eq!(world.try_to_sign().await, Some(Finding::SignatureInvalid { seq: 11 }));
        assert_eq!(world.elsewhere.last().map(|signed| signed.head.seq), Some(11));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_somebody_notes_as_signed_is_signed_and_told() {
    for mut world in both().await {
        world.tamper("UPDATE $_heads SET signed_hash = hash").await;
        assert_eq!(world.try_to_sign().await, Some(Finding::Unsigned { seq: 10 }));
        assert_eq!(world.elsewhere.last().map(|signed| signed.head.seq), Some(10));
        assert_eq!(world.try_to_sign().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_drops_signatures_is_told() {
    for mut world in both().await {
        let prefix = if world.trail == Trail::Platform { "platform_audit" } else { "audit" };
        let drop = format!(
            "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER forget BEFORE INSERT ON {prefix}_signed_heads FOR EACH ROW EXECUTE FUNCTION forget()"
        );
        world.database.execute(&drop).await.unwrap();
        for _ in 0..2 {
            assert_eq!(world.try_to_sign().await, Some(Finding::Unsigned { seq: 10 }));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_head_that_cannot_be_read_keeps_no_other_chain_from_being_signed() {
    let mut world = World::new(true).await;
    world
        .tamper(
            "ALTER TABLE $_signed_heads DROP CONSTRAINT $_signed_heads_signature_length;
                 UPDATE $_signed_heads SET signature = '' WHERE seq = 8",
        )
        .await;
    world.append(Trail::Platform).await;
    assert_eq!(world.try_to_sign().await, Some(Finding::Unreadable { seq: 0 }));
    let last = world.elsewhere.last().unwrap();
    assert_eq!((last.trail, last.head.seq), (Trail::Platform, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_another_account_is_found_in_both() {
    let world = World::new(true).await;
    let other = provision(&*world.store, 2).await.personal_account;
    let moved = format!("UPDATE $_events SET account_id = '{}', seq = 1 WHERE seq = 10", other.uuid());
    world.tamper(&moved).await;
    assert_eq!(world.finding().await, Some(Finding::CutOff { seq: 9, expected: 10 }));
    let world = World { trail: Trail::Account(other), ..world };
    assert_eq!(world.finding().await, Some(Finding::Changed { seq: 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_a_finding_and_stops_nothing_else() {
    for world in both().await {
        world.tamper("UPDATE $_events SET at = 'infinity' WHERE seq = 2").await;
        assert_eq!(world.finding().await, Some(Finding::Unreadable { seq: 0 }));
    }
}
