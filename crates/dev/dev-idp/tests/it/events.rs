//! The events of everything that a program does to the provider within the process.

use portal_dev_idp::{Membership, Organization, Person};
use serde_json::Value;

use crate::client::read;
use crate::receiver::Receiver;
use crate::{NOW, idp};

fn millis(value: &Value) -> i64 {
    value.as_i64().expect("milliseconds")
}

#[actix_web::test]
async fn somebody_new_comes_with_organizations_and_memberships() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let zoe = Person::new("zoe").member_of(Organization::acme(), "org:viewer");
    idp.add_person(zoe.member_of(Organization::new("Globex", "user_dev_zoe"), "org:admin"));
    let events = receiver.events(&idp).await;
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    let joined = "organizationMembership.created";
    assert_eq!(kinds, ["user.created", "organization.created", joined, joined]);
    assert_eq!(events[0].1, read(&idp, "/users/user_dev_zoe").await);
    assert_eq!(events[1].1, read(&idp, "/organizations/org_dev_globex").await);
    let memberships = read(&idp, "/users/user_dev_zoe/organization_memberships").await;
    assert_eq!(memberships["data"], Value::from(vec![events[2].1.clone(), events[3].1.clone()]));
}

#[actix_web::test]
async fn a_replaced_person_tells_what_changed_and_only_that() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    let edith = idp.person("edith").unwrap();
    idp.add_person(edith.clone());
    assert_eq!(receiver.kinds(&idp).await, Vec::<String>::new());

    idp.add_person(Person { email: "e@example.test".to_owned(), ..edith.clone() });
    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!(kind, "user.updated");
    assert_eq!(data["email_addresses"][0]["email_address"], "e@example.test");
    assert_eq!(millis(&data["updated_at"]), NOW * 1_000);

    // A clock that stands still does not stop the times.
    idp.add_person(edith.clone());
    let [(_, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!(millis(&data["updated_at"]), NOW * 1_000 + 1);

    let mut demoted = idp.person("edith").unwrap();
    demoted.memberships[0].role = "org:viewer".to_owned();
    idp.add_person(demoted.clone());
    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!((kind.as_str(), &data["role"]), ("organizationMembership.updated", &"org:viewer".into()));
    assert!(millis(&data["updated_at"]) > demoted.memberships[0].updated_at);

    idp.add_person(Person { memberships: Vec::new(), ..idp.person("edith").unwrap() });
    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!((kind.as_str(), &data["role"]), ("organizationMembership.deleted", &"org:viewer".into()));
    assert_eq!(data["organization"]["members_count"], 3);

    idp.add_person(idp.person("edith").unwrap().member_of(Organization::acme(), "org:editor"));
    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!(kind, "organizationMembership.created");
    assert_eq!(millis(&data["updated_at"]), NOW * 1_000);
}

#[actix_web::test]
async fn a_time_that_a_test_gives_stays() {
    let idp = idp();
    let alice = idp.person("alice").unwrap();
    idp.add_person(Person { first_name: "Ada".to_owned(), updated_at: NOW * 1_000 + 500, ..alice });
    assert_eq!(idp.person("alice").unwrap().updated_at, NOW * 1_000 + 500);
    let later = Organization { name: "Acme Ltd".to_owned(), updated_at: NOW * 1_000 + 700, ..Organization::acme() };
    idp.update_organization(&later);
    assert_eq!(read(&idp, "/organizations/acme").await["updated_at"], NOW * 1_000 + 700);
}

#[actix_web::test]
async fn an_organization_changes_for_everybody() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    idp.update_organization(&Organization::acme());
    idp.update_organization(&Organization::new("Nobody's", "user_dev_alice"));
    assert_eq!(receiver.kinds(&idp).await, Vec::<String>::new(), "nothing changed, and nothing is made");
    idp.update_organization(&Organization { name: "Acme Ltd".to_owned(), ..Organization::acme() });
    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!(kind, "organization.updated");
    assert_eq!(data["name"], "Acme Ltd");
    assert_eq!(millis(&data["updated_at"]), NOW * 1_000);
    let named = |held: &Membership| held.organization.name == "Acme Ltd";
    assert!(idp.people().iter().flat_map(|person| &person.memberships).all(named));
}

#[actix_web::test]
async fn a_deletion_is_one_event_and_organizations_stay() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    idp.remove_person("user_dev_victor");
    idp.remove_person("user_dev_victor");
    let [(kind, data)] = receiver.events(&idp).await.try_into().unwrap();
    assert_eq!(kind, "user.deleted");
    assert_eq!(data, serde_json::json!({ "object": "user", "id": "user_dev_victor", "deleted": true }));
    for name in ["alice", "adam", "edith"] {
        idp.remove_person(&format!("user_dev_{name}"));
    }
    assert_eq!(read(&idp, "/organizations/acme").await["members_count"], 0);
}
