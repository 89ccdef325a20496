//! Check digits: credit codes, organisation codes, registration numbers, identity cards.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::divisions;
use jiff::civil::Date;
use std::ops::Range;
use tally_protocol::ids::Division;

/// How a code stands to its check digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digit {
    /// It is right, or the form has none.
    Ok,
    /// The form is right and the digit is wrong.
    Wrong,
    /// Not of this form at all.
    Malformed,
}

/// Characters of a credit code, each with its place as value (GB 32100-2015): no I, O, S, V, Z.
const USCC: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    text.as_bytes().try_into().ok()
}

fn digit(right: bool) -> Digit {
    if right { Digit::Ok } else { Digit::Wrong }
}

/// Value of an ASCII digit.
fn value(digit: u8) -> u8 {
    digit & 0x0f
}

/// Values of the characters of a credit code by their byte; of others [`NO_VALUE`].
#[expect(clippy::indexing_slicing, reason = "worked out when it is compiled, where a wrong place is an error")]
const USCC_VALUES: [u8; 256] = {
    let (mut values, mut n) = ([NO_VALUE; 256], 0_u8);
    while (n as usize) < USCC.len() {
        values[USCC[n as usize] as usize] = n;
        n += 1;
    }
    values
};
const NO_VALUE: u8 = u8::MAX;

fn uscc_value(b: u8) -> Option<usize> {
    USCC_VALUES.get(usize::from(b)).filter(|v| **v != NO_VALUE).map(|v| usize::from(*v))
}

/// The last character that the first 17 of a credit code ask for.
fn uscc_check(first: &[u8]) -> Option<u8> {
    let (mut sum, mut weight) = (0_usize, 1_usize);
    for b in first {
        sum = sum.saturating_add(uscc_value(*b)?.saturating_mul(weight));
        weight = weight.saturating_mul(3) % 31;
    }
    USCC.get(31_usize.saturating_sub(sum % 31) % 31).copied()
}

/// A unified social credit code (GB 32100-2015): its own check digit, and that of the organisation code within.
pub fn uscc(text: &str) -> Digit {
    let Some(b) = bytes::<18>(text) else { return Digit::Malformed };
    // Characters 3 to 8 are a division code.
    if !b[2..8].iter().all(u8::is_ascii_digit) || uscc_value(b[17]).is_none() {
        return Digit::Malformed;
    }
    let Some(check) = uscc_check(&b[..17]) else { return Digit::Malformed };
    digit(check == b[17] && org_check(&b[8..16]) == Some(b[16]))
}

/// Division of the authority that gave a credit code: characters 3 to 8.
pub fn uscc_division(text: &str) -> Option<Division> {
    let b = bytes::<18>(text)?;
    std::str::from_utf8(&b[2..8]).ok()?.parse().ok()
}

/// The ninth character that the first eight of an organisation code ask for.
fn org_check(first: &[u8]) -> Option<u8> {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let mut sum = 0_u32;
    for (b, weight) in first.iter().zip(WEIGHTS) {
        // Base 36: A is 10.
        let value = char::from(*b).to_digit(36).filter(|_| !b.is_ascii_lowercase())?;
        sum = sum.saturating_add(value.saturating_mul(weight));
    }
    // 11 less the remainder, as a character: 10 is X, and 11 is 0.
    b"0X987654321".get((sum % 11) as usize).copied()
}

/// An organisation code (GB 11714): nine characters, or with a hyphen before the ninth, which is its check.
pub fn org_code(text: &str) -> Digit {
    match (bytes::<9>(text), bytes::<10>(text)) {
        (Some([first @ .., check]), _) | (_, Some([first @ .., b'-', check])) => {
            org_check(&first).map_or(Digit::Malformed, |right| digit(right == check))
        }
        _ => Digit::Malformed,
    }
}

