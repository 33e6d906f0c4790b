//! Handlers over mocked ports, without a database: what they make of each outcome of a use case.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use actix_web::dev::ServiceResponse;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, http::StatusCode};
use async_trait::async_trait;
use portal_accounts::{
    Accounts, AccountsTx, EndedSessions, Facts, FailedSignIns, KnownMembership, KnownUser, MockAccountReader,
    MockEndedSessionReader, MockSignInReader, Organizations, PersonalSettings, Profile, Profiles, RoleMap,
    SeenSessions, Sessions, SignIn, Turns, User, UserState, Versioned,
};
use portal_api_keys::{
    ApiKey, ApiKeys, ApiKeysTx, Brand, KeyEnvironment, KeyFeed, KeyName, KeyPolicy, KeyRates, KeySecret, KeySecrets,
    Kid, MockApiKeyReader, MockCredentialReader, MockKeyFeedReader, MockServiceCredentialReader, PepperVersion,
    Peppers, Services, Verifier,
};
use portal_audit::{AuditTrail, MockAuditReader};
use portal_authz::{Role, Unchecked};
use portal_http_api::Api;
use portal_http_kit::{HttpMetrics, Kit, Observe, RateLimitSettings, RateLimits, ServiceLog, TrustedProxies};
use portal_identity::{
    Auth, AuthReason, MockIdentityDirectory, MockOrganizationAdmin, MockRequestAuthenticator, MockSessionControl,
    ProviderUserId, RequestState, SessionAuth, SessionStatus, SignedOut, TokenType, TokenVerificationErrorReason,
};
use portal_kernel::{Begin, Clock, Ping, StoreError};
use portal_testkit::{CountingEntropy, CountingIds, FixedClock, SteeredFeed};
use serde_json::Value;

const ACCOUNT: &str = "acc_00000000000000000000000001";
const KEY: &str = "key_00000000000000000000000001";

/// A store that is down.
struct Down;

fn down() -> StoreError {
    StoreError::Unavailable("connection refused by db.internal".into())
}

#[async_trait]
impl Begin<dyn AccountsTx> for Down {
    async fn begin(&self) -> Result<Box<dyn AccountsTx>, StoreError> {
        Err(down())
    }
}

#[async_trait]
impl Begin<dyn ApiKeysTx> for Down {
    async fn begin(&self) -> Result<Box<dyn ApiKeysTx>, StoreError> {
        Err(down())
    }
}

#[async_trait]
impl Ping for Down {
    async fn ping(&self) -> Result<(), StoreError> {
        Err(down())
    }
}

/// Ports to prepare; those left alone refuse to be called.
struct Ports {
    state: RequestState,
    sign_in: MockSignInReader,
    accounts: MockAccountReader,
    keys: MockApiKeyReader,
    audit: MockAuditReader,
    /// Whether the store tells which sessions ended.
    ends_are_known: bool,
}

impl Ports {
    /// An owner is signed in.
    fn signed_in() -> Self {
        let mut sign_in = MockSignInReader::new();
        sign_in.expect_find().returning(|_, _| Ok(Some(Arc::new(owner()))));
        let state = RequestState::SignedIn { auth: Auth::Session(Arc::new(session())), headers: Vec::new() };
        let (accounts, keys, audit) = (MockAccountReader::new(), MockApiKeyReader::new(), MockAuditReader::new());
        Self { state, sign_in, accounts, keys, audit, ends_are_known: true }
    }

    fn signed_out(reason: AuthReason) -> Self {
        let headers = vec![("x-clerk-auth-status".to_owned(), "signed-out".to_owned())];
        let state = RequestState::SignedOut(SignedOut {
            reason,
            message: String::new(),
            token_type: Some(TokenType::SessionToken),
            headers,
            outage: false,
        });
        Self { state, ..Self::signed_in() }
    }

