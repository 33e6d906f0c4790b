//! Lists of keys: the port `ApiKeyReader::page`.

use portal_kernel::{ApiKeyId, Page, PageRequest, PageSize};

use super::{Owner, Ports, at, id};
use crate::ApiKey;

async fn page(ports: Ports<'_>, owner: &Owner, size: u32, after: Option<u32>) -> Page<ApiKey, ApiKeyId> {
    let size = PageSize::parse(size).expect("a page size");
    ports.keys.page(&owner.may_read(), PageRequest { size, after: after.map(id) }).await.expect("a page")
}

/// The numbers of the keys on a page, and of the last one if another page follows.
async fn numbers(ports: Ports<'_>, owner: &Owner, size: u32, after: Option<u32>) -> (Vec<u32>, Option<u32>) {
    let page = page(ports, owner, size, after).await;
    let number = |key: ApiKeyId| (1..=9).find(|number| id::<ApiKeyId>(*number) == key).expect("a key of this test");
    (page.items.iter().map(|key| number(key.id)).collect(), page.next.map(number))
}

/// An account without keys has one empty page.
pub async fn no_keys_are_one_empty_page(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    assert_eq!(page(ports, &owner, 20, None).await, Page { items: vec![], next: None });
}

/// Pages list the newest key first; each but the last says where the next one begins, and together they hold every key once.
pub async fn pages_list_the_newest_first_and_every_key_once(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    for number in [3, 1, 5, 2, 4] {
        ports.insert(&owner, &owner.key(number)).await;
    }
    assert_eq!(numbers(ports, &owner, 2, None).await, (vec![5, 4], Some(4)));
    assert_eq!(numbers(ports, &owner, 2, Some(4)).await, (vec![3, 2], Some(2)));
    assert_eq!(numbers(ports, &owner, 2, Some(2)).await, (vec![1], None));
    assert_eq!(numbers(ports, &owner, 4, None).await, (vec![5, 4, 3, 2], Some(2)), "one more exists");
    assert_eq!(numbers(ports, &owner, 5, None).await, (vec![5, 4, 3, 2, 1], None), "exactly as many exist");
    assert_eq!(numbers(ports, &owner, 2, Some(1)).await, (vec![], None), "nothing comes after the last");
    assert_eq!(numbers(ports, &owner, 2, Some(9)).await, (vec![5, 4], Some(4)), "the cursor's key need not exist");
}

/// Keys that appear while somebody turns the pages do not shift what follows.
pub async fn new_keys_do_not_shift_the_pages(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    for number in 1..=4 {
        ports.insert(&owner, &owner.key(number)).await;
    }
    assert_eq!(numbers(ports, &owner, 2, None).await, (vec![4, 3], Some(3)));
    ports.insert(&owner, &owner.key(5)).await;
    assert_eq!(numbers(ports, &owner, 2, Some(3)).await, (vec![2, 1], None));
}

/// Revoked keys stay in the list, as they are.
pub async fn a_page_holds_revoked_keys(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (first, second) = (owner.key(1), owner.key(2));
    ports.insert(&owner, &first).await;
    ports.insert(&owner, &second).await;
    let revoked = ports.revoke(&owner, &first, at(9)).await.expect("a revocation");
    assert_eq!(page(ports, &owner, 20, None).await.items, [second, revoked]);
}

/// A page holds the keys of the account that was checked, and no cursor leads to others.
pub async fn a_page_holds_one_accounts_keys(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    for number in 1_u32..=4 {
        let maker = if number.is_multiple_of(2) { &owner } else { &other };
        ports.insert(maker, &maker.key(number)).await;
    }
    assert_eq!(numbers(ports, &owner, 20, None).await, (vec![4, 2], None));
    assert_eq!(numbers(ports, &other, 20, None).await, (vec![3, 1], None));
    assert_eq!(
        numbers(ports, &owner, 20, Some(3)).await,
        (vec![2], None),
        "the other account's key is a mere position"
    );
}
