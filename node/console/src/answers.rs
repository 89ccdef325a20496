//! `GET /v1/answers...`: what was said of rejected and questioned rows, as JSON or in the submitter's own form.

use super::{App, auth::Caller, problem::Problem, records::bad, turns::Turn};
use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};
use tally_intake::{
    ERRORS_MAX,
    answers::{Form, Kept, KeptRow, Meta, Store, write},
};
use tokio::{runtime::Handle, sync::mpsc};

/// Answers that a list shows.
const LISTED: usize = 200;
/// Bytes of rows, about, that one JSON document shows; `next` says where they go on.
const ROWS_BYTES_MAX: usize = 1 << 20;
/// Someone who wants an answer waits so long for others who read theirs.
const PATIENCE: Duration = Duration::from_secs(10);
/// And asks this often.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A reader that takes nothing for so long has lost its turn.
const IDLE: Duration = Duration::from_secs(60);
/// Size of a piece of a file, about, in bytes, and how many may wait for the reader.
const PIECE_BYTES: usize = 128 << 10;
/// See [`PIECE_BYTES`].
const PIECES: usize = 4;

pub(super) fn disk(e: &io::Error) -> Problem {
    let detail = format!("the answers on the disk cannot be used: {e}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "answers", &detail)
}

fn may_see(caller: &Caller, meta: &Meta) -> bool {
    caller.token.is_none() || caller.token == meta.token
}

/// Answers that are kept, the newest first: submissions with rows that were rejected or are asked about.
#[utoipa::path(get, path = "/v1/answers", responses((status = 200, description = "At most 200", body = [super::schema::Meta])))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Vec<Meta>>, Problem> {
    let store = app.answers.clone();
    let list = tokio::task::spawn_blocking(move || store.list(LISTED, |m| may_see(&caller, m)));
    let mut list = list.await.map_err(|_| Problem::stopping())?.map_err(|e| disk(&e))?;
    // Each answer by itself has its notes.
    list.iter_mut().for_each(|m| m.notes.clear());
    Ok(Json(list))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Where the rows go on.
    #[serde(default)]
    from: u64,
}

/// `/v1/answers/ID` is JSON, `ID.csv` and `ID.xlsx` are the rows in the submitter's own form.
#[utoipa::path(
    get,
    path = "/v1/answers/{name}",
    params(
        ("name" = String, Path, description = "ID, ID.csv or ID.xlsx"),
        ("from" = Option<u64>, Query, description = "JSON only: go on where `next` of the last document says"),
    ),
    responses(
        (status = 200, description = "The rows to look at, with the reasons; `corrected` where the row was handed in again and taken"),
        (status = 404, description = "None of this name; answers are kept 90 days"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Wanted { from }) = wanted.map_err(|e| bad(&e.to_string()))?;
    let (id, form) = match name.rsplit_once('.') {
        None => (name.clone(), None),
        Some((id, "csv")) => (id.to_owned(), Some(Form::Csv)),
        Some((id, "xlsx")) => (id.to_owned(), Some(Form::Xlsx)),
        Some((id, "json")) => (id.to_owned(), None),
        Some(_) => return Err(missing(&name)),
    };
    let (store, spool) = (app.answers.clone(), app.spool.clone());
    let corrected = super::corrections::Lookup::new(&app);
    let turn = turn(&app, &caller).await?;
    let open = tokio::task::spawn_blocking(move || {
        let kept = store.open_answer(&id).map_err(|e| disk(&e))?;
        let kept = kept.filter(|k| may_see(&caller, &k.meta)).ok_or_else(|| missing(&name))?;
        match form {
            None => document(&kept, from, &corrected).map(|d| Json(d).into_response()),
            Some(form) => file(kept, form, spool, turn),
        }
    });
    open.await.map_err(|_| Problem::stopping())?
}

/// Waits a while for a turn.
async fn turn(app: &App, caller: &Caller) -> Result<Turn, Problem> {
    let until = Instant::now() + PATIENCE;
    loop {
        match app.answer_reads.take(caller) {
            Err(_) if Instant::now() < until => tokio::time::sleep(AGAIN_AFTER).await,
            turn => return turn,
        }
    }
}

fn missing(name: &str) -> Problem {
    let detail = format!("there is no answer {name}; answers are kept {} days", tally_intake::answers::KEPT_DAYS);
    Problem::new(StatusCode::NOT_FOUND, "no_answer", &detail)
}

