//! Canonical JSON (RFC 8785) of what a record may hold.
//!
//! No floating point (amounts are decimal strings), integers below 2^53, text in Unicode normalisation form C, no
//! name twice, at most [`RECORD_DEPTH_MAX`] levels. Within these bounds RFC 8785 needs no number formatting, so one
//! pass over a sorted tree does it.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::limits::RECORD_DEPTH_MAX;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, cell::Cell, cmp::Ordering, fmt};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// A JSON value of a record. Text is in normalisation form C, members are sorted by RFC 8785.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Between -(2^53 - 1) and 2^53 - 1.
    Integer(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// `[...]`
    List(Vec<Self>),
    /// `{...}`
    Object(Object<'a>),
}

/// Members of an object, sorted by the UTF-16 code units of their names.
///
/// ```
/// use tally_protocol::canonical::Object;
///
/// let object = Object::parse(br#"{ "b": [1, true], "a": "\u00e9" }"#)?;
/// let mut line = Vec::new();
/// object.write(&mut line);
/// assert_eq!(line, r#"{"a":"é","b":[1,true]}"#.as_bytes());
/// assert!(Object::parse(br#"{"amount": 1.50}"#).is_err(), "amounts are text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object<'a>(Vec<Member<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member<'a> {
    mark: NameMark,
    name: Cow<'a, str>,
    value: Value<'a>,
}

/// A number made of a name's length and its first and last eight bytes. Equal names have equal marks; unequal names with equal
/// marks are few, and comparing marks first spares comparing nearly all other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameMark(u32);

impl NameMark {
    /// Of a name.
    pub fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let (head, tail) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (bytes.iter().fold(0, |n: u64, b| n << 8 | u64::from(*b)), 0),
        };
        let mixed = (head ^ tail.rotate_left(29) ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((mixed >> 32) as u32)
    }
}

/// Why a line is not a record's JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all, or not UTF-8.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// JSON, but not `{...}`.
    #[error("a record is a JSON object {{...}}")]
    NotAnObject,
    /// The name stands twice in one object.
    #[error("the field {0:?} stands there twice")]
    Twice(String),
    /// A number with a fraction or exponent.
    #[error("{0} is a floating point number: write amounts as text, such as \"1.50\"")]
    Float(String),
    /// An integer that not every reader keeps exactly.
    #[error("{0} is not below 2^53: write it as text")]
    TooBig(String),
    /// Nested deeper than [`RECORD_DEPTH_MAX`].
    #[error("nested deeper than {RECORD_DEPTH_MAX} levels")]
    TooDeep,
}

const INTEGER_MAX: u64 = (1 << 53) - 1;

