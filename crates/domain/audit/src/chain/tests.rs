use portal_kernel::{AuditEventId, Id, RequestId, Timestamp};
use proptest::option;
use proptest::prelude::*;

use super::*;

/// `uuid` is no dependency of this crate: ids are made from their text.
fn id<I: Id + FromStr<Err = InvalidId>>() -> impl Strategy<Value = I> {
    "[0-7][0-9a-hjkmnp-tv-z]{25}".prop_map(|text| format!("{}_{text}", I::PREFIX).parse().unwrap())
}

fn trail() -> impl Strategy<Value = Trail> {
    option::of(id()).prop_map(Trail::from)
}

fn moment() -> impl Strategy<Value = Timestamp> {
    let (span, micros) = (-60_000_000_000_i64..200_000_000_000, 0..1_000_000_u32);
    (span, micros).prop_map(|(seconds, micros)| {
        let start = Timestamp::from_unix_seconds(seconds).unwrap();
        start.plus(std::time::Duration::from_micros(micros.into()))
    })
}

/// Short ones from few letters, so that texts that differ in where they are cut are met often.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab\u{0}\u{1}]{0,4}", ".{0,40}"]
}

prop_compose! {
    fn entry()(
        (id, at, trail, closes, request_id) in
            (id(), moment(), trail(), option::of(id::<AuditEventId>()), option::of(id::<RequestId>())),
        (actor_kind, actor_id, action, subject, effect) in (text(), text(), text(), text(), text()),
        (actor_behind, credential, address_prefix, reason) in
            (option::of(text()), option::of(text()), option::of(text()), option::of(text())),
    ) -> AuditEntry {
        AuditEntry {
            id, at, trail, actor_kind, actor_id, actor_behind, credential, action, subject, effect, closes, request_id,
            address_prefix, reason,
        }
    }
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

/// Everything that is in an encoding, taken apart again.
fn decode(encoding: &[u8]) -> (u8, Hash, i64, Vec<Option<Vec<u8>>>) {
    let (version, rest) = encoding.split_first().unwrap();
    let (previous, rest) = rest.split_at(32);
    let (seq, mut rest) = rest.split_at(8);
    let mut fields = Vec::new();
    while let Some((is_there, behind)) = rest.split_first() {
        if *is_there == 0 {
            fields.push(None);
            rest = behind;
        } else {
            let (length, behind) = behind.split_at(8);
            let length = usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap();
            let (field, behind) = behind.split_at(length);
            fields.push(Some(field.to_vec()));
            rest = behind;
        }
    }
    (*version, Hash::from_bytes(previous).unwrap(), i64::from_be_bytes(seq.try_into().unwrap()), fields)
}

fn bytes_of<I: Id>(id: I) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

fn fields(entry: &AuditEntry) -> Vec<Option<Vec<u8>>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    vec![
        entry.trail.account().map(bytes_of),
        Some(bytes_of(entry.id)),
        Some(entry.at.unix_micros().to_be_bytes().to_vec()),
        text(&entry.actor_kind),
        text(&entry.actor_id),
        entry.actor_behind.as_deref().and_then(text),
        entry.credential.as_deref().and_then(text),
        text(&entry.action),
        text(&entry.subject),
        text(&entry.effect),
        entry.closes.map(bytes_of),
        entry.request_id.map(bytes_of),
        entry.address_prefix.as_deref().and_then(text),
        entry.reason.as_deref().and_then(text),
    ]
}

