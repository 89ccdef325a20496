//! What several handlers read of a request: formats, and the body piece by piece.

use super::problem::{Problem, bad};
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt as _;
use std::time::Duration;
use tally_intake::{InputFormat, InputPieces};
use tally_protocol::ids::Division;

/// A body must not pause for longer.
const IDLE: Duration = Duration::from_secs(60);

/// As what a body is read: `format` says, else the content type.
pub(super) fn input_format(format: Option<&str>, headers: &HeaderMap) -> Result<InputFormat, Problem> {
    if let Some(format) = format {
        return match format {
            "ndjson" => Ok(InputFormat::Ndjson),
            "csv" => Ok(InputFormat::Csv),
            "xlsx" => Ok(InputFormat::Xlsx),
            other => Err(bad(&format!("format: {other:?} is none of ndjson, csv, xlsx"))),
        };
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/x-ndjson");
    // Names of media types have no case (RFC 9110, 8.3.1).
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/json" | "text/plain" => Ok(InputFormat::Ndjson),
        "text/csv" | "text/tab-separated-values" => Ok(InputFormat::Csv),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Ok(InputFormat::Xlsx),
        other => {
            let detail = format!("{other} is not read here: send application/x-ndjson, text/csv or an XLSX workbook");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", &detail))
        }
    }
}

/// A division, if one is named.
pub(super) fn division(text: Option<&String>) -> Result<Option<Division>, Problem> {
    text.map(|d| d.parse().map_err(|e| bad(&format!("division: {e}")))).transpose()
}

/// A body as pieces. A sender that stops sending holds a place that others wait for, so it may not pause for long.
pub(super) fn body_pieces(body: Body) -> InputPieces {
    Box::pin(futures_util::stream::unfold(body.into_data_stream(), |mut body| async {
        match tokio::time::timeout(IDLE, body.next()).await {
            Ok(piece) => piece.map(|p| (p.map_err(|e| e.to_string()), body)),
            Err(_) => Some((Err(format!("nothing came for {} s", IDLE.as_secs())), body)),
        }
    }))
}
