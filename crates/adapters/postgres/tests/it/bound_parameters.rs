//! Text from outside never becomes part of a statement (T-25): neither in the source, nor, whatever the text, on a real server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portal_accounts::contract::{cleared, looking_up, provision, told};
use portal_accounts::{Account, AccountReader, Profile, SignInReader};
use portal_api_keys::contract::{Owner, look_up, new, operator};
use portal_api_keys::{
    ApiKey, ApiKeyReader, Brand, Code, CredentialReader, KeyName, KeyRates, KeyUse, Kid, ServiceCredentialReader,
    ServiceName, Services, Verifier,
};
use portal_authz::action::ReadAccount;
use portal_authz::{Principal, Scope, Scopes, ServicePrincipal, Unchecked};
use portal_identity::{ProviderOrganizationId, ProviderUserId};
use portal_kernel::{PageRequest, PageSize};
use portal_testkit::FixedClock;

use crate::support::{accounts, api_keys, checkout, now, peppers, store};

/// Calls that take the text of a statement.
const RAW: [&str; 5] = ["sql_query(", "batch_execute(", "begin_transaction_sql(", "dsl::sql::<", "dsl::sql("];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The first argument of a call, from behind its parenthesis.
fn argument(text: &str) -> &str {
    let mut depth = 0_i32;
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        depth += match c {
            '(' if !quoted => 1,
            ')' if !quoted => -1,
            _ => 0,
        };
        depth < 0 || (depth == 0 && c == ',' && !quoted)
    });
    text[..end.expect("the end of the call")].trim()
}

fn is_fixed(argument: &str) -> bool {
    let literal = argument.starts_with('"') && argument.ends_with('"') && argument.matches('"').count() == 2;
    literal || argument.bytes().all(|c| c.is_ascii_uppercase() || c == b'_')
}

