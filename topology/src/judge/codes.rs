//! Codes with check digits, divisions, and what a credit code says of its subject.

use super::{RecordJudge, text};
use crate::{
    catalog::{Field, FieldType, Severity},
    digits::{self, Digit},
    divisions,
};

/// First two characters of a credit code, by kind of subject (GB 32100-2015).
const CLASSES: [(&str, &str); 3] = [("enterprise", "91"), ("individual_business", "92"), ("farmers_cooperative", "93")];

impl RecordJudge<'_> {
    pub(super) fn code(&mut self, field: &Field, t: &str) {
        if field.instead.iter().any(|i| i == t) {
            return;
        }
        match field.kind {
            FieldType::Uscc => match digits::uscc(t) {
                Digit::Ok => {}
                Digit::Wrong if self.context.charter.exceptions().uscc.contains(t) => {}
                Digit::Wrong => self.say_of("V007", field, t),
                Digit::Malformed => self.say_of("V008", field, t),
            },
            FieldType::OrgCode => self.checked(field, t, digits::org_code(t)),
            FieldType::RegNo => match digits::reg_no(t) {
                // The field also holds numbers of other registers, but not of persons.
                Digit::Malformed if !field.personal && digits::find_id_card(t).is_some() => {
                    self.say("V025", &field.id, &field.zh, "");
                }
                Digit::Malformed => {}
                digit => self.checked(field, t, digit),
            },
            // Passports and permits of residence stand there too; they have no check digit.
            FieldType::IdNo if t.len() == 18 => self.checked(field, t, digits::id_card(t)),
            // Cards of before 1999 have 15 digits and no check digit.
            FieldType::IdNo if self.is_of_card(field) && !(t.len() == 15 && t.bytes().all(|b| b.is_ascii_digit())) => {
                self.checked(field, t, Digit::Malformed);
            }
            FieldType::Division => match t.parse() {
                Ok(d) if divisions::known(d) => {}
                Ok(d) if self.context.charter.entry_node(d).is_some() => {}
                Ok(d) => match divisions::told_of_former(d) {
                    Some((en, zh)) => {
                        let (en, zh) = (format!("{}: {en}", field.id), format!("行政区划代码无效：{}：{zh}", field.zh));
                        self.say_so(Severity::Reject, "V019", &field.id, (en, zh));
                    }
                    None => self.say_of("V019", field, t),
                },
                Err(_) => self.say_of("V002", field, t),
            },
            _ => {}
        }
    }

    /// Whether the number is said to be that of an identity card.
    fn is_of_card(&self, field: &Field) -> bool {
        field.paired_with.as_deref().and_then(|kind| self.text(kind)) == Some("身份证")
    }

    fn checked(&mut self, field: &Field, t: &str, digit: Digit) {
        let value = if field.personal { super::masked(t) } else { text::shown(t) };
        match digit {
            Digit::Ok => {}
            Digit::Malformed => self.say_of("V002", field, t),
            Digit::Wrong => {
                let en = format!("the check digit of {} {value} is wrong: compare it with the certificate", field.id);
                self.say_so(Severity::Question, "V007", &field.id, (en, format!("校验位错误：{}={value}", field.zh)));
            }
        }
    }

    /// The class of the credit code is that of the kind of subject (V009).
    pub(super) fn class(&mut self) {
        let Some(code) = self.text("subject_uscc") else { return };
        let Some(class) = code.get(..2) else { return };
        // Seventeen zeros and X: an individual business without a code, and nobody else.
        let nobody = code.starts_with("00000000000000000");
        if let Some(kind) = self.text("subject_type") {
            let fits = match CLASSES.iter().find(|(k, _)| *k == kind) {
                Some((of, wanted)) => class == *wanted || (nobody && *of == "individual_business"),
                None => !nobody && CLASSES.iter().all(|(_, c)| *c != class),
            };
            if !fits {
                let value = format!("{}, {}", text::shown(kind), text::shown(code));
                return self.say("V009", "subject_type", "主体类型", &value);
            }
        }
        if let Some(kind) = self.text("party_kind") {
            let individual = class == "92" || nobody;
            let fits = match kind {
                "法人及非法人组织" => !individual,
                "个体工商户" => individual,
                _ => true,
            };
            if !fits {
                let value = format!("{}, {}", text::shown(kind), text::shown(code));
                self.say("V009", "party_kind", "行政相对人类别", &value);
            }
        }
    }
}
