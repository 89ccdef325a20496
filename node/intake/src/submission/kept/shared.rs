//! An answer's writer for those who must not block.

use super::AnswerWriter;
use crate::TableColumns;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// A writer of an answer that works on threads that may block.
#[derive(Debug, Clone)]
pub(in crate::submission) struct SharedWriter(Arc<Mutex<AnswerWriter>>);

impl SharedWriter {
    pub(in crate::submission) fn new(writer: AnswerWriter) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Does something with the writer. Cancel-safe: what has begun is done to its end.
    pub(in crate::submission) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut AnswerWriter) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let writer = self.0.clone();
        let work = move || act(&mut writer.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }

    /// The heads of the input's table were found.
    pub(in crate::submission) fn table_found(&self, columns: &TableColumns, category: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).table_found(columns, category);
    }
}
