//! Generated records on their way into a node, as a department's program would hand them in.

use super::sample::{Place, Sampler};
use axum::body::Body;
use serde_json::Value;
use tally_client::{Client, Failure};
use tokio::sync::mpsc;

/// Piece of the upload, in bytes, about.
const PIECE: usize = 256 << 10;

/// What became of the lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fed {
    pub(super) read: u64,
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) rejected: u64,
}

impl std::ops::AddAssign for Fed {
    fn add_assign(&mut self, o: Self) {
        self.read += o.read;
        self.accepted += o.accepted;
        self.duplicate += o.duplicate;
        self.rejected += o.rejected;
    }
}

/// Hands in `lines` generated lines at one node.
pub(super) async fn feed(client: Client, place: Place, lines: usize) -> Result<Fed, Failure> {
    let (send, receive) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(2);
    tokio::task::spawn_blocking(move || {
        let mut sampler = Sampler::new(1, place).complete();
        let mut piece = Vec::with_capacity(PIECE + 4_096);
        for i in 1..=lines {
            piece.extend_from_slice(sampler.next_line().text.as_bytes());
            piece.push(b'\n');
            let full = piece.len() >= PIECE || i == lines;
            if full && send.blocking_send(Ok(std::mem::take(&mut piece))).is_err() {
                return;
            }
        }
    });
    let body = futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) });
    let answer = client.post("/v1/records", Body::from_stream(body)).await?;
    let answer: Value = serde_json::from_slice(&answer).map_err(Failure::failed)?;
    let n = |key: &str| answer[key].as_u64().unwrap_or(0);
    Ok(Fed { read: n("read"), accepted: n("accepted"), duplicate: n("duplicate"), rejected: n("rejected") })
}
