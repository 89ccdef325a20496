//! The bytes of an input, piece by piece, as they come from a client or a file.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use std::{
    fs::File,
    io::{self, Read},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// Bytes of an input as they come, or why no more do.
pub type InputPieces = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// Bytes of a file that are read at once.
const FILE_PIECE: u64 = 256 << 10;

/// A file as pieces, read on a thread of its own. The thread ends when the stream is dropped; a read that hangs holds that
/// thread alone.
pub fn file_pieces(mut file: File) -> InputPieces {
    let (send, receive) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = Vec::new();
            let read = Read::by_ref(&mut file).take(FILE_PIECE).read_to_end(&mut piece);
            let end = matches!(read, Ok(0)) || read.is_err();
            let piece = read.map(|_| Bytes::from(piece)).map_err(|e| e.to_string());
            if send.blocking_send(piece).is_err() || end {
                return;
            }
        }
    });
    Box::pin(futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) }))
}

/// BLAKE3 of the pieces that have passed.
#[derive(Debug, Clone)]
pub struct InputDigest(Arc<Mutex<blake3::Hasher>>);

impl InputDigest {
    /// In hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finalize().to_hex().to_string()
    }
}

/// The same pieces, and the digest of those that have passed.
pub fn digested(pieces: InputPieces) -> (InputPieces, InputDigest) {
    let digest = InputDigest(Arc::new(Mutex::new(blake3::Hasher::new())));
    let passing = digest.clone();
    let pieces = pieces.inspect(move |piece| {
        if let Ok(piece) = piece {
            passing.0.lock().unwrap_or_else(PoisonError::into_inner).update(piece);
        }
    });
    (Box::pin(pieces), digest)
}

/// A stream of pieces as a blocking reader.
pub(super) struct PieceReader {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    rest: Bytes,
}

impl PieceReader {
    pub(super) fn new(pieces: mpsc::Receiver<Result<Bytes, String>>) -> Self {
        Self { pieces, rest: Bytes::new() }
    }
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(e)) => return Err(io::Error::other(e)),
            }
        }
        let n = self.rest.len().min(out.len());
        out[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}
