//! What the parts of the program count, as metrics.

use std::sync::Arc;

use portal_accounts::{ReconcileHealth, RevocationHealth, SignInHealth, WebhookHealth};
use portal_api_keys::RevocationDelays;
use portal_clerk::{ClerkAuthenticator, ClerkStats};
use portal_http_kit::{DelayMetric, Metric, MetricKind, RateLimits};
use portal_postgres::PgStore;

use crate::audit::HeadSigning;

/// Who counts.
pub(crate) struct Sources {
    pub(crate) store: Arc<PgStore>,
    pub(crate) authenticator: Arc<ClerkAuthenticator>,
    pub(crate) webhooks: Arc<WebhookHealth>,
    pub(crate) reconciler: Arc<ReconcileHealth>,
    pub(crate) revocations: Arc<RevocationHealth>,
    pub(crate) sign_ins: Arc<SignInHealth>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) head_signing: Arc<HeadSigning>,
    pub(crate) revocation_delays: Option<Arc<RevocationDelays>>,
}

/// Makes a metric of one count of a source.
fn of<S: Send + Sync + 'static>(
    source: &Arc<S>,
    kind: MetricKind,
) -> impl Fn(&'static str, &'static str, fn(&S) -> u64) -> Metric {
    let source = source.clone();
    move |name, help, read| {
        let source = source.clone();
        Metric { name, kind, help, read: Arc::new(move || read(&source)) }
    }
}

impl Sources {
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let [mut all, more] = [self.of_requests(), self.of_synchronization()];
        all.extend(more);
        all
    }

    pub(crate) fn delays(&self) -> Vec<DelayMetric> {
        let measured = self.revocation_delays.iter().cloned().map(|delays| DelayMetric {
            name: "portal_key_revocation_seconds",
            help: "How long this process went on with the key that is revoked each minute, after its revocation.",
            read: Arc::new(move || delays.counts()),
        });
        measured.collect()
    }

    fn of_requests(&self) -> Vec<Metric> {
        let database = of(&self.store, MetricKind::Counter);
        let clerk = of(&self.authenticator, MetricKind::Counter);
        let sign_ins = of(&self.sign_ins, MetricKind::Counter);
        let audit = of(&self.head_signing, MetricKind::Gauge);
        let (limited, limits) = (of(&self.rate_limits, MetricKind::Counter), of(&self.rate_limits, MetricKind::Gauge));
        let stat = |name, help, read: fn(&ClerkStats) -> u64| {
            let authenticator = self.authenticator.clone();
            Metric { read: Arc::new(move || read(&authenticator.stats())), ..clerk(name, help, |_| 0) }
        };
        vec![
            database("portal_database_checkouts_total", "Connections taken from the pool.", PgStore::checkouts),
            audit(
                "portal_audit_chain_broken",
                "Audit trails with which something was wrong when this process last signed.",
                HeadSigning::broken,
            ),
            audit(
                "portal_audit_last_signed_timestamp_seconds",
                "When this process last signed a head, in seconds since 1970; 0 before the first.",
                HeadSigning::last_signed,
            ),
            audit(
                "portal_audit_last_turn_timestamp_seconds",
                "When it last had signed all heads that it could, in seconds since 1970; 0 before the first time.",
                HeadSigning::last_turn,
            ),
            audit(
                "portal_audit_last_round_timestamp_seconds",
                "When it last had looked at all heads, also those noted as signed, in seconds since 1970; 0 before the first time.",
                HeadSigning::last_round,
            ),
            limited(
                "portal_rate_limited_total",
                "Requests refused because a person or an address made too many.",
                RateLimits::refused,
            ),
            limits("portal_rate_limit_entries", "People and addresses that the limits remember.", |limits| {
                limits.remembered() as u64
            }),
            sign_ins("portal_sign_ins_total", "Requests with a session that counts.", SignInHealth::all),
            sign_ins("portal_first_sign_ins_total", "People made by their own first request.", SignInHealth::first),
            stat("portal_clerk_signature_checks_total", "Session tokens whose signature was checked.", |stats| {
                stats.signature_checks
            }),
            stat("portal_clerk_jwks_fetches_total", "Requests for the provider's signing keys.", |stats| {
                stats.jwks_fetches
            }),
            stat("portal_clerk_token_cache_hits_total", "Session tokens that were known.", |stats| stats.cache_hits),
            stat("portal_clerk_token_cache_misses_total", "Session tokens that were not known.", |stats| {
                stats.cache_misses
            }),
        ]
    }

    fn of_synchronization(&self) -> Vec<Metric> {
        let webhooks = of(&self.webhooks, MetricKind::Counter);
        let webhook = of(&self.webhooks, MetricKind::Gauge);
        let scan = of(&self.reconciler, MetricKind::Gauge);
        let revocation = of(&self.revocations, MetricKind::Gauge);
        vec![
            webhooks(
                "portal_webhooks_accepted_total",
                "Deliveries of the provider that were acknowledged.",
                WebhookHealth::accepted,
            ),
            webhooks(
                "portal_webhooks_refused_total",
                "Deliveries that nobody signed, or too long ago.",
                WebhookHealth::refused,
            ),
            webhooks(
                "portal_webhooks_parked_total",
                "Deliveries that were put aside for a person to look at.",
                WebhookHealth::parked,
            ),
            webhook(
                "portal_webhook_last_accepted_timestamp_seconds",
                "When the last delivery was taken in, by whichever process, in seconds since 1970; 0 before the first.",
                WebhookHealth::last_accepted,
            ),
            scan(
                "portal_reconcile_drift",
                "Records that the last complete scan of the provider had to mend.",
                ReconcileHealth::drift,
            ),
            scan(
                "portal_reconcile_unusable",
                "Records that the last scan of this process could not use; 0 once the scan of any process is complete.",
                ReconcileHealth::unusable,
            ),
            scan(
                "portal_reconcile_last_complete_timestamp_seconds",
                "When that scan ended, in seconds since 1970; 0 before the first.",
                ReconcileHealth::last_complete,
            ),
            revocation(
                "portal_unconfirmed_session_ends",
                "Sessions that ended here and that the provider may still make tokens for, whichever process ended them.",
                RevocationHealth::unconfirmed,
            ),
        ]
    }
}
