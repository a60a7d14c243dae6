//! A `.env` file, read as the applications beside us read theirs: by the rules of npm's `dotenv`, with `${NAME}` besides.
//!
//! Not by `dotenvy`: it takes `$word` for a variable as well, so that a password with a dollar sign is another one here than
//! in the application.

use super::ConfigError;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Such files are short; one that is not is something else.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The file's variables; `None` where there is no such file. `known` answers what `${NAME}` stands for where the file does
/// not say it.
pub fn read(
    path: &Path,
    known: impl Fn(&str) -> Option<String>,
) -> Result<Option<BTreeMap<String, String>>, ConfigError> {
    let error =
        |reason: &str| ConfigError(format!("{} {reason}; --no-env-file leaves it out", path.display()));
    let unreadable = |cause: std::io::Error| error(&format!("cannot be read: {cause}"));
    match std::fs::metadata(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(cause)),
        // Python's virtual environments are often called so.
        Ok(found) if found.is_dir() => return Ok(None),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(error("is too large for a file of variables"));
        }
        Ok(_) => {}
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(text).map_err(|_| error("is not UTF-8"))?;
    Ok(Some(variables(text.trim_start_matches('\u{feff}'), known)))
}

fn variables(text: &str, known: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.lines().next().unwrap_or_default();
        let after_line = rest.find('\n').map_or("", |end| &rest[end + 1..]);
        let Some((name, value)) = assignment(line) else {
            rest = after_line;
            continue;
        };
        // The value ends the line, unless it is in quotes and has several lines.
        let begins = line.len() - value.len();
        let (value, expands, end) = match quoted(&rest[begins..]) {
            Some((quote, inner, length)) => {
                let inner = if quote == '"' {
                    inner.replace("\\n", "\n").replace("\\r", "\r")
                } else {
                    inner.to_owned()
                };
                (inner, quote != '\'', Some(begins + length))
            }
            None => (value.split('#').next().unwrap_or_default().trim().to_owned(), true, None),
        };
        let value = if expands {
            expanded(&value, |name| found.get(name).cloned().or_else(|| known(name)))
        } else {
            value
        };
        found.insert(name.to_owned(), value);
        rest = match end {
            None => after_line,
            Some(end) => rest[end..].find('\n').map_or("", |next| &rest[end + next + 1..]),
        };
    }
    found
}

/// `NAME=value` or `NAME: value`, with `export` before it or not. The value is what follows on this line.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let bare = line.trim_start();
    let bare = bare.strip_prefix("export ").map_or(bare, str::trim_start);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let end = bare.find(|c| !is_of_name(c))?;
    let (name, rest) = bare.split_at(end);
    let rest = rest.trim_start_matches([' ', '\t']);
    let value = rest.strip_prefix('=').or_else(|| rest.strip_prefix(": "))?;
    (!name.is_empty()).then(|| (name, value.trim_start_matches([' ', '\t'])))
}

/// The quote, what stands within, and the length of all of it; `None` where the quote does not end.
fn quoted(text: &str) -> Option<(char, &str, usize)> {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c))?;
    let mut escaped = false;
    for (n, c) in text.char_indices().skip(1) {
        match c {
            '\\' => escaped = !escaped,
            c if c == quote && !escaped => return Some((quote, &text[1..n], n + 1)),
            _ => escaped = false,
        }
    }
    None
}

/// `${NAME}` replaced; a `$` alone stays, for passwords have it.
fn expanded(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let Some(end) = from.find('}') else { break };
        out.push_str(before);
        match known(&from[2..end]) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&from[..=end]),
        }
        rest = &from[end + 1..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> Option<String> {
        variables(text, |name| (name == "OUTSIDE").then(|| "out".to_owned())).remove(name)
    }

    /// The expected values are what npm's dotenv 17 reads.
    #[test]
    fn values_are_read_as_applications_read_them() {
        for (text, expected) in [
            ("A=x", "x"),
            ("export A = x  # said", "x"),
            ("A: x", "x"),
            ("# A=no\n\nA=x\r\n", "x"),
            ("A=\"x # y\" # z", "x # y"),
            ("A='x\\ny'", "x\\ny"),
            ("A=\"x\\ny\"", "x\ny"),
            ("A=\"two\nlines\"\nB=1", "two\nlines"),
            ("A=`it's \"x\"`", "it's \"x\""),
            ("A=pa$$word$x", "pa$$word$x"),
            ("A=x\nA=y", "y"),
            ("A=", ""),
            ("A=it's", "it's"),
        ] {
            assert_eq!(value(text, "A").as_deref(), Some(expected), "{text:?}");
        }
        assert_eq!(value("A=\"two\nlines\"\nB=1", "B").as_deref(), Some("1"));
        assert_eq!(value("A B=x\n=x\njust words", "A"), None);
    }

    #[test]
    fn names_in_braces_are_replaced() {
        assert_eq!(value("B=b\nA=${B}-${OUTSIDE}-${GONE}", "A").as_deref(), Some("b-out-${GONE}"));
        assert_eq!(value("B=b\nA='${B}'", "A").as_deref(), Some("${B}"));
    }

    #[test]
    fn a_folder_is_no_file_and_a_large_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".env")).unwrap();
        assert!(read(&folder.path().join(".env"), |_| None).unwrap().is_none());
        assert!(read(&folder.path().join("none"), |_| None).unwrap().is_none());
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        let error = read(&large, |_| None).unwrap_err().to_string();
        assert!(error.contains("too large") && error.contains("--no-env-file"), "{error}");
    }
}
