//! `GET /v1/export`: current versions or history as NDJSON, streaming.

use super::{
    ApiContext,
    auth::Caller,
    parameters::{category, division},
    problem::{Problem, bad},
};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderName, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use serde::Deserialize;
use std::collections::BTreeMap;
use tally_core::View;
use tally_protocol::ids::LogId;
use tally_store::{
    batch_map::BatchMap,
    index::query::{self, ArrivedSince, ExportCursor, Selection, Source},
};
use tally_topology::signed::SignedCharter;
use tokio::sync::mpsc;

/// Where an export ends.
const CURSOR: HeaderName = HeaderName::from_static("tally-cursor");
/// Version of the charter by which it was judged what is in force.
const CHARTER: HeaderName = HeaderName::from_static("tally-charter");
/// Pieces that may wait for the reader.
const PIECES: usize = 4;
/// Size of a piece, about, in bytes.
const PIECE_BYTES: usize = 128 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    division: Option<String>,
    category: Option<String>,
    since: Option<String>,
    #[serde(default)]
    history: bool,
}

pub(super) type BatchMaps = BTreeMap<LogId, BatchMap>;

pub(super) fn batch_maps(r: &View) -> BatchMaps {
    r.logs().iter().map(|(id, log)| (*id, BatchMap::of(log))).collect()
}

/// A day (its start in China), an RFC 3339 time, or the cursor of an earlier export.
fn since(text: &str) -> Option<ArrivedSince> {
    if let Ok(cursor) = text.parse() {
        return Some(ArrivedSince::Cursor(cursor));
    }
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(t) => t,
        Err(_) => format!("{text}T00:00:00+08:00").parse().ok()?,
    };
    u64::try_from(time.as_second()).ok().map(ArrivedSince::Time)
}

/// Records that are held: the current version of every business key, or all versions.
#[utoipa::path(
    get,
    path = "/v1/export",
    operation_id = "exportRecords",
    params(
        ("division" = Option<String>, Query, description = "Only what counts for this division and those below it"),
        ("category" = Option<String>, Query, description = "Only this category"),
        ("since" = Option<String>, Query, description = "Only what has come to this node since: a day, an RFC 3339 time, or the `Tally-Cursor` of an earlier export. It tells nobody too few: what may have come since is told again"),
        ("history" = Option<bool>, Query, description = "All versions, withdrawals too"),
    ),
    responses(
        (status = 200, description = "NDJSON; `_tally` in each line says where the record stands and, with `since`, when it came here. The header `Tally-Cursor` is where this export ends, to be given as `since`; `Tally-Charter` is the version of the charter by which it was judged what is in force. A stream that breaks off is not whole", body = String, content_type = "application/x-ndjson", headers(
            ("Tally-Cursor" = String, description = "Where this export ends, to be given as `since`"),
            ("Tally-Charter" = u64, description = "Version of the charter by which it was judged what is in force"),
        )),
    )
)]
pub(super) async fn export(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<ExportQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let charter = api.charter.charter();
    let selection = Selection {
        division: division(charter.charter(), wanted.division.as_ref())?,
        category: category(charter.charter(), wanted.category)?,
        since: wanted
            .since
            .map(|t| {
                since(&t).ok_or_else(|| {
                    bad(&format!("since: {t:?} is no date (2026-11-24), no RFC 3339 time and no cursor of an export"))
                })
            })
            .transpose()?,
        history: wanted.history,
        me: Some(api.own.division),
    };
    // Before the index is waited for: what comes later lies behind the cursor, and is told by the next export.
    let batch_maps = batch_maps(&api.mailbox.view());
    if api.index_caught_up().await.is_none() {
        let detail = "the index is being built; exports are complete only after that";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index_behind", detail).retry(10));
    }
    let permit = api.quotas.exports.take(&caller)?;
    let charter = api.charter.charter();
    let source = Source { reader: &api.reader, batch_maps: &batch_maps, charter: charter.charter() };
    let not_indexed = query::not_indexed(&*api.engine, &source)
        .map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index_failed", &e.to_string()).retry(10))?;
    let heads = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (CURSOR, ExportCursor::of(&source, &not_indexed).to_string()),
        (CHARTER, charter.charter().version().to_string()),
    ];
    let (pieces, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        run(&api, &charter, &selection, &batch_maps, &pieces);
    });
    let stream = futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) });
    Ok((AppendHeaders(heads), Body::from_stream(stream)).into_response())
}

/// An export that cannot be completed breaks the stream off, so that nobody takes a part for the whole.
fn run(
    api: &ApiContext,
    charter: &SignedCharter,
    selection: &Selection,
    batch_maps: &BatchMaps,
    pieces: &mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    let source = Source { reader: &api.reader, batch_maps, charter: charter.charter() };
    let mut piece = Vec::with_capacity(PIECE_BYTES * 2);
    let result = query::export(&*api.engine, &source, selection, api.submissions.spool(), |line| {
        piece.extend_from_slice(line);
        piece.push(b'\n');
        piece.len() < PIECE_BYTES || pieces.blocking_send(Ok(std::mem::take(&mut piece).into())).is_ok()
    });
    let broken = match result {
        Ok(done) if done.unreadable == 0 => None,
        Ok(done) => Some(format!("{} records cannot be read from this disk", done.unreadable)),
        Err(e) => Some(e.to_string()),
    };
    if !piece.is_empty() && pieces.blocking_send(Ok(piece.into())).is_err() {
        return;
    }
    if let Some(why) = broken {
        tracing::error!(event = "export.failed", reason = %why, "an export could not be completed");
        let _ = pieces.blocking_send(Err(std::io::Error::other(why)));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::quota::Quotas, *};

    #[test]
    fn an_export_whose_client_goes_away_gives_its_permit_back() {
        use futures_util::FutureExt as _;
        let (exports, caller) = (Quotas::default().exports, Caller::default());
        let most = std::iter::from_fn(|| exports.take(&caller).ok()).collect::<Vec<_>>().len();
        // More often than there are permits: each is dropped where a handler waits.
        for _ in 0..2 * most {
            let handler = async {
                let _permit = exports.take(&caller).map_err(|_| ())?;
                std::future::pending::<Result<(), ()>>().await
            };
            assert!(handler.now_or_never().is_none(), "it has its permit, and waits");
        }
        assert_eq!(std::iter::from_fn(|| exports.take(&caller).ok()).collect::<Vec<_>>().len(), most);
    }

    #[test]
    fn days_start_in_china() {
        assert_eq!(since("1970-01-02"), Some(ArrivedSince::Time(16 * 3_600)));
        assert_eq!(since("1970-01-01T00:00:10Z"), Some(ArrivedSince::Time(10)));
        let cursor = "rules:0123456789abcdef,350102/e1:5";
        assert_eq!(since(cursor), cursor.parse().ok().map(ArrivedSince::Cursor));
        assert_eq!((since("yesterday"), since("2026-02-30")), (None, None));
    }
}
