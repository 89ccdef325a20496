//! `GET /tlog/<division>/e<epoch>/...`: every log held here in the form of c2sp.org/tlog-tiles, read-only.

use super::{
    ApiContext,
    auth::{Caller, not_allowed},
    problem::Problem,
    quota::CallerPermit,
};
use axum::{
    Extension,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use tally_core::log::HeldLog;
use tally_protocol::{
    hash::Hash,
    ids::LogId,
    merkle::tile::{Tile, WIDTH},
};
use tally_store::{batch_map::BatchMap, merkle_store};

/// What a path below a log asks for.
enum TlogItem {
    Checkpoint,
    Hashes(Tile),
    Entries(Tile),
}

fn parse(path: &str) -> Option<(LogId, TlogItem)> {
    let (division, rest) = path.split_once('/')?;
    let (epoch, rest) = rest.split_once('/')?;
    let log: LogId = format!("{division}/{epoch}").parse().ok()?;
    let wanted = match rest.strip_prefix("tile/entries/") {
        Some(rest) => TlogItem::Entries(Tile::parse(&format!("tile/0/{rest}"))?),
        None if rest == "checkpoint" => TlogItem::Checkpoint,
        None => TlogItem::Hashes(Tile::parse(rest)?),
    };
    Some((log, wanted))
}

fn not_here() -> Problem {
    let detail = "nothing of a log held here has this path; /tlog/<division>/e<epoch>/checkpoint tells a log's size";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// A log that is held, with all its records, in files: `350102/e1/checkpoint`, `350102/e1/tile/0/000`,
/// `350102/e1/tile/entries/000`.
#[utoipa::path(
    get,
    path = "/tlog/{path}",
    operation_id = "readLog",
    params(("path" = String, Path, description = "<division>/e<epoch>/ and checkpoint, tile/... or tile/entries/... as c2sp.org/tlog-tiles says")),
    responses(
        (status = 200, description = "A signed note, hashes, or records with their lengths", content((String = "text/plain"), ("application/octet-stream"))),
        (status = 403, description = "The token is limited and does not say `logs = true`, or is for other divisions"),
        (status = 404, description = "Nothing of a log held here has this path"),
    )
)]
pub(super) async fn serve(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    let (log, wanted) = parse(&path).ok_or_else(not_here)?;
    if !caller.may_read_logs_of(log.division, api.charter.charter().charter()) {
        return Err(not_allowed("this token is for logs of other divisions / 该令牌不含该区划的台账"));
    }
    let (tile, entries) = match wanted {
        TlogItem::Checkpoint => return checkpoint(&api, log),
        TlogItem::Hashes(tile) => (tile, false),
        TlogItem::Entries(tile) => (tile, true),
    };
    let permit = api.quotas.tree_reads.take(&caller)?;
    content(api, permit, log, tile, entries).await
}

/// The latest signed note, with the cosignatures of those who hold exactly that much.
fn checkpoint(api: &ApiContext, log: LogId) -> Result<Response, Problem> {
    let view = api.mailbox.view();
    let note = view.log(log).filter(|l| l.size() > 0).map(|held| {
        let whole = held.receipts.iter().filter(|(d, x)| **d != log.division && x.size == held.size());
        whole.fold(held.note.clone(), |note, (_, receipt)| note + &receipt.line)
    });
    let note = note.ok_or_else(not_here)?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, note).into_response())
}

/// What the core says of a log that a tile is read from.
struct TileSource {
    size: u64,
    root: Hash,
    batches: BatchMap,
}

impl TileSource {
    /// `None` when the log does not reach the tile's end.
    fn of(held: &Arc<HeldLog>, tile: Tile) -> Option<Self> {
        let size = held.size();
        let end = tile.number.checked_mul(WIDTH)?.checked_add(u64::from(tile.width))?;
        if end > size >> (8 * u32::from(tile.level)) {
            return None;
        }
        Some(Self { size, root: held.tree().root(), batches: BatchMap::of(held) })
    }
}

async fn content(
    api: ApiContext,
    permit: CallerPermit,
    log: LogId,
    tile: Tile,
    entries: bool,
) -> Result<Response, Problem> {
    let source =
        api.mailbox.view().logs().get(&log).and_then(|held| TileSource::of(held, tile)).ok_or_else(not_here)?;
    let bytes = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        if entries { bundle(&api, log, &source, tile) } else { hashes(&api, log, source, tile) }
    });
    let bytes = bytes.await.map_err(|_| Problem::stopping())?;
    let bytes = bytes.map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &e.to_string()))?;
    // Private: who may read records is decided by token, here.
    let full = u64::from(tile.width) == WIDTH;
    let cache = if full { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, cache)];
    Ok((headers, bytes).into_response())
}

fn hashes(api: &ApiContext, log: LogId, source: TileSource, tile: Tile) -> Result<Vec<u8>, merkle_store::TreeError> {
    let tree = api.trees.at(log, source.batches, source.size, &source.root)?;
    tile.content(&tree).map_err(|e| tree.why(e))
}

/// Records with their lengths before them, as in a batch.
fn bundle(api: &ApiContext, log: LogId, source: &TileSource, tile: Tile) -> Result<Vec<u8>, merkle_store::TreeError> {
    let start = tile.number * WIDTH;
    let mut out = Vec::new();
    merkle_store::records(&api.reader, log, &source.batches, start..start + u64::from(tile.width), |_, record| {
        // A record has at most 65,535 bytes: its length came out of 16 bits.
        out.extend_from_slice(&(record.len() as u16).to_be_bytes());
        out.extend_from_slice(record);
    })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_log_and_a_tile() {
        let tile = |number, width| Tile { level: 0, number, width };
        let of = |path: &str| match parse(path) {
            Some((log, TlogItem::Entries(t))) => Some((log.to_string(), true, t)),
            Some((log, TlogItem::Hashes(t))) => Some((log.to_string(), false, t)),
            _ => None,
        };
        assert!(matches!(parse("350102/e1/checkpoint"), Some((_, TlogItem::Checkpoint))));
        assert_eq!(of("350102/e2/tile/entries/x001/067.p/9"), Some(("350102/e2".into(), true, tile(1_067, 9))));
        assert_eq!(of("350102/e1/tile/0/067"), Some(("350102/e1".into(), false, tile(67, 256))));
        for bad in ["", "350102/e1", "350102/e1/", "x/350102/e1/checkpoint", "350102/e01/checkpoint"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        for bad in ["350102/e1/tile/entries/1", "350102/e1/tile/9/000", "350102/e1/tile/entries/../000"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
