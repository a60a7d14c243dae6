//! The variables: of the process, then of `.env.local`, then of `.env`. What a secret may look like.

use super::ConfigError;
use super::env_file;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files of the working directory, in the order of their word.
const FILES: [&str; 2] = [".env.local", ".env"];
/// Secrets are short; a file that is not is the wrong one.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Variable(String),
    /// One of the `.env` files.
    EnvFile {
        file: &'static str,
        name: String,
    },
    File(PathBuf),
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Flag => write!(f, "flag"),
            Origin::Variable(name) => write!(f, "{name}"),
            Origin::EnvFile { file, name } => write!(f, "{name} in {file}"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Default => write!(f, "default"),
        }
    }
}

/// The process's variables and those of its `.env` files, or a test's.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The first that has a name counts for it, even where it leaves it empty.
    layers: Vec<EnvLayer>,
}

#[derive(Clone, Debug)]
struct EnvLayer {
    /// `None` for the process's own.
    file: Option<&'static str>,
    values: BTreeMap<String, String>,
}

impl Environment {
    /// These variables and no others.
    pub fn of(values: BTreeMap<String, String>) -> Self {
        Self { layers: vec![EnvLayer { file: None, values }] }
    }

    pub fn of_process() -> Self {
        let readable = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::of(readable.collect())
    }

    /// With the `.env` files of this folder below.
    ///
    /// # Errors
    ///
    /// Where one is there and cannot be read.
    pub fn with_env_files(mut self, folder: &Path) -> Result<Self, ConfigError> {
        for file in FILES {
            let known = |name: &str| self.get(name).map(str::to_owned);
            if let Some(values) = env_file::read(&folder.join(file), known)? {
                self.layers.push(EnvLayer { file: Some(file), values });
            }
        }
        Ok(self)
    }

    /// Set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|(value, _)| value)
    }

    /// Set and not empty, and by whom.
    pub fn find(&self, name: &str) -> Option<(&str, Origin)> {
        let layer = self.layers.iter().find(|layer| layer.values.contains_key(name))?;
        let value = layer.values.get(name).map(String::as_str).filter(|value| !value.is_empty())?;
        Some((value, layer.origin(name)))
    }

    /// Of the process alone: a file that is made for an application says nothing of this process.
    pub fn of_process_alone(&self, name: &str) -> Option<&str> {
        let process = self.layers.iter().find(|layer| layer.file.is_none())?;
        process.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A secret: the variable itself, or the content of the file that `NAME_FILE` names. The first layer that has either
    /// counts.
    pub fn secret(&self, name: &str) -> Result<Option<(String, Origin)>, ConfigError> {
        let file_variable = format!("{name}_FILE");
        for layer in &self.layers {
            let value = |name: &str| layer.values.get(name).map(String::as_str);
            let set = |name: &str| value(name).filter(|value| !value.is_empty());
            match (set(name), set(&file_variable)) {
                (Some(_), Some(_)) => {
                    return Err(ConfigError(format!("both {name} and {file_variable} are set; unset one")));
                }
                (Some(text), None) => return Ok(Some((secret(text, name)?, layer.origin(name)))),
                (None, Some(path)) => {
                    return Ok(Some((read_secret(path, &file_variable)?, layer.origin(&file_variable))));
                }
                (None, None) if value(name).is_some() || value(&file_variable).is_some() => return Ok(None),
                (None, None) => {}
            }
        }
        Ok(None)
    }

    /// The names that begin so, each with the file that it is from.
    pub fn names(&self, prefix: &str) -> impl Iterator<Item = (&str, Option<&'static str>)> {
        let names =
            self.layers.iter().flat_map(|layer| layer.values.keys().map(|name| (&**name, layer.file)));
        names.filter(move |(name, _)| name.starts_with(prefix))
    }
}

impl EnvLayer {
    fn origin(&self, name: &str) -> Origin {
        match self.file {
            None => Origin::Variable(name.to_owned()),
            Some(file) => Origin::EnvFile { file, name: name.to_owned() },
        }
    }
}

/// The content of a secret's file. `named_by` is what an error points to.
pub fn read_secret(path: &str, named_by: &str) -> Result<String, ConfigError> {
    let unreadable = |error: std::io::Error| {
        ConfigError(format!("{named_by} names {path}, which cannot be read: {error}"))
    };
    let is_secret = std::fs::metadata(path).map_err(unreadable)?.len() <= SECRET_BYTES_MAX;
    let content = if is_secret { std::fs::read(path).map_err(unreadable)? } else { Vec::new() };
    let text = String::from_utf8(content).ok().filter(|text| !text.trim().is_empty());
    let text =
        text.ok_or_else(|| ConfigError(format!("{named_by} names {path}, which does not hold a secret")))?;
    secret(&text, &format!("{named_by}, the file {path},"))
}

/// A secret without what surrounds it: white space, the mark of a byte order, the quotes of a file whose reader keeps them.
fn secret(text: &str, name: &str) -> Result<String, ConfigError> {
    let around = |c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0';
    let bare = text.trim_matches(around);
    let unquoted = ['"', '\''].into_iter().find_map(|quote| bare.strip_prefix(quote)?.strip_suffix(quote));
    let bare = unquoted.map_or(bare, |inner| inner.trim_matches(around));
    match bare.chars().any(|c| c.is_control() || c == '\u{feff}') {
        true => Err(ConfigError(format!(
            "{name} has a line break or another control character inside; a secret is one line: copy it once more"
        ))),
        false => Ok(bare.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Environment {
        Environment::of([(name.to_owned(), value.to_owned())].into())
    }

    #[test]
    fn what_surrounds_a_secret_is_no_part_of_it() {
        for text in [
            "sk_test_x",
            "sk_test_x\n",
            " sk_test_x\r\n",
            "\u{feff}sk_test_x",
            "\"sk_test_x\"",
            "'sk_test_x'\n",
        ] {
            assert_eq!(with("KEY", text).secret("KEY").unwrap().unwrap().0, "sk_test_x", "{text:?}");
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let by_file = with("KEY_FILE", file.path().to_str().unwrap());
            assert_eq!(by_file.secret("KEY").unwrap().unwrap().0, "sk_test_x", "{text:?}");
        }
        for text in ["sk_\ntest_x", "sk\u{0}x", "sk\tx", "sk\u{1b}[31m"] {
            let error = with("KEY", text).secret("KEY").unwrap_err().to_string();
            assert!(error.starts_with("KEY has a line break") && !error.contains("sk"), "{error}");
        }
    }

    #[test]
    fn the_process_overrides_the_files_and_the_local_one_the_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "A=env\nB=env\nC=env\nPORT=1\nD_FILE=/nowhere\n").unwrap();
        std::fs::write(folder.path().join(".env.local"), "B=local\n").unwrap();
        let process = [("A", "process"), ("C", ""), ("D", "secret")];
        let process = process.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let environment = Environment::of(process).with_env_files(folder.path()).unwrap();
        assert_eq!((environment.get("A"), environment.get("B")), (Some("process"), Some("local")));
        assert_eq!(environment.get("C"), None, "who empties a variable means it");
        assert_eq!(environment.find("B").unwrap().1.to_string(), "B in .env.local");
        assert_eq!((environment.get("PORT"), environment.of_process_alone("PORT")), (Some("1"), None));
        assert_eq!(environment.secret("D").unwrap().unwrap().0, "secret");
    }
}