fn document(kept: &Kept, from: u64, corrected: &super::corrections::Lookup) -> Result<Value, Problem> {
    let mut document = serde_json::to_value(&kept.meta).unwrap_or_default();
    let (mut rows, mut next, mut bytes) = (Vec::new(), None, 0);
    let all = kept.rows_from(from).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput => bad("from: give what `next` said"),
        _ => disk(&e),
    })?;
    let mut place = from;
    for row in all {
        if bytes > ROWS_BYTES_MAX {
            next = Some(place);
            break;
        }
        let (row, behind) = row.map_err(|e| disk(&e))?;
        place = behind;
        bytes += row.text.len() + row.cells.iter().map(String::len).sum::<usize>() + 512 * row.findings.len();
        rows.push(row);
    }
    let lines = rows.iter().map(|r| r.line).collect();
    let replied = kept.corrections(&lines).map_err(|e| disk(&e))?;
    let shown = |row: KeptRow| {
        let mut value = serde_json::to_value(&row).unwrap_or_default();
        let by = match replied.get(&row.line) {
            Some((id, at)) => Some(json!({ "id": id, "sealed_at": tally_clock::time(*at) })),
            None => corrected.find(kept.meta.category.as_deref(), &row),
        };
        if let Some(by) = by {
            value["corrected"] = by;
        }
        value
    };
    let rows: Vec<Value> = rows.into_iter().map(shown).collect();
    document["rows"] = json!(rows);
    document["next"] = json!(next);
    Ok(document)
}

/// Hands over what is written in pieces.
struct Pieces {
    piece: Vec<u8>,
    send: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Pieces {
    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        let sent = self.runtime.block_on(self.send.send_timeout(piece, IDLE));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece).into();
        self.send(Ok(piece))
    }
}

/// The file, as it is written. What goes wrong before its first piece is answered as a problem; later it breaks off.
fn file(kept: Kept, form: Form, spool: PathBuf, turn: Turn) -> Result<Response, Problem> {
    let (kind, end) = match form {
        Form::Csv => ("text/csv; charset=utf-8", "csv"),
        Form::Xlsx => ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    };
    let name = format!("attachment; filename=\"{}.{end}\"", kept.meta.id);
    let (send, mut receive) = mpsc::channel(PIECES);
    let (failed, failure) = std::sync::mpsc::sync_channel(1);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut out = Pieces { piece: Vec::with_capacity(2 * PIECE_BYTES), send, runtime: Handle::current() };
        match write(&kept, form, &spool, &mut out) {
            Err(e) => {
                tracing::warn!(event = "answer.failed", answer = %kept.meta.id, reason = %e, "an answer's file is not whole");
                let _ = out.send(Err(io::Error::other(e.message.clone())));
                let _ = failed.send(e);
            }
            Ok(()) if out.flush().is_err() => {
                tracing::debug!(event = "answer.failed", answer = %kept.meta.id, "the reader went away");
            }
            Ok(()) => {}
        }
    });
    let first = receive.blocking_recv();
    if !matches!(first, Some(Ok(_))) {
        let e = failure.recv().map_err(|_| disk(&io::Error::other("its file could not be made")))?;
        let status = match e.code {
            "too_many_rows" => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        return Err(Problem::new(status, e.code, &format!("{} / {}", e.message, e.message_zh)));
    }
    let rest = futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) });
    let body = Body::from_stream(futures_util::stream::iter(first).chain(rest));
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)], body).into_response())
}

/// The answer as it was given, made from what is kept.
pub(super) fn as_answer(store: &Store, meta: &Meta) -> Result<Value, Problem> {
    let kept = store.open_answer(&meta.id).map_err(|e| disk(&e))?.ok_or_else(|| missing(&meta.id))?;
    let (mut errors, mut omitted) = (Vec::new(), 0_u64);
    for row in kept.rows().map_err(|e| disk(&e))? {
        let row = row.map_err(|e| disk(&e))?;
        for f in row.findings {
            if errors.len() == ERRORS_MAX {
                omitted += 1;
                continue;
            }
            let mut value = serde_json::to_value(f).unwrap_or_default();
            value["line"] = json!(row.line);
            errors.push(value);
        }
    }
    let mut answer = json!({
        "read": meta.read, "accepted": meta.accepted, "duplicate": meta.duplicate, "rejected": meta.rejected,
        "questions": meta.questions, "log": meta.log, "from": meta.from, "to": meta.to, "errors": errors,
        "notes": meta.notes, "answer": meta.id, "repeated": true,
    });
    if omitted > 0 {
        answer["errors_omitted"] = json!(omitted);
    }
    if let Some(format) = &meta.format {
        answer["format"] = json!(format);
    }
    Ok(answer)
}
