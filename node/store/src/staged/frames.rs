//! Frames of staged rows. Their kinds are none of the journal's, so that a segment in the wrong folder says nothing there.
//!
//! The body of a frame of rows is the records' canonical JSON, a line each: no line end stands in it.

use serde::{Deserialize, Serialize};
use tally_journal::{FrameHead, META_BYTES_MAX};
use tally_protocol::{codec, ids::LogId, record::Record};

/// Kind of a frame of rows.
pub(super) const ROWS: u8 = 16;
/// Kind of a frame that says where sealing began.
pub(super) const BEGUN: u8 = 17;

/// Frames of one submission that were written together, by their numbers. A frame's number stays, also where a start after a
/// kill writes the frame anew in another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedRun {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
}

/// What the head of a frame of rows says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowsMeta {
    /// One more than that of the frame before.
    pub(super) number: u64,
    /// When they were staged, POSIX seconds.
    pub(super) staged_at: u64,
    /// How many.
    pub(super) records: u32,
    /// Bytes of the body.
    pub(super) bytes: u32,
}

/// Sealing of the frames before this number began when the own log had this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BegunMeta {
    pub(super) log: LogId,
    pub(super) size: u64,
    pub(super) before: u64,
}

/// What a frame's head says; `None` if it says nothing that is known here.
pub(super) enum Said {
    Rows(RowsMeta),
    Begun(BegunMeta),
}

pub(super) fn decode(head: &FrameHead) -> Option<Said> {
    match head.kind {
        ROWS => codec::decode::<_, META_BYTES_MAX>(&head.meta).ok().map(Said::Rows),
        BEGUN => codec::decode::<_, META_BYTES_MAX>(&head.meta).ok().map(Said::Begun),
        _ => None,
    }
}

/// The records as the body of a frame.
pub(super) fn body(records: &[Record]) -> Vec<u8> {
    let mut body = Vec::with_capacity(records.iter().map(|r| r.bytes().len().saturating_add(1)).sum());
    for record in records {
        body.extend_from_slice(record.bytes());
        body.push(b'\n');
    }
    body
}

/// The records of a body.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The encoding is frozen: rows that were staged by one release are sealed by the next.
    #[test]
    fn frozen_bytes() {
        let head = |kind, meta| FrameHead { kind, meta, durable_to: 0, sought: false };
        let rows = RowsMeta { number: 7, staged_at: 9, records: 2, bytes: 300 };
        let meta = codec::encode(&rows);
        assert_eq!(meta, b"\x07\x09\x02\xfb\x2c\x01");
        assert!(matches!(decode(&head(ROWS, meta.clone())), Some(Said::Rows(read)) if read == rows));
        assert!(decode(&head(1, meta)).is_none());
        let begun = BegunMeta { log: "350102/e1".parse().unwrap(), size: 5, before: 8 };
        let meta = codec::encode(&begun);
        assert_eq!(meta, b"\x05\x57\x96\0\0\0\x01\0\0\0\x05\x08");
        assert!(matches!(decode(&head(BEGUN, meta)), Some(Said::Begun(read)) if read == begun));
        assert_eq!(lines(b"{\"a\":1}\n{}\n").collect::<Vec<_>>(), [&b"{\"a\":1}"[..], b"{}"]);
    }
}
