//! Many at the same time: exactly one of each thing, and everybody is served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portal_accounts::contract::provision;
use portal_accounts::{EndedSessions, Facts, RoleMap, SeenSessions, SignIn, SignedIn, Turns};
use portal_api_keys::contract::{Owner, new};
use portal_api_keys::{ApiKeys, Brand, KeyState};
use portal_audit::{Caller, Provenance};
use portal_authz::{Principal, Role};
use portal_identity::{
    DirectoryError, IdentityDirectory, MockIdentityDirectory, ProviderMembership, ProviderMembershipId,
    ProviderOrganization, ProviderOrganizationId, ProviderSessionId, ProviderUser, ProviderUserId, SessionAuth,
};
use portal_kernel::{IdGen, UserId};
use portal_postgres::PgStore;
use portal_testkit::{CountingEntropy, CountingIds, FixedClock};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{api_keys, database, now, peppers, soon};

fn session(id: &str) -> SessionAuth {
    SessionAuth {
        user_id: ProviderUserId::parse(id).expect("a provider id"),
        session_id: Some(ProviderSessionId::parse("sess_1").expect("a session id")),
        session_status: None,
        actor: None,
        organization: None,
        factor_verification_age: None,
        features: Vec::new(),
        plans: Vec::new(),
        issued_at: None,
        expires_at: now(),
        lenient_questions: false,
    }
}

fn provider_user(id: &ProviderUserId) -> ProviderUser {
    ProviderUser {
        id: id.clone(),
        email: Some(format!("{id}@example.test")),
        email_verified: true,
        first_name: None,
        last_name: None,
        image_url: None,
        banned: false,
        updated_at: now(),
    }
}

fn ended_sessions(store: &Arc<PgStore>) -> Arc<EndedSessions> {
    Arc::new(EndedSessions::new(store.clone(), Arc::new(store.feed()), Arc::new(FixedClock::default())))
}

