//! Number formats that make another text of a number than its digits: leading zeros, texts before and behind, percent and
//! thousands left out (ECMA-376, 18.8.31). Others show the digits, perhaps fewer; then the number is what is read.

/// A format that makes another text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumberShape {
    tokens: Vec<Token>,
    percent: bool,
    /// Thousands that are left out, as powers of 1,000.
    thousands: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A place of a digit; shown as 0 where the number has none.
    Digit {
        zero: bool,
    },
    /// The point and what stands behind it, as far as the number has it; or the whole number as it is.
    Fraction,
    General,
    Literal(char),
}

impl NumberShape {
    /// What a format code does to a number that is not negative; `None`: it shows its digits.
    pub(super) fn of(code: &str) -> Option<Self> {
        let (mut shape, mut commas) = (Self { tokens: Vec::new(), percent: false, thousands: 0 }, 0);
        let mut chars = code.chars();
        while let Some(c) = chars.next() {
            if let Some(rest) = chars.as_str().strip_prefix("eneral").filter(|_| matches!(c, 'G' | 'g')) {
                shape.tokens.push(Token::General);
                chars = rest.chars();
                continue;
            }
            if c != ',' && commas > 0 {
                // Behind the last digit they leave thousands out; between digits they only part them.
                if !matches!(c, '0' | '#' | '?') {
                    shape.thousands += commas;
                }
                commas = 0;
            }
            match c {
                ';' => break,
                '0' | '#' | '?' if shape.tokens.contains(&Token::Fraction) => {}
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
                    // What a condition shows depends on the number, and what a fraction or an exponent shows is not its digits.
                    if inner.starts_with(['<', '>', '=']) {
                        return None;
                    }
                    let symbol = inner.strip_prefix('$').map_or("", |s| s.split('-').next().unwrap_or_default());
                    shape.tokens.extend(symbol.chars().map(Token::Literal));
                }
                '@' | '/' | 'E' | 'e' => return None,
                c => shape.tokens.push(Token::Literal(c)),
            }
        }
        shape.thousands += commas;
        let zeros = shape.tokens.iter().filter(|t| **t == Token::Digit { zero: true }).count();
        let has_number = shape.tokens.iter().any(|t| !matches!(t, Token::Literal(_)));
        let text = shape
            .tokens
            .iter()
            .any(|t| matches!(t, Token::Literal(c) if !c.is_whitespace() && !matches!(c, '(' | ')' | '-' | '+')));
        (has_number && (zeros > 1 || text || shape.percent || shape.thousands > 0)).then_some(shape)
    }

    /// The text of a number that has this format; `plain` writes a number out.
    pub(super) fn text(&self, number: f64, plain: impl Fn(f64) -> String) -> String {
        let scaled = number.abs() * if self.percent { 100.0 } else { 1.0 } / 1000_f64.powi(self.thousands);
        let digits = plain(scaled);
        let (whole, fraction) = digits.split_once('.').map_or((digits.as_str(), ""), |(w, f)| (w, f));
        let places = self.tokens.iter().filter(|t| matches!(t, Token::Digit { .. })).count();
        let pointed = self.tokens.contains(&Token::Fraction);
        let mut out = String::from(if number < 0.0 { "-" } else { "" });
        let (mut place, mut shown) = (0, false);
        for token in &self.tokens {
            match token {
                Token::General => out += &digits,
                Token::Literal(c) => out.push(*c),
                Token::Fraction if !fraction.is_empty() => out.extend(['.'].into_iter().chain(fraction.chars())),
                Token::Fraction => {}
                Token::Digit { zero } => {
                    // The first place takes all digits that have none of their own.
                    let behind = places - place - 1;
                    let to = whole.len().saturating_sub(behind);
                    let from = if place == 0 { 0 } else { to.saturating_sub(1).min(whole.len()) };
                    let here = whole.get(from..to).unwrap_or_default();
                    let none = here.is_empty() || (whole == "0" && !zero);
                    match (none, *zero || shown) {
                        (false, _) => out += here,
                        (true, true) => out.push('0'),
                        (true, false) => {}
                    }
                    shown |= !none || *zero;
                    place += 1;
                    if place == places && !pointed && !fraction.is_empty() {
                        out.extend(['.'].into_iter().chain(fraction.chars()));
                    }
                }
            }
        }
        out
    }
}

/// Whether a format shows a number as a text that is not made of its digits: by a condition, in Chinese numerals, as a fixed
/// text, or as nothing.
pub(super) fn shows_otherwise(code: &str) -> bool {
    let (mut chars, mut first, mut places) = (code.chars(), true, false);
    while let Some(c) = chars.next() {
        match c {
            ';' => first = false,
            '"' => drop(chars.by_ref().take_while(|c| *c != '"').count()),
            '\\' | '!' | '_' | '*' => drop(chars.next()),
            '[' => {
                let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                if inner.starts_with("DBNum") || inner.starts_with(['<', '>', '=']) {
                    return true;
                }
            }
            '0' | '#' | '?' | '@' | 'G' | 'g' | '.' => places |= first,
            _ => {}
        }
    }
    !code.is_empty() && !places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_show_something_else_than_the_digits_are_known() {
        for code in [
            ";;;",
            "\"是\"",
            "[<100]000;0",
            "[=1]\"男\";[=2]\"女\"",
            "[>0]合格;不合格",
            "[DBNum1][$-804]General",
            "[DBNum2]0",
        ] {
            assert!(shows_otherwise(code), "{code}");
        }
        let signed = "_(* #,##0_);_(* (#,##0);_(* \"-\"_);_(@_)";
        for code in ["", "General", "@", "0", "#,##0.00", "0\"号\"", "[Red]0;[Blue]0", "0%", "\"榕\"General", signed]
        {
            assert!(!shows_otherwise(code), "{code}");
        }
    }

    fn shown(code: &str, number: f64) -> Option<String> {
        NumberShape::of(code).map(|shape| shape.text(number, |f| format!("{f}")))
    }

    #[test]
    fn a_number_is_read_as_its_format_shows_it() {
        for (code, number, text) in [
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
            ("\"榕许\"General\"号\"", 12.0, "榕许12号"),
            ("00", -5.0, "-05"),
            ("\"第\"#\"号\"", 3.0, "第3号"),
        ] {
            assert_eq!(shown(code, number).as_deref(), Some(text), "{code} {number}");
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
            "[=1]\"是\";0",
            "",
            "_(* #,##0_);_(* (#,##0);_(* \"-\"_);_(@_)",
        ] {
            assert_eq!(NumberShape::of(code), None, "{code}");
        }
    }
}
