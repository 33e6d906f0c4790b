//! The web server: bind first, then run, so that whoever starts it knows the port.

use std::convert::Infallible;
use std::hash::Hash;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::Condition;
use actix_web::{App, HttpServer, web};
use portal_accounts::{
    FailedSignIns, Reconciler, Retention, RevokeAgain, RevokedAgain, SignIn, WebhookHealth, Webhooks,
};
use portal_api_keys::last_used::pause;
use portal_api_keys::rate_reports::EVERY;
use portal_api_keys::{
    Activity, Canary, CanaryError, EndKeysError, KeysOfDeleted, MoveDigests, OldRequests, RateReports, Watch,
};
use portal_http_api::mount_metrics;
use portal_http_kit::{Observe, cors};
use portal_kernel::{AccountId, ApiKeyId, ServiceTokenId};
use portal_postgres::PgFeed;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};

use crate::audit::HeadSigning;
use crate::cli::explain;
use crate::settings::{HttpSettings, MetricsSettings};
use crate::system::OsEntropy;
use crate::wire::Wired;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept: longer than load balancers keep theirs, mostly for a minute, so that it is they who close it and no
/// request meets a connection that ends.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How often jobs look whether they are due.
const JOB_INTERVAL: Duration = Duration::from_mins(1);

/// How often everything that the provider knows is read.
const RECONCILE_EVERY: Duration = Duration::from_hours(1);

/// How often what is old is deleted.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// How often the server looks whether it heard of accounts that are gone.
const END_KEYS_EVERY: Duration = Duration::from_secs(1);

/// So many times later it looks at all accounts, also at those that it did not hear of.
const END_ALL_KEYS_AFTER: u32 = 600;

/// How often the server looks whether it knows what sign-ins need.
const PREPARE_EVERY: Duration = Duration::from_millis(250);

/// How often the server looks whether it is time to tell the provider again which sessions ended.
const REVOKE_EVERY: Duration = Duration::from_secs(1);

/// How long the end of the server may wait for what is still to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Further routes of the same listener; called once per worker.
pub type Mount = Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// It stopped.
    #[error("the server stopped")]
    Run(#[source] std::io::Error),
}

/// A bound server.
pub struct Bound {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it tells its metrics openly, if anywhere.
    pub metrics_address: Option<SocketAddr>,
    server: Server,
    metrics: Option<Server>,
    feed: Arc<PgFeed>,
    reconciler: Arc<Reconciler>,
    retention: Arc<Retention>,
    old_requests: Arc<OldRequests>,
    keys_of_deleted: Arc<KeysOfDeleted>,
    canary: Option<Arc<Canary>>,
    revoke_again: Arc<RevokeAgain>,
    webhooks: Option<Arc<Webhooks>>,
    head_signing: Arc<HeadSigning>,
    sign_in: Arc<SignIn>,
    failed_sign_ins: Arc<FailedSignIns>,
    service_activity: Arc<Activity<ServiceTokenId>>,
    key_activity: Arc<Activity<(AccountId, ApiKeyId)>>,
    digests: Arc<MoveDigests>,
    rate_reports: Arc<RateReports>,
}

/// Ends a server that runs.
#[derive(Clone)]
pub struct Stopper(ServerHandle);

impl Stopper {
    /// At once: running requests are broken off. [`Bound::run`] returns soon after.
    pub fn stop(&self) {
        // The command is sent by now; nobody has to wait for its end.
        drop(self.0.stop(false));
    }
}

