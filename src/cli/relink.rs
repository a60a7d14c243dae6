//! `headcount users relink`

use super::output::{confirm, print, print_json, table, visible};
use super::{Context, DONE, FAILED, FOUND};
use crate::reconcile::{Caller, Calls, DoubledUser};
use serde_json::{Value, json};

/// Doubles that are shown; `--json` has all.
const SHOWN_MAX: usize = 20;

/// Reports the doubles, and with `apply` makes one user of each two.
pub async fn relink(
    calls: &Calls,
    source: &str,
    apply: bool,
    yes: bool,
    context: &Context,
) -> anyhow::Result<u8> {
    let source = context.source(source)?;
    let doubles = calls.doubled_users(source).await?;
    if apply && !doubles.is_empty() {
        confirm(&format!("Make one user of each two, {} times?", doubles.len()), yes)?;
    }
    let mut refused = Vec::new();
    for double in doubles.iter().filter(|_| apply) {
        if let Err(error) = calls.link(&double.key, &double.to, Caller::OPERATOR).await {
            refused.push((double, error.to_string()));
        }
    }
    let linked = if apply { doubles.len() - refused.len() } else { 0 };
    match context.json {
        true => print_json(&json!({
            "source": source.name,
            "found": doubles.len(),
            "linked": linked,
            "refused": refused.iter().map(|(double, reason)| refused_json(double, reason)).collect::<Vec<_>>(),
            "doubles": doubles.iter().map(double_json).collect::<Vec<_>>(),
        })),
        false => show(&doubles, &refused, apply),
    }
    Ok(match (apply, doubles.is_empty()) {
        (true, _) if !refused.is_empty() => FAILED,
        (false, false) => FOUND,
        _ => DONE,
    })
}

fn double_json(double: &DoubledUser) -> Value {
    json!({"provider_id": double.key.provider_id, "from": double.from, "to": double.to, "rule": double.rule.name()})
}

fn refused_json(double: &DoubledUser, reason: &str) -> Value {
    json!({"provider_id": double.key.provider_id, "reason": reason})
}

fn show(doubles: &[DoubledUser], refused: &[(&DoubledUser, String)], apply: bool) {
    if doubles.is_empty() {
        print("Nobody is two users by the rules of this source.");
        return;
    }
    let row = |double: &DoubledUser| {
        vec![visible(&double.key.provider_id), double.from.clone(), double.to.clone(), double.rule.name()]
    };
    let head = ["account", "its user now", "the user that it fits", "by"];
    print(&table(&head, doubles.iter().take(SHOWN_MAX).map(row).collect()));
    if doubles.len() > SHOWN_MAX {
        print(&format!("… and {} more; --json has all", doubles.len() - SHOWN_MAX));
    }
    match apply {
        true => print(&format!(
            "{} accounts belong to the users that they fit now; the users that had them alone ended as deleted.",
            doubles.len() - refused.len()
        )),
        false => print(&format!(
            "{} people are two users. The same with --apply makes one of each two.",
            doubles.len()
        )),
    }
    for (double, reason) in refused {
        print(&format!("{} stays where it is: {}", visible(&double.key.provider_id), visible(reason)));
    }
}
