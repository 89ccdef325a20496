//! Where rows go that were cut out of an input: into a submission, or into a comparison.

use super::InputError;
use crate::{InputNote, RowChunk, TableColumns};
use std::sync::Arc;
use tally_protocol::finding::AtLine;
use tally_topology::catalog::Catalog;

/// Takes the rows of an input in their order.
pub trait RowSink: Send {
    /// Takes some rows; may wait.
    ///
    /// # Errors
    /// [`InputError`]; nothing more is then handed over.
    fn rows(&mut self, rows: RowChunk) -> impl Future<Output = Result<(), InputError>> + Send;

    /// A row that could not even be cut out of the input.
    ///
    /// # Errors
    /// [`InputError`].
    fn broken_row(&mut self, at: AtLine) -> impl Future<Output = Result<(), InputError>> + Send;

    /// Something to know about the input that no row is wrong for.
    fn note(&mut self, note: InputNote);

    /// The catalog by which heads are read.
    fn catalog(&self) -> Arc<Catalog>;

    /// Category of rows that name none.
    fn category(&self) -> Option<&str>;

    /// The heads of a table were found, and with them the category of its rows. Comes before the table's first row.
    fn table_found(&mut self, columns: &TableColumns, category: &str);

    /// What the input was taken for is known.
    fn format_found(&mut self, format: String);
}