impl Bound {
    /// Stops the server from elsewhere. Whoever drops [`Bound::run`] unfinished leaves its threads behind.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.server.handle())
    }

    /// Serves until a signal arrives or the handle stops it; running requests get the configured time to end.
    pub async fn run(self) -> Result<(), ServeError> {
        let metrics = self.metrics.map(tokio::spawn);
        let feed = tokio::spawn(self.feed.run());
        let scanning = tokio::spawn(scan(self.reconciler.clone()));
        let recalling = tokio::spawn(recall(self.reconciler, self.webhooks.clone()));
        let forgetting = tokio::spawn(forget(self.retention, self.old_requests));
        let ending_keys = tokio::spawn(end_keys(self.keys_of_deleted));
        let canary: Vec<_> = self
            .canary
            .into_iter()
            .flat_map(|canary| [tokio::spawn(keep_canary(canary.clone())), tokio::spawn(watch_canary(canary))])
            .collect();
        let revoking = tokio::spawn(revoke_again(self.revoke_again));
        let head_signing = tokio::spawn(self.head_signing.run());
        let preparing = tokio::spawn(prepare(self.sign_in));
        let webhook_health = self.webhooks.as_ref().map(|webhooks| webhooks.health.clone());
        let (end, ended) = oneshot::channel();
        let mut telling = tokio::spawn(tell(self.failed_sign_ins, webhook_health, ended));
        let noting = tokio::spawn(note_uses(self.service_activity.clone()));
        let noting_keys = tokio::spawn(note_uses(self.key_activity.clone()));
        let moving_digests = tokio::spawn(move_digests(self.digests));
        let sharing = tokio::spawn(share_limits(self.rate_reports.clone()));
        let outcome = self.server.await.map_err(ServeError::Run);
        feed.abort();
        scanning.abort();
        recalling.abort();
        forgetting.abort();
        ending_keys.abort();
        canary.iter().for_each(JoinHandle::abort);
        revoking.abort();
        head_signing.abort();
        preparing.abort();
        noting.abort();
        noting_keys.abort();
        moving_digests.abort();
        sharing.abort();
        write_last(&self.service_activity, &self.key_activity, &self.rate_reports).await;
        // What is being told is told to its end, and then what came since.
        let is_told = end.send(()).is_ok() && matches!(timeout(LAST_WORDS, &mut telling).await, Ok(Ok(true)));
        if !is_told {
            telling.abort();
            tracing::warn!("the last sign-ins that failed may not be in the trail");
        }
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        outcome
    }
}

/// Binds the listeners and starts the workers. `extra` is mounted beside the API.
pub fn bind(
    wired: &Wired,
    http: &HttpSettings,
    metrics: &MetricsSettings,
    extra: Option<Mount>,
) -> Result<Bound, ServeError> {
    let (listener, address) = listen(http.bind)?;
    let origins = http.allowed_origins.clone();
    let (api, web) = (wired.api.clone().mount(), wired.web.clone().mount(&wired.api.metrics));
    let server = HttpServer::new(move || {
        App::new()
            .configure(|config| {
                if let Some(extra) = &extra {
                    extra(config);
                }
            })
            // What programs ask for is tried before the pages, of which people see a few.
            .configure(&api)
            .configure(&web)
            .wrap(Condition::new(!origins.is_empty(), cors(&origins)))
            .wrap(Observe)
    });
    let server = server
        .workers(workers(http.workers))
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(http.shutdown_timeout.as_secs())
        .listen(listener)
        .map_err(|source| ServeError::Bind { address, source })?
        .run();
    let (metrics, metrics_address) = match metrics.bind {
        None => (None, None),
        Some(bind) => {
            let (listener, address) = listen(bind)?;
            let mount = mount_metrics(wired.api.metrics.clone());
            let server = HttpServer::new(move || App::new().configure(&mount)).workers(1).disable_signals();
            let server = server.listen(listener).map_err(|source| ServeError::Bind { address, source })?;
            (Some(server.run()), Some(address))
        }
    };
    Ok(Bound {
        address,
        metrics_address,
        server,
        metrics,
        feed: wired.feed.clone(),
        head_signing: wired.head_signing.clone(),
        reconciler: wired.reconciler.clone(),
        retention: wired.retention.clone(),
        old_requests: wired.credentials.old_requests.clone(),
        keys_of_deleted: wired.credentials.keys_of_deleted.clone(),
        canary: wired.credentials.canary.clone(),
        revoke_again: wired.revoke_again.clone(),
        sign_in: wired.api.kit.sign_in.clone(),
        failed_sign_ins: wired.api.kit.failed_sign_ins.clone(),
        service_activity: wired.credentials.service_activity.clone(),
        key_activity: wired.credentials.key_activity.clone(),
        digests: wired.credentials.digests.clone(),
        rate_reports: wired.credentials.rate_reports.clone(),
        webhooks: wired.api.webhooks.clone(),
    })
}

