//! Frames on a stream: a length of four bytes, little-endian, and so many bytes. Knows no message; a length beyond the caller's
//! limit is refused before anything is allocated for it.
//!
//! Deadlines are on progress: a frame may take as long as it likes while its bytes come. Before its first byte nothing is due;
//! who expects one by a certain time looks at [`Heard`].

use super::limits::Patience;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Why there is no frame.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// It claims so many bytes, more than any may have here.
    Oversize(usize),
    /// The stream ends inside it.
    Truncated,
    /// Its next bytes did not come in time.
    Stalled,
    /// The link is gone.
    Link,
}

/// When bytes of a peer last came, on the monotonic clock.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    start: Instant,
    /// Milliseconds after the start.
    last: Arc<AtomicU64>,
}

impl Heard {
    /// As if something had been heard just now.
    pub(crate) fn now() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }

    fn note(&self) {
        self.last.fetch_max(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Ends once nothing was heard for so long.
    ///
    /// Cancel-safe.
    pub(crate) async fn silent(&self, silence: Duration) {
        loop {
            let due = Duration::from_millis(self.last.load(Ordering::Relaxed)) + silence;
            match due.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero()) {
                Some(left) => tokio::time::sleep(left).await,
                None => return,
            }
        }
    }
}

/// One peer's frames as they come.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Told of all bytes.
    pub(crate) heard: Heard,
    /// See [`Patience::stall`].
    pub(crate) stall: Duration,
}

impl Pace {
    /// The next frame's length; `None` at the end of the stream.
    ///
    /// Not cancel-safe: bytes that were read are lost with the call.
    pub(crate) async fn length(
        &self,
        stream: &mut quinn::RecvStream,
        limit: usize,
    ) -> Result<Option<usize>, FrameError> {
        let mut len = [0; 4];
        let first = stream.read(&mut len).await.map_err(|_| FrameError::Link)?;
        let Some(got) = first else { return Ok(None) };
        self.heard.note();
        self.fill(stream, len.get_mut(got..).unwrap_or_default()).await?;
        let len = u32::from_le_bytes(len) as usize;
        if len > limit { Err(FrameError::Oversize(len)) } else { Ok(Some(len)) }
    }

    /// The bytes of a frame whose length was read.
    ///
    /// Not cancel-safe: bytes that were read are lost with the call.
    pub(crate) async fn body(&self, stream: &mut quinn::RecvStream, len: usize) -> Result<Vec<u8>, FrameError> {
        let mut bytes = vec![0; len];
        self.fill(stream, &mut bytes).await?;
        Ok(bytes)
    }

    /// The next frame; `None` at the end of the stream.
    ///
    /// Not cancel-safe: bytes that were read are lost with the call.
    pub(crate) async fn frame(
        &self,
        stream: &mut quinn::RecvStream,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, FrameError> {
        match self.length(stream, limit).await? {
            Some(len) => self.body(stream, len).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads until all is full; each part of it has its own time.
    async fn fill(&self, stream: &mut quinn::RecvStream, mut rest: &mut [u8]) -> Result<(), FrameError> {
        while !rest.is_empty() {
            let least = rest.len().min(Patience::LEAST);
            let part = tokio::time::timeout(self.stall, self.part(stream, rest, least)).await;
            let got = part.map_err(|_| FrameError::Stalled)??;
            rest = rest.get_mut(got..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads at least so many bytes; answers how many.
    async fn part(&self, stream: &mut quinn::RecvStream, rest: &mut [u8], least: usize) -> Result<usize, FrameError> {
        let mut got = 0;
        while got < least {
            match stream.read(rest.get_mut(got..).unwrap_or_default()).await {
                Ok(Some(n)) => got += n,
                Ok(None) => return Err(FrameError::Truncated),
                Err(_) => return Err(FrameError::Link),
            }
            self.heard.note();
        }
        Ok(got)
    }
}

/// Bytes of a frame that the peer has to take within the time for one part: 8.7 kbit/s at 30 s.
const PART: usize = 32 << 10;

/// Writes a frame to a peer of whom progress is expected: each part of it has its own time, and the whole has none.
///
/// Not cancel-safe: a call that is dropped may leave half a frame on the stream, which then has to be given up.
pub(crate) async fn write_frame_within(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    stall: Duration,
) -> Result<(), FrameError> {
    let len = (bytes.len() as u32).to_le_bytes();
    for part in std::iter::once(&len[..]).chain(bytes.chunks(PART)) {
        let written = tokio::time::timeout(stall, stream.write_all(part)).await;
        written.map_err(|_| FrameError::Stalled)?.map_err(|_| FrameError::Link)?;
    }
    Ok(())
}

/// Writes a frame.
///
/// Not cancel-safe: a call that is dropped may leave half a frame on the stream, which then has to be given up.
pub(crate) async fn write_frame(stream: &mut quinn::SendStream, bytes: &[u8]) -> Result<(), quinn::WriteError> {
    stream.write_all(&(bytes.len() as u32).to_le_bytes()).await?;
    stream.write_all(bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    /// A slow line: the whole takes longer than the time for one part, and arrives. A peer that takes nothing is given up.
    #[tokio::test]
    async fn a_frame_has_time_while_its_parts_are_taken() {
        let (frame, stall) = (vec![7; 10 * PART], Duration::from_secs(2));
        let (mut here, mut there) = tokio::io::duplex(PART);
        let slow = async {
            let mut got = vec![0; frame.len() + 4];
            for part in got.chunks_mut(PART) {
                tokio::time::sleep(stall / 8).await;
                there.read_exact(part).await.unwrap();
            }
            got
        };
        let (written, got) = tokio::join!(write_frame_within(&mut here, &frame, stall), slow);
        assert!(written.is_ok() && got[4..] == frame[..]);
        let deaf = write_frame_within(&mut here, &frame, Duration::from_millis(50)).await;
        assert!(matches!(deaf, Err(FrameError::Stalled)));
    }
}
