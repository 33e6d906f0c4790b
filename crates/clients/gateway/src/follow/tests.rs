mod alike;

use std::collections::VecDeque;
use std::sync::Mutex;

use portal_api_keys::{Brand, KeyUse};
use portal_kernel::SecretString;

use super::*;
use crate::testing::{FeedRecord, PEPPER, RateLimit, RateLimits, Samples, now};
use crate::verdict::Verdict;
use crate::{ExposeSecret, peppers};

const ANY: KeyUse<'static> = KeyUse { ip: None, scope: None, model: None };

fn keys() -> Arc<Keys> {
    Arc::new(Keys::new(peppers([(1, PEPPER)]).unwrap(), Brand::default()))
}

fn position(number: usize) -> FeedPosition {
    format!("{number}:{number}:").parse().unwrap()
}

fn code(keys: &Keys, text: &SecretString) -> String {
    match keys.judge(text.expose_secret(), now(), &ANY) {
        Verdict::Ask => "ask".to_owned(),
        verdict => verdict.code().to_owned(),
    }
}

type PreparedPage = (Option<String>, Result<Page, FetchError>);
type PreparedChanges = (FeedPosition, Result<Changes, FetchError>);

/// Answers that were prepared, in their order; asked for anything else it fails the test.
#[derive(Default)]
struct Prepared {
    pages: Mutex<VecDeque<PreparedPage>>,
    changes: Mutex<VecDeque<PreparedChanges>>,
    waits: Mutex<Vec<Duration>>,
}

impl Prepared {
    fn page(self, cursor: Option<&str>, keys: Vec<FeedRecord>, next: Option<&str>) -> Self {
        let position = cursor.is_none().then(|| position(7));
        let keys = keys.into_iter().map(Answer::Record).collect();
        let page = Page { keys, next: next.map(str::to_owned), position };
        self.pages.lock().unwrap().push_back((cursor.map(str::to_owned), Ok(page)));
        self
    }

    fn changes(self, since: usize, keys: Vec<FeedRecord>, accounts: Vec<AccountStanding>, next: usize) -> Self {
        let keys = keys.into_iter().map(Answer::Record).collect();
        let head = FeedHead { position: position(next), at: now() };
        let changes = Changes { keys, accounts, head, waited: Duration::ZERO };
        self.changes.lock().unwrap().push_back((position(since), Ok(changes)));
        self
    }

    fn fails(self, since: usize, error: FetchError) -> Self {
        self.changes.lock().unwrap().push_back((position(since), Err(error)));
        self
    }
}

impl Source for &Prepared {
    async fn page(&self, cursor: Option<&str>) -> Result<Page, FetchError> {
        let (expected, page) = self.pages.lock().unwrap().pop_front().expect("no further page");
        assert_eq!(cursor, expected.as_deref());
        page
    }

    async fn changes(&self, since: &FeedPosition, wait: Duration) -> Result<Changes, FetchError> {
        let (expected, changes) = self.changes.lock().unwrap().pop_front().expect("no further changes");
        assert_eq!(since, &expected);
        self.waits.lock().unwrap().push(wait);
        changes
    }
}

fn refused() -> FetchError {
    FetchError::Refused { status: 503, retry_after: None }
}

#[tokio::test]
async fn nothing_counts_before_all_keys_and_the_changes_since_were_read() {
    let samples = Samples::default();
    let (known, [first, second, third]) = (keys(), [1, 2, 3].map(|number| samples.key(number)));
    let mut ended = second.1.clone();
    ended.stored.revoked_at = Some(now());
    ended.stored.revision = 2;
    let prepared = Prepared::default()
        .page(None, vec![first.1.clone()], Some("a"))
        .page(Some("a"), vec![second.1], None)
        .changes(7, vec![ended, third.1], Vec::new(), 8)
        .changes(8, Vec::new(), Vec::new(), 9);
    let mut follower = Follower::new(&prepared, known.clone(), Arc::new(Freshness::new()));
    for _ in 0..2 {
        follower.step().await.unwrap();
        assert!(!follower.is_behind_nothing());
    }
    follower.step().await.unwrap();
    assert!(follower.is_behind_nothing());
    let codes = [&first.0, &second.0, &third.0].map(|text| code(&known, text));
    assert_eq!(codes, ["valid", "key_revoked", "valid"]);
    follower.step().await.unwrap();
    assert_eq!(*prepared.waits.lock().unwrap(), [Duration::ZERO, WAIT], "who knows nothing yet is not kept waiting");
}

#[tokio::test]
async fn an_answer_that_fails_is_asked_for_again_where_it_was() {
    let samples = Samples::default();
    let (known, key) = (keys(), samples.key(1));
    let prepared = Prepared::default().page(None, Vec::new(), Some("a"));
    prepared.pages.lock().unwrap().push_back((Some("a".to_owned()), Err(refused())));
    let prepared = prepared
        .page(Some("a"), vec![key.1], None)
        .fails(7, FetchError::Failed("gone".into()))
        .changes(7, Vec::new(), Vec::new(), 8)
        .fails(8, refused());
    let mut follower = Follower::new(&prepared, known.clone(), Arc::new(Freshness::new()));
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push((follower.step().await.is_ok(), follower.is_behind_nothing()));
    }
    let (good, bad) = (true, false);
    // What is known still counts for a while after the last one.
    assert_eq!(outcomes, [(good, false), (bad, false), (good, false), (bad, false), (good, true), (bad, true)]);
    assert_eq!(code(&known, &key.0), "valid");
}