/// Reads what sign-ins need as soon as it can be read: after the start, and whenever changes were missed.
async fn prepare(sign_in: Arc<SignIn>) {
    loop {
        if let Err(error) = sign_in.prepare().await {
            tracing::debug!(error = explain(&error), "what sign-ins need was not read; trying again");
        }
        tokio::time::sleep(PREPARE_EVERY).await;
    }
}

/// Puts the sign-ins that failed into the trail, and the deliveries that were refused into the log: now and then, and when the server has
/// ended. Whether all of them are there then.
async fn tell(
    failed_sign_ins: Arc<FailedSignIns>,
    webhooks: Option<Arc<WebhookHealth>>,
    mut ended: oneshot::Receiver<()>,
) -> bool {
    loop {
        let is_end = timeout(JOB_INTERVAL, &mut ended).await.is_ok();
        if let Some(webhooks) = &webhooks {
            webhooks.log_refusals();
        }
        let told = failed_sign_ins.tell().await;
        if is_end {
            return told.is_ok();
        }
        if let Err(error) = told {
            tracing::warn!(error = explain(&error), "sign-ins that failed are not in the trail yet; trying again");
        }
    }
}

/// Writes now and then which credentials were used.
async fn note_uses<I: Copy + Eq + Hash + Ord + Send + Sync + 'static>(activity: Arc<Activity<I>>) {
    loop {
        tokio::time::sleep(pause(&OsEntropy)).await;
        if let Err(error) = activity.write().await {
            tracing::warn!(error = explain(&error), "when credentials were used is not written yet; trying again");
        }
    }
}

/// Writes now and then the digests that were made with the newest pepper.
async fn move_digests(digests: Arc<MoveDigests>) {
    loop {
        tokio::time::sleep(pause(&OsEntropy)).await;
        if let Err(error) = digests.write().await {
            tracing::warn!(
                error = explain(&error),
                "digests stay with an older pepper until their keys are used again"
            );
        }
    }
}

/// What is told when the server has ended, each within its time.
async fn write_last(
    services: &Activity<ServiceTokenId>,
    keys: &Activity<(AccountId, ApiKeyId)>,
    rate_reports: &RateReports,
) {
    let told = timeout(LAST_WORDS, async { tokio::join!(services.write(), keys.write(), rate_reports.leave()) }).await;
    if !matches!(told, Ok((Ok(()), Ok(()), _))) {
        tracing::warn!("when service tokens and keys were last used may not be written");
    }
    if !matches!(told, Ok((_, _, Ok(())))) {
        tracing::debug!("the other replicas take a few seconds to take over this one's share of limits");
    }
}

/// Shares the limits of keys with the other replicas.
async fn share_limits(reports: Arc<RateReports>) {
    let mut due = tokio::time::interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        match timeout(EVERY, reports.exchange()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = explain(&error), "limits of keys are not shared; trying again"),
            Err(_) => tracing::debug!("limits of keys are not shared in time; trying again"),
        }
    }
}

/// Ends the keys of accounts that are gone: soon after they went, and now and then of all, so that none is left from when no server ran.
async fn end_keys(keys: Arc<KeysOfDeleted>) {
    loop {
        ended_keys(keys.end_all().await);
        for _ in 0..END_ALL_KEYS_AFTER {
            tokio::time::sleep(END_KEYS_EVERY).await;
            ended_keys(keys.end_heard().await);
        }
    }
}

fn ended_keys(outcome: Result<usize, EndKeysError>) {
    match outcome {
        Ok(0) => {}
        Ok(keys) => tracing::info!(keys, "keys of deleted accounts were revoked"),
        Err(error) => tracing::warn!(error = explain(&error), "keys of deleted accounts are not revoked yet"),
    }
}

