//! The follower: it counts once, goes on where it stopped, takes repaired batches late, and comes back after it failed; and
//! what it makes of bytes and charter is the same in whatever order they came.

use super::*;
use crate::{
    entries::{EntryJournal, owner},
    index::{Engine, InForce, Write, findings, open, query::each_record},
};
use std::{collections::BTreeMap, ops::ControlFlow};
use tally_core::{Append, Disk as _};
use tally_protocol::{batch::seal, canonical::Object, ids::Federation, merkle::Tree, record::Record};
use tally_topology::{admit::admit, sample, signed::SignedCharter};

mod growing;

const VICTIM: &str = "350102";
const HOSTILE: &str = "350103";
const CITY: &str = "350100";
/// A second before the year 10000.
const YEAR_9999: u64 = 253_402_300_799;

/// A journal into which nodes' batches come.
struct Journal {
    dir: tempfile::TempDir,
    journal: EntryJournal,
    trees: BTreeMap<LogId, Tree>,
}

impl Journal {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        let own = owner(&f, CITY.parse().unwrap());
        let (journal, _) = EntryJournal::open(dir.path(), &own, 64 << 20, |_, _, _| {}).unwrap();
        Self { dir, journal, trees: BTreeMap::new() }
    }

    fn take(&mut self, division: &str, lines: &[String], sealed_at: u64) -> Vec<RecordId> {
        let keys = sample::keys(division);
        let tree = self.trees.entry(keys.node).or_default();
        let record = |line: &String| Record::new(&Object::parse(line.as_bytes()).unwrap()).unwrap();
        let records: Vec<_> = lines.iter().map(record).collect();
        let batch = admit(&sample::charter(""), keys.node, tree, seal(&keys, tree, &records, sealed_at)).unwrap();
        *tree = batch.tree().clone();
        self.journal.append(&[Append::admitted(batch)]).unwrap();
        self.journal.flush().unwrap();
        records.iter().map(Record::id).collect()
    }

    fn sources(&self, signed: SignedCharter, engine: &Arc<dyn Engine>, own: &str) -> FollowSources {
        let charter = CharterHandle::new(Arc::new(signed));
        let own: LogId = own.parse().unwrap();
        FollowSources {
            known: Arc::new(DedupIndex::new(engine.clone(), charter.clone(), own, false)),
            reader: EntryReader::new(self.dir.path().to_owned()),
            charter,
            durable: watch::channel(self.journal.durable()).1,
            progress: watch::channel(IndexProgress::at(Place(0))).0,
            own,
        }
    }

    /// The index of all that is there, by a charter with these rules.
    fn indexed(&self, rules: &str) -> Indexed {
        let dir = tempfile::tempdir().unwrap();
        let mut indexed = Indexed { opened: open(&dir.path().join("index"), |_| true), _dir: dir };
        indexed.go_on(self, rules);
        indexed
    }
}

struct Indexed {
    opened: OpenedIndex,
    _dir: tempfile::TempDir,
}

impl Indexed {
    fn go_on(&mut self, journal: &Journal, rules: &str) {
        let sources = journal.sources(sample::signed(rules), &self.opened.engine, "350100/e1");
        sources.known.fill().unwrap();
        let mut f = Follower::new(&sources, &self.opened);
        let signed = sources.charter.charter();
        f.judge_by(signed.charter());
        f.catch_up(signed.charter(), journal.journal.durable(), || false).unwrap();
        while f.state.judged.again.is_some() {
            f.judge_again(signed.charter(), || true).unwrap();
        }
        f.write_state().unwrap();
        self.opened.state = f.state;
    }

