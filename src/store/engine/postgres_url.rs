//! PostgreSQL's URLs as hosts and dashboards hand them out: libpq's form, with unix sockets, addresses in brackets, and
//! passwords that nobody has encoded.
//!
//! Source: PostgreSQL's manual, "Connection URIs", and libpq's own parser: only `/` and `?` end the part before them.

use crate::store::engine::error::StoreError;
use url::Url;

/// Parameters that mean something to the driver. What Prisma, PgBouncer, Supabase and others put beside them is passed
/// over.
const PARAMETERS: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "user", "dbname"];
/// How the driver may be told to protect the connection.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
const VERIFIED: &str = "verify-full";

/// The parts as they are meant, decoded.
#[derive(Default)]
struct UrlParts {
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<String>,
    database: String,
    /// Each as it is written.
    parameters: Vec<(String, String)>,
}

/// The URL with every part encoded, and what it asks for and gets in another way.
pub(super) fn parse(text: &str) -> Result<(Url, Vec<String>), StoreError> {
    let rest = text.split_once("://").map(|(_, rest)| rest).ok_or_else(|| {
        setup("the database URL must go on with `//` after its scheme: postgres://USER@HOST/DATABASE")
    })?;
    let mut parts = read(rest)?;
    let notes = settle(&mut parts)?;
    Ok((encoded(&parts)?, notes))
}

/// Where user and password end is unclear where a password has a `/`, a `?` or an `@` that nobody has encoded. Of the
/// readings that make sense the usual one counts, then the one with the longest password.
fn read(rest: &str) -> Result<UrlParts, StoreError> {
    let border = rest.find(['/', '?']).unwrap_or(rest.len());
    let usual = rest[..border].rfind('@');
    let path_end = rest.find('?').unwrap_or(rest.len());
    let is_odd = rest.get(border..path_end).is_some_and(|path| path.contains('@'))
        || (usual.is_none() && rest.contains('@') && !is_query(rest, border));
    let mut failure = None;
    if !is_odd {
        match parts(usual.map(|at| &rest[..at]), &rest[usual.map_or(0, |at| at + 1)..]) {
            Ok(parts) => return Ok(parts),
            Err(error) => failure = Some(error),
        }
    }
    for (at, _) in rest.match_indices('@').collect::<Vec<_>>().into_iter().rev() {
        match parts(Some(&rest[..at]), &rest[at + 1..]) {
            Ok(parts) => return Ok(parts),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| setup("the database URL cannot be read")))
}

/// Whether what begins at `from`, or after the path there, is a list of parameters.
fn is_query(rest: &str, from: usize) -> bool {
    let query = rest.get(from..).and_then(|tail| tail.split_once('?')).map(|(_, query)| query);
    let host = rest.get(..from).unwrap_or_default();
    let is_host = host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok());
    is_host && query.is_some_and(|query| query.split('&').all(|pair| pair.contains('=')))
}

fn parts(credentials: Option<&str>, rest: &str) -> Result<UrlParts, StoreError> {
    let (hosts, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (host, port) = host_and_port(hosts)?;
    let credentials =
        credentials.map(|text| text.split_once(':').map_or((text, None), |(u, p)| (u, Some(p))));
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.[]".contains(c));
        let (name, value) = pair.split_once('=').filter(|(name, _)| is_name(name)).ok_or_else(|| {
            setup(
                "the database URL has a parameter that is not NAME=VALUE; a `?` in a password is written %3F",
            )
        })?;
        parameters.push((decoded(name), decoded(value)));
    }
    Ok(UrlParts {
        user: credentials.map(|(user, _)| decoded(user)).filter(|user| !user.is_empty()),
        password: credentials.and_then(|(_, password)| password).map(decoded).filter(|text| !text.is_empty()),
        host,
        port,
        database: decoded(path.strip_prefix('/').unwrap_or(path)),
        parameters,
    })
}

fn host_and_port(text: &str) -> Result<(String, Option<String>), StoreError> {
    if text.contains(',') {
        return Err(setup(
            "the database URL names several hosts; name the one that takes writes, or an address that follows it",
        ));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, after) = bracketed
                .split_once(']')
                .ok_or_else(|| setup("the host of the database URL begins with `[` and has no `]`"))?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(setup("the host of the database URL is no IPv6 address between `[` and `]`"));
            }
            (format!("[{address}]"), after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (decoded(host), Some(port)),
            None => (decoded(text), None),
        },
    };
    let is_name = |host: &str| host.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if !host.starts_with(['/', '[']) && !is_name(&host) {
        return Err(setup(
            "the host of the database URL is no name and no address; `:`, `/`, `@` and `%` in a password are written \
             %3A, %2F, %40 and %25",
        ));
    }
    let port = port.filter(|port| !port.is_empty());
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(setup(
            "the port of the database URL is no number from 1 to 65535; `/` and `@` in a password are written %2F and %40",
        ));
    }
    Ok((host, port.map(str::to_owned)))
}

