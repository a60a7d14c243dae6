//! How things are printed: tables for people, one JSON object for programs.

use crate::config::ConfigError;
use crate::core::columns::Column;
use crate::store::UserView;
use anyhow::bail;
use comfy_table::LineStyle;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// Prints lines; a reader that has gone away (`| head`) is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end());
    let _ = out.flush();
}

/// The last line of output for programs.
pub fn print_json(value: &Value) {
    print(&value.to_string());
}

/// A plain table; wrapped to the terminal where there is one.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(head.to_vec());
    table.add_rows(rows.into_iter().map(|row| row.iter().map(|cell| visible(cell)).collect::<Vec<_>>()));
    table.to_string()
}

/// What people typed into names, with characters that would move the cursor or turn the line around made visible.
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                c.escape_unicode().to_string()
            }
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}

/// What programs read, as JSON.
pub fn json_of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// A line for each field that has a value.
pub fn print_fields(object: &Value) {
    for (name, value) in object.as_object().into_iter().flatten() {
        let text = match value {
            Value::Null => "–".to_owned(),
            Value::String(text) => visible(text),
            other => visible(&other.to_string()),
        };
        print(&format!("{name:16} {text}"));
    }
}

/// The columns that tell people apart at a glance.
pub fn users_table(users: &[UserView]) -> String {
    let rows = users
        .iter()
        .map(|user| {
            let text = |column| user.columns.get(column).unwrap_or("–").to_owned();
            let state = match user.missing.is_empty() {
                true => user.account_state.clone(),
                false => format!("{} (no {})", user.account_state, user.missing.join(", ")),
            };
            vec![
                user.id.clone(),
                state,
                text(Column::Email),
                text(Column::Username),
                text(Column::DisplayName),
                text(Column::Phone),
            ]
        })
        .collect();
    table(&["id", "state", "email", "username", "name", "phone"], rows)
}

/// What cannot be undone asks on a terminal, and needs `--yes` elsewhere.
pub fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    match ask(&format!("{question} This cannot be undone."))? {
        Some(true) => Ok(()),
        Some(false) => bail!("nothing was done"),
        None => bail!("{question} This cannot be undone; say --yes to do it"),
    }
}

/// What is not done without a yes, which somebody without a terminal gives by `otherwise`.
pub fn agree(statement: &str, question: &str, otherwise: &str) -> anyhow::Result<()> {
    match ask(&format!("{statement} {question}"))? {
        Some(true) => Ok(()),
        Some(false) => bail!("nothing was done"),
        None => Err(ConfigError(format!("{statement} {otherwise}")).into()),
    }
}

/// The answer of whoever sits at the terminal; `None` where nobody does.
fn ask(question: &str) -> anyhow::Result<Option<bool>> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(None);
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn names_cannot_play_with_the_terminal() {
        assert_eq!(visible("Ann\u{1b}[2J\u{202e}nnA\u{7}"), "Ann\\u{1b}[2J\\u{202e}nnA\\u{7}");
        assert_eq!(visible("Žofia 🙂 山田"), "Žofia 🙂 山田");
    }
}
