//! A gateway decides as the portal does, whatever happened and in whichever order it heard of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portal_api_keys::{
    Code, KeyPolicy, KeyRates, KeyScopes, KeyVerification, Kid, MockCredentialReader, ModelAllowList, Networks,
    StoredKey, Verifier,
};
use portal_authz::{Principal, Scope, ServicePrincipal};
use portal_kernel::{AccountId, Timestamp};
use portal_testkit::FixedClock;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

/// Something that happens at the portal, or to the gateway.
#[derive(Debug, Clone)]
enum Event {
    Made { account: usize, policy: usize },
    Stopped(usize),
    Continued(usize),
    Restricted(usize, usize),
    Ending(usize, u64),
    Rotated(usize, u64),
    Revoked(usize),
    AccountPaused(usize),
    AccountResumed(usize),
    AccountDeleted(usize),
    TimePassed(u64),
    Asked,
    Failed,
    Lost,
}

fn event() -> impl Strategy<Value = Event> {
    let (key, account, seconds) = (0..8_usize, 0..3_usize, 0..5_u64);
    prop_oneof![
        3 => (account.clone(), 0..4_usize).prop_map(|(account, policy)| Event::Made { account, policy }),
        1 => key.clone().prop_map(Event::Stopped),
        1 => key.clone().prop_map(Event::Continued),
        1 => (key.clone(), 0..4_usize).prop_map(|(key, policy)| Event::Restricted(key, policy)),
        1 => (key.clone(), seconds.clone()).prop_map(|(key, seconds)| Event::Ending(key, seconds)),
        2 => (key.clone(), seconds.clone()).prop_map(|(key, seconds)| Event::Rotated(key, seconds)),
        1 => key.prop_map(Event::Revoked),
        1 => account.clone().prop_map(Event::AccountPaused),
        1 => account.clone().prop_map(Event::AccountResumed),
        1 => account.prop_map(Event::AccountDeleted),
        1 => seconds.prop_map(Event::TimePassed),
        10 => Just(Event::Asked),
        1 => Just(Event::Failed),
        1 => Just(Event::Lost),
    ]
}

