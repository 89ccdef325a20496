//! Days as people and systems write them, and what a value that is no day was meant for.
//!
//! Decided here (R-30 counts days in China):
//! * An instant with an offset is the day that it is in China, UTC+8. Without an offset a time is local, and says nothing.
//! * 24:00 is 0:00 of the next day, as ISO 8601 has it.
//! * A time that no clock shows makes the whole no day. Nothing is guessed: not the order of day and month, not a century,
//!   not from which year a spreadsheet counts its days.

use super::Change;
use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use std::borrow::Cow;
use tally_topology::signs::{is_blank, is_unseen};
use unicode_normalization::UnicodeNormalization as _;

/// "No end" in a date field: the day that stands for it in every category.
const LONG_TERM: &str = "2099-12-31";
const LONG_TERM_WORDS: [&str; 5] = ["长期", "永久", "长期有效", "永久有效", "无固定期限"];
/// China's only offset from UTC.
const CHINA: Offset = Offset::constant(8);
/// Names of its time zone, where an offset is left out.
const CHINA_ZONES: [&str; 6] = ["Asia/Shanghai", "Asia/Chongqing", "Asia/Harbin", "Asia/Urumqi", "PRC", "中国标准时间"];
/// Longest text that is looked at, in bytes: "2026-11-01T16:00:00.000000000+08:00[Asia/Shanghai]" has 50.
const BYTES_MAX: usize = 96;

/// The day that a value means, as it is stored, if it is not in that form already. `is_end`: it may mean that there is none.
pub(super) fn day(value: &str, is_end: bool) -> Option<(String, Change)> {
    let b = value.as_bytes();
    if b.len() == 10 && b[4] == b'-' && b[7] == b'-' {
        return None;
    }
    if is_end && LONG_TERM_WORDS.contains(&value) {
        return Some((LONG_TERM.to_owned(), Change::DateForm));
    }
    let text = written(value)?;
    let (date, rest) = Reader(&text).date()?;
    let rest = rest.trim();
    // The day of XML Schema may bear an offset: one that begins on the same day in China.
    if rest.is_empty() || ["Z", "z", "+08:00", "+0800", "+08"].contains(&rest) {
        return Some((date.stored(), Change::DateForm));
    }
    // What is no day is refused as it was written.
    let date = date.checked()?;
    // A number is a day with the point of a number behind it: nothing is lost.
    if date.1 && rest.strip_prefix('.').is_some_and(|zeros| !zeros.is_empty() && zeros.bytes().all(|b| b == b'0')) {
        return Some((date.0.to_string(), Change::WholeNumber));
    }
    let (time, rest) = Reader(rest).time()?;
    let (date, ends) = match time {
        Clock::At(time) => (date.0.to_datetime(time), false),
        Clock::EndOfDay => (date.0.tomorrow().ok()?.to_datetime(Time::midnight()), true),
    };
    match offset(rest)? {
        Some(offset) if offset != CHINA => Some((in_china(date, offset)?.to_string(), Change::DayInChina)),
        _ => Some((date.date().to_string(), if ends { Change::EndOfDay } else { Change::DateForm })),
    }
}

fn in_china(at: DateTime, offset: Offset) -> Option<Date> {
    Some(CHINA.to_datetime(offset.to_timestamp(at).ok()?).date())
}

/// The value in half-width characters, with plain spaces only.
fn written(value: &str) -> Option<Cow<'_, str>> {
    if value.len() > BYTES_MAX || super::code::holds_other_digits(value) {
        return None;
    }
    if value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Some(value.into());
    }
    let plain = |c: char| match c {
        '\u{2212}' | '\u{2010}'..='\u{2015}' => '-',
        c if is_blank(c) => ' ',
        c => c,
    };
    Some(value.nfkc().filter(|c| !is_unseen(*c)).map(plain).collect::<String>().into())
}

/// Digits of a day as they were read.
struct Digits<'t> {
    parts: [&'t str; 3],
    /// Without separators: perhaps it was a number.
    compact: bool,
}

impl Digits<'_> {
    /// In the form of a day, also where there is no such day: the rules say that.
    fn stored(&self) -> String {
        let [y, m, d] = self.parts;
        format!("{y}-{m:0>2}-{d:0>2}")
    }

    /// A day that exists, and whether it was written without separators.
    fn checked(&self) -> Option<(Date, bool)> {
        let [y, m, d] = self.parts;
        let date = Date::new(y.parse().ok()?, m.parse().ok()?, d.parse().ok()?).ok()?;
        Some((date, self.compact))
    }
}

