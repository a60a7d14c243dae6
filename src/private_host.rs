//! Which hosts nobody on the public internet can be asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Endings that no public name has, of containers, clusters and networks of one's own. Source: RFC 6761, 6762 and 9476 and
/// ICANN's reservation of `.internal`.
const ENDINGS: [&str; 4] = [".localhost", ".local", ".internal", ".svc"];

/// Whether a name has no dot or one of the [`ENDINGS`]. Not of addresses.
pub fn is_private_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let has_no_dot = !name.is_empty() && !name.contains(['.', ':']);
    has_no_dot || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether an address is of this machine or of a network of one's own: loopback, RFC 1918, RFC 6598, RFC 4193, link-local.
pub fn is_private_address(address: IpAddr) -> bool {
    let v4 = |address: Ipv4Addr| {
        let [first, second, ..] = address.octets();
        let is_shared = first == 100 && (64..128).contains(&second);
        address.is_loopback() || address.is_private() || address.is_link_local() || is_shared
    };
    let v6 = |address: Ipv6Addr| {
        address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
    };
    match address.to_canonical() {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_public_is_not_private() {
        for name in
            ["kong", "host.docker.internal", "kong.supabase.svc.cluster.local", "KONG.ns.svc", "a.local."]
        {
            assert!(is_private_name(name), "{name}");
        }
        for name in
            ["", "example.com", "svc.example.com", "a.svc.example.com", "notlocal.example", "local.dev"]
        {
            assert!(!is_private_name(name), "{name}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.5",
            "172.31.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private_address(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860::1", "0.0.0.0", "::ffff:8.8.8.8"] {
            assert!(!is_private_address(address.parse().unwrap()), "{address}");
        }
    }
}
