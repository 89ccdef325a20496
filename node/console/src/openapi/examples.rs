//! Examples of what is sent and answered: from a node that was asked, kept as files beside this one. The long tests hold them
//! against the schemas with other people's validator (`.ci/api`).

use serde_json::Value;
use utoipa::{
    Modify,
    openapi::{
        Content, RefOr,
        path::{Operation, Parameter, ParameterBuilder},
    },
};

/// Media types of what is answered most.
const JSON: &str = "application/json";
/// Lines of JSON.
const LINES: &str = "application/x-ndjson";
/// A table.
const CSV: &str = "text/csv";
/// Text for people and programs.
const PLAIN: &str = "text/plain";
/// Metrics.
const METRICS: &str = "application/openmetrics-text";

/// Path, status, media type, and the example.
const ANSWERS: [(&str, &str, &str, &str); 18] = [
    ("/v1/records", "200", JSON, include_str!("examples/handed-in.json")),
    ("/v1/answers", "200", JSON, include_str!("examples/answers.json")),
    ("/v1/answers/{name}", "200", JSON, include_str!("examples/answer.json")),
    ("/v1/answers/{name}", "200", CSV, include_str!("examples/answer.csv")),
    ("/v1/questions", "200", JSON, include_str!("examples/questions.json")),
    ("/v1/receipts", "200", JSON, include_str!("examples/receipts.json")),
    ("/v1/deadlines", "200", JSON, include_str!("examples/deadlines.json")),
    ("/v1/deadlines", "200", CSV, include_str!("examples/deadlines.csv")),
    ("/v1/export", "200", LINES, include_str!("examples/export.ndjson")),
    ("/v1/status", "200", JSON, include_str!("examples/status.json")),
    ("/v1/charter", "200", PLAIN, include_str!("examples/charter.note")),
    ("/tlog/{path}", "200", PLAIN, include_str!("examples/checkpoint.note")),
    ("/healthz", "200", PLAIN, "ok\n"),
    ("/healthz", "503", PLAIN, "the driver does not answer\n"),
    ("/readyz", "200", PLAIN, "[+]signing\n[+]store\n[+]index\n[+]parent\n"),
    ("/readyz", "503", PLAIN, "[+]signing\n[+]store\n[+]index\n[-]parent\n"),
    ("/version", "200", JSON, "{\"version\":\"0.1.0\",\"protocol\":1}"),
    ("/metrics", "200", METRICS, include_str!("examples/metrics.txt")),
];

/// Media type of what is handed in, and the example.
const HANDED_IN: [(&str, &str); 2] =
    [(LINES, include_str!("examples/records.ndjson")), (CSV, include_str!("examples/records.csv"))];

/// Adds the examples.
pub(super) struct WithExamples;

/// As it stands in the document: JSON as JSON, everything else as text.
fn value(media: &str, text: &str) -> Value {
    let json = (media == JSON).then(|| serde_json::from_str(text).ok()).flatten();
    json.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(content: Option<&mut RefOr<Content>>, media: &str, text: &str) {
    if let Some(RefOr::T(content)) = content {
        content.example = Some(value(media, text));
    }
}

impl Modify for WithExamples {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut api.paths.paths {
            for (_, operation) in super::operations(item) {
                answers(path, operation);
                if let Some(RefOr::T(body)) = &mut operation.request_body {
                    HANDED_IN.iter().for_each(|(media, text)| set(body.content.get_mut(*media), media, text));
                }
                operation.parameters.iter_mut().flatten().for_each(parameter);
            }
        }
        // The document is its own example; here only how it begins.
        let own = api.paths.paths.get_mut("/v1/openapi.json").and_then(|item| item.get.as_mut());
        if let Some(operation) = own
            && let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200")
        {
            set(response.content.get_mut(JSON), JSON, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Tally\"}}");
        }
    }
}

fn answers(path: &str, operation: &mut Operation) {
    for (_, status, media, text) in ANSWERS.iter().filter(|(p, ..)| *p == path) {
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(*status) {
            set(response.content.get_mut(*media), media, text);
        }
    }
}

/// One example for each name: a parameter means the same wherever it stands.
fn parameter(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(parameter) = parameter else { return };
    let example: Value = match parameter.name.as_str() {
        "category" => "admin_license".into(),
        "unit" => "113501020036012589".into(),
        "division" => "350102".into(),
        "file" => "licences-2026-11.csv".into(),
        "backfill" | "dry_run" | "history" | "all" | "wait" => false.into(),
        "Idempotency-Key" => "gulou-2026-11-29-1".into(),
        "name" => "350102-20261129-0001".into(),
        "from" => 0.into(),
        "limit" => 100.into(),
        "after" => "350102/e1:7".into(),
        "record" => "e7a1c94d".into(),
        "answer" => "350102-20261129-0001".into(),
        "month" => "2026-11".into(),
        "by" => "unit".into(),
        "format" => "csv".into(),
        "since" => "2026-11-24".into(),
        "path" => "350102/e1/checkpoint".into(),
        _ => return,
    };
    let plain = std::mem::replace(parameter, Parameter::new(""));
    *parameter = ParameterBuilder::from(plain).example(Some(example)).build();
}
