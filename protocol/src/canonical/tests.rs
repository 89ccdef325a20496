//! Canonical bytes, refusals, and the order of names, against RFC 8785 and another writer of it.

use super::*;
use proptest::prelude::*;

#[test]
fn names_are_in_the_order_of_utf_16() {
    let names = ["", "a", "ab", "b", "é", "中", "\u{e000}", "\u{ffee}", "\u{10000}", "😀", "a\u{ffee}", "a😀", "中b"];
    for a in names {
        for b in names {
            assert_eq!(by_utf16(a, b), a.encode_utf16().cmp(b.encode_utf16()), "{a:?} {b:?}");
        }
    }
    let sorted = [("a", Value::Integer(1)), ("b", Value::Integer(2)), ("a", Value::Null)];
    let mut out = Vec::new();
    Object::of_sorted(sorted).write(&mut out);
    assert_eq!(out, br#"{"a":1,"b":2}"#);
}

fn canonical(json: &str) -> Result<String, JsonError> {
    let mut out = Vec::new();
    Object::parse(json.as_bytes())?.write(&mut out);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn what_stays_is_in_form_c_beside_anything() {
    use unicode_normalization::char::canonical_combining_class;
    for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| stays(*c)) {
        assert_eq!(is_nfc_quick(std::iter::once(c)), IsNormalized::Yes, "{c:?}");
        assert_eq!(canonical_combining_class(c), 0, "{c:?}");
    }
    for c in (0..=0x10_ffff).filter_map(char::from_u32) {
        let everyday =
            matches!(c, ' '..='~' | '\u{4e00}'..='\u{9fff}' | '\u{3001}'..='\u{3020}' | '\u{ff01}'..='\u{ff5e}');
        for text in [format!("{c}"), format!("{c}中"), format!("a{c}"), format!("中{c}a")] {
            assert_eq!(is_everyday(&text), everyday, "{text:?}");
        }
        assert!(stays(c) || !everyday, "{c:?}");
    }
    assert!(is_everyday("") && is_everyday("a") && is_everyday("中") && is_everyday("ab"));
}

/// Names are found by their marks: whatever is set, replaced and removed, the object is what a map is.
#[test]
fn members_are_found_as_in_a_map() {
    let names =
        ["", "a", "é", "中", "\u{ffee}", "😀", "producer_name", "producer_uscc", "submitter_uscc", "subject_uscc"];
    let (mut object, mut map) = (Object::default(), std::collections::BTreeMap::new());
    for step in 0..400_usize {
        let name = names[step * 7 % names.len()];
        if step % 3 == 2 {
            object.remove(name);
            map.remove(name);
        } else {
            object.set(name, Value::Integer(step as i64));
            map.insert(name, Value::Integer(step as i64));
        }
        for name in names {
            assert_eq!(object.get(name), map.get(name), "{name:?} after {step}");
        }
    }
    let mut line = Vec::new();
    object.write(&mut line);
    assert_eq!(Object::parse(&line).unwrap(), object);
    assert!(object.marked_members().all(|(mark, name, _)| mark == NameMark::of(name)));
}

#[test]
fn rfc_8785_sorting_example() {
    // RFC 8785 §3.2.3, with its expected order.
    let json = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
        "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    let out = canonical(json).unwrap();
    let order: Vec<_> = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"]
        .iter()
        .map(|w| out.find(&format!("\"{w}")).unwrap_or_else(|| panic!("{w} in {out}")))
        .collect();
    // The dalet with dagesh (U+FB33) has no composed form in NFC; as U+05D3 U+05BC it sorts before the euro sign.
    assert!(order[..6].is_sorted(), "{out}");
    assert!(out.contains("\u{5d3}\u{5bc}"));
}

#[test]
fn escapes_and_integers() {
    assert_eq!(
        canonical("{ \"b\" : [1, -2, 0, true, null], \"a\": \"\\u0007\\u000a\\\"\\\\\\/é\" }").unwrap(),
        "{\"a\":\"\\u0007\\n\\\"\\\\/é\",\"b\":[1,-2,0,true,null]}"
    );
    assert_eq!(canonical("{\"n\":9007199254740991}").unwrap(), "{\"n\":9007199254740991}");
}

#[test]
fn decomposed_text_is_composed() {
    assert_eq!(canonical("{\"e\u{301}\":\"e\u{301}\"}").unwrap(), "{\"é\":\"é\"}");
    assert_eq!(canonical("{\"é\":1,\"e\u{301}\":2}"), Err(JsonError::Twice("é".into())));
}

#[test]
fn refusals_are_named() {
    assert_eq!(canonical("{\"a\":1.5}"), Err(JsonError::Float("1.5".into())));
    assert_eq!(canonical("{\"a\":1e2}"), Err(JsonError::Float("100".into())));
    assert_eq!(canonical("{\"a\":-0}"), Err(JsonError::Float("-0".into())));
    assert_eq!(canonical("{\"a\":9007199254740992}"), Err(JsonError::TooBig("9007199254740992".into())));
    assert_eq!(canonical("{\"a\":1,\"a\":1}"), Err(JsonError::Twice("a".into())));
    assert_eq!(canonical("[1]"), Err(JsonError::NotAnObject));
    assert!(matches!(canonical("{\"a\":1"), Err(JsonError::Syntax(_))));
    assert!(matches!(canonical("{\"a\":1} x"), Err(JsonError::Syntax(_))));
    assert!(matches!(canonical("{\"a\":\"\\ud800\"}"), Err(JsonError::Syntax(_))));
    assert!(matches!(Object::parse(b"{\"a\":\"\xff\"}"), Err(JsonError::Syntax(_))));
    let deep = |n| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    assert!(canonical(&deep(RECORD_DEPTH_MAX)).is_ok());
    assert_eq!(canonical(&deep(RECORD_DEPTH_MAX + 1)), Err(JsonError::TooDeep));
    assert_eq!(canonical(&format!("{{\"a\":{}", "[".repeat(100_000))), Err(JsonError::TooDeep));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        "\\PC*".prop_map(|s| s.nfc().collect::<String>().into()),
        "[\\x00-\\x7f]*".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("[a-zé福\u{10000}\u{ff00}]{0,4}", inner, 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json_canonicalizer(value in json()) {
        let object = serde_json::json!({ "x": value });
        let theirs = serde_json_canonicalizer::to_string(&object).unwrap();
        let ours = canonical(&serde_json::to_string_pretty(&object).unwrap()).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(canonical(&ours).unwrap(), ours);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Object::parse(&bytes);
    }
}
