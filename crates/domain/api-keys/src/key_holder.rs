//! What whoever holds a key may do with it, and with nothing else: read it, and end it.

use std::net::IpAddr;

use portal_audit::Caller;
use portal_authz::{Denied, KeyPrincipal, Principal};
use portal_kernel::ApiKeyId;

use crate::verify::look_up;
use crate::{ApiKey, ApiKeys, ReadKeyError, RevokeKeyError, Verifier, VerifyError};

impl Verifier {
    /// The holder of a presented key, in whatever state the key is; none if the text is not that of a secret that has not ended.
    pub async fn authenticate_key(&self, presented: &str) -> Result<Option<Principal>, VerifyError> {
        let holder = self.holder(presented).await?.filter(|holder| !holder.has_ended);
        Ok(holder.map(|holder| holder.principal))
    }

    /// As [`Self::authenticate_key`], also of a secret that has ended.
    pub(crate) async fn holder(&self, presented: &str) -> Result<Option<Holder>, VerifyError> {
        let Some((environment, kid)) = self.brand.read(presented) else { return Ok(None) };
        let stored = self.reader.key(&look_up()?, kid).await?;
        let Some(stored) = self.identify(presented, environment, stored.as_deref()) else { return Ok(None) };
        let now = self.clock.now();
        let has_ended = stored.revoked_at.is_some()
            || stored.secret_revoked_at.is_some()
            || stored.secret_expires_at.is_some_and(|end| end <= now);
        let holder = KeyPrincipal { key: stored.key, account: stored.account };
        Ok(Some(Holder { principal: Principal::ApiKey(holder), has_ended }))
    }
}

/// Who knows a secret.
pub(crate) struct Holder {
    pub(crate) principal: Principal,
    /// Whether that secret counts no more.
    pub(crate) has_ended: bool,
}

fn own_key(who: &Principal) -> Result<ApiKeyId, Denied> {
    match who {
        Principal::ApiKey(holder) => Ok(holder.key),
        Principal::User(_)
        | Principal::Impersonator(_)
        | Principal::Agent(_)
        | Principal::Service(_)
        | Principal::System(_) => Err(Denied::Forbidden),
    }
}

impl ApiKeys {
    /// The presented key, for its holder, who must be in the networks that the key is bound to.
    pub async fn get_own(&self, who: &Principal, from: Option<IpAddr>) -> Result<ApiKey, ReadKeyError> {
        let key = self.get(who, own_key(who)?).await?;
        let networks = &key.policy.networks;
        if !networks.is_empty() && !from.is_some_and(|from| networks.allows(from)) {
            return Err(Denied::Forbidden.into());
        }
        Ok(key)
    }

    /// Ends the presented key for good, from wherever it was found; nothing if none was presented.
    pub async fn revoke_own(&self, who: Option<&Caller>) -> Result<(), RevokeKeyError> {
        let Some(who) = who else { return Ok(()) };
        self.revoke(who, own_key(&who.principal)?).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portal_audit::{AuditAction, Provenance};
    use portal_authz::{Role, Unchecked};
    use portal_kernel::{Clock, ExposeSecret, StoreError};
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::{Ending, Fixture, account, key, member, minted, peppers, stored};
    use crate::{Brand, KeyPolicy, KeyRates, MockCredentialReader, Networks, StoredKey};

    fn holder() -> Principal {
        Principal::ApiKey(KeyPrincipal { key: key().id, account: account() })
    }

    fn verifier(found: Option<StoredKey>) -> Verifier {
        let mut reader = MockCredentialReader::new();
        let found = found.map(Arc::new);
        reader.expect_key().returning(move |_, _| Ok(found.clone()));
        let (peppers, clock) = (Arc::new(peppers()), Arc::new(FixedClock::default()));
        Verifier {
            reader: Arc::new(reader),
            peppers,
            brand: Brand::default(),
            rates: Arc::new(KeyRates::new(10)),
            newer_digests: Arc::default(),
            last_used: Arc::default(),
            clock,
        }
    }

    #[tokio::test]
    async fn who_knows_a_secret_that_has_not_ended_holds_the_key_in_whatever_state() {
        let now = FixedClock::default().now();
        let (_, foreign) = peppers().digest(&"another text".into());
        for (found, expected) in [
            (Some(stored()), true),
            (Some(StoredKey { disabled_at: Some(now), ..stored() }), true),
            (Some(StoredKey { expires_at: Some(now), ..stored() }), true),
            (Some(StoredKey { secret_expires_at: Some(now), ..stored() }), false),
            (Some(StoredKey { secret_revoked_at: Some(now), ..stored() }), false),
            (Some(StoredKey { revoked_at: Some(now), ..stored() }), false),
            (Some(StoredKey { digest: foreign, ..stored() }), false),
            (None, false),
        ] {
            let outcome = verifier(found).authenticate_key(minted().text.expose_secret()).await.unwrap();
            assert_eq!(outcome, expected.then(holder));
        }
        assert_eq!(verifier(Some(stored())).authenticate_key("noise").await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_outage_makes_nobody_a_stranger() {
        let mut reader = MockCredentialReader::new();
        reader.expect_key().returning(|_, _| Err(StoreError::Unavailable("gone".into())));
        let verifier = Verifier { reader: Arc::new(reader), ..verifier(None) };
        let outcome = verifier.authenticate_key(minted().text.expose_secret()).await;
        assert!(matches!(outcome, Err(VerifyError::Store(StoreError::Unavailable(_)))));
    }

    #[tokio::test]
    async fn a_key_is_read_by_its_holder_from_where_it_may_be_used() {
        let networks = Networks::parse(["192.0.2.0/24"]).unwrap();
        let bound = ApiKey { policy: KeyPolicy { networks, ..KeyPolicy::default() }, ..key() };
        let inside: IpAddr = "192.0.2.9".parse().unwrap();
        let outside: IpAddr = "198.51.100.7".parse().unwrap();
        for (key, from, allowed) in [
            (key(), None, true),
            (bound.clone(), Some(inside), true),
            (bound.clone(), Some(outside), false),
            (bound, None, false),
        ] {
            let mut fixture = Fixture::default();
            let found = key.clone();
            fixture.reader.expect_find().returning(move |_| Ok(Some(Unchecked::new(found.clone()))));
            let (keys, _) = fixture.build();
            assert_eq!(keys.get_own(&holder(), from).await.ok(), allowed.then_some(key));
        }
    }

    #[tokio::test]
    async fn a_key_ends_itself_and_who_holds_none_ends_nothing() {
        let caller = |principal| Caller { principal, provenance: Provenance::default() };
        let (keys, store) = Fixture::changing(key(), AuditAction::ApiKeyRevoked).build();
        keys.revoke_own(Some(&caller(holder()))).await.unwrap();
        assert_eq!(store.endings(), [Ending::Committed]);
        let (keys, store) = Fixture::default().build();
        keys.revoke_own(None).await.unwrap();
        let outcome = keys.revoke_own(Some(&member(Role::Owner))).await;
        assert!(matches!(outcome, Err(RevokeKeyError::Denied(Denied::Forbidden))), "a person has no key of their own");
        assert_eq!(store.endings(), []);
    }
}
