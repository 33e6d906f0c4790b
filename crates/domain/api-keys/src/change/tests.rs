//! The life of a key: whatever is done to it, in whatever order, its secrets do what a few lines of arithmetic say.

use std::sync::Arc;
use std::time::Duration;

use portal_authz::{Principal, Role, Scope, Scopes, ServicePrincipal};
use portal_kernel::{ApiKeyId, Change, ExposeSecret};
use portal_testkit::{CountingEntropy, CountingIds, FixedClock};
use proptest::prelude::*;

use crate::testing::memory::MemoryStore;
use crate::testing::{account, member, peppers};
use crate::{
    ApiKeys, Brand, Code, DisableKeyError, KeyDraft, KeyEnvironment, KeyName, KeyPatch, KeyPolicy, KeyRates, KeyUse,
    MockApiKeyReader, Overlap, RotateKeyError, UpdateKeyError, Verifier,
};

/// Something that happens to a key; numbers are seconds.
#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u64),
    Rotate(u64),
    Disable,
    Enable,
    EndIn(u64),
    NeverEnd,
    Revoke,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..3).prop_map(Step::Pass),
        4 => (0_u64..4).prop_map(Step::Rotate),
        2 => Just(Step::Disable),
        2 => Just(Step::Enable),
        1 => (1_u64..6).prop_map(Step::EndIn),
        1 => Just(Step::NeverEnd),
        1 => Just(Step::Revoke),
    ]
}

/// A secret as people think of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Newest,
    /// For so many more seconds.
    Leaving(u64),
    RanOut,
    Ended,
}

/// A key as people think of it.
struct Model {
    secrets: Vec<(String, Fate)>,
    /// Seconds until its time is over.
    left: Option<u64>,
    disabled: bool,
    revoked: bool,
    revision: i64,
}

impl Model {
    fn is_over(&self) -> bool {
        self.revoked || self.left == Some(0)
    }

    fn pass(&mut self, seconds: u64) {
        self.left = self.left.map(|left| left.saturating_sub(seconds));
        for (_, fate) in &mut self.secrets {
            if let Fate::Leaving(left) = *fate {
                *fate = if left > seconds { Fate::Leaving(left - seconds) } else { Fate::RanOut };
            }
        }
    }

    fn rotate(&mut self, text: String, overlap: u64) {
        for (_, fate) in &mut self.secrets {
            *fate = match *fate {
                Fate::Newest if overlap == 0 => Fate::RanOut,
                Fate::Newest => Fate::Leaving(overlap),
                Fate::Leaving(_) => Fate::Ended,
                other => other,
            };
        }
        self.secrets.push((text, Fate::Newest));
        self.revision += 1;
    }

    fn code(&self, fate: Fate) -> Code {
        match fate {
            _ if self.revoked => Code::KeyRevoked,
            _ if self.left == Some(0) => Code::KeyExpired,
            Fate::RanOut => Code::KeyExpired,
            Fate::Ended => Code::KeyRevoked,
            Fate::Newest | Fate::Leaving(_) if self.disabled => Code::KeyDisabled,
            Fate::Newest | Fate::Leaving(_) => Code::Valid,
        }
    }
}

struct World {
    store: MemoryStore,
    clock: Arc<FixedClock>,
    keys: ApiKeys,
    verifier: Verifier,
    id: ApiKeyId,
    model: Model,
}

impl World {
    async fn new() -> Self {
        let store = MemoryStore::default();
        let clock = Arc::new(FixedClock::default());
        let keys = ApiKeys {
            store: Arc::new(store.clone()),
            reader: Arc::new(MockApiKeyReader::new()),
            peppers: Arc::new(peppers()),
            brand: Brand::default(),
            ids: Arc::new(CountingIds::default()),
            entropy: Arc::new(CountingEntropy::default()),
            clock: clock.clone(),
            most_keys: 1,
        };
        let verifier = Verifier {
            reader: Arc::new(store.clone()),
            peppers: Arc::new(peppers()),
            brand: Brand::default(),
            rates: Arc::new(KeyRates::new(10)),
            newer_digests: Arc::default(),
            last_used: Arc::default(),
            clock: clock.clone(),
        };
        let name = KeyName::parse("ci").unwrap();
        let draft =
            KeyDraft { name, environment: KeyEnvironment::Live, policy: KeyPolicy::default(), expires_at: None };
        let (key, text) = keys.create(&member(Role::Editor), account(), draft, None).await.unwrap();
        let secrets = vec![(text.expose_secret().to_owned(), Fate::Newest)];
        let model = Model { secrets, left: None, disabled: false, revoked: false, revision: 1 };
        Self { store, clock, keys, verifier, id: key.id, model }
    }

