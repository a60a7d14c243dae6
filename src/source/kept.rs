//! What of a provider's JSON may be kept (contract, rule 15): a list of paths. Anything else is gone before the first write.

use super::json::reason;
use super::{Unintelligible, lenient};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The field of a stored body that says that parts of it could not be decoded.
pub(super) const MENDED: &str = "headcount_mended";

/// Fields by name, each whole or with a list of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    is_whole: bool,
    fields: BTreeMap<String, Kept>,
    /// Of each entry of a list.
    entries: Option<Box<Kept>>,
}

impl Kept {
    /// What these paths lead to, such as `data.id`, and `emails[].email` for a field of each entry of a list. Of a path with
    /// a selector, such as `emails[?verified].email`, that is the field of each entry, and the one that the selector asks for.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut kept = Self::default();
        for path in paths {
            kept.add(path);
        }
        kept
    }

    /// The names of all fields that the paths name.
    pub fn names(&self) -> Vec<String> {
        let below = self.fields.iter().flat_map(|(name, kept)| [vec![name.clone()], kept.names()].concat());
        below.chain(self.entries.iter().flat_map(|kept| kept.names())).collect()
    }

    /// Keeps what the path leads to as well.
    pub fn add(&mut self, path: &str) {
        let mut place = self;
        for step in path.split('.').filter(|step| !step.is_empty()) {
            let (field, selectors) = step.split_at(step.find('[').unwrap_or(step.len()));
            if !field.is_empty() {
                place = place.fields.entry(field.to_owned()).or_default();
            }
            for selector in selectors.split(']').filter(|selector| !selector.is_empty()) {
                place = place.entries.get_or_insert_default();
                if let Some(condition) = selector.trim_start_matches('[').strip_prefix('?') {
                    let asked = condition.split('=').next().unwrap_or_default();
                    place.fields.entry(asked.to_owned()).or_default().is_whole = true;
                }
            }
        }
        place.is_whole = true;
    }

    /// Takes everything else out.
    pub fn strip(&self, object: &mut Map<String, Value>) {
        if self.is_whole {
            return;
        }
        object.retain(|name, value| self.fields.get(name).is_some_and(|kept| kept.strip_value(value)));
    }

    /// Whether anything of the value may stay.
    fn strip_value(&self, value: &mut Value) -> bool {
        match value {
            _ if self.is_whole => true,
            Value::Object(object) => {
                self.strip(object);
                !self.fields.is_empty()
            }
            Value::Array(list) => {
                let Some(kept) = &self.entries else { return false };
                // Places stay what they are: a path may name one.
                for entry in list.iter_mut().filter(|entry| !kept.is_whole && !entry.is_null()) {
                    if !kept.strip_value(entry) {
                        *entry = Value::Null;
                    }
                }
                true
            }
            // Where parts of an object are expected, a text says nothing that is known.
            Value::Null => true,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    /// A stored profile as it would be stored now; `None` where nothing changes, or where it is no JSON object.
    pub fn stripped(&self, profile: &str) -> Option<String> {
        let mut object: Map<String, Value> = serde_json::from_str(profile).ok()?;
        self.strip(&mut object);
        serde_json::to_string(&object).ok().filter(|stripped| stripped != profile)
    }
}

/// A body that carries a user at `user`, with these further fields of its top and what may be kept of the user.
pub(super) fn envelope(body: &str, top: &[&str], user: &str, keep: &Kept) -> Result<String, Unintelligible> {
    let (mut body, mended): (Map<String, Value>, bool) = lenient::read(body).map_err(reason)?;
    body.retain(|field, _| field == user || field == MENDED || top.contains(&field.as_str()));
    match body.get_mut(user) {
        Some(Value::Object(user)) => keep.strip(user),
        Some(other) => *other = Value::Null,
        None => {}
    }
    if mended {
        body.insert(MENDED.to_owned(), true.into());
    }
    Ok(Value::Object(body).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stripped(paths: &[&str], mut value: Value) -> Value {
        Kept::of(paths.iter().copied()).strip(value.as_object_mut().unwrap());
        value
    }

    #[test]
    fn what_is_named_stays_and_nothing_else() {
        let body = json!({"id": "u1", "secret": "s", "meta": {"plan": "pro", "note": "n"}, "all": {"a": {"b": 1}},
            "emails": [{"email": "a@x", "verified": true, "otp": "1"}, {"email": "b@x", "tags": ["t"]}, "odd", null]});
        assert_eq!(
            stripped(&["id", "meta.plan", "all", "emails[?verified].email"], body.clone()),
            json!({"id": "u1", "meta": {"plan": "pro"}, "all": {"a": {"b": 1}},
                "emails": [{"email": "a@x", "verified": true}, {"email": "b@x"}, null, null]})
        );
        assert_eq!(stripped(&["emails[0].email"], body.clone())["emails"][1], json!({"email": "b@x"}));
        assert_eq!(stripped(&["emails"], body.clone())["emails"], body["emails"]);
        assert_eq!(stripped(&[], body), json!({}));
    }

    #[test]
    fn a_value_of_another_form_than_expected_is_not_kept() {
        let odd = json!({"meta": "a text", "emails": {"email": "x"}, "name": [1]});
        assert_eq!(stripped(&["meta.plan", "emails[].email", "name.first"], odd), json!({}));
    }

    #[test]
    fn a_whole_field_is_whole_whatever_else_names_a_part_of_it() {
        let body = json!({"meta": {"plan": "pro", "note": "n"}});
        for paths in [["meta", "meta.plan"], ["meta.plan", "meta"]] {
            assert_eq!(stripped(&paths, body.clone()), body);
        }
    }

    #[test]
    fn a_profile_that_is_stripped_already_is_left_alone() {
        let kept = Kept::of(["a"]);
        assert_eq!(kept.stripped(r#"{"a":1}"#), None);
        assert_eq!(kept.stripped(r#"{"a":1,"b":2}"#).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(kept.stripped("nothing"), None);
    }
}
