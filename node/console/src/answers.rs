//! `GET /v1/answers...`: what was said of rejected and questioned rows, as JSON or in the submitter's own form.

use super::{
    ApiContext,
    auth::Caller,
    problem::{Problem, answers_unusable, bad, no_answer},
    quota::CallerPermit,
};
use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};
use tally_intake::submission::{
    KeptRow, KeptSubmission, SubmissionMeta,
    kept::{AnswerOwner, TableForm, write_table},
};
use tally_protocol::finding::Finding;
use tokio::{runtime::Handle, sync::mpsc};

/// Answers that a list shows.
const LISTED: usize = 200;
/// Bytes of rows, about, that one JSON document shows; `next` says where they go on.
const ROWS_BYTES_MAX: usize = 1 << 20;
/// A request for an answer waits so long for a permit.
const PATIENCE: Duration = Duration::from_secs(10);
/// And asks this often.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A reader that takes nothing for so long has lost its place.
const IDLE: Duration = Duration::from_secs(60);
/// Size of a piece of a file, about, in bytes, and how many may wait for the reader.
const PIECE_BYTES: usize = 128 << 10;
/// See [`PIECE_BYTES`].
const PIECES: usize = 4;

fn may_see(caller: &Caller, meta: &SubmissionMeta) -> bool {
    caller.token.is_none() || caller.token == meta.token
}

/// Answers that are kept, the newest first: submissions with rows that were rejected, are asked about, or were staged.
#[utoipa::path(get, path = "/v1/answers", operation_id = "listAnswers", responses((status = 200, description = "At most 200", body = Vec<super::schema::Meta>)))]
pub(super) async fn list(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Vec<SubmissionMeta>>, Problem> {
    let (store, staged) = (api.submissions.kept().clone(), api.submissions.intake().staged.clone());
    let permit = permit(&api, &caller).await?;
    let list = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let of = caller.token.clone().map(AnswerOwner::Token);
        let mut list = store.list(LISTED, of.as_ref())?;
        list.iter_mut().try_for_each(|m| m.as_of_now(&staged))?;
        Ok::<_, io::Error>(list)
    });
    let mut list = list.await.map_err(|_| Problem::stopping())?.map_err(|e| answers_unusable(&e))?;
    // Each answer by itself has its notes, and the heads of its table.
    list.iter_mut().for_each(|m| (m.notes, m.heads) = (Vec::new(), Vec::new()));
    Ok(Json(list))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerQuery {
    /// Where the rows go on.
    #[serde(default)]
    from: u64,
}

/// `/v1/answers/ID` is JSON, `ID.csv` and `ID.xlsx` are the rows in the submitter's own form.
#[utoipa::path(
    get,
    path = "/v1/answers/{name}",
    operation_id = "showAnswer",
    params(
        ("name" = String, Path, description = "ID, ID.csv or ID.xlsx", min_length = 1),
        ("from" = Option<u64>, Query, description = "JSON only: go on where `next` of the last document says"),
    ),
    responses(
        (status = 200, description = "The rows to look at, with the reasons; `corrected` where the row was handed in again and taken. Rows that were staged have their range once all of them are sealed", content((super::schema::AnswerRows = "application/json"), (String = "text/csv"), ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
        (status = 404, description = "None of this name (`no_answer`); answers are kept 90 days"),
        (status = 422, description = "A workbook has no room for so many rows (`too_many_rows`)"),
    )
)]
pub(super) async fn show(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    wanted: Result<Query<AnswerQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(AnswerQuery { from }) = wanted.map_err(|e| bad(&e.to_string()))?;
    let (id, form) = match name.rsplit_once('.') {
        None => (name.clone(), None),
        Some((id, "csv")) => (id.to_owned(), Some(TableForm::Csv)),
        Some((id, "xlsx")) => (id.to_owned(), Some(TableForm::Xlsx)),
        Some((id, "json")) => (id.to_owned(), None),
        Some(_) => return Err(no_answer(&name)),
    };
    let (store, spool) = (api.submissions.kept().clone(), api.submissions.spool().to_owned());
    let staged = api.submissions.intake().staged.clone();
    let corrected = super::corrections::CorrectionLookup::new(&api, &caller);
    let permit = permit(&api, &caller).await?;
    let open = tokio::task::spawn_blocking(move || {
        let kept = store.open_kept(&id).map_err(|e| answers_unusable(&e))?;
        let mut kept = kept.filter(|k| may_see(&caller, &k.meta)).ok_or_else(|| no_answer(&name))?;
        kept.meta.as_of_now(&staged).map_err(|e| answers_unusable(&e))?;
        match form {
            None => document(&kept, from, &corrected),
            Some(form) => file(kept, form, spool, permit),
        }
    });
    open.await.map_err(|_| Problem::stopping())?
}

