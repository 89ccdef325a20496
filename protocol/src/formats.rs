//! Compares the examples of FORMATS.md with what the code makes.

use crate::{
    batch,
    bundle::{Item, Writer},
    canonical::Object,
    checkpoint::Checkpoint,
    digest::{LogPart, fold},
    findings_exchange,
    fork::ForkEvidence,
    hash::Hash,
    ids::{Division, Federation, LogId},
    keys::{NodeKeys, authority_signer},
    merkle::{Tree, leaf_hash},
    record::{Record, RecordId},
    session::{self, Wants, reconcile as exchange},
    tlog_proof::TlogProof,
    wire::{Head, Refusal, tests::samples},
};

const FORMATS: &str = include_str!("../FORMATS.md");

/// The example of this name: the text of the fenced block that opens with three backquotes, `example` and the name.
pub(crate) fn text(name: &str) -> &'static str {
    let opening = format!("\n```example {name}\n");
    let (_, rest) = FORMATS.split_once(&opening).unwrap_or_else(|| panic!("FORMATS.md has no example {name:?}"));
    &rest[..rest.find("\n```\n").expect("the example ends") + 1]
}

/// The example of this name, which is hexadecimal digits: without white space, and without what follows a `#` on a line.
pub(crate) fn example(name: &str) -> String {
    text(name).lines().flat_map(|l| l.split('#').next()).flat_map(str::split_whitespace).collect()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Examples that a test of another crate compares.
const ELSEWHERE: [&str; 2] = ["charter", "evidence"];

fn log() -> LogId {
    "350102/e1".parse().unwrap()
}

fn division(code: u32) -> Division {
    Division::try_from(code).unwrap()
}

fn record(text: &str) -> Record {
    Record::new(&Object::parse(text.as_bytes()).unwrap()).unwrap()
}

fn head() -> Head {
    Head { log: log(), size: 5, root: Hash([7; 32]), note: "n".into() }
}

/// Texts as they stand in FORMATS.md.
fn texts() -> Vec<(&'static str, String)> {
    let federation = Federation::try_from("t.example".to_owned()).unwrap();
    let keys = NodeKeys::derive(&federation, log(), &[7; 32]);
    let logs = ["350102/e1", "350102/e1/ops", "350102/e1/to/350200"].map(|l| federation.origin(l.parse().unwrap()));
    let (mirror, link, returns) =
        (federation.mirror_name(log()), federation.link_name(log()), federation.returns_name(log()));
    let names = [&logs[..], &[mirror, link, returns, federation.authority_name()]].concat();
    let authority = authority_signer(&federation, &[7; 32]);
    let publics = [
        keys.log.public(),
        keys.operations.public(),
        keys.returns(),
        keys.return_log(division(350_200)).unwrap().public(),
        keys.mirror.public(),
        keys.link.public(),
        authority.public(),
    ]
    .map(ToString::to_string);
    let lines = |all: &[String]| all.iter().map(|l| format!("{l}\n")).collect::<String>();
    let records = [record(r#"{"b": "二", "a": 1}"#), record(r#"{"n": "2"}"#)];
    let mut tree = Tree::default();
    records.iter().for_each(|r| tree.push(r.id().0));
    let origin = keys.log.public().name().to_owned();
    let note = Checkpoint { origin, size: 2, root: tree.root() }.seal(&keys, 1_790_000_000);
    let shown = |r: &Record| format!("{}\n{}\n", std::str::from_utf8(r.bytes()).unwrap(), r.id());
    let path = vec![records[1].id().0];
    let request = crate::request::tests::sample();
    let (invite, join) = (crate::invite::tests::sample(), crate::join::tests::sample());
    let another = crate::invite::tests::sample_of_another();
    vec![
        ("names", lines(&names)),
        ("keys", lines(&publics)),
        ("records", records.iter().map(shown).collect()),
        ("checkpoint", note.clone()),
        ("tlog-proof", TlogProof { index: 0, path, note }.text()),
        ("request", request.1),
        ("request code", request.0.code() + "\n"),
        ("invite", invite.invite.text()),
        ("invite token", invite.token() + "\n"),
        ("invite of another machine", another.invite.text()),
        ("invite token of another machine", another.token() + "\n"),
        ("join request note", join.1),
        ("join request code", join.0.code() + "\n"),
    ]
}

/// Bytes as they stand in FORMATS.md in hexadecimal digits.
fn bytes() -> Vec<(String, Vec<u8>)> {
    let holder: LogId = "350100/e1".parse().unwrap();
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, id) in [("records", "350102/e1"), ("operations", "350102/e1/ops"), ("return", "350000/e2/to/350102")] {
        all.push((format!("log id {name}"), id.parse::<LogId>().unwrap().to_bytes().to_vec()));
    }
    let raw = b"\x00\x01a\x00\x02bc";
    let mut batch = batch::encode(log(), 0, 2, raw, "note".into());
    let packed = batch.windows(4).position(|w| w == b"\x28\xb5\x2f\xfd").unwrap();
    batch.truncate(packed);
    all.push(("batch header".into(), batch));
    all.push(("batch records".into(), raw.to_vec()));

    let mut writer = Writer::default();
    let items = [
        Item::Opening { federation: "f".into(), from: holder, to: division(350_102), charter: 2, time: 3 },
        Item::Charter { note: "n".into() },
        Item::Head(head()),
        Item::Receipt { log: log(), size: 5, holder, line: "l".into() },
        Item::Batch { log: log(), bytes: vec![1, 2, 3] },
    ];
    let mut bundle: Vec<u8> = items.iter().flat_map(|i| writer.item(i)).collect();
    bundle.extend(writer.end());
    all.push(("bundle".into(), bundle));

    let evidence =
        ForkEvidence { notes: ["a\n".into(), "b\n".into()], root_at: Some(Hash([7; 32])), proof: vec![Hash([8; 32])] };
    all.push(("fork evidence".into(), crate::codec::encode(&evidence)));
    let conflict = Item::Conflict { log: log(), evidence, reason: "r".into() };
    all.push(("bundle conflict".into(), crate::codec::encode(&conflict)));

    let part = [LogPart { origin: "t.example/350102/e1", size: 3, root: leaf_hash(b"r") }];
    let county = fold(division(350_102), &part, &[]);
    let city = fold(division(350_100), &[], &[(division(350_102), county)]);
    all.push(("digest county".into(), county.unwrap().0.to_vec()));
    all.push(("digest city".into(), city.unwrap().0.to_vec()));

    let mut wants = Wants::new(log());
    [7..9, 1_000_000..1_000_001, 3..5].into_iter().for_each(|r| wants.insert(r));
    all.push(("wants".into(), wants.encode()));
    all.extend(exchanged());
    all.extend(crate::join::tests::messages().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)));
    all
}

