//! Trails as members read them: the port `AuditReader`.

use portal_authz::{Role, Unchecked};
use portal_kernel::{AuditEventId, Page, PageRequest, PageSize, UserId};

use super::{Ports, at, bare, id, member, record};
use crate::{Actor, AuditAction, AuditEntry, AuditFilter, AuditRecord, Effect, EffectResult, FoundEvent, TrailOf};

async fn page(
    ports: Ports<'_>,
    by: Option<UserId>,
    filter: AuditFilter,
    (size, after): (u32, Option<u32>),
) -> Page<FoundEvent, AuditEventId> {
    let account = ports.accounts[0];
    let who = member(account, by.unwrap_or(id(1)), Role::Owner);
    let cleared = Unchecked::new(TrailOf { account, by }).authorize(&who).expect("an owner may read everything");
    let size = PageSize::parse(size).expect("a page size");
    ports.events.page(&cleared, filter, PageRequest { size, after: after.map(id) }).await.expect("a page")
}

fn number(id_of: AuditEventId) -> u32 {
    (1..=99).find(|number| id_of == id(*number)).expect("a record of this test")
}

/// The numbers of the events on a page, and of the last one if another page follows.
async fn numbers(ports: Ports<'_>, size: u32, after: Option<u32>) -> (Vec<u32>, Option<u32>) {
    let page = page(ports, None, AuditFilter::default(), (size, after)).await;
    (page.items.iter().map(|event| number(event.entry.id)).collect(), page.next.map(number))
}

async fn filtered(ports: Ports<'_>, by: Option<UserId>, filter: AuditFilter) -> Vec<u32> {
    let page = page(ports, by, filter, (100, None)).await;
    page.items.iter().map(|event| number(event.entry.id)).collect()
}

/// Pages list what was committed last first; each but the last says where the next one begins, and together they hold every event once.
pub async fn pages_list_the_newest_first_and_every_event_once(ports: Ports<'_>) {
    let account = Some(ports.accounts[0]);
    assert_eq!(numbers(ports, 20, None).await, (vec![], None));
    for number in [3, 1, 5, 2, 4] {
        ports.written(&[record(number, account)]).await;
    }
    assert_eq!(numbers(ports, 2, None).await, (vec![4, 2], Some(2)));
    assert_eq!(numbers(ports, 2, Some(2)).await, (vec![5, 1], Some(1)));
    assert_eq!(numbers(ports, 2, Some(1)).await, (vec![3], None));
    assert_eq!(numbers(ports, 5, None).await, (vec![4, 2, 5, 1, 3], None), "exactly as many exist");
    ports.written(&[record(6, account)]).await;
    assert_eq!(numbers(ports, 2, Some(2)).await, (vec![5, 1], Some(1)), "new events shift nothing");
    assert_eq!(numbers(ports, 2, Some(99)).await, (vec![], None), "nothing is behind what never was");
}

/// An event is told as it was recorded.
pub async fn an_event_is_read_back_as_written(ports: Ports<'_>) {
    let account = Some(ports.accounts[0]);
    ports.written(&[record(1, account), bare(2, account)]).await;
    let page = page(ports, None, AuditFilter::default(), (20, None)).await;
    let expected = [bare(2, account), record(1, account)];
    assert_eq!(page.items, expected.map(|record| FoundEvent { entry: AuditEntry::from(record), closed: None }));
}

/// A page holds events of one account: neither those of another one nor the platform's.
pub async fn a_page_holds_one_accounts_events(ports: Ports<'_>) {
    let [first, second] = ports.accounts;
    ports.written(&[record(1, Some(first)), record(2, Some(second)), record(3, None)]).await;
    assert_eq!(numbers(ports, 20, None).await, (vec![1], None));
    assert_eq!(numbers(ports, 20, Some(2)).await, (vec![], None), "a cursor of another account leads nowhere");
}

/// Filters narrow the list, alone and together, also over several pages.
pub async fn filters_narrow_the_list(ports: Ports<'_>) {
    let account = Some(ports.accounts[0]);
    let other = |number| AuditRecord { action: AuditAction::ApiKeyCreated, ..bare(number, account) };
    ports.written(&[record(1, account), other(2), record(3, account), other(4), record(5, account)]).await;
    let all = AuditFilter::default;
    let action = AuditFilter { action: Some(AuditAction::ApiKeyCreated), ..all() };
    assert_eq!(filtered(ports, None, action.clone()).await, [4, 2]);
    let actor = AuditFilter { actor: Some(id::<UserId>(1).to_string()), ..all() };
    assert_eq!(filtered(ports, None, actor.clone()).await, [5, 3, 1]);
    let hostile = AuditFilter { actor: Some("' OR 1=1 --".to_owned()), ..all() };
    assert_eq!(filtered(ports, None, hostile).await, []);
    assert_eq!(filtered(ports, None, AuditFilter { since: Some(at(3)), ..all() }).await, [5, 4, 3]);
    assert_eq!(filtered(ports, None, AuditFilter { until: Some(at(3)), ..all() }).await, [2, 1]);
    let narrow = AuditFilter { since: Some(at(2)), until: Some(at(5)), ..actor.clone() };
    assert_eq!(filtered(ports, None, narrow).await, [3]);
    assert_eq!(filtered(ports, None, AuditFilter { actor: actor.actor.clone(), ..action }).await, []);
    let first = page(ports, None, actor.clone(), (2, None)).await;
    assert_eq!(first.next.map(number), Some(3));
    let second = page(ports, None, actor, (2, Some(3))).await;
    assert_eq!(second.items.iter().map(|event| number(event.entry.id)).collect::<Vec<_>>(), [1]);
}

/// Somebody's own events are those that they made in person.
pub async fn own_events_were_made_in_person(ports: Ports<'_>) {
    let account = Some(ports.accounts[0]);
    let by = |number, kind, user| {
        let actor = Actor { kind, id: id::<UserId>(user).to_string(), behind: None };
        AuditRecord { actor, ..bare(number, account) }
    };
    ports.written(&[by(1, "user", 1), by(2, "user", 2), by(3, "impersonator", 1), by(4, "agent", 1)]).await;
    ports.written(&[bare(5, account), by(6, "user", 1)]).await;
    assert_eq!(filtered(ports, Some(id(1)), AuditFilter::default()).await, [6, 1]);
    let others = AuditFilter { actor: Some(id::<UserId>(2).to_string()), ..AuditFilter::default() };
    assert_eq!(filtered(ports, Some(id(1)), others).await, [], "a filter shows no more");
}

/// An attempt is one event, told with its end if it has one.
pub async fn an_attempt_is_told_with_its_end(ports: Ports<'_>) {
    let account = Some(ports.accounts[0]);
    let opened = |number| AuditRecord { effect: Effect::Opened, ..bare(number, account) };
    let closed = |number, opened: u32, result| {
        let effect = Effect::Closed { opened: id(opened), result };
        AuditRecord { effect, ..bare(number, account) }
    };
    ports.written(&[opened(1), opened(2), opened(3)]).await;
    ports.written(&[closed(4, 1, EffectResult::Succeeded), closed(5, 2, EffectResult::Failed)]).await;
    let page = page(ports, None, AuditFilter::default(), (20, None)).await;
    let told: Vec<_> = page.items.iter().map(|event| (number(event.entry.id), event.closed.as_deref())).collect();
    assert_eq!(told, [(3, None), (2, Some("failed")), (1, Some("succeeded"))]);
}