/// A time of day.
enum Clock {
    At(Time),
    /// 24:00
    EndOfDay,
}

/// Reads a text from its front.
struct Reader<'t>(&'t str);

impl<'t> Reader<'t> {
    fn digits(&mut self, most: usize) -> Option<&'t str> {
        let length = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(length).filter(|(d, _)| !d.is_empty())?;
        self.0 = rest;
        Some(digits)
    }

    fn one_of(&mut self, signs: &[char]) -> Option<char> {
        let c = self.0.chars().next().filter(|c| signs.contains(c))?;
        self.0 = self.0.get(c.len_utf8()..)?;
        Some(c)
    }

    fn skip(&mut self, sign: char) {
        self.0 = self.0.trim_start_matches(sign);
    }

    fn begins_with_digit(&self) -> bool {
        self.0.starts_with(|c: char| c.is_ascii_digit())
    }

    /// A day at the front: YYYY-M-D with other separators, without any, or in Chinese.
    fn date(mut self) -> Option<(Digits<'t>, &'t str)> {
        let run = self.0.bytes().take_while(u8::is_ascii_digit).count();
        // With a time behind it of minutes, seconds or milliseconds, or with nothing.
        if matches!(run, 8 | 12 | 14 | 17) {
            let (y, m, d) = (self.digits(4)?, self.digits(2)?, self.digits(2)?);
            return Some((Digits { parts: [y, m, d], compact: true }, self.0));
        }
        let in_chinese = self.0.contains('年');
        let y = self.digits(5).filter(|y| y.len() == 4)?;
        let mut part = |before: &[char]| {
            if in_chinese {
                self.skip(' ');
            }
            self.one_of(before)?;
            if in_chinese {
                self.skip(' ');
            }
            self.digits(2)
        };
        let m = part(&['-', '/', '.', '年'])?;
        let d = part(&['-', '/', '.', '月'])?;
        if self.begins_with_digit() {
            return None;
        }
        let before = self.0;
        self.skip(' ');
        if self.one_of(&['日', '号']).is_none() {
            self.0 = before;
        }
        Some((Digits { parts: [y, m, d], compact: false }, self.0))
    }

    /// A time at the front, and what stands behind it. 12 hours with a word for the half of the day, or 24.
    fn time(mut self) -> Option<(Clock, &'t str)> {
        self.one_of(&['T', 't']);
        self.skip(' ');
        let before = ["上午", "下午", "AM", "PM", "am", "pm"].into_iter().find(|w| self.0.starts_with(w));
        self.0 = before.map_or(self.0, |w| &self.0[w.len()..]);
        self.skip(' ');
        let run = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let h = self.digits(2)?;
        let (mut m, mut s) = ("0", "0");
        if matches!(run, 4 | 6 | 9) {
            m = self.digits(2)?;
            s = self.digits(2).unwrap_or(s);
            self.digits(3);
        } else if run > 2 {
            return None;
        } else if self.one_of(&[':', '时', '点']) == Some(':') {
            m = self.digits(2)?;
            if self.one_of(&[':']).is_some() {
                s = self.digits(2)?;
            }
        } else {
            m = self.digits(2).unwrap_or(m);
            if self.one_of(&['分']).is_some() {
                s = self.digits(2).unwrap_or(s);
                self.one_of(&['秒']);
            }
        }
        let part = if self.one_of(&['.', ',']).is_some() { self.digits(9)? } else { "" };
        self.skip(' ');
        let after = ["AM", "PM", "am", "pm"].into_iter().find(|w| self.0.starts_with(w));
        self.0 = after.map_or(self.0, |w| &self.0[w.len()..]);
        let [h, m, s] = [h, m, s].map(|t| t.parse::<i8>().ok());
        let (mut h, m, s) = (h?, m?, s?);
        match before.or(after) {
            None => {}
            Some(_) if h > 12 => {}
            Some("下午" | "PM" | "pm") => h = h % 12 + 12,
            Some(_) => h %= 12,
        }
        if (h, m, s) == (24, 0, 0) && part.bytes().all(|b| b == b'0') {
            return Some((Clock::EndOfDay, self.0));
        }
        // A leap second belongs to its minute.
        Time::new(h, m, s.min(if s == 60 { 59 } else { s }), 0).ok().map(|t| (Clock::At(t), self.0))
    }
}