fn policy(number: usize) -> KeyPolicy {
    let limits = RateLimits::new([RateLimit::new("a", 1, 1).unwrap()]).unwrap();
    match number {
        0 => KeyPolicy::default(),
        1 => KeyPolicy { rate_limits: limits, ..KeyPolicy::default() },
        2 => KeyPolicy { networks: Networks::parse(["192.0.2.0/24"]).unwrap(), ..KeyPolicy::default() },
        _ => KeyPolicy {
            scopes: KeyScopes::parse(["usage:read"]).unwrap(),
            models: ModelAllowList::parse(["llama-*"]).unwrap(),
            ..KeyPolicy::default()
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Active,
    Paused,
    Deleted,
}

struct Secret {
    text: SecretString,
    record: FeedRecord,
    key: usize,
}

enum Change {
    Key(usize),
    Account(usize),
}

/// The portal. Of the secrets of a key the newest is last.
struct Truth {
    secrets: Vec<Secret>,
    accounts: [Standing; 3],
    log: Vec<Change>,
    now: Timestamp,
    samples: Samples,
    keys: usize,
    /// What the gateway was told of since it began to read all keys.
    told: BTreeSet<Kid>,
    failing: bool,
    lost: bool,
}

fn account_id(number: usize) -> AccountId {
    format!("acc_{number:026}").parse().unwrap()
}

impl Truth {
    fn new() -> Self {
        Self {
            secrets: Vec::new(),
            accounts: [Standing::Active; 3],
            log: Vec::new(),
            now: now(),
            samples: Samples::default(),
            keys: 0,
            told: BTreeSet::new(),
            failing: false,
            lost: false,
        }
    }

    fn of_key(&mut self, key: usize) -> impl Iterator<Item = &mut StoredKey> {
        self.secrets.iter_mut().filter(move |secret| secret.key == key).map(|secret| &mut secret.record.stored)
    }

    /// Changes a key that was made and not revoked.
    fn change(&mut self, key: usize, change: impl Fn(&mut StoredKey)) {
        if key >= self.keys || self.of_key(key).any(|stored| stored.revoked_at.is_some()) {
            return;
        }
        for stored in self.of_key(key) {
            stored.revision += 1;
            change(stored);
        }
        self.log.push(Change::Key(key));
    }

    fn add_secret(&mut self, key: usize, like: Option<StoredKey>) -> &mut StoredKey {
        let (text, mut record) = self.samples.key(u32::try_from(key).unwrap());
        if let Some(like) = like {
            let digest = record.stored.digest;
            record.stored = StoredKey { digest, secret_expires_at: None, secret_revoked_at: None, ..like };
        }
        self.secrets.push(Secret { text, record, key });
        &mut self.secrets.last_mut().unwrap().record.stored
    }

    fn rotate(&mut self, key: usize, overlap: u64) {
        let now = self.now;
        let before = self.log.len();
        self.change(key, |_| ());
        if self.log.len() == before {
            return;
        }
        let secrets: Vec<_> = self.of_key(key).collect();
        let newest = secrets.len() - 1;
        for (number, stored) in secrets.into_iter().enumerate() {
            if number == newest {
                stored.secret_expires_at = Some(now.plus(Duration::from_secs(overlap)));
            } else {
                stored.secret_revoked_at = stored.secret_revoked_at.or(Some(now));
            }
        }
        let like = self.of_key(key).last().cloned();
        self.add_secret(key, like);
    }

    fn happen(&mut self, event: &Event) {
        let now = self.now;
        let in_seconds = |seconds: u64| Some(now.plus(Duration::from_secs(seconds)));
        match *event {
            Event::Made { account, policy: number } if self.accounts[account] == Standing::Active => {
                let key = self.keys;
                self.keys += 1;
                let stored = self.add_secret(key, None);
                (stored.account, stored.policy) = (account_id(account), policy(number));
                self.log.push(Change::Key(key));
            }
            Event::Stopped(key) => self.change(key, |stored| stored.disabled_at = Some(now)),
            Event::Continued(key) => self.change(key, |stored| stored.disabled_at = None),
            Event::Restricted(key, number) => self.change(key, |stored| stored.policy = policy(number)),
            Event::Ending(key, seconds) => self.change(key, |stored| stored.expires_at = in_seconds(seconds)),
            Event::Rotated(key, overlap) => self.rotate(key, overlap),
            Event::Revoked(key) => self.change(key, |stored| {
                stored.revoked_at = Some(now);
                stored.secret_revoked_at = stored.secret_revoked_at.or(Some(now));
            }),
            Event::AccountPaused(account) => self.stand(account, Standing::Paused),
            Event::AccountResumed(account) => self.stand(account, Standing::Active),
            Event::AccountDeleted(account) => self.stand(account, Standing::Deleted),
            Event::TimePassed(seconds) => self.now = now.plus(Duration::from_secs(seconds)),
            Event::Failed => self.failing = true,
            Event::Lost => self.lost = true,
            Event::Made { .. } | Event::Asked => {}
        }
    }

    fn stand(&mut self, account: usize, standing: Standing) {
        if self.accounts[account] != Standing::Deleted {
            self.accounts[account] = standing;
            self.log.push(Change::Account(account));
        }
    }

    fn standing(&self, account: AccountId) -> Standing {
        let number = (0..3).find(|number| account_id(*number) == account).unwrap();
        self.accounts[number]
    }

    fn record(&self, secret: &Secret) -> FeedRecord {
        let account_is_active = self.standing(secret.record.stored.account) == Standing::Active;
        FeedRecord { account_is_active, ..secret.record.clone() }
    }

    fn is_live(&self, stored: &StoredKey) -> bool {
        let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= self.now);
        stored.revoked_at.is_none()
            && stored.secret_revoked_at.is_none()
            && !over(stored.expires_at)
            && !over(stored.secret_expires_at)
            && self.standing(stored.account) != Standing::Deleted
    }

    /// What the portal finds.
    fn find(&self, kid: Kid) -> Option<StoredKey> {
        let secret = self.secrets.iter().find(|secret| secret.record.kid == kid)?;
        let stored = secret.record.stored.clone();
        (self.standing(stored.account) == Standing::Active).then_some(stored)
    }

    fn tell(&mut self, records: Vec<FeedRecord>) -> Vec<Answer> {
        self.told.extend(records.iter().map(|record| record.kid));
        records.into_iter().map(Answer::Record).collect()
    }
}

#[derive(Clone)]
struct Portal(Arc<Mutex<Truth>>);

impl Source for Portal {
    async fn page(&self, cursor: Option<&str>) -> Result<Page, FetchError> {
        const SIZE: usize = 2;
        let mut truth = self.0.lock().unwrap();
        if std::mem::take(&mut truth.failing) {
            return Err(refused());
        }
        if cursor.is_none() {
            truth.told.clear();
        }
        let behind = |record: &FeedRecord| cursor.is_none_or(|cursor| record.kid.as_str() > cursor);
        let live = truth.secrets.iter().filter(|secret| truth.is_live(&secret.record.stored));
        let mut live: Vec<_> = live.map(|secret| truth.record(secret)).filter(behind).collect();
        live.sort_unstable_by_key(|record| record.kid);
        let more = live.len() > SIZE;
        live.truncate(SIZE);
        let next = if more { live.last().map(|record| record.kid.to_string()) } else { None };
        let position = cursor.is_none().then(|| position(truth.log.len()));
        Ok(Page { keys: truth.tell(live), next, position })
    }

    async fn changes(&self, since: &FeedPosition, _: Duration) -> Result<Changes, FetchError> {
        let mut truth = self.0.lock().unwrap();
        if std::mem::take(&mut truth.failing) {
            return Err(refused());
        }
        if std::mem::take(&mut truth.lost) {
            return Err(FetchError::PositionTooOld);
        }
        let since: usize = since.as_str().split(':').next().unwrap().parse().unwrap();
        let (mut keys, mut accounts) = (BTreeSet::new(), BTreeSet::new());
        for change in &truth.log[since..] {
            match change {
                Change::Key(key) => drop(keys.insert(*key)),
                Change::Account(account) => drop(accounts.insert(*account)),
            }
        }
        let changed = truth.secrets.iter().filter(|secret| keys.contains(&secret.key));
        let changed: Vec<_> = changed.map(|secret| truth.record(secret)).collect();
        let standing = |account: usize| AccountStanding {
            account: account_id(account),
            is_active: truth.accounts[account] == Standing::Active,
        };
        let accounts = accounts.into_iter().map(standing).collect();
        let head = FeedHead { position: position(truth.log.len()), at: truth.now };
        Ok(Changes { keys: truth.tell(changed), accounts, head, waited: Duration::ZERO })
    }
}

fn uses() -> [KeyUse<'static>; 4] {
    let ip: IpAddr = "192.0.2.9".parse().unwrap();
    [
        ANY,
        KeyUse { ip: Some(ip), model: Some("llama-3"), scope: None },
        KeyUse { scope: Some("usage:read"), ..ANY },
        KeyUse { scope: Some("usage:read"), model: Some("other"), ip: None },
    ]
}

/// What the portal says, by its own use case.
async fn expected(portal: &Portal, text: &str, moment: Timestamp, wanted: &KeyUse<'_>) -> KeyVerification {
    let (mut reader, truth, clock) = (MockCredentialReader::new(), portal.clone(), FixedClock::default());
    reader.expect_key().returning(move |_, kid| Ok(truth.0.lock().unwrap().find(kid).map(Arc::new)));
    clock.set(moment);
    let verifier = Verifier {
        reader: Arc::new(reader),
        peppers: Arc::new(peppers([(1, PEPPER)]).unwrap()),
        brand: Brand::default(),
        rates: Arc::new(KeyRates::new(1)),
        newer_digests: Arc::default(),
        last_used: Arc::default(),
        clock: Arc::new(clock),
    };
    let scopes = [Scope::KeysVerify].into_iter().collect();
    let who = Principal::Service(ServicePrincipal { token: None, name: "gateway".to_owned(), scopes });
    verifier.verify_key(&who, text, wanted).await.unwrap()
}

/// Now, and later without hearing anything more, they decide alike about every secret that there ever was. Answers how often both allowed.
async fn decide_alike(portal: &Portal, keys: &Keys) -> Result<usize, TestCaseError> {
    let (secrets, now): (Vec<_>, _) = {
        let truth = portal.0.lock().unwrap();
        let is_told = |secret: &Secret| truth.told.contains(&secret.record.kid);
        let is_counted = |secret: &Secret| !secret.record.stored.policy.rate_limits.is_empty();
        let secrets = truth.secrets.iter();
        (secrets.map(|secret| (secret.text.clone(), is_told(secret), is_counted(secret))).collect(), truth.now)
    };
    let mut allowed = 0;
    for (text, is_told, is_counted) in &secrets {
        for (seconds, wanted) in [0, 1, 3, 9].into_iter().flat_map(|seconds| uses().map(|wanted| (seconds, wanted))) {
            let (text, moment) = (text.expose_secret(), now.plus(Duration::from_secs(seconds)));
            let portal_says = expected(portal, text, moment, &wanted).await;
            let verdict = keys.judge(text, moment, &wanted);
            allowed += usize::from(verdict.is_allowed());
            if portal_says.code == Code::Valid && *is_counted {
                prop_assert_eq!(verdict, Verdict::Ask);
            } else if *is_told || !matches!(portal_says.code, Code::KeyRevoked | Code::KeyExpired) {
                prop_assert_eq!(verdict, Verdict::of(&portal_says));
            } else {
                // It ended before this gateway read all keys.
                prop_assert_eq!(verdict.code(), "invalid_api_key");
            }
        }
    }
    Ok(allowed)
}

async fn play(events: &[Event]) -> Result<usize, TestCaseError> {
    let (portal, keys) = (Portal(Arc::new(Mutex::new(Truth::new()))), keys());
    let mut follower = Follower::new(portal.clone(), keys.clone(), Arc::new(Freshness::new()));
    let mut allowed = 0;
    for event in events {
        if matches!(event, Event::Asked) {
            let is_about_changes = matches!(follower.place, Place::Behind { .. });
            if follower.step().await.is_ok() && is_about_changes {
                allowed += decide_alike(&portal, &keys).await?;
            }
        } else {
            portal.0.lock().unwrap().happen(event);
        }
    }
    // Pages of all that were made, a failure, and a loss.
    for _ in 0..100 {
        let _ = follower.step().await;
    }
    prop_assert!(follower.is_behind_nothing());
    Ok(allowed + decide_alike(&portal, &keys).await?)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_gateway_decides_as_the_portal_does_whenever_it_heard_of_what(events in prop::collection::vec(event(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(&events))?;
    }
}

#[tokio::test]
async fn what_is_compared_is_also_allowed() {
    let made = |policy| Event::Made { account: 0, policy };
    let events = [made(0), Event::Asked, Event::Asked, made(3), Event::Rotated(0, 3), Event::Asked];
    assert!(play(&events).await.unwrap() > 10);
}
