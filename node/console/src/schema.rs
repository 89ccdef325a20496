//! The shapes of the JSON that departments' programs see, for `/v1/openapi.json`. They only describe: what is sent is
//! written by the types that mean it, and a test holds the two against each other.

use utoipa::ToSchema;

/// What became of a submission: `read` = `accepted` + `duplicate` + `rejected`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Answer {
    /// Rows that were not blank and no heads or notes of a table.
    read: u64,
    /// New records, durable: in the log, or staged.
    accepted: u64,
    /// Accepted rows that are not signed yet: only this node's disk has them.
    staged: u64,
    /// Why: `parent_unknown`, `behind`, `clock`, `same_key`, `frozen` or `damaged`.
    staged_because: Option<String>,
    /// Staged rows that cannot be read from this disk any more.
    #[schema(required = false)]
    staged_lost: u64,
    /// Records that are held already.
    duplicate: u64,
    /// Rows not taken; `errors` tells why.
    rejected: u64,
    /// Accepted rows with a question to the producer.
    questions: u64,
    /// Origin of the log they went into; null while some are staged.
    log: Option<String>,
    /// First index of the batches that hold them; null if nothing was new, and while some are staged.
    from: Option<u64>,
    /// One past their last index.
    to: Option<u64>,
    /// What is wrong with rejected and questioned rows, in line order.
    errors: Vec<Finding>,
    /// Findings that `errors` does not list; the kept answer has those of rows that it keeps.
    #[schema(required = false)]
    errors_omitted: u64,
    /// Rows to look at that the kept answer has no room for.
    not_kept: Option<NotKept>,
    /// Why not every row was looked at; `read` counts those that were.
    ended: Option<Ended>,
    /// What was changed or is to be known, by field, without a row being wrong.
    notes: Vec<Noted>,
    /// Under this name the answer is kept, with every rejected and questioned row.
    answer: Option<String>,
    /// What the input was taken for.
    format: Option<String>,
    /// Of a trial (`dry_run`): what would become of each row.
    trial: Option<Trial>,
    /// This is the answer that was given before: the key and the content are those of an earlier submission.
    #[schema(required = false)]
    repeated: bool,
}

/// A kept answer with some of its rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct AnswerRows {
    #[schema(inline)]
    #[serde(flatten)]
    meta: Meta,
    /// In line order.
    rows: Vec<ShownRow>,
    /// Where the rows go on: to be given as `from`.
    next: Option<u64>,
}

/// A row that is kept, and what became of it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct ShownRow {
    #[schema(inline)]
    #[serde(flatten)]
    row: KeptRow,
    /// The record by which it was corrected: its `id`, and when it was `sealed_at`.
    #[schema(value_type = Option<Object>)]
    corrected: Option<serde_json::Value>,
}

/// Which program answers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct VersionSent {
    /// Version of the software.
    version: String,
    /// Version of the protocol between nodes.
    protocol: u32,
}

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
#[schema(example = json!({"type": "about:blank", "title": "Unauthorized", "status": 401, "code": "no_token", "detail": "this token is not known here"}))]
pub(super) struct RefusalSent {
    /// `about:blank`: `code` tells which it is.
    r#type: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// Stable name.
    code: String,
    /// What is wrong and what to do, for people.
    detail: String,
    /// Of a submission that ended early: how many rows were `accepted`, `staged`, `duplicate` and `rejected` before.
    #[schema(value_type = Option<Object>, required = false)]
    done: Option<serde_json::Value>,
}

/// Rows of a submission of which nothing was taken.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Trial {
    /// What would become of each, in the order of their lines.
    rows: Vec<TrialRow>,
    /// Rows behind them that are counted and not told.
    rows_omitted: u64,
}

/// What would become of a row.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct TrialRow {
    /// Its line.
    line: u64,
    /// `accepted`, `duplicate` or `rejected`.
    verdict: String,
    /// The record as it would be stored.
    #[schema(value_type = Option<Object>)]
    record: Option<serde_json::Value>,
    /// Every value that is not stored as it came.
    changes: Vec<TrialChange>,
    /// What is said of it, as in `errors`.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<serde_json::Value>,
}

/// A value that is not stored as it came.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct TrialChange {
    /// Its field.
    field: String,
    /// Stable name of what is done.
    code: String,
    /// As it came, shortened.
    from: String,
    /// As it would be stored; empty: it is left out.
    to: String,
    /// For people.
    message: String,
    /// The same in Chinese.
    message_zh: String,
}

/// Rows to look at that are counted, and not kept.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct NotKept {
    /// How many.
    rows: u64,
    /// Line of the first.
    first: u64,
    /// Line of the last.
    last: u64,
}

/// Why the rows were not looked at to their end: of the first 10,000 none was taken.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Ended {
    /// `all_rejected`.
    code: String,
    /// Line of the first row that was not looked at.
    line: u64,
    /// How many were not.
    rows: u64,
    /// Why, and what to do.
    message: String,
    /// The same in Chinese.
    message_zh: String,
}

/// One thing said about one row.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Finding {
    /// Line in the input, from 1; the row's number in a spreadsheet.
    line: u64,
    /// Field, or empty when the whole row is meant.
    field: String,
    /// Stable code.
    code: String,
    /// A stable name besides.
    name: Option<String>,
    /// What follows: `note`, `question` or `reject`.
    #[schema(example = "reject")]
    severity: String,
    /// What is wrong and what to do.
    message: String,
    /// The same in Chinese.
    message_zh: String,
}

