//! `POST /v1/records`: NDJSON in, streaming, answered when everything accepted is durable.

use super::{App, UPLOADS, problem::Problem};
use crate::intake::{ChunkError, ChunkResult, Door, Finding, Lines, read_line};
use crate::replica::NotSealed;
use axum::{
    Json,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, sync::atomic::Ordering};
use tally_protocol::record::Record;
use tokio::{sync::oneshot, task::JoinHandle};

/// Bytes of lines that are parsed together.
const CHUNK_BYTES: usize = 256 << 10;
/// Lines that are parsed together: short ones cost more in findings than in bytes.
const CHUNK_LINES: usize = 2_000;
/// Bytes that are cut into lines at once.
const PART_BYTES: usize = 4 << 10;
/// Chunks being parsed at the same time, for one request.
const PARSING: usize = 2;
/// Chunks waiting to be durable, for one request.
const WAITING: usize = 16;
/// Findings that an answer lists; more are only counted.
const ERRORS_MAX: usize = 10_000;

/// The answer; its JSON is the contract of `tally ingest --json`.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    /// Lines that were not blank.
    pub read: u64,
    /// New records, durable.
    pub accepted: u64,
    /// Records that the log holds already.
    pub duplicate: u64,
    /// Lines not taken; `errors` tells why.
    pub rejected: u64,
    /// Accepted lines with a question to the producer (comes with the catalog's rules; 0 until then).
    pub questions: u64,
    /// Origin of the log they went into.
    pub log: String,
    /// First index of the batches that hold them; null if nothing was new.
    pub from: Option<u64>,
    /// One past their last index.
    pub to: Option<u64>,
    /// Why lines were rejected, in line order.
    pub errors: Vec<Finding>,
    /// Rejected lines that `errors` does not list.
    #[serde(skip_serializing_if = "is_zero")]
    pub errors_omitted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

type Parsed = (Vec<Record>, Vec<Finding>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    category: Option<String>,
}

struct Request {
    app: App,
    category: Option<String>,
    answer: Answer,
    parsing: VecDeque<JoinHandle<Parsed>>,
    waiting: VecDeque<oneshot::Receiver<Result<ChunkResult, ChunkError>>>,
}

pub(super) async fn post(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/x-ndjson");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !["application/x-ndjson", "application/jsonl", "application/json", "text/plain"].contains(&kind) {
        let detail = format!("{kind} is not read here: send one JSON object a line as application/x-ndjson");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", &detail));
    }
    if app.full.load(Ordering::Relaxed) {
        return Err(full());
    }
    let Ok(_room) = app.uploads.clone().try_acquire_owned() else {
        let detail = format!("{UPLOADS} uploads are running already; send it again in a moment");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", &detail).retry(2));
    };
    let log = app.trust.charter().charter().federation().origin(app.own);
    let answer = Answer { log, ..Answer::default() };
    let mut request =
        Request { app, category: wanted.category, answer, parsing: VecDeque::new(), waiting: VecDeque::new() };
    match request.run(body).await {
        Ok(()) => Ok(Json(request.answer)),
        Err(problem) => {
            let a = &request.answer;
            let done = serde_json::json!({ "accepted": a.accepted, "duplicate": a.duplicate, "rejected": a.rejected });
            Err(problem.with(done))
        }
    }
}

impl Request {
    async fn run(&mut self, body: Body) -> Result<(), Problem> {
        let mut stream = body.into_data_stream();
        let mut lines = Lines::default();
        let (mut chunk, mut bytes): (Vec<(u64, Vec<u8>)>, usize) = (Vec::new(), 0);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|e| {
                let detail = format!("the request broke off: {e}; send it again, nothing is doubled");
                Problem::new(StatusCode::BAD_REQUEST, "broken_off", &detail)
            })?;
            // A large piece is fed in parts, so that a chunk stays near its size.
            for part in piece.chunks(PART_BYTES) {
                lines.feed(part, |n, line| {
                    bytes += line.len();
                    chunk.push((n, line.to_vec()));
                });
                if bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_LINES {
                    self.parse(std::mem::take(&mut chunk)).await?;
                    bytes = 0;
                }
            }
        }
        lines.finish(|n, line| chunk.push((n, line.to_vec())));
        self.parse(chunk).await?;
        while !self.parsing.is_empty() {
            self.submit().await?;
        }
        while !self.waiting.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    async fn parse(&mut self, chunk: Vec<(u64, Vec<u8>)>) -> Result<(), Problem> {
        if chunk.is_empty() {
            return Ok(());
        }
        if self.app.full.load(Ordering::Relaxed) {
            return Err(full());
        }
        self.answer.read += chunk.len() as u64;
        let (trust, me, category) = (self.app.trust.clone(), self.app.me(), self.category.clone());
        self.parsing.push_back(tokio::task::spawn_blocking(move || {
            let charter = trust.charter();
            let door = Door { charter: charter.charter(), me, category: category.as_deref() };
            let (mut records, mut findings) = (Vec::with_capacity(chunk.len()), Vec::new());
            for (number, line) in &chunk {
                match read_line(&door, *number, line) {
                    Ok(record) => records.push(record),
                    Err(finding) => findings.push(finding),
                }
            }
            (records, findings)
        }));
        while self.parsing.len() > PARSING {
            self.submit().await?;
        }
        Ok(())
    }

    /// The oldest parsed chunk goes to the batcher.
    async fn submit(&mut self) -> Result<(), Problem> {
        let Some(parsed) = self.parsing.pop_front() else { return Ok(()) };
        let (records, findings) = parsed.await.map_err(|_| Problem::stopping())?;
        self.answer.rejected += findings.len() as u64;
        self.app.intake.totals.rejected.fetch_add(findings.len() as u64, Ordering::Relaxed);
        let room = ERRORS_MAX - self.answer.errors.len();
        self.answer.errors_omitted += findings.len().saturating_sub(room) as u64;
        self.answer.errors.extend(findings.into_iter().take(room));
        if !records.is_empty() {
            self.waiting.push_back(self.app.intake.submit(records).await.map_err(|e| refused(&e))?);
        }
        while self.waiting.len() > WAITING {
            self.settle().await?;
        }
        Ok(())
    }

    /// The oldest chunk at the batcher becomes durable.
    async fn settle(&mut self) -> Result<(), Problem> {
        let Some(waiting) = self.waiting.pop_front() else { return Ok(()) };
        let result = waiting.await.map_err(|_| Problem::stopping())?.map_err(|e| refused(&e))?;
        let a = &mut self.answer;
        a.accepted += result.accepted;
        a.duplicate += result.duplicate;
        if let Some((from, to)) = result.range {
            a.from = Some(a.from.map_or(from, |f| f.min(from)));
            a.to = Some(a.to.map_or(to, |t| t.max(to)));
        }
        Ok(())
    }
}

fn full() -> Problem {
    let detail = "the node's disk is nearly full; its operator has been told";
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", detail).retry(60)
}

fn refused(e: &ChunkError) -> Problem {
    let code = match e {
        ChunkError::NotSealed(NotSealed::Frozen(_)) => {
            return Problem::new(StatusCode::CONFLICT, "frozen", &e.to_string());
        }
        ChunkError::NotSealed(_) => "not_signing",
        ChunkError::Index(_) => "index",
        ChunkError::Stopping => "stopping",
    };
    let detail = format!("{e}; send the same again later, nothing is doubled");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, &detail).retry(10)
}
