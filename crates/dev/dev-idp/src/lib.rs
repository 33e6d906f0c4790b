//! A local identity provider with sample people, which stands in for Clerk during development and tests.
//!
//! It signs tokens with a key of its own, serves the key set and the part of the Backend API that a portal uses, and
//! sends webhooks about what happens. Anybody can sign in as anybody, so it answers on this machine only and is never part of a production build.
#![warn(missing_docs)]

mod backend_api;
mod changes;
mod control;
mod directory;
mod error;
mod frontend_api;
mod guard;
mod key;
mod listen;
mod page;
pub mod people;
mod rate_limit;
mod sessions;
mod shapes;
mod token;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web;
use portal_kernel::{Clock, Timestamp};
use serde_json::{Value, json};

pub use error::DevIdpError;
pub use guard::refuse_live_keys;
pub use key::{FRONTEND_HOST, ISSUER, Instance, SigningKey};
pub use listen::listen;
pub use people::{Membership, Organization, Person, person};
pub use sessions::{Session, SessionStatus};
pub use token::{
    CATEGORY_MACHINE, CATEGORY_SESSION, CATEGORY_TEMPLATE, LIFETIME, SigningAlgorithm, TokenMint, TokenSpec,
};
pub use webhooks::{WebhookCounters, WebhookFaults, webhook_signature};

/// A text that is in every binary which links this crate; its absence shows that a build left the crate out.
pub const MARKER: &str = "portal-dev-idp";

/// The path under which the program mounts the provider.
pub const PATH: &str = "/__clerk";

/// The provider: one per program, built once; clones share everything.
#[derive(Clone)]
pub struct DevIdp(Arc<State>);

struct State {
    instance: Instance,
    key: Arc<SigningKey>,
    mint: TokenMint,
    clock: Arc<dyn Clock>,
    directory: directory::Directory,
    webhooks: webhooks::Webhooks,
    rate_limit: rate_limit::RateLimit,
    outage: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    jwks: AtomicU64,
    user: AtomicU64,
    memberships: AtomicU64,
}

