//! How many requests a person or an address may make in a minute, and the headers that tell (draft-ietf-httpapi-ratelimit-headers).
//!
//! Counts are kept by this process alone: so many replicas allow so many times as much.

mod recent;
mod steady;

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};
use portal_kernel::{Clock, UserId};

use crate::Kit;
use crate::address::network;
use crate::problem::Problem;
use recent::Recent;
use steady::Steady;

pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Requests per minute; 0 = any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// One person, reading.
    pub user_reads: u32,
    /// One person, changing something.
    pub user_writes: u32,
    /// One person, with the identity provider being asked.
    pub user_provider_calls: u32,
    /// One address, reading.
    pub address_reads: u32,
    /// One address, changing something.
    pub address_writes: u32,
    /// One address, presenting what may be the legacy token of services.
    pub legacy_services: u32,
    /// How many people, and how many addresses, each limit counts at a time.
    pub entries: usize,
}

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Read,
    Write,
    /// Whatever its method, the identity provider is asked, who limits this whole program.
    AsksProvider,
}

/// The limits, with what was spent of them.
pub struct RateLimits {
    user_reads: Option<Limit<UserId>>,
    user_writes: Option<Limit<UserId>>,
    user_provider_calls: Option<Limit<UserId>>,
    address_reads: Option<Limit<IpAddr>>,
    address_writes: Option<Limit<IpAddr>>,
    legacy_services: Option<Limit<IpAddr>>,
    refused: AtomicU64,
}

impl RateLimits {
    /// Nothing is spent yet.
    pub fn new(settings: &RateLimitSettings, clock: Arc<dyn Clock>) -> Self {
        let (clock, most) = (Steady::new(clock), settings.entries);
        Self {
            user_reads: Limit::new("user-read", settings.user_reads, most, &clock),
            user_writes: Limit::new("user-write", settings.user_writes, most, &clock),
            user_provider_calls: Limit::new("user-provider", settings.user_provider_calls, most, &clock),
            address_reads: Limit::new("address-read", settings.address_reads, most, &clock),
            address_writes: Limit::new("address-write", settings.address_writes, most, &clock),
            legacy_services: Limit::new("legacy-service", settings.legacy_services, most, &clock),
            refused: AtomicU64::new(0),
        }
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many people and addresses are remembered, by all limits together.
    pub fn remembered(&self) -> usize {
        let users = [&self.user_reads, &self.user_writes, &self.user_provider_calls];
        let addresses = [&self.address_reads, &self.address_writes, &self.legacy_services];
        users.into_iter().flatten().map(|limit| limit.remembered.len()).sum::<usize>()
            + addresses.into_iter().flatten().map(|limit| limit.remembered.len()).sum::<usize>()
    }

    fn of_user(&self, effort: Effort) -> Option<&Limit<UserId>> {
        match effort {
            Effort::Read => self.user_reads.as_ref(),
            Effort::Write => self.user_writes.as_ref(),
            Effort::AsksProvider => self.user_provider_calls.as_ref(),
        }
    }

    fn of_address(&self, method: &Method) -> Option<&Limit<IpAddr>> {
        if reads(method) { self.address_reads.as_ref() } else { self.address_writes.as_ref() }
    }
}

pub(crate) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// So many requests a minute for each key.
struct Limit<K: Eq + Hash + Copy> {
    name: &'static str,
    limiter: RateLimiter<K, Recent<K>, Steady, StateInformationMiddleware>,
    remembered: Recent<K>,
    /// Seconds until one more is allowed, at most.
    refill: u64,
    policy: HeaderValue,
}

impl<K: Eq + Hash + Copy> Limit<K> {
    fn new(name: &'static str, per_minute: u32, most: usize, clock: &Steady) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute)?);
        let remembered = Recent::new(most);
        Some(Self {
            name,
            limiter: RateLimiter::new(quota, remembered.clone(), clock.clone()),
            remembered,
            refill: whole_seconds(quota.replenish_interval()),
            policy: HeaderValue::try_from(format!("\"{name}\";q={per_minute};w=60")).ok()?,
        })
    }

    /// Spends one, if one is left.
    fn spend(&self, key: &K) -> Standing {
        let (left, seconds, refused) = match self.limiter.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), self.refill, false),
            Err(until) => (0, whole_seconds(until.wait_time_from(self.limiter.clock().now())), true),
        };
        Standing { name: self.name, policy: self.policy.clone(), left, seconds, refused }
    }
}

