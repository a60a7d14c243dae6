//! The report of `headcount move`: as sections for people and for a page, and as JSON for programs.

use super::output::{print, table, visible};
use crate::core::collision::{Collision, Likeness};
use crate::provider_move::{Activity, MoveReport, MoveStep, NamedUsers};
use crate::store::RecordedSwitch;
use serde_json::{Value, json};

/// Collisions that are shown to people; `--json` has all.
const COLLISIONS_SHOWN_MAX: usize = 50;
/// Ids that are shown beside a count.
const IDS_SHOWN_MAX: usize = 3;

/// A part of the report: a table with a sentence above it.
pub struct Section {
    pub title: &'static str,
    pub text: String,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Section {
    fn new(title: &'static str, text: &str, head: &[&'static str], rows: Vec<Vec<String>>) -> Self {
        Self { title, text: text.to_owned(), head: head.to_vec(), rows }
    }
}

/// Everything that the report says, in its order.
pub fn sections(report: &MoveReport) -> Vec<Section> {
    let authority = match report.is_switched {
        true => format!("The word of {} counts before that of {}, by a switch.", report.to, report.from),
        false => "Authority is as the configuration has it.".to_owned(),
    };
    let mut all = vec![Section::new("People", &authority, &["who", "users"], people_rows(report))];
    let linked = report.people.linked_by.iter();
    let linked = linked.map(|(rule, count)| vec![rule.clone(), count.to_string()]).collect();
    all.push(Section::new(
        "Linked by",
        "Of users with accounts at both: how the two were found to be one.",
        &["rule", "users"],
        linked,
    ));
    all.push(Section::new(
        "Collisions",
        "Users who have one value, or what may become one value at the new provider.",
        &["what", "alike", "users"],
        collision_rows(report),
    ));
    let differences = report.people.differences.iter().map(|(column, difference)| {
        let (users, newer) = (difference.users.to_string(), difference.newer_at_from.to_string());
        vec![column.clone(), users, newer]
    });
    all.push(Section::new(
        "Columns in which the two differ",
        "Of users who live at both. What is newer at the old provider changed there last.",
        &["column", "users", "newer at the old one"],
        differences.collect(),
    ));
    all.push(Section::new(
        "Active",
        "By what each provider says itself.",
        &["source", "last 7 days", "last 30 days", ""],
        report.activity.iter().map(activity_row).collect(),
    ));
    all.push(Section::new("To look at", "", &["what", "users", "such as"], concern_rows(report)));
    all
}

fn people_rows(report: &MoveReport) -> Vec<Vec<String>> {
    let (from, to, people) = (&report.from, &report.to, &report.people);
    let row = |who: String, count: u64| vec![who, count.to_string()];
    vec![
        row(format!("only at {from}"), people.only_from),
        row("at both".to_owned(), people.both),
        row(format!("only at {to}"), people.only_to),
        row(format!("deleted at {from}, living at {to}"), people.left_from),
        row(format!("deleted at {to}, living at {from}"), people.left_to.count),
        row("deleted wherever they were".to_owned(), people.ended),
        row(format!("waiting at {to} until an address is verified"), report.awaiting_address),
    ]
}

fn concern_rows(report: &MoveReport) -> Vec<Vec<String>> {
    let (from, to, people) = (&report.from, &report.to, &report.people);
    let row = |what: String, named: &NamedUsers| {
        let users = named.users.iter().take(IDS_SHOWN_MAX).map(|id| visible(id)).collect::<Vec<_>>();
        vec![what, named.count.to_string(), users.join(", ")]
    };
    let mut rows = vec![
        row(format!("banned at {from} alone"), &people.banned_only_at_from),
        row(format!("banned at {to} alone"), &people.banned_only_at_to),
        row(format!("deleted at {to} alone: they left"), &people.left_to),
        row("whose address nobody has verified".to_owned(), &people.verified_nowhere),
    ];
    let unfit = &report.unfit_ids;
    rows.push(match (&unfit.key_type, &unfit.unknown_because) {
        (_, Some(because)) => vec![format!("whose id {to} cannot hold"), "?".to_owned(), because.clone()],
        (key_type, None) => {
            let key_type = key_type.as_deref().unwrap_or("any");
            row(format!("whose id {to} cannot hold (its ids are {key_type})"), &unfit.ids)
        }
    });
    rows
}

fn activity_row(activity: &Activity) -> Vec<String> {
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let because = activity.unknown_because.clone().unwrap_or_default();
    vec![activity.source.clone(), count(activity.last_7_days), count(activity.last_30_days), because]
}