    /// Ids in force, whether each key is looked up or one walk tells which to look up.
    fn current(&self, rules: &str) -> Vec<RecordId> {
        let charter = sample::charter(rules);
        let engine = &*self.opened.engine;
        let all = InForce::of_all(engine, &charter, true, crate::index::entry::reached(engine).unwrap()).unwrap();
        let [looked_up, walked] = [InForce::new(engine, &charter), all].map(|in_force| {
            let mut current = Vec::new();
            each_record(&in_force, |id, attested| {
                if in_force.is_current(id, &attested)? {
                    current.push(id);
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            current
        });
        assert_eq!(looked_up, walked);
        walked
    }

    /// What was found wrong, by record and log.
    fn findings(&self) -> Vec<(LogId, u64, Vec<String>)> {
        let logs = [CITY, VICTIM, HOSTILE].map(|d| LogId::records(d.parse().unwrap(), 1));
        let codes = |f: findings::RecordFindings| f.findings.iter().map(|f| f.code.clone()).collect();
        let of = |log| findings::of_log(&*self.opened.engine, log, 0, 10_000).unwrap().into_iter();
        logs.into_iter().flat_map(|log| of(log).map(move |(i, f)| (log, i, codes(f)))).collect()
    }
}

/// A record of the `n`-th business key of the victim's unit; `more` are members that take the place of others.
fn line(n: u64, operation: &str, result: &str, more: &[(&str, &str)]) -> String {
    let (unit, name, subject) = ("113501020036012589", "福州市鼓楼区市场监督管理局", "91350102MA2TE5T1X0");
    let text = format!(
        r#"{{"category":"spot_check","catalog_version":"2026.1","producer_name":"{name}","producer_uscc":"{unit}","producer_division":"{VICTIM}","submitter_name":"{name}","submitter_uscc":"{unit}","submitter_division":"{VICTIM}","produced_on":"2026-06-03","operation":"{operation}","business_key":"{unit}|抽查{n}号|{subject}","subject_type":"enterprise","subject_name":"福州榕盛餐饮管理有限公司","subject_uscc":"{subject}","authority_name":"{name}","authority_uscc":"{unit}","task_no":"抽查{n}号","check_type":"1","checked_on":"2026-06-03","check_result":"{result}"}}"#
    );
    let mut object = Object::parse(text.as_bytes()).unwrap();
    for (name, value) in more {
        object.set(name, tally_protocol::canonical::Value::text(*value));
    }
    let mut bytes = Vec::new();
    object.write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// Everything that a county may try with another's record.
fn attacks(victim: RecordId) -> Vec<String> {
    let id = victim.to_string();
    let mut all = Vec::new();
    for operation in ["withdraw", "amend"] {
        for submitter in [VICTIM, HOSTILE] {
            for producer in [VICTIM, HOSTILE] {
                for amends in ["", &id] {
                    let mut more = vec![("producer_division", producer), ("submitter_division", submitter)];
                    more.extend((!amends.is_empty()).then_some(("amends", amends)));
                    all.push(line(1, operation, "9", &more));
                }
            }
        }
    }
    all.push(line(1, "create", "8", &[]));
    all.push(line(1, "create", "8", &[("submitter_division", HOSTILE), ("amends", &id)]));
    all
}

#[test]
fn a_county_changes_no_record_of_another_whatever_it_signs_and_when() {
    let mut journal = Journal::new();
    let victim = journal.take(VICTIM, &[line(1, "create", "1", &[]), line(2, "create", "1", &[])], 1_800_000_000);
    let before = journal.indexed("").current("");
    assert_eq!(before.len(), 2);
    for attack in attacks(victim[0]) {
        journal.take(HOSTILE, std::slice::from_ref(&attack), YEAR_9999);
        assert_eq!(journal.indexed("").current(""), before, "{attack}");
    }
    // And the victim's own correction, which comes later and says an earlier time, counts.
    let amended = journal.take(VICTIM, &[line(1, "amend", "5", &[])], 1_800_000_001);
    let mut expected = vec![victim[1], amended[0]];
    expected.sort();
    let indexed = journal.indexed("");
    assert_eq!(indexed.current(""), expected);
    let told = indexed.findings();
    assert!(told.iter().filter(|(log, ..)| log.to_string().starts_with(HOSTILE)).count() > 10, "{told:?}");
}

/// Batches of three logs in every order that keeps each log's own.
fn orders() -> Vec<Vec<(&'static str, usize)>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..6 {
        let mut longer = Vec::new();
        for order in orders {
            for division in [CITY, VICTIM, HOSTILE] {
                let n = order.iter().filter(|(d, _)| *d == division).count();
                if n < 2 {
                    let mut next: Vec<(&'static str, usize)> = order.clone();
                    next.push((division, n));
                    longer.push(next);
                }
            }
        }
        orders = longer;
    }
    orders
}

#[test]
fn no_order_of_arrival_changes_what_is_in_force_or_found() {
    let first = RecordId::of(line(1, "create", "1", &[]).as_bytes()).to_string();
    let batch = |division: &str, n: usize| match (division, n) {
        (VICTIM, 0) => vec![line(1, "create", "1", &[]), line(2, "create", "1", &[]), line(3, "amend", "2", &[])],
        (VICTIM, _) => vec![line(2, "amend", "6", &[]), line(4, "create", "1", &[]), line(4, "create", "2", &[])],
        (CITY, 0) => vec![line(1, "amend", "7", &[("amends", &first)]), line(2, "create", "3", &[])],
        (CITY, _) => vec![line(4, "create", "1", &[]), line(3, "create", "2", &[])],
        (_, 0) => vec![line(1, "withdraw", "1", &[]), line(5, "create", "1", &[("submitter_division", HOSTILE)])],
        (..) => vec![line(2, "withdraw", "1", &[("amends", &first)]), line(5, "amend", "2", &[])],
    };
    let mut answers = Vec::new();
    for (n, order) in orders().into_iter().enumerate().filter(|(n, _)| n % 11 == 0) {
        let mut journal = Journal::new();
        for (division, part) in &order {
            // Clocks that say anything.
            journal.take(division, &batch(division, *part), (n as u64 * 7_919 + *part as u64) % 4_000_000_000);
        }
        let indexed = journal.indexed("");
        let findings: Vec<_> = indexed.findings();
        answers.push((order, indexed.current(""), findings));
    }
    assert!(answers.len() > 5);
    let (_, current, found) = &answers[0];
    assert!(current.len() >= 4 && found.len() >= 6, "{current:?} {found:?}");
    for (order, now, told) in &answers {
        assert_eq!(now, current, "{order:?}");
        // A lateness goes by the day of sealing, which differs here.
        let without = |f: &[(LogId, u64, Vec<String>)]| -> Vec<(LogId, u64, Vec<String>)> {
            let keep =
                |c: &Vec<String>| c.iter().filter(|c| *c != "V020" && *c != "V003" && *c != "V004").cloned().collect();
            f.iter()
                .map(|(l, i, c)| (*l, *i, keep(c)))
                .filter(|(_, _, c): &(_, _, Vec<String>)| !c.is_empty())
                .collect()
        };
        assert_eq!(without(told), without(found), "{order:?}");
    }
}

#[test]
fn an_index_judged_again_is_as_one_built_anew() {
    let registration =
        |n: u64, name: &str| line(n, "create", "1", &[("category", "registration"), ("subject_name", name)]);
    let mut journal = Journal::new();
    journal.take(
        VICTIM,
        &[line(1, "create", "1", &[]), line(2, "create", "1", &[]), registration(3, "甲公司")],
        1_800_000_000,
    );
    journal.take(CITY, &[line(2, "create", "5", &[]), line(6, "create", "5", &[])], 1_800_000_000);
    let strict = "[registry]\nstrict_paths = true\n";
    let provincial = "[[route]]\nid = \"a\"\ncase = \"provincial\"\ncategory = \"spot_check\"\n";
    let mut indexed = journal.indexed("");
    for rules in [strict, provincial, ""] {
        indexed.go_on(&journal, rules);
        let anew = journal.indexed(rules);
        assert_eq!(indexed.findings(), anew.findings(), "{rules}");
        assert_eq!(indexed.current(rules), anew.current(rules), "{rules}");
        assert_eq!(indexed.opened.state, anew.opened.state, "{rules}");
        // Names of subjects that are no longer right stay behind, and are not told.
        let told = |i: &Indexed| {
            let sources = journal.sources(sample::signed(rules), &i.opened.engine, "350100/e1");
            sources.known.set_judged(Some(sample::charter(rules).rules_mark()));
            sources.known.set_whole(true);
            sources.known.subject("91350102MA2TE5T1X0").unwrap()
        };
        assert_eq!(told(&indexed), told(&anew), "{rules}");
    }
    assert_eq!(indexed.current("").len(), 4);
    assert_eq!(indexed.current(strict).len(), 3, "the city may not take what is the county's");
    assert_eq!(indexed.current(provincial).len(), 1, "all that was spot-checked belongs to the province");
}

#[test]
fn what_is_judged_again_goes_on_after_a_stop() {
    let mut journal = Journal::new();
    for n in 0..5 {
        journal.take(CITY, &[line(n, "create", "1", &[])], 1_800_000_000);
    }
    let strict = "[registry]\nstrict_paths = true\n";
    let mut indexed = journal.indexed("");
    let sources = journal.sources(sample::signed(strict), &indexed.opened.engine, "350100/e1");
    sources.known.fill().unwrap();
    let signed = sources.charter.charter();
    let steps = std::cell::Cell::new(0);
    {
        let mut f = Follower::new(&sources, &indexed.opened);
        f.judge_by(signed.charter());
        f.judge_again(signed.charter(), || steps.replace(steps.get() + 1) < 2).unwrap();
        f.tell();
        let told = sources.progress.borrow().judging.unwrap();
        assert!(told.cursor > entries::origin() && told.cursor < told.until, "{told:?}");
    }
    let kept = State::decode(&indexed.opened.engine.get(STATE_KEY).unwrap().unwrap()).unwrap();
    assert!(kept.judged.again.is_some());
    indexed.opened.state = kept;
    indexed.go_on(&journal, strict);
    assert_eq!(indexed.findings(), journal.indexed(strict).findings());
}

/// An engine whose every word is an error.
#[derive(Debug)]
struct Broken(fn() -> EngineError);

impl Engine for Broken {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Err(self.0())
    }
    fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Write, EngineError> {
        Err(self.0())
    }
    fn change(&self, _: Write, _: Vec<Vec<u8>>) -> Result<(), EngineError> {
        Err(self.0())
    }
    fn flush(&self) -> Result<(), EngineError> {
        Err(self.0())
    }
}

#[test]
fn an_index_that_failed_comes_back_by_itself() {
    let broken: [fn() -> EngineError; 3] = [
        || EngineError::Files(std::io::Error::from(std::io::ErrorKind::StorageFull)),
        || EngineError::Engine("poisoned".into()),
        || EngineError::Differs,
    ];
    for why in broken {
        let mut journal = Journal::new();
        journal.take(VICTIM, &[line(1, "create", "1", &[]), line(2, "create", "1", &[])], 1_800_000_000);
        let dir = tempfile::tempdir().unwrap();
        let opened = open(&dir.path().join("index"), |_| true);
        opened.shared.put(Arc::new(Broken(why)));
        let engine = opened.engine.clone();
        let (durable, heard) = watch::channel(journal.journal.durable());
        let sources = FollowSources { durable: heard, ..journal.sources(sample::signed(""), &engine, "350102/e1") };
        let mut progress = sources.progress.subscribe();
        let known = sources.known.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| follow(opened, &sources, |_| true, runtime.handle()));
            let whole = progress.wait_for(|p| p.trouble.is_none() && p.distinct == 2);
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), whole).await }).unwrap().unwrap();
            drop(durable);
        });
        assert!(known.holds(&RecordId::of(line(1, "create", "1", &[]).as_bytes())).unwrap());
        assert_eq!(engine.scan(b"r", b"", 9).unwrap().len(), 2);
    }
}

