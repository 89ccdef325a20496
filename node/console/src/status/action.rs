//! How something to look at goes into JSON: in English, and in Chinese where the catalog of texts has it, so that a screen in
//! either language can show it.

use super::Action;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// Something to look at: what, why, and what to do next; in Chinese too, where the words are known.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct SentAction {
    /// Stable name.
    code: String,
    /// What is affected.
    what: String,
    /// Why.
    why: String,
    /// What to do.
    next: String,
    /// In Chinese.
    #[schema(required = false)]
    what_zh: String,
    /// See `what_zh`.
    #[schema(required = false)]
    why_zh: String,
    /// See `what_zh`.
    #[schema(required = false)]
    next_zh: String,
}

impl PartialSchema for Action {
    fn schema() -> RefOr<Schema> {
        SentAction::schema()
    }
}

impl ToSchema for Action {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Action")
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let chinese = [("what_zh", &self.what), ("why_zh", &self.why), ("next_zh", &self.next)];
        let mut out = serializer.serialize_struct("Action", 7)?;
        out.serialize_field("code", &self.code)?;
        out.serialize_field("what", &self.what)?;
        out.serialize_field("why", &self.why)?;
        out.serialize_field("next", &self.next)?;
        for (name, english) in chinese {
            match tally_texts::zh(english) {
                Some(zh) => out.serialize_field(name, &zh)?,
                None => out.skip_field(name)?,
            }
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_are_there_and_one_that_is_not_known_is_left_out() {
        let action = Action {
            code: "node_lost".into(),
            what: "350203 思明区 is lost".into(),
            why: "something that nobody has put into Chinese yet".into(),
            next: "see the reason; the node tries again by itself".into(),
        };
        let json = serde_json::to_value(&action).unwrap();
        assert_eq!((&json["what"], &json["what_zh"]), (&action.what.clone().into(), &"350203 思明区 断开".into()));
        assert!(json["why_zh"].is_null() && json["next_zh"] == "见原因；节点自动重试");
        assert_eq!(serde_json::from_value::<Action>(json).unwrap(), action, "what is read is the English");
    }
}