/// RFC 8785 §3.2.3: names are compared by their UTF-16 code units.
fn by_utf16(a: &str, b: &str) -> Ordering {
    match a.bytes().zip(b.bytes()).find(|(x, y)| x != y) {
        None => a.len().cmp(&b.len()),
        // The orders of UTF-8 and UTF-16 differ only between U+E000 to U+FFFF and what lies above.
        Some((x, y)) if x < 0xee || y < 0xee => x.cmp(&y),
        Some(_) => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

/// Signs that stand as they are in normalisation form C, whatever stands beside them: what Chinese and Western text is made
/// of. Of others the tables of Unicode know.
fn stays(c: char) -> bool {
    matches!(c, '\0'..='\u{2ff}' | '\u{3000}'..='\u{3029}' | '\u{4e00}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}')
}

/// Whether a text has only printable ASCII, Chinese characters (U+4E00 to U+9FFF) and the punctuation that stands between them
/// (U+3001 to U+3020, U+FF01 to U+FF5E). Nearly every text of a record is of this kind, and then nothing in it has to be looked
/// up. All bytes are looked at in the same way and none ends it, so that the compiler takes many at once.
pub fn is_everyday(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alone = |b: u8| matches!(b, b' '..=b'~' | 0x80..=0xbf);
    let begins = |a: u8, b: u8, c: u8| {
        matches!(a, 0xe5..=0xe9)
            | (a == 0xe4) & (b >= 0xb8)
            | (a == 0xe3) & (b == 0x80) & matches!(c, 0x81..=0xa0)
            | (a == 0xef) & ((b == 0xbc) & (c >= 0x81) | (b == 0xbd) & (c <= 0x9e))
    };
    let (second, third) = (bytes.get(1..).unwrap_or_default(), bytes.get(2..).unwrap_or_default());
    let triples = bytes.iter().zip(second).zip(third);
    let other = triples.fold(false, |other, ((a, b), c)| other | !(alone(*a) | begins(*a, *b, *c)));
    // Of the last two bytes none begins a sign of three.
    let end = bytes.get(third.len()..).unwrap_or_default();
    !other && end.iter().all(|b| alone(*b))
}

/// Whether a text is certainly in normalisation form C.
fn is_in_form(text: &str) -> bool {
    is_everyday(text) || text.chars().all(stays) || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

fn normalised(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_in_form(&text) { text } else { Cow::Owned(text.nfc().collect()) }
}

impl<'a> Object<'a> {
    /// Reads one object; text that is not in normalisation form C is brought into it.
    ///
    /// # Errors
    /// [`JsonError`], the first thing found.
    pub fn parse(json: &'a [u8]) -> Result<Self, JsonError> {
        Self::parse_told(json).map(|(object, _)| object)
    }

    /// The same, and whether every text was in that form already.
    ///
    /// # Errors
    /// [`JsonError`], the first thing found.
    pub fn parse_told(json: &'a [u8]) -> Result<(Self, bool), JsonError> {
        // The fast check says only whether; the slow one says where.
        let json = match simdutf8::basic::from_utf8(json) {
            Ok(json) => json,
            Err(_) => std::str::from_utf8(json).map_err(|e| JsonError::Syntax(e.to_string()))?,
        };
        let (found, in_form) = (Cell::new(None), Cell::new(true));
        let mut reader = serde_json::Deserializer::from_str(json);
        let value = Seed { depth: 1, found: &found, in_form: &in_form }
            .deserialize(&mut reader)
            .and_then(|v| reader.end().map(|()| v))
            .map_err(|e| found.take().unwrap_or_else(|| JsonError::Syntax(e.to_string())))?;
        match value {
            Value::Object(o) => Ok((o, in_form.get())),
            _ => Err(JsonError::NotAnObject),
        }
    }

    /// The member called `name`.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let mark = NameMark::of(name);
        self.0.iter().find(|m| m.mark == mark && m.name == name).map(|m| &m.value)
    }

    /// The member called `name`, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(t)) => Some(t),
            _ => None,
        }
    }

    /// Members in canonical order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|m| (&*m.name, &m.value))
    }

    /// The same, with the marks of their names.
    pub fn marked_members(&self) -> impl Iterator<Item = (NameMark, &str, &Value<'a>)> {
        self.0.iter().map(|m| (m.mark, &*m.name, &m.value))
    }

    /// The same, their values to be replaced.
    pub fn marked_members_mut(&mut self) -> impl Iterator<Item = (NameMark, &str, &mut Value<'a>)> {
        self.0.iter_mut().map(|m| (m.mark, &*m.name, &mut m.value))
    }

    /// Of members whose names are in order already; the others are left out.
    pub fn of_sorted(members: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Self {
        let mut object = Self(Vec::with_capacity(32));
        for (name, value) in members {
            if object.0.last().is_none_or(|last| by_utf16(&last.name, name) == Ordering::Less) {
                object.0.push(Member::new(Cow::Borrowed(name), value));
            }
        }
        object
    }

    /// Puts a member in, or replaces it.
    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        match self.0.binary_search_by(|m| by_utf16(&m.name, name)) {
            Ok(i) => {
                if let Some(held) = self.0.get_mut(i) {
                    held.value = value;
                }
            }
            Err(i) => self.0.insert(i, Member::new(Cow::Borrowed(name), value)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        if let Ok(i) = self.0.binary_search_by(|m| by_utf16(&m.name, name)) {
            self.0.remove(i);
        }
    }

    /// Appends the canonical bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_without(&[], out);
    }

    /// Appends the canonical bytes that the object would have without these members, which are ASCII and in order.
    pub fn write_without(&self, left_out: &[&str], out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        // Both are in order (UTF-16 and bytes agree where one side is ASCII), so one walk over both does it.
        let mut left_out = left_out.iter().peekable();
        for Member { name, value, .. } in &self.0 {
            let order = loop {
                match left_out.peek().map(|l| (**l).cmp(name.as_ref())) {
                    Some(Ordering::Less) => left_out.next(),
                    Some(order) => break order,
                    None => break Ordering::Greater,
                };
            };
            if order == Ordering::Equal {
                left_out.next();
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_text(name, out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }
}

impl<'a> Member<'a> {
    fn new(name: Cow<'a, str>, value: Value<'a>) -> Self {
        Self { mark: NameMark::of(&name), name, value }
    }
}

impl<'a> Value<'a> {
    /// Text, brought into normalisation form C.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(normalised(text.into()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Self::Text(t) => write_text(t, out),
            Self::List(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(o) => o.write(out),
        }
    }
}

/// RFC 8785 §3.2.2.2: quote, backslash and control characters are escaped, nothing else.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let escaped = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
    // Nearly no text has such a character, and looking at all its bytes at once is many times faster than one after another.
    if !text.as_bytes().iter().fold(false, |any, b| any | escaped(b)) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    for piece in text.as_bytes().split_inclusive(escaped) {
        let Some((b, plain)) = piece.split_last().filter(|(last, _)| escaped(last)) else {
            // The last piece, without one at its end.
            out.extend_from_slice(piece);
            break;
        };
        out.extend_from_slice(plain);
        match *b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *b]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            _ => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
        }
    }
    out.push(b'"');
}