/// A18: one number in several forms is several records and one question each, for as long as they count.
#[test]
fn a_number_in_another_form_is_asked_about() {
    let in_form = |form: &str, operation: &str| {
        let key = format!("113501020036012589|{form}|91350102MA2TE5T1X0");
        line(1, operation, "1", &[("business_key", &key), ("task_no", form)])
    };
    let asked = |indexed: &Indexed| {
        let of_log = indexed.findings().into_iter();
        of_log.filter(|(.., codes)| codes.contains(&"V028".to_owned())).map(|(_, i, _)| i).collect::<Vec<_>>()
    };
    let mut journal = Journal::new();
    let forms = ["抽查（2026）1号", "抽查〔2026〕1号", "抽查[2026]1号", "抽查〔２０２６〕 1号", "抽查〔2026〕2号"];
    let lines: Vec<String> = forms.iter().map(|form| in_form(form, "create")).collect();
    journal.take(VICTIM, &lines, 1_800_000_000);
    let mut indexed = journal.indexed("");
    assert_eq!(asked(&indexed), [1, 2, 3], "the first is not asked about, and another number is another");
    assert_eq!(indexed.current("").len(), 5, "nothing is merged");
    // What is withdrawn asks nothing and is no reason to ask.
    journal.take(VICTIM, &[in_form(forms[0], "withdraw")], 1_800_000_001);
    indexed.go_on(&journal, "");
    assert_eq!(asked(&indexed), [2, 3]);
    journal.take(VICTIM, &[in_form(forms[3], "withdraw")], 1_800_000_002);
    indexed.go_on(&journal, "");
    assert_eq!(asked(&indexed), [2]);
    assert_eq!(indexed.findings(), journal.indexed("").findings(), "an index that is built anew says the same");
    // By a catalog without the rule nothing is said.
    let old = catalog_without_forms();
    assert_eq!(asked(&journal.indexed(&old)), [0_u64; 0]);
}

