//! Reads the examples of FORMATS.md, which the tests compare with what the code makes.

const FORMATS: &str = include_str!("../FORMATS.md");

/// The example of this name: the text of the fenced block that opens with three backquotes, `example` and the name.
pub(crate) fn text(name: &str) -> &'static str {
    let opening = format!("\n```example {name}\n");
    let (_, rest) = FORMATS.split_once(&opening).unwrap_or_else(|| panic!("FORMATS.md has no example {name:?}"));
    &rest[..rest.find("\n```\n").expect("the example ends") + 1]
}

/// The example of this name, which is hexadecimal digits: without white space, and without what follows a `#` on a line.
pub(crate) fn example(name: &str) -> String {
    text(name).lines().flat_map(|l| l.split('#').next()).flat_map(str::split_whitespace).collect()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
