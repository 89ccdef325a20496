//! `GET /v1/questions`: what was found wrong with records that are held, by this node and by those above.

use super::{
    App,
    auth::Caller,
    export::{Layouts, layouts},
    problem::Problem,
    records::bad,
};
use axum::{
    Extension, Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tally_intake::Rights;
use tally_protocol::{
    canonical::Object,
    finding::Finding,
    ids::{Division, LogId},
    record::RecordId,
    verdicts::Verdict,
};
use tally_store::entries::EntryReader;
use tally_store::index::{
    Engine, EngineError, Entry, entry_of,
    query::{Source, read_each},
    verdicts, versions_by_hash,
};
use tally_topology::charter::Charter;

/// Records that an answer lists, if no other number is asked for, and at most.
const LISTED: usize = 1_000;
/// See [`LISTED`].
const LISTED_MAX: usize = 5_000;
/// Most records that are counted beyond those that are listed.
const COUNTED_MAX: u64 = 100_000;
/// Findings read from the index at once.
const PAGE: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    division: Option<String>,
    /// Also those that a later version has answered.
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
    after: Option<String>,
}

/// A place among the questions: log and index of the last that was listed.
type After = (LogId, u64);

fn after(text: &str) -> Option<After> {
    let (log, index) = text.rsplit_once(':')?;
    Some((log.parse().ok()?, index.parse().ok()?))
}

/// A record that is asked about.
#[derive(Debug, Serialize)]
struct Question {
    id: RecordId,
    log: String,
    index: u64,
    category: String,
    unit: String,
    /// By what people find it; null where the record cannot be read from this disk.
    business_key: Option<String>,
    subject_name: Option<String>,
    source_row_id: Option<String>,
    /// When it was sealed.
    sealed_at: String,
    /// `open`, or `answered` when a later version of its business key is held.
    state: &'static str,
    judged_by: Vec<Judgement>,
}

#[derive(Debug, Serialize)]
struct Judgement {
    division: Division,
    findings: Vec<Finding>,
}

/// Records that are held and asked about, by this node or by those above.
#[utoipa::path(
    get,
    path = "/v1/questions",
    params(
        ("division" = Option<String>, Query, description = "Only of this division and those below it"),
        ("all" = Option<bool>, Query, description = "Also those that a later version has answered"),
        ("limit" = Option<usize>, Query, description = "Records listed, 1,000 by default, at most 5,000"),
        ("after" = Option<String>, Query, description = "Go on behind what `next` of the last answer says"),
    ),
    responses((status = 200, description = "`questions`, how many more there are (`omitted`; counted on the first page, to 100,000), and if there are any, `next`"))
)]
pub(super) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let top = match &wanted.division {
        None => app.own.division,
        Some(d) => d.parse().map_err(|e| bad(&format!("division: {e}")))?,
    };
    let limit = wanted.limit.unwrap_or(LISTED).clamp(1, LISTED_MAX);
    let from = wanted.after.as_deref().map(|t| after(t).ok_or_else(|| bad("after: give what `next` said")));
    let from = from.transpose()?;
    let rights = caller.rights.unwrap_or_default();
    let Ok(_room) = app.tree_reads.clone().try_acquire_owned() else {
        let detail = "others read the index already; ask again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry(2));
    };
    let layouts = app.mailbox.ask(|r, _| layouts(r)).await.map_err(|_| Problem::stopping())?;
    let list = tokio::task::spawn_blocking(move || {
        let signed = app.trust.charter();
        let (charter, me) = (signed.charter(), app.own.division);
        let gather = Gather { engine: &*app.engine, charter, me, rights, all: wanted.all };
        let mut listed = gather.list(top, from, limit)?;
        gather.named(&mut listed.questions, &app.reader, &layouts);
        Ok::<_, EngineError>(listed)
    });
    let Listed { questions, omitted, next } = list
        .await
        .map_err(|_| Problem::stopping())?
        .map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index", &e.to_string()).retry(10))?;
    let questions: Vec<Question> = questions.into_iter().map(|(_, _, q)| q).collect();
    Ok(Json(serde_json::json!({ "questions": questions, "omitted": omitted, "next": next })))
}

#[derive(Debug, Default)]
struct Listed {
    questions: Vec<(LogId, Entry, Question)>,
    /// How many more there are.
    omitted: u64,
    /// Where they go on.
    next: Option<String>,
}

impl Listed {
    fn going_on(mut self, last: Option<After>) -> Self {
        self.next = last.filter(|_| self.omitted > 0).map(|(log, index)| format!("{log}:{index}"));
        self
    }
}

struct Gather<'g> {
    engine: &'g dyn Engine,
    charter: &'g Charter,
    me: Division,
    rights: Rights,
    all: bool,
}

