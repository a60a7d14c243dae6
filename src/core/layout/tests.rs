//! Who owns a column, and what a row holds after the provider has spoken.

use super::*;

fn columns(email: &str, username: Option<&str>) -> Columns {
    let mut columns = Columns::default();
    columns.set(Column::Email, Some(email.to_owned()));
    columns.set(Column::Username, username.map(str::to_owned));
    columns
}

#[test]
fn what_the_application_wrote_stays_and_the_rest_follows() {
    let layout = Layout::default();
    let follow = |row: &Columns, before: &Columns, after| {
        let before = LastSeen { merged: before.clone(), each: Vec::new() };
        layout.follow(row, ColumnSet::default(), &before, after).0
    };
    let row = columns("old@example.com", Some("ann"));
    let before = columns("old@example.com", None);
    let after = columns("new@example.com", Some("from_provider"));
    assert_eq!(follow(&row, &before, &after), columns("new@example.com", Some("ann")));
    let untouched = columns("edited-here@example.com", None);
    assert_eq!(follow(&untouched, &before, &after), after);
}

fn adopted() -> Layout {
    let role = PathColumn { path: "public_metadata.role".into(), column_type: ColumnType::Text };
    Layout::new(vec![role], |column| match column.default_owner() {
        Owner::Provider => Owner::Undeclared,
        other => other,
    })
}

#[test]
fn what_a_linked_row_held_stays_until_it_agrees() {
    let layout = adopted();
    let mut row = columns("ours@example.com", None);
    row.set(Column::EmailVerified, Some("false".into()));
    let mut after = columns("theirs@example.com", Some("ann"));
    after.set(Column::EmailVerified, Some("true".into()));
    after.set(Column::Path(0), Some("admin".into()));
    let (linked, kept) = layout.follow_first(&row, &after);
    assert_eq!(linked.get(Column::Email), Some("ours@example.com"));
    assert_eq!(linked.get(Column::EmailVerified), Some("false"), "it is not that address that is verified");
    assert_eq!(linked.get(Column::Username), Some("ann"));
    assert_eq!(linked.get(Column::Path(0)), Some("admin"));
    assert!(kept.contains(Column::Email) && !kept.contains(Column::Path(0)));
    // An edit of what was not kept is drift; once the two agree, the column follows for good.
    let mut edited = linked.clone();
    edited.set(Column::Path(0), Some("owner".into()));
    let before = LastSeen { merged: after.clone(), each: Vec::new() };
    let (repaired, still) = layout.follow(&edited, kept, &before, &after);
    assert_eq!((repaired, still), (linked.clone(), kept));
    let mut agreed = linked;
    agreed.set(Column::Email, Some("theirs@example.com".into()));
    let (row, kept) = layout.follow(&agreed, kept, &before, &after);
    assert_eq!(row.get(Column::EmailVerified), Some("true"));
    assert!(kept.is_empty());
}

#[test]
fn what_a_typed_column_cannot_show_is_nothing_and_nothing_has_its_stand_in() {
    let typed = |column_type| PathColumn { path: "public_metadata.x".into(), column_type };
    let fitted = |layout: &Layout, text: &str| {
        let mut columns = Columns::default();
        columns.set(Column::Path(0), Some(text.to_owned()));
        layout.fit(&mut columns);
        columns.get(Column::Path(0)).map(str::to_owned)
    };
    let truth = Layout::new(vec![typed(ColumnType::Bool)], |_| Owner::Provider);
    assert_eq!(fitted(&truth, "yes"), None);
    assert_eq!(fitted(&truth, "true").as_deref(), Some("true"));
    let number = Layout::new(vec![typed(ColumnType::Integer)], |_| Owner::Provider)
        .with_stand_in(Column::Path(0), "0".into());
    assert_eq!(fitted(&number, "007").as_deref(), Some("0"));
    assert_eq!(fitted(&number, "7").as_deref(), Some("7"));
}

#[test]
fn headcount_never_writes_a_column_of_the_applications() {
    let layout = Layout::new(Vec::new(), |_| Owner::App);
    let row = columns("ours@example.com", None);
    let after = columns("theirs@example.com", Some("ann"));
    assert_eq!(layout.follow_first(&row, &after).0, row);
    let before = LastSeen { merged: row.clone(), each: Vec::new() };
    assert_eq!(layout.follow(&row, ColumnSet::default(), &before, &after).0, row);
}