/// Rounded up, and never none.
fn whole_seconds(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

/// Where a caller stands with one limit.
struct Standing {
    name: &'static str,
    policy: HeaderValue,
    left: u32,
    seconds: u64,
    refused: bool,
}

impl Standing {
    /// `"name";r=LEFT;t=SECONDS`
    fn write(&self, text: &mut Text) {
        text.push(b"\"");
        text.push(self.name.as_bytes());
        text.push(b"\";r=");
        text.push_number(self.left.into());
        text.push(b";t=");
        text.push_number(self.seconds);
    }
}

/// A header's value on the stack, which the standings with two limits fit in: the machinery of formatting would take as long as all the
/// rest.
struct Text {
    bytes: [u8; 160],
    length: usize,
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; 160], length: 0 };

    /// Leaves out what does not fit.
    fn push(&mut self, more: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + more.len()) {
            place.copy_from_slice(more);
            self.length += more.len();
        }
    }

    /// In decimal.
    fn push_number(&mut self, mut number: u64) {
        let (mut digits, mut first) = ([0; 20], 20);
        loop {
            first -= 1;
            digits[first] = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What one request was counted against.
#[derive(Default)]
pub(crate) struct Counted {
    address: Option<Standing>,
    user: Option<Standing>,
}

impl Counted {
    /// Counts the request against the address that it comes from, before anything of it is believed.
    pub(crate) fn by_address(&mut self, req: &HttpRequest) -> Result<(), Problem> {
        let kit = Kit::of(req)?;
        let Some(limit) = kit.rate_limits.of_address(req.method()) else { return Ok(()) };
        // A request without an address comes from no network.
        let Some(client) = kit.trusted_proxies.client(req) else { return Ok(()) };
        check(&kit.rate_limits, self.address.insert(limit.spend(&network(client))))
    }

    /// Counts it against a person who has been verified.
    pub(crate) fn by_user(&mut self, req: &HttpRequest, user: UserId, effort: Effort) -> Result<(), Problem> {
        let kit = Kit::of(req)?;
        let Some(limit) = kit.rate_limits.of_user(effort) else { return Ok(()) };
        check(&kit.rate_limits, self.user.insert(limit.spend(&user)))
    }

    /// Tells where the caller stands.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let mut standing = Text::EMPTY;
        let policy = match (&self.address, &self.user) {
            (None, None) => return,
            (Some(one), None) | (None, Some(one)) => {
                one.write(&mut standing);
                Ok(one.policy.clone())
            }
            (Some(first), Some(second)) => {
                first.write(&mut standing);
                standing.push(b", ");
                second.write(&mut standing);
                let mut policy = Text::EMPTY;
                for part in [first.policy.as_bytes(), b", ", second.policy.as_bytes()] {
                    policy.push(part);
                }
                HeaderValue::from_bytes(policy.as_bytes())
            }
        };
        if let (Ok(policy), Ok(standing)) = (policy, HeaderValue::from_bytes(standing.as_bytes())) {
            headers.append(RATE_LIMIT_POLICY, policy);
            headers.append(RATE_LIMIT, standing);
        }
    }
}

/// Counts a request with what may be the legacy token of services, before it is compared.
pub(crate) fn count_legacy_service(kit: &Kit, address: Option<IpAddr>) -> Result<(), Problem> {
    let limits = &kit.rate_limits;
    let Some((limit, address)) = limits.legacy_services.as_ref().zip(address) else { return Ok(()) };
    check(limits, &limit.spend(&network(address)))
}

fn check(limits: &RateLimits, standing: &Standing) -> Result<(), Problem> {
    if !standing.refused {
        return Ok(());
    }
    limits.refused.fetch_add(1, Ordering::Relaxed);
    let seconds = standing.seconds.to_string();
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests")
        .detail(format_args!("Repeat it after {seconds} s."))
        .member("violated-policies", vec![standing.name])
        .header(RETRY_AFTER, &seconds))
}

#[cfg(test)]
mod tests {
    use portal_kernel::Id;
    use portal_testkit::FixedClock;
    use uuid::Uuid;

    use super::*;

    fn limits(clock: &Arc<FixedClock>) -> RateLimits {
        let settings = RateLimitSettings {
            user_reads: 120,
            user_writes: 3,
            user_provider_calls: 0,
            address_reads: 1_000_000,
            address_writes: 2,
            legacy_services: 0,
            entries: 1_000,
        };
        RateLimits::new(&settings, clock.clone())
    }

