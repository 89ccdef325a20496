//! What the format of a cell makes of its value (ECMA-376, 18.8.31): leading zeros, texts before and behind, percent and
//! thousands left out, texts in place of numbers, by sign or by a condition. Other formats show the digits, perhaps fewer;
//! then the number is what is read. What cannot be made of the digits for certain is told, not guessed.

use super::shape::{NumberShape, ShapeKind, Token};

/// Sections of a format: for numbers above zero, below zero and for zero, or by conditions; and for texts.
const SECTIONS_MAX: usize = 4;

/// The format of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CellFormat {
    numbers: Vec<Section>,
    texts: Option<Section>,
}

/// What is shown of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    /// The value itself, perhaps with fewer digits.
    Itself,
    /// This text.
    Text(String),
    /// Another text, or nothing.
    Otherwise,
}

/// What is shown of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownDay {
    /// Year, month and day, without the time.
    Day,
    /// Those with the time.
    DayAndTime,
    /// Less than the day.
    Part,
    /// It is no format of days at all: the value is a number.
    Number,
}

/// A part of a format, which ends at a semicolon.
#[derive(Debug, Clone, PartialEq)]
struct Section {
    condition: Option<Condition>,
    shape: NumberShape,
    kind: SectionKind,
    /// Shown as a fraction or with an exponent.
    in_parts: bool,
    /// Letters of days and times that stand in it.
    letters: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SectionKind {
    /// Shows the digits.
    Digits,
    /// Shows the text that its shape makes.
    Shaped,
    /// Shows a dash alone.
    Dash,
    /// Shows nothing, or what is not worked out here.
    Otherwise,
    /// Of the value as it is; for texts.
    Value,
}

/// `[>99]`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Condition {
    less: bool,
    equal: bool,
    more: bool,
    than: f64,
}

impl Condition {
    /// Of what stands in the brackets.
    fn of(text: &str) -> Option<Self> {
        let number = text.trim_start_matches(['<', '>', '=']);
        let (less, equal, more) = match text.strip_suffix(number)? {
            "<" => (true, false, false),
            "<=" => (true, true, false),
            ">" => (false, false, true),
            ">=" => (false, true, true),
            "=" => (false, true, false),
            "<>" => (true, false, true),
            _ => return None,
        };
        Some(Self { less, equal, more, than: number.trim().parse().ok()? })
    }

    fn holds(self, f: f64) -> bool {
        (self.less && f < self.than) || (self.more && f > self.than) || (self.equal && f == self.than)
    }
}

impl CellFormat {
    pub(super) fn of(code: &str) -> Self {
        let code = if code.trim().is_empty() { "General" } else { code };
        let mut numbers: Vec<Section> = split(code).into_iter().take(SECTIONS_MAX).map(Section::of).collect();
        let of_texts = numbers.len() == SECTIONS_MAX || numbers.last().is_some_and(|s| s.kind == SectionKind::Value);
        let texts = if of_texts { numbers.pop() } else { None };
        Self { numbers, texts }
    }

    /// Whether it shows each value as it is.
    pub(super) fn is_plain(&self) -> bool {
        // A number may have more decimals than there are places.
        let plain =
            |s: &Section| s.kind == SectionKind::Digits && s.shape.tokens == [Token::General] && s.condition.is_none();
        // Below zero the sign may be shown by a colour alone.
        self.numbers.len() < 2 && self.numbers.iter().all(plain) && self.texts.as_ref().is_none_or(Section::is_value)
    }

    /// What is shown of a number; `plain` writes one out.
    pub(super) fn number(&self, f: f64, plain: impl Fn(f64) -> String) -> Shown {
        // A format of texts alone shows a number as it is, if it adds nothing.
        let alone = self.texts.as_ref().filter(|_| self.numbers.is_empty());
        if let Some(texts) = alone {
            return if texts.is_value() { Shown::Itself } else { Shown::Otherwise };
        }
        let Some((section, signed)) = self.section(f) else { return Shown::Otherwise };
        match section.kind {
            SectionKind::Digits | SectionKind::Shaped if !section.in_parts && section.shape.rounds(f, &plain) => {
                Shown::Otherwise
            }
            SectionKind::Digits if signed || f >= 0.0 || section.shape.has_sign() => Shown::Itself,
            SectionKind::Dash if f == 0.0 => Shown::Itself,
            SectionKind::Shaped if signed => Shown::Text(section.shape.text(f, plain)),
            SectionKind::Shaped => Shown::Text(section.shape.text(f.abs(), plain)),
            _ => Shown::Otherwise,
        }
    }