/// The catalog before numbers were compared.
fn catalog_without_forms() -> String {
    let (old, _) = tally_topology::catalog::SHIPPED.split_once("\n[[catalog]]\nversion = \"2026.11\"").unwrap();
    format!("{old}\n")
}

/// A18: what is on its way to the index is a form too.
#[test]
fn a_number_on_its_way_is_known_in_every_form() {
    let journal = Journal::new();
    let indexed = journal.indexed("");
    let sources = journal.sources(sample::signed(""), &indexed.opened.engine, "350102/e1");
    let known = &sources.known;
    known.fill().unwrap();
    known.set_whole(true);
    let content = |key: &str| {
        let line = line(1, "create", "1", &[("business_key", key)]);
        let object = Object::parse(line.as_bytes()).unwrap();
        let id = RecordId::of(line.as_bytes());
        (id, tally_topology::content::ContentId::of(id, &object))
    };
    let [(round_id, round), (plain_id, plain), (_, square)] = ["许（1）", "许〔1〕", "许[1]"].map(content);
    assert_eq!(known.other_forms(round.forms(), false).unwrap(), [plain.key], "the form itself may be a key");
    assert_eq!(known.other_forms(plain.forms(), false).unwrap(), [[0_u8; 16]; 0]);
    known.add_pending(round_id, &round);
    assert_eq!(known.other_forms(plain.forms(), false).unwrap(), [round.key]);
    known.add_pending(plain_id, &plain);
    assert_eq!(known.other_forms(square.forms(), false).unwrap().len(), 2);
    known.forget_pending([round_id].iter());
    assert_eq!(known.other_forms(plain.forms(), false).unwrap(), [[0_u8; 16]; 0]);
    known.add_pending(round_id, &round);
    known.indexed(&[(sources.own, round_id, round.forms())]);
    assert!(known.maybe_form(&plain.key) && !known.maybe_form(&square.key));
}

