//! What is left to do for a move, in its order, with the command for each.

use super::report::{MoveReport, MoveStep};

/// What the steps follow from, besides the report.
pub(super) struct StepFacts {
    /// Of the new source.
    pub kind: String,
    pub hears_deliveries: bool,
    /// `None` where there is no table beside which one could be.
    pub has_outbox: Option<bool>,
    pub is_readable: bool,
    /// Whether the last full run of the source has succeeded.
    pub is_from_read: bool,
    pub is_to_read: bool,
    pub is_from_retired: bool,
    /// Whether any rule ties accounts of the new source to users that are there.
    pub links: bool,
}

pub(super) fn steps(report: &MoveReport, facts: &StepFacts) -> Vec<MoveStep> {
    let people = &report.people;
    let mut steps = preparations(report, facts);
    let mut add = |code, text: String, command: Option<String>| steps.push(MoveStep { code, text, command });
    let (from, to) = (&report.from, &report.to);
    let this = format!("headcount move --from {from} --to {to}");
    let collisions = people.addresses.len() + people.usernames.len();
    if collisions > 0 {
        add(
            "collisions",
            format!(
                "{collisions} groups of users have one address or one name, as {to} may see it: decide who keeps it."
            ),
            Some("headcount users link SOURCE PROVIDER_ID USER".to_owned()),
        );
    }
    if people.only_from > 0 {
        add(
            "only_from",
            format!(
                "{} people have no account at {to} yet: they come when they sign in there, or by an import, after which the \
                 resync has to be done again.",
                people.only_from
            ),
            None,
        );
    }
    if people.banned_only_at_from.count > 0 {
        add(
            "banned_only_at_from",
            format!(
                "{} people are banned at {from} alone: once it is retired nothing keeps them out. Ban them at {to}, or here.",
                people.banned_only_at_from.count
            ),
            Some("headcount users suspend USER".to_owned()),
        );
    }
    if !report.is_switched {
        add(
            "rehearse",
            "See what the switch of authority would write.".to_owned(),
            Some(format!("{this} --rehearse")),
        );
        add(
            "switch",
            format!("Let the word of {to} count first. --back takes that back."),
            Some(format!("{this} --switch")),
        );
    }
    if people.left_to.count > 0 {
        add(
            "left",
            format!(
                "{} people deleted their account at {to} and have one at {from} still: they may want to be erased.",
                people.left_to.count
            ),
            Some("headcount users erase USER".to_owned()),
        );
    }
    if !facts.is_from_retired {
        let first = match (report.is_switched, people.only_from) {
            (false, _) => " Only after the switch.".to_owned(),
            (true, 0) => String::new(),
            (true, left) => format!(" {left} people can sign in nowhere else."),
        };
        add(
            "retire",
            format!(
                "Before the account at {from} is emptied or cancelled: retire the source, so that nobody is deleted by it.{first}"
            ),
            Some(format!("headcount source retire {from}")),
        );
    }
    steps
}

/// Without these the rest of the report says little.
fn preparations(report: &MoveReport, facts: &StepFacts) -> Vec<MoveStep> {
    let (from, to) = (&report.from, &report.to);
    let mut steps = Vec::new();
    let mut add = |code, text: String, command: Option<String>| steps.push(MoveStep { code, text, command });
    if facts.has_outbox == Some(false) {
        add(
            "outbox",
            format!(
                "Install the outbox beside {to}'s table: it is how headcount hears of every change there."
            ),
            Some(format!("headcount source install {to} --apply")),
        );
    } else if !facts.hears_deliveries {
        add(
            "webhooks",
            format!(
                "Nothing is heard of {to} between two resyncs: set up its webhooks (docs/sources.md, kind {}).",
                facts.kind
            ),
            None,
        );
    }
    if !facts.is_readable {
        add(
            "unreadable",
            format!("{to} cannot be read: set what its API or its database needs (docs/sources.md)."),
            None,
        );
    }
    if !facts.links {
        add(
            "links",
            format!(
                "No rule ties accounts of {to} to users who are here: set `link_verified_emails`, or `share_ids` where an import \
                 keeps the ids, in [sources.{to}]."
            ),
            None,
        );
    }
    for (source, is_read) in [(from, facts.is_from_read), (to, facts.is_to_read)] {
        let can_be_read = source != to || facts.is_readable;
        if !is_read && can_be_read && !(source == from && facts.is_from_retired) {
            add(
                "resync",
                format!(
                    "The last full resync of {source} has not succeeded, or there was none: what is said here may lack people."
                ),
                Some(format!("headcount resync {source}")),
            );
        }
    }
    if report.awaiting_address + report.colliding > 0 {
        add(
            "addresses",
            format!(
                "{} accounts at {to} wait until their address is verified, {} collide with another user over it.",
                report.awaiting_address, report.colliding
            ),
            Some(format!("headcount users waiting --source {to}")),
        );
    }
    if report.doubled > 0 {
        add(
            "doubled",
            format!(
                "{} accounts at {to} have a user of their own beside the one that they fit.",
                report.doubled
            ),
            Some(format!("headcount users relink {to}")),
        );
    }
    steps
}
