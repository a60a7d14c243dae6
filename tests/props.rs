//! Properties of the core: for every history, not for those that somebody thought of.

use headcount::core::columns::{Column, ColumnSet, Columns};
use headcount::core::decide::{Verdict, decide};
use headcount::core::event::{Event, EventKind, IdentityKey, Snapshot};
use headcount::core::known::{Account, FactSet, HeldValues, Identity, User};
use headcount::core::known::{Sibling, SourceStanding};
use headcount::core::layout::Layout;
use headcount::core::read::{Circumstances, Earlier, Observation, ReadDecision, Reading, decide_read, sweep};
use headcount::core::timestamp::Timestamp;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// So many histories, or as many as `PROPTEST_CASES` says.
fn histories(cases: u32) -> ProptestConfig {
    let told = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: told.unwrap_or(cases), failure_persistence: None, ..ProptestConfig::default() }
}

/// Few versions, times and values, so that ties of every kind are common.
fn upsert(soft: bool) -> impl Strategy<Value = EventKind> {
    (0..4_i64, 0..3_u8, any::<bool>(), 0..3_u8, 0..8_u8).prop_map(
        move |(version, email, suspended, name, ends)| {
            // A soft delete now and then.
            let ended_at = (soft && ends == 0).then_some(Timestamp::clamped(700));
            let mut columns = Columns::default();
            columns.set(Column::Email, (email > 0).then(|| format!("p{email}@example.com")));
            columns.set(Column::EmailVerified, Some((email > 1).to_string()));
            columns.set(Column::Username, (name > 0).then(|| format!("name{name}")));
            columns.set(Column::DisplayName, Some(format!("Name {name}")));
            let profile = format!(
                "{{\"banned\":{suspended},\"email\":{email},\"ended\":{},\"name\":{name}}}",
                ended_at.is_some()
            );
            EventKind::Upsert(Snapshot {
                version,
                profile,
                columns,
                suspended,
                ended_at,
                ..Snapshot::default()
            })
        },
    )
}

fn event_with(soft: bool) -> impl Strategy<Value = Event> {
    let kind = prop_oneof![8 => upsert(soft), 1 => Just(EventKind::Delete)];
    (kind, proptest::option::of(0..3_i64)).prop_map(|(kind, at)| Event {
        mended: false,
        key: IdentityKey { source: "clerk".into(), provider_id: "user_1".into() },
        occurred_at: at.and_then(Timestamp::from_ms),
        instance: None,
        version_may_go_back: false,
        kind,
    })
}

fn fold(events: &[Event]) -> Account {
    let received_at = Timestamp::clamped(1_000);
    events.iter().fold(Account::default(), |account, event| {
        decide(&Layout::default(), &account, event, received_at, "id-1").account
    })
}

/// Two accounts of one user, at two sources: the row was there, and each finds it with its first snapshot.
fn fold_two(events: &[Event]) -> (Option<User>, BTreeMap<IdentityKey, Identity>) {
    let mut layout = Layout::default();
    layout.authority.order = vec!["clerk".into(), "workos".into()];
    layout.authority.by_column = [("email".to_owned(), vec!["workos".to_owned()])].into();
    let received_at = Timestamp::clamped(1_000);
    let mut identities: BTreeMap<IdentityKey, Identity> = BTreeMap::new();
    let mut linked = BTreeSet::new();
    let row = User {
        id: "id-1".into(),
        columns: layout.filled(Columns::default()),
        deleted_at: None,
        suspended_by_source: false,
        suspended_by_app: false,
        provisional: false,
        kept: ColumnSet::default(),
        held: HeldValues::default(),
        unreadable: FactSet::default(),
    };
    let mut user = row;
    for event in events {
        let key = event.key.clone();
        let is_new = !linked.contains(&key);
        // Only a snapshot says whose row it is.
        let links = is_new && matches!(event.kind, EventKind::Upsert(_));
        let is_linked = !is_new || links;
        let others =
            identities.iter().filter(|(other, _)| is_linked && **other != key && linked.contains(*other));
        let siblings = others.map(|(key, identity)| Sibling {
            key: key.clone(),
            identity: identity.clone(),
            standing: SourceStanding::default(),
        });
        let known = Account {
            key: key.clone(),
            identity: identities.get(&key).cloned(),
            user: is_linked.then(|| user.clone()),
            linked_now: links,
            siblings: siblings.collect(),
            ..Account::default()
        };
        let after = decide(&layout, &known, event, received_at, "nobody").account;
        if let Some(after) = after.user {
            user = after;
        }
        if links {
            linked.insert(key.clone());
        }
        identities.extend(after.identity.map(|identity| (key, identity)));
    }
    ((!linked.is_empty()).then_some(user), identities)
}

