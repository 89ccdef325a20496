//! Unified social credit codes with valid check digits.

use std::fmt::Write as _;

pub(super) const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// A valid unified social credit code, 18 characters: the check of the organisation code (GB 11714) and the check
/// character (GB 32100) are both right.
///
/// `prefix2` says who registers what (`11`, `91` …), `division` is six digits. The subject is `MA` and `serial`
/// modulo 31^6 for entities (`9…`), `serial` modulo 10^8 in decimal for others.
pub(super) fn uscc(prefix2: &str, division: &str, serial: u64) -> String {
    let mut code = String::with_capacity(18);
    code.push_str(prefix2);
    code.push_str(division);
    if prefix2.starts_with('9') {
        code.push_str("MA");
        code.extend((0..6).rev().map(|i| char::from(ALPHABET[(serial / 31_u64.pow(i) % 31) as usize])));
    } else {
        let _ = write!(code, "{:08}", serial % 100_000_000);
    }
    code.push(org_check(code.as_bytes().get(8..16).unwrap_or_default()));
    code.push(uscc_check(code.as_bytes()));
    code
}

/// GB 11714 check of eight characters.
pub(super) fn org_check(body: &[u8]) -> char {
    let value = |c: u8| char::from(c).to_digit(36).unwrap_or(0);
    let sum: u32 = body.iter().zip([3, 7, 9, 10, 5, 8, 4, 2]).map(|(&c, weight)| value(c) * weight).sum();
    char::from(b"0X987654321"[(sum % 11) as usize])
}

/// GB 32100 check of the first 17 characters.
pub(super) fn uscc_check(code: &[u8]) -> char {
    let value = |c: u8| ALPHABET.binary_search(&c).unwrap_or(0);
    let weights = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
    let sum: usize = code.iter().zip(weights).map(|(&c, weight)| value(c) * weight).sum();
    char::from(ALPHABET[(31 - sum % 31) % 31])
}
