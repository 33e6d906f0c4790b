//! What a gateway asks.

use std::sync::Arc;

use portal_api_keys::KeyUse;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::follow::Follower;
use crate::freshness::Freshness;
use crate::http::{Portal, StartError};
use crate::keys::Keys;
use crate::settings::GatewaySettings;
use crate::verdict::Verdict;

/// Holds all API keys of a portal. Make one per process and share it; with the last of them it stops following.
pub struct Gateway {
    pub(crate) keys: Arc<Keys>,
    pub(crate) freshness: Arc<Freshness>,
    portal: Portal,
    /// Changes with every question to the portal.
    heard: watch::Receiver<()>,
    following: Option<JoinHandle<()>>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.following.iter().for_each(JoinHandle::abort);
    }
}

impl Gateway {
    /// Reads all keys and follows their changes, on the runtime that calls it. The portal may come up later.
    pub fn start(settings: GatewaySettings) -> Result<Self, StartError> {
        let (told, heard) = watch::channel(());
        let mut gateway = Self::alone(settings)?;
        gateway.heard = heard;
        let follower = Follower::new(gateway.portal.clone(), gateway.keys.clone(), gateway.freshness.clone());
        gateway.following = Some(tokio::spawn(follower.run(move || told.send_replace(()))));
        Ok(gateway)
    }

    /// One that follows nobody.
    pub(crate) fn alone(settings: GatewaySettings) -> Result<Self, StartError> {
        let GatewaySettings { portal, token, peppers, brand } = settings;
        let (portal, keys) = (Portal::new(portal, token)?, Arc::new(Keys::new(peppers, brand)));
        let (_, heard) = watch::channel(());
        Ok(Self { keys, freshness: Arc::new(Freshness::new()), portal, heard, following: None })
    }

    /// Whether the presented text may be used now, without I/O. Takes no lock for longer than a look-up; the time is that of the database.
    pub fn verify(&self, presented: &str, wanted: &KeyUse<'_>) -> Verdict {
        match self.freshness.now() {
            Some(now) => self.keys.judge(presented, now, wanted),
            None => Verdict::Unavailable,
        }
    }

    /// As [`Self::verify`], and where that is [`Verdict::Ask`], what the portal says. Never [`Verdict::Ask`].
    pub async fn decide(&self, presented: &str, wanted: &KeyUse<'_>) -> Verdict {
        match self.verify(presented, wanted) {
            Verdict::Ask => self.portal.verify(presented, wanted).await,
            verdict => verdict,
        }
    }

    /// Whether keys can be judged: all of them were read, and the portal was heard of a moment ago.
    pub fn is_ready(&self) -> bool {
        self.freshness.now().is_some()
    }

    /// Waits until keys can be judged.
    pub async fn ready(&self) {
        let mut heard = self.heard.clone();
        // An error says that nothing follows any more.
        while !self.is_ready() && heard.changed().await.is_ok() {}
    }

    /// How many secrets are known, those included that ended since they were read.
    pub fn known_secrets(&self) -> usize {
        self.keys.count()
    }
}