/// The entry with one field taken from another.
fn with_field(entry: &AuditEntry, other: &AuditEntry, field: usize) -> AuditEntry {
    let (mut changed, other) = (entry.clone(), other.clone());
    match field {
        0 => changed.trail = other.trail,
        1 => changed.id = other.id,
        2 => changed.at = other.at,
        3 => changed.actor_kind = other.actor_kind,
        4 => changed.actor_id = other.actor_id,
        5 => changed.actor_behind = other.actor_behind,
        6 => changed.credential = other.credential,
        7 => changed.action = other.action,
        8 => changed.subject = other.subject,
        9 => changed.effect = other.effect,
        10 => changed.closes = other.closes,
        11 => changed.request_id = other.request_id,
        12 => changed.address_prefix = other.address_prefix,
        13 => changed.reason = other.reason,
        _ => unreachable!("there are fourteen fields"),
    }
    changed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever can be taken apart into what it was made of is made of nothing else.
    #[test]
    fn the_encoding_is_injective(previous in hash(), seq in any::<i64>(), entry in entry()) {
        let expected = (VERSION, previous, seq, fields(&entry));
        prop_assert_eq!(decode(&encode(&previous, seq, &entry)), expected);
    }

    #[test]
    fn a_change_of_any_field_changes_the_hash(previous in hash(), seq in any::<i64>(), entry in entry(), other in entry()) {
        let before = link(&previous, seq, &entry);
        for field in 0..14 {
            let changed = with_field(&entry, &other, field);
            prop_assert_eq!(link(&previous, seq, &changed) == before, changed == entry, "field {}", field);
        }
        prop_assert_ne!(link(&previous, seq.wrapping_add(1), &entry), before);
    }

    #[test]
    fn a_change_of_what_came_before_changes_the_hash(previous in hash(), another in hash(), entry in entry()) {
        prop_assert_eq!(link(&previous, 7, &entry) == link(&another, 7, &entry), previous == another);
    }

    /// What stands at the border of two fields belongs to one of them.
    #[test]
    fn text_does_not_move_between_neighbours(entry in entry(), place in 0..40_usize) {
        let text = format!("{}{}", entry.action, entry.subject);
        let place = text.floor_char_boundary(place.min(text.len()));
        let moved = AuditEntry { action: text[..place].to_owned(), subject: text[place..].to_owned(), ..entry.clone() };
        let same = link(&Hash::ORIGIN, 1, &moved) == link(&Hash::ORIGIN, 1, &entry);
        prop_assert_eq!(same, moved == entry);
    }

    #[test]
    fn nothing_and_an_empty_text_are_two_things(entry in entry()) {
        let nothing = AuditEntry { reason: None, ..entry.clone() };
        let empty = AuditEntry { reason: Some(String::new()), ..entry };
        prop_assert_ne!(link(&Hash::ORIGIN, 1, &nothing), link(&Hash::ORIGIN, 1, &empty));
    }

    #[test]
    fn a_hash_is_read_back_from_its_text(hash in hash()) {
        prop_assert_eq!(hash.to_string().parse(), Ok(hash));
        prop_assert!(hash.to_string().to_uppercase().parse::<Hash>().is_err() || !hash.to_string().contains(char::is_alphabetic));
    }

    #[test]
    fn a_trail_is_read_back_from_its_text(trail in trail()) {
        prop_assert_eq!(trail.to_string().parse(), Ok(trail));
    }
}

/// Computed by another program from the description; a change of the encoding would let no stored chain verify any more.
#[test]
fn the_hash_of_a_record_never_changes() {
    let entry = AuditEntry {
        id: "aud_01h455vb4pex5vsknk084sn02q".parse().unwrap(),
        at: "2026-02-03T04:05:06.123456Z".parse().unwrap(),
        trail: "acc_01h455vb4pex5vsknk084sn02q".parse().unwrap(),
        actor_kind: "user".to_owned(),
        actor_id: "usr_01h455vb4pex5vsknk084sn02q".to_owned(),
        actor_behind: None,
        credential: Some("sess_1".to_owned()),
        action: "api_key.created".to_owned(),
        subject: "key_01h455vb4pex5vsknk084sn02q".to_owned(),
        effect: "done".to_owned(),
        closes: None,
        request_id: Some("req_01h455vb4pex5vsknk084sn02q".parse().unwrap()),
        address_prefix: Some("192.0.2.0/24".to_owned()),
        reason: None,
    };
    let first = Head::EMPTY.append(entry.clone());
    assert_eq!(first.hash.to_string(), "0613e9a8a14ad4a09913d7efcaba7a19da3d4fda3c3d56d6c8c8dbfbe086cec4");
    let second = first.head().append(entry);
    assert_eq!(
        (second.seq, second.hash.to_string().as_str()),
        (2, "b43d182388985760d254e7e358ebf92dc07ff57b84959983b64b704965823432")
    );
}

#[test]
fn a_text_of_another_length_or_alphabet_is_no_hash() {
    for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
        assert!(text.parse::<Hash>().is_err(), "{text}");
    }
}
