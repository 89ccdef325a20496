//! `/v1/bundle` on the admin socket: what a link would carry, as a stream out and in.

use super::{
    ApiContext,
    problem::{Problem, bad},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tally_protocol::bundle::Writer;
use tally_reconcile::bundle::{Import, ImportError, Imported, Since};
use tokio::sync::mpsc;

/// Items that may wait for the reader.
const ITEMS: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleQuery {
    to: String,
    #[serde(default)]
    since: Option<String>,
}

pub(super) async fn export(
    State(api): State<ApiContext>,
    Query(wanted): Query<BundleQuery>,
) -> Result<Response, Problem> {
    let to = wanted.to.parse().map_err(|e| bad(&format!("to: {e}")))?;
    let since = match wanted.since.as_deref() {
        None | Some("receipt") => Since::Receipt,
        Some("start") => Since::Start,
        Some(other) => return Err(bad(&format!("since: {other:?}; `receipt` or `start`"))),
    };
    let bundle = api.reconcile.bundle(to, since);
    let bundle = bundle.map_err(|why| Problem::new(StatusCode::NOT_FOUND, "no_neighbour", &why.to_string()))?;
    let (items, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(ITEMS);
    tokio::task::spawn_blocking(move || {
        let mut writer = Writer::default();
        for item in &bundle.first {
            if items.blocking_send(Ok(writer.item(item).into())).is_err() {
                return;
            }
        }
        match bundle.batches(|item| items.blocking_send(Ok(writer.item(&item).into())).is_ok()) {
            Ok(()) => {
                let _ = items.blocking_send(Ok(writer.end().into()));
            }
            // Broken off, so that nobody takes a part for the whole.
            Err(why) => {
                tracing::error!(event = "bundle.failed", reason = %why, "a bundle could not be completed");
                let _ = items.blocking_send(Err(std::io::Error::other(why)));
            }
        }
    });
    let stream = futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(stream)).into_response())
}

pub(super) async fn import(State(api): State<ApiContext>, body: Body) -> Result<Json<Imported>, Problem> {
    let problem = |e: ImportError| match e {
        ImportError::Bundle(e) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_bundle", &e.to_string()),
        ImportError::NotOurs(why) => Problem::new(StatusCode::FORBIDDEN, "not_ours", &why.to_string()),
        ImportError::Reconcile(_) => Problem::stopping(),
    };
    let mut import = Import::new(&api.reconcile);
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|e| bad(&format!("the upload broke off: {e}")))?;
        import.feed(&piece).await.map_err(problem)?;
    }
    let done = import.finish().await.map_err(problem)?;
    tracing::info!(event = "bundle.imported", from = %done.from, records = done.records, receipts = done.receipts, "a bundle was taken in");
    Ok(Json(done))
}
