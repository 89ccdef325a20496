//! Names of divisions, logs and federations: read, written, and refused.

use super::*;
use crate::codec;
use proptest::prelude::*;

#[test]
fn names_parse_and_print() {
    let f = Federation::try_from("credit.fj.example".to_owned()).unwrap();
    for (name, bytes) in [
        ("350102/e1", b"\x05\x57\x96\0\0\0\x01\0\0\0"),
        ("350102/e4294967295/ops", b"\x05\x57\x96\xff\xff\xff\xff\0\0\x01"),
        ("350000/e2/to/350102", b"\x05\x57\x30\0\0\0\x02\x05\x57\x96"),
    ] {
        let log: LogId = name.parse().unwrap();
        assert_eq!(log.to_string(), name);
        assert_eq!(f.origin(log), format!("credit.fj.example/{name}"));
        assert_eq!(f.origin(log).parse(), Ok(log));
        assert_eq!(Federation::of_origin(&f.origin(log)), Ok((f.clone(), log)));
        assert_eq!((log.to_bytes(), LogId::from_bytes(bytes)), (*bytes, Ok(log)));
        assert_eq!((codec::encode(&log), codec::decode::<LogId, 10>(bytes)), (bytes.to_vec(), Ok(log)));
        assert_eq!(serde_json::to_value(log).unwrap(), name);
        assert_eq!(serde_json::from_value::<LogId>(name.into()).unwrap(), log);
    }
    for bad in [
        "35010/e1",
        "350102/e0",
        "350102/e01",
        "350102/e",
        "350102",
        "350102/e-1",
        "350102/e4294967296",
        "x/e1",
        "/350102/e1",
        "350102/e1/",
        "350102/e1/op",
        "350102/e1/ops/",
        "350102/e1/ops/ops",
        "350102/e1/to",
        "350102/e1/to/",
        "350102/e1/to/350102",
        "350102/e1/to/35010",
        "350102/e1/to/035010",
        "350102/e1/mirror",
        "a b/350102/e1",
        "f//350102/e1",
        "350102/350102/e1",
        "035010/350102/e1",
    ] {
        assert_eq!(bad.parse::<LogId>(), Err(NotALog), "{bad}");
    }
    for bad in ["", "a b", "a+b", "/a", "福建", "350102", "a/350102", "012345/b", "a/000000/b"] {
        assert!(Federation::try_from(bad.to_owned()).is_err(), "{bad}");
    }
    for good in ["a", "35010", "3501022/x", "v350102.example"] {
        assert!(Federation::try_from(good.to_owned()).is_ok(), "{good}");
    }
    for bad in ["035010", "+35010", "3501022", "三五零一零二"] {
        assert!(bad.parse::<Division>().is_err(), "{bad}");
    }
}

#[test]
fn bytes_that_are_no_log_are_refused() {
    for bad in [
        b"\x01\x86\x9f\0\0\0\x01\0\0\0",
        b"\x05\x57\x96\0\0\0\0\0\0\0",
        b"\x05\x57\x96\0\0\0\x01\0\0\x02",
        b"\x05\x57\x96\0\0\0\x01\x05\x57\x96",
        b"\x05\x57\x96\0\0\0\x01\x0f\x42\x40",
    ] {
        assert_eq!(LogId::from_bytes(bad), Err(NotALog));
    }
    #[derive(Debug, Deserialize)]
    struct Named(#[serde(deserialize_with = "node_epoch")] LogId);
    let node = |log: LogId| codec::decode::<Named, 10>(&log.to_bytes()).map(|n| n.0);
    let d = Division::try_from(350_102).unwrap();
    assert_eq!(node(LogId::records(d, 3)), Ok(LogId::records(d, 3)));
    assert!(node(LogId::operations(d, 3)).is_err());
}

#[test]
fn logs_sort_by_division_epoch_and_kind() {
    let names = [
        "350000/e9/to/350102",
        "350102/e1",
        "350102/e1/ops",
        "350102/e1/to/350000",
        "350102/e1/to/999999",
        "350102/e2",
        "350103/e1",
    ];
    let logs: Vec<LogId> = names.iter().map(|n| n.parse().unwrap()).collect();
    assert!(logs.is_sorted() && logs.iter().map(|l| l.to_bytes()).is_sorted());
    let of = LogId::range_of(logs[1].division);
    let within: Vec<_> = logs.iter().filter(|l| of.contains(l)).collect();
    assert_eq!(within, logs[1..6].iter().collect::<Vec<_>>());
}

fn division() -> impl Strategy<Value = Division> {
    (100_000_u32..=999_999).prop_map(Division)
}

fn log() -> impl Strategy<Value = LogId> {
    // Few values, so that equal parts come up often.
    let few = prop_oneof![Just(Division(350_000)), Just(Division(350_102)), division()];
    let epoch = prop_oneof![1_u32..4, 1..=u32::MAX];
    (few.clone(), epoch, 0..3, few).prop_map(|(division, epoch, kind, to)| match kind {
        0 => LogId::records(division, epoch),
        1 => LogId::operations(division, epoch),
        _ => LogId::to(division, epoch, to).unwrap_or(LogId::records(division, epoch)),
    })
}

fn federation() -> impl Strategy<Value = Federation> {
    // Names that look like parts of an origin as much as they may.
    let part = prop_oneof!["[a-z]{1,3}", "[0-9]{5,7}", "e[0-9]{1,2}", Just("to".into()), Just("ops".into())];
    let name = prop::collection::vec(part, 1..5).prop_map(|p| p.join("/"));
    name.prop_filter_map("no federation", |n| Federation::try_from(n).ok())
}

proptest! {
    #[test]
    fn no_two_names_are_equal(f in federation(), g in federation(), a in log(), b in log()) {
        prop_assert_eq!(f.origin(a) == g.origin(b), (&f, a) == (&g, b));
        prop_assert_eq!(Federation::of_origin(&f.origin(a)), Ok((f.clone(), a)));
        prop_assert_eq!(f.origin(a).parse(), Ok(a));
        prop_assert_eq!(LogId::from_bytes(&a.to_bytes()), Ok(a));
        let others = [f.mirror_name(b), f.link_name(b), f.returns_name(b), f.authority_name()];
        for (i, name) in others.iter().enumerate() {
            prop_assert_ne!(name, &g.origin(a));
            prop_assert!(name.parse::<LogId>().is_err() && !others[..i].contains(name));
        }
    }

    #[test]
    fn what_is_read_is_canonical(name in "([a-z]{1,2}/)?[0-9]{5,7}/e[0-9]{0,3}(/ops|/to/[0-9]{6}|/)?") {
        if let Ok((federation, log)) = Federation::of_origin(&name) {
            prop_assert_eq!(federation.origin(log), name);
        } else if let Ok(log) = name.parse::<LogId>() {
            prop_assert_eq!(log.to_string(), name);
        }
    }
}
