//! Where rows go that were cut out of an input: into a submission, or somewhere else.

use crate::{Noted, PourError, Rows, Upload};
use std::sync::Arc;
use tally_protocol::finding::AtLine;
use tally_topology::signed::SignedCharter;

/// Takes the rows of an input in their order.
pub trait Sink: Send {
    /// Takes some rows; may wait.
    ///
    /// # Errors
    /// [`PourError`]; nothing more is then handed over.
    fn rows(&mut self, rows: Rows) -> impl Future<Output = Result<(), PourError>> + Send;

    /// A row that could not even be cut out of the input.
    ///
    /// # Errors
    /// [`PourError`].
    fn broken_row(&mut self, finding: AtLine) -> impl Future<Output = Result<(), PourError>> + Send;

    /// Something to know about the input that no row is wrong for.
    fn note(&mut self, noted: Noted);

    /// The charter by whose catalog heads are read.
    fn charter(&self) -> Arc<SignedCharter>;

    /// Category of rows that name none.
    fn category(&self) -> Option<&str>;

    /// The rows' category has become known.
    fn of_category(&mut self, category: &str);

    /// What the input was taken for.
    fn of_format(&mut self, format: String);
}

impl Sink for Upload {
    async fn rows(&mut self, rows: Rows) -> Result<(), PourError> {
        Ok(Self::rows(self, rows).await?)
    }

    async fn broken_row(&mut self, finding: AtLine) -> Result<(), PourError> {
        Ok(Self::broken_row(self, finding).await?)
    }

    fn note(&mut self, noted: Noted) {
        Self::note(self, noted);
    }

    fn charter(&self) -> Arc<SignedCharter> {
        Self::charter(self)
    }

    fn category(&self) -> Option<&str> {
        Self::category(self)
    }

    fn of_category(&mut self, category: &str) {
        Self::of_category(self, category);
    }

    fn of_format(&mut self, format: String) {
        self.answer.format = Some(format);
    }
}
