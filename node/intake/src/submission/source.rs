//! Where the rows of a submission come from.

use super::Upload;
use crate::{InputDigest, InputError, InputFormat, InputPieces, read_input};
use futures_util::StreamExt as _;
use std::path::PathBuf;

/// Hands over the rows of one submission.
pub trait RowSource: Send {
    /// Hands over all rows.
    ///
    /// # Errors
    /// [`InputError`]; what the upload took until then stays.
    fn read_into(&mut self, upload: &mut Upload) -> impl Future<Output = Result<(), InputError>> + Send;

    /// Reads to the end and hands over nothing, so that the digest is known.
    ///
    /// # Errors
    /// [`InputError`].
    fn read_through(&mut self) -> impl Future<Output = Result<(), InputError>> + Send;

    /// BLAKE3 of what was read, in hexadecimal digits, where it is known.
    fn digest(&self) -> Option<String>;

    /// As what it is to be read, where that may be told otherwise the next time.
    fn format(&self) -> &'static str {
        ""
    }

    /// Whether the source is unchanged since before it was read. A changed source was perhaps not read to its end, so it gets
    /// no answer.
    fn is_unchanged(&mut self) -> impl Future<Output = bool> + Send {
        async { true }
    }
}

/// The bytes of an input.
pub struct InputSource {
    pieces: InputPieces,
    format: InputFormat,
    /// For what is needed on the disk meanwhile.
    spool: PathBuf,
    digest: Option<InputDigest>,
}

impl std::fmt::Debug for InputSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InputSource").field("format", &self.format).finish_non_exhaustive()
    }
}

impl InputSource {
    /// Of pieces; with the digest of those that have passed, if it is to be kept.
    pub fn new(pieces: InputPieces, format: InputFormat, spool: PathBuf, digest: Option<InputDigest>) -> Self {
        Self { pieces, format, spool, digest }
    }
}

impl RowSource for InputSource {
    async fn read_into(&mut self, upload: &mut Upload) -> Result<(), InputError> {
        let pieces = std::mem::replace(&mut self.pieces, Box::pin(futures_util::stream::empty()));
        read_input(upload, pieces, self.format, &self.spool).await
    }

    async fn read_through(&mut self) -> Result<(), InputError> {
        while let Some(piece) = self.pieces.next().await {
            piece.map_err(InputError::BrokenOff)?;
        }
        Ok(())
    }

    fn digest(&self) -> Option<String> {
        self.digest.as_ref().map(InputDigest::hex)
    }

    fn format(&self) -> &'static str {
        self.format.name()
    }
}