/// Messages of an exchange.
fn exchanged() -> Vec<(String, Vec<u8>)> {
    use exchange::{Lacking, Piece, ReconcileReply, ReconcileRequest, Remains, Scope};
    let whole = || Piece::Whole { log: log(), bytes: vec![1, 2, 3] };
    let lacking = || Lacking { wants: vec![9], remains: vec![Remains { start: 5, total: 7, sums: vec![1] }] };
    let blocks = Piece::Blocks { log: log(), start: 7, total: 9, blocks: vec![(1, vec![2, 3])] };
    let division_scope = Scope::Division(division(350_102));
    let asks = [
        ("compare", ReconcileRequest::Compare { scope: Scope::Log(log()), digest: None, deep: true }),
        (
            "compare division",
            ReconcileRequest::Compare { scope: division_scope, digest: Some(Hash([7; 32])), deep: false },
        ),
        ("roots", ReconcileRequest::Roots(vec![(log(), 5)])),
        ("nodes", ReconcileRequest::Nodes { log: log(), question: vec![9] }),
        ("want", ReconcileRequest::Want { log: log(), lacking: lacking() }),
        ("here", ReconcileRequest::Here(whole())),
        ("taken", ReconcileRequest::Taken),
    ];
    let answers = [
        ("working", ReconcileReply::Working { done: 1, total: 2 }),
        ("agree", ReconcileReply::Agree),
        ("heads", ReconcileReply::Heads(vec![head()])),
        ("lacks", ReconcileReply::Lacks { log: log(), lacking: lacking() }),
        ("stands", ReconcileReply::Stands),
        ("roots", ReconcileReply::Roots(vec![Some(Hash([7; 32])), None])),
        ("nodes", ReconcileReply::Nodes(vec![9])),
        ("piece", ReconcileReply::Piece(blocks)),
        ("end", ReconcileReply::End),
        ("taken", ReconcileReply::Taken { repaired: 3 }),
        ("refused", ReconcileReply::Refused { code: Refusal::Busy, reason: "r".into() }),
    ];
    let mut all: Vec<_> = asks.into_iter().map(|(name, ask)| (format!("ask {name}"), ask.encode())).collect();
    all.extend(answers.into_iter().map(|(name, answer)| (format!("answer {name}"), answer.encode())));
    let cursor = findings_exchange::FindingsCursor { holder: division(350_100), log: log(), from: 7 };
    all.push(("verdicts ask".into(), findings_exchange::FindingsQuery { cursors: vec![cursor] }.encode()));
    let finding = crate::finding::Finding {
        field: "f".into(),
        code: "V017".into(),
        name: None,
        severity: crate::finding::Severity::Reject,
        message: "m".into(),
        message_zh: "z".into(),
    };
    let (holder, id) = (division(350_100), RecordId(Hash([7; 32])));
    let verdict = findings_exchange::FindingsReport { holder, log: log(), index: 7, id, findings: vec![finding] };
    all.push((
        "verdicts answer".into(),
        findings_exchange::FindingsPage { reports: vec![verdict], more: true }.encode(),
    ));
    all
}

