//! The text that one section of a number format makes: its literals, and the digits of a number in its places.

/// What a section makes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct NumberShape {
    pub(super) tokens: Vec<Token>,
    pub(super) percent: bool,
    /// Thousands that are left out, as powers of 1,000.
    pub(super) thousands: i32,
    /// Places behind the point.
    pub(super) decimals: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A place of a digit; shown as 0 where the number has none.
    Digit {
        zero: bool,
    },
    /// The point and what stands behind it, as far as the number has it; or the whole value as it is.
    Fraction,
    General,
    Literal(char),
}

/// What a shape shows of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeKind {
    /// Its digits.
    Digits,
    /// A text of its own.
    Text,
    /// A dash alone.
    Dash,
    /// Nothing.
    Nothing,
}

impl NumberShape {
    fn literals(&self) -> impl Iterator<Item = char> {
        self.tokens.iter().filter_map(|t| if let Token::Literal(c) = t { Some(*c) } else { None })
    }

    /// Whether it holds literals besides spaces.
    pub(super) fn has_literal(&self) -> bool {
        self.literals().any(|c| !c.is_whitespace())
    }

    /// Whether it holds literals that are none of a number's.
    pub(super) fn has_text(&self) -> bool {
        self.literals().any(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '-' | '+'))
    }

    /// Whether it shows that a number is below zero.
    pub(super) fn has_sign(&self) -> bool {
        self.literals().any(|c| matches!(c, '-' | '(' | '\u{2212}'))
    }

    /// What it shows of a number.
    pub(super) fn kind(&self) -> ShapeKind {
        let zeros = self.tokens.iter().filter(|t| **t == Token::Digit { zero: true }).count();
        let has_number = self.tokens.iter().any(|t| !matches!(t, Token::Literal(_)));
        match has_number {
            true if zeros > 1 || self.has_text() || self.percent || self.thousands > 0 => ShapeKind::Text,
            true => ShapeKind::Digits,
            false if !self.has_literal() => ShapeKind::Nothing,
            false if self.has_text() => ShapeKind::Text,
            false => ShapeKind::Dash,
        }
    }

    /// Whether a number has more decimals than it shows: then it is shown rounded. `plain` writes one out.
    pub(super) fn rounds(&self, number: f64, plain: impl Fn(f64) -> String) -> bool {
        let digits = plain(self.scaled(number));
        let has_places = self.tokens.iter().any(|t| matches!(t, Token::Digit { .. }));
        has_places && digits.split_once('.').is_some_and(|(_, fraction)| fraction.len() > self.decimals)
    }

    /// What of a number is written out, without its sign.
    fn scaled(&self, number: f64) -> f64 {
        number.abs() * if self.percent { 100.0 } else { 1.0 } / 1000_f64.powi(self.thousands)
    }

    /// A text with what stands around it.
    pub(super) fn around(&self, text: &str) -> String {
        let one = |token: &Token| match token {
            Token::Literal(c) => c.to_string(),
            _ => text.to_owned(),
        };
        self.tokens.iter().map(one).collect()
    }

    /// The text of a number that has this format; `plain` writes a number out.
    pub(super) fn text(&self, number: f64, plain: impl Fn(f64) -> String) -> String {
        let digits = plain(self.scaled(number));
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
