//! `GET /v1/receipts`, and `POST` on the admin socket: since when each level has records on its disk.

use super::{
    ApiContext, answers,
    auth::Caller,
    evidence::{index_ready, unreadable},
    parameters::id_digits,
    problem::{Problem, bad},
};
use crate::receipts::{HeldBy, LostPlace, RecordReceipts, held_by};
use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use tally_core::View;
use tally_intake::{Rights, submission::SubmissionMeta};
use tally_protocol::{
    ids::{Federation, LogId},
    record::RecordId,
};
use tally_store::index::{
    EngineError, InForce, IndexEntry,
    query::{attested, ids_beginning},
};
use utoipa::ToSchema;

/// Most records in one request for receipts.
pub const IDS_MAX: usize = 1_000;
/// Largest body of such a request, in bytes.
pub(super) const IDS_BYTES_MAX: usize = 128 << 10;
/// Most records that are named where several begin alike.
const NAMED_MAX: usize = 10;
/// Digits of a whole id.
const DIGITS: usize = 64;

/// Which records are asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// At most [`IDS_MAX`].
    pub ids: Vec<RecordId>,
}

/// Receipts of these records, for the operator.
pub(super) async fn receipts(
    State(api): State<ApiContext>,
    Json(Ids { ids }): Json<Ids>,
) -> Result<Json<Vec<RecordReceipts>>, Problem> {
    if ids.len() > IDS_MAX {
        return Err(bad(&format!("{} records in one request, {IDS_MAX} are answered", ids.len())));
    }
    index_ready(&api).await?;
    look_up(&api, ids, None).await.map(Json)
}

/// Records of a log that are on no disk any more, or stand in a history that does not count: log, first, one past the last.
fn gone(api: &ApiContext, view: &View) -> Vec<(LogId, u64, u64)> {
    // What nobody has any more is not held, though the index may know it still.
    let own = view.own();
    let mut all: Vec<_> = view.lost().into_iter().map(|(from, to)| (own, from, to)).collect();
    // Nor what stands in a history that the charter has not closed with: no level above has it.
    all.extend(view.dead_branches());
    all.extend(api.lost.ranges().into_iter().filter(|r| r.certain).map(|r| (r.log, r.from, r.to)));
    all
}

/// Where records are, in their order. Of one that is not covered by `rights` it is said that nothing is held: an id alone must not
/// tell whether another has handed in what it stands for.
async fn look_up(api: &ApiContext, ids: Vec<RecordId>, rights: Option<Rights>) -> Result<Vec<RecordReceipts>, Problem> {
    let (engine, charter) = (api.engine.clone(), api.charter.charter());
    let gone = gone(api, &api.mailbox.view());
    let staged = api.submissions.intake().staged.clone();
    let limits = rights.clone();
    let places = tokio::task::spawn_blocking(move || {
        let in_force = InForce::new(&*engine, charter.charter());
        let is_gone = |(log, e): &(LogId, IndexEntry)| {
            gone.iter().any(|(l, from, to)| l == log && (*from..*to).contains(&e.index))
        };
        let theirs = |(_, e): &(LogId, IndexEntry)| {
            let d = &e.dimensions;
            limits.as_ref().is_none_or(|r| r.cover(&d.category, &d.unit, d.division.try_into().ok()))
        };
        let first = |id| {
            let held = attested(&in_force, id)?.into_iter().find(|a| theirs(a) && !is_gone(a));
            Ok::<_, EngineError>((id, held.map(|(log, e)| (log, e.index))))
        };
        ids.into_iter().map(first).collect::<Result<Vec<_>, _>>()
    });
    let places = places.await.map_err(|_| Problem::stopping())?.map_err(|e| unreadable(&e))?;
    let view = api.mailbox.view();
    let origin = |log| view.charter().federation().origin(log);
    let lost = |id: &RecordId| api.lost.find(id).map(|(log, index)| LostPlace { log: origin(log), index });
    let of = |(id, place): (RecordId, Option<(LogId, u64)>)| match place {
        Some((log, index)) => RecordReceipts::of(&view, id, log, index),
        // Whose a staged or a lost record is, is not known of its id.
        None if rights.is_some() => RecordReceipts::missing(id),
        None => match staged.since(&id) {
            Some(since) => RecordReceipts::staged(id, since),
            None => RecordReceipts { lost: lost(&id), ..RecordReceipts::missing(id) },
        },
    };
    Ok(places.into_iter().map(of).collect())
}

/// Of what receipts are asked for: one of the two.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiptsQuery {
    record: Option<String>,
    answer: Option<String>,
}

/// What is answered: by record, or by kept answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ReceiptsSent {
    /// `record=`
    Record(RecordsHeld),
    /// `answer=`
    Answer(AnswerHeld),
}

/// As `tally receipt --record --json` prints it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordsHeld {
    /// The record that was asked for.
    records: Vec<RecordReceipts>,
    /// 1
    read: u64,
    /// Of these, held in a log here.
    held: u64,
    /// Staged: only this node's disk has it.
    staged: u64,
    /// Neither.
    missing: u64,
}

/// Since when each level has everything that a submission brought.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AnswerHeld {
    /// The answer.
    answer: String,
    /// Rows that were taken.
    accepted: u64,
    /// Of these, rows that are staged still: while there are any, nobody above has all.
    staged: u64,
    /// Rows that were held before; receipts of theirs are older, and not these.
    duplicate: u64,
    /// Origin of the log; null while rows are staged.
    log: Option<String>,
    /// First index of the batches that hold them; null if nothing was new.
    from: Option<u64>,
    /// One past their last index.
    to: Option<u64>,
    /// Records between the two that are on no disk any more: `tally receipt FILE` names the rows.
    lost: u64,
    /// When the last of their batches was sealed.
    sealed_at: Option<String>,
    /// The origin, then those above as far as their receipts are known here: since `time` each has all of them.
    held_by: Vec<HeldBy>,
}

