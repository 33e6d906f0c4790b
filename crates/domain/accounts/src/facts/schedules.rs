//! Whatever order, repetition, loss and crash the deliveries go through, the end is what the provider has.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::Arc;

use portal_audit::AuditAction;
use portal_authz::{Platform, Role, Unchecked};
use portal_identity::{
    ProviderEvent, ProviderMembership, ProviderMembershipId, ProviderOrganization, ProviderOrganizationId,
    ProviderUser, ProviderUserId,
};
use portal_kernel::Timestamp;
use portal_testkit::{CountingIds, FixedClock};
use proptest::prelude::*;

use super::{Facts, Merge};
use crate::testing::memory::{MemoryStore, Rows};
use crate::testing::signing_in;
use crate::{AccountsStore, RoleMap, Source, UserState};

const PEOPLE: u8 = 3;
const ORGANIZATIONS: u8 = 2;
const ROLES: [&str; 4] = ["org:admin", "org:editor", "org:viewer", "org:unheard_of"];

/// What happens at the provider; what makes no sense there does not happen.
#[derive(Debug, Clone)]
enum Step {
    SaveUser(u8),
    DeleteUser(u8),
    SaveOrganization(u8),
    DeleteOrganization(u8),
    Join { user: u8, organization: u8, role: u8 },
    Leave { user: u8, organization: u8 },
}

/// The provider.
#[derive(Default)]
struct Clerk {
    now: i64,
    made: u32,
    /// Nobody gets an id twice, so whoever was deleted is never made again.
    gone: BTreeSet<String>,
    users: BTreeMap<u8, ProviderUser>,
    organizations: BTreeMap<u8, ProviderOrganization>,
    memberships: BTreeMap<(u8, u8), ProviderMembership>,
    sent: Vec<ProviderEvent>,
}

impl Clerk {
    /// Does it, a moment later or, for a tie, within the same millisecond.
    fn step(&mut self, step: &Step, same_moment: bool) {
        self.now += i64::from(!same_moment);
        self.made += 1;
        let version = Timestamp::from_unix_seconds(1_000 + self.now).unwrap();
        match *step {
            Step::SaveUser(user) => self.save_user(user, version),
            Step::SaveOrganization(organization) => self.save_organization(organization, version),
            Step::Join { user, organization, role } => self.join(user, organization, role, version),
            Step::Leave { user, organization } => self.leave(user, organization),
            Step::DeleteUser(user) => {
                if let Some(user) = self.users.remove(&user) {
                    self.gone.insert(user.id.to_string());
                    self.sent.push(ProviderEvent::UserDeleted(user.id));
                }
                for organization in 0..ORGANIZATIONS {
                    self.leave(user, organization);
                }
            }
            Step::DeleteOrganization(organization) => {
                if let Some(organization) = self.organizations.remove(&organization) {
                    self.gone.insert(organization.id.to_string());
                    self.sent.push(ProviderEvent::OrganizationDeleted(organization.id));
                }
                for user in 0..PEOPLE {
                    self.leave(user, organization);
                }
            }
        }
    }

    fn save_user(&mut self, number: u8, updated_at: Timestamp) {
        let id = ProviderUserId::parse(&format!("user_{number}")).unwrap();
        if self.gone.contains(id.as_str()) {
            return;
        }
        let user = ProviderUser {
            id,
            email: Some(format!("{}@example.test", self.made)),
            email_verified: true,
            banned: self.made.is_multiple_of(5),
            first_name: None,
            last_name: None,
            image_url: None,
            updated_at,
        };
        self.users.insert(number, user.clone());
        self.sent.push(ProviderEvent::User(user));
    }

    fn save_organization(&mut self, number: u8, updated_at: Timestamp) {
        let id = ProviderOrganizationId::parse(&format!("org_{number}")).unwrap();
        if self.gone.contains(id.as_str()) {
            return;
        }
        let organization = ProviderOrganization {
            id,
            name: format!("name {}", self.made),
            created_by: Some(ProviderUserId::parse("user_0").unwrap()),
            updated_at,
        };
        self.organizations.insert(number, organization.clone());
        self.sent.push(ProviderEvent::Organization(organization));
    }

    fn join(&mut self, user: u8, organization: u8, role: u8, updated_at: Timestamp) {
        let (Some(person), Some(place)) = (self.users.get(&user), self.organizations.get(&organization)) else {
            return;
        };
        let known = self.memberships.get(&(user, organization)).map(|membership| membership.id.clone());
        let membership = ProviderMembership {
            id: known.unwrap_or_else(|| ProviderMembershipId::parse(&format!("orgmem_{}", self.made)).unwrap()),
            // Some carry less of the organization than its own record does.
            organization: ProviderOrganization {
                created_by: place.created_by.clone().filter(|_| self.made.is_multiple_of(2)),
                ..place.clone()
            },
            user: person.id.clone(),
            role: ROLES[usize::from(role) % ROLES.len()].to_owned(),
            updated_at,
        };
        self.memberships.insert((user, organization), membership.clone());
        self.sent.push(ProviderEvent::Membership(membership));
    }

