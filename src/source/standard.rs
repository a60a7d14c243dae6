//! Anything else that signs by Standard Webhooks (Stytch, PropelAuth, Stack Auth, a service of one's own): what its
//! deliveries mean is described in the configuration, and proven on a sample at the start.

use super::bans::{ban_until, bans};
use super::directory::Directory;
use super::json::{at_path, checked_id, outline_id, printable, reason, set_paths, text, time_us};
use super::kept::{Kept, MENDED};
use super::lenient;
use super::moment::instant_us;
use super::path::value_at;
use super::setup::Setup;
use super::{Glance, Provider, Unintelligible};
use crate::core::columns::{Column, ColumnType, Columns};
use crate::core::event::{Event, EventKind, IdentityKey, Snapshot};
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use serde_json::{Map, Value};

/// What the deliveries of a source mean. Paths lead from the top of the body, such as `data.id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Where the type is; of several paths what they hold is joined with dots.
    pub event_type: Vec<String>,
    pub upsert: Vec<String>,
    pub delete: Vec<String>,
    pub id: String,
    /// Where the version is: a number that grows, or RFC 3339. `None`: the time at which the delivery was signed is the
    /// version, for deliveries that have no other.
    pub version: Option<String>,
    pub occurred_at: Option<String>,
    pub external_id: Option<String>,
    /// Holds `true` of somebody who is banned.
    pub suspended: Option<String>,
    /// When a ban ends, such as `data.banExpires`: whoever has such a time before them is banned.
    pub suspended_until: Option<String>,
    pub columns: Vec<(Column, String)>,
    /// Fields that move without meaning anything, or are nobody's business: they are not kept.
    pub ignore: Vec<String>,
}

/// The field of a stored body that has the time of its signature, where that is the version.
const SIGNED_AT: &str = "headcount_signed_at";

/// The kind whose sources are described in the file.
pub const KIND: &str = "standard-webhooks";

/// Keys whose values are never kept, wherever they lie: nobody has told what a provider's secrets are called.
const SECRETIVE: [&str; 9] =
    ["password", "secret", "token", "hash", "otp", "private", "credential", "recovery", "backup_code"];

impl Provider for Described {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn setup(&self) -> Setup {
        Setup::FileAlone { why: "what its deliveries mean is described in the file" }
    }

    fn glance(&self, body: &str) -> Glance {
        let Ok((body, _)) = lenient::read::<Map<String, Value>>(body) else {
            return self.glance_at_text(body);
        };
        let event_type = self.type_of(&body);
        Glance {
            used: self.uses(&event_type),
            event_type: printable(&event_type),
            provider_id: outline_id(at_path(&body, &self.id)),
            occurred_at: self.occurred_at(&body),
            message_id: None,
            is_json: true,
        }
    }

    fn keeps(&self) -> Kept {
        let named =
            [&self.version, &self.occurred_at, &self.external_id, &self.suspended, &self.suspended_until];
        let named = named.into_iter().flatten().chain(&self.event_type).chain([&self.id]);
        let named = named.chain(self.columns.iter().map(|(_, path)| path)).map(String::as_str);
        Kept::of(named.chain([SIGNED_AT, MENDED]))
    }

    fn kept(&self, body: &str, signed_at: Timestamp, keep: &Kept) -> Result<String, Unintelligible> {
        let (mut body, mended): (Map<String, Value>, bool) = lenient::read(body).map_err(reason)?;
        keep.strip(&mut body);
        strip(&mut body);
        if self.version.is_none() {
            body.insert(SIGNED_AT.to_owned(), signed_at.ms().into());
        }
        if mended {
            body.insert(MENDED.to_owned(), true.into());
        }
        Ok(Value::Object(body).to_string())
    }

    fn normalize(&self, source: &str, body: &str, layout: &Layout) -> Result<Event, Unintelligible> {
        let (mut body, mended): (Map<String, Value>, bool) = lenient::read(body).map_err(reason)?;
        let mended = body.remove(MENDED).is_some() || mended;
        let provider_id = checked_id(at_path(&body, &self.id))?;
        let key = IdentityKey { source: source.to_owned(), provider_id };
        let occurred_at = self.occurred_at(&body);
        let kind = match self.delete.contains(&self.type_of(&body)) {
            true => EventKind::Delete,
            false => EventKind::Upsert(self.snapshot_of(body, layout)?),
        };
        Ok(Event { mended, key, occurred_at, instance: None, version_may_go_back: false, kind })
    }

    fn snapshot_of(&self, version: i64, user: &Map<String, Value>, layout: &Layout) -> Snapshot {
        let mut columns = Columns::default();
        for (column, path) in &self.columns {
            columns.set(*column, cell(*column, user, path));
        }
        let verified =
            columns.get(Column::EmailVerified) == Some("true") && columns.get(Column::Email).is_some();
        columns.set(Column::EmailVerified, Some(verified.to_string()));
        set_paths(&mut columns, user, layout);
        let at = |path: &Option<String>| path.as_ref().and_then(|path| value_at(user, path));
        let ends = at(&self.suspended_until).filter(|ends| !ends.is_null());
        let until = ban_until(ends, time_of_version(version));
        let says_banned = if self.suspended.is_some() { bans(at(&self.suspended)) } else { until.is_some() };
        Snapshot {
            version,
            columns,
            suspended: says_banned && (ends.is_none() || until.is_some()),
            suspended_until: until.flatten(),
            external_id: text(at(&self.external_id)),
            ..Snapshot::default()
        }
    }

