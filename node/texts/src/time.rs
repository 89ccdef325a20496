//! Times for people: those of a text in RFC 3339 and UTC, as the clock on the wall shows them, with its offset.

use jiff::{Timestamp, tz::TimeZone};
use std::borrow::Cow;

/// Length of `2026-11-29T00:27:38Z` in bytes.
const TIME_BYTES: usize = 20;
const FORM: &[u8; TIME_BYTES] = b"0000-00-00T00:00:00Z";

/// The text with every time in UTC (to the second, ending in `Z`) written as local time with its offset.
pub fn local_times(text: &str) -> Cow<'_, str> {
    if find(text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(shown(text, &TimeZone::system()))
}

/// Where the first time stands.
fn find(text: &str) -> Option<usize> {
    let is = |w: &[u8]| w.iter().zip(FORM).all(|(b, f)| if f.is_ascii_digit() { b.is_ascii_digit() } else { b == f });
    text.as_bytes().windows(TIME_BYTES).position(is)
}

fn shown(text: &str, zone: &TimeZone) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len() + 8), text);
    while let Some(at) = find(rest) {
        let (before, after) = (rest.get(..at).unwrap_or(""), rest.get(at + TIME_BYTES..).unwrap_or(""));
        let time = rest.get(at..at + TIME_BYTES).unwrap_or("");
        out.push_str(before);
        match time.parse::<Timestamp>() {
            Ok(t) => {
                let offset = zone.to_offset(t);
                let (sign, minutes) =
                    (if offset.seconds() < 0 { '-' } else { '+' }, offset.seconds().unsigned_abs() / 60);
                let wall = offset.to_datetime(t).to_string().replace('T', " ");
                out.push_str(&format!("{wall}{sign}{:02}:{:02}", minutes / 60, minutes % 60));
            }
            Err(_) => out.push_str(time),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_zone_with_its_offset() {
        let china = TimeZone::fixed(jiff::tz::offset(8));
        let text = "seit 2026-11-29T00:27:38Z, 起 2026-12-31T23:00:00Z; 9999-99-99T00:00:00Z 2026-11-29";
        let expected = "seit 2026-11-29 08:27:38+08:00, 起 2027-01-01 07:00:00+08:00; 9999-99-99T00:00:00Z 2026-11-29";
        assert_eq!(shown(text, &china), expected);
        assert!(matches!(local_times("no time 2026-11-29T00:27Z 时"), Cow::Borrowed(_)));
    }
}