    async fn answer(self, request: TestRequest) -> (StatusCode, Value, ServiceResponse) {
        let state = self.state;
        let mut authenticator = MockRequestAuthenticator::new();
        authenticator.expect_authenticate_request().returning(move |_, _| state.clone());
        let peppers = Arc::new(Peppers::new([(PepperVersion::parse(1).unwrap(), vec![7; 32].into())]).unwrap());
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        let facts = Arc::new(Facts { role_map: RoleMap::default(), ids: ids.clone(), clock: clock.clone() });
        let accounts = Arc::new(self.accounts);
        let mut ended = MockEndedSessionReader::new();
        let is_known = self.ends_are_known;
        ended.expect_ended_since().returning(move |_, _| if is_known { Ok(Vec::new()) } else { Err(down()) });
        ended.expect_epochs_since().returning(|_, _| Ok(Vec::new()));
        ended.expect_epoch_of().returning(|_, _| Ok(None));
        let sign_in = SignIn {
            ended_sessions: Arc::new(EndedSessions::new(Arc::new(ended), SteeredFeed::current(), clock.clone())),
            reader: Arc::new(self.sign_in),
            store: Arc::new(Down),
            directory: Arc::new(MockIdentityDirectory::new()),
            facts: facts.clone(),
            turns: Turns::default(),
            step_up: true,
            clock_skew: std::time::Duration::from_secs(5),
            seen: SeenSessions::new(10),
            health: Arc::default(),
        };
        let verifier = Arc::new(Verifier {
            reader: Arc::new(MockCredentialReader::new()),
            peppers: peppers.clone(),
            brand: Brand::default(),
            rates: Arc::new(KeyRates::new(10)),
            newer_digests: Arc::default(),
            last_used: Arc::default(),
            clock: clock.clone(),
        });
        let services = Services {
            reader: Arc::new(MockServiceCredentialReader::new()),
            peppers: peppers.clone(),
            clock: clock.clone(),
            last_used: Arc::default(),
            legacy: None,
        };
        let keys = ApiKeys {
            store: Arc::new(Down),
            reader: Arc::new(self.keys),
            peppers,
            brand: Brand::default(),
            ids: ids.clone(),
            entropy: Arc::new(CountingEntropy::default()),
            clock,
            most_keys: 100,
        };
        let control = Arc::new(MockSessionControl::new());
        let sessions = Sessions { control, store: Arc::new(Down), facts: facts.clone(), health: Arc::default() };
        let admin = Arc::new(MockOrganizationAdmin::new());
        let organizations = Organizations { admin, reader: accounts.clone(), store: Arc::new(Down), facts };
        let profiles = Profiles { store: Arc::new(Down), ids: ids.clone(), clock: Arc::new(FixedClock::default()) };
        let kit = Kit {
            authenticator: Arc::new(authenticator),
            failed_sign_ins: Arc::new(FailedSignIns::new(Arc::new(Down), sign_in.facts.clone())),
            sign_in: Arc::new(sign_in),
            services: Arc::new(services),
            verifier: verifier.clone(),
            service_log: ServiceLog::default(),
            ids,
            public_origin: "https://portal.example.com".to_owned(),
            trusted_proxies: TrustedProxies::default(),
            rate_limits: Arc::new(RateLimits::new(&LIMITS, Arc::new(FixedClock::default()))),
        };
        let api = Api {
            kit: Arc::new(kit),
            accounts: Arc::new(Accounts::new(accounts)),
            profiles: Arc::new(profiles),
            organizations: Arc::new(organizations),
            sessions: Arc::new(sessions),
            keys: Arc::new(keys),
            audit: Arc::new(AuditTrail { reader: Arc::new(self.audit), clock: Arc::new(FixedClock::default()) }),
            verifier,
            key_feed: Arc::new(KeyFeed { reader: Arc::new(MockKeyFeedReader::new()) }),
            revocation_delays: None,
            secret_scanning: None,
            webhooks: None,
            database: Arc::new(Down),
            metrics: Arc::new(HttpMetrics::new(Vec::new(), Vec::new()).unwrap()),
            open_metrics: false,
        };
        let app = init_service(App::new().configure(api.mount()).wrap(Observe)).await;
        let response = call_service(&app, request.to_request()).await;
        let (status, request) = (response.status(), response.request().clone());
        let headers = response.headers().clone();
        let body = read_body_json(response).await;
        let mut empty = actix_web::HttpResponse::build(status).finish();
        *empty.headers_mut() = headers;
        (status, body, ServiceResponse::new(request, empty))
    }
}

