//! Sources as far as the rules need to know them: rustfmt has laid them out, so lines and indents tell enough.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// A Rust file of the workspace.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the workspace's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All of them, by path.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        collect(root, &mut files);
        files.sort();
        let read = |file: PathBuf| Source {
            path: file.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&file).unwrap(),
        };
        files.into_iter().map(read).collect()
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        // What cargo builds is no source; hidden folders belong to tools.
        if entry.file_type().unwrap().is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

impl Source {
    /// Only tests use it.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| ["tests", "tests.rs", "benches"].contains(&part))
    }

    /// The text up to the module of tests at its end.
    fn without_tests(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap()
    }

    /// Names of public types at the top of modules.
    pub(crate) fn public_types(&self) -> Vec<String> {
        let name = |line: &str| {
            let item = line.trim_start().strip_prefix("pub ")?;
            let kinds = ["struct ", "enum ", "trait ", "type "];
            let name = kinds.iter().find_map(|kind| item.strip_prefix(kind))?;
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            Some(name[..end].to_owned())
        };
        self.without_tests().lines().filter_map(name).collect()
    }

    /// Functions with the number of their lines, from the one that names it to the brace that ends it.
    pub(crate) fn functions(&self) -> Vec<(String, usize)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let length = |at: usize| {
            let indent = indent(lines[at]);
            let ends = |line: &&str| self::indent(line) == indent && line.trim_start().starts_with('}');
            // A function without a body, or on one line, has nothing to count.
            let body = lines[at..].iter().find(|l| l.ends_with('{') || l.ends_with(';') || l.ends_with('}'))?;
            body.ends_with('{').then(|| lines[at..].iter().position(ends)).flatten()
        };
        let function = |(at, line): (usize, &&str)| Some((name(line)?, length(at)? + 1));
        lines.iter().enumerate().filter_map(function).collect()
    }

    /// Comments and texts in quotation marks, by line.
    pub(crate) fn words(&self) -> Vec<(usize, String)> {
        let of = |line: &str| {
            let (code, comment) = line.split_once("//").unwrap_or((line, ""));
            let texts: Vec<_> = code.split('"').skip(1).step_by(2).collect();
            format!("{comment} {}", texts.join(" ")).to_lowercase()
        };
        self.text.lines().enumerate().map(|(n, line)| (n + 1, of(line))).collect()
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The function that a line begins.
fn name(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    if let Some(more) = rest.strip_prefix("pub(") {
        rest = more.split_once(") ")?.1;
    }
    for word in ["pub ", "const ", "async ", "unsafe ", "extern \"C\" "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    Some(name[..name.find(['(', '<'])?].to_owned())
}

/// Whether a text, in lower case, has a word that is not part of another.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        edge(before.chars().next_back()) && edge(after.chars().next())
    })
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn types_and_functions_are_found_in_a_source() {
    let text = "pub struct One;\npub(crate) struct Two;\n    pub enum Three<T> {}\npub trait Four: Debug {\n    fn short(&self);\n}\n\n\
                pub(super) async fn long<T>(\n    a: u8,\n) {\n    if a {\n    }\n}\n\nconst fn tiny() {}\n\n\
                #[cfg(test)]\nmod tests {\n    pub struct Five;\n}\n";
    let source = source("a/src/b.rs", text);
    assert_eq!(source.public_types(), ["One", "Three", "Four"]);
    assert_eq!(source.functions(), [("long".to_owned(), 6)]);
    assert!(!source.is_test());
}

#[test]
fn words_are_those_of_comments_and_texts() {
    let source = source("a/src/b.rs", "let leverage = \"Leverage: it\"; // Utilize\nlet x = 1;\n");
    assert_eq!(source.words()[0], (1, " utilize leverage: it".to_owned()));
    assert!(has_word("we leverage it", "leverage") && !has_word("leveraged", "leverage"));
    assert_eq!(source.words()[1].1.trim(), "");
}