#[tokio::test]
async fn whoever_is_too_far_behind_knows_nothing_until_all_keys_were_read_again() {
    let samples = Samples::default();
    let (known, [kept, gone, young]) = (keys(), [1, 2, 3].map(|number| samples.key(number)));
    let prepared = Prepared::default()
        .page(None, vec![kept.1.clone(), gone.1], None)
        .changes(7, Vec::new(), Vec::new(), 8)
        .fails(8, FetchError::PositionTooOld)
        .page(None, vec![kept.1], None)
        .changes(7, vec![young.1], Vec::new(), 9);
    let mut follower = Follower::new(&prepared, known.clone(), Arc::new(Freshness::new()));
    follower.step().await.unwrap();
    follower.step().await.unwrap();
    assert!(follower.is_behind_nothing());
    assert!(matches!(follower.step().await, Err(FetchError::PositionTooOld)));
    assert!(!follower.is_behind_nothing());
    follower.step().await.unwrap();
    assert!(!follower.is_behind_nothing(), "the keys were read, and not what changed meanwhile");
    follower.step().await.unwrap();
    assert!(follower.is_behind_nothing());
    let codes = [&kept.0, &gone.0, &young.0].map(|text| code(&known, text));
    assert_eq!(codes, ["valid", "invalid_api_key", "valid"]);
    assert_eq!(known.count(), 2);
}

#[test]
fn a_secret_never_goes_back_to_an_older_revision() {
    let (known, (text, record)) = (keys(), Samples::default().key(1));
    let mut newer = record.clone();
    newer.stored.revision = 5;
    newer.stored.disabled_at = Some(now());
    known.keep(Answer::Record(newer.clone()));
    known.keep(Answer::Record(record));
    assert_eq!(code(&known, &text), "key_disabled");
    known.keep(Answer::NotUnderstood { kid: newer.kid, revision: 4 });
    assert_eq!(code(&known, &text), "key_disabled");
    newer.stored.disabled_at = None;
    known.keep(Answer::Record(newer.clone()));
    assert_eq!(code(&known, &text), "valid", "of one revision what was read later counts");
    known.begin_round();
    newer.stored.revision = 3;
    newer.stored.disabled_at = Some(now());
    known.keep(Answer::Record(newer));
    assert_eq!(code(&known, &text), "key_disabled", "the database went back, and all keys are read anew");
}

#[test]
fn keys_of_an_account_that_is_not_active_are_nobodys() {
    let (known, (text, record)) = (keys(), Samples::default().key(1));
    let account = record.stored.account;
    let stopped = FeedRecord { account_is_active: false, ..record.clone() };
    known.keep(Answer::Record(stopped));
    assert_eq!(code(&known, &text), "invalid_api_key");
    known.keep_account(AccountStanding { account, is_active: true });
    assert_eq!(code(&known, &text), "valid");
    known.keep_account(AccountStanding { account, is_active: false });
    assert_eq!(code(&known, &text), "invalid_api_key");
    known.keep(Answer::Record(record));
    assert_eq!(code(&known, &text), "valid");
}

#[test]
fn what_cannot_be_decided_here_is_asked_about_and_what_is_refused_is_not() {
    let (known, samples) = (keys(), Samples::default());
    let (counted, stopped, foreign) = (samples.key(1), samples.key(2), samples.key(3));
    let limits = RateLimits::new([RateLimit::new("a", 1, 1).unwrap()]).unwrap();
    for (mut record, disabled_at) in [(counted.1, None), (stopped.1, Some(now()))] {
        record.stored.policy.rate_limits = limits.clone();
        record.stored.disabled_at = disabled_at;
        known.keep(Answer::Record(record));
    }
    // Made with a pepper that this gateway was not given.
    let mut of_another_pepper = foreign.1;
    of_another_pepper.stored.pepper_version = portal_api_keys::PepperVersion::parse(2).unwrap();
    known.keep(Answer::Record(of_another_pepper));
    let not_understood = samples.key(4);
    known.keep(Answer::NotUnderstood { kid: not_understood.1.kid, revision: 1 });
    for (text, expected) in
        [(counted.0, "ask"), (stopped.0, "key_disabled"), (foreign.0, "ask"), (not_understood.0, "ask")]
    {
        assert_eq!(code(&known, &text), expected);
    }
}

#[test]
fn pauses_grow_up_to_a_bound_and_are_never_shorter_than_the_portal_asks_for() {
    let failed = || FetchError::Failed("gone".into());
    for (failures, longest) in [(0, 100), (1, 200), (4, 1_600), (5, 2_000), (500, 2_000)] {
        let longest = Duration::from_millis(longest);
        for _ in 0..20 {
            let pause = pause(failures, &failed());
            assert!(pause >= longest / 2 && pause <= longest, "{failures}: {pause:?}");
        }
    }
    let drawn: std::collections::BTreeSet<_> = (0..20).map(|_| pause(9, &failed())).collect();
    assert!(drawn.len() > 1, "they are spread");
    for (asked_for, least) in [(1, 1), (30, 30), (86_400, 60)] {
        let refused = FetchError::Refused { status: 429, retry_after: Some(Duration::from_secs(asked_for)) };
        let (pause, least) = (pause(0, &refused), Duration::from_secs(least));
        assert!(pause >= least && pause < least + Duration::from_millis(51), "{pause:?}");
    }
}