    async fn take(&mut self, step: Step) {
        let (who, id, over) = (member(Role::Editor), self.id, self.model.is_over());
        match step {
            Step::Pass(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                self.model.pass(seconds);
            }
            Step::Rotate(seconds) => {
                let overlap = Overlap::parse(Duration::from_secs(seconds)).unwrap();
                match self.keys.rotate(&who, id, overlap, None).await {
                    Ok((_, text)) if !over => self.model.rotate(text.expose_secret().to_owned(), seconds),
                    Err(RotateKeyError::KeyIsOver) if over => {}
                    outcome => panic!("{:?}", outcome.map(|(key, _)| key)),
                }
            }
            Step::Disable | Step::Enable => {
                let disable = matches!(step, Step::Disable);
                let outcome =
                    if disable { self.keys.disable(&who, id).await } else { self.keys.enable(&who, id).await };
                match outcome {
                    Ok(_) if !over => {
                        self.model.revision += i64::from(self.model.disabled != disable);
                        self.model.disabled = disable;
                    }
                    Err(DisableKeyError::KeyIsOver) if over => {}
                    outcome => panic!("{outcome:?}"),
                }
            }
            Step::EndIn(_) | Step::NeverEnd => {
                let left = if let Step::EndIn(seconds) = step { Some(seconds) } else { None };
                let end = left.map(|seconds| self.keys.clock.now().plus(Duration::from_secs(seconds)));
                let patch = KeyPatch { expires_at: Some(end), ..KeyPatch::default() };
                match self.keys.update(&who, id, patch).await {
                    Ok(_) if !over => {
                        self.model.revision += i64::from(self.model.left != left);
                        self.model.left = left;
                    }
                    Err(UpdateKeyError::KeyIsOver) if over => {}
                    outcome => panic!("{outcome:?}"),
                }
            }
            Step::Revoke => {
                self.keys.revoke(&who, id).await.unwrap();
                self.model.revision += i64::from(!self.model.revoked);
                self.model.revoked = true;
            }
        }
    }

    async fn check(&self) {
        let gateway = Principal::Service(ServicePrincipal {
            token: Some("svc_00000000000000000000000001".parse().unwrap()),
            name: "gateway".to_owned(),
            scopes: Scopes::from_iter([Scope::KeysVerify]),
        });
        let mut valid = 0;
        for (text, fate) in &self.model.secrets {
            let answer = self.verifier.verify_key(&gateway, text, &KeyUse::default()).await.unwrap();
            assert_eq!(answer.code, self.model.code(*fate), "{fate:?}");
            assert_eq!((answer.known, answer.revision), (Some((self.id, account())), self.model.revision));
            valid += usize::from(answer.code == Code::Valid);
        }
        assert!(valid <= 2);
        let rows = self.store.rows.lock().await;
        let key = rows.keys.iter().find(|key| key.id == self.id).unwrap();
        assert_eq!(key.revision, self.model.revision);
        let told = usize::try_from(key.revision).unwrap();
        assert_eq!(rows.records.len(), told, "each change is recorded once");
        assert_eq!(rows.changes, vec![Change::Key(self.id); told], "and told once");
    }
}

proptest! {
    #[test]
    fn a_key_does_what_was_done_to_it(steps in prop::collection::vec(step(), 0..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            world.check().await;
            for step in steps {
                world.take(step).await;
                world.check().await;
            }
        });
    }
}