fn sign_in(store: &Arc<PgStore>, directory: impl IdentityDirectory + 'static) -> Arc<SignIn> {
    Arc::new(SignIn {
        ended_sessions: ended_sessions(store),
        reader: store.clone(),
        store: store.clone(),
        directory: Arc::new(directory),
        facts: facts(Arc::new(CountingIds::default())),
        turns: Turns::default(),
        step_up: true,
        clock_skew: Duration::from_secs(5),
        seen: SeenSessions::new(1_000),
        health: Arc::default(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_concurrent_first_sign_ins_make_one_person() {
    let database = database().await;
    let store = Arc::new(database.store(10).unwrap());
    let mut directory = MockIdentityDirectory::new();
    directory.expect_user().once().returning(|id| Ok(Some(provider_user(id))));
    directory.expect_memberships().once().returning(|_| Ok(Vec::new()));
    let sign_in = sign_in(&store, directory);
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let sign_in = sign_in.clone();
        tasks.spawn(async move { sign_in.sign_in(&session("user_alice"), &Provenance::default()).await });
    }
    let signed_in = soon("a thousand sign-ins", tasks.join_all()).await;
    let users: Vec<UserId> = signed_in.into_iter().map(|outcome| outcome.expect("a sign-in").known.user.id).collect();
    assert_eq!(users.len(), 1000);
    assert!(users.iter().all(|user| *user == users[0]));
    for table in ["users", "accounts", "memberships"] {
        assert_eq!(database.count(&format!("SELECT count(*) FROM {table}")).await.unwrap(), 1, "{table}");
    }
    let told = database.texts("SELECT action AS text FROM audit_events ORDER BY seq").await.unwrap();
    assert_eq!(told, ["user.provisioned", "sign_in.succeeded"]);
    assert_eq!(database.count("SELECT count(*) FROM users WHERE email = 'user_alice@example.test'").await.unwrap(), 1);
}

fn facts(ids: Arc<dyn IdGen>) -> Arc<Facts> {
    Arc::new(Facts { role_map: RoleMap::default(), ids, clock: Arc::new(FixedClock::default()) })
}

/// Two organizations, told to each colleague in another order, and to both at the same moment.
struct Colleagues {
    meet: Barrier,
    created_by: ProviderUserId,
    round: usize,
}

#[async_trait]
impl IdentityDirectory for Colleagues {
    async fn user(&self, id: &ProviderUserId) -> Result<Option<ProviderUser>, DirectoryError> {
        Ok(Some(provider_user(id)))
    }

    async fn memberships(&self, id: &ProviderUserId) -> Result<Vec<ProviderMembership>, DirectoryError> {
        let organization = |name: &str| ProviderOrganization {
            id: ProviderOrganizationId::parse(&format!("org_{name}{}", self.round)).expect("a provider id"),
            name: name.to_owned(),
            created_by: Some(self.created_by.clone()),
            updated_at: now(),
        };
        let role = if *id == self.created_by { "org:admin" } else { "org:member" };
        let member = |name: &str| ProviderMembership {
            id: ProviderMembershipId::parse(&format!("orgmem_{name}_{id}")).expect("a provider id"),
            organization: organization(name),
            user: id.clone(),
            role: role.to_owned(),
            updated_at: now(),
        };
        let mut memberships = vec![member("acme"), member("beta"), member("zeta")];
        if *id == self.created_by {
            memberships.reverse();
        }
        self.meet.wait().await;
        Ok(memberships)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colleagues_who_sign_in_together_share_one_account_and_never_deadlock() {
    let database = database().await;
    let store = Arc::new(database.store(10).unwrap());
    let ids: Arc<dyn IdGen> = Arc::new(CountingIds::default());
    for round in 0..20 {
        let [boss, member] = ["boss", "member"].map(|name| format!("user_{name}{round}"));
        let created_by = ProviderUserId::parse(&boss).unwrap();
        let colleagues = Colleagues { meet: Barrier::new(2), created_by, round };
        let sign_in = Arc::new(SignIn {
            ended_sessions: ended_sessions(&store),
            reader: store.clone(),
            store: store.clone(),
            directory: Arc::new(colleagues),
            facts: facts(ids.clone()),
            turns: Turns::default(),
            step_up: true,
            clock_skew: Duration::from_secs(5),
            seen: SeenSessions::new(1_000),
            health: Arc::default(),
        });
        let mut tasks = JoinSet::new();
        for person in [boss.clone(), member] {
            let sign_in = sign_in.clone();
            tasks.spawn(async move { sign_in.sign_in(&session(&person), &Provenance::default()).await });
        }
        let signed_in = soon("two sign-ins", tasks.join_all()).await;
        let roles = signed_in.into_iter().map(|outcome| roles(&outcome.expect("a sign-in"), &boss));
        let roles: BTreeMap<bool, Vec<Role>> = roles.collect();
        assert_eq!(roles[&true], [Role::Owner; 4], "the creator owns all");
        assert_eq!(roles[&false], [Role::Editor, Role::Editor, Role::Editor, Role::Owner]);
    }
    for (table, expected) in [("users", 40), ("accounts", 40 + 60), ("memberships", 40 + 120)] {
        assert_eq!(database.count(&format!("SELECT count(*) FROM {table}")).await.unwrap(), expected, "{table}");
    }
    let records = "SELECT action || ' ' || count(*) AS text FROM audit_events GROUP BY action ORDER BY action";
    assert_eq!(
        database.texts(records).await.unwrap(),
        ["account.created 60", "membership.created 120", "sign_in.succeeded 1", "user.provisioned 40"]
    );
}

/// Whether it is the boss, and the roles from least to most.
fn roles(signed_in: &SignedIn, boss: &str) -> (bool, Vec<Role>) {
    let Principal::User(user) = &signed_in.principal else { panic!("not a person: {:?}", signed_in.principal) };
    let mut roles: Vec<_> = user.roles.iter().map(|(_, role)| role).collect();
    roles.sort();
    (signed_in.known.user.provider_id.as_str() == boss, roles)
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_revocations_record_once() {
    let database = database().await;
    let store = Arc::new(database.store(10).unwrap());
    let owner = Owner(provision(&*store, 1).await);
    let key = owner.key(1);
    let mut tx = api_keys(&store).await;
    tx.keys().insert(&owner.may_create(), new(&key)).await.unwrap();
    tx.commit().await.unwrap();
    let keys = Arc::new(ApiKeys {
        store: store.clone(),
        reader: store.clone(),
        peppers: Arc::new(peppers()),
        brand: Brand::default(),
        ids: Arc::new(CountingIds::default()),
        entropy: Arc::new(CountingEntropy::default()),
        clock: Arc::new(FixedClock::default()),
        most_keys: 100,
    });
    let who = Arc::new(Caller { principal: owner.principal(), provenance: Provenance::default() });
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let (keys, who) = (keys.clone(), who.clone());
        tasks.spawn(async move { keys.revoke(&who, key.id).await });
    }
    for outcome in soon("a hundred revocations", tasks.join_all()).await {
        let revoked = outcome.expect("a revocation");
        assert_eq!((revoked.state(now()), revoked.revision), (KeyState::Revoked, 2));
    }
    let records = "SELECT count(*) FROM audit_events WHERE action = 'api_key.revoked'";
    assert_eq!(database.count(records).await.unwrap(), 1);
}