/// The offset that stands behind a time. Outer none: something that is none.
fn offset(text: &str) -> Option<Option<Offset>> {
    let text = text.trim();
    let (text, zone) = match text.strip_suffix([']', ')']).and_then(|t| t.rsplit_once(['[', '('])) {
        Some((text, zone)) => (text.trim(), Some(zone)),
        None => (text, None),
    };
    let bare = ["UTC", "GMT"].iter().find_map(|name| text.strip_prefix(name)).map(str::trim);
    match (bare.unwrap_or(text), bare.is_some()) {
        ("Z" | "z", false) | ("", true) => return Some(Some(Offset::UTC)),
        ("", false) => return zone.is_none_or(|z| CHINA_ZONES.contains(&z)).then_some(None),
        _ => {}
    }
    let mut reader = Reader(bare.unwrap_or(text));
    let sign = if reader.one_of(&['+', '-'])? == '-' { -1 } else { 1 };
    let run = reader.0.bytes().take_while(u8::is_ascii_digit).count();
    let h = reader.digits(if run == 3 { 1 } else { 2 })?;
    let colon = reader.one_of(&[':']).is_some();
    let m = if colon || reader.begins_with_digit() { reader.digits(2).filter(|m| m.len() == 2)? } else { "0" };
    let (h, m): (i32, i32) = (h.parse().ok()?, m.parse().ok()?);
    // The world's clocks stand from 12 hours behind to 14 ahead.
    let seconds = sign * (h * 3_600 + m * 60);
    let is_offset = m < 60 && (-12 * 3_600..=14 * 3_600).contains(&seconds) && reader.0.is_empty();
    is_offset.then(|| Offset::from_seconds(seconds).ok()).flatten().map(Some)
}

/// Days that a number of a spreadsheet may mean: from 1950 to the day that stands for "no end".
const SERIALS: std::ops::RangeInclusive<u32> = 18_264..=73_050;
/// Days between the two ways to count them: from 1900, and from 1904.
const FROM_1904: u32 = 1_462;

/// What a value that is no day was meant for, in English and Chinese, if it can be told.
pub(super) fn meant(value: &str) -> Option<(String, String)> {
    let text = written(value)?;
    let text = text.trim();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let is_number = !whole.is_empty()
        && whole.bytes().all(|b| b.is_ascii_digit())
        && text[whole.len()..].bytes().skip(1).all(|b| b.is_ascii_digit());
    if is_number {
        if let Some(n) = whole.parse().ok().filter(|n| SERIALS.contains(n)) {
            let (day, later) = (serial(n)?, serial(n + FROM_1904)?);
            return Some((
                format!(
                    "it is a day number of a spreadsheet and means {day} (or {later}, where days count from 1904): format the column as a date, or write that day"
                ),
                format!(
                    "这是表格软件的日期序号，表示 {day}（1904 日期系统为 {later}），请将该列设为日期格式，或直接填写该日期"
                ),
            ));
        }
        let seconds = match whole.len() {
            10 => whole.parse().ok(),
            13 => whole.parse::<i64>().ok().map(|ms| ms / 1_000),
            _ => None,
        };
        if let Some(at) = seconds.and_then(|s| Timestamp::from_second(s).ok()) {
            let day = CHINA.to_datetime(at).date();
            return Some((
                format!("it is a count of seconds since 1970 and means {day} in China: write that day"),
                format!("这是时间戳，表示中国日期 {day}，请填写该日期"),
            ));
        }
        return None;
    }
    let (date, rest) = match Reader(text).date() {
        Some((date, rest)) => (date.checked().map(|(date, _)| date), rest.trim()),
        None if text.bytes().all(|b| b.is_ascii_digit() || b"-/. ".contains(&b)) && text.len() >= 6 => {
            return Some((
                "the order of day, month and year, or the century, is not sure, or a part is missing".to_owned(),
                "年、月、日不全，或顺序、世纪不明确，请按 YYYY-MM-DD 填写".to_owned(),
            ));
        }
        None => return None,
    };
    match date {
        None => Some(("there is no such day".to_owned(), "该日期不存在".to_owned())),
        Some(_) if rest.starts_with(|c: char| c.is_ascii_digit() || "Tt+-".contains(c)) => Some((
            "what stands behind the day is no time or offset".to_owned(),
            "日期后的时间或时区无法识别".to_owned(),
        )),
        Some(_) => None,
    }
}

/// The day of a spreadsheet's number, counted from 1900 (with its day that never was, 29 February 1900).
fn serial(days: u32) -> Option<Date> {
    Date::constant(1899, 12, 30).checked_add(i64::from(days).days()).ok()
}

#[cfg(test)]
mod tests;