/// Of what the collisions are, and the word for it.
fn collisions(report: &MoveReport) -> impl Iterator<Item = (&'static str, &Collision)> {
    let addresses = report.people.addresses.iter().map(|collision| ("email", collision));
    addresses.chain(report.people.usernames.iter().map(|collision| ("username", collision)))
}

fn alike(likeness: Likeness) -> &'static str {
    match likeness {
        Likeness::Same => "the same",
        Likeness::Case => "but for capitals",
        Likeness::Alphabet => "to the eye: another alphabet",
    }
}

fn collision_rows(report: &MoveReport) -> Vec<Vec<String>> {
    let rows = collisions(report).take(COLLISIONS_SHOWN_MAX).map(|(column, collision)| {
        let holders = collision.holders.iter();
        let holders = holders.map(|held| format!("{} ({})", visible(&held.value), held.user_id));
        vec![column.to_owned(), alike(collision.likeness).to_owned(), holders.collect::<Vec<_>>().join(", ")]
    });
    rows.collect()
}

/// The report on a terminal.
pub fn show(report: &MoveReport) {
    for section in sections(report).iter().filter(|section| !section.rows.is_empty()) {
        print(&format!("\n{}. {}", section.title, section.text));
        print(&table(&section.head, section.rows.clone()));
    }
    print("\nWhat is left to do, in this order:");
    for (step, n) in report.steps.iter().zip(1..) {
        print(&format!("{n}. {}", step.text));
        if let Some(command) = &step.command {
            print(&format!("   {command}"));
        }
    }
}

/// The report as programs read it.
pub fn report_json(report: &MoveReport) -> Value {
    let people = &report.people;
    let named = |named: &NamedUsers| json!({"count": named.count, "users": named.users});
    let collision = |(column, collision): (&str, &Collision)| {
        let holders = collision.holders.iter();
        let holders: Vec<Value> =
            holders.map(|held| json!({"user_id": held.user_id, "value": held.value})).collect();
        let likeness = match collision.likeness {
            Likeness::Same => "same",
            Likeness::Case => "case",
            Likeness::Alphabet => "alphabet",
        };
        json!({"column": column, "alike": likeness, "users": holders})
    };
    let differences = people.differences.iter().map(|(column, difference)| {
        json!({"column": column, "users": difference.users, "newer_at_from": difference.newer_at_from})
    });
    let activity = report.activity.iter().map(|activity| {
        json!({
            "source": activity.source,
            "last_7_days": activity.last_7_days,
            "last_30_days": activity.last_30_days,
            "unknown_because": activity.unknown_because,
        })
    });
    let step = |step: &MoveStep| json!({"code": step.code, "text": step.text, "command": step.command});
    json!({
        "from": report.from,
        "to": report.to,
        "switched": report.is_switched,
        "people": {
            "only_from": people.only_from,
            "both": people.both,
            "only_to": people.only_to,
            "left_from": people.left_from,
            "left_to": people.left_to.count,
            "ended": people.ended,
            "awaiting_address": report.awaiting_address,
            "colliding": report.colliding,
            "doubled": report.doubled,
        },
        "linked_by": people.linked_by,
        "collisions": collisions(report).map(collision).collect::<Vec<_>>(),
        "differences": differences.collect::<Vec<_>>(),
        "active": activity.collect::<Vec<_>>(),
        "banned_only_at_from": named(&people.banned_only_at_from),
        "banned_only_at_to": named(&people.banned_only_at_to),
        "deleted_only_at_to": named(&people.left_to),
        "verified_nowhere": named(&people.verified_nowhere),
        "ids_that_do_not_fit": {
            "count": report.unfit_ids.ids.count,
            "provider_ids": report.unfit_ids.ids.users,
            "key_type": report.unfit_ids.key_type,
            "unknown_because": report.unfit_ids.unknown_because,
        },
        "switches": report.switches.iter().map(switch_json).collect::<Vec<_>>(),
        "steps": report.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

/// A switch as programs read it.
pub fn switch_json(recorded: &RecordedSwitch) -> Value {
    let counts = recorded.counts;
    json!({
        "switch": recorded.id,
        "from": recorded.switch.from,
        "to": recorded.switch.to,
        "direction": recorded.switch.direction.name(),
        "status": recorded.status.name(),
        "seen": counts.seen,
        "updated": counts.updated,
        "partial": counts.partial,
        "refused": counts.refused,
        "started_at": recorded.started_at.to_string(),
        "finished_at": recorded.finished_at.map(|at| at.to_string()),
    })
}