const LIMITS: RateLimitSettings = RateLimitSettings {
    user_reads: 100,
    user_writes: 10,
    user_provider_calls: 10,
    address_reads: 100,
    address_writes: 10,
    legacy_services: 0,
    entries: 1_000,
};

fn session() -> SessionAuth {
    SessionAuth {
        user_id: ProviderUserId::parse("user_alice").unwrap(),
        session_id: None,
        session_status: None,
        actor: None,
        organization: None,
        factor_verification_age: None,
        features: Vec::new(),
        plans: Vec::new(),
        issued_at: None,
        expires_at: FixedClock::default().now(),
        lenient_questions: false,
    }
}

fn owner() -> KnownUser {
    let (account, now) = (ACCOUNT.parse().unwrap(), FixedClock::default().now());
    let membership =
        KnownMembership { account, role: Some(Role::Owner), provider_role: None, provider_organization: None };
    let user = User {
        id: "usr_00000000000000000000000001".parse().unwrap(),
        provider_id: session().user_id,
        personal_account: account,
        state: UserState::Active,
        copy: Some(Versioned { content: Profile::default(), version: now, doubtful: false }),
        settings: PersonalSettings::default(),
        asked_at: Some(now),
        memberships_asked_at: None,
        created_at: now,
    };
    KnownUser { user, memberships: vec![membership] }
}

fn key(account: &str) -> ApiKey {
    let created_at = FixedClock::default().now();
    let kid = Kid::parse("abcdefghijkl").unwrap();
    ApiKey {
        id: KEY.parse().unwrap(),
        account: account.parse().unwrap(),
        name: KeyName::parse("ci").unwrap(),
        environment: KeyEnvironment::Test,
        policy: KeyPolicy::default(),
        secrets: KeySecrets::first(KeySecret { kid, created_at, expires_at: None, revoked_at: None }),
        made_by: owner().user.id,
        created_at,
        expires_at: None,
        disabled_at: None,
        revoked_at: None,
        last_used_at: None,
        revision: 3,
    }
}

#[actix_web::test]
async fn a_key_is_rendered_with_its_prefix_and_without_a_secret() {
    let mut ports = Ports::signed_in();
    ports.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(key(ACCOUNT)))));
    let (status, body, _) = ports.answer(TestRequest::get().uri(&format!("/v1/api-keys/{KEY}"))).await;
    assert_eq!(status, 200);
    let expected = serde_json::json!({
        "id": KEY, "account_id": ACCOUNT, "name": "ci", "environment": "test", "prefix": "cort_test_abcdefghijkl",
        "kid": "abcdefghijkl", "kids": [{ "kid": "abcdefghijkl", "created_at": "2026-01-01T00:00:00Z" }],
        "state": "active", "scopes": ["inference"], "models": [], "networks": [], "rate_limits": [],
        "created_by": "usr_00000000000000000000000001",
        "created_at": "2026-01-01T00:00:00Z", "revision": 3,
    });
    assert_eq!(body, expected);
}

#[actix_web::test]
async fn somebody_elses_key_and_no_key_are_the_same_404() {
    let mut theirs = Ports::signed_in();
    theirs.keys.expect_find().returning(|_| Ok(Some(Unchecked::new(key("acc_00000000000000000000000002")))));
    let mut nobodys = Ports::signed_in();
    nobodys.keys.expect_find().returning(|_| Ok(None));
    let mut bodies = Vec::new();
    for ports in [theirs, nobodys] {
        let (status, mut body, _) = ports.answer(TestRequest::get().uri(&format!("/v1/api-keys/{KEY}"))).await;
        assert_eq!(status, 404);
        body.as_object_mut().unwrap().remove("request_id");
        bodies.push(body);
    }
    assert_eq!(bodies[0], bodies[1]);
}