    /// What is shown of a text.
    pub(super) fn text(&self, text: &str) -> Shown {
        match &self.texts {
            Some(section) if section.is_value() => Shown::Itself,
            Some(section) if section.kind == SectionKind::Value => Shown::Text(section.shape.around(text)),
            Some(_) => Shown::Otherwise,
            None => Shown::Itself,
        }
    }

    /// What is shown of a number that is read as a day.
    pub(super) fn day(&self) -> ShownDay {
        let letters = self.numbers.first().map_or("", |s| s.letters.as_str());
        let has = |all: &[char]| letters.contains(all);
        match (has(&['y', 'e']) && has(&['m']) && has(&['d']), has(&['h', 's'])) {
            _ if letters.is_empty() => ShownDay::Number,
            (true, false) => ShownDay::Day,
            (true, true) => ShownDay::DayAndTime,
            (false, _) => ShownDay::Part,
        }
    }

    /// The section that a number is shown by, and whether a number below zero then gets its sign; `None`: it is not certain.
    fn section(&self, f: f64) -> Option<(&Section, bool)> {
        if self.numbers.iter().all(|s| s.condition.is_none()) {
            return match self.numbers.as_slice() {
                [_, below, ..] if f < 0.0 => Some((below, false)),
                [_, _, zero] if f == 0.0 => Some((zero, true)),
                [first, ..] => Some((first, true)),
                [] => None,
            };
        }
        // Spreadsheets differ in whether they then show the sign.
        if f < 0.0 {
            return None;
        }
        let holds = |s: &Section| s.condition.is_some_and(|c| c.holds(f));
        let section = match self.numbers.as_slice() {
            [first, ..] if holds(first) => first,
            [Section { condition: Some(_), .. }, other @ Section { condition: None, .. }] => other,
            [Section { condition: Some(_), .. }, second @ Section { condition: Some(_), .. }, rest @ ..] => {
                if holds(second) { second } else { rest.first()? }
            }
            _ => return None,
        };
        Some((section, true))
    }
}

