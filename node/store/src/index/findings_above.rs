//! What nodes above found wrong with records, as they told it; and this node's own findings in the same form. They are kept by
//! holder and log, each with a mark of how far that holder was heard.

use super::{Engine, EngineError, Write, entry, findings, positions};
use std::collections::BTreeSet;
use tally_protocol::{
    codec,
    finding::Finding,
    findings_exchange::{FINDINGS_MAX, FindingsReport},
    ids::{Division, LogId},
    record::RecordId,
};

/// Longest encoded report, in bytes.
const REPORT_BYTES_MAX: usize = 128 << 10;
/// Most bytes that are kept of one report: several findings in two languages.
const REPORT_KEPT_BYTES: usize = 2 << 10;
/// Reports read at once when only the last is wanted.
const PAGE: usize = 1_000;

/// What this node found in a log, from an index on.
///
/// # Errors
/// The engine's.
pub fn own(
    engine: &dyn Engine,
    me: Division,
    log: LogId,
    from: u64,
    limit: usize,
) -> Result<Vec<FindingsReport>, EngineError> {
    let found = findings::of_log(engine, log, from, limit)?;
    Ok(found
        .into_iter()
        .map(|(index, f)| FindingsReport {
            holder: me,
            log,
            index,
            id: f.id,
            findings: f.findings.into_iter().take(FINDINGS_MAX).map(bounded).collect(),
        })
        .collect())
}

/// The same within the bounds of the wire: long texts are cut.
fn bounded(f: Finding) -> Finding {
    let same = Finding::of(f.severity, &f.code, &f.field, f.message, f.message_zh);
    match f.name {
        Some(name) => same.named(&name),
        None => same,
    }
}

/// What a node above found in a log, from an index on, as far as it was told.
///
/// # Errors
/// The engine's.
pub fn told(
    engine: &dyn Engine,
    holder: Division,
    log: LogId,
    from: u64,
    limit: usize,
) -> Result<Vec<FindingsReport>, EngineError> {
    let prefix = entry::above_prefix(holder, log);
    let (mut told, mut from) = (Vec::new(), entry::above_key(holder, log, from));
    while told.len() < limit {
        let pairs = engine.scan(&prefix, &from, limit)?;
        let read = |v: &[u8]| codec::decode::<FindingsReport, REPORT_BYTES_MAX>(v).ok();
        // What is no longer found wrong leaves an empty report behind.
        told.extend(pairs.iter().filter_map(|(_, v)| read(v)).filter(|r| !r.findings.is_empty()));
        match pairs.last() {
            Some((last, _)) if pairs.len() == limit => from = [last.as_slice(), &[0]].concat(),
            _ => break,
        }
    }
    told.truncate(limit);
    Ok(told)
}

/// Everything that a holder found in a log was told once more: what was not told again is no longer found wrong. Answers how
/// much that was.
///
/// # Errors
/// The engine's.
pub fn end_others(
    engine: &dyn Engine,
    holder: Division,
    log: LogId,
    told_again: &BTreeSet<u64>,
) -> Result<usize, EngineError> {
    let (mut from, mut ended) = (0, 0);
    loop {
        let page = told(engine, holder, log, from, PAGE)?;
        let Some(last) = page.last() else { return Ok(ended) };
        from = last.index.saturating_add(1);
        let over = page.into_iter().filter(|r| !told_again.contains(&r.index));
        let pairs: Write = over
            .map(|r| {
                (entry::above_key(holder, log, r.index), codec::encode(&FindingsReport { findings: Vec::new(), ..r }))
            })
            .collect();
        ended += pairs.len();
        if !pairs.is_empty() {
            engine.write(pairs)?;
        }
    }
}

/// One past the last record whose findings were told.
///
/// # Errors
/// The engine's.
pub fn reached(engine: &dyn Engine, holder: Division, log: LogId) -> Result<u64, EngineError> {
    let key = entry::reached_key(holder, log);
    let mut from = engine.get(&key)?.and_then(|b| b.try_into().ok().map(u64::from_be_bytes)).unwrap_or(0);
    // A stop may have come between reports and their mark.
    loop {
        let page = told(engine, holder, log, from, PAGE)?;
        match page.last() {
            Some(last) => from = last.index + 1,
            None => return Ok(from),
        }
    }
}

/// Whether a log holds this record at this place.
///
/// # Errors
/// The engine's.
pub fn is_held(engine: &dyn Engine, id: RecordId, log: LogId, index: u64) -> Result<bool, EngineError> {
    Ok(positions::at(engine, (log, index))?.is_some_and(|(held, _)| held == id))
}