    fn leaves_out(&self, _field: &str) -> bool {
        false
    }

    fn directory(&self) -> Option<&'static dyn Directory> {
        None
    }
}

impl Described {
    /// Whether a sample can be understood, with every column in its place. The error says what is not.
    pub fn check(&self, sample: &str) -> Result<(), String> {
        let body: Map<String, Value> = serde_json::from_str(sample)
            .map_err(|error| format!("is no JSON object: {}", super::json::place_of(&error)))?;
        let event_type = self.type_of(&body);
        if !self.uses(&event_type) {
            let (named, at) = (printable(&event_type), self.event_type.join(" and "));
            return Err(format!(
                "is of type `{named}` (at {at}), which is neither in `upsert` nor in `delete`"
            ));
        }
        let kept = self
            .kept(sample, Timestamp::clamped(1), &self.keeps())
            .map_err(|reason| format!("is none: {reason}"))?;
        self.normalize("sample", &kept, &Layout::default()).map_err(|reason| format!("is none: {reason}"))?;
        let is_upsert = self.upsert.contains(&event_type);
        let (extra, columns) = (self.external_id.iter(), self.columns.iter().map(|(_, path)| path));
        // A ban's end is absent, as a rule, of somebody who is not banned.
        for path in extra.chain(&self.suspended).chain(columns).filter(|_| is_upsert) {
            match value_at(&body, path) {
                None => return Err(format!("has nothing at `{path}`")),
                Some(Value::Array(_)) => {
                    return Err(format!(
                        "has a list at `{path}`: say which entry, such as `{path}[0]` or `{path}[?primary].email`"
                    ));
                }
                Some(Value::Object(_)) => return Err(format!("has an object at `{path}`, and no value")),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn uses(&self, event_type: &String) -> bool {
        self.upsert.contains(event_type) || self.delete.contains(event_type)
    }

    fn type_of(&self, body: &Map<String, Value>) -> String {
        let parts: Vec<String> = self.event_type.iter().filter_map(|path| at_path(body, path)).collect();
        parts.join(".")
    }

    /// Of a body in which something cannot be decoded: its type, where that lies at the top.
    fn glance_at_text(&self, body: &str) -> Glance {
        let fields: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
            serde_json::from_str(body).unwrap_or_default();
        let read = |path: &String| serde_json::from_str::<String>(fields.get(path)?.get()).ok();
        let event_type = self.event_type.iter().filter_map(read).collect::<Vec<_>>().join(".");
        Glance { used: self.uses(&event_type), event_type: printable(&event_type), ..Glance::default() }
    }

    fn occurred_at(&self, body: &Map<String, Value>) -> Option<Timestamp> {
        match value_at(body, self.occurred_at.as_deref()?)? {
            Value::String(text) => Timestamp::parse(text),
            Value::Number(number) => Timestamp::from_ms(number.as_i64()?),
            _ => None,
        }
    }

    fn snapshot_of(&self, mut body: Map<String, Value>, layout: &Layout) -> Result<Snapshot, Unintelligible> {
        let field = "the version";
        let place = self.version.as_deref().unwrap_or(SIGNED_AT);
        let version = match value_at(&body, place) {
            None | Some(Value::Null) => return Err(Unintelligible::Missing { field }),
            Some(Value::String(text)) => time_us(text).or_else(|| text.parse().ok()),
            Some(number) => number.as_i64(),
        };
        let place = place.to_owned();
        let version = version.ok_or(Unintelligible::OutOfRange { field })?;
        let occurred_at = self.occurred_at.iter();
        for path in self.event_type.iter().chain(occurred_at).chain([&place]).chain(&self.ignore) {
            let is_shown = self.columns.iter().any(|(_, shown)| shown == path);
            if !is_shown {
                remove(&mut body, path);
            }
        }
        strip(&mut body);
        Ok(self.snapshot(version, &body, layout))
    }
}

/// A version as microseconds since 1970, where it looks like a time; otherwise nothing is later.
fn time_of_version(version: i64) -> i64 {
    match version {
        1_000_000_000_000_000.. => version,
        1_000_000_000_000..1_000_000_000_000_000 => version * 1_000,
        _ => 0,
    }
}

/// A value in the column's own form; nothing where it has another.
fn cell(column: Column, user: &Map<String, Value>, path: &str) -> Option<String> {
    let cell = at_path(user, path)?;
    match column.column_type() {
        ColumnType::Timestamp => {
            let at = time_us(&cell).and_then(instant_us).or_else(|| Timestamp::from_ms(cell.parse().ok()?));
            at.map(|at| at.to_string())
        }
        _ => Some(cell),
    }
}

fn remove(object: &mut Map<String, Value>, path: &str) {
    match path.split_once('.') {
        None => drop(object.remove(path)),
        Some((first, rest)) => {
            if let Some(Value::Object(inner)) = object.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

fn strip(object: &mut Map<String, Value>) {
    object.retain(|key, _| {
        let key = key.to_ascii_lowercase();
        !SECRETIVE.iter().any(|secretive| key.contains(secretive))
    });
    for value in object.values_mut() {
        strip_within(value);
    }
}

fn strip_within(value: &mut Value) {
    match value {
        Value::Object(inner) => strip(inner),
        Value::Array(entries) => entries.iter_mut().for_each(strip_within),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Described {
        let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Described {
            event_type: text(&["type"]),
            upsert: text(&["user.created", "user.updated"]),
            delete: text(&["user.deleted"]),
            id: "data.id".into(),
            version: Some("data.updatedAt".into()),
            occurred_at: Some("timestamp".into()),
            external_id: Some("data.externalId".into()),
            suspended: Some("data.banned".into()),
            suspended_until: None,
            columns: vec![
                (Column::Email, "data.email".into()),
                (Column::EmailVerified, "data.emailVerified".into()),
                (Column::DisplayName, "data.name".into()),
                (Column::CreatedAt, "data.createdAt".into()),
            ],
            ignore: text(&["data.lastSeen"]),
        }
    }

    const SAMPLE: &str = r#"{"type":"user.updated","timestamp":"2026-01-02T03:04:05Z","data":{"id":"u1","email":"a@example.com",
        "emailVerified":true,"name":"Ann","updatedAt":"2026-01-02T03:04:05.000001Z","createdAt":1767322445000,"banned":true,
        "externalId":"x1","lastSeen":5,"passwordHash":"$2a$10","nested":[{"accessToken":"t","kept":1}]}}"#;

    fn snapshot(body: &str) -> Result<Snapshot, Unintelligible> {
        match described().normalize("accounts", body, &Layout::default())?.kind {
            EventKind::Upsert(snapshot) => Ok(snapshot),
            EventKind::Delete => Ok(Snapshot::default()),
        }
    }

    #[test]
    fn what_is_described_is_understood_and_nothing_secret_is_kept() {
        let snapshot = snapshot(SAMPLE).unwrap();
        assert_eq!(snapshot.version, 1_767_323_045_000_001);
        let cell = |column| snapshot.columns.get(column);
        assert_eq!((cell(Column::Email), cell(Column::EmailVerified)), (Some("a@example.com"), Some("true")));
        assert_eq!(cell(Column::CreatedAt), Some("2026-01-02T02:54:05.000Z"));
        assert!(snapshot.suspended);
        assert_eq!(snapshot.external_id.as_deref(), Some("x1"));
        // Neither what nobody has named, nor what sounds like a secret within what somebody has.
        let mut keep = described().keeps();
        let kept = described().kept(SAMPLE, Timestamp::clamped(0), &keep).unwrap();
        assert!(
            !kept.contains("$2a") && !kept.contains("nested") && kept.contains("a@example.com"),
            "{kept}"
        );
        keep.add("data.nested");
        let kept = described().kept(SAMPLE, Timestamp::clamped(0), &keep).unwrap();
        assert!(!kept.contains("accessToken") && kept.contains("\"kept\":1"), "{kept}");
        assert!(
            !snapshot.profile.contains("lastSeen") && !snapshot.profile.contains("updatedAt"),
            "{}",
            snapshot.profile
        );
        assert_eq!(
            described().recall(snapshot.version, snapshot.profile.clone(), &Layout::default()),
            snapshot
        );
    }

    #[test]
    fn a_description_is_proven_on_its_sample() {
        assert_eq!(described().check(SAMPLE), Ok(()));
        for (from, to, why) in [
            ("user.updated", "session.created", "`session.created` (at type)"),
            ("\"id\"", "\"ident\"", "the account's id is missing"),
            ("\"updatedAt\"", "\"changedAt\"", "the version is missing"),
            ("2026-01-02T03:04:05.000001Z", "yesterday", "the version is out of range"),
            ("\"email\"", "\"mail\"", "nothing at `data.email`"),
            ("\"banned\"", "\"barred\"", "nothing at `data.banned`"),
            ("{\"type\"", "[{\"type\"", "no JSON object"),
        ] {
            let error = described().check(&SAMPLE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(why), "{from}: {error}");
        }
    }

    #[test]
    fn a_type_may_be_in_two_places_and_a_body_may_be_odd() {
        let mut described = described();
        described.event_type = vec!["object_type".into(), "action".into()];
        described.upsert = vec!["user.CREATE".into()];
        let glance = described.glance(r#"{"object_type":"user","action":"CREATE","data":{"id":"u1"}}"#);
        assert!(glance.used && glance.provider_id.as_deref() == Some("u1"));
        let odd = described.glance(r#"{"object_type":"user","action":"CREATE","data":{"id":"\ud800"}}"#);
        assert!(odd.used && odd.provider_id.is_none());
        assert!(described.normalize("s", r#"{"data":{"id":"\ud800"}}"#, &Layout::default()).is_err());
    }
}
