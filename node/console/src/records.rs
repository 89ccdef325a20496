//! `POST /v1/records`: rows in, streaming, answered when everything accepted is durable.

use super::{App, auth::Caller, problem::Problem};
use axum::{
    Extension, Json,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};
use tally_core::NotSealed;
use tally_intake::{
    Answer, ChunkError, Format, Pieces, PourError, Submission, Upload, UploadError,
    answers::{Keeping, Meta},
    pour,
};

/// A body must not pause for longer.
const IDLE: Duration = Duration::from_secs(60);
/// Longest key of a client's own, in bytes.
const KEY_BYTES_MAX: usize = 200;

/// How a submission is to be taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Category of rows that name none.
    pub(super) category: Option<String>,
    /// Code of the unit that hands in.
    pub(super) unit: Option<String>,
    /// Division that rows count for which do not say.
    pub(super) division: Option<String>,
    /// `ndjson`, `csv` or `xlsx`; else the content type says.
    pub(super) format: Option<String>,
    /// Name of the file, for the kept answer.
    pub(super) file: Option<String>,
    /// `cli` where the command line sends.
    pub(super) source: Option<String>,
}

pub(super) fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
}

impl Wanted {
    pub(super) fn format(&self, headers: &HeaderMap) -> Result<Format, Problem> {
        if let Some(format) = &self.format {
            return match format.as_str() {
                "ndjson" => Ok(Format::Ndjson),
                "csv" => Ok(Format::Csv),
                "xlsx" => Ok(Format::Xlsx),
                other => Err(bad(&format!("format: {other:?} is none of ndjson, csv, xlsx"))),
            };
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/x-ndjson");
        // Names of media types have no case (RFC 9110, 8.3.1).
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-ndjson" | "application/jsonl" | "application/json" | "text/plain" => Ok(Format::Ndjson),
            "text/csv" | "text/tab-separated-values" => Ok(Format::Csv),
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Ok(Format::Xlsx),
            other => {
                let detail =
                    format!("{other} is not read here: send application/x-ndjson, text/csv or an XLSX workbook");
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", &detail))
            }
        }
    }

    pub(super) fn submission(&self, caller: &Caller) -> Result<Submission, Problem> {
        let division = self.division.as_ref().map(|d| d.parse().map_err(|e| bad(&format!("division: {e}"))));
        let rights = caller.rights.clone();
        let unit = self.unit.clone().or_else(|| rights.as_ref()?.unit.clone());
        Ok(Submission { category: self.category.clone(), unit, division: division.transpose()?, rights })
    }

    pub(super) fn meta(&self, caller: &Caller) -> Meta {
        Meta {
            file: self.file.clone(),
            source: if caller.token.is_some() { "http" } else { self.source.as_deref().unwrap_or("cli") }.to_owned(),
            token: caller.token.clone(),
            category: self.category.clone(),
            ..Meta::default()
        }
    }
}

/// A body as pieces, with a digest of what passed.
pub(super) fn pieces(body: Body) -> (Pieces, Arc<Mutex<blake3::Hasher>>) {
    let digest = Arc::new(Mutex::new(blake3::Hasher::new()));
    let passing = digest.clone();
    // A sender that stops sending holds a place that others wait for.
    let stream = futures_util::stream::unfold(body.into_data_stream(), |mut body| async {
        match tokio::time::timeout(IDLE, body.next()).await {
            Ok(piece) => piece.map(|p| (p.map_err(|e| e.to_string()), body)),
            Err(_) => Some((Err(format!("nothing came for {} s", IDLE.as_secs())), body)),
        }
    });
    let pieces = stream.inspect(move |piece| {
        if let Ok(piece) = piece {
            passing.lock().unwrap_or_else(PoisonError::into_inner).update(piece);
        }
    });
    (Box::pin(pieces), digest)
}

pub(super) fn hex(digest: &Mutex<blake3::Hasher>) -> String {
    digest.lock().unwrap_or_else(PoisonError::into_inner).finalize().to_hex().to_string()
}

/// The client's own key for the submission: a repetition gets the answer of the first.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|k| !k.is_empty() && k.len() <= KEY_BYTES_MAX);
    key.map(|k| Some(k.to_owned()))
        .ok_or_else(|| bad(&format!("Idempotency-Key: 1 to {KEY_BYTES_MAX} visible ASCII characters are needed")))
}

