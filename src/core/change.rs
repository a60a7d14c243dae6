//! What the feed says of a user (`changes`).

use super::columns::Columns;
use super::known::{Fact, FactSet, User};
use super::layout::Layout;
use super::words::ChangeKind;

/// One entry of the feed, without its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub user_id: String,
    pub kind: ChangeKind,
    /// Names of columns of `users`.
    pub changed: Vec<String>,
}

/// The way from the one row to the other; `None` where nothing that anybody reads has changed.
pub(super) fn change_between(layout: &Layout, before: Option<&User>, after: &User) -> Option<Change> {
    let suspended = |user: &User| user.suspended_by_source || user.suspended_by_app;
    // To the database whatever a cell holds is a deletion.
    let is_deleted = |user: &User| user.deleted_at.is_some() || user.unreadable.contains(Fact::DeletedAt);
    let state_of = |user: &User| (is_deleted(user), suspended(user), user.provisional);
    let none = Columns::default();
    let mut changed: Vec<String> = before
        .map_or(&none, |user| &user.columns)
        .differing(&after.columns)
        .map(|column| layout.name(column).to_owned())
        .collect();
    let repaired = before.map_or(FactSet::default(), |user| user.unreadable);
    // What the database has made of such a cell depends on the cell.
    let may_differ = repaired.iter().any(|fact| fact != Fact::Kept);
    if may_differ || before.map(state_of) != Some(state_of(after)) {
        changed.push("account_state".to_owned());
    }
    if before.and_then(|user| user.deleted_at) != after.deleted_at {
        changed.push(Fact::DeletedAt.name().to_owned());
    }
    let others = repaired.iter().map(|fact| fact.name().to_owned());
    changed.extend(others.filter(|name| !changed.contains(name)).collect::<Vec<_>>());
    if changed.is_empty() {
        return None;
    }
    let was_deleted = before.is_some_and(is_deleted);
    let kind = match (before, after.deleted_at) {
        (_, Some(_)) if !was_deleted => ChangeKind::Deleted,
        (Some(_), None) if was_deleted => ChangeKind::Revived,
        (None, _) => ChangeKind::Created,
        _ => ChangeKind::Updated,
    };
    Some(Change { user_id: after.id.clone(), kind, changed })
}

#[cfg(test)]
mod tests {
    use super::super::columns::{Column, ColumnSet};
    use super::super::known::HeldValues;
    use super::super::timestamp::Timestamp;
    use super::*;

    fn user(first_name: &str, deleted_ms: Option<i64>) -> User {
        let mut columns = Columns::default();
        columns.set(Column::FirstName, Some(first_name.to_owned()));
        User {
            id: "id-1".into(),
            columns,
            deleted_at: deleted_ms.map(Timestamp::clamped),
            suspended_by_source: false,
            suspended_by_app: false,
            provisional: false,
            kept: ColumnSet::default(),
            held: HeldValues::default(),
            unreadable: FactSet::default(),
        }
    }

    /// The kind and the names of the way from one row to the other.
    fn told(before: Option<&User>, after: &User) -> Option<(&'static str, String)> {
        let change = change_between(&Layout::default(), before, after)?;
        assert_eq!(change.user_id, "id-1");
        Some((change.kind.name(), change.changed.join(" ")))
    }

    #[test]
    fn each_way_from_one_row_to_another_has_its_kind_and_its_columns() {
        let (ann, bea) = (user("Ann", None), user("Bea", None));
        let (gone, gone_as_bea) = (user("Ann", Some(5)), user("Bea", Some(5)));
        for (before, after, kind, changed) in [
            (None, &ann, "created", "first_name account_state"),
            (Some(&ann), &bea, "updated", "first_name"),
            (Some(&ann), &gone, "deleted", "account_state deleted_at"),
            (None, &gone, "deleted", "first_name account_state deleted_at"),
            (Some(&gone), &gone_as_bea, "updated", "first_name"),
            (Some(&gone), &user("Ann", Some(4)), "updated", "deleted_at"),
            (Some(&gone), &ann, "revived", "account_state deleted_at"),
        ] {
            assert_eq!(told(before, after), Some((kind, changed.to_owned())), "{before:?} {after:?}");
        }
        assert_eq!(ChangeKind::Erased.name(), "erased");
    }

    #[test]
    fn a_ban_is_told_whoever_pronounced_it_and_a_second_one_is_not() {
        let free = user("Ann", None);
        let by_source = User { suspended_by_source: true, ..free.clone() };
        let by_app = User { suspended_by_app: true, ..free.clone() };
        let by_both = User { suspended_by_app: true, ..by_source.clone() };
        let ban = Some(("updated", "account_state".to_owned()));
        for banned in [&by_source, &by_app, &by_both] {
            assert_eq!(told(Some(&free), banned), ban);
            assert_eq!(told(Some(banned), &free), ban);
        }
        assert_eq!(told(Some(&by_source), &by_both), None);
        assert_eq!(told(Some(&by_source), &by_app), None);
        let heard_of = User { provisional: true, ..free.clone() };
        assert_eq!(told(Some(&heard_of), &free), ban);
    }

    #[test]
    fn what_nobody_reads_is_no_change() {
        let ann = user("Ann", None);
        let kept = [Column::FirstName].into_iter().collect();
        let held = HeldValues { facts: true, ..HeldValues::default() };
        assert_eq!(told(Some(&ann), &ann), None);
        assert_eq!(told(Some(&ann), &User { kept, held, ..ann.clone() }), None);
    }

    fn row(unreadable: Option<Fact>) -> User {
        let mut facts = FactSet::default();
        unreadable.into_iter().for_each(|fact| facts.insert(fact));
        User {
            id: "1".to_owned(),
            columns: Columns::default(),
            deleted_at: None,
            suspended_by_source: false,
            suspended_by_app: false,
            provisional: false,
            kept: ColumnSet::default(),
            held: HeldValues::default(),
            unreadable: facts,
        }
    }

    fn change(unreadable: Fact, after: &User) -> (ChangeKind, Vec<String>) {
        let change = change_between(&Layout::default(), Some(&row(Some(unreadable))), after).unwrap();
        (change.kind, change.changed)
    }

    #[test]
    fn a_fact_that_could_not_be_read_is_a_change_once_it_is_written_anew() {
        let after = row(None);
        assert_eq!(change_between(&Layout::default(), Some(&after), &after), None);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let both = names(&["account_state", "deleted_at"]);
        assert_eq!(change(Fact::DeletedAt, &after), (ChangeKind::Revived, both.clone()));
        let banned = names(&["account_state", "suspended_by_app"]);
        assert_eq!(change(Fact::SuspendedByApp, &after), (ChangeKind::Updated, banned));
        assert_eq!(change(Fact::Kept, &after), (ChangeKind::Updated, names(&["kept"])));
        let deleted = User { deleted_at: Some(Timestamp::clamped(1)), ..row(None) };
        assert_eq!(change(Fact::DeletedAt, &deleted), (ChangeKind::Updated, both), "it was deleted before");
    }
}
