//! Rows that no version of the program writes: a reader says so, names the column, and never repeats the value.

use portal_accounts::contract::{looking_up, provision};
use portal_accounts::{AccountReader, SignInReader};
use portal_api_keys::contract::{Owner, look_up, new, operator};
use portal_api_keys::{
    ApiKeyReader, CredentialReader, KeySecret, KeySecrets, Kid, Networks, NewSecret, NewServiceToken, Overlap,
    Rotation, ServiceCredentialReader, ServiceName, ServiceToken, ServiceTokenReader,
};
use portal_authz::action::ViewSelf;
use portal_authz::{Platform, Scope, Scopes, Unchecked};
use portal_kernel::{PageRequest, StoreError};
use portal_postgres::PgStore;
use portal_postgres::testing::TestDatabase;

use crate::support::{api_keys, chain, now, store};

/// One row in every table that is read.
async fn filled() -> (TestDatabase, PgStore, Owner) {
    let (database, store) = store().await;
    let owner = Owner(provision(&store, 1).await);
    let key = owner.key(1);
    let mut tx = api_keys(&store).await;
    tx.keys().insert(&owner.may_create(), new(&key)).await.expect("a key");
    let token = ServiceToken {
        id: "svc_00000000000000000000000001".parse().expect("an id"),
        name: ServiceName::parse("gateway").expect("a name"),
        scopes: Scopes::from_iter([Scope::KeysVerify]),
        networks: Networks::default(),
        secrets: KeySecrets::first(KeySecret {
            kid: Kid::parse("abcdefghijkl").expect("a kid"),
            created_at: now(),
            expires_at: None,
            revoked_at: None,
        }),
        created_at: now(),
        expires_at: None,
        revoked_at: None,
    };
    let with_digest = new(&key);
    let token = NewServiceToken { token, digest: with_digest.digest, pepper_version: with_digest.pepper_version };
    let name = token.token.name.clone();
    assert!(tx.service_tokens().insert(&operator(), token).await.expect("a token"));
    let secret = NewSecret {
        kid: Kid::parse("mnopqrstuvwx").expect("a kid"),
        digest: with_digest.digest,
        pepper_version: with_digest.pepper_version,
    };
    let rotation = Rotation { secret, at: now(), overlap: Overlap::NONE };
    assert!(tx.service_tokens().rotate(&operator(), name, rotation).await.expect("a token").is_some());
    tx.commit().await.expect("a commit");
    (database, store, owner)
}

/// What every reader says, in the order of the columns of `CASES`.
async fn read_all(store: &PgStore, owner: &Owner) -> Vec<Result<(), StoreError>> {
    let user = owner.0.clone();
    let myself = Unchecked::new(Platform).authorize::<ViewSelf>(&owner.principal()).expect("a person sees themselves");
    let key = owner.key(1);
    vec![
        SignInReader::find(store, &looking_up(), user.provider_id).await.map(drop),
        AccountReader::find(store, user.personal_account).await.map(drop),
        store.of_user(&myself, user.id).await.map(drop),
        ApiKeyReader::find(store, key.id).await.map(drop),
        store.page(&owner.may_read(), PageRequest::default()).await.map(drop),
        store.key(&look_up(), key.secrets.newest.kid).await.map(drop),
        store.service_token(&look_up(), Kid::parse("mnopqrstuvwx").expect("a kid")).await.map(drop),
        store.all(&operator()).await.map(drop),
    ]
}

const PERSON: usize = 0;
const ACCOUNT: usize = 1;
const ACCOUNTS: usize = 2;
const KEY: usize = 3;
const KEYS: usize = 4;
const PRESENTED_KEY: usize = 5;
const PRESENTED_TOKEN: usize = 6;
const TOKENS: usize = 7;

