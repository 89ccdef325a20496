//! Gathers a page of questions from the index.

use super::{HolderFindings, QuestionPage, QuestionPlace, QuestionQuery, QuestionState, RecordQuestion};
use std::collections::{BTreeMap, HashMap};
use tally_intake::Rights;
use tally_protocol::{
    canonical::Object,
    findings_exchange::FindingsReport,
    ids::{Division, LogId},
    record::RecordId,
};
use tally_store::index::{
    Effect, Engine, EngineError, InForce, IndexEntry, entry_of, findings_above, other_form,
    query::{Source, read_each},
};
use tally_topology::charter::Charter;

/// Most records that are counted beyond those that are listed.
const COUNTED_MAX: u64 = 100_000;
/// Findings read from the index at once.
const PAGE: usize = 1_000;

/// What questions are gathered from.
#[derive(Debug)]
pub struct QuestionSources<'g> {
    /// The index.
    pub engine: &'g dyn Engine,
    /// The journal and the charter in force.
    pub held: &'g Source<'g>,
    /// This node.
    pub me: Division,
}

/// A question, and the entry of its record.
type FoundQuestion = (LogId, IndexEntry, RecordQuestion);

/// Verdicts on records of one log, by index and id.
type ByRecord = BTreeMap<(u64, RecordId), Vec<FindingsReport>>;

/// Gathers a page.
///
/// # Errors
/// The index engine's.
pub fn gather(sources: &QuestionSources<'_>, query: &QuestionQuery) -> Result<QuestionPage, EngineError> {
    let (mut found, omitted, last) = list(sources, query)?;
    name(sources.held, &mut found);
    let next = last.filter(|_| omitted > 0).map(|place| place.to_string());
    Ok(QuestionPage { questions: found.into_iter().map(|(_, _, q)| q).collect(), omitted, next })
}

/// Questions of the page, how many there are beyond it, and the last place on it.
fn list(
    sources: &QuestionSources<'_>,
    query: &QuestionQuery,
) -> Result<(Vec<FoundQuestion>, u64, Option<QuestionPlace>), EngineError> {
    let (mut listed, mut omitted, mut last) = (Vec::new(), 0, None);
    let in_force = InForce::new(sources.engine, sources.held.charter);
    let after = query.after;
    for log in logs_below(sources.held.charter, query.top).into_iter().filter(|l| after.is_none_or(|a| *l >= a.log)) {
        let mut from = after.filter(|a| a.log == log).map_or(Some(0), |a| a.index.checked_add(1));
        while let Some(start) = from {
            let (by_record, next) = window(sources, log, start)?;
            from = next;
            for ((index, id), by) in by_record {
                let place = QuestionPlace { log, index };
                let Some((e, question)) = question(sources, &in_force, query, (place, id, by))? else { continue };
                if listed.len() < query.limit {
                    listed.push((log, e, question));
                    last = Some(place);
                } else if after.is_none() && omitted < COUNTED_MAX {
                    omitted += 1;
                } else {
                    // Whoever goes on behind the first page has been told how many there are.
                    return Ok((listed, omitted.max(1), last));
                }
            }
        }
    }
    Ok((listed, omitted, last))
}

fn logs_below(charter: &Charter, top: Division) -> Vec<LogId> {
    let below = charter.nodes().filter(|n| charter.is_within(n.division, top));
    let logs = below.flat_map(|n| (1..=n.epochs.len() as u32).map(|epoch| LogId::records(n.division, epoch)));
    let mut logs: Vec<LogId> = logs.collect();
    logs.sort();
    logs
}

