//! `GET /v1/openapi.json`: the API as departments' programs see it, described by the handlers themselves.

use super::{
    answers, charter, deadlines, export, health, metrics, questions, records,
    schema::{Answer, Ended, Finding, KeptRow, Meta, NotKept, Noted, Said},
    tlog,
};
use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tally",
        description = "Hand in enterprise records, and see what became of them. Every refusal is application/problem+json (RFC 9457) with a stable `code`. Sending the same again never doubles anything."
    ),
    paths(
        records::post,
        answers::list,
        answers::show,
        questions::list,
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
    components(schemas(Answer, Finding, Noted, Meta, KeptRow, Said, NotKept, Ended)),
    modifiers(&TokenScheme),
    security(("token" = []))
)]
struct Api;

/// Tokens are sent as `Authorization: Bearer ...`.
struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = &mut api.components {
            let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
            components.add_security_scheme("token", scheme);
        }
        api.info.version = env!("CARGO_PKG_VERSION").to_owned();
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", security(()), responses((status = 200, description = "OpenAPI 3")))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

/// The paths that are described.
#[cfg(test)]
pub(super) fn paths() -> Vec<String> {
    Api::openapi().paths.paths.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_described() {
        let api = serde_json::to_value(Api::openapi()).unwrap();
        for (path, method) in [
            ("/v1/records", "post"),
            ("/v1/answers", "get"),
            ("/v1/answers/{name}", "get"),
            ("/v1/questions", "get"),
            ("/v1/deadlines", "get"),
            ("/v1/export", "get"),
        ] {
            assert!(api["paths"][path][method]["responses"].is_object(), "{path}");
        }
        let answer = &api["components"]["schemas"]["Answer"]["properties"];
        for field in ["read", "accepted", "duplicate", "rejected", "questions", "log", "from", "to", "errors"] {
            assert!(answer[field].is_object(), "{field}");
        }
        assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    }
}
