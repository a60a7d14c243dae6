//! A row of `auth.users` as a database webhook carries it, and the profile that the row and the API's user have in
//! common.

use super::Unintelligible;
use crate::source::json::{reason, time_us};
use crate::source::lenient;
use crate::source::moment::instant_us;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Columns that may be kept. Everything else is gone before the inbox: `encrypted_password`, the tokens of
/// confirmations, recoveries and changes, and whatever Supabase may add.
pub(super) const KEPT: [&str; 16] = [
    "id",
    "aud",
    "role",
    "email",
    "email_confirmed_at",
    "phone",
    "phone_confirmed_at",
    "raw_app_meta_data",
    "raw_user_meta_data",
    "app_metadata",
    "user_metadata",
    "is_anonymous",
    "banned_until",
    "created_at",
    "updated_at",
    "deleted_at",
];
/// Whole numbers up to here are the same as a text and as the float that Supabase's API makes of them.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A change of a row, none of its values decoded.
pub(super) struct RowChange<'a> {
    pub kind: Cow<'a, str>,
    pub table: Option<Cow<'a, str>>,
    schema: Option<Cow<'a, str>>,
    record: Option<UserRecord<'a>>,
    old_record: Option<UserRecord<'a>>,
    pub hook: Option<Hook>,
}

/// What an auth hook says of itself.
pub(super) struct Hook {
    pub name: String,
    /// The same with every attempt, which its `webhook-id` is not.
    pub id: Option<String>,
}

/// The columns that may be kept.
pub(super) struct UserRecord<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    table: Option<&'a RawValue>,
    #[serde(borrow, default)]
    schema: Option<&'a RawValue>,
    #[serde(borrow, default)]
    record: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_record: Option<&'a RawValue>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    uuid: Option<String>,
}

impl<'a> RowChange<'a> {
    pub fn read(body: &'a str) -> Result<Self, Unintelligible> {
        let Body { kind, table, schema, record, old_record, metadata } =
            serde_json::from_str(body).map_err(reason)?;
        let word = |raw: Option<&'a RawValue>| serde_json::from_str::<Cow<'a, str>>(raw?.get()).ok();
        let hook = metadata.filter(|_| kind.is_none()).and_then(|metadata| {
            let id = metadata.uuid.filter(|id| id.len() <= 64 && !id.contains('\0'));
            Some(Hook { name: metadata.name?, id })
        });
        Ok(Self {
            kind: word(kind).unwrap_or_default(),
            table: word(table),
            schema: word(schema),
            record: UserRecord::read(record),
            old_record: UserRecord::read(old_record),
            hook,
        })
    }

    pub fn is_of(&self, (schema, table): (&str, &str)) -> bool {
        self.schema.as_deref() == Some(schema) && self.table.as_deref() == Some(table)
    }

    pub fn is_delete(&self) -> bool {
        self.kind == "DELETE"
    }

    /// The row that it tells of: as it is, or where it is gone, as it was.
    pub fn told(&self) -> Option<&UserRecord<'a>> {
        if self.is_delete() { self.old_record.as_ref() } else { self.record.as_ref() }
    }

    /// The body again, with the columns that may be kept of the row that it tells of.
    pub fn stripped(&self) -> String {
        let place = if self.is_delete() { "old_record" } else { "record" };
        let told = self.told().map_or_else(|| "null".to_owned(), UserRecord::render);
        let quoted = |text: &str| Value::from(text).to_string();
        format!(
            r#"{{"type":{},"table":{},"schema":{},"{place}":{told}}}"#,
            quoted(&self.kind),
            quoted(self.table.as_deref().unwrap_or_default()),
            quoted(self.schema.as_deref().unwrap_or_default())
        )
    }
}

impl<'a> UserRecord<'a> {
    fn read(raw: Option<&'a RawValue>) -> Option<Self> {
        let mut columns: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(raw?.get()).ok()?;
        columns.retain(|name, _| KEPT.contains(&&**name));
        Some(Self(columns))
    }

    pub fn text(&self, column: &str) -> Option<String> {
        let text: String = serde_json::from_str(self.0.get(column)?.get()).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// The columns, and whether parts of them could not be decoded.
    pub fn object(&self) -> Result<(Map<String, Value>, bool), Unintelligible> {
        lenient::read(&self.render()).map_err(reason)
    }

    fn render(&self) -> String {
        let cells: Vec<String> = self.0.iter().map(|(name, raw)| format!("\"{name}\":{raw}")).collect();
        format!("{{{}}}", cells.join(","))
    }
}

/// What is remembered of a user, under the API's names.
pub(super) struct Profile;

impl Profile {
    /// The field, what it is called in a row, and whether it is a time.
    const FIELDS: [(&'static str, &'static str, bool); 13] = [
        ("id", "id", false),
        ("aud", "aud", false),
        ("role", "role", false),
        ("email", "email", false),
        ("email_confirmed_at", "email_confirmed_at", true),
        ("phone", "phone", false),
        ("phone_confirmed_at", "phone_confirmed_at", true),
        ("app_metadata", "raw_app_meta_data", false),
        ("user_metadata", "raw_user_meta_data", false),
        ("is_anonymous", "is_anonymous", false),
        ("banned_until", "banned_until", true),
        ("created_at", "created_at", true),
        ("deleted_at", "deleted_at", true),
    ];

    pub fn has(field: &str) -> bool {
        Self::FIELDS.iter().any(|(name, ..)| *name == field)
    }

    /// Of a row or of the API's user.
    pub fn of(user: &Map<String, Value>) -> Map<String, Value> {
        let mut profile = Map::new();
        for (name, in_row, is_time) in Self::FIELDS {
            let Some(value) = user.get(name).or_else(|| user.get(in_row)) else { continue };
            let value = match (is_time, value) {
                (true, Value::String(text)) => Value::from(canonical_time(text)),
                _ => canonical(value.clone()),
            };
            if !is_nothing(&value) {
                profile.insert(name.to_owned(), value);
            }
        }
        profile
    }
}

/// Absent, null and empty are the same: a row and the API differ in that.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The API reads metadata as floats and writes them anew: so is everything here.
pub(super) fn canonical(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(canonical_number(number)),
        Value::Array(entries) => Value::Array(entries.into_iter().map(canonical).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, canonical(value))).collect())
        }
        other => other,
    }
}

fn canonical_number(number: Number) -> Number {
    let Some(float) = number.as_f64() else { return number };
    if float.fract() == 0.0 && float.abs() <= EXACT_MAX {
        return Number::from(float as i64);
    }
    Number::from_f64(float).unwrap_or(number)
}

/// Microseconds, always: PostgreSQL and Go drop zeros at the end, and write offsets in ways of their own.
fn canonical_time(text: &str) -> String {
    let Some(us) = time_us(text) else { return text.to_owned() };
    let Some(at) = instant_us(us) else { return text.to_owned() };
    let whole = at.to_string();
    format!("{}{:03}Z", whole.trim_end_matches('Z'), us.rem_euclid(1_000))
}
