//! The fixture format: a delivery as an HTTP message, exact to the byte.
//!
//! ```text
//! # What this delivery is, in a sentence.
//! # key: whsec_…        (only where it was signed with a public key, not with an endpoint's secret)
//! POST /webhooks/clerk
//! svix-id: msg_…
//! svix-timestamp: 1716883200
//! svix-signature: v1,…  (or `workos-signature: t=…, v1=…`, or `authorization: Bearer …`)
//!
//! {"data": …            (everything from here to the end of the file is the signed body)
//! ```

use crate::core::timestamp::Timestamp;
use crate::source::signature::{Scheme, SignedHeaders, SigningKey};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The public key that made-up and redacted fixtures are signed with. It proves that a file is whole, not who sent it.
pub const FIXTURE_KEY: &str = "whsec_aGVhZGNvdW50IHB1YmxpYyBmaXh0dXJlIGtleSAwMDE=";
/// A fixture's file: the largest body that is accepted, and a head.
const FILE_BYTES_MAX: u64 = 257 << 20;
const ENDING: &str = "http";
const PATH_PREFIX: &str = "POST /webhooks/";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixture {
    pub about: String,
    pub source: String,
    pub headers: SignedHeaders,
    /// The key that it names itself; `None` where the source's own secret signed it.
    pub key: Option<String>,
    pub body: String,
}

#[derive(Debug, Error)]
pub enum FixtureError {
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    Malformed(PathBuf, &'static str),
    #[error("{0} holds no fixture (*.http)")]
    Empty(PathBuf),
}

impl Fixture {
    pub fn read(path: &Path) -> Result<Self, FixtureError> {
        let unreadable = |error| FixtureError::Unreadable(path.to_owned(), error);
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(FixtureError::Malformed(path.to_owned(), "the file is too large"));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|reason| FixtureError::Malformed(path.to_owned(), reason))
    }

    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (head, body) = text.split_once("\n\n").ok_or("there is no blank line between head and body")?;
        let mut about = Vec::new();
        let (mut key, mut source) = (None, None);
        let mut headers = Vec::new();
        for line in head.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                match comment.trim().strip_prefix("key:") {
                    Some(named) => key = Some(named.trim().to_owned()),
                    None => about.push(comment.trim().to_owned()),
                }
            } else if let Some(name) = line.strip_prefix(PATH_PREFIX) {
                source = Some(name.trim().to_owned());
            } else if let Some((name, value)) = line.split_once(':') {
                headers.push((name.trim(), value.trim()));
            } else {
                return Err(
                    "a line of the head is neither a comment, nor `POST /webhooks/SOURCE`, nor a header",
                );
            }
        }
        let headers = SignedHeaders::of_lines(&headers).map_err(|_| "its headers (svix-id, svix-timestamp and svix-signature, or those of another scheme) are not whole")?;
        Ok(Self {
            about: about.join(" "),
            source: source.ok_or("the line `POST /webhooks/SOURCE` is missing")?,
            headers,
            key,
            body: body.to_owned(),
        })
    }

    /// The file's content.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for line in self.about.lines() {
            text.push_str(&format!("# {line}\n"));
        }
        if let Some(key) = &self.key {
            text.push_str(&format!("# key: {key}\n"));
        }
        text.push_str(&format!("{PATH_PREFIX}{}\n", self.source));
        let public = self.key.as_deref().unwrap_or(FIXTURE_KEY);
        let bearer =
            (self.headers.scheme == Scheme::Bearer).then(|| ("authorization", format!("Bearer {public}")));
        for (name, value) in self.headers.lines().into_iter().chain(bearer) {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push('\n');
        text.push_str(&self.body);
        text
    }

    /// Signs the body anew, with `key` and as of `at`.
    pub fn signed(mut self, key: &SigningKey, at: Timestamp) -> Self {
        self.headers = key.sign(&self.headers.id, at, self.body.as_bytes());
        self
    }
}

/// The fixtures that the paths name, in order: a folder's files by their names, folders within it included.
pub fn collect_paths(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FixtureError> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        collect(path, &mut found)?;
        if found.len() == before {
            return Err(FixtureError::Empty(path.clone()));
        }
    }
    Ok(found)
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), FixtureError> {
    let unreadable = |error| FixtureError::Unreadable(path.to_owned(), error);
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() || entry.extension().is_some_and(|ending| ending == ENDING) {
            collect(&entry, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let key = SigningKey::parse(FIXTURE_KEY).unwrap();
        let fixture = Fixture {
            about: "A body with blank lines and no newline at its end.".into(),
            source: "clerk".into(),
            headers: key.sign("msg_1", Timestamp::clamped(0), b""),
            key: Some(FIXTURE_KEY.into()),
            body: "{\n\n\"a\": 1\r\n}".into(),
        }
        .signed(&key, Timestamp::clamped(1_716_883_200_000));
        let read = Fixture::parse(&fixture.render()).unwrap();
        assert_eq!(read, fixture);
        let at = read.headers.sent_at().unwrap();
        assert_eq!(read.headers.verify(&[key], read.body.as_bytes(), at), Ok(at));
    }

    #[test]
    fn what_is_no_fixture_says_why() {
        for (text, reason) in [
            ("", "blank line"),
            ("POST /webhooks/clerk\n\n{}", "svix-id"),
            ("nonsense\n\n{}", "neither a comment"),
            ("svix-id: a\nsvix-timestamp: 1\nsvix-signature: v1,x\n\n{}", "POST /webhooks/SOURCE"),
        ] {
            let error = Fixture::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
