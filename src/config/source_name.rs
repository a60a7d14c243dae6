//! What a source may be called.

use super::ConfigError;
use super::layers::Layers;
use crate::source::setup::Setup;
use crate::source::standard::KIND as DESCRIBED;
use crate::source::{KINDS, Source, provider};

/// Names that no source may have: of kinds, for those of another kind, and of what is not one.
const RESERVED: [&str; 2] = [DESCRIBED, "headcount"];

pub(super) fn check_name(
    name: &str,
    kind: &str,
    layers: &Layers,
    others: &[Source],
) -> Result<(), ConfigError> {
    let whole = format!("sources.{name}");
    let plain = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain {
        return Err(layers.error(&whole, "must be named with a-z, 0-9 and -"));
    }
    if name != kind && (KINDS.contains(&name) || RESERVED.contains(&name)) {
        let advice =
            format!("is of kind `{kind}`, and the name is reserved; call it something like `{kind}-2`");
        return Err(layers.error(&whole, &advice));
    }
    if others.iter().any(|other| other.name == name) {
        let set = match provider(name).map(|provider| provider.setup()) {
            Some(Setup::Variables(set)) => {
                let names = [&set.webhook_secret, &set.api_key].into_iter().chain(&set.database_url);
                names.map(|variable| variable.name).collect::<Vec<_>>().join(" or ")
            }
            _ => "its variables".to_owned(),
        };
        let advice =
            format!("is configured twice: by {set} as well; unset those, or give this one another name");
        return Err(layers.error(&whole, &advice));
    }
    Ok(())
}