/// Lets the program's own key live and revokes it. Every replica tries, and one does it.
async fn keep_canary(canary: Arc<Canary>) -> Infallible {
    loop {
        tokio::time::sleep(canary.rest()).await;
        let outcome = async {
            if let Some(life) = canary.begin().await? {
                tokio::time::sleep(canary.life()).await;
                canary.end(life).await?;
            }
            Ok::<_, CanaryError>(())
        };
        if let Err(error) = outcome.await {
            tracing::debug!(error = explain(&error), "how long revoked keys go on is not measured; trying again");
        }
    }
}

/// Measures how long this process goes on with it.
async fn watch_canary(canary: Arc<Canary>) -> Infallible {
    let mut watch = Watch::default();
    loop {
        let pause = canary.look(&mut watch).await;
        tokio::time::sleep(pause).await;
    }
}

/// Tells the provider again which sessions ended. What other processes left behind is learnt each minute.
async fn revoke_again(revoke_again: Arc<RevokeAgain>) {
    loop {
        if let Err(error) = revoke_again.recall().await {
            tracing::debug!(error = explain(&error), "which ends the identity provider did not confirm is not known");
        }
        for _ in 0..JOB_INTERVAL.as_secs() / REVOKE_EVERY.as_secs() {
            tokio::time::sleep(REVOKE_EVERY).await;
            tell_of_ends(&revoke_again).await;
        }
    }
}

async fn tell_of_ends(revoke_again: &RevokeAgain) {
    match revoke_again.run_if_due().await {
        Ok(RevokedAgain { confirmed, failure }) => {
            if confirmed > 0 {
                tracing::info!(confirmed, "the identity provider confirmed sessions that ended here before");
            }
            if let Some(error) = failure {
                let error = explain(&error);
                tracing::warn!(error, "the identity provider did not confirm which sessions ended; trying again");
            }
        }
        Err(error) => {
            tracing::warn!(error = explain(&error), "which sessions ended could not be told to the identity provider");
        }
    }
}

/// Compares with the provider what is known. Every replica tries, and one does it.
async fn scan(reconciler: Arc<Reconciler>) {
    loop {
        tokio::time::sleep(JOB_INTERVAL).await;
        match reconciler.run_if_due(RECONCILE_EVERY).await {
            Ok(None) => {}
            Ok(Some(report)) => tracing::info!(
                users = report.users.read,
                organizations = report.organizations.read,
                memberships = report.memberships.read,
                drift = report.drift(),
                unusable = report.unusable,
                complete = report.complete,
                left_out = report.left_out.len(),
                "the identity provider was compared with"
            ),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the comparison with the identity provider stopped and will go on");
            }
        }
    }
}

/// Deletes what is old, on every replica.
async fn forget(retention: Arc<Retention>, old_requests: Arc<OldRequests>) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        forgotten(retention.forget().await);
        forgotten(old_requests.forget().await);
    }
}

fn forgotten(outcome: Result<usize, impl std::error::Error>) {
    match outcome {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "what was old was deleted"),
        Err(error) => tracing::warn!(error = explain(&error), "what is old was not deleted; trying again later"),
    }
}

/// Brings the metrics up to date with what happened before this process began, and happens in others. A scan may take hours meanwhile.
async fn recall(reconciler: Arc<Reconciler>, webhooks: Option<Arc<Webhooks>>) {
    loop {
        if let Err(error) = reconciler.recall().await {
            tracing::debug!(%error, "what the last scan found is not known");
        }
        if let Some(webhooks) = &webhooks
            && let Err(error) = webhooks.recall().await
        {
            tracing::debug!(%error, "when the last webhook came is not known");
        }
        tokio::time::sleep(JOB_INTERVAL).await;
    }
}

/// 0 stands for one per core.
fn workers(wanted: usize) -> usize {
    if wanted > 0 { wanted } else { std::thread::available_parallelism().map_or(2, usize::from) }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let open = || {
        let listener = TcpListener::bind(address)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    open().map_err(|source| ServeError::Bind { address, source })
}