/// The same note about many rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Noted {
    /// Field or column.
    field: String,
    /// Stable name.
    code: String,
    /// Rows.
    count: u64,
    /// The first of them.
    line: u64,
    /// For people.
    message: String,
    /// The same in Chinese.
    message_zh: String,
}

/// An answer that is kept, without its rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Meta {
    /// Its name: division, day, number.
    id: String,
    /// When it was given, RFC 3339.
    at: String,
    /// Of which file, if it was one.
    file: Option<String>,
    /// By which way it came: `cli`, `http`, `folder`, `compare`.
    source: String,
    /// Name of the token, over HTTP.
    token: Option<String>,
    /// Path of the drop folder, if it came by one.
    folder: Option<String>,
    /// Category, if one was named.
    category: Option<String>,
    /// Heads of the table, if it was one.
    #[schema(required = false)]
    heads: Vec<String>,
    /// BLAKE3 of the input, where it was known when the answer was given.
    digest: Option<String>,
    /// BLAKE3 of the terms under which it was handed in, where the client named a key.
    #[schema(required = false)]
    terms: Option<String>,
    /// The client's own key for this submission.
    idempotency_key: Option<String>,
    /// Counts, as in `Answer`.
    #[schema(required = false)]
    read: u64,
    /// See `Answer`.
    #[schema(required = false)]
    accepted: u64,
    /// See `Answer`.
    #[schema(required = false)]
    staged: u64,
    /// See `Answer`.
    staged_because: Option<String>,
    /// See `Answer`.
    #[schema(required = false)]
    staged_lost: u64,
    /// See `Answer`.
    #[schema(required = false)]
    duplicate: u64,
    /// See `Answer`.
    #[schema(required = false)]
    rejected: u64,
    /// See `Answer`.
    #[schema(required = false)]
    questions: u64,
    /// See `Answer`.
    log: Option<String>,
    /// See `Answer`.
    from: Option<u64>,
    /// See `Answer`.
    to: Option<u64>,
    /// See `Answer`.
    #[schema(required = false)]
    notes: Vec<Noted>,
    /// See `Answer`.
    format: Option<String>,
    /// See `Answer`.
    not_kept: Option<NotKept>,
    /// See `Answer`.
    ended: Option<Ended>,
}

/// A row that is kept.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct KeptRow {
    /// Its line.
    line: u64,
    /// Its cells, if it was a table's.
    #[schema(required = false)]
    cells: Vec<String>,
    /// The line, if it was NDJSON.
    #[schema(required = false)]
    text: String,
    /// When it was judged, POSIX seconds.
    at: u64,
    /// Its category, producing unit and business key, as far as it got.
    category: Option<String>,
    /// See `category`.
    unit: Option<String>,
    /// See `category`.
    key: Option<String>,
    /// To what it replied itself.
    reply: Option<String>,
    /// What was said of it.
    findings: Vec<Said>,
}

/// What was said of a row.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Said {
    /// Field.
    field: String,
    /// Code.
    code: String,
    /// A stable name besides.
    name: Option<String>,
    /// `reject` or `question`.
    severity: String,
    /// In English.
    message: String,
    /// In Chinese.
    message_zh: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::GivenAnswer;
    use serde::Serialize;
    use std::collections::BTreeSet;
    use tally_intake::submission::{self, SubmissionAnswer, SubmissionMeta};
    use tally_protocol::finding;
    use utoipa::PartialSchema;

    /// Members of what is sent, and those that its description names.
    fn same<S: PartialSchema>(sent: &impl Serialize) {
        let names = |v: &serde_json::Value| -> BTreeSet<String> { v.as_object().unwrap().keys().cloned().collect() };
        let schema = serde_json::to_value(S::schema()).unwrap();
        assert_eq!(names(&serde_json::to_value(sent).unwrap()), names(&schema["properties"]));
    }

    #[test]
    fn what_is_described_is_what_is_sent() {
        let text = || Some("x".to_owned());
        let reject = finding::Finding::reject("V001", "f", "en", "zh").named("N");
        same::<Said>(&reject);
        same::<Finding>(&reject.clone().at_line(3));
        let noted = submission::InputNote {
            field: String::new(),
            code: String::new(),
            count: 1,
            line: 1,
            message: String::new(),
            message_zh: String::new(),
        };
        same::<Noted>(&noted);
        let not_kept = Some(submission::RowsNotKept { rows: 1, first: 1, last: 1 });
        let ended = || {
            let (code, message, message_zh) = (String::new(), String::new(), String::new());
            Some(submission::EarlyEnd { code, line: 1, rows: 1, message, message_zh })
        };
        same::<NotKept>(&not_kept);
        same::<Ended>(&ended());
        let answer = SubmissionAnswer {
            not_kept,
            ended: ended(),
            staged_because: text(),
            staged_lost: 1,
            errors_omitted: 1,
            answer: text(),
            format: text(),
            trial: Some(Box::default()),
            ..SubmissionAnswer::default()
        };
        same::<Answer>(&GivenAnswer { answer: Box::new(answer), repeated: true });
        same::<Meta>(&SubmissionMeta {
            folder: text(),
            terms: text(),
            not_kept,
            ended: ended(),
            format: text(),
            staged_because: text(),
            staged_lost: 1,
            notes: vec![noted],
            ..SubmissionMeta::default()
        });
        same::<KeptRow>(&submission::KeptRow {
            line: 1,
            cells: vec![String::new()],
            text: "x".to_owned(),
            at: 1,
            category: text(),
            unit: text(),
            key: text(),
            reply: text(),
            findings: vec![reject],
        });
    }
}
