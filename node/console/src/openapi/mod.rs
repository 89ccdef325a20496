//! `GET /v1/openapi.json`: the API as departments' programs see it, described by the handlers themselves.

mod examples;
mod refusals;

use super::{
    answers, charter, deadlines, export, health, held, metrics, questions, records,
    schema::{Answer, Ended, Finding, KeptRow, Meta, NotKept, Noted, RefusalSent, Said},
    tlog,
};
use axum::Json;
use examples::WithExamples;
use refusals::Refusals;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApiVersion, PathItem,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tally",
        description = "Hand in enterprise records, and see what became of them. Every refusal is application/problem+json (RFC 9457) with a stable `code`. Sending the same again never doubles anything. A method that a path does not have is answered with 405, a path that is none with 404."
    ),
    paths(
        records::post,
        answers::list,
        answers::show,
        questions::list,
        held::find,
        deadlines::report,
        export::export,
        health::status,
        charter::show,
        tlog::serve,
        health::healthz,
        health::readyz,
        health::version,
        metrics::metrics,
        document
    ),
    components(schemas(Answer, Finding, Noted, Meta, KeptRow, Said, NotKept, Ended, RefusalSent)),
    modifiers(&Basics, &Refusals, &WithExamples),
    security(("token" = []))
)]
struct Api;

/// What holds for the whole document: its version, that of the program, and that tokens are sent as `Authorization: Bearer ...`.
struct Basics;

impl Modify for Basics {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        // What most tools read by now.
        api.openapi = OpenApiVersion::Version31;
        if let Some(components) = &mut api.components {
            let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
            components.add_security_scheme("token", scheme);
        }
        api.info.version = env!("CARGO_PKG_VERSION").to_owned();
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "showDocument", security(()), responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

/// The operations of a path that are described, with their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [("get", &mut item.get), ("post", &mut item.post)].into_iter().filter_map(|(m, o)| Some((m, o.as_mut()?)))
}

/// The methods and paths that are described.
#[cfg(test)]
pub(super) fn described() -> Vec<(&'static str, String)> {
    let mut api = Api::openapi();
    let of = |(path, item): (&String, &mut PathItem)| -> Vec<_> {
        operations(item).map(|(method, _)| (method, path.clone())).collect()
    };
    api.paths.paths.iter_mut().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn document() -> Value {
        serde_json::to_value(Api::openapi()).unwrap()
    }

    /// Operations with what tells them: method and path.
    fn operations(api: &Value) -> Vec<(String, &Value)> {
        let paths = api["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &'_ Value)| {
            ["get", "post"].into_iter().map(|m| (format!("{m} {path}"), m)).collect::<Vec<_>>().into_iter().filter_map(
                {
                    let item = item.clone();
                    move |(name, m)| item.get(m).is_some().then_some(name)
                },
            )
        };
        let names: Vec<_> = paths.iter().flat_map(of).collect();
        let value = |name: &String| {
            let (method, path) = name.split_once(' ').unwrap();
            &api["paths"][path][method]
        };
        names.iter().map(|n| (n.clone(), value(n))).collect()
    }

    #[test]
    fn answers_are_described_with_their_schemas() {
        let api = document();
        assert_eq!(api["openapi"], "3.1.0");
        let answer = &api["components"]["schemas"]["Answer"]["properties"];
        for field in ["read", "accepted", "duplicate", "rejected", "questions", "log", "from", "to", "errors"] {
            assert!(answer[field].is_object(), "{field}");
        }
        assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    }

    /// Whatever is answered has its media type, its schema where it is JSON, and an example; so has what is sent.
    #[test]
    fn everything_that_is_sent_or_answered_has_an_example() {
        let api = document();
        let mut seen = 0;
        for (name, operation) in operations(&api) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let content = response["content"].as_object();
                let content = content.unwrap_or_else(|| panic!("{name} {status}: nothing is said of its content"));
                for (media, body) in content {
                    let json = media.ends_with("json") && !media.contains("ndjson");
                    assert!(!json || body["schema"].is_object(), "{name} {status} {media}");
                    let binary = media.contains("octet-stream") || media.contains("spreadsheet");
                    let refusal = body["schema"]["$ref"] == "#/components/schemas/RefusalSent";
                    assert!(binary || refusal || !body["example"].is_null(), "{name} {status} {media}: no example");
                    seen += 1;
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{name}: {parameter}");
                assert!(!parameter["example"].is_null(), "{name}: no example of {parameter}");
            }
            for (media, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                assert!(media.contains("spreadsheet") || !body["example"].is_null(), "{name}: {media}");
            }
        }
        assert!(seen > 60, "{seen}");
        assert!(api["components"]["schemas"]["RefusalSent"]["example"]["code"].is_string());
    }

    /// What needs a token says which refusals there are; what needs none has no others.
    #[test]
    fn refusals_are_described_for_every_path() {
        let api = document();
        for (name, operation) in operations(&api) {
            let has = |status: &str| operation["responses"].get(status).is_some();
            let open = operation["security"].is_array();
            for status in ["400", "401", "403", "500"] {
                assert_eq!(has(status), !open, "{name}: {status}");
            }
            assert!(has("200") && (has("503") || open), "{name}");
            let busy = &operation["responses"]["503"]["headers"]["Retry-After"];
            assert!(open || busy.is_object(), "{name}");
        }
    }

    /// A described answer that is written down as an example reads as what is sent.
    #[test]
    fn examples_are_read_by_the_types_that_are_sent() {
        let api = document();
        let example = |path: &str| {
            api["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["example"].clone()
        };
        let status: crate::status::Status = serde_json::from_value(example("/v1/status")).unwrap();
        assert_eq!(serde_json::to_value(&status).unwrap(), example("/v1/status"));
        let report: tally_reports::deadline::DeadlineReport = serde_json::from_value(example("/v1/deadlines")).unwrap();
        assert_eq!(serde_json::to_value(&report).unwrap(), example("/v1/deadlines"));
        let receipts = example("/v1/receipts");
        let record: crate::receipts::RecordReceipts = serde_json::from_value(receipts["records"][0].clone()).unwrap();
        assert_eq!(serde_json::to_value(&record).unwrap(), receipts["records"][0]);
    }
}