/// Hands in rows as NDJSON, CSV or XLSX. Answers when everything accepted is durable.
#[utoipa::path(
    post,
    path = "/v1/records",
    params(
        ("category" = Option<String>, Query, description = "Category of rows that name none; tables: by default the heads say it"),
        ("unit" = Option<String>, Query, description = "Credit code of the unit that hands in; by default the token's"),
        ("division" = Option<String>, Query, description = "Division that rows count for which do not say"),
        ("format" = Option<String>, Query, description = "ndjson, csv or xlsx; by default the content type says it"),
        ("file" = Option<String>, Query, description = "Name of the file, for the kept answer"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repetition with the same key and content gets the first answer"),
    ),
    request_body(
        description = "The rows",
        content(("application/x-ndjson"), ("text/csv"), ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))
    ),
    responses(
        (status = 200, description = "Every row has its verdict: read = accepted + duplicate + rejected", body = super::schema::Answer),
        (status = 400, description = "The input broke off, or a parameter cannot be"),
        (status = 401, description = "No token, or one that is not known"),
        (status = 409, description = "A submission with this key is under way, or the log is frozen"),
        (status = 415, description = "A content type that is not read here"),
        (status = 422, description = "The file is no table or list of records, or the key came with another content"),
        (status = 503, description = "Not now; Retry-After says when"),
        (status = 507, description = "The disk is nearly full"),
    )
)]
pub(super) async fn post(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let format = wanted.format(&headers)?;
    let terms = wanted.submission(&caller)?;
    let key = idempotency_key(&headers)?;
    if app.desk.full.load(Ordering::Relaxed) {
        return Err(refused(&UploadError::Full));
    }
    let _room = app.uploads.take(&caller)?;
    let (mut pieces, digest) = pieces(body);
    let _claim = match &key {
        None => None,
        Some(key) => {
            let Some(claim) = app.keys.claim(&caller, key) else {
                let detail = "a submission with this Idempotency-Key is under way";
                return Err(Problem::new(StatusCode::CONFLICT, "in_progress", detail).retry(5));
            };
            if let Some(answer) = repeated(&app, &caller, key, &mut pieces, &digest).await? {
                return Ok(Json(answer));
            }
            Some(claim)
        }
    };
    let keeping = app.answers.keep(Meta { idempotency_key: key, ..wanted.meta(&caller) });
    let mut upload = Upload::new(app.desk.clone(), terms, Box::new(keeping.clone()));
    let told = &mut |columns: &tally_intake::Columns, category: &str| {
        keeping.describe(|m| {
            m.heads.clone_from(&columns.heads);
            m.category.get_or_insert_with(|| category.to_owned());
        });
    };
    let poured = pour(&mut upload, pieces, format, &app.spool, told).await;
    let (answer, ended) = match upload.finish().await {
        Ok(answer) => (answer, poured),
        Err((e, answer)) => (answer, poured.and(Err(e.into()))),
    };
    if let Err(e) = ended {
        let problem = problem(&e);
        if answer.read == 0 {
            return Err(problem);
        }
        let done = serde_json::json!({ "accepted": answer.accepted, "duplicate": answer.duplicate, "rejected": answer.rejected });
        return Err(problem.with(done));
    }
    let answer = kept(keeping, hex(&digest), answer).await?;
    serde_json::to_value(answer).map(Json).map_err(|e| bad(&e.to_string()))
}

/// Keeps an answer; it is known by its name then.
pub(super) async fn kept(keeping: Keeping, digest: String, mut answer: Answer) -> Result<Answer, Problem> {
    keeping.describe(|m| m.digest = Some(digest));
    let kept = tokio::task::spawn_blocking(move || {
        let kept = keeping.finish(&answer);
        kept.map(|id| {
            answer.answer = id;
            answer
        })
    });
    kept.await.map_err(|_| Problem::stopping())?.map_err(|e| super::answers::disk(&e))
}

/// The answer that was given when this key came before. The input must be the same.
async fn repeated(
    app: &App,
    caller: &Caller,
    key: &str,
    pieces: &mut Pieces,
    digest: &Mutex<blake3::Hasher>,
) -> Result<Option<serde_json::Value>, Problem> {
    let (store, token, wanted) = (app.answers.clone(), caller.token.clone(), key.to_owned());
    let find = tokio::task::spawn_blocking(move || store.by_key(token.as_deref(), &wanted));
    let found = find.await.map_err(|_| Problem::stopping())?.map_err(|e| super::answers::disk(&e))?;
    let Some(found) = found else { return Ok(None) };
    while let Some(piece) = pieces.next().await {
        piece.map_err(|e| problem(&PourError::BrokenOff(e)))?;
    }
    if found.digest != Some(hex(digest)) {
        let detail = "this Idempotency-Key came before with another content: use a new key for new content";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", detail));
    }
    let store = app.answers.clone();
    let answer = tokio::task::spawn_blocking(move || super::answers::as_answer(&store, &found));
    answer.await.map_err(|_| Problem::stopping())?.map(Some)
}

pub(super) fn problem(e: &PourError) -> Problem {
    match e {
        PourError::Upload(e) => refused(e),
        PourError::BrokenOff(_) => Problem::new(StatusCode::BAD_REQUEST, "broken_off", &e.to_string()),
        PourError::Refused(why) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why.code, &format!("{} / {}", why.message, why.message_zh))
        }
        PourError::Spool(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "spool", &e.to_string()).retry(60),
        PourError::Ended { code, message } => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message),
    }
}

fn refused(e: &UploadError) -> Problem {
    let code = match e {
        UploadError::Full => {
            return Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", &e.to_string()).retry(60);
        }
        UploadError::Chunk(ChunkError::NotSealed(NotSealed::Frozen(_))) => {
            return Problem::new(StatusCode::CONFLICT, "frozen", &e.to_string());
        }
        UploadError::Chunk(ChunkError::NotSealed(_)) => "not_signing",
        UploadError::Chunk(ChunkError::Index(_)) => "index",
        UploadError::Chunk(ChunkError::Stopping) => "stopping",
        UploadError::Keep(_) => "answers",
        UploadError::Internal => return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", &e.to_string()),
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, &e.to_string()).retry(10)
}