/// The email, the username and the first name of a row.
fn row(email: Option<&str>, username: Option<&str>, first_name: Option<&str>) -> Columns {
    let mut columns = Columns::default();
    columns.set(Column::Email, email.map(str::to_owned));
    columns.set(Column::Username, username.map(str::to_owned));
    columns.set(Column::FirstName, first_name.map(str::to_owned));
    columns
}

fn path(path: &str, column_type: ColumnType) -> PathColumn {
    PathColumn { path: path.into(), column_type }
}

#[test]
fn a_layout_has_the_columns_of_the_contract_and_those_of_its_paths() {
    let paths = vec![path("id", ColumnType::Text), path("public_metadata.age", ColumnType::Integer)];
    let layout = Layout::new(paths.clone(), |column| match column {
        Column::Path(1) => Owner::App,
        other => other.default_owner(),
    });
    let columns: Vec<Column> = layout.columns().collect();
    assert_eq!(columns[..Column::COUNT], Column::ALL);
    assert_eq!(columns[Column::COUNT..], [Column::Path(0), Column::Path(1)]);
    assert_eq!(layout.paths(), paths);
    let provider: Vec<&str> = layout.provider_columns().map(|column| layout.name(column)).collect();
    assert_eq!(provider.join(" "), "email email_verified phone first_name last_name created_at id");
    for column in columns {
        assert_eq!(layout.column(layout.name(column)), Some(column), "a name leads back to its column");
    }
    assert_eq!(layout.column("password"), None);
    assert_eq!(layout.column_type(Column::Path(1)), ColumnType::Integer);
    assert_eq!(layout.column_type(Column::EmailVerified), ColumnType::Bool);
    assert_eq!((layout.name(Column::Path(2)), layout.owner(Column::Path(2))), ("", Owner::Provider));
}

#[test]
fn there_are_no_more_paths_than_a_set_of_columns_can_hold() {
    let layout = Layout::new(vec![path("x", ColumnType::Text); 40], |_| Owner::Provider);
    assert_eq!(layout.columns().count(), Column::COUNT + PATHS_MAX);
}

#[test]
fn nothing_and_its_stand_in_say_nothing() {
    let layout = Layout::default().with_stand_in(Column::FirstName, "-".into());
    for (column, value, says_something) in [
        (Column::FirstName, None, false),
        (Column::FirstName, Some("-"), false),
        (Column::FirstName, Some("Ann"), true),
        (Column::LastName, Some("-"), true),
        (Column::LastName, None, false),
    ] {
        assert_eq!(layout.says_something(column, value), says_something, "{column:?} {value:?}");
    }
}

#[test]
fn a_row_is_filled_with_what_may_not_be_null() {
    let layout = Layout::default().with_stand_in(Column::FirstName, "-".into());
    let filled = layout.filled(Columns::default());
    assert_eq!(filled.get(Column::EmailVerified), Some("false"));
    assert_eq!((filled.get(Column::FirstName), filled.get(Column::LastName)), (Some("-"), None));
    let mut known = row(None, None, Some("Ann"));
    known.set(Column::EmailVerified, Some("true".into()));
    assert_eq!(layout.filled(known.clone()), known);
}

#[test]
fn a_number_is_shown_as_it_was_written_or_not_at_all() {
    let layout = Layout::new(vec![path("n", ColumnType::Integer)], |_| Owner::Provider);
    for (text, fits) in [("7", true), ("-7", true), ("0", true), ("+7", false), ("7.0", false), ("", false)] {
        let mut columns = Columns::default();
        columns.set(Column::Path(0), Some(text.to_owned()));
        layout.fit(&mut columns);
        assert_eq!(columns.get(Column::Path(0)), fits.then_some(text));
    }
}

