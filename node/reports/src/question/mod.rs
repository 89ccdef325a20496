//! Questions: what was found wrong with records that are held, by this node and by those above it.
//!
//! A record that is asked about is `open` until a later version of its business key is held; then it is `answered`. Questions
//! are told page by page, in the order of log and index, so that whoever goes on where the last page ended misses none.
//! Nothing is judged here: findings are read from the index as each holder put them. Blocking.

mod gather;

pub use gather::{QuestionSources, gather};

use serde::Serialize;
use std::{fmt, str::FromStr};
use tally_intake::Rights;
use tally_protocol::{
    finding::Finding,
    ids::{Division, LogId},
    record::RecordId,
};
use utoipa::ToSchema;

/// Which questions are asked for.
#[derive(Debug, Clone)]
pub struct QuestionQuery {
    /// Only those of this division and those below it.
    pub top: Division,
    /// Only those behind this place.
    pub after: Option<QuestionPlace>,
    /// At most so many.
    pub limit: usize,
    /// Also those that a later version has answered.
    pub answered_too: bool,
    /// Only those that whoever asks may see.
    pub rights: Rights,
}

/// A place among the questions, written `LOG:INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuestionPlace {
    /// The record's log.
    pub log: LogId,
    /// Its index there.
    pub index: u64,
}

/// It is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place is LOG:INDEX")]
pub struct NotAPlace;

impl FromStr for QuestionPlace {
    type Err = NotAPlace;
    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (log, index) = text.rsplit_once(':').ok_or(NotAPlace)?;
        let (log, index) = (log.parse().map_err(|_| NotAPlace)?, index.parse().map_err(|_| NotAPlace)?);
        Ok(Self { log, index })
    }
}

impl fmt::Display for QuestionPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log, self.index)
    }
}

/// Whether a question still waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuestionState {
    /// Nothing has come since.
    Open,
    /// A later version of the record's business key is held.
    Answered,
}

/// A record that is asked about.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RecordQuestion {
    /// The record.
    #[schema(value_type = String)]
    pub id: RecordId,
    /// Origin of its log.
    pub log: String,
    /// Its index there.
    pub index: u64,
    /// Its category.
    pub category: String,
    /// Code of its producing unit.
    pub unit: String,
    /// By what people find it; null where the record cannot be read from this disk.
    pub business_key: Option<String>,
    /// See `business_key`.
    pub subject_name: Option<String>,
    /// See `business_key`.
    pub source_row_id: Option<String>,
    /// When it was sealed.
    pub sealed_at: String,
    /// Whether it still waits.
    pub state: QuestionState,
    /// What each holder found.
    pub judged_by: Vec<HolderFindings>,
}

/// What one holder found wrong with a record.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HolderFindings {
    /// The holder.
    #[schema(value_type = String)]
    pub division: Division,
    /// What it found.
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Finding>,
}

/// Some questions. Its JSON is the contract of `GET /v1/questions`.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct QuestionPage {
    /// In the order of log and index.
    pub questions: Vec<RecordQuestion>,
    /// How many more there are: counted on the first page, up to a bound; later pages only say whether there are any.
    pub omitted: u64,
    /// Behind which place they go on, if there are any.
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back() {
        let place = QuestionPlace { log: "350102/e1".parse().unwrap(), index: 7 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for bad in ["", "7", "350102/e1", "350102/e1:", "350102/e1:x", "350102:7"] {
            assert_eq!(bad.parse::<QuestionPlace>(), Err(NotAPlace), "{bad}");
        }
    }
}