    fn leave(&mut self, user: u8, organization: u8) {
        if let Some(ProviderMembership { id, organization, user, .. }) = self.memberships.remove(&(user, organization))
        {
            self.gone.insert(id.to_string());
            self.sent.push(ProviderEvent::MembershipDeleted { id, organization: organization.id, user });
        }
    }

    /// What a complete scan finds, and what it does not find any more.
    fn scan(&self) -> Vec<ProviderEvent> {
        let users = self.users.values().cloned().map(ProviderEvent::User);
        let organizations = self.organizations.values().cloned().map(ProviderEvent::Organization);
        let memberships = self.memberships.values().cloned().map(ProviderEvent::Membership);
        let gone = self.sent.iter().filter(|event| super::deleted_id(event).is_some()).cloned();
        users.chain(organizations).chain(memberships).chain(gone).collect()
    }

    fn view(&self) -> View {
        let role = |membership: &ProviderMembership| {
            let creator = membership.user.as_str() == "user_0";
            RoleMap::default().member(&membership.role, creator).map(|role| role.to_string())
        };
        View {
            users: self.users.values().map(|user| (user.id.to_string(), user.email.clone())).collect(),
            organizations: self.organizations.values().map(|at| (at.id.to_string(), at.name.clone())).collect(),
            memberships: self
                .memberships
                .values()
                .map(|at| (at.organization.id.to_string(), at.user.to_string(), at.id.to_string(), role(at)))
                .collect(),
        }
    }
}

/// What is live, by the provider's ids.
#[derive(Debug, PartialEq, Eq)]
struct View {
    users: BTreeSet<(String, Option<String>)>,
    organizations: BTreeSet<(String, String)>,
    memberships: BTreeSet<(String, String, String, Option<String>)>,
}

impl View {
    fn of(rows: &Rows) -> Self {
        let users = rows.users.values().filter(|user| user.state != UserState::Deleted);
        let accounts = rows.accounts.values().filter(|account| !rows.deleted.contains(&account.id.to_string()));
        let organizations = accounts
            .filter_map(|account| Some((account.provider_organization.as_ref()?.to_string(), account.name.clone())));
        let memberships = rows.memberships.values().filter_map(|member| {
            let organization = rows.accounts[&member.account.to_string()].provider_organization.as_ref()?;
            let copy = member.copy.as_ref()?;
            let user = rows.users[&member.user.to_string()].provider_id.to_string();
            let role = member.role.map(|role| role.to_string());
            Some((organization.to_string(), user, copy.content.id.to_string(), role))
        });
        View {
            users: users.map(|user| (user.provider_id.to_string(), user.profile().email.clone())).collect(),
            organizations: organizations.collect(),
            memberships: memberships.collect(),
        }
    }
}

/// A store that events are delivered to.
struct Local {
    store: MemoryStore,
    facts: Facts,
}

impl Local {
    fn new() -> Self {
        let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
        Self { store: MemoryStore::default(), facts: Facts { role_map: RoleMap::default(), ids, clock } }
    }

    /// In one transaction, which a crash ends before its commit.
    async fn deliver(&self, events: &[ProviderEvent], source: Source, crash: bool) {
        let caller = signing_in();
        let cleared = Unchecked::new(Platform).authorize(&caller.principal).unwrap();
        let store: &AccountsStore = &self.store;
        let mut tx = store.begin().await.unwrap();
        let mut merge = Merge::new(&mut *tx, &cleared, &caller);
        self.facts.apply(&mut merge, events.to_vec(), source).await.unwrap();
        if !crash {
            tx.commit().await.unwrap();
        }
    }

    async fn view(&self) -> View {
        View::of(&*self.store.rows.lock().await)
    }
}

#[tokio::test]
async fn the_trail_tells_of_members_and_roles_and_not_of_every_version() {
    let local = Local::new();
    let mut clerk = Clerk::default();
    let join = |role| Step::Join { user: 0, organization: 0, role };
    for step in [Step::SaveUser(0), Step::SaveOrganization(0), join(0), join(0), join(2), join(2)] {
        clerk.step(&step, false);
    }
    // The first membership before the organization: it does not say who created it.
    let (organization, mut others): (Vec<_>, Vec<_>) =
        clerk.sent.iter().partition(|event| matches!(event, ProviderEvent::Organization(_)));
    others.insert(3, organization[0]);
    for event in others {
        local.deliver(slice::from_ref(event), Source::Told, false).await;
    }
    let rows = local.store.rows.lock().await;
    let memberships =
        rows.records.iter().map(|record| record.action).filter(|action| action.as_str().starts_with("membership"));
    let expected = [AuditAction::MembershipCreated, AuditAction::MembershipChanged, AuditAction::MembershipChanged];
    assert_eq!(memberships.collect::<Vec<_>>(), expected, "joined, found to be the owner, made a viewer");
}

