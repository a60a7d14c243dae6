//! Whether a provider's value says that somebody is banned, and until when.

use super::moment::{Moment, instant_us};
use crate::core::timestamp::Timestamp;
use serde_json::Value;

/// Whether a value says that somebody is banned: anything but an absent, a false or an empty one does, for doubt about a
/// ban fails closed (contract, rule 13).
pub(super) fn bans(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "0" | "no"),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Array(entries)) => !entries.is_empty(),
        Some(Value::Bool(true) | Value::Object(_)) => true,
    }
}

/// When a ban ends: `None` where there is none at `now` (microseconds), `Some(None)` where it never ends or where the text
/// is no time.
pub(super) fn ban_until(value: Option<&Value>, now_us: i64) -> Option<Option<Timestamp>> {
    let value = value.filter(|value| bans(Some(value)))?;
    let moment = match value {
        Value::String(text) => Moment::parse(text),
        Value::Number(number) => number.as_f64().and_then(Moment::from_ms),
        _ => None,
    };
    match moment {
        Some(Moment::Long) => None,
        Some(Moment::At(us)) => (us > now_us).then(|| instant_us(us)),
        Some(Moment::Never) | None => Some(None),
    }
}
