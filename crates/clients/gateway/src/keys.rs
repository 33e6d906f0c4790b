//! All keys, in memory.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use portal_api_keys::{Brand, Code, KeyUse, Kid, Peppers, StoredKey, verify_stored};
use portal_kernel::{AccountId, Timestamp};

use crate::record::{AccountStanding, Answer, FeedRecord};
use crate::verdict::Verdict;

/// Whoever writes holds up one request of so many.
const SHARDS: usize = 64;

/// What is known of a secret.
#[derive(Clone)]
enum Held {
    Key(Arc<StoredKey>),
    /// What it is restricted to is not understood here.
    NotUnderstood {
        revision: i64,
    },
}

impl Held {
    fn revision(&self) -> i64 {
        match self {
            Self::Key(stored) => stored.revision,
            Self::NotUnderstood { revision } => *revision,
        }
    }
}

struct Slot {
    held: Held,
    /// Of the last round through all keys in which it was found.
    round: u32,
}

type Shard = RwLock<HashMap<Kid, Slot>>;

/// The keys, and what it takes to judge a presented text.
pub(crate) struct Keys {
    peppers: Peppers,
    brand: Brand,
    shards: Vec<Shard>,
    hasher: RandomState,
    /// Accounts whose keys are nobody's.
    stopped: RwLock<HashSet<AccountId>>,
    round: AtomicU32,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Keys {
    /// None yet.
    pub(crate) fn new(peppers: Peppers, brand: Brand) -> Self {
        let shards = std::iter::repeat_with(Shard::default).take(SHARDS).collect();
        let (hasher, stopped, round) = (RandomState::new(), RwLock::default(), AtomicU32::new(0));
        Self { peppers, brand, shards, hasher, stopped, round }
    }

    fn shard(&self, kid: &Kid) -> &Shard {
        // The remainder is below the number of shards.
        let number = self.hasher.hash_one(kid) % SHARDS as u64;
        &self.shards[usize::try_from(number).unwrap_or_default()]
    }

    /// All keys are read anew from here on.
    pub(crate) fn begin_round(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
    }

    /// All keys were read: forgets those that were not among them, and not among the changes since.
    pub(crate) fn end_round(&self) {
        let round = self.round.load(Ordering::Relaxed);
        for shard in &self.shards {
            write(shard).retain(|_, slot| slot.round == round);
        }
    }

    /// Takes in what was read. An older revision never replaces a newer one that was read since all keys were read anew: before that it may
    /// have been another database's.
    pub(crate) fn keep(&self, answer: Answer) {
        match answer {
            Answer::Record(FeedRecord { kid, stored, account_is_active }) => {
                let standing = AccountStanding { account: stored.account, is_active: account_is_active };
                self.keep_account(standing);
                let held = if self.peppers.knows(stored.pepper_version) {
                    Held::Key(Arc::new(stored))
                } else {
                    Held::NotUnderstood { revision: stored.revision }
                };
                self.keep_held(kid, held);
            }
            Answer::NotUnderstood { kid, revision } => self.keep_held(kid, Held::NotUnderstood { revision }),
        }
    }

    fn keep_held(&self, kid: Kid, held: Held) {
        let round = self.round.load(Ordering::Relaxed);
        match write(self.shard(&kid)).entry(kid) {
            Entry::Occupied(slot) if slot.get().round == round && slot.get().held.revision() > held.revision() => {}
            Entry::Occupied(mut slot) => *slot.get_mut() = Slot { held, round },
            Entry::Vacant(slot) => {
                slot.insert(Slot { held, round });
            }
        }
    }

    /// Takes in what became of an account. Whoever reads in the order of the answers never goes back.
    pub(crate) fn keep_account(&self, AccountStanding { account, is_active }: AccountStanding) {
        if read(&self.stopped).contains(&account) != is_active {
            return;
        }
        let mut stopped = write(&self.stopped);
        if is_active {
            stopped.remove(&account)
        } else {
            stopped.insert(account)
        };
    }

    /// How many secrets are known.
    pub(crate) fn count(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Whether a presented text may be used at that moment, by what is known.
    pub(crate) fn judge(&self, presented: &str, now: Timestamp, wanted: &KeyUse<'_>) -> Verdict {
        let Some((environment, kid)) = self.brand.read(presented) else {
            return Verdict::of(&portal_api_keys::KeyVerification::invalid());
        };
        let held = read(self.shard(&kid)).get(&kid).map(|slot| slot.held.clone());
        let stored = match &held {
            Some(Held::NotUnderstood { .. }) => return Verdict::Ask,
            Some(Held::Key(stored)) => Some(&**stored),
            None => None,
        };
        let stored = stored.filter(|stored| !read(&self.stopped).contains(&stored.account));
        let verification = verify_stored(&self.peppers, presented, environment, stored, now, wanted);
        let is_counted = stored.is_some_and(|stored| !stored.policy.rate_limits.is_empty());
        if verification.code == Code::Valid && is_counted { Verdict::Ask } else { Verdict::of(&verification) }
    }
}