/// Since when each level has a record, or all records of a submission, on its disk. A token that is limited sees what is its own:
/// of other records, and of staged ones, it is said that they are not held.
#[utoipa::path(
    get,
    path = "/v1/receipts",
    operation_id = "findReceipts",
    params(
        ("record" = Option<String>, Query, description = "Id of a record, or its first 8 digits or more", max_length = 64, pattern = "^[0-9a-f]{8,64}$"),
        ("answer" = Option<String>, Query, description = "Name of a kept answer; give this or `record`", max_length = 64),
    ),
    responses(
        (status = 200, description = "By record what `tally receipt --json` prints, by answer since when each level has all of it", body = ReceiptsSent),
        (status = 404, description = "No record here begins with these digits (`not_held`), or there is no such answer (`no_answer`); of a whole id it is told that it is `missing`"),
    )
)]
pub(super) async fn find(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<ReceiptsQuery>, QueryRejection>,
) -> Result<Json<ReceiptsSent>, Problem> {
    let Query(query) = query.map_err(|e| bad(&e.to_string()))?;
    match (query.record, query.answer) {
        (Some(digits), None) => of_record(&api, &caller, &digits).await.map(ReceiptsSent::Record).map(Json),
        (None, Some(name)) => {
            let meta = answers::meta(&api, &caller, name).await?;
            Ok(Json(ReceiptsSent::Answer(of_answer(&api, meta))))
        }
        _ => Err(bad("record, answer: give one of the two")),
    }
}

async fn of_record(api: &ApiContext, caller: &Caller, digits: &str) -> Result<RecordsHeld, Problem> {
    let digits = id_digits("record", digits)?;
    index_ready(api).await?;
    let _permit = api.quotas.tree_reads.take(caller)?;
    let whole = digits.len() == DIGITS;
    let ids = if whole {
        vec![digits.parse().map_err(|e| bad(&format!("record: {e}")))?]
    } else {
        let (engine, digits) = (api.engine.clone(), digits.clone());
        let look = tokio::task::spawn_blocking(move || ids_beginning(&*engine, &digits, NAMED_MAX + 1));
        look.await.map_err(|_| Problem::stopping())?.map_err(|e| unreadable(&e))?
    };
    let mut records = look_up(api, ids, caller.rights.clone()).await?;
    if !whole {
        // What is another's does not count, neither as the one nor among several.
        records.retain(|r| r.log.is_some());
        match records.as_slice() {
            [_] => {}
            [] => {
                let detail = format!("no record here begins with {digits}");
                return Err(Problem::new(StatusCode::NOT_FOUND, "not_held", &detail));
            }
            several => {
                let named: Vec<_> = several.iter().take(NAMED_MAX).map(|r| r.id.to_string()).collect();
                let more = if several.len() > NAMED_MAX { ", ..." } else { "" };
                return Err(bad(&format!("record: several begin with {digits}: {}{more}", named.join(", "))));
            }
        }
    }
    let count = |is: fn(&RecordReceipts) -> bool| records.iter().filter(|r| is(r)).count() as u64;
    let (held, staged) = (count(|r| r.log.is_some()), count(|r| r.staged_since.is_some()));
    let read = records.len() as u64;
    Ok(RecordsHeld { read, held, staged, missing: read - held - staged, records })
}

fn of_answer(api: &ApiContext, meta: SubmissionMeta) -> AnswerHeld {
    let view = api.mailbox.view();
    let log = meta.log.as_deref().and_then(|origin| Federation::of_origin(origin).ok()).map(|(_, log)| log);
    let range = log.zip(meta.from.zip(meta.to)).filter(|(_, (from, to))| from < to);
    let (mut lost, mut sealed_at, mut held) = (0, None, Vec::new());
    if let Some((log, (from, to))) = range {
        lost = overlap(&gone(api, &view), log, from, to);
        // Whoever has the last of them has them all.
        (sealed_at, held) = held_by(&view, log, to - 1);
    }
    AnswerHeld {
        answer: meta.id,
        accepted: meta.accepted,
        staged: meta.staged,
        duplicate: meta.duplicate,
        log: meta.log,
        from: meta.from,
        to: meta.to,
        lost,
        sealed_at,
        held_by: held,
    }
}

/// How many of the records from `from` up to `to` of a log are within these ranges, each counted once.
fn overlap(ranges: &[(LogId, u64, u64)], log: LogId, from: u64, to: u64) -> u64 {
    let mut within: Vec<_> =
        ranges.iter().filter(|(l, ..)| *l == log).map(|(_, a, b)| (*a.max(&from), *b.min(&to))).collect();
    within.sort_unstable();
    let (mut sum, mut end) = (0, from);
    for (a, b) in within {
        sum += b.saturating_sub(a.max(end));
        end = end.max(b);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_of_a_range_is_counted_once() {
        let log: LogId = "350102/e1".parse().unwrap();
        let other: LogId = "350102/e2".parse().unwrap();
        let ranges = [(log, 10, 20), (log, 15, 25), (other, 0, 100), (log, 90, 200), (log, 0, 3)];
        assert_eq!(overlap(&ranges, log, 12, 100), 13 + 10);
        assert_eq!(overlap(&ranges, log, 25, 90), 0);
        assert_eq!(overlap(&[], log, 0, 9), 0);
    }
}