/// A history over two sources, and the same one shuffled with any repeats.
fn reordered_two() -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
    let either = (event_with(true), any::<bool>()).prop_map(|(event, second)| match second {
        true => Event { key: IdentityKey { source: "workos".into(), ..event.key }, ..event },
        false => event,
    });
    proptest::collection::vec(either, 1..12).prop_flat_map(shuffled)
}

/// A history, and the same one shuffled with any repeats.
fn reordered(soft: bool) -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
    proptest::collection::vec(event_with(soft), 1..10).prop_flat_map(shuffled)
}

fn shuffled(events: Vec<Event>) -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
    let repeats = proptest::collection::vec(0..events.len(), 0..8);
    (Just(events), repeats).prop_flat_map(|(events, repeats)| {
        let mut all = events.clone();
        all.extend(repeats.into_iter().map(|index| events[index].clone()));
        (Just(events), Just(all).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(histories(4_000))]

    #[test]
    fn any_order_over_two_sources_ends_in_the_same_user((in_order, shuffled) in reordered_two()) {
        prop_assert_eq!(fold_two(&shuffled), fold_two(&in_order));
    }

    #[test]
    fn any_order_with_any_repeats_ends_in_the_same_account((in_order, shuffled) in reordered(true)) {
        prop_assert_eq!(fold(&shuffled), fold(&in_order));
    }

    #[test]
    fn a_deletion_anywhere_wins((events, _) in reordered(false), place in any::<prop::sample::Index>()) {
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
    fn a_change_is_told_exactly_where_the_user_changes((events, _) in reordered(false)) {
        let mut account = Account::default();
        for event in &events {
            let decision = decide(&Layout::default(), &account, event, Timestamp::clamped(1_000), "id-1");
            prop_assert_eq!(decision.change.is_some(), decision.account.user != account.user);
            if decision.verdict == Verdict::Applied && matches!(event.kind, EventKind::Upsert(_)) {
                prop_assert!(decision.account.identity.as_ref().unwrap().deletion.is_none());
            }
            account = decision.account;
        }
    }

    #[test]
    fn what_the_application_wrote_into_its_columns_survives_every_update((events, _) in reordered(false)) {
        let mut account = fold(&events[..1]);
        if let Some(user) = &mut account.user {
            user.columns.set(Column::Username, Some("chosen-here".into()));
        }
        let had_user = account.user.is_some();
        for event in &events {
            account = decide(&Layout::default(), &account, event, Timestamp::clamped(1_000), "id-1").account;
        }
        let deleted = account.identity.as_ref().unwrap().deletion.is_some();
        if had_user && !deleted {
            let user = account.user.unwrap();
            prop_assert_eq!(user.columns.get(Column::Username), Some("chosen-here"));
        }
    }
}

// ---- reads beside deliveries ----

/// What happens at a moment of a provider's history.
#[derive(Clone, Debug)]
enum Moment {
    /// The account takes this version (even a lower one: a restore) and content.
    Is(i64, u8),
    Gone,
    /// The delivery of the n-th moment arrives, if that was a change; it may have been lost or come before.
    Arrives(prop::sample::Index),
    /// A read is sent; it is decided after so many more moments.
    Read(usize),
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = prop_oneof![
        4 => (0..6_i64, 0..3_u8).prop_map(|(version, content)| Moment::Is(version, content)),
        1 => Just(Moment::Gone),
        4 => any::<prop::sample::Index>().prop_map(Moment::Arrives),
        3 => (0..4_usize).prop_map(Moment::Read),
    ];
    proptest::collection::vec(moment, 1..24)
}

const CONFIRM_AFTER_MS: i64 = 60;
/// From one moment to the next.
const MOMENT_MS: i64 = 10;

fn content(version: i64, content: u8) -> Snapshot {
    let mut columns = Columns::default();
    columns.set(Column::Email, Some(format!("p{content}@example.com")));
    columns.set(Column::FirstName, Some(format!("Name {content}")));
    Snapshot {
        version,
        profile: format!("{{\"content\":{content}}}"),
        columns,
        versioned_at: Timestamp::from_ms(version),
        ..Snapshot::default()
    }
}

/// The tables' side: one account, what was received about it, the first of two readings.
#[derive(Default)]
struct Side {
    account: Account,
    received_at: Option<Timestamp>,
    first: Option<(Timestamp, Observation)>,
}

impl Side {
    fn receive(&mut self, kind: EventKind, now: Timestamp) {
        let key = IdentityKey { source: "clerk".into(), provider_id: "user_1".into() };
        let event =
            Event { mended: false, key, occurred_at: None, instance: None, version_may_go_back: false, kind };
        self.account = decide(&Layout::default(), &self.account, &event, now, "id-1").account;
        self.received_at = Some(now);
    }

    fn read(&mut self, shown: &Option<Snapshot>, marked_at: Timestamp) -> ReadDecision {
        let observed = shown.clone().map_or(Observation::Absent, Observation::Present);
        let earlier = self.first.as_ref().map(|(marked_at, first)| Earlier {
            marked_at: *marked_at,
            present: matches!(first, Observation::Present(_)),
            same: *first == observed,
        });
        let at = Circumstances { earlier, received_at: self.received_at, confirm_after_ms: CONFIRM_AFTER_MS };
        let reading = Reading { observed, marked_at, is_of_the_row: false };
        let decision = decide_read(&Layout::default(), &self.account, &reading, at, "id-1");
        self.first = match &decision {
            ReadDecision::Again(again) if again.counts => Some((marked_at, reading.observed)),
            _ => None,
        };
        if let ReadDecision::Apply(repair) = &decision {
            self.account = repair.account.clone();
        }
        decision
    }
}

proptest! {
    #![proptest_config(histories(8_000))]

    /// Whatever was lost, repeated, restored, reused or in flight: once the source stands still, three reads in a row,
    /// far enough apart, make the tables equal to it.
    #[test]
    fn after_enough_reads_of_a_source_that_stands_still_the_tables_equal_it(moments in moments()) {
        let mut side = Side::default();
        let mut source: Option<Snapshot> = None;
        let mut in_flight: Vec<(usize, Timestamp, Option<Snapshot>)> = Vec::new();
        for (n, moment) in moments.iter().enumerate() {
            let now = Timestamp::clamped(1_000 + n as i64 * MOMENT_MS);
            match moment {
                Moment::Is(version, what) => source = Some(content(*version, *what)),
                Moment::Gone => source = None,
                Moment::Arrives(index) => match &moments[index.index(n + 1)] {
                    Moment::Is(version, what) => side.receive(EventKind::Upsert(content(*version, *what)), now),
                    Moment::Gone => side.receive(EventKind::Delete, now),
                    _ => {}
                },
                Moment::Read(later) => in_flight.push((n + later, now, source.clone())),
            }
            for (_, marked_at, shown) in in_flight.extract_if(.., |(due, ..)| *due <= n) {
                side.read(&shown, marked_at);
            }
        }
        let mut decision = ReadDecision::Unchanged;
        for round in 1..=3 {
            let marked_at = Timestamp::clamped(10_000 + round * CONFIRM_AFTER_MS);
            decision = side.read(&source, marked_at);
            if decision == ReadDecision::Gone {
                break;
            }
        }
        if decision == ReadDecision::Gone {
            prop_assert!(source.is_none(), "only what the source does not have is gone");
            side.account = sweep(&Layout::default(), &side.account, Timestamp::clamped(20_000), "id-1").account;
        }
        match (&source, &side.account.user) {
            (Some(snapshot), Some(user)) => {
                prop_assert_eq!(user.deleted_at, None);
                prop_assert_eq!(user.columns.get(Column::Email), snapshot.columns.get(Column::Email));
                let latest = side.account.identity.as_ref().unwrap().latest.as_ref().unwrap();
                prop_assert_eq!(latest.snapshot.version, snapshot.version);
            }
            (Some(_), None) => prop_assert!(false, "the source has it, the tables do not"),
            (None, Some(user)) => prop_assert!(user.deleted_at.is_some()),
            (None, None) => {}
        }
        // And nothing more to do.
        let again = side.read(&source, Timestamp::clamped(30_000));
        prop_assert_eq!(again, ReadDecision::Unchanged);
    }

    /// A read alone never deletes, and never brings a deleted account back.
    #[test]
    fn one_read_neither_deletes_nor_revives(moments in moments(), version in 0..6_i64, what in proptest::option::of(0..3_u8)) {
        let mut side = Side::default();
        for (n, moment) in moments.iter().enumerate() {
            let now = Timestamp::clamped(1_000 + n as i64 * MOMENT_MS);
            match moment {
                Moment::Is(version, what) => side.receive(EventKind::Upsert(content(*version, *what)), now),
                Moment::Gone => side.receive(EventKind::Delete, now),
                _ => {}
            }
        }
        let was_deleted = side.account.user.as_ref().map(|user| user.deleted_at.is_some());
        side.read(&what.map(|what| content(version, what)), Timestamp::clamped(50_000));
        let is_deleted = side.account.user.as_ref().map(|user| user.deleted_at.is_some());
        prop_assert!(was_deleted.is_none() || was_deleted == is_deleted);
    }
}