/// A registration number (GS 15-2006, check digit by GB/T 17710 MOD 11,10): 15 digits; older ones of 13 have no check.
pub fn reg_no(text: &str) -> Digit {
    if text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit()) {
        return Digit::Ok;
    }
    let Some(b) = bytes::<15>(text).filter(|b| b.iter().all(u8::is_ascii_digit)) else { return Digit::Malformed };
    let p = b[..14].iter().fold(10_u8, |p, d| match p.saturating_add(value(*d)) % 10 {
        0 => 20 % 11,
        s => s.saturating_mul(2) % 11,
    });
    digit(11_u8.saturating_sub(p) % 10 == value(b[14]))
}

/// The last character that the first 17 of an identity card number ask for.
#[expect(clippy::indexing_slicing, reason = "a remainder of 11 is the place of one of eleven characters")]
fn id_check(first: &[u8]) -> u8 {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = first.iter().zip(WEIGHTS).map(|(d, w)| u32::from(value(*d)).saturating_mul(w)).sum();
    b"10X98765432"[(sum % 11) as usize]
}

/// An identity card number (GB 11643): 18 characters with a check, or the 15 digits given out until 1999, which have
/// none. A number whose day of birth is not a day from 1900 to 2099 is malformed.
pub fn id_card(text: &str) -> Digit {
    if let Some(b) = bytes::<18>(text).filter(|b| b[..17].iter().all(u8::is_ascii_digit)) {
        return if born(&b).is_some() { digit(id_check(&b[..17]) == b[17]) } else { Digit::Malformed };
    }
    match bytes::<15>(text).filter(|b| b.iter().all(u8::is_ascii_digit)) {
        Some(b) if day(number(&b[6..8]).saturating_add(1900), &b[8..12]).is_some() => Digit::Ok,
        _ => Digit::Malformed,
    }
}

/// Years of birth of people whose number a text about a business may hold: they are grown up. Later ones are as likely
/// the year of a serial number.
const BORN: std::ops::RangeInclusive<i16> = 1900..=2012;
/// Residence permits of people from Taiwan begin so; the table of divisions has no such province.
const TAIWAN_PERMIT: u32 = 83;

/// The first identity card number in a text (V025): right check character, born in 1900 to 2012, beginning with a
/// province, and not a part of a longer number: no digit stands before or after it, anything else may. Counties that are
/// gone live on in the numbers, so only the province is looked at. Full-width digits count too. The range is in bytes.
pub fn find_id_card(text: &str) -> Option<Range<usize>> {
    if text.len() < 18 || !may_hold_a_number(text) {
        return None;
    }
    let mut chars = text.char_indices().map(|(i, c)| (i, narrow(c))).peekable();
    while let Some((start, c)) = chars.next() {
        if !c.is_ascii_digit() {
            continue;
        }
        let (mut found, mut length) = ([0; 18], 0_usize);
        let mut next = Some((start, c));
        while let Some((_, c)) = next {
            if let Some(place) = found.get_mut(length) {
                *place = c as u8;
            }
            length = length.saturating_add(1);
            // An X ends the number; digits after it begin another.
            next = chars.next_if(|(_, after)| c != 'X' && (after.is_ascii_digit() || (*after == 'X' && length == 17)));
        }
        let end = chars.peek().map_or(text.len(), |(i, _)| *i);
        let goes_on = chars.peek().is_some_and(|(_, c)| c.is_ascii_digit());
        if length == 18 && !goes_on && is_of_a_person(&found) {
            return Some(start..end);
        }
    }
    None
}

/// Few texts have 17 digits in a row. A full-width digit is 0xEF 0xBC and one of 0x90 to 0x99; some other signs count here too.
/// Of 17 bytes in a row the last that is no part of a digit tells where such a row can begin: most bytes are never looked at.
fn may_hold_a_number(text: &str) -> bool {
    let part_of_digit = |b: &u8| matches!(b, b'0'..=b'9' | 0xef | 0xbc | 0x90..=0x99);
    let mut rest = text.as_bytes();
    while let Some(window) = rest.first_chunk::<17>() {
        match window.iter().rposition(|b| !part_of_digit(b)) {
            Some(other) => rest = rest.get(other.saturating_add(1)..).unwrap_or_default(),
            None => return true,
        }
    }
    false
}

