//! JSON of a provider's, read although a part of it cannot be decoded (contract, rule 13).
//!
//! Users write their own metadata, and often their names, from their own browser. Half of a surrogate pair, a NUL
//! character, a number that is too large or endless nesting there must not keep a ban or a deletion from being read. What
//! cannot be decoded is replaced: a character by U+FFFD, a number or a nested value by null.

use serde::de::DeserializeOwned;

/// Deeper values become null. The parser's own limit is 128.
const DEPTH_MAX: usize = 64;
/// What stands in the place of a character that cannot be decoded.
const REPLACEMENT: &str = "\\ufffd";

/// What the text says, parts that cannot be decoded being replaced, and whether there were such parts. The error is of a
/// text that is no JSON, or says something else.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<(T, bool), serde_json::Error> {
    // A NUL can be decoded, but no database text can hold it.
    if !json.contains("\\u0000")
        && let Ok(read) = serde_json::from_str(json)
    {
        return Ok((read, false));
    }
    let mended = mended(json);
    Ok((serde_json::from_str(&mended)?, mended != json))
}

/// The text with replacements for what cannot be decoded.
pub(super) fn mended(json: &str) -> String {
    Mender { json, at: 0, mended: String::with_capacity(json.len()) }.mend()
}

/// Copies a text from left to right. What is no JSON is copied as it is: the parser says what is wrong with it.
struct Mender<'a> {
    json: &'a str,
    at: usize,
    mended: String,
}

impl Mender<'_> {
    fn mend(mut self) -> String {
        let mut depth = 0;
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'"' => self.string(),
                b'-' | b'0'..=b'9' => self.number(),
                b'{' | b'[' if depth >= DEPTH_MAX => self.skip_nested(),
                _ => {
                    match byte {
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    self.copy_to(self.at + char_len(byte));
                }
            }
        }
        self.mended
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.json.as_bytes().get(at).copied()
    }

    fn copy_to(&mut self, end: usize) {
        let end = end.min(self.json.len());
        self.mended.push_str(&self.json[self.at..end]);
        self.at = end;
    }

    /// From its opening quote to its closing one.
    fn string(&mut self) {
        self.copy_to(self.at + 1);
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'"' => return self.copy_to(self.at + 1),
                b'\\' => self.escape(),
                _ => self.copy_to(self.at + char_len(byte)),
            }
        }
    }

    fn escape(&mut self) {
        let unit = |at: usize| {
            let is_escape = self.json.get(at..at + 2) == Some("\\u");
            is_escape.then(|| u16::from_str_radix(self.json.get(at + 2..at + 6)?, 16).ok()).flatten()
        };
        match unit(self.at) {
            // Not of this kind; a character behind the backslash, which may be a quote.
            None => {
                let escaped = self.byte(self.at + 1).map_or(0, char_len);
                self.copy_to(self.at + 1 + escaped);
            }
            Some(0xd800..=0xdbff) => match unit(self.at + 6) {
                Some(0xdc00..=0xdfff) => self.copy_to(self.at + 12),
                _ => self.replace(),
            },
            Some(0xdc00..=0xdfff | 0) => self.replace(),
            Some(_) => self.copy_to(self.at + 6),
        }
    }

    fn replace(&mut self) {
        self.mended.push_str(REPLACEMENT);
        self.at += 6;
    }

    fn number(&mut self) {
        let end = (self.at..)
            .find(|&at| !matches!(self.byte(at), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')))
            .unwrap_or(self.json.len());
        match self.json[self.at..end].parse::<f64>() {
            Ok(number) if !number.is_finite() => {
                self.mended.push_str("null");
                self.at = end;
            }
            _ => self.copy_to(end),
        }
    }

    /// Puts null in the place of the object or list that begins here.
    fn skip_nested(&mut self) {
        self.mended.push_str("null");
        let (mut depth, mut in_string) = (0, false);
        while let Some(byte) = self.byte(self.at) {
            self.at += 1;
            match byte {
                b'\\' if in_string => self.at += 1,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth -= 1,
                _ => {}
            }
            if depth == 0 && !in_string {
                break;
            }
        }
        // Behind an escape may lie the middle of a character, where the text is no JSON anyway.
        while self.at < self.json.len() && !self.json.is_char_boundary(self.at) {
            self.at += 1;
        }
        self.at = self.at.min(self.json.len());
    }
}

/// Of the character that begins with this byte.
fn char_len(first: u8) -> usize {
    match first {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn what_cannot_be_decoded_is_replaced_and_the_rest_is_read() {
        let nested = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let odd = format!(
            r#"{{"id":"u1","banned":true,"a":"x\ud800y","b":"\udc00","c":"\u0000","d":1e400,"e":-1e999,
                "f":{nested},"g":"\ud83d\ude00","h":"\\ud800","i":[{{"k\ud800":2}}],"j":"é\"}}"}}"#
        );
        assert!(serde_json::from_str::<Value>(&odd).is_err());
        let (read, is_mended): (Value, bool) = read(&odd).unwrap();
        assert!(is_mended);
        assert_eq!((&read["id"], &read["banned"]), (&json!("u1"), &json!(true)));
        assert_eq!(read["a"], json!("x\u{fffd}y"));
        assert_eq!((&read["b"], &read["c"]), (&json!("\u{fffd}"), &json!("\u{fffd}")));
        assert_eq!((&read["d"], &read["e"]), (&Value::Null, &Value::Null));
        assert_eq!((&read["g"], &read["h"]), (&json!("😀"), &json!("\\ud800")));
        assert_eq!(read["i"], json!([{"k\u{fffd}": 2}]));
        assert_eq!(read["j"], json!("é\"}"));
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in ["", "{", "<html>", "{\"a\":1", "[1,]", "\"\\ud800", "{\"a\":\\ud800}", "nul\u{e9}", "-"]
        {
            assert!(read::<Value>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_is_nothing_breaks(text in "([\\[{\"\\\\ud8000:,é1e9]|\\\\u0000|\\\\ud800|\\\\\"){0,200}") {
            let _ = read::<Value>(&text);
        }

        #[test]
        fn what_can_be_decoded_stays_as_it_is(text in "[^\u{0}]{0,40}", number in any::<i64>()) {
            let json = json!({"a": text, "b": [number, null, {"c": 1.5}]}).to_string();
            prop_assert_eq!(mended(&json), json);
        }
    }
}