impl Gather<'_> {
    fn list(&self, top: Division, after: Option<After>, limit: usize) -> Result<Listed, EngineError> {
        let below = self.charter.nodes().filter(|n| self.charter.is_within(n.division, top));
        let logs = below.flat_map(|n| (1..=n.epochs.len() as u32).map(|epoch| LogId::records(n.division, epoch)));
        let mut logs: Vec<LogId> = logs.collect();
        logs.sort();
        let (mut listed, mut last) = (Listed::default(), None);
        for log in logs.into_iter().filter(|l| after.is_none_or(|(a, _)| *l >= a)) {
            let mut from = after.filter(|(a, _)| *a == log).map_or(Some(0), |(_, index)| index.checked_add(1));
            while let Some(start) = from {
                let (found, next) = self.window(log, start)?;
                from = next;
                for ((index, id), by) in found {
                    let Some((e, question)) = self.question(log, index, id, by)? else { continue };
                    if listed.questions.len() < limit {
                        listed.questions.push((log, e, question));
                        last = Some((log, index));
                    } else if after.is_none() && listed.omitted < COUNTED_MAX {
                        listed.omitted += 1;
                    } else {
                        // Who goes on behind the first page has been told how many there are.
                        listed.omitted = listed.omitted.max(1);
                        return Ok(listed.going_on(last));
                    }
                }
            }
        }
        Ok(listed.going_on(last))
    }

    /// What all holders said of some of a log's records, from an index on, and where it goes on.
    #[allow(clippy::type_complexity, reason = "read in one place")]
    fn window(
        &self,
        log: LogId,
        from: u64,
    ) -> Result<(BTreeMap<(u64, RecordId), Vec<Verdict>>, Option<u64>), EngineError> {
        let mut by_record: BTreeMap<(u64, RecordId), Vec<Verdict>> = BTreeMap::new();
        let mut known_to = u64::MAX;
        for holder in self.charter.path(self.me) {
            let page = if holder == self.me {
                verdicts::own(self.engine, holder, log, from, PAGE)?
            } else {
                verdicts::told(self.engine, holder, log, from, PAGE)?
            };
            if page.len() == PAGE {
                known_to = page.last().map_or(known_to, |v| known_to.min(v.index));
            }
            page.into_iter().for_each(|v| by_record.entry((v.index, v.id)).or_default().push(v));
        }
        by_record.retain(|(index, _), _| *index <= known_to);
        Ok((by_record, known_to.checked_add(1)))
    }

    /// Puts in what the records say of themselves.
    fn named(&self, questions: &mut [(LogId, Entry, Question)], reader: &EntryReader, layouts: &Layouts) {
        let source = Source { reader, layouts, charter: self.charter };
        let places: Vec<_> = questions.iter().map(|(log, e, q)| (q.id, vec![(*log, e.clone())])).collect();
        let mut names = HashMap::new();
        read_each(&source, &places, |_, bytes| {
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

    fn question(
        &self,
        log: LogId,
        index: u64,
        id: RecordId,
        by: Vec<Verdict>,
    ) -> Result<Option<(Entry, Question)>, EngineError> {
        let Some(e) = entry_of(self.engine, id, log)? else { return Ok(None) };
        let r = &self.rights;
        let division = e.dimensions.division.try_into().ok();
        let may = r.unit.as_ref().is_none_or(|u| *u == e.dimensions.unit)
            && (r.categories.is_empty() || r.categories.contains(&e.dimensions.category))
            && (r.divisions.is_empty() || division.is_some_and(|d| r.divisions.contains(&d)));
        if !may {
            return Ok(None);
        }
        let later = versions_by_hash(self.engine, &e.content.key)?;
        let answered =
            later.iter().any(|(at, other)| *at >= e.sealed_at && *other != id && is_after(&later, id, *other));
        if answered && !self.all {
            return Ok(None);
        }
        let judgement = |v: Verdict| Judgement { division: v.holder, findings: v.findings };
        let question = Question {
            id,
            log: self.charter.federation().origin(log),
            index,
            category: e.dimensions.category.clone(),
            unit: e.dimensions.unit.clone(),
            business_key: None,
            subject_name: None,
            source_row_id: None,
            sealed_at: tally_clock::time(e.sealed_at),
            state: if answered { "answered" } else { "open" },
            judged_by: by.into_iter().map(judgement).collect(),
        };
        Ok(Some((e, question)))
    }
}

/// Whether `other` came after `id` among the versions of their key.
fn is_after(versions: &[(u64, RecordId)], id: RecordId, other: RecordId) -> bool {
    let place = |r: RecordId| versions.iter().position(|(_, v)| *v == r);
    place(other) > place(id)
}
