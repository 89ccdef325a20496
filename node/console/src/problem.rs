//! Errors over HTTP: `application/problem+json` (RFC 9457).

use axum::{
    body::to_bytes,
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::io;
use tally_driver::Shortage;
use tally_intake::{ChunkError, InputError, SubmissionAnswer, UploadError, chain, submission::SubmissionError};

/// A refusal with a stable code.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    pub(super) detail: String,
    retry_after_s: Option<u32>,
    more: serde_json::Value,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: &str) -> Self {
        Self { status, code, detail: detail.to_owned(), retry_after_s: None, more: serde_json::Value::Null }
    }

    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the node is stopping").retry(5)
    }

    pub(super) fn retry(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What was done before the problem.
    pub(super) fn with(mut self, more: serde_json::Value) -> Self {
        self.more = more;
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if !self.more.is_null() {
            body["done"] = self.more;
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(PROBLEM));
        if let Some(s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, s.into());
        }
        response
    }
}

/// The media type of a problem.
const PROBLEM: &str = "application/problem+json";
/// Longest text of a refusal that is put into a problem, in bytes.
const REFUSAL_BYTES_MAX: usize = 16 << 10;

/// Makes a problem of a refusal that is none: those that are made before a handler is reached are plain text.
pub(super) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    if !refused || response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == PROBLEM) {
        return response;
    }
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type",
        s if s.is_server_error() => "internal",
        _ => "bad_parameter",
    };
    let text = to_bytes(response.into_body(), REFUSAL_BYTES_MAX).await.unwrap_or_default();
    Problem::new(status, code, &String::from_utf8_lossy(&text)).into_response()
}

/// Refuses parameters where there are none: a filter that is not known must not be taken for one that found nothing.
pub(super) async fn without_parameters(request: Request, next: Next) -> Response {
    match request.uri().query().filter(|q| !q.is_empty()) {
        Some(query) => bad(&format!("{query:?}: this path has no parameters")).into_response(),
        None => next.run(request).await,
    }
}

/// A parameter that cannot be.
pub(super) fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
}

/// The answers on the disk cannot be used.
pub(super) fn answers_unusable(e: &io::Error) -> Problem {
    let detail = format!("the answers on the disk cannot be used: {e}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "answers", &detail)
}

/// There is no such answer.
pub(super) fn no_answer(name: &str) -> Problem {
    let detail = SubmissionError::AnswerGone(name.to_owned()).to_string();
    Problem::new(StatusCode::NOT_FOUND, "no_answer", &detail)
}

/// What was done of a submission that ended early.
pub(super) fn done(so_far: &SubmissionAnswer) -> serde_json::Value {
    let SubmissionAnswer { accepted, staged, duplicate, rejected, .. } = so_far;
    serde_json::json!({ "accepted": accepted, "staged": staged, "duplicate": duplicate, "rejected": rejected })
}

/// Why a submission has no answer.
pub(super) fn submission_problem(e: &SubmissionError) -> Problem {
    match e {
        SubmissionError::KeyInUse => Problem::new(StatusCode::CONFLICT, "in_progress", &e.to_string()).retry(5),
        SubmissionError::KeyReused => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", &e.to_string()),
        SubmissionError::AnswerGone(id) => no_answer(id),
        SubmissionError::AnswersFull(_) => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "answers_full", &e.to_string()).retry(3_600)
        }
        SubmissionError::Changed => Problem::new(StatusCode::CONFLICT, "changed", &e.to_string()),
        SubmissionError::Ended { why, so_far } if so_far.read == 0 => input_problem(why),
        SubmissionError::Ended { why, so_far } => input_problem(why).with(done(so_far)),
        SubmissionError::Kept(e) => answers_unusable(e),
        SubmissionError::Stopping => Problem::stopping(),
    }
}

/// Why an input was not read to its end.
pub(super) fn input_problem(e: &InputError) -> Problem {
    match e {
        InputError::Upload(e) => upload_problem(e),
        InputError::BrokenOff(_) => Problem::new(StatusCode::BAD_REQUEST, "broken_off", &e.to_string()),
        InputError::Refused(why) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why.code, &format!("{} / {}", why.message, why.message_zh))
        }
        InputError::Spool(cause) if Shortage::of(cause).is_some() => no_room(&chain(e)),
        InputError::Spool(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "spool", &chain(e)).retry(60),
        InputError::SinkEnded { code, message } => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message),
    }
}

/// There is no room: it goes on by itself once there is.
fn no_room(detail: &str) -> Problem {
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", detail).retry(60)
}

/// Why the rows of a submission are not taken.
pub(super) fn upload_problem(e: &UploadError) -> Problem {
    let code = match e {
        UploadError::Full => {
            return no_room(&e.to_string());
        }
        UploadError::Keep(cause) if Shortage::of(cause).is_some() => return no_room(&chain(e)),
        UploadError::Retired(_) => return Problem::new(StatusCode::FORBIDDEN, "retired", &e.to_string()),
        UploadError::Chunk(ChunkError::StagedFull(_)) => {
            return Problem::new(StatusCode::INSUFFICIENT_STORAGE, "staged_full", &e.to_string()).retry(60);
        }
        UploadError::Chunk(ChunkError::NotSealed(_)) => "not_signing",
        UploadError::Chunk(ChunkError::DiskFailed) => "disk_failed",
        UploadError::Chunk(ChunkError::Index(_)) => "index",
        UploadError::Chunk(ChunkError::Staged(_)) => "staged_unread",
        UploadError::Chunk(ChunkError::Stopping) => "stopping",
        UploadError::Keep(_) => "answers",
        UploadError::Internal => return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", &e.to_string()),
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, &chain(e)).retry(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_intake::submission::{
        SubmissionStore,
        kept::{AnswerOwner, KeptLimits},
    };

    /// S5: whoever has as many answers as may be kept is told so, by name, and what to do.
    #[test]
    fn answers_that_are_full_are_refused_with_a_code_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let limits = KeptLimits { owner_answers: 0, ..KeptLimits::default() };
        let division = 350_102.try_into().unwrap();
        let store = SubmissionStore::open_within(dir.path().join("answers"), division, limits).unwrap();
        let full = store.room(&AnswerOwner::Token("市监局".to_owned())).unwrap_err();
        let problem = submission_problem(&SubmissionError::AnswersFull(full));
        assert_eq!((problem.status, problem.code), (StatusCode::INSUFFICIENT_STORAGE, "answers_full"));
        assert!(problem.detail.contains("市监局") && problem.detail.contains("tally answer rm"), "{}", problem.detail);
        assert_eq!(problem.retry_after_s, Some(3_600));
    }
}
