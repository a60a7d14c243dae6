//! A query string as the stand-ins read it.

/// A query string, its repeated keys in their order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `name=a&name=b`, and as some clients have it, `name[]=a`.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let is = |key: &str| key == name || key.strip_suffix("[]") == Some(name);
        self.0.iter().filter(|(key, _)| is(key)).map(|(_, value)| value.as_str()).collect()
    }
}