#[tokio::test]
async fn whichever_record_names_the_creator_makes_the_owner() {
    let local = Local::new();
    let mut clerk = Clerk::default();
    let join = Step::Join { user: 0, organization: 0, role: 0 };
    for step in [Step::SaveUser(0), Step::SaveOrganization(0), join.clone(), join] {
        clerk.step(&step, false);
    }
    let memberships = clerk.sent.iter().filter(|event| matches!(event, ProviderEvent::Membership(_)));
    let mut roles = Vec::new();
    for event in memberships {
        local.deliver(slice::from_ref(event), Source::Told, false).await;
        let rows = local.store.rows.lock().await;
        roles.extend(rows.organizations.values().map(|organization| {
            rows.memberships
                .values()
                .find(|member| member.account == organization.account)
                .and_then(|member| member.role)
        }));
    }
    assert_eq!(roles, [Some(Role::Admin), Some(Role::Owner)], "the second one carries the creator");
}

fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    let (user, organization) = (0..PEOPLE, 0..ORGANIZATIONS);
    let step = prop_oneof![
        4 => user.clone().prop_map(Step::SaveUser),
        1 => user.clone().prop_map(Step::DeleteUser),
        3 => organization.clone().prop_map(Step::SaveOrganization),
        1 => organization.clone().prop_map(Step::DeleteOrganization),
        6 => (user.clone(), organization.clone(), 0..4_u8)
            .prop_map(|(user, organization, role)| Step::Join { user, organization, role }),
        2 => (user, organization).prop_map(|(user, organization)| Step::Leave { user, organization }),
    ];
    prop::collection::vec((step, prop::bool::weighted(0.2)), 1..40)
}

/// When an event arrives among the others, how often, whether in one transaction with the next one, and how often the program crashes over
/// that transaction first.
#[derive(Debug, Clone)]
struct Delivery {
    at: u16,
    times: u8,
    with_next: bool,
    crashes: u8,
}

fn deliveries(times: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Delivery>> {
    let delivery = (any::<u16>(), times, any::<bool>(), 0..2_u8).prop_map(|(at, times, with_next, crashes)| Delivery {
        at,
        times,
        with_next,
        crashes,
    });
    prop::collection::vec(delivery, 120)
}

fn provider(steps: &[(Step, bool)]) -> Clerk {
    let mut clerk = Clerk::default();
    // Everybody begins with somebody and something, so that joining makes sense.
    for number in 0..PEOPLE {
        clerk.step(&Step::SaveUser(number), false);
    }
    for number in 0..ORGANIZATIONS {
        clerk.step(&Step::SaveOrganization(number), false);
    }
    for (step, same_moment) in steps {
        clerk.step(step, *same_moment);
    }
    clerk
}

async fn delivered(clerk: &Clerk, deliveries: &[Delivery]) -> Local {
    let local = Local::new();
    let mut plan: Vec<_> = clerk.sent.iter().zip(deliveries.iter().cycle()).collect();
    plan.sort_by_key(|(_, delivery)| delivery.at);
    let mut together = Vec::new();
    for (event, delivery) in plan {
        together.extend((0..delivery.times).map(|_| event.clone()));
        if !delivery.with_next {
            for _ in 0..delivery.crashes {
                local.deliver(&together, Source::Told, true).await;
            }
            local.deliver(&std::mem::take(&mut together), Source::Told, false).await;
        }
    }
    local.deliver(&together, Source::Told, false).await;
    local
}

fn run(future: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn after_the_reconciler_local_state_is_that_of_the_source(
        steps in steps(),
        deliveries in deliveries(0..3),
    ) {
        run(async {
            let clerk = provider(&steps);
            let local = delivered(&clerk, &deliveries).await;
            for event in clerk.scan() {
                local.deliver(&[event], Source::Read, false).await;
            }
            prop_assert_eq!(local.view().await, clerk.view());
            Ok(())
        })?;
    }

    #[test]
    fn any_two_orders_of_the_same_events_end_alike(
        steps in steps(),
        one in deliveries(1..3),
        other in deliveries(1..3),
    ) {
        run(async {
            let clerk = provider(&steps);
            let (one, other) = (delivered(&clerk, &one).await, delivered(&clerk, &other).await);
            prop_assert_eq!(one.view().await, other.view().await);
            Ok(())
        })?;
    }
}
