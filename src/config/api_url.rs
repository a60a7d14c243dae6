//! Where a source's API may be: the key travels in every request.

use super::ConfigError;
use crate::private_host::{is_private_address, is_private_name};
use url::{Host, Url};

/// Whether the API is on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
        None => false,
    }
}

/// https, unless nobody of the public internet can be meant: the key travels in every request.
pub fn api_url(text: &str, name: &str) -> Result<Url, ConfigError> {
    let is_private = |url: &Url| match url.host() {
        Some(Host::Ipv4(ip)) => is_private_address(ip.into()),
        Some(Host::Ipv6(ip)) => is_private_address(ip.into()),
        Some(Host::Domain(domain)) => is_private_name(domain),
        None => false,
    };
    let url = Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && is_private(url)));
    let bare =
        url.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    bare.ok_or_else(|| {
        ConfigError(format!(
            "{name} must be an https URL without anything secret in it; http is for loopback, private addresses and names \
             that cannot be public: without a dot, or .internal, .local, .svc"
        ))
    })
}