#[test]
fn what_an_unfinished_index_does_not_hold_may_be_held() {
    let mut journal = Journal::new();
    let held = journal.take(VICTIM, &[line(1, "create", "1", &[])], 1_800_000_000);
    let indexed = journal.indexed("");
    let sources = journal.sources(sample::signed(""), &indexed.opened.engine, "350102/e1");
    sources.known.fill().unwrap();
    sources.known.set_whole(true);
    assert!(sources.known.holds(&held[0]).unwrap());
    // It begins anew: what it knew before is not forgotten, and not denied.
    let empty = tempfile::tempdir().unwrap();
    let anew = open(&empty.path().join("index"), |_| true);
    let known = DedupIndex::new(anew.engine.clone(), sources.charter.clone(), sources.own, true);
    known.indexed(&[(sources.own, held[0], KeyForms { key: [1; 16], form: None })]);
    assert!(matches!(known.holds(&held[0]), Err(EngineError::Unfinished)));
    assert!(matches!(known.versions(&[1; 16]), Err(EngineError::Unfinished)));
    assert!(!known.holds(&RecordId::of(b"new")).unwrap(), "what is new for certain goes on");
    known.set_whole(true);
    assert!(!known.holds(&held[0]).unwrap());
}

#[test]
fn records_that_are_missing_before_others_are_counted() {
    let mut state = State::default();
    let (own, other): (LogId, LogId) = ("350102/e1".parse().unwrap(), "350103/e1".parse().unwrap());
    state.reached.extend([(own, 10), (other, 5)]);
    state.logs.extend([(own, 7), (other, 5)]);
    assert_eq!((state.missing(|_| true), state.missing(|l| l == other)), (3, 0));
}

