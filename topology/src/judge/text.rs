//! Looking at text: days, amounts, unreadable characters, and how much of a value is repeated in a message.

use jiff::civil::Date;
use tally_protocol::tame::tame;

/// Longest part of a value that a message repeats, in characters.
const SHOWN: usize = 40;

/// As much of a value as is worth repeating. What a terminal obeys is written out.
pub fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", tame(&value[..end])),
        None => tame(value).into_owned(),
    }
}

/// A personal value with its middle hidden.
pub fn masked(value: &str) -> String {
    let chars: Vec<char> = value.chars().take(64).collect();
    let keep = if chars.len() >= 12 { 4 } else { usize::from(chars.len() > 2) };
    let hide = |(i, c): (usize, &char)| if i < keep || i + keep >= chars.len() { *c } else { '*' };
    tame(&chars.iter().enumerate().map(hide).collect::<String>()).into_owned()
}

/// A day as it is stored: YYYY-MM-DD of the Gregorian calendar.
pub(super) fn date(text: &str) -> Option<Date> {
    let b = text.as_bytes();
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let number = |r: std::ops::Range<usize>| {
        b[r].iter().try_fold(0_i16, |n, d| d.is_ascii_digit().then(|| n * 10 + i16::from(d - b'0')))
    };
    Date::new(number(0..4)?, number(5..7)? as i8, number(8..10)? as i8).ok()
}

/// An amount that is not negative: digits, and up to `scale` more after a point.
pub(super) fn is_decimal(text: &str, scale: u32) -> bool {
    let digits = |t: &str, most: usize| !t.is_empty() && t.len() <= most && t.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, part)) => digits(whole, 15) && digits(part, scale as usize),
        None => digits(text, 15),
    }
}

/// Whether amount `a` is above `b`; both are decimal text.
pub(super) fn is_above(a: &str, b: &str) -> bool {
    let parts = |t: &str| {
        let (whole, part) = t.split_once('.').unwrap_or((t, ""));
        (whole.trim_start_matches('0').to_owned(), part.trim_end_matches('0').to_owned())
    };
    let (a, b) = (parts(a), parts(b));
    (a.0.len(), &a.0, &a.1) > (b.0.len(), &b.0, &b.1)
}

/// The first control character other than tab and line ends, or replacement character: both come from broken conversions.
pub fn unreadable(text: &str) -> Option<char> {
    // Most text has none of the bytes that such characters begin with.
    let suspicious = |b: u8| b < 0x20 || b == 0x7f || b == 0xc2 || b == 0xef;
    let bad = |c: char| c == '\u{fffd}' || (c.is_control() && !matches!(c, '\n' | '\t' | '\r'));
    text.bytes().any(suspicious).then(|| text.chars().find(|c| bad(*c))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_amounts_and_masks() {
        assert!(date("2024-02-29").is_some() && date("1949-10-01").is_some());
        for bad in ["2026-02-29", "2026-2-3", "2026/02/03", "２026-01-1", "2026-13-01", "", "+026-01-01"] {
            assert_eq!(date(bad), None, "{bad}");
        }
        assert!(is_decimal("0", 6) && is_decimal("12.500000", 6) && is_decimal("999999999999999", 0));
        for bad in ["", ".5", "5.", "-1", "1.1234567", "1e3", "1,000", " 1", "1000000000000000"] {
            assert!(!is_decimal(bad, 6), "{bad}");
        }
        assert!(is_above("10000.01", "10000") && is_above("20000", "10000") && is_above("010001", "10000"));
        assert!(!is_above("10000.00", "10000") && !is_above("9999.99", "10000") && !is_above("0", "0.0"));
        assert_eq!(masked("350102199001011234"), "3501**********1234");
        assert_eq!((masked("张三").as_str(), masked("abc").as_str(), masked("").as_str()), ("**", "a*c", ""));
        assert!(shown(&"名".repeat(50)).ends_with("...") && shown("短") == "短");
        assert_eq!((shown("a\u{1b}[2J\nb").as_str(), masked("\u{9b}bc").as_str()), ("a\\u001b[2J\\nb", "\\u009b*c"));
    }

    #[test]
    fn unreadable_characters_are_seen_and_full_width_ones_are_not() {
        assert_eq!((unreadable("许可（2026）1号，第二行\n\t完"), unreadable("£§")), (None, None));
        for (text, sign) in [("a\u{fffd}b", '\u{fffd}'), ("a\0", '\0'), ("\u{85}", '\u{85}'), ("\u{7f}", '\u{7f}')] {
            assert_eq!(unreadable(text), Some(sign));
        }
    }
}