/// Keeps what the driver knows, and gives in another way what it does not. What is passed over weakens nothing.
fn settle(parts: &mut UrlParts) -> Result<Vec<String>, StoreError> {
    let given = std::mem::take(&mut parts.parameters);
    let value = |name: &str| {
        given
            .iter()
            .rev()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    };
    let mut notes = Vec::new();
    if let Some(password) = value("password") {
        parts.password = Some(password.to_owned());
    }
    let mut mode = value("sslmode").map(str::to_owned);
    if let Some(mode) = mode.as_deref().filter(|mode| !SSL_MODES.contains(mode)) {
        let shown: String = mode.chars().filter(|c| c.is_ascii_graphic()).take(20).collect();
        return Err(setup(&format!(
            "sslmode of the database URL is `{shown}`; it must be one of {}",
            SSL_MODES.join(", ")
        )));
    }
    let mut root = value("sslrootcert").map(str::to_owned);
    if root.as_deref() == Some("system") {
        // As libpq has it: the system's certificates are of no use without the check of the name.
        mode = Some(VERIFIED.to_owned());
        root =
            SYSTEM_ROOTS.into_iter().find(|path| std::fs::exists(path).unwrap_or(false)).map(str::to_owned);
    }
    if value("channel_binding") == Some("require") && mode.as_deref() != Some(VERIFIED) {
        mode = Some(VERIFIED.to_owned());
        notes.push(
            "channel_binding=require of the database URL is kept by checking the server's certificate and name \
             (sslmode=verify-full); where its authority is not a public one, sslrootcert names the file"
                .to_owned(),
        );
    }
    for (name, part) in
        [("sslrootcert", root.as_deref()), ("sslcert", value("sslcert")), ("sslkey", value("sslkey"))]
    {
        if let Some(path) = part.filter(|path| !std::fs::exists(path).unwrap_or(false)) {
            return Err(setup(&format!(
                "{name} of the database URL names {path}, and there is no such file"
            )));
        }
    }
    let others = PARAMETERS.into_iter().filter(|name| !["sslmode", "sslrootcert"].contains(name));
    let kept = others.filter_map(|name| Some((name, value(name)?.to_owned())));
    let protection = [("sslmode", mode), ("sslrootcert", root)].into_iter();
    let protection = protection.filter_map(|(name, value)| Some((name, value?)));
    parts.parameters = protection.chain(kept).map(|(name, value)| (name.to_owned(), value)).collect();
    if value("host").is_some_and(|host| host.contains(',')) {
        return Err(setup("host of the database URL names several hosts; name the one that takes writes"));
    }
    Ok(notes)
}

fn encoded(parts: &UrlParts) -> Result<Url, StoreError> {
    let socket = parts.host.starts_with('/').then(|| parts.host.clone());
    // Without a host the driver's own default stands. A URL with a user has to have one.
    let host = match parts.host.as_str() {
        "" if parts.user.is_none() && parts.password.is_none() => "",
        "" => "localhost",
        _ if socket.is_some() => "localhost",
        named => named,
    };
    let unreadable = || setup("the host of the database URL cannot be read");
    let mut url = Url::parse(&format!("postgres://{host}")).map_err(|_| unreadable())?;
    if let Some(user) = &parts.user {
        url.set_username(&escaped(user)).map_err(|()| unreadable())?;
    }
    if let Some(password) = &parts.password {
        url.set_password(Some(&escaped(password))).map_err(|()| unreadable())?;
    }
    if let Some(port) = parts.port.as_deref().and_then(|port| port.parse().ok()) {
        url.set_port(Some(port)).map_err(|()| unreadable())?;
    }
    url.set_path(&escaped(&parts.database));
    let socket = socket.map(|path| ("host".to_owned(), path));
    let parameters: Vec<_> = parts.parameters.iter().cloned().chain(socket).collect();
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    Ok(url)
}

/// What is percent-encoded, decoded; a `%` that encodes nothing stays, as in a password that nobody has encoded.
fn decoded(text: &str) -> String {
    let (bytes, mut out, mut n) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while n < bytes.len() {
        let escape = (bytes[n] == b'%').then(|| text.get(n + 1..n + 3)).flatten();
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                n += 3;
            }
            None => {
                out.push(bytes[n]);
                n += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn setup(message: &str) -> StoreError {
    StoreError::Setup(message.to_owned())
}

#[cfg(test)]
mod tests;