/// The sections of a format.
fn split(code: &str) -> Vec<&str> {
    let (mut from, mut all, mut chars) = (0, Vec::new(), code.char_indices());
    while let Some((at, c)) = chars.next() {
        let mut pass = |end: char| _ = chars.by_ref().find(|(_, c)| *c == end);
        match c {
            ';' => {
                all.push(code.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            '"' => pass('"'),
            '[' => pass(']'),
            '\\' | '!' | '_' | '*' => _ = chars.next(),
            _ => {}
        }
    }
    all.push(code.get(from..).unwrap_or_default());
    all
}

/// How WPS writes `General` in a book that it localised.
const GENERAL: [&str; 3] = ["General", "general", "G/通用格式"];

impl Section {
    fn of(code: &str) -> Self {
        let mut section = Self {
            condition: None,
            shape: NumberShape::default(),
            kind: SectionKind::Otherwise,
            in_parts: false,
            letters: String::new(),
        };
        let (mut otherwise, mut of_text, mut commas) = (false, false, 0);
        let shape = &mut section.shape;
        let mut chars = code.chars();
        loop {
            if let Some(rest) = GENERAL.iter().find_map(|g| chars.as_str().strip_prefix(g)) {
                shape.tokens.push(Token::General);
                chars = rest.chars();
                continue;
            }
            let Some(c) = chars.next() else { break };
            if c != ',' && commas > 0 {
                // Behind the last digit they leave thousands out; between digits they only part them.
                if !matches!(c, '0' | '#' | '?') {
                    shape.thousands += commas;
                }
                commas = 0;
            }
            match c {
                '0' | '#' | '?' if shape.tokens.contains(&Token::Fraction) => shape.decimals += 1,
                '0' => shape.tokens.push(Token::Digit { zero: true }),
                '#' | '?' => shape.tokens.push(Token::Digit { zero: false }),
                '.' => shape.tokens.push(Token::Fraction),
                ',' => commas += 1,
                '%' => {
                    shape.percent = true;
                    shape.tokens.push(Token::Literal('%'));
                }
                '"' => shape.tokens.extend(chars.by_ref().take_while(|c| *c != '"').map(Token::Literal)),
                '\\' | '!' => shape.tokens.extend(chars.next().map(Token::Literal)),
                '_' | '*' => drop(chars.next()),
                '[' => {
                    let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                    let symbol = inner.strip_prefix('$').map_or("", |s| s.split('-').next().unwrap_or_default());
                    shape.tokens.extend(symbol.chars().map(Token::Literal));
                    section.condition = section.condition.or_else(|| Condition::of(&inner));
                    let unknown = inner.starts_with(['<', '>', '=']) && section.condition.is_none();
                    otherwise |= unknown || inner.starts_with("DBNum");
                    let of_time = !inner.is_empty() && inner.chars().all(|c| matches!(c, 'h' | 'm' | 's'));
                    section.letters.extend(inner.chars().filter(|_| of_time));
                }
                '@' => {
                    of_text = true;
                    shape.tokens.push(Token::General);
                }
                '/' if section.letters.is_empty() => section.in_parts = true,
                'E' | 'e' if chars.as_str().starts_with(['+', '-']) => section.in_parts = true,
                c if c.is_ascii_alphabetic() => {
                    otherwise = true;
                    section.letters.extend(c.to_lowercase().filter(|c| matches!(c, 'y' | 'e' | 'm' | 'd' | 'h' | 's')));
                }
                c => shape.tokens.push(Token::Literal(c)),
            }
        }
        shape.thousands += commas;
        // What a fraction or an exponent shows is the number, if nothing stands beside it.
        section.kind = match () {
            () if otherwise || (section.in_parts && shape.has_text()) => SectionKind::Otherwise,
            () if of_text => SectionKind::Value,
            () if section.in_parts => SectionKind::Digits,
            () => match shape.kind() {
                ShapeKind::Digits => SectionKind::Digits,
                ShapeKind::Text => SectionKind::Shaped,
                ShapeKind::Dash => SectionKind::Dash,
                ShapeKind::Nothing => SectionKind::Otherwise,
            },
        };
        section
    }

    /// Whether it shows a text as it is.
    fn is_value(&self) -> bool {
        self.kind == SectionKind::Value && !self.shape.has_literal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(code: &str, number: f64) -> Shown {
        CellFormat::of(code).number(number, |f| format!("{f}"))
    }

    fn text(text: &str) -> Shown {
        Shown::Text(text.to_owned())
    }

    #[test]
    fn formats_that_show_something_else_than_the_digits_are_known() {
        for code in [
            ";;;",
            ";;;@",
            "[DBNum1][$-804]General",
            "[DBNum2]0",
            "[DBNum1][$-804]G/通用格式",
            "aaaa",
            "\"第\"0.0E+0",
            "\"榕\"@",
            "[>a]0",
        ] {
            assert_eq!(shown(code, 5.0), Shown::Otherwise, "{code}");
        }
    }

    #[test]
    fn a_number_is_read_as_its_format_shows_it() {
        for (code, number, wanted) in [
            ("000000", 2.0, "000002"),
            ("000000", 1_234_567.0, "1234567"),
            ("0000", 0.0, "0000"),
            ("\"榕鼓许\"0000\"号\"", 17.0, "榕鼓许0017号"),
            ("000\\-0000", 12.0, "000-0012"),
            ("0000\"年\"00\"月\"", 202_611.0, "2026年11月"),
            ("0\"元\"", 15.0, "15元"),
            ("#,##0.00\"元\"", 1234.5, "1234.5元"),
            ("[$¥-804]#,##0", 1234.0, "¥1234"),
            ("0%", 0.15, "15%"),
            ("0.00%", 0.155, "15.5%"),
            ("0!.0,\"万\"", 15_000.0, "1.5万"),
            ("#,##0,", 15_000.0, "15"),
            ("General\"号\"", 7.0, "7号"),
            ("G/通用格式\"号\"", 7.0, "7号"),
            ("\"榕许\"General\"号\"", 12.0, "榕许12号"),
            ("00", -5.0, "-05"),
            ("\"第\"#\"号\"", 3.0, "第3号"),
            ("0!D000", 3.0, "0D003"),
            ("\"是\"", 1.0, "是"),
        ] {
            assert_eq!(shown(code, number), text(wanted), "{code} {number}");
        }
    }

    /// The first section was applied to every number, and conditions were passed over.
    #[test]
    fn the_section_that_a_number_has_is_the_one_that_shows_it() {
        for (code, number, wanted) in [
            ("0000;-0000;;@", 7.0, text("0007")),
            ("0000;-0000;;@", -7.0, text("-0007")),
            ("0000;-0000;;@", 0.0, Shown::Otherwise),
            ("0;-0;;@", 0.0, Shown::Otherwise),
            ("0;-0;;@", 12.0, Shown::Itself),
            ("0;;0", -3.0, Shown::Otherwise),
            ("0000;[Red]0000", -7.0, text("0007")),
            ("0;[Red]0", -7.0, Shown::Otherwise),
            ("0.00_);[Red](0.00)", -7.0, Shown::Itself),
            ("0;0;\"无\"", 0.0, text("无")),
            ("_(* #,##0_);_(* (#,##0);_(* \"-\"_);_(@_)", 0.0, Shown::Itself),
            ("_(* #,##0_);_(* (#,##0);_(* \"-\"_);_(@_)", 5.0, Shown::Itself),
            ("\"有\";\"负\";\"无\"", 0.0, text("无")),
            ("[>99]0;000", 100.0, Shown::Itself),
            ("[>99]0;000", 7.0, text("007")),
            ("[Red][<100]\"榕许\"000;[Blue]0", 12.0, text("榕许012")),
            ("[Red][<100]\"榕许\"000;[Blue]0", 112.0, Shown::Itself),
            ("[=1]\"男\";[=2]\"女\"", 1.0, text("男")),
            ("[=1]\"男\";[=2]\"女\"", 2.0, text("女")),
            ("[=1]\"男\";[=2]\"女\"", 3.0, Shown::Otherwise),
            ("[=1]\"男\";[=2]\"女\";0", 3.0, Shown::Itself),
            ("[>=10000]0!.0,\"万\";0\"元\"", 15_000.0, text("1.5万")),
            ("[>=10000]0!.0,\"万\";0\"元\"", 15.0, text("15元")),
            ("[>9]0;[<5]00;000", 7.0, text("007")),
            ("[>9]0;00;000", 7.0, Shown::Otherwise),
            ("[>9]0", 7.0, Shown::Otherwise),
            ("[<>0]0;\"零\"", 0.0, text("零")),
            ("[>99]0;000", -7.0, Shown::Otherwise),
            ("0.00", 1.25, Shown::Itself),
            ("0.00", 1.255, Shown::Otherwise),
            ("0\"号\"", 12.6, Shown::Otherwise),
            ("0%", 0.155, Shown::Otherwise),
            ("0.0,", 15_500.0, text("15.5")),
            ("# ?/?", 0.5, Shown::Itself),
        ] {
            assert_eq!(shown(code, number), wanted, "{code} {number}");
        }
    }

    #[test]
    fn formats_that_show_the_digits_are_none() {
        for code in [
            "General",
            "0",
            "0.00",
            "#,##0",
            "#,##0.00",
            "@",
            "#",
            "0_);(0)",
            "[Red]0",
            "# ?/?",
            "0.00E+00",
            "",
            "G/通用格式",
        ] {
            assert_eq!(shown(code, 5.0), Shown::Itself, "{code}");
        }
        for (code, plain) in [
            ("General", true),
            ("@", true),
            ("0.00", false),
            ("0;[Red]0", false),
            ("yyyy", false),
            ("[DBNum1]General", false),
        ] {
            assert_eq!(CellFormat::of(code).is_plain(), plain, "{code}");
        }
    }

    /// What a format puts around texts was left out, and texts that it hides were stored without a word.
    #[test]
    fn a_text_is_read_as_its_format_shows_it() {
        for (code, wanted) in [
            ("General", Shown::Itself),
            ("0", Shown::Itself),
            ("@", Shown::Itself),
            ("_(@_)", Shown::Itself),
            ("0;0;0;@", Shown::Itself),
            ("\"榕鼓许\"@\"号\"", text("榕鼓许12号")),
            ("0;-0;;\"第\"@", text("第12")),
            (";;;", Shown::Otherwise),
            ("0;0;0;\"无\"", Shown::Otherwise),
        ] {
            assert_eq!(CellFormat::of(code).text("12"), wanted, "{code}");
        }
    }

    #[test]
    fn what_of_a_day_is_shown() {
        for (code, wanted) in [
            ("yyyy\\-mm\\-dd", ShownDay::Day),
            ("[$-804]yyyy\"年\"m\"月\"d\"日\";@", ShownDay::Day),
            ("mm-dd-yy", ShownDay::Day),
            ("yyyy/m/d h:mm:ss", ShownDay::DayAndTime),
            ("yyyy\"年\"m\"月\"", ShownDay::Part),
            ("d-mmm", ShownDay::Part),
            ("h:mm", ShownDay::Part),
            ("[h]:mm", ShownDay::Part),
            ("0!D000", ShownDay::Number),
        ] {
            assert_eq!(CellFormat::of(code).day(), wanted, "{code}");
        }
    }
}
