//! Who may come in: whoever has a token, asks for us by a name that is ours, and is no page of somebody else's.

use super::Admin;
use crate::private_host::is_private_name;
use crate::web::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;

/// What a token lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Everything.
    Operator,
    /// What an application needs: ensure, read, complete, changes.
    Application,
}

/// Digests of the tokens: comparing them takes equally long whatever is sent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    admin: Option<[u8; 32]>,
    app: Option<[u8; 32]>,
}

impl Tokens {
    pub fn new(admin: Option<&SecretString>, app: Option<&SecretString>) -> Self {
        let digest = |token: &SecretString| Sha256::digest(token.expose_secret().as_bytes()).into();
        Self { admin: admin.map(digest), app: app.map(digest) }
    }

    fn holder(&self, token: &str) -> Option<Holder> {
        let sent: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let same = |known: &Option<[u8; 32]>| {
            known.is_some_and(|known| known.iter().zip(sent).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0)
        };
        match (same(&self.admin), same(&self.app)) {
            (true, _) => Some(Holder::Operator),
            (false, true) => Some(Holder::Application),
            (false, false) => None,
        }
    }
}

/// Whether a page of somebody else's cannot have made a browser ask for this name: an address, a name without a dot,
/// one of a private network, or one that is configured.
fn is_ours(host: &str, further: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || is_private_name(&name)
        || further.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

fn check(admin: &Admin, headers: &HeaderMap, host: Option<&str>) -> Result<Holder, Problem> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("\u{0}"));
    let host = text(header::HOST).or(host).unwrap_or_default();
    if !is_ours(host, &admin.hosts) {
        let detail = "this is not asked for by a name of its own; HEADCOUNT_ADMIN_HOSTS lists further ones";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let from = origin.split_once("://").map(|(_, rest)| rest);
        if from != Some(host) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "a page of another origin may not ask here"));
        }
    }
    let sent = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let token =
        sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    token.and_then(|token| admin.tokens.get().holder(token)).ok_or_else(|| {
        let detail = "send `Authorization: Bearer` with HEADCOUNT_ADMIN_TOKEN or HEADCOUNT_APP_TOKEN";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    })
}

/// Before everything else.
pub async fn guard(State(admin): State<Arc<Admin>>, mut request: Request, next: Next) -> Response {
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    match check(&admin, request.headers(), host.as_deref()) {
        Ok(holder) => {
            request.extensions_mut().insert(holder);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Before what only operators may do.
pub async fn operators_only(request: Request, next: Next) -> Response {
    match request.extensions().get::<Holder>() {
        Some(Holder::Operator) => next.run(request).await,
        _ => Problem::new(
            StatusCode::FORBIDDEN,
            "the application's token may not do this; use HEADCOUNT_ADMIN_TOKEN",
        )
        .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_strangers_page_cannot_point_here_are_ours() {
        let further = ["headcount.example.com".to_owned()];
        for ours in [
            "127.0.0.1:8788",
            "[::1]:8788",
            "localhost",
            "headcount:8788",
            "hc.internal",
            "HEADCOUNT.example.com:1",
        ] {
            assert!(is_ours(ours, &further), "{ours}");
        }
        for theirs in ["evil.example.com", "evil.example.com:8788", "", "127.0.0.1.nip.io", "a.b:1"] {
            assert!(!is_ours(theirs, &further), "{theirs}");
        }
    }

    #[test]
    fn each_token_has_its_holder_and_no_token_has_none() {
        let tokens = Tokens::new(Some(&"operator".into()), Some(&"application".into()));
        assert_eq!(tokens.holder("operator"), Some(Holder::Operator));
        assert_eq!(tokens.holder("application"), Some(Holder::Application));
        assert_eq!(tokens.holder("operato"), None);
        assert_eq!(Tokens::default().holder(""), None);
    }
}
