//! Which heads there are at all, so that a row of heads is soon told from one of data.

use super::heads;
use std::{collections::HashSet, sync::Arc};
use tally_sheet::{Row, SheetError};
use tally_topology::catalog::{Catalog, Category};

/// Cells of a row that are looked at for a head.
const LOOKED_AT: usize = 3;

/// Heads of a catalog, or of one category of it.
#[derive(Debug, Clone)]
pub(crate) struct HeadWords {
    catalog: Arc<Catalog>,
    wanted: Option<String>,
    /// As they stand in the catalog and in the table.
    words: HashSet<String>,
}

impl HeadWords {
    /// Of the categories of a catalog; `wanted`: tables are of this one.
    pub(crate) fn new(catalog: Arc<Catalog>, wanted: Option<String>) -> Self {
        let fields = catalog.categories().flat_map(|c| c.fields());
        let texts = fields.flat_map(|f| [&*f.id, &*f.zh].into_iter().chain(f.codes.iter().map(String::as_str)));
        let words = texts.map(str::to_owned).collect();
        Self { catalog, wanted, words }
    }

    pub(super) fn wanted(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// The heads of a table as they stand.
    pub(super) fn add(&mut self, rows: &[Vec<String>]) {
        let texts = rows.iter().flatten().map(|t| t.trim()).filter(|t| !t.is_empty());
        self.words.extend(texts.map(str::to_owned));
    }

    /// Categories that a table may be of.
    ///
    /// # Errors
    /// The one that is wanted is not there.
    pub(super) fn categories(&self) -> Result<Vec<Arc<Category>>, SheetError> {
        match &self.wanted {
            Some(id) => {
                let found = self.catalog.category(id).cloned();
                Ok(vec![found.ok_or_else(|| no_category(id, &self.catalog))?])
            }
            None => Ok(self.catalog.categories().cloned().collect()),
        }
    }

    /// All categories of the catalog.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Category>> {
        self.catalog.categories()
    }

    /// How many heads of one category are known in a row.
    pub(crate) fn known(&self, cells: &[String]) -> usize {
        let categories = self.categories().unwrap_or_default();
        categories.iter().map(|c| heads::known(c, cells)).max().unwrap_or(0)
    }

    /// Whether one of the first cells of a row may be a head.
    pub(super) fn begins(&self, row: &Row) -> bool {
        let plain = |text: &str| self.words.contains(text) || self.words.contains(text.trim_start_matches(['*', '＊']));
        row.cells.iter().map(|c| c.trim()).filter(|c| !c.is_empty()).take(LOOKED_AT).any(plain)
    }

    /// Whether a row is a note of a template.
    pub(super) fn is_note(&self, row: &Row) -> bool {
        let first = super::first(row);
        self.catalog.note_words.iter().any(|word| first.starts_with(word.as_str()))
    }
}

fn no_category(id: &str, catalog: &Catalog) -> SheetError {
    let list: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
    let en = format!("{id:?} is not a category of the catalog; there are: {}", list.join(", "));
    SheetError::new("no_category", 0, en, format!("目录中没有信息类别 {id}"))
}