/// What is installed reads these for ever: an example changes only with a new format.
#[test]
fn the_examples_are_what_the_code_makes() {
    for (name, made) in texts() {
        assert_eq!(text(name), made, "{name}");
    }
    for (name, made) in bytes() {
        assert_eq!(example(&name), hex(&made), "{name}");
    }
    // Made by a descent only; here it is read and written again.
    let unhex = |name: &str| -> Vec<u8> {
        let digits = example(name);
        (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    let question = session::TreeQuestion::decode(&unhex("descent question")).unwrap();
    assert_eq!((question.size(), question.level(), question.hashes()), (300, 0, 44));
    assert_eq!(hex(&question.encode()), example("descent question"));
    let answer = session::TreeAnswer::decode(&unhex("descent answer")).unwrap();
    assert_eq!(answer.iter().collect::<Vec<_>>(), [None, Some([7; 16]), Some([8; 16]), None, None]);
    assert_eq!(hex(&answer.encode()), example("descent answer"));
}

/// No example stands there that no test looks at.
#[test]
fn every_example_is_compared() {
    let mut known: Vec<String> = texts().iter().map(|(n, _)| (*n).to_owned()).collect();
    known.extend(bytes().into_iter().map(|(n, _)| n));
    known.extend(samples().iter().map(|(n, _)| format!("control {n}")));
    known.extend(["stream open", "descent question", "descent answer"].map(str::to_owned));
    known.extend(ELSEWHERE.map(str::to_owned));
    let mut found: Vec<_> = FORMATS.lines().filter_map(|l| l.strip_prefix("```example ")).map(str::to_owned).collect();
    known.sort();
    found.sort();
    assert_eq!(found, known);
}
