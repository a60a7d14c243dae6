//! Properties of the core: for every history, not for those that somebody thought of.

use headcount::core::columns::{Column, Columns};
use headcount::core::decide::{Account, Verdict, decide};
use headcount::core::event::{Event, EventKind, IdentityKey, Snapshot};
use headcount::core::timestamp::Timestamp;
use headcount::source::signature::{SignedHeaders, SigningKey};
use headcount::source::{PROVIDERS, provider};
use proptest::prelude::*;

/// Few versions, times and values, so that ties of every kind are common.
fn upsert() -> impl Strategy<Value = EventKind> {
    (0..4_i64, 0..3_u8, any::<bool>(), 0..3_u8).prop_map(|(version, email, suspended, name)| {
        let mut columns = Columns::default();
        columns.set(Column::Email, (email > 0).then(|| format!("p{email}@example.com")));
        columns.set(Column::EmailVerified, Some((email > 1).to_string()));
        columns.set(Column::Username, (name > 0).then(|| format!("name{name}")));
        columns.set(Column::DisplayName, Some(format!("Name {name}")));
        let profile = format!("{{\"banned\":{suspended},\"email\":{email},\"name\":{name}}}");
        EventKind::Upsert(Snapshot { version, profile, columns, suspended })
    })
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![8 => upsert(), 1 => Just(EventKind::Delete)];
    (kind, proptest::option::of(0..3_i64)).prop_map(|(kind, at)| Event {
        key: IdentityKey { source: "clerk".into(), provider_id: "user_1".into() },
        occurred_at: at.and_then(Timestamp::from_ms),
        instance: None,
        kind,
    })
}

fn fold(events: &[Event]) -> Account {
    let received_at = Timestamp::clamped(1_000);
    events
        .iter()
        .fold(Account::default(), |account, event| decide(&account, event, received_at, "id-1").account)
}

/// A history, and the same one shuffled with any repeats.
fn reordered() -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
    proptest::collection::vec(event(), 1..10).prop_flat_map(|events| {
        let repeats = proptest::collection::vec(0..events.len(), 0..8);
        (Just(events), repeats).prop_flat_map(|(events, repeats)| {
            let mut all = events.clone();
            all.extend(repeats.into_iter().map(|index| events[index].clone()));
            (Just(events), Just(all).prop_shuffle())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_with_any_repeats_ends_in_the_same_account((in_order, shuffled) in reordered()) {
        prop_assert_eq!(fold(&shuffled), fold(&in_order));
    }

    #[test]
    fn a_deletion_anywhere_wins((events, _) in reordered(), place in any::<prop::sample::Index>()) {
        let mut events = events;
        let deletion = Event { kind: EventKind::Delete, ..events[0].clone() };
        events.insert(place.index(events.len() + 1), deletion);
        let account = fold(&events);
        prop_assert!(account.identity.unwrap().deletion.is_some());
        if let Some(user) = account.user {
            prop_assert!(user.deleted_at.is_some());
            for freed in [Column::Email, Column::Phone, Column::Username] {
                prop_assert_eq!(user.columns.get(freed), None);
            }
        }
    }

    #[test]
    fn a_change_is_told_exactly_where_the_user_changes((events, _) in reordered()) {
        let mut account = Account::default();
        for event in &events {
            let decision = decide(&account, event, Timestamp::clamped(1_000), "id-1");
            prop_assert_eq!(decision.change.is_some(), decision.account.user != account.user);
            if decision.verdict == Verdict::Applied && matches!(event.kind, EventKind::Upsert(_)) {
                prop_assert!(decision.account.identity.as_ref().unwrap().deletion.is_none());
            }
            account = decision.account;
        }
    }

    #[test]
    fn what_the_application_wrote_into_its_columns_survives_every_update((events, _) in reordered()) {
        let mut account = fold(&events[..1]);
        if let Some(user) = &mut account.user {
            user.columns.set(Column::Username, Some("chosen-here".into()));
        }
        let had_user = account.user.is_some();
        for event in &events {
            account = decide(&account, event, Timestamp::clamped(1_000), "id-1").account;
        }
        let deleted = account.identity.as_ref().unwrap().deletion.is_some();
        if had_user && !deleted {
            let user = account.user.unwrap();
            prop_assert_eq!(user.columns.get(Column::Username), Some("chosen-here"));
        }
    }

    #[test]
    fn no_body_makes_a_provider_panic(body in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for provider in PROVIDERS {
            for text in [body.clone(), String::from_utf8_lossy(&bytes).into_owned()] {
                let wrapped = format!("{{\"type\":\"user.updated\",\"data\":{{\"id\":{text:?},\"updated_at\":1,\"email_addresses\":{text:?}}}}}");
                for text in [text, wrapped] {
                    provider.glance(&text);
                    let _ = provider.normalize("x", &text);
                    provider.recall(&text);
                }
            }
        }
    }

    #[test]
    fn no_header_makes_verification_panic_or_pass(id in any::<String>(), timestamp in any::<String>(), signature in any::<String>()) {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let headers = SignedHeaders { id, timestamp, signature };
        let passes = headers.verify(&[key], b"{}", Timestamp::clamped(0)).is_ok();
        prop_assert!(!passes);
    }
}

#[test]
fn every_kind_finds_its_provider() {
    for known in PROVIDERS {
        assert_eq!(provider(known.kind()).map(|found| found.kind()), Some(known.kind()));
    }
    assert!(provider("nobody").is_none());
}