#[actix_web::test]
async fn a_store_that_is_down_is_503_and_keeps_its_cause_to_itself() {
    let mut reading = Ports::signed_in();
    reading.accounts.expect_find().returning(|_| Err(down()));
    let mut signing_in = Ports::signed_in();
    signing_in.sign_in = MockSignInReader::new();
    signing_in.sign_in.expect_find().returning(|_, _| Err(down()));
    for ports in [reading, signing_in] {
        let (status, body, response) = ports.answer(TestRequest::get().uri(&format!("/v1/accounts/{ACCOUNT}"))).await;
        assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("unavailable")));
        assert!(response.headers().contains_key("retry-after"));
        assert!(!body.to_string().contains("db.internal"));
    }
    let create = TestRequest::post()
        .uri(&format!("/v1/accounts/{ACCOUNT}/api-keys"))
        .set_json(serde_json::json!({ "name": "x" }));
    let (status, body, _) = Ports::signed_in().answer(create).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("unavailable")));
}

#[actix_web::test]
async fn while_nobody_knows_which_sessions_ended_nobody_is_called_signed_in_or_out() {
    let ports = Ports { ends_are_known: false, ..Ports::signed_in() };
    let (status, body, response) = ports.answer(TestRequest::get().uri("/v1/auth/status")).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("unavailable")));
    assert!(response.headers().contains_key("retry-after"));
    let signed_out = Ports { ends_are_known: false, ..Ports::signed_out(AuthReason::SessionTokenAndUatMissing) };
    let (status, body, _) = signed_out.answer(TestRequest::get().uri("/v1/auth/status")).await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("signed-out")));
}

#[actix_web::test]
async fn a_first_sign_in_that_cannot_be_written_is_named() {
    let mut ports = Ports::signed_in();
    ports.sign_in = MockSignInReader::new();
    ports.sign_in.expect_find().returning(|_, _| Ok(None));
    let (status, body, _) = ports.answer(TestRequest::get().uri("/v1/me")).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("provisioning_failed")));
}

#[actix_web::test]
async fn a_refusal_carries_the_reason_and_the_headers_of_the_verdict() {
    let reason = AuthReason::Token(TokenVerificationErrorReason::TokenInvalidSignature);
    let (status, body, response) = Ports::signed_out(reason).answer(TestRequest::get().uri("/v1/me")).await;
    assert_eq!((status.as_u16(), body["reason"].as_str()), (401, Some("token-invalid-signature")));
    assert_eq!(response.headers().get("x-clerk-auth-status").unwrap(), "signed-out");
}

#[actix_web::test]
async fn what_is_our_fault_is_never_401() {
    for reason in [
        TokenVerificationErrorReason::RemoteJwkFailedToLoad,
        TokenVerificationErrorReason::SecretKeyInvalid,
        TokenVerificationErrorReason::JwkFailedToResolve,
        TokenVerificationErrorReason::LocalJwkMissing,
    ] {
        for path in ["/v1/me", "/v1/auth/status"] {
            let ports = Ports::signed_out(AuthReason::Token(reason));
            let (status, body, _) = ports.answer(TestRequest::get().uri(path)).await;
            assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("identity_unavailable")), "{reason}");
        }
    }
}

#[actix_web::test]
async fn a_pending_session_reads_nothing() {
    let mut ports = Ports::signed_in();
    let pending = SessionAuth { session_status: Some(SessionStatus::Pending), ..session() };
    ports.state = RequestState::SignedIn { auth: Auth::Session(Arc::new(pending)), headers: Vec::new() };
    ports.sign_in = MockSignInReader::new();
    ports.sign_in.expect_find().never();
    let (status, body, _) = ports.answer(TestRequest::get().uri("/v1/me")).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (401, Some("session_pending")));
}

#[actix_web::test]
async fn readiness_follows_the_database() {
    let (status, _, _) = Ports::signed_in().answer(TestRequest::get().uri("/readyz")).await;
    assert_eq!(status, 503);
    let (status, _, _) = Ports::signed_in().answer(TestRequest::get().uri("/livez")).await;
    assert_eq!(status, 200);
}
