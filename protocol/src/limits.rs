//! Every bound on what is stored, sent or decoded, and the relations between them.

/// Largest record in bytes: a tlog-tiles entry has a 16-bit length (c2sp.org/tlog-tiles).
pub const RECORD_BYTES_MAX: usize = 65_535;
/// Deepest nesting of a record's JSON, the record itself counted as 1.
pub const RECORD_DEPTH_MAX: usize = 8;
/// A batch closes at this many records.
pub const BATCH_RECORDS_MAX: usize = 1_000;
/// A batch closes when its records, each with its length prefix, reach this many bytes.
pub const BATCH_CLOSE_BYTES: usize = 1 << 20;
/// Largest expanded batch: the closing size, passed by at most one record and its prefix.
pub const BATCH_RAW_MAX: usize = BATCH_CLOSE_BYTES + RECORD_BYTES_MAX + 2;
/// A batch closes this long after its first record, in milliseconds.
pub const BATCH_CLOSE_MS: u64 = 200;
/// Largest signed checkpoint note with its signatures, in bytes.
pub const NOTE_BYTES_MAX: usize = 8 << 10;
/// Most signature lines read in a note; the standard asks for at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 32;
/// Largest encoded batch: header, note, compressed records.
pub const BATCH_BYTES_MAX: usize = 1_300_000;
/// Largest message on the control stream, and largest frame that opens a stream.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;
/// Most log heads in one frontier message.
pub const FRONTIER_HEADS_MAX: usize = 512;
/// Bytes of the heads in one frontier message, by [`HEAD_BYTES_MAX`] and their notes: there are fewer of long notes.
pub const FRONTIER_BYTES_MAX: usize = CONTROL_BYTES_MAX - 1_024;
/// Most bytes that a head takes in a message beside its note: log, size, root and the note's length.
pub const HEAD_BYTES_MAX: usize = 64;
/// Most heads of ancestors' logs in one hello: a path has three ancestors at most, with few logs of a child's concern.
pub const ANCESTOR_HEADS_MAX: usize = 64;
/// Longest text for people in a message, in bytes; longer ones are cut where they are sent.
pub const REASON_BYTES_MAX: usize = 1_024;
/// Longest reason of a request, in bytes.
pub const REQUEST_REASON_BYTES_MAX: usize = 500;
/// Longest name of a node in an invitation, in bytes.
pub const INVITE_NAME_BYTES_MAX: usize = 120;
/// Longest name of a level, in bytes.
pub const LEVEL_BYTES_MAX: usize = 16;
/// Most addresses of a node in an invitation, or in a request to join.
pub const INVITE_ADDRESSES_MAX: usize = 4;
/// Longest address, `host:port`, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 100;
/// Longest invitation as a line, in bytes.
pub const INVITE_TOKEN_BYTES_MAX: usize = 2 << 10;
/// Largest frame of whoever wants to join.
pub const JOIN_ASK_BYTES_MAX: usize = INVITE_TOKEN_BYTES_MAX + NOTE_BYTES_MAX;
/// Longest name of a software release in a message, in bytes; longer ones are cut where they are sent.
pub const SOFTWARE_BYTES_MAX: usize = 64;
/// Most nodes in one message of health: as many as a charter may have.
pub const HEALTH_NODES_MAX: usize = 4_096;
/// Most words of the levels above in one message.
pub const ABOVE_WORDS_MAX: usize = 512;
/// Largest signed charter, in bytes.
pub const CHARTER_BYTES_MAX: usize = 960 << 10;
/// Most hashes in a proof (RFC 9162: a tree has fewer than 2^63 leaves).
pub const PROOF_HASHES_MAX: usize = 63;
/// Batches of one log handed to a stream and not yet taken by it.
pub const PUSH_WINDOW: usize = 4;
/// Longest federation name, in bytes; it starts the origin line of every checkpoint.
pub const FEDERATION_BYTES_MAX: usize = 100;
/// Most nodes whose 16 children one question of a descent asks for.
pub const DESCENT_PARENTS_MAX: usize = 4_000;
/// Bytes of a hash in a descent's answer: it only locates a difference, signed roots prove.
pub const DESCENT_HASH_BYTES: usize = 16;
/// Most differing nodes of one level that a descent looks into; beyond, it takes whole subtrees for different. A level
/// moves at most 16 times as many hashes: 16 MiB.
pub const DESCENT_OPEN_MAX: usize = 65_536;
/// Most ranges that a descent reports, 16 bytes of memory each: every second leaf below the open nodes, as many whole
/// subtrees as there are open nodes, and one more a level.
pub const DESCENT_RANGES_MAX: usize = DESCENT_OPEN_MAX * 9 + 16;
/// Most ranges in one message of wanted records.
pub const WANT_RANGES_MAX: usize = 50_000;

/// What zstd may add to bytes that do not compress (zstd's `ZSTD_COMPRESSBOUND`).
const fn zstd_bound(raw: usize) -> usize {
    raw + (raw >> 8) + 512
}

const _: () = assert!(RECORD_BYTES_MAX == u16::MAX as usize);
// Base64 of two keys, a signature, an id and a few numbers beside the texts; and all of that in a request, beside five keys with
// names and another four addresses.
const _: () = assert!(
    4 * (FEDERATION_BYTES_MAX
        + INVITE_NAME_BYTES_MAX
        + LEVEL_BYTES_MAX
        + INVITE_ADDRESSES_MAX * ADDRESS_BYTES_MAX
        + 256)
        < 3 * INVITE_TOKEN_BYTES_MAX
);
const _: () = assert!(
    INVITE_TOKEN_BYTES_MAX + 6 * (FEDERATION_BYTES_MAX + 128) + INVITE_ADDRESSES_MAX * ADDRESS_BYTES_MAX + 512
        < NOTE_BYTES_MAX
);
const _: () = assert!(zstd_bound(BATCH_RAW_MAX) + NOTE_BYTES_MAX + 64 <= BATCH_BYTES_MAX);
const _: () = assert!(FRONTIER_BYTES_MAX <= CONTROL_BYTES_MAX && NOTE_BYTES_MAX + HEAD_BYTES_MAX < FRONTIER_BYTES_MAX);
const _: () = assert!(CHARTER_BYTES_MAX < CONTROL_BYTES_MAX);
const _: () = assert!(ANCESTOR_HEADS_MAX * (NOTE_BYTES_MAX + 64) + 1_024 < CONTROL_BYTES_MAX);
// Two divisions, a state, nine figures of at most 11 bytes, and the software.
const _: () = assert!(HEALTH_NODES_MAX * (2 * 5 + 1 + 9 * 11 + SOFTWARE_BYTES_MAX + 3) + 16 < CONTROL_BYTES_MAX);
const _: () = assert!(ABOVE_WORDS_MAX * (64 + REASON_BYTES_MAX) < CONTROL_BYTES_MAX);
// Two notes, a root, a path and a reason.
const _: () = assert!(2 * NOTE_BYTES_MAX + (PROOF_HASHES_MAX + 1) * 33 + REASON_BYTES_MAX + 64 < CONTROL_BYTES_MAX);
// Each absent hash takes fewer bytes than the hash would.
const _: () = assert!(DESCENT_PARENTS_MAX * 16 * DESCENT_HASH_BYTES + 1_024 < CONTROL_BYTES_MAX);
// A range is two varints of at most 10 bytes.
const _: () = assert!(WANT_RANGES_MAX * 20 + 32 < CONTROL_BYTES_MAX);
