//! `GET /v1/answers...`: what was said of rejected and questioned rows, as JSON or in the submitter's own form.

use super::{App, auth::Caller, problem::Problem};
use crate::{
    answers::{Form, Kept, Meta, Store, write},
    intake::ERRORS_MAX,
};
use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Answers that a list shows.
const LISTED: usize = 200;
/// Bytes of rows, about, that an answer shows as JSON in one document; the files have all of them.
const ROWS_BYTES_MAX: usize = 32 << 20;

pub(super) fn disk(e: &std::io::Error) -> Problem {
    let detail = format!("the answers on the disk cannot be used: {e}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "answers", &detail)
}

fn may_see(caller: &Caller, meta: &Meta) -> bool {
    caller.token.is_none() || caller.token == meta.token
}

/// Answers that are kept, the newest first: submissions with rows that were rejected or are asked about.
#[utoipa::path(get, path = "/v1/answers", responses((status = 200, description = "At most 200", body = [Meta])))]
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

/// `/v1/answers/ID` is JSON, `ID.csv` and `ID.xlsx` are the rows in the submitter's own form.
#[utoipa::path(
    get,
    path = "/v1/answers/{name}",
    params(("name" = String, Path, description = "ID, ID.csv or ID.xlsx")),
    responses(
        (status = 200, description = "The rows to look at, with the reasons; `corrected` where the row was handed in again and taken"),
        (status = 404, description = "None of this name; answers are kept 90 days"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let (id, form) = match name.rsplit_once('.') {
        None => (name.clone(), None),
        Some((id, "csv")) => (id.to_owned(), Some(Form::Csv)),
        Some((id, "xlsx")) => (id.to_owned(), Some(Form::Xlsx)),
        Some((id, "json")) => (id.to_owned(), None),
        Some(_) => return Err(missing(&name)),
    };
    let (store, spool) = (app.answers.clone(), app.spool.clone());
    let corrected = super::corrections::Lookup::new(&app);
    let work = tokio::task::spawn_blocking(move || {
        let kept = store.open_answer(&id).map_err(|e| disk(&e))?;
        let kept = kept.filter(|k| may_see(&caller, &k.meta)).ok_or_else(|| missing(&name))?;
        match form {
            None => document(&kept, &corrected).map(|d| Json(d).into_response()),
            Some(form) => file(&kept, form, &spool),
        }
    });
    work.await.map_err(|_| Problem::stopping())?
}

fn missing(name: &str) -> Problem {
    let detail = format!("there is no answer {name}; answers are kept {} days", crate::answers::KEPT_DAYS);
    Problem::new(StatusCode::NOT_FOUND, "no_answer", &detail)
}

fn document(kept: &Kept, corrected: &super::corrections::Lookup) -> Result<Value, Problem> {
    let mut document = serde_json::to_value(&kept.meta).unwrap_or_default();
    let (mut rows, mut omitted, mut bytes) = (Vec::new(), 0_u64, 0);
    for row in kept.rows().map_err(|e| disk(&e))? {
        let row = row.map_err(|e| disk(&e))?;
        bytes += row.text.len() + row.cells.iter().map(String::len).sum::<usize>() + 512 * row.findings.len();
        if bytes > ROWS_BYTES_MAX {
            omitted += 1;
            continue;
        }
        let mut value = serde_json::to_value(&row).unwrap_or_default();
        if row.findings.iter().any(|f| f.severity == "reject")
            && let Some(by) = corrected.find(kept.meta.category.as_deref(), &row)
        {
            value["corrected"] = by;
        }
        rows.push(value);
    }
    document["rows"] = json!(rows);
    document["rows_omitted"] = json!(omitted);
    Ok(document)
}

fn file(kept: &Kept, form: Form, spool: &std::path::Path) -> Result<Response, Problem> {
    let bytes = write(kept, form, spool).map_err(|e| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.code, &format!("{} / {}", e.message, e.message_zh))
    })?;
    let (kind, end) = match form {
        Form::Csv => ("text/csv; charset=utf-8", "csv"),
        Form::Xlsx => ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    };
    let name = format!("attachment; filename=\"{}.{end}\"", kept.meta.id);
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)], Body::from(bytes))
        .into_response())
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