/// What all holders said of some of a log's records, from an index on, and where it goes on.
fn window(sources: &QuestionSources<'_>, log: LogId, from: u64) -> Result<(ByRecord, Option<u64>), EngineError> {
    let mut by_record = ByRecord::new();
    let mut known_to = u64::MAX;
    for holder in sources.held.charter.path(sources.me) {
        let page = if holder == sources.me {
            findings_above::own(sources.engine, holder, log, from, PAGE)?
        } else {
            findings_above::told(sources.engine, holder, log, from, PAGE)?
        };
        // A full page ends somewhere, and what this holder found beyond is not read yet: the window ends at the least end.
        if page.len() == PAGE {
            known_to = page.last().map_or(known_to, |v| known_to.min(v.index));
        }
        page.into_iter().for_each(|v| by_record.entry((v.index, v.id)).or_default().push(v));
    }
    by_record.retain(|(index, _), _| *index <= known_to);
    Ok((by_record, known_to.checked_add(1)))
}

/// A record's question, if it is held, may be seen, and is asked for.
fn question(
    sources: &QuestionSources<'_>,
    in_force: &InForce<'_>,
    query: &QuestionQuery,
    (place, id, by): (QuestionPlace, RecordId, Vec<FindingsReport>),
) -> Result<Option<(IndexEntry, RecordQuestion)>, EngineError> {
    let Some(e) = entry_of(sources.engine, id, place.log)?.filter(|e| may_see(&query.rights, e)) else {
        return Ok(None);
    };
    let answered = is_answered(in_force, place, id, &e)?;
    if answered && !query.answered_too {
        return Ok(None);
    }
    let question = RecordQuestion {
        id,
        log: sources.held.charter.federation().origin(place.log),
        index: place.index,
        category: e.dimensions.category.clone(),
        unit: e.dimensions.unit.clone(),
        business_key: None,
        subject_name: None,
        source_row_id: None,
        sealed_at: tally_clock::time(e.sealed_at),
        state: if answered { QuestionState::Answered } else { QuestionState::Open },
        judged_by: by.into_iter().map(|v| shown(&query.rights, v)).collect(),
    };
    Ok(Some((e, question)))
}

/// What a holder found, as it may be told: a number in another form (V028) may be another division's of the same unit, and who is
/// limited to some divisions is not told which record that is.
fn shown(rights: &Rights, report: FindingsReport) -> HolderFindings {
    let mut findings = report.findings;
    if !rights.divisions.is_empty() {
        for f in findings.iter_mut().filter(|f| f.code == "V028") {
            (f.message, f.message_zh) = other_form(None);
        }
    }
    HolderFindings { division: report.holder, findings }
}

fn may_see(rights: &Rights, e: &IndexEntry) -> bool {
    rights.cover(&e.dimensions.category, &e.dimensions.unit, e.dimensions.division.try_into().ok())
}

/// Whether another version took the record's place, or followed it in the logs of its own node.
fn is_answered(
    in_force: &InForce<'_>,
    place: QuestionPlace,
    id: RecordId,
    e: &IndexEntry,
) -> Result<bool, EngineError> {
    let versions = in_force.versions(&e.content.key)?;
    let here = versions.iter().find(|v| (v.log, v.index) == (place.log, place.index));
    let later = |log: LogId, index: u64| (log.epoch, index) > (place.log.epoch, place.index);
    let followed =
        versions.iter().any(|v| v.log.division == place.log.division && v.version.id != id && later(v.log, v.index));
    Ok(here.is_some_and(|v| v.effect == Effect::Replaced) || followed)
}

/// Puts in what the records say of themselves.
fn name(source: &Source<'_>, questions: &mut [FoundQuestion]) {
    let places: Vec<_> = questions.iter().map(|(log, e, q)| (q.id, vec![(*log, e.clone())])).collect();
    let mut names = HashMap::new();
    read_each(source, &places, |_, _, bytes| {
        if let Ok(object) = Object::parse(bytes) {
            let text = |f: &str| object.text(f).map(str::to_owned);
            names.insert(RecordId::of(bytes), [text("business_key"), text("subject_name"), text("source_row_id")]);
        }
    });
    for (_, _, q) in questions {
        if let Some(found) = names.get(&q.id) {
            [q.business_key, q.subject_name, q.source_row_id] = found.clone();
        }
    }
}