impl Counters {
    pub(crate) fn jwks(&self) {
        self.jwks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn user(&self) {
        self.user.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn memberships(&self) {
        self.memberships.fetch_add(1, Ordering::Relaxed);
    }
}

impl DevIdp {
    /// A provider with the sample people.
    pub fn new(key: impl Into<Arc<SigningKey>>, clock: Arc<dyn Clock>) -> Self {
        let key = key.into();
        Self(Arc::new(State {
            instance: Instance::of(&key),
            mint: TokenMint::new(Arc::clone(&key)),
            key,
            clock,
            directory: directory::Directory::default(),
            webhooks: webhooks::Webhooks::default(),
            rate_limit: rate_limit::RateLimit::default(),
            outage: AtomicBool::new(false),
            counters: Counters::default(),
        }))
    }

    /// Refuses an address that is not loopback.
    pub fn check_bind(address: SocketAddr) -> Result<(), DevIdpError> {
        guard::check_bind(address)
    }

    /// The keys to configure.
    pub fn instance(&self) -> &Instance {
        &self.0.instance
    }

    /// The key that signs.
    pub fn signing_key(&self) -> &SigningKey {
        &self.0.key
    }

    /// The mint, for tokens that are bent on purpose.
    pub fn mint(&self) -> &TokenMint {
        &self.0.mint
    }

    /// The key set as it is served.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.0.key.jwk()] })
    }

    /// A session token as a page of the origin `azp` would get it at that moment. The session begins with its first token.
    ///
    /// Also made for a session that has ended and for somebody who was deleted, since tokens outlive both;
    /// [`DevIdp::live_session_token`] refuses.
    pub fn session_token(&self, person: &Person, azp: &str, now: Timestamp) -> String {
        self.touch(person);
        self.0.mint.session_token(person, azp, now)
    }

    /// A session token of this moment.
    pub fn fresh_session_token(&self, person: &Person, azp: &str) -> String {
        self.session_token(person, azp, self.0.clock.now())
    }

    /// Everybody who exists now.
    pub fn people(&self) -> Vec<Person> {
        self.world().people.clone()
    }

    /// Somebody who exists now, by name; the error lists the sample people.
    pub fn person(&self, name: &str) -> Result<Person, DevIdpError> {
        self.world().named(name).cloned().ok_or_else(|| DevIdpError::unknown_person(name))
    }

    /// Adds somebody, or replaces the person with the same user id. Lasts until the program ends.
    ///
    /// Organizations that do not exist yet are made; of those that do, the person's copy is brought up to date. Times of
    /// what changes move forward, unless they are given as later ones. Memberships that are left out are deleted.
    pub fn add_person(&self, person: Person) {
        self.write(|changes| changes.put_person(person));
    }

    /// Deletes somebody at the provider. Tokens that exist stay valid until they expire.
    pub fn remove_person(&self, user_id: &str) {
        // Somebody who does not exist needs no deletion.
        let _ = self.write(|changes| changes.remove_person(user_id));
    }

    /// Changes an organization for everybody who belongs to it, and moves its time forward unless a later one is given.
    pub fn update_organization(&self, organization: &Organization) {
        self.write(|changes| changes.put_organization(organization));
    }

    /// Lets somebody accept an invitation, which Clerk does on a page of its own.
    pub fn accept_invitation(&self, invitation_id: &str, user_id: &str) -> Result<Membership, DevIdpError> {
        Ok(self.write(|changes| changes.accept_invitation(invitation_id, user_id))?)
    }

    /// Answers requests to the Backend API with 429 after that many within ten seconds; the key set has no limit.
    pub fn set_rate_limit(&self, requests: Option<u32>) {
        self.0.rate_limit.set(requests);
    }

    /// Sends every event from now on to that address of this machine, and to no other. Runs as a task of the caller's runtime.
    pub fn send_webhooks_to(&self, url: &str) -> Result<(), DevIdpError> {
        self.0.webhooks.send_to(url, &self.0.instance, Arc::clone(&self.0.clock))
    }

    /// Drops every event from now on, as before the first endpoint. Deliveries that began go on.
    pub fn stop_webhooks(&self) {
        self.0.webhooks.stop();
    }

    /// What goes wrong with webhooks from now on; chance begins anew with the seed.
    pub fn set_webhook_faults(&self, faults: WebhookFaults) {
        self.0.webhooks.set_faults(faults);
    }

    /// What goes wrong with webhooks.
    pub fn webhook_faults(&self) -> WebhookFaults {
        self.0.webhooks.faults()
    }

    /// The pauses before the second attempt of a delivery, the third and so on. None: there is one attempt only.
    pub fn set_webhook_pauses(&self, pauses: &[Duration]) {
        self.0.webhooks.set_pauses(pauses);
    }

    /// What has become of the events.
    pub fn webhook_counters(&self) -> WebhookCounters {
        self.0.webhooks.counters()
    }

    /// Waits until every event so far is delivered, lost or given up.
    pub async fn webhooks_settled(&self) {
        self.0.webhooks.settled().await;
    }

    /// Makes the Backend API and the key set answer 503, or work again.
    pub fn set_outage(&self, outage: bool) {
        self.0.outage.store(outage, Ordering::SeqCst);
    }

    /// Requests for the key set so far, refused ones included.
    pub fn jwks_requests(&self) -> u64 {
        self.0.counters.jwks.load(Ordering::Relaxed)
    }

    /// Requests for a user so far, refused ones included.
    pub fn user_requests(&self) -> u64 {
        self.0.counters.user.load(Ordering::Relaxed)
    }

    /// Requests for the memberships of a user so far, refused ones included.
    pub fn membership_requests(&self) -> u64 {
        self.0.counters.memberships.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn outage(&self) -> bool {
        self.0.outage.load(Ordering::SeqCst)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub(crate) fn directory(&self) -> &directory::Directory {
        &self.0.directory
    }

    pub(crate) fn webhooks(&self) -> &webhooks::Webhooks {
        &self.0.webhooks
    }

    /// Counts a request against the limit, or says after how many seconds to ask again.
    pub(crate) fn spend_request(&self) -> Result<(), u64> {
        self.0.rate_limit.spend(self.now())
    }
}

/// Mounts the provider under [`PATH`]; to be called for each worker with the same provider.
pub fn configure(idp: &DevIdp) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
    let idp = idp.clone();
    move |services| {
        let index = web::resource(["", "/"]).wrap(from_fn(guard::same_origin_only)).get(page::index);
        let sign_in = web::resource("/sign-in").wrap(from_fn(guard::same_origin_only)).post(frontend_api::sign_in);
        let sign_out = web::resource("/sign-out").wrap(from_fn(guard::same_origin_only)).post(frontend_api::sign_out);
        let faults =
            web::resource("/webhook-faults").wrap(from_fn(guard::same_origin_only)).post(control::webhook_faults);
        services.service(
            web::scope(PATH)
                .app_data(web::Data::new(idp))
                .service(index)
                .service(sign_in)
                .service(sign_out)
                .service(faults)
                .route("/v1/client/handshake", web::get().to(frontend_api::handshake))
                .configure(backend_api::routes)
                .default_service(web::to(not_found))
                .wrap(from_fn(guard::local_host_only))
                // Outermost, so that refusals carry it too.
                .wrap(DefaultHeaders::new().add(("x-dev-idp", MARKER)).add(("cache-control", "no-store"))),
        );
    }
}

async fn not_found(idp: web::Data<DevIdp>) -> Result<&'static str, error::ApiError> {
    if idp.outage() {
        return Err(error::ApiError::outage());
    }
    Err(error::ApiError::not_found("The local identity provider has no such path."))
}
