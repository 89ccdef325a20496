//! What is wrong in a text that should be TOML, with its place as a person looks for it: line, column, name and table.
//!
//! The sentence is ours, and has its Chinese beside all others; the parser's words follow it in brackets. They are repeated and
//! never decided by.

use std::fmt;

/// A text that should be TOML of some form, and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TomlFault {
    /// Line and column, from 1 on, the column in characters; `None`: it is of the text as a whole.
    place: Option<(usize, usize)>,
    /// The name that stands in that line.
    name: Option<String>,
    /// The heading under which the line stands, with its brackets.
    table: Option<String>,
    /// Whether the text is TOML at all.
    is_toml: bool,
    /// The parser's words, on one line.
    words: String,
}

/// Of a line of TOML the name before its `=`.
fn name_of(line: &str) -> Option<&str> {
    let name = line.split_once('=')?.0.trim();
    let is_name = |c: char| c.is_alphanumeric() || "_-.\"".contains(c);
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// A heading such as `[listen]` or `[[token]]`.
fn heading_of(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or_default().trim();
    (line.starts_with('[') && line.ends_with(']')).then_some(line)
}

impl TomlFault {
    /// What the parser said of this text.
    pub fn new(text: &str, why: &toml::de::Error) -> Self {
        let words = why.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let is_toml = text.parse::<toml::Table>().is_ok();
        // What is missing in the text as a whole has no place.
        let marked =
            |span: &std::ops::Range<usize>| text.get(span.clone()).filter(|m| !m.is_empty() && !m.contains('\n'));
        let span = why.span().filter(|span| !is_toml || span.start > 0 || marked(span).is_some());
        let Some(before) = span.and_then(|span| text.get(..span.start)) else {
            return Self { place: None, name: None, table: None, is_toml, words };
        };
        let number = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let line = text.lines().nth(number).unwrap_or_default();
        let above = text.lines().take(number.saturating_add(1)).collect::<Vec<_>>();
        Self {
            place: Some((number.saturating_add(1), column.saturating_add(1))),
            name: name_of(line).map(str::to_owned),
            table: above.iter().rev().find_map(|l| heading_of(l)).map(str::to_owned),
            is_toml,
            words,
        }
    }
}

impl fmt::Display for TomlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place, &self.name, &self.table) {
            (None, ..) => {}
            (Some((line, column)), Some(name), Some(table)) => {
                write!(f, "line {line}, column {column}, {name} in {table}: ")?;
            }
            (Some((line, column)), Some(at), None) | (Some((line, column)), None, Some(at)) => {
                write!(f, "line {line}, column {column}, {at}: ")?;
            }
            (Some((line, column)), None, None) => write!(f, "line {line}, column {column}: ")?,
        }
        let what = if self.is_toml { "this cannot be used here" } else { "this is not written as TOML is" };
        write!(f, "{what} ({})", self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read")]
    struct Form {
        listen: Listen,
        #[serde(default)]
        token: Vec<Listen>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read")]
    struct Listen {
        port: u16,
    }

    #[test]
    fn a_fault_is_told_with_its_place_and_name() {
        let told = |text: &str| TomlFault::new(text, &toml::from_str::<Form>(text).unwrap_err()).to_string();
        for (text, begins, has) in [
            ("[listen]\nport = 1\nname = 2", "line 3, column 1, name in [listen]: this cannot be used here", "unknown"),
            ("[listen] # 端口\nport = \"a\"", "line 2, column 8, port in [listen]: this cannot be used here", "u16"),
            ("[listen]\nport = 1\n[[token]]\n", "line 3, column 1, [[token]]: this cannot be used here", "missing"),
            ("", "this cannot be used here", "missing field `listen`"),
            ("# 说明\n端口 = 1\n", "line 2, column 1, 端口: ", "("),
            ("[listen", "line 1, column 8: this is not written as TOML is", "unclosed"),
            ("[listen]\nport = “1”", "line 2, column 8, port in [listen]: this is not written as TOML is", "("),
            ("[listen]\nport = 1\nport = 2", "line 3, column 1, port in [listen]: this is not", "duplicate key"),
        ] {
            let said = told(text);
            assert!(said.starts_with(begins) && said.contains(has) && !said.contains('\n'), "{text:?}: {said}");
        }
    }
}