/// The statements that break a row, the readers that notice, and what they say.
const CASES: &[(&str, &[usize], &str)] = &[
    (
        "ALTER TABLE memberships DROP CONSTRAINT memberships_role_known; UPDATE memberships SET role = 'evil'",
        &[PERSON, ACCOUNTS],
        "memberships.role",
    ),
    (
        "UPDATE accounts SET provider_organization_id = 'evil'",
        &[PERSON, ACCOUNT, ACCOUNTS],
        "accounts.provider_organization_id",
    ),
    (
        "ALTER TABLE api_keys DROP CONSTRAINT api_keys_environment_known; UPDATE api_keys SET environment = 'evil'",
        &[KEY, KEYS, PRESENTED_KEY],
        "api_keys.environment",
    ),
    ("UPDATE api_keys SET name = E'evil\\n'", &[KEY, KEYS], "api_keys.name"),
    (
        "ALTER TABLE api_keys DROP CONSTRAINT api_keys_scopes_known; UPDATE api_keys SET scopes = '{evil}'",
        &[KEY, KEYS, PRESENTED_KEY],
        "api_keys.scopes",
    ),
    ("UPDATE api_keys SET models = '{evil!}'", &[KEY, KEYS, PRESENTED_KEY], "api_keys.models"),
    (
        "ALTER TABLE api_keys DROP CONSTRAINT api_keys_networks_few;
         UPDATE api_keys SET networks = ARRAY(SELECT ('10.0.0.' || n)::cidr FROM generate_series(0, 50) AS n)",
        &[KEY, KEYS, PRESENTED_KEY],
        "api_keys.networks",
    ),
    (
        r#"UPDATE api_keys SET rate_limits = '[{"id": "evil", "limit": 0, "window_seconds": 1}]'"#,
        &[KEY, KEYS, PRESENTED_KEY],
        "api_keys.rate_limits",
    ),
    (
        r#"UPDATE api_keys SET rate_limits = '[{"id": "evil", "limit": 1.5, "window_seconds": 1}]'"#,
        &[KEY, KEYS, PRESENTED_KEY],
        "api_keys.rate_limits",
    ),
    (
        "ALTER TABLE api_key_secrets DROP CONSTRAINT api_key_secrets_digest_length; UPDATE api_key_secrets SET digest = 'evil'",
        &[PRESENTED_KEY],
        "api_key_secrets.digest",
    ),
    (
        "ALTER TABLE api_key_secrets DROP CONSTRAINT api_key_secrets_pepper_version_positive;
         UPDATE api_key_secrets SET pepper_version = 0",
        &[PRESENTED_KEY],
        "api_key_secrets.pepper_version",
    ),
    (
        "ALTER TABLE api_key_secrets DROP CONSTRAINT api_key_secrets_kid_shape, DROP CONSTRAINT api_key_secrets_kid_fkey;
         UPDATE api_key_secrets SET kid = 'evil'",
        &[KEY, KEYS],
        "api_key_secrets.kid",
    ),
    (
        "ALTER TABLE service_tokens DROP CONSTRAINT service_tokens_name_shape; UPDATE service_tokens SET name = 'Evil!'",
        &[PRESENTED_TOKEN, TOKENS],
        "service_tokens.name",
    ),
    (
        "ALTER TABLE service_tokens DROP CONSTRAINT service_tokens_kid_shape; UPDATE service_tokens SET kid = 'evil'",
        &[TOKENS],
        "service_tokens.kid",
    ),
    (
        "ALTER TABLE service_tokens DROP CONSTRAINT service_tokens_digest_length; UPDATE service_tokens SET digest = 'evil'",
        &[PRESENTED_TOKEN, TOKENS],
        "service_tokens.digest",
    ),
    (
        "ALTER TABLE service_tokens DROP CONSTRAINT service_tokens_pepper_version_positive;
         UPDATE service_tokens SET pepper_version = -1",
        &[PRESENTED_TOKEN, TOKENS],
        "service_tokens.pepper_version",
    ),
    (
        "ALTER TABLE service_tokens DROP CONSTRAINT service_tokens_networks_few;
         UPDATE service_tokens SET networks = (SELECT array_agg(format('10.%s.0.0/16', n)::cidr) FROM generate_series(1, 51) n)",
        &[PRESENTED_TOKEN, TOKENS],
        "service_tokens.networks",
    ),
    (
        "ALTER TABLE former_service_secrets DROP CONSTRAINT former_service_secrets_kid_shape;
         UPDATE former_service_secrets SET kid = 'evil'",
        &[PRESENTED_TOKEN, TOKENS],
        "former_service_secrets.kid",
    ),
    (
        "ALTER TABLE former_service_secrets DROP CONSTRAINT former_service_secrets_digest_length;
         UPDATE former_service_secrets SET digest = 'evil'",
        &[PRESENTED_TOKEN, TOKENS],
        "former_service_secrets.digest",
    ),
    (
        "ALTER TABLE former_service_secrets DROP CONSTRAINT former_service_secrets_pepper_version_positive;
         UPDATE former_service_secrets SET pepper_version = 0",
        &[PRESENTED_TOKEN, TOKENS],
        "former_service_secrets.pepper_version",
    ),
    ("UPDATE service_tokens SET scopes = ARRAY[NULL]::text[]", &[PRESENTED_TOKEN, TOKENS], "null"),
    ("UPDATE accounts SET created_at = 'infinity'", &[ACCOUNT, ACCOUNTS], "timestamp"),
    ("UPDATE api_keys SET created_at = '-infinity'", &[KEY, KEYS, PRESENTED_KEY], "timestamp"),
    ("UPDATE users SET created_at = '290000-01-01'", &[PERSON], "timestamp"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_makes_no_entity_is_corrupt_and_named_without_its_value() {
    let (_database, store, owner) = filled().await;
    for outcome in read_all(&store, &owner).await {
        outcome.expect("whole rows are read");
    }
    for (damage, readers, named) in CASES {
        let (database, store, owner) = filled().await;
        database.execute(damage).await.unwrap_or_else(|error| panic!("{damage}: {error}"));
        for (reader, outcome) in read_all(&store, &owner).await.into_iter().enumerate() {
            match outcome {
                Ok(()) => assert!(!readers.contains(&reader), "reader {reader} does not notice: {damage}"),
                Err(error) => {
                    assert!(readers.contains(&reader), "reader {reader} is not concerned by {damage}: {error:?}");
                    assert!(matches!(error, StoreError::Corrupt(_)), "{damage}: {error:?}");
                    let text = format!("{} {error:?}", chain(&error)).to_lowercase();
                    assert!(text.contains(named) && !text.contains("evil"), "{damage}: {text}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_this_version_does_not_know_allows_nothing_and_hurts_nobody() {
    let (database, store, _) = filled().await;
    database.execute("UPDATE service_tokens SET scopes = '{future:scope,metrics:read}'").await.unwrap();
    assert_eq!(store.all(&operator()).await.unwrap()[0].token.scopes, Scopes::from_iter([Scope::MetricsRead]));
    database.execute("UPDATE service_tokens SET scopes = '{future:scope}'").await.unwrap();
    assert!(store.all(&operator()).await.unwrap()[0].token.scopes.is_empty());
}
