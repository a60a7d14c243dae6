//! What it means that deliveries are refused for a reason, and what to do about it.

/// For people, of a reason that the public listener counts.
pub fn hint(reason: &str, source: &str) -> String {
    let text = match reason {
        "wrong_path" if source.is_empty() => "sent to a path that is none of /webhooks/SOURCE",
        "wrong_path" => {
            return format!("sent to another path; deliveries of {source} go to /webhooks/{source}");
        }
        "unknown_source" => {
            "sent to /webhooks/ and a name that is no source here, or one without a webhook secret"
        }
        "bad_signature" => {
            "signed with another secret: copy the endpoint's secret from the provider's dashboard"
        }
        "missing_headers" => {
            "without the headers that say who sent it: not from the provider, or a relay drops them"
        }
        "bad_headers" => "a header of the signature is repeated or malformed",
        "too_old" => {
            "signed too long ago: this machine's clock is ahead, or a relay takes longer than HEADCOUNT_TOLERANCE"
        }
        "too_new" => "signed in the future: this machine's clock is behind",
        "not_json" => "verified, but the body is not JSON: a relay changes it",
        "too_large" => "larger than HEADCOUNT_MAX_BODY",
        "too_slow" => "the body came too slowly",
        "cut_off" => "the body ended too early",
        "retired" => "the source is retired: delete the endpoint in the provider's dashboard",
        "overloaded" => "too many were waiting: the provider delivers them again",
        "unavailable" => "the inbox could not be written: the provider delivers them again",
        _ => "",
    };
    text.to_owned()
}
