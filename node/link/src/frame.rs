//! Frames on a stream: a length of four bytes, little-endian, and so many bytes. Knows no message; a length beyond the caller's
//! limit is refused before anything is allocated for it.

/// Why there is no frame.
#[derive(Debug)]
pub(super) enum FrameError {
    /// It claims so many bytes, more than any may have here.
    Oversize(usize),
    /// The stream ends inside it.
    Truncated,
    /// The link is gone.
    Link,
}

/// Writes a frame.
///
/// Not cancel-safe: a call that is dropped may leave half a frame on the stream, which then has to be given up.
pub(super) async fn write_frame(stream: &mut quinn::SendStream, bytes: &[u8]) -> Result<(), quinn::WriteError> {
    stream.write_all(&(bytes.len() as u32).to_le_bytes()).await?;
    stream.write_all(bytes).await
}

/// The next frame's length; `None` at the end of the stream.
///
/// Not cancel-safe: bytes that were read are lost with the call.
pub(super) async fn read_length(stream: &mut quinn::RecvStream, limit: usize) -> Result<Option<usize>, FrameError> {
    let mut len = [0; 4];
    match stream.read_exact(&mut len).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(quinn::ReadExactError::FinishedEarly(_)) => return Err(FrameError::Truncated),
        Err(quinn::ReadExactError::ReadError(_)) => return Err(FrameError::Link),
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > limit { Err(FrameError::Oversize(len)) } else { Ok(Some(len)) }
}

/// The bytes of a frame whose length was read.
///
/// Not cancel-safe: bytes that were read are lost with the call.
pub(super) async fn read_body(stream: &mut quinn::RecvStream, len: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.map_err(|e| match e {
        quinn::ReadExactError::FinishedEarly(_) => FrameError::Truncated,
        quinn::ReadExactError::ReadError(_) => FrameError::Link,
    })?;
    Ok(bytes)
}

/// The next frame; `None` at the end of the stream.
///
/// Not cancel-safe: bytes that were read are lost with the call.
pub(super) async fn read_frame(stream: &mut quinn::RecvStream, limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
    match read_length(stream, limit).await? {
        Some(len) => read_body(stream, len).await.map(Some),
        None => Ok(None),
    }
}
