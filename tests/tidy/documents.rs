//! What other files than sources say of them. What the documents name is there: a file by its path, and `Type::method` or `Enum::Variant` in backquotes.

use crate::source::sources;
use std::{fs, path::Path};

/// Documents that tell where things are.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths: Vec<_> =
        ["node/ARCHITECTURE.md", "protocol/FORMATS.md", "node/journal/FORMAT.md"].map(|p| root.join(p)).into();
    paths.extend(fs::read_dir(root.join("node/decisions")).unwrap().map(|e| e.unwrap().path()));
    let read = |p: &Path| (p.strip_prefix(root).unwrap().display().to_string(), fs::read_to_string(p).unwrap());
    paths.iter().filter(|p| p.extension().is_some_and(|e| e == "md")).map(|p| read(p)).collect()
}

/// Paths of sources in a text: the part of a word that ends with `.rs` and has a folder.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c)));
    words.map(|w| w.trim_end_matches('.').trim_start_matches("./")).filter(|w| w.ends_with(".rs") && w.contains('/'))
}

/// `Type::name` in backquotes, by its two parts; longer paths by their last two.
fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2).filter(|q| !q.contains('\n'));
    let plain = |q: &str| q.split(['(', ' ', '{', '<']).next().unwrap_or_default().to_owned();
    quoted.filter(move |q| plain(q).contains("::")).filter_map(|q| {
        let q = q.split(['(', ' ', '{', '<']).next()?;
        let (path, name) = q.rsplit_once("::")?;
        let owner = path.rsplit("::").next()?;
        (owner.starts_with(|c: char| c.is_ascii_uppercase()) && !name.is_empty()).then_some((owner, name))
    })
}

/// Whether a source declares the type, and one that knows it has the function or variant.
fn is_there(owner: &str, name: &str) -> bool {
    let declared =
        |text: &str| ["struct", "enum", "trait", "type"].iter().any(|k| text.contains(&format!("{k} {owner}")));
    let has = |text: &str| {
        let function = ["(", "<"].iter().any(|end| text.contains(&format!("fn {name}{end}")));
        function
            || text
                .lines()
                .any(|l| l.trim_start().strip_prefix(name).is_some_and(|r| r.starts_with([',', ' ', '(', '{'])))
    };
    let mut known = sources().iter().filter(|s| crate::source::has_word(&s.text, owner));
    sources().iter().any(|s| declared(&s.text)) && known.any(|s| has(&s.text))
}

#[test]
fn what_the_documents_name_is_there() {
    let mut gone = Vec::new();
    for (document, text) in documents() {
        for path in paths(&text) {
            if !sources().iter().any(|s| s.path == path || s.path.ends_with(&format!("/{path}"))) {
                gone.push(format!("{document}: {path}"));
            }
        }
        for (owner, name) in members(&text).filter(|(owner, name)| !is_there(owner, name)) {
            gone.push(format!("{document}: `{owner}::{name}`"));
        }
    }
    assert!(gone.is_empty(), "named in a document, and not there: {gone:#?}");
}

#[test]
fn names_are_found_in_a_text() {
    let text = "see a/src/b.rs, `Replica::handle(now)` and `core::replica::Output::Append`; `Cargo.toml`, c.rs.";
    assert_eq!(paths(text).collect::<Vec<_>>(), ["a/src/b.rs"]);
    assert_eq!(members(text).collect::<Vec<_>>(), [("Replica", "handle"), ("Output", "Append")]);
    assert!(is_there("Replica", "handle") && is_there("Output", "Append"));
    assert!(!is_there("Replica", "handles_nothing") && !is_there("NoSuchType", "handle"));
}

/// Crates whose code runs on async workers have the workspace's list of what must not be called, and more: clippy reads the
/// nearest list alone.
#[test]
fn crates_of_async_code_keep_the_workspaces_list_and_forbid_what_blocks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let list = |folder: &str| fs::read_to_string(root.join(folder).join(".clippy.toml")).unwrap();
    let whole = list("");
    for crate_folder in ["node/console", "node/driver", "node/link", "node/reconcile"] {
        let own = list(crate_folder);
        let missing: Vec<_> = whole.lines().filter(|line| !own.lines().any(|l| l == *line)).collect();
        assert!(missing.is_empty(), "{crate_folder}/.clippy.toml lacks {missing:#?}");
        assert!(own.contains("std::fs::read_to_string") && own.contains("std::fs::File::open"), "{crate_folder}");
    }
}