fn narrow(c: char) -> char {
    match c {
        '\u{ff10}'..='\u{ff19}' => char::from_digit(c as u32 & 0x0f, 10).unwrap_or(c),
        'x' | 'ｘ' | 'Ｘ' => 'X',
        c => c,
    }
}

fn is_of_a_person(b: &[u8; 18]) -> bool {
    let province = u32::from(number(&b[..2]).unsigned_abs());
    id_check(&b[..17]) == b[17]
        && born(b).is_some_and(|d| BORN.contains(&d.year()))
        && (province == TAIWAN_PERMIT || divisions::has_province(province))
}

/// Day of birth of a number of 18.
fn born(b: &[u8; 18]) -> Option<Date> {
    day(number(&b[6..10]), &b[10..14])
}

fn day(year: i16, month_and_day: &[u8]) -> Option<Date> {
    let (month, day) = month_and_day.split_at_checked(2)?;
    let date = Date::new(year, number(month) as i8, number(day) as i8).ok();
    date.filter(|d| (1900..=2099).contains(&d.year()))
}

/// Value of up to four digits.
fn number(digits: &[u8]) -> i16 {
    digits.iter().fold(0_i16, |n, d| n.saturating_mul(10).saturating_add(i16::from(value(*d))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_codes() {
        for good in [
            "91350102MA2TE5T1X0",
            "92350604MA8UAA019Y",
            "93350703MA33CC02XJ",
            "11350000001234562W",
            "9152000071430580XT",
            "91310000741627329A",
        ] {
            assert_eq!(uscc(good), Digit::Ok, "{good}");
            assert_eq!(org_code(&good[8..17]), Digit::Ok, "{good}");
            for i in 0..18 {
                let mut other = good.to_owned();
                let changed = if &good[i..=i] == "1" { "2" } else { "1" };
                other.replace_range(i..=i, changed);
                assert_ne!(uscc(&other), Digit::Ok, "{other}");
            }
        }
        assert_eq!(uscc("91350102MA2TE5T1X1"), Digit::Wrong);
        assert_eq!(uscc("91350203M0001QAY9B"), Digit::Wrong, "a real one that circulates");
        for bad in
            ["91350102MA2TE5T1XI", "91350102ma2te5t1x0", "91350102MA2TE5T1X", "９1350102MA2TE5T1X0", "", "名名名名名名"]
        {
            assert_eq!(uscc(bad), Digit::Malformed, "{bad}");
        }
        assert_eq!(uscc_division("91350102MA2TE5T1X0").unwrap().code(), 350_102);
        assert_eq!(uscc_division("Y1"), None);
    }

    #[test]
    fn registration_numbers() {
        for good in [
            "110108000000016",
            "310141000157096",
            "330781000095736",
            "330000000045009",
            "310000400311804",
            "440301103097413",
            "350100100000017",
            "350200600001233",
            "350681300000073",
        ] {
            assert_eq!(reg_no(good), Digit::Ok, "{good}");
            let last = (good.as_bytes()[14] - b'0' + 1) % 10;
            assert_eq!(reg_no(&format!("{}{last}", &good[..14])), Digit::Wrong, "{good}");
        }
        assert_eq!(reg_no("3501002001234"), Digit::Ok, "13 digits have no check");
        assert_eq!(reg_no("闽榕字第123号"), Digit::Malformed);
    }

    #[test]
    fn organisation_codes() {
        assert_eq!(org_code("71430580X"), Digit::Ok);
        assert_eq!(org_code("71430580-X"), Digit::Ok);
        assert_eq!(org_code("71430580-1"), Digit::Wrong);
        for bad in
            ["7143058-0X", "7143-0580-X", "71430580--X", "-71430580X", "71430580X-", "71430580—X", "71430580", ""]
        {
            assert_eq!(org_code(bad), Digit::Malformed, "{bad}");
        }
    }

    /// The number with its right last character.
    fn card(first: &str) -> String {
        format!("{first}{}", char::from(id_check(first.as_bytes())))
    }

    #[test]
    fn identity_cards() {
        assert_eq!(id_card("11010519491231002X"), Digit::Ok);
        assert_eq!(id_card("110105194912310021"), Digit::Wrong);
        assert_eq!(id_card("11010519491231002"), Digit::Malformed);
        // No such day, although the last character is right.
        for day in ["19491331", "19490231", "20230229", "18991231", "21000101", "00000000"] {
            assert_eq!(id_card(&card(&format!("110105{day}002"))), Digit::Malformed, "{day}");
        }
        assert_eq!(id_card(&card("11010520240229002")), Digit::Ok, "a child may be a shareholder");
        // Of fifteen digits, as given out until 1999: no check, two digits of the year.
        assert_eq!(id_card("110105491231002"), Digit::Ok);
        for bad in ["110105491331002", "110105000229002", "11010549123100X", "1101054912310"] {
            assert_eq!(id_card(bad), Digit::Malformed, "{bad}");
        }
    }

    #[test]
    fn identity_cards_within_a_text() {
        for (text, number) in [
            ("当事人张某（身份证11010519491231002X）于当日", "11010519491231002X"),
            ("号码１１０１０５１９４９１２３１００２Ｘ。", "１１０１０５１９４９１２３１００２Ｘ"),
            ("11010519491231002x", "11010519491231002x"),
            ("ID11010519491231002X", "11010519491231002X"),
            ("NO1101051949123100ｘ2, No.11010519491231002XY", "11010519491231002X"),
            ("ＮＯ１１０１０５１９４９１２３１００２ｘＸ", "１１０１０５１９４９１２３１００２ｘ"),
            ("12a11010519491231002X11a", ""),
            ("X11010519491231002X", "11010519491231002X"),
            ("3个，11010519491231002X１", ""),
            ("编号111010519491231002X", ""),
            ("编号１11010519491231002X", ""),
            ("110105194912310021", ""),
            ("91350102MA2TE5T1X0", ""),
            ("一二三四五六七八九十一二三四五六七八", ""),
            ("", ""),
        ] {
            assert_eq!(find_id_card(text).map_or("", |r| &text[r]), number, "{text}");
        }
        let digit = card("35010219800101123");
        let two = format!("1234567890123456789、{digit}及11010519491231002X");
        assert_eq!(&two[find_id_card(&two).unwrap()], digit, "the first that is one");
        assert_eq!(find_id_card(&format!("{digit}0")), None);
        assert_eq!(find_id_card(&format!("11010519491231002X{digit}")), Some(18..36), "an X bounds the next");
    }

    /// What is passed over unread holds no number: wherever one stands, and whatever stands around it.
    #[test]
    fn a_number_is_found_wherever_it_stands() {
        let number = card("35010219800101123");
        let wide: String =
            number.chars().map(|c| c.to_digit(10).map_or('Ｘ', |d| char::from_u32(0xff10 + d).unwrap())).collect();
        for before in (0..40).map(|n| "经查2026".chars().cycle().take(n).collect::<String>() + "：") {
            for after in (0..40).map(|n| "号1a".chars().cycle().take(n).collect::<String>()) {
                for number in [&number, &wide] {
                    let text = format!("{before}{number}{after}");
                    assert_eq!(find_id_card(&text).map(|r| &text[r]), Some(&**number), "{text}");
                }
            }
        }
    }

    #[test]
    fn serial_numbers_are_not_taken_for_identity_cards() {
        // 区划 + date + four digits, as licences are numbered: one in eleven has the right last character.
        for first in ["35010220160729001", "35010220251101012", "35010220130101001", "35010218991231001"] {
            assert_eq!(find_id_card(&card(first)), None, "{first}");
        }
        // No province begins so.
        for first in ["10010519491231002", "16010519491231002", "99010519491231002", "00010519491231002"] {
            assert_eq!(find_id_card(&card(first)), None, "{first}");
        }
        // Born in the last year that counts; in a county that is gone; with a residence permit (Taiwan).
        for first in ["35010220121231001", "35222119700101001", "83000019700101001", "81000019700101001"] {
            assert_eq!(find_id_card(&card(first)), Some(0..18), "{first}");
        }
        assert!(!divisions::known("352221".parse().unwrap()));
    }
}
