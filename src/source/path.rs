//! Paths into a provider's JSON: `data.email`, and into lists `emails[0].email`, `emails[?primary].email`,
//! `emails[?type=work].email`.
//!
//! `[n]` is the n-th entry, from 0. `[?field]` is the first entry whose field says yes: neither absent nor null, false,
//! 0 or empty. `[?field=text]` is the first entry whose field is this text.

use super::bans::bans as says_yes;
use serde_json::{Map, Value};

/// A step of a path.
enum PathStep<'a> {
    Field(&'a str),
    Entry(Selector<'a>),
}

enum Selector<'a> {
    Number(usize),
    SaysYes(&'a str),
    Is(&'a str, &'a str),
}

/// The value at the path, where it leads anywhere.
pub(super) fn value_at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if !path.contains(['.', '[']) {
        return object.get(path);
    }
    let steps = steps(path)?;
    let (first, rest) = steps.split_first()?;
    let PathStep::Field(first) = first else { return None };
    rest.iter().try_fold(object.get(*first)?, |value, step| match (step, value) {
        (PathStep::Field(name), Value::Object(fields)) => fields.get(*name),
        (PathStep::Entry(selector), Value::Array(entries)) => selector.pick(entries),
        _ => None,
    })
}

/// What is wrong with how the path is written; `None` where nothing is.
pub fn mistake(path: &str) -> Option<&'static str> {
    match steps(path) {
        None => Some(
            "is no path: fields with dots between them, and `[0]`, `[?field]` or `[?field=text]` behind a list",
        ),
        Some(_) => None,
    }
}

/// The part of a path up to its first selector.
pub fn up_to_selector(path: &str) -> &str {
    path.split('[').next().unwrap_or_default()
}

fn steps(path: &str) -> Option<Vec<PathStep<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path;
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (field, behind) = rest.split_at(end);
        if field.is_empty() {
            return None;
        }
        steps.push(PathStep::Field(field));
        rest = behind;
        while let Some(inside) = rest.strip_prefix('[') {
            let (selector, behind) = inside.split_once(']')?;
            steps.push(PathStep::Entry(Selector::parse(selector)?));
            rest = behind;
        }
        match rest.strip_prefix('.') {
            Some(behind) => rest = behind,
            None => return rest.is_empty().then_some(steps),
        }
    }
}

impl<'a> Selector<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let Some(condition) = text.strip_prefix('?') else { return text.parse().ok().map(Selector::Number) };
        match condition.split_once('=') {
            _ if condition.is_empty() => None,
            Some((field, text)) => Some(Selector::Is(field, text)),
            None => Some(Selector::SaysYes(condition)),
        }
    }

    fn pick<'v>(&self, entries: &'v [Value]) -> Option<&'v Value> {
        match self {
            Selector::Number(number) => entries.get(*number),
            Selector::SaysYes(field) => entries.iter().find(|entry| says_yes(entry.get(*field))),
            Selector::Is(field, text) => entries.iter().find(|entry| match entry.get(*field) {
                Some(Value::String(is)) => is == text,
                Some(Value::Bool(is)) => *text == if *is { "true" } else { "false" },
                Some(Value::Number(is)) => text.parse() == Ok(is.as_f64().unwrap_or(f64::NAN)),
                _ => false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_through_objects_and_lists() {
        let Value::Object(body) = json!({"a": {"b": 1}, "emails": [
            {"email": "first@x", "type": "home", "primary": false, "verified": ""},
            {"email": "second@x", "type": "work", "primary": true, "tags": [["x", "y"]]},
        ]}) else {
            unreachable!()
        };
        let at = |path: &str| {
            value_at(&body, path).map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
        };
        for (path, value) in [
            ("a.b", Some("1")),
            ("emails[0].email", Some("first@x")),
            ("emails[1].email", Some("second@x")),
            ("emails[?primary].email", Some("second@x")),
            ("emails[?type=home].email", Some("first@x")),
            ("emails[?primary=true].email", Some("second@x")),
            ("emails[1].tags[0][1]", Some("y")),
            ("emails[2].email", None),
            ("emails[?verified].email", None),
            ("emails[?type=other].email", None),
            ("emails.email", None),
            ("a[0]", None),
            ("a.b.c", None),
            ("a..b", None),
        ] {
            assert_eq!(at(path).as_deref(), value, "{path}");
        }
    }

    #[test]
    fn how_a_path_is_written_is_checked() {
        for path in ["a", "a.b", "a[0].b", "a[?b].c", "a[?b=c d]", "a[0][1]"] {
            assert_eq!(mistake(path), None, "{path}");
        }
        for path in ["", ".", "a.", ".a", "a[", "a[]", "a[x]", "a[-1]", "a[?]", "a[0]b", "[0]"] {
            assert!(mistake(path).is_some(), "{path}");
        }
    }
}