/// Everybody of whom something was told, also those that are not above any more.
///
/// # Errors
/// The engine's.
pub fn holders(engine: &dyn Engine) -> Result<Vec<Division>, EngineError> {
    let (mut holders, mut from) = (Vec::new(), entry::ABOVE.to_vec());
    while let Some((key, _)) = engine.scan(&entry::ABOVE[..], &from, 1)?.pop() {
        let code = key.get(1..5).and_then(|b| b.try_into().ok()).map_or(u32::MAX, u32::from_be_bytes);
        holders.extend(Division::try_from(code).ok());
        let Some(next) = code.checked_add(1) else { break };
        from = [&entry::ABOVE[..], &next.to_be_bytes()].concat();
    }
    Ok(holders)
}

/// A report as it is kept: what fits into [`REPORT_KEPT_BYTES`], the heaviest first. A parent may tell of each record that is held.
fn within_bound(report: &FindingsReport) -> FindingsReport {
    let mut kept = report.clone();
    kept.findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    while kept.findings.len() > 1 && codec::encode(&kept).len() > REPORT_KEPT_BYTES {
        kept.findings.pop();
    }
    if codec::encode(&kept).len() > REPORT_KEPT_BYTES {
        for f in &mut kept.findings {
            let texts = [&mut f.field, &mut f.code, &mut f.message, &mut f.message_zh];
            for text in texts.into_iter().chain(f.name.as_mut()) {
                text.truncate(text.floor_char_boundary(REPORT_KEPT_BYTES / 8));
            }
        }
    }
    kept
}

/// Keeps what was told, of each report at most 2 KiB.
///
/// # Errors
/// The engine's.
pub fn keep(engine: &dyn Engine, reports: &[FindingsReport]) -> Result<(), EngineError> {
    let mut pairs = Vec::new();
    for v in reports {
        pairs.push((entry::above_key(v.holder, v.log, v.index), codec::encode(&within_bound(v))));
        pairs.push((entry::reached_key(v.holder, v.log), (v.index + 1).to_be_bytes().to_vec()));
    }
    // Of several marks of one log the last counts.
    pairs.sort();
    pairs.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 = std::mem::take(&mut later.1);
        }
        same
    });
    engine.write(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::open;

    #[test]
    fn what_was_told_is_kept_by_holder_and_log() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(&dir.path().join("index"), |_| true);
        let engine = &*opened.engine;
        let (a, b): (LogId, LogId) = ("350102/e1".parse().unwrap(), "350103/e1".parse().unwrap());
        let holder = |code: u32| Division::try_from(code).unwrap();
        let report = |h: u32, log: LogId, index: u64| FindingsReport {
            holder: holder(h),
            log,
            index,
            id: RecordId::of(&index.to_be_bytes()),
            findings: vec![Finding::reject("V017", "f", "", "")],
        };
        keep(engine, &[report(350_100, a, 3), report(350_100, a, 9), report(350_000, a, 4)]).unwrap();
        assert_eq!(reached(engine, holder(350_100), a).unwrap(), 10);
        assert_eq!(reached(engine, holder(350_000), a).unwrap(), 5);
        assert_eq!(reached(engine, holder(350_100), b).unwrap(), 0);
        let from_four = told(engine, holder(350_100), a, 4, 10).unwrap();
        assert_eq!(from_four.iter().map(|v| v.index).collect::<Vec<_>>(), [9]);
        assert!(!is_held(engine, RecordId::of(b"x"), a, 3).unwrap());
        assert_eq!(holders(engine).unwrap(), [holder(350_000), holder(350_100)]);
        // All of it was told once more, without the first.
        assert_eq!(end_others(engine, holder(350_100), a, &BTreeSet::from([9])).unwrap(), 1);
        let left = told(engine, holder(350_100), a, 0, 1).unwrap();
        assert_eq!(left.iter().map(|v| v.index).collect::<Vec<_>>(), [9]);
        assert_eq!(told(engine, holder(350_000), a, 0, 9).unwrap().len(), 1);
        // As long as a peer may make it.
        let long = || Finding::reject("V017", "f", "名".repeat(341), "名".repeat(341));
        let mut much = report(350_000, b, 1);
        much.findings = (0..FINDINGS_MAX).map(|_| long()).collect();
        keep(engine, &[much]).unwrap();
        let kept = &told(engine, holder(350_000), b, 0, 9).unwrap()[0];
        assert!(!kept.findings.is_empty() && codec::encode(kept).len() <= REPORT_KEPT_BYTES, "{kept:?}");
    }
}