#[test]
fn t25_no_statement_is_put_together_from_text() {
    let folder = checkout().join("crates/adapters/postgres/src");
    // Test databases have names of our own; the session's settings are numbers of our own.
    let composed = [("testing.rs", None), ("pool.rs", Some("setup"))];
    let mut seen = 0;
    for path in sources(&folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for call in RAW {
            for (place, _) in text.match_indices(call) {
                let argument = argument(&text[place + call.len()..]);
                let allowed =
                    composed.iter().any(|(file, what)| name == *file && what.is_none_or(|what| what == argument));
                assert!(allowed || is_fixed(argument), "{}: {call}{argument})", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 3, "the calls are found");
}

/// Parts of statements, quotes, comments, wildcards, letters from everywhere, and bytes that have a meaning somewhere.
const PARTS: [&str; 40] = [
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "\\'",
    ";",
    "--",
    "/*",
    "*/",
    "%",
    "_",
    "$1",
    "$$",
    "$body$",
    "?",
    ":name",
    "{}",
    "{0}",
    "(",
    ")",
    ",",
    " OR 1=1",
    " UNION SELECT ",
    "DROP TABLE users",
    "; DELETE FROM accounts",
    "E'\\x27'",
    "U&'\\0027'",
    "chr(39)",
    "pg_sleep(9)",
    "COPY x TO PROGRAM 'id'",
    "NULL",
    "é",
    "\u{2019}",
    "\u{ff07}",
    "\u{202e}",
    "日本",
    "👩‍💻",
    "user_",
    "a1",
];

/// Two thousand texts, the same in every run.
fn hostile() -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("a small number")
    };
    (0..2000).map(|_| (0..=draw(6)).map(|_| PARTS[draw(PARTS.len())]).collect()).collect()
}

/// What becomes of a text when only the characters of an identifier are left of it.
fn tamed(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn t25_hostile_texts_find_nothing_and_fail_nowhere() {
    let (database, store) = store().await;
    let store = Arc::new(store);
    let owner = Owner(provision(&*store, 1).await);
    let verifier = Verifier {
        reader: store.clone(),
        peppers: Arc::new(peppers()),
        brand: Brand::default(),
        rates: Arc::new(KeyRates::new(10)),
        newer_digests: Arc::default(),
        last_used: Arc::default(),
        clock: Arc::new(FixedClock::default()),
    };
    let services = Services {
        reader: store.clone(),
        peppers: Arc::new(peppers()),
        clock: Arc::new(FixedClock::default()),
        last_used: Arc::default(),
        legacy: None,
    };
    let gateway = Principal::Service(ServicePrincipal {
        token: Some("svc_00000000000000000000000001".parse().unwrap()),
        name: "gateway".to_owned(),
        scopes: Scopes::from_iter([Scope::KeysVerify]),
    });
    let mut looked_up = 0;
    for text in hostile() {
        let wanted = KeyUse { scope: Some(&text), model: Some(&text), ip: None };
        for presented in [text.clone(), format!("cort_live_{text}"), format!("portal_svc_{text}")] {
            let answer = verifier.verify_key(&gateway, &presented, &wanted).await.unwrap();
            assert_eq!(answer.code, Code::InvalidApiKey, "{presented:?}");
            assert!(services.authenticate(&presented, None).await.is_err());
        }
        let kid = format!("{:0>12}", tamed(&text)).chars().rev().take(12).collect::<String>();
        for kid in [Kid::parse(&text), Kid::parse(&kid)].into_iter().flatten() {
            assert_eq!(store.key(&look_up(), kid).await.unwrap(), None);
            assert_eq!(store.service_token(&look_up(), kid).await.unwrap(), None);
            looked_up += 1;
        }
        let provider_id = format!("user_{}", tamed(&text));
        for id in [ProviderUserId::parse(&text), ProviderUserId::parse(&provider_id)].into_iter().flatten() {
            let found = SignInReader::find(&*store, &looking_up(), id.clone()).await.unwrap();
            assert_eq!(found.is_some(), id == owner.0.provider_id, "{id}");
            looked_up += 1;
        }
        let mut tx = api_keys(&store).await;
        for name in [ServiceName::parse(&text), ServiceName::parse(&tamed(&text).to_lowercase())].into_iter().flatten()
        {
            assert_eq!(tx.service_tokens().revoke(&operator(), name, now()).await.unwrap(), None);
            looked_up += 1;
        }
        tx.rollback().await.unwrap();
    }
    assert!(looked_up > 4000, "{looked_up}");
    assert_eq!(database.count("SELECT count(*) FROM users").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t25_hostile_texts_are_stored_and_read_back_as_they_are() {
    let (database, store) = store().await;
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    let before = database.count(tables).await.unwrap();
    let owner = Owner(provision(&store, 1).await);
    let texts = hostile();
    let names: Vec<_> = texts.iter().filter_map(|text| KeyName::parse(text).ok()).collect();
    assert!(names.len() > 1500, "{}", names.len());
    let mut tx = api_keys(&store).await;
    for (number, name) in (1..).zip(&names) {
        let key = ApiKey { name: name.clone(), ..owner.key(number) };
        tx.keys().insert(&owner.may_create(), new(&key)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut request = PageRequest { size: PageSize::parse(100).unwrap(), after: None };
    let mut read = Vec::new();
    loop {
        let page = ApiKeyReader::page(&store, &owner.may_read(), request).await.unwrap();
        read.extend(page.items.into_iter().map(|key| key.name));
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    read.reverse();
    assert_eq!(read, names);

    let mut made = Vec::new();
    for (number, text) in (0..).zip(texts.iter().take(300)) {
        let id = ProviderOrganizationId::parse(&format!("org_{number}")).unwrap();
        let account = Account {
            id: format!("acc_{:026}", 1000 + number).parse().unwrap(),
            name: text.clone(),
            provider_organization: Some(id),
            created_at: now(),
        };
        let profile = Profile { email: Some(text.clone()), first_name: Some(text.clone()), ..Profile::default() };
        let mut tx = accounts(&store).await;
        tx.accounts().insert(&cleared(), account.clone()).await.unwrap();
        tx.users().save_profiles(&cleared(), vec![(owner.0.clone(), told(profile, now()))]).await.unwrap();
        tx.commit().await.unwrap();
        let known = SignInReader::find(&store, &looking_up(), owner.0.provider_id.clone()).await.unwrap().unwrap();
        assert_eq!(known.user.profile().email.as_ref(), Some(text));
        made.push((account.id, text));
    }
    let roles = made.iter().map(|(account, _)| (*account, portal_authz::Role::Viewer)).collect();
    let reader = Principal::User(portal_authz::UserPrincipal::new(owner.0.id, roles));
    for (account, text) in made {
        let found: Unchecked<_> = AccountReader::find(&store, account).await.unwrap().unwrap();
        assert_eq!(found.authorize::<ReadAccount>(&reader).unwrap().name, *text);
    }
    assert_eq!(database.count(tables).await.unwrap(), before, "nothing was dropped");
}