#[test]
fn a_column_that_is_the_applications_once_set_follows_until_it_holds_another_value() {
    let layout = Layout::default();
    let username = |held, before: &LastSeen, is_kept: bool, says| {
        let kept = is_kept.then_some(Column::Username).into_iter().collect();
        let (row, kept) = layout.follow(&row(None, held, None), kept, before, &row(None, says, None));
        (row.get(Column::Username).map(str::to_owned), kept.contains(Column::Username))
    };
    let before = |said, each: &[Option<&str>]| LastSeen {
        merged: row(None, said, None),
        each: each.iter().map(|said| row(None, *said, None)).collect(),
    };
    let (ann, bea, own) = (Some("ann"), Some("bea"), Some("own"));
    for (held, before, is_kept, says, holds) in [
        (ann, before(ann, &[]), false, bea, bea),
        (ann, before(ann, &[]), false, None, None),
        (own, before(ann, &[]), false, bea, own),
        // The application has emptied it.
        (None, before(ann, &[]), false, bea, None),
        // The word of another of the user's sources is no value of the application's.
        (own, before(ann, &[ann, own]), false, bea, bea),
        (own, before(ann, &[ann, None]), false, bea, own),
        // But nothing is no source's word where the sources together say something.
        (None, before(ann, &[ann, None]), false, bea, None),
        // What a call has set stays, even where the provider said the same.
        (ann, before(ann, &[]), true, bea, ann),
    ] {
        let expected = (holds.map(str::to_owned), is_kept);
        assert_eq!(username(held, &before, is_kept, says), expected, "{held:?} {before:?} {says:?}");
    }
}

#[test]
fn a_kept_value_stays_while_it_differs_and_is_something() {
    let layout = Layout::new(Vec::new(), |_| Owner::Undeclared);
    let kept: ColumnSet = [Column::FirstName].into_iter().collect();
    let before = LastSeen { merged: row(None, None, Some("Bea")), each: Vec::new() };
    for (held, is_kept, holds, stays) in [
        (Some("Ann"), true, "Ann", true),
        (Some("Ann"), false, "Bea", false),
        (Some("Bea"), true, "Bea", false),
        (None, true, "Bea", false),
        (Some(""), true, "Bea", false),
    ] {
        let kept = if is_kept { kept } else { ColumnSet::default() };
        let (row, kept) = layout.follow(&row(None, None, held), kept, &before, &before.merged);
        assert_eq!(row.get(Column::FirstName), Some(holds), "{held:?} {is_kept}");
        assert_eq!(kept.contains(Column::FirstName), stays, "{held:?} {is_kept}");
    }
}

#[test]
fn a_row_that_was_there_first_is_filled_and_keeps_what_it_holds() {
    use Owner::{App, AppOnceSet, Provider, Undeclared};
    let (ann, bea) = (Some("Ann"), Some("Bea"));
    for (owner, held, holds, is_kept) in [
        (Provider, ann, bea, false),
        (Provider, None, bea, false),
        (Undeclared, ann, ann, true),
        (Undeclared, bea, bea, false),
        (Undeclared, None, bea, false),
        (Undeclared, Some(""), bea, false),
        (AppOnceSet, ann, ann, false),
        (AppOnceSet, bea, bea, false),
        (AppOnceSet, None, bea, false),
        (App, ann, ann, false),
        (App, None, None, false),
    ] {
        let layout = Layout::new(Vec::new(), |_| owner);
        let (row, kept) = layout.follow_first(&row(None, None, held), &row(None, None, bea));
        assert_eq!(row.get(Column::FirstName), holds, "{owner:?} {held:?}");
        assert_eq!(kept.contains(Column::FirstName), is_kept, "{owner:?} {held:?}");
    }
}

#[test]
fn whether_a_kept_address_is_verified_is_not_the_providers_to_say_unless_it_owns_the_column() {
    for (owner, verified, is_kept) in [(Owner::Undeclared, "false", true), (Owner::Provider, "true", false)] {
        let layout = Layout::new(Vec::new(), |column| match column {
            Column::EmailVerified => owner,
            _ => Owner::Undeclared,
        });
        let mut says = row(Some("theirs@example.com"), None, None);
        says.set(Column::EmailVerified, Some("true".into()));
        let (linked, kept) = layout.follow_first(&row(Some("ours@example.com"), None, None), &says);
        assert_eq!(linked.get(Column::EmailVerified), Some(verified), "{owner:?}");
        assert_eq!(kept.contains(Column::EmailVerified), is_kept, "{owner:?}");
        // Without an address of its own the row takes both.
        let (linked, kept) = layout.follow_first(&Columns::default(), &says);
        assert_eq!((linked.get(Column::EmailVerified), kept.is_empty()), (Some("true"), true));
    }
}

