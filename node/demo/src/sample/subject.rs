//! Who records are about: made-up companies, individual businesses and cooperatives, each with a code that checks.

use super::{Sampler, code::uscc};
use crate::words::{FARMING, Group, Rng, Trade, WORDS, glyph, mix, person};

pub(super) const INDIVIDUAL: &str = "individual_business";

/// A market entity; the same place and number give the same one, whatever the seed.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) uscc: String,
    /// `subject_type` of the catalog.
    pub(super) kind: &'static str,
    /// `entity_type` of the catalog.
    pub(super) entity: &'static str,
    pub(super) person: String,
    pub(super) group: &'static Group,
    pub(super) trade: &'static Trade,
}

impl Subject {
    /// Of 25 numbers one is a farmers' cooperative, four are individual businesses, the others companies.
    pub(super) fn of(sampler: &Sampler, number: u64) -> Self {
        /// 31^5: serials begin with the digit 2 or 3, as in codes given out since 2015.
        const BLOCK: u64 = 28_629_151;
        let (place, full_name) = (&sampler.place, sampler.full_name.as_str());
        let mut rng = Rng(mix(mix(number) ^ sampler.digits));
        let group = if number.is_multiple_of(25) { &WORDS.groups[FARMING] } else { rng.pick(&WORDS.groups) };
        let trade = rng.pick(&group.trades);
        let third = if rng.below(2) == 0 { "" } else { glyph(&WORDS.name_second, &mut rng) };
        let brand = [glyph(&WORDS.name_first, &mut rng), glyph(&WORDS.name_second, &mut rng), third].concat();
        let city = place.city_name.trim_end_matches(['市', '省']);
        let (prefix, kind, entity, parts) = match number % 25 {
            0 => ("93", "farmers_cooperative", "9100", [full_name, &brand, &trade.shop, "专业合作社"]),
            1..=4 => ("92", INDIVIDUAL, "9500", [full_name, &brand, &trade.shop, ""]),
            5..=9 => ("91", "enterprise", "1151", ["福建", &brand, &trade.company, "有限公司"]),
            _ => ("91", "enterprise", "1130", [city, &brand, &trade.company, "有限公司"]),
        };
        // The factor is prime to 31: numbers below 31^5 have different codes, and neighbours look unlike.
        let serial = (2 + number % 2) * BLOCK + number % BLOCK * 7_368_787 % BLOCK;
        let (name, uscc) = (parts.concat(), uscc(prefix, &place.division, serial));
        Self { name, uscc, kind, entity, person: person(&mut rng), group, trade }
    }
}
