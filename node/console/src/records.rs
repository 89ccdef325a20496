//! `POST /v1/records`: rows in, streaming, answered when everything accepted is durable.
//!
//! Cancel-safe: a client that goes away drops the handler and with it the submission, whose rows may have been taken or
//! not; its key and its permit are free again.

use super::{
    ApiContext,
    auth::Caller,
    parameters::{body_pieces, category, division, input_format},
    problem::{Problem, bad, submission_problem, upload_problem},
};
use axum::{
    Extension, Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use tally_intake::{
    InputFormat, SubmissionAnswer, UploadError, digested,
    submission::{InputSource, Submission, SubmissionMeta, SubmissionOutcome, SubmissionTerms},
};
use tally_topology::charter::Charter;

/// Longest key of a client's own, in bytes.
const KEY_BYTES_MAX: usize = 200;

/// How a submission is to be taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsQuery {
    /// Category of rows that name none.
    category: Option<String>,
    /// Code of the unit that hands in.
    unit: Option<String>,
    /// Division of rows that name none.
    division: Option<String>,
    /// `ndjson`, `csv` or `xlsx`; else the content type says.
    format: Option<String>,
    /// Name of the file, for the kept answer.
    file: Option<String>,
    /// `cli` where the command line sends.
    source: Option<String>,
    /// The rows are a load of history (历史补录), which does not count as late.
    #[serde(default)]
    backfill: bool,
    /// Nothing is taken: it is only told what would become of each row.
    #[serde(default)]
    dry_run: bool,
}

impl RecordsQuery {
    fn submission(self, charter: &Charter, caller: &Caller, key: Option<String>) -> Result<Submission, Problem> {
        let rights = caller.rights.clone();
        let terms = SubmissionTerms {
            category: self.category.clone(),
            unit: self.unit.or_else(|| rights.as_ref()?.unit.clone()),
            division: division(charter, self.division.as_ref())?,
            rights,
            backfill: self.backfill,
        };
        let by_operator = || self.source.unwrap_or_else(|| "cli".to_owned());
        let meta = SubmissionMeta {
            file: self.file,
            source: caller.token.as_ref().map_or_else(by_operator, |_| "http".to_owned()),
            token: caller.token.clone(),
            category: self.category,
            idempotency_key: key,
            ..SubmissionMeta::default()
        };
        Ok(Submission { terms, meta })
    }
}

/// An answer, and whether it was given before.
#[derive(Serialize)]
pub(super) struct GivenAnswer {
    #[serde(flatten)]
    pub(super) answer: Box<SubmissionAnswer>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) repeated: bool,
}

/// The client's own key for the submission: a repetition gets the answer of the first.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let printable = |k: &&str| k.bytes().all(|b| (b' '..=b'~').contains(&b));
    let key = key.to_str().ok().filter(printable).filter(|k| !k.is_empty() && k.len() <= KEY_BYTES_MAX);
    // Two keys are two submissions, and this is one.
    key.filter(|_| keys.next().is_none()).map(|k| Some(k.to_owned())).ok_or_else(|| {
        bad(&format!("Idempotency-Key: one of 1 to {KEY_BYTES_MAX} printable ASCII characters is needed"))
    })
}

/// Hands in rows as NDJSON, CSV or XLSX. Answers when everything accepted is durable.
#[utoipa::path(
    post,
    path = "/v1/records",
    operation_id = "handIn",
    params(
        ("category" = Option<String>, Query, description = "Category of rows that name none; tables: by default the heads say it"),
        ("unit" = Option<String>, Query, description = "Credit code of the unit that hands in; by default the token's"),
        ("division" = Option<String>, Query, description = "Division of rows that name none"),
        ("format" = Option<String>, Query, description = "ndjson, csv or xlsx; by default the content type says it"),
        ("file" = Option<String>, Query, description = "Name of the file, for the kept answer"),
        ("backfill" = Option<bool>, Query, description = "The rows are a load of history, which does not count as late"),
        ("dry_run" = Option<bool>, Query, description = "Nothing is taken or kept; `trial` tells what would become of each row"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 200 printable ASCII characters. A repetition with the same key, content and terms gets the first answer", min_length = 1, max_length = 200, pattern = "^[!-~]([ -~]*[!-~])?$"),
    ),
    request_body(
        description = "The rows",
        content((String = "application/x-ndjson"), (String = "text/csv"), ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))
    ),
    responses(
        (status = 200, description = "Every row has its verdict: read = accepted + duplicate + rejected; of the accepted, `staged` are on this disk and not signed yet", body = super::schema::Answer),
        (status = 400, description = "The input broke off, or a parameter is not valid"),
        (status = 409, description = "A submission with this key is under way (`in_progress`), or what it corrects was changed meanwhile (`changed`)"),
        (status = 415, description = "A content type that is not read here"),
        (status = 422, description = "The file is no table or list of records, or the key came with another content or other terms"),
        (status = 503, description = "Not now; Retry-After says when"),
        (status = 507, description = "The disk is nearly full, as many rows are staged as may be, or as many answers are kept as may be (`answers_full`)"),
    )
)]
pub(super) async fn post(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<RecordsQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<GivenAnswer>, Problem> {
    let Query(mut query) = query.map_err(|e| bad(&e.to_string()))?;
    let format = input_format(query.format.as_deref(), &headers)?;
    let charter = api.charter.charter();
    query.category = match format {
        InputFormat::Ndjson => category(charter.charter(), query.category)?,
        // Tables are held against the catalog by their heads.
        _ => query.category.map(|c| charter.charter().catalogs().category_named(&c).unwrap_or(c)),
    };
    let dry_run = query.dry_run;
    let submission = query.submission(charter.charter(), &caller, idempotency_key(&headers)?)?;
    if !dry_run && api.submissions.intake().full.load(Ordering::Relaxed) {
        return Err(upload_problem(&UploadError::Full));
    }
    let _permit = api.quotas.uploads.take(&caller)?;
    let (pieces, digest) = digested(body_pieces(body, caller.token.is_some()));
    let source = InputSource::new(pieces, format, api.submissions.spool().to_owned(), Some(digest));
    if dry_run {
        let answer = api.submissions.try_out(submission, source).await.map_err(|e| submission_problem(&e))?;
        return Ok(Json(GivenAnswer { answer, repeated: false }));
    }
    let outcome = api.submissions.hand_in(submission, source).await.map_err(|e| submission_problem(&e))?;
    let (answer, repeated) = match outcome {
        SubmissionOutcome::Answered(answer) => (answer, false),
        SubmissionOutcome::Repeated(answer) => (answer, true),
    };
    Ok(Json(GivenAnswer { answer, repeated }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_key_is_one_and_printable() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", HeaderValue::from_bytes(value).unwrap());
            }
            idempotency_key(&headers).map_err(|_| ())
        };
        let long = [b'x'; KEY_BYTES_MAX + 1];
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[b"a key 1"]), Ok(Some("a key 1".to_owned())));
        assert_eq!(of(&[&long[1..]]), Ok(Some("x".repeat(KEY_BYTES_MAX))));
        for bad in [&[&b""[..]][..], &[b"a\tb"], &[&long], &["键".as_bytes()], &[b"a", b"b"], &[b"a", b"a"]] {
            assert_eq!(of(bad), Err(()), "{bad:?}");
        }
    }
}