/// An answer without its rows, as it is now, if the caller may see it.
pub(super) async fn meta(api: &ApiContext, caller: &Caller, id: String) -> Result<SubmissionMeta, Problem> {
    let (store, staged) = (api.submissions.kept().clone(), api.submissions.intake().staged.clone());
    let permit = permit(api, caller).await?;
    let caller = caller.clone();
    let open = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let kept = store.open_kept(&id).map_err(|e| answers_unusable(&e))?;
        let mut meta = kept.map(|k| k.meta).filter(|m| may_see(&caller, m)).ok_or_else(|| no_answer(&id))?;
        meta.as_of_now(&staged).map_err(|e| answers_unusable(&e))?;
        Ok(meta)
    });
    open.await.map_err(|_| Problem::stopping())?
}

/// Waits a while for a permit.
async fn permit(api: &ApiContext, caller: &Caller) -> Result<CallerPermit, Problem> {
    let until = Instant::now() + PATIENCE;
    loop {
        match api.quotas.answer_reads.take(caller) {
            Err(_) if Instant::now() < until => tokio::time::sleep(AGAIN_AFTER).await,
            permit => return permit,
        }
    }
}

/// An answer with some of its rows.
#[derive(Serialize)]
struct AnswerPage<'a> {
    #[serde(flatten)]
    meta: &'a SubmissionMeta,
    rows: Vec<ShownRow>,
    /// Where the rows go on.
    next: Option<u64>,
}

#[derive(Serialize)]
struct ShownRow {
    #[serde(flatten)]
    row: KeptRow,
    /// The record by which it was corrected.
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected: Option<Value>,
}

fn document(
    kept: &KeptSubmission,
    from: u64,
    corrected: &super::corrections::CorrectionLookup,
) -> Result<Response, Problem> {
    let (mut rows, mut next, mut bytes) = (Vec::new(), None, 0);
    let all = kept.rows_from(from).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput => bad("from: give what `next` said"),
        _ => answers_unusable(&e),
    })?;
    let mut place = from;
    for row in all {
        if bytes > ROWS_BYTES_MAX {
            next = Some(place);
            break;
        }
        let (row, behind) = row.map_err(|e| answers_unusable(&e))?;
        place = behind;
        bytes += row.text.len() + row.cells.iter().map(String::len).sum::<usize>();
        bytes += row.findings.iter().map(Finding::bytes).sum::<usize>();
        rows.push(row);
    }
    let lines = rows.iter().map(|r| r.line).collect();
    let replied = kept.corrections(&lines).map_err(|e| answers_unusable(&e))?;
    let shown = |row: KeptRow| {
        let corrected = match replied.get(&row.line) {
            Some((id, at)) => Some(json!({ "id": id, "sealed_at": tally_clock::time(*at) })),
            None => corrected.find(kept.meta.category.as_deref(), &row),
        };
        ShownRow { row, corrected }
    };
    let rows = rows.into_iter().map(shown).collect();
    Ok(Json(AnswerPage { meta: &kept.meta, rows, next }).into_response())
}

/// Removes an answer with its rows, so that there is room for others. The operator's alone.
pub(super) async fn remove(State(api): State<ApiContext>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let (store, id) = (api.submissions.kept().clone(), name.clone());
    let removed = tokio::task::spawn_blocking(move || store.remove(&id));
    match removed.await.map_err(|_| Problem::stopping())?.map_err(|e| answers_unusable(&e))? {
        true => {
            tracing::info!(event = "answer.removed", answer = ?name, "an answer was removed by the operator");
            Ok(Json(json!({ "removed": name })))
        }
        false => Err(no_answer(&name)),
    }
}

/// Hands over what is written in pieces.
struct FilePieces {
    piece: Vec<u8>,
    send: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl FilePieces {
    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        let sent = self.runtime.block_on(self.send.send_timeout(piece, IDLE));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for FilePieces {
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
fn file(kept: KeptSubmission, form: TableForm, spool: PathBuf, permit: CallerPermit) -> Result<Response, Problem> {
    let (kind, end) = match form {
        TableForm::Csv => ("text/csv; charset=utf-8", "csv"),
        TableForm::Xlsx => ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    };
    let name = format!("attachment; filename=\"{}.{end}\"", kept.meta.id);
    let (send, mut receive) = mpsc::channel(PIECES);
    let (failed, failure) = std::sync::mpsc::sync_channel(1);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut out = FilePieces { piece: Vec::with_capacity(2 * PIECE_BYTES), send, runtime: Handle::current() };
        match write_table(&kept, form, &spool, &mut out) {
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
        let e = failure.recv().map_err(|_| answers_unusable(&io::Error::other("its file could not be made")))?;
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