#[test]
fn a_deletion_lets_go_of_what_it_frees_and_of_nothing_else() {
    let layout = Layout::default();
    let kept = [Column::Username, Column::DisplayName].into_iter().collect();
    assert_eq!(layout.kept_of_deleted(kept), [Column::DisplayName].into_iter().collect());
    let mut full = row(Some("a@example.com"), Some("ann"), Some("Ann"));
    full.set(Column::EmailVerified, Some("true".into()));
    full.set(Column::Phone, Some("+1".into()));
    let mut freed = row(None, None, Some("Ann"));
    freed.set(Column::EmailVerified, Some("false".into()));
    assert_eq!(layout.freed(&full), freed);
    assert_eq!(Layout::new(Vec::new(), |_| Owner::App).freed(&full), full, "headcount writes nothing here");
}

#[test]
fn only_a_path_of_that_name_shows_the_accounts_id() {
    for (name, owner, column, is_id) in [
        ("id", Owner::Provider, Column::Path(0), true),
        ("id", Owner::Undeclared, Column::Path(0), true),
        ("id", Owner::App, Column::Path(0), false),
        ("public_metadata.id", Owner::Provider, Column::Path(0), false),
        ("id", Owner::Provider, Column::Email, false),
    ] {
        let layout = Layout::new(vec![path(name, ColumnType::Text)], |_| owner);
        assert_eq!(layout.is_account_id(column), is_id, "{name} {owner:?} {column:?}");
    }
}

#[test]
fn a_call_may_set_what_is_the_applications_and_what_would_be_had_somebody_declared_it() {
    for (owner, column, is_settable) in [
        (Owner::App, Column::Email, true),
        (Owner::AppOnceSet, Column::Email, true),
        (Owner::Undeclared, Column::Username, true),
        (Owner::Undeclared, Column::Email, false),
        (Owner::Provider, Column::Username, false),
    ] {
        let layout = Layout::new(Vec::new(), |_| owner);
        assert_eq!(layout.is_settable(column), is_settable, "{owner:?} {column:?}");
    }
}

#[test]
fn a_row_can_be_made_where_all_that_it_needs_is_there() {
    let needs = Layout::default().with_never_null(Column::FirstName, false);
    assert!(!needs.makes_a_row(&row(Some("a@example.com"), Some("ann"), None)));
    assert!(needs.makes_a_row(&row(None, None, Some("Ann"))));
    let has_default = Layout::default().with_never_null(Column::FirstName, true);
    assert!(has_default.makes_a_row(&row(None, None, None)));
}

#[test]
fn a_call_supplies_what_may_not_be_null_and_is_the_providers() {
    let layout = |owner: Owner| {
        let mut layout = Layout::new(vec![path("id", ColumnType::Text)], move |_| owner);
        for column in [Column::FirstName, Column::EmailVerified, Column::Path(0)] {
            layout = layout.with_never_null(column, false);
        }
        layout
    };
    let supplied = |owner: Owner| {
        let layout = layout(owner);
        layout.columns().filter(|&column| layout.is_supplied(column)).collect::<Vec<_>>()
    };
    assert_eq!(supplied(Owner::Provider), [Column::FirstName]);
    assert_eq!(supplied(Owner::Undeclared), [Column::FirstName]);
    assert_eq!(supplied(Owner::AppOnceSet), [], "a call sets it anyway");
    assert_eq!(supplied(Owner::App), [], "it is the application's");
}

#[test]
fn what_was_supplied_stays_until_the_provider_has_a_word() {
    let supplied = |never_null: bool, row: &Columns, said: &Columns, says: &Columns| {
        let layout = Layout::default();
        let layout = if never_null { layout.with_never_null(Column::FirstName, false) } else { layout };
        let before = LastSeen { merged: said.clone(), each: Vec::new() };
        let later = layout.follow(row, ColumnSet::default(), &before, says).0;
        let first = layout.follow_first(row, says).0;
        let first_name = |columns: &Columns| columns.get(Column::FirstName).map(str::to_owned);
        (first_name(&later), first_name(&first))
    };
    let (ann, bea, nothing) =
        (row(None, None, Some("Ann")), row(None, None, Some("Bea")), row(None, None, None));
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(supplied(true, &ann, &nothing, &nothing), (name("Ann"), name("Ann")));
    assert_eq!(supplied(true, &ann, &nothing, &bea), (name("Bea"), name("Bea")));
    assert_eq!(supplied(true, &ann, &ann, &nothing), (None, name("Ann")), "the provider took it back");
    assert_eq!(supplied(false, &ann, &nothing, &nothing), (None, None), "an edit of what may be null");
}
