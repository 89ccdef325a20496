//! What several handlers read of a request: formats, and the body piece by piece.

use super::problem::{Problem, bad};
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt as _;
use std::time::{Duration, Instant};
use tally_intake::{InputFormat, InputPieces};
use tally_protocol::ids::Division;
use tally_topology::{
    charter::Charter,
    digits::{self, Digit},
};

/// A body must not pause for longer.
const IDLE: Duration = Duration::from_secs(60);
/// And in so much time a token's has to bring at least [`PACE_BYTES`], or it ends.
const PACE_WINDOW: Duration = Duration::from_secs(300);
/// Some rows, in bytes.
const PACE_BYTES: usize = 4 << 10;

/// As what a body is read: `format` says, else the content type.
pub(super) fn input_format(format: Option<&str>, headers: &HeaderMap) -> Result<InputFormat, Problem> {
    if let Some(format) = format {
        return match format {
            "ndjson" => Ok(InputFormat::Ndjson),
            "csv" => Ok(InputFormat::Csv),
            "xlsx" => Ok(InputFormat::Xlsx),
            other => Err(bad(&format!("format: {other:?} is none of ndjson, csv, xlsx"))),
        };
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/x-ndjson");
    // Names of media types have no case (RFC 9110, 8.3.1).
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/json" | "text/plain" => Ok(InputFormat::Ndjson),
        "text/csv" | "text/tab-separated-values" => Ok(InputFormat::Csv),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Ok(InputFormat::Xlsx),
        other => {
            let detail = format!("{other} is not read here: send application/x-ndjson, text/csv or an XLSX workbook");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", &detail))
        }
    }
}

/// A division of this federation by its code or name, if one is named. Of one that nobody knows nothing is held, and saying
/// that would look like an answer.
pub(super) fn division(charter: &Charter, text: Option<&String>) -> Result<Option<Division>, Problem> {
    let named = |name: &String| charter.division_named(name).map_err(|e| bad(&format!("division: {e}")));
    text.map(named).transpose()
}

/// A category that some version of the catalog has, by its identifier or Chinese name, if one is named.
pub(super) fn category(charter: &Charter, name: Option<String>) -> Result<Option<String>, Problem> {
    let named = |name: String| charter.catalogs().category_named(&name).map_err(|e| bad(&format!("category: {e}")));
    name.map(named).transpose()
}

/// A producing unit: one of the registry, or while that is open, a credit code that can be one. A slip of the pen would
/// otherwise look like a unit of which nothing is held.
pub(super) fn unit(charter: &Charter, code: String) -> Result<String, Problem> {
    let registry = charter.units();
    if registry.get(&code).is_some() {
        return Ok(code);
    }
    let shown: String = code.chars().take(40).collect();
    if registry.closed {
        return Err(bad(&format!("unit: {shown:?} is not in the registry of units / 单位登记表中没有该单位")));
    }
    match digits::uscc(&code) {
        Digit::Ok => Ok(code),
        Digit::Wrong | Digit::Malformed => {
            let why = "is neither in the registry of units nor a unified social credit code whose check digit is right";
            Err(bad(&format!("unit: {shown:?} {why} / 既不在单位登记表中，也不是有效的统一社会信用代码")))
        }
    }
}

/// Fewest digits of an id by which a record may be named.
const ID_DIGITS_MIN: usize = 8;
/// Digits of a whole id.
const ID_DIGITS: usize = 64;

/// The first digits of an id, in the case in which ids are written.
pub(super) fn id_digits(name: &str, text: &str) -> Result<String, Problem> {
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && (ID_DIGITS_MIN..=ID_DIGITS).contains(&text.len()) {
        return Ok(text.to_ascii_lowercase());
    }
    let shown: String = text.chars().take(ID_DIGITS).collect();
    Err(bad(&format!("{name}: {shown:?} is no id: {ID_DIGITS_MIN} to {ID_DIGITS} hexadecimal digits are needed")))
}

/// A body as pieces. A sender that stops sending holds a place that others wait for, so it may not pause for long, and a
/// token's must bring something meanwhile (`paced`).
pub(super) fn body_pieces(body: Body, paced: bool) -> InputPieces {
    let pace = paced.then(|| Pace::at(Instant::now()));
    Box::pin(futures_util::stream::unfold((body.into_data_stream(), pace), |(mut body, mut pace)| async {
        let piece = match tokio::time::timeout(IDLE, body.next()).await {
            Ok(piece) => piece?.map_err(|e| e.to_string()),
            Err(_) => Err(format!("nothing came for {} s", IDLE.as_secs())),
        };
        let kept = |p: &mut Pace| piece.as_ref().is_ok_and(|bytes| p.keeps(bytes.len(), Instant::now()));
        let slow = piece.is_ok() && pace.as_mut().is_some_and(|p| !kept(p));
        let why = format!("less than {PACE_BYTES} bytes came in {} s", PACE_WINDOW.as_secs());
        Some((if slow { Err(why) } else { piece }, (body, pace)))
    }))
}

/// How much has come in the present window.
#[derive(Debug)]
struct Pace {
    since: Instant,
    bytes: usize,
}

impl Pace {
    fn at(now: Instant) -> Self {
        Self { since: now, bytes: 0 }
    }

    /// Whether a sender of whom so many bytes come now is fast enough.
    fn keeps(&mut self, bytes: usize, now: Instant) -> bool {
        self.bytes += bytes;
        let over = now.duration_since(self.since) > PACE_WINDOW;
        let enough = self.bytes >= PACE_BYTES;
        if enough {
            *self = Self::at(now);
        }
        enough || !over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::sample;

    /// M12: a body that drips ends, one that is only slow does not.
    #[test]
    fn a_body_keeps_a_pace() {
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let (mut drips, mut slow) = (Pace::at(begun), Pace::at(begun));
        assert!((1..=6).all(|n| drips.keeps(1, at(50 * n))));
        assert!(!drips.keeps(1, at(350)));
        assert!((1..1_000).all(|n| slow.keeps(1_024, at(50 * n))));
    }

    #[test]
    fn what_nobody_knows_is_no_filter() {
        let charter = sample::charter("");
        let of = |d: &str| division(&charter, Some(&d.to_owned())).map_err(|_| ());
        assert_eq!(of("350102"), Ok("350102".parse().ok()));
        assert_eq!((of("110101"), of("Fuzhou"), of("")), (Err(()), Err(()), Err(())));
        let of = |c: &str| category(&charter, Some(c.to_owned())).map_err(|_| ());
        assert_eq!(of("admin_license"), Ok(Some("admin_license".to_owned())));
        assert_eq!(of("行政许可"), Ok(Some("admin_license".to_owned())));
        assert_eq!((of("weather"), of(""), of("Admin_License")), (Err(()), Err(()), Err(())));
        let of = |charter: &Charter, u: &str| unit(charter, u.to_owned()).map_err(|_| ());
        // The last is that of the first with a slip of the pen.
        assert_eq!(of(&charter, "113501020036012589"), Ok("113501020036012589".to_owned()));
        assert_eq!(
            (of(&charter, "x"), of(&charter, ""), of(&charter, "113501020036012588")),
            (Err(()), Err(()), Err(()))
        );
        let closed = sample::charter("[registry]\nclosed = true\n");
        assert_eq!(of(&closed, "113501020036012589"), Err(()));
        assert!(division(&charter, None).is_ok_and(|d| d.is_none()));
        assert!(category(&charter, None).is_ok_and(|c| c.is_none()));
    }
}