/// A stop after any write, also in the middle of a batch, repeats nothing and loses nothing.
#[test]
fn every_stop_resumes_exactly() {
    let mut journal = Journal::new();
    for b in 0..3 {
        let lines: Vec<_> = (0..550).map(|i| format!("{{\"n\":\"{b} {i}\"}}")).collect();
        journal.take(VICTIM, &lines, 1);
    }
    let until = journal.journal.durable();
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(&dir.path().join("index"), |_| true);
    let sources = journal.sources(sample::signed(""), &opened.engine, "350102/e1");
    let signed = sources.charter.charter();
    sources.known.fill().unwrap();
    let mut rounds = 0;
    loop {
        // A new follower each time: only what was written together with the entries counts.
        if let Some(bytes) = opened.engine.get(STATE_KEY).unwrap() {
            let kept = State::decode(&bytes).unwrap();
            assert!(rounds == 0 || kept != opened.state, "each round gets further");
            opened.state = kept;
        }
        let mut f = Follower { write_at: 200, ..Follower::new(&sources, &opened) };
        let frame = f.sources.reader.next(f.cursor(), until).unwrap();
        let Some((place, kept, next)) = frame else { break };
        let KeptAs::Batch { log, start, tree, sealed_at, .. } = kept.entry else { panic!("only batches here") };
        // What is collected after the last write is lost with the stop, unless nothing but that is left of the batch.
        let rest = 550 - usize::from(f.state.done);
        f.take(signed.charter(), (log, (start, tree.size()), sealed_at), place, &kept.body).unwrap();
        if rest < 200 {
            f.move_to(next);
            f.write().unwrap();
        }
        rounds += 1;
        assert!(rounds < 30);
    }
    let mut last = Follower::new(&sources, &opened);
    last.catch_up(signed.charter(), until, || false).unwrap();
    assert_eq!(last.state.distinct, 3 * 550);
    assert_eq!(last.state.logs.values().sum::<u64>(), 3 * 550);
    assert_eq!(opened.engine.scan(b"r", b"", 10_000).unwrap().len(), 3 * 550);
    assert_eq!(opened.engine.scan(b"k", b"", 10_000).unwrap().len(), 3 * 550);
}