/// Reads a value that, as a list or object, is nested `depth` deep. serde can only carry text as an error, so the exact one goes by the side.
#[derive(Clone, Copy)]
struct Seed<'c> {
    depth: usize,
    found: &'c Cell<Option<JsonError>>,
    /// No text had to be brought into normalisation form C.
    in_form: &'c Cell<bool>,
}

impl Seed<'_> {
    fn text<'de>(self, text: Cow<'de, str>) -> Value<'de> {
        if is_in_form(&text) {
            return Value::Text(text);
        }
        let formed: String = text.nfc().collect();
        self.in_form.set(self.in_form.get() && *formed == *text);
        Value::Text(formed.into())
    }

    fn fail<E: serde::de::Error>(self, why: JsonError) -> E {
        let e = E::custom(&why);
        self.found.set(Some(why));
        e
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > RECORD_DEPTH_MAX {
            return Err(self.fail(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth.saturating_add(1), ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value<'de>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value<'de>, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Value<'de>, E> {
        if n.unsigned_abs() > INTEGER_MAX {
            return Err(self.fail(JsonError::TooBig(n.to_string())));
        }
        Ok(Value::Integer(n))
    }
    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Value<'de>, E> {
        match i64::try_from(n) {
            Ok(small) if n <= INTEGER_MAX => Ok(Value::Integer(small)),
            _ => Err(self.fail(JsonError::TooBig(n.to_string()))),
        }
    }
    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Value<'de>, E> {
        Err(self.fail(JsonError::Float(n.to_string())))
    }
    fn visit_borrowed_str<E>(self, s: &'de str) -> Result<Value<'de>, E> {
        Ok(self.text(Cow::Borrowed(s)))
    }
    fn visit_str<E>(self, s: &str) -> Result<Value<'de>, E> {
        Ok(self.text(Cow::Owned(s.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let below = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let below = self.deeper()?;
        let mut members = Vec::with_capacity(32);
        while let Some(Name(name)) = map.next_key()? {
            members.push(Member::new(name, map.next_value_seed(below)?));
        }
        if !members.is_sorted_by(|a, b| by_utf16(&a.name, &b.name) == Ordering::Less) {
            members.sort_by(|a, b| by_utf16(&a.name, &b.name));
            let mut pairs = members.iter().zip(members.iter().skip(1));
            if let Some((twice, _)) = pairs.find(|(a, b)| a.name == b.name) {
                let name = twice.name.chars().take(64).collect();
                return Err(self.fail(JsonError::Twice(name)));
            }
        }
        Ok(Value::Object(Object(members)))
    }
}

/// A member's name, borrowed where the JSON has no escapes in it.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, s: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(normalised(Cow::Borrowed(s))))
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Name<'de>, E> {
                Ok(Name(normalised(Cow::Owned(s.to_owned()))))
            }
            fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Name<'de>, E> {
                Err(E::custom("a name is text"))
            }
        }
        d.deserialize_str(V).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