    fn user(number: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(number))
    }

    fn told(limit: &Limit<UserId>, key: u128) -> (String, bool) {
        let standing = limit.spend(&user(key));
        let mut text = Text::EMPTY;
        standing.write(&mut text);
        (String::from_utf8(text.as_bytes().to_vec()).unwrap(), standing.refused)
    }

    #[test]
    fn what_is_spent_comes_back_bit_by_bit() {
        let clock = Arc::new(FixedClock::default());
        let limits = limits(&clock);
        let writes = limits.of_user(Effort::Write).unwrap();
        assert_eq!(writes.policy, "\"user-write\";q=3;w=60");
        for left in [2, 1, 0] {
            assert_eq!(told(writes, 1), (format!("\"user-write\";r={left};t=20"), false));
        }
        clock.advance(Duration::from_millis(7_500));
        assert_eq!(told(writes, 1), ("\"user-write\";r=0;t=13".to_owned(), true));
        clock.advance(Duration::from_millis(12_500));
        assert_eq!(told(writes, 1), ("\"user-write\";r=0;t=20".to_owned(), false));
        assert!(told(writes, 1).1, "only one came back");
        clock.advance(Duration::from_mins(1));
        assert_eq!(told(writes, 1), ("\"user-write\";r=2;t=20".to_owned(), false));
    }

    #[test]
    fn nobody_spends_what_is_somebody_elses() {
        let clock = Arc::new(FixedClock::default());
        let limits = limits(&clock);
        let writes = limits.of_user(Effort::Write).unwrap();
        while !told(writes, 1).1 {}
        assert_eq!(told(writes, 2).0, "\"user-write\";r=2;t=20");
        let reads = limits.of_user(Effort::Read).unwrap();
        assert_eq!(told(reads, 1).0, "\"user-read\";r=119;t=1", "reading is counted apart");
    }

    #[test]
    fn no_limit_counts_nobody() {
        let limits = limits(&Arc::default());
        assert!(limits.of_user(Effort::AsksProvider).is_none());
        assert_eq!(limits.remembered(), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let clock = Arc::new(FixedClock::default());
        let limits = limits(&clock);
        let writes = limits.of_user(Effort::Write).unwrap();
        while !told(writes, 1).1 {}
        clock.set(clock.now().minus(Duration::from_hours(24)));
        assert!(told(writes, 1).1, "nor is anything given back");
        clock.advance(Duration::from_secs(21));
        assert!(!told(writes, 1).1);
    }

    #[test]
    fn what_is_remembered_is_bounded_whoever_comes() {
        let clock = Arc::new(FixedClock::default());
        let limits = limits(&clock);
        let reads = limits.of_address(&Method::GET).unwrap();
        for number in 0..50_000_u32 {
            reads.spend(&IpAddr::V4(number.into()));
            assert!(limits.remembered() <= 1_000, "{number}");
        }
        assert!(limits.remembered() > 400, "and it is used: {}", limits.remembered());
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for number in [0, 7, 10, 1_234_567, u64::from(u32::MAX)] {
            let mut text = Text::EMPTY;
            text.push(b"x");
            text.push_number(number);
            assert_eq!(text.as_bytes(), format!("x{number}").as_bytes());
        }
    }

    #[test]
    fn two_limits_fit_into_a_header_whatever_their_numbers() {
        let limit =
            |name| Limit::<UserId>::new(name, u32::MAX, 1, &Steady::new(Arc::new(FixedClock::default()))).unwrap();
        let standing = |limit: &Limit<UserId>| Standing { seconds: u64::MAX, left: u32::MAX, ..limit.spend(&user(1)) };
        let (address, user) = (standing(&limit("address-write")), standing(&limit("user-provider")));
        let mut headers = HeaderMap::new();
        Counted { address: Some(address), user: Some(user) }.tell(&mut headers);
        let told = |name| headers.get(name).unwrap().to_str().unwrap().to_owned();
        let policy = "\"address-write\";q=4294967295;w=60, \"user-provider\";q=4294967295;w=60";
        assert_eq!(told(RATE_LIMIT_POLICY), policy);
        let standing = policy.replace(";q=", ";r=").replace(";w=60", &format!(";t={}", u64::MAX));
        assert_eq!(told(RATE_LIMIT), standing);
    }
}
