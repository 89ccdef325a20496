//! What is flushed, and what a start makes of a disk.

use super::*;

pub(super) const LIST: &[Mutation] = &[
    mutation(
        "flush-does-nothing",
        ("node/journal/src/journal.rs", "self.doubt = self.file.sync_data().is_err();", ""),
        DISK,
        "power_cuts",
    ),
    mutation(
        "segment-header-not-flushed",
        (
            "node/journal/src/journal.rs",
            ".and_then(|()| file.sync_all().map_err(JournalError::at(&path, \"cannot be flushed\")))",
            "",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "segment-name-not-flushed",
        (
            "node/journal/src/journal.rs",
            ".and_then(|()| volume.sync_folder(dir).map_err(JournalError::at(dir, \"cannot be flushed\")))",
            "",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "journal-folder-not-flushed",
        (
            "node/journal/src/open.rs",
            "volume.sync_folder(above).map_err(JournalError::at(above, \"cannot be flushed\"))?;",
            "let _ = above;",
        ),
        DISK,
        "a_power_cut_at_every_call",
    ),
    mutation(
        "sealed-segment-not-flushed",
        ("node/journal/src/journal.rs", "self.flush()?;\n        let path", "let path"),
        DISK,
        "power_cuts",
    ),
    mutation(
        "found-at-a-start-not-flushed",
        (
            "node/journal/src/renew.rs",
            "file.write_all_at(bytes, offset)?;\n    file.sync_data()",
            "file.write_all_at(bytes, offset)",
        ),
        DISK,
        "what_a_start_finds",
    ),
    mutation(
        "failed-flush-is-believed",
        (
            "node/journal/src/journal.rs",
            "self.doubt = self.file.sync_data().is_err();",
            "let _ = self.file.sync_data();",
        ),
        DISK,
        "flushes_that_fail",
    ),
    mutation(
        "failed-write-is-believed",
        (
            "node/journal/src/journal.rs",
            "self.doubt = true;\n        }\n        self.written = self.tail.end();",
            "}\n        self.written = self.tail.end();",
        ),
        DISK,
        "calls_that_fail",
    ),
    mutation(
        "a-start-believes-the-cache",
        (
            "node/journal/src/renew.rs",
            "write_flushed(&file, &bytes, HEADER_BYTES).and_then",
            "file.write_all_at(&bytes, HEADER_BYTES).and_then",
        ),
        DISK,
        "flushes_that_fail",
    ),
    mutation(
        "what-is-left-behind-an-end-counts",
        (
            "node/journal/src/open.rs",
            ".filter(|end| headed && *end < len)",
            ".filter(|end| headed && *end < len && false)",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "unfinished-segment-counts",
        ("node/journal/src/carried.rs", "(!finished && before >", "(false && !finished && before >"),
        DISK,
        "power_cut",
    ),
    mutation(
        "segment-is-finished-unflushed",
        (
            "node/journal/src/carried.rs",
            "if head.durable_to > HEADER_BYTES &&",
            "if head.durable_to >= HEADER_BYTES &&",
        ),
        DISK,
        "power_cut",
    ),
    mutation(
        "page-of-the-end-is-not-kept",
        ("node/journal/src/tail.rs", ".unwrap_or(end) <= page &&", ".unwrap_or(end) <= end &&"),
        DISK,
        "what_shares_a_page",
    ),
    mutation(
        "round-without-room-is-written-twice",
        ("node/journal/src/journal.rs", "self.tail.back_to(before);\n            (self.root", "(self.root"),
        DISK,
        "one_call_that_fails",
    ),
    mutation(
        "want-of-room-ends-the-process",
        ("node/journal/src/shortage.rs", "StorageFull | io::ErrorKind::QuotaExceeded", "InvalidFilename"),
        DISK,
        "one_call_that_fails",
    ),
    sampled(mutation(
        "file-without-a-name-is-written-to",
        ("node/journal/src/guard.rs", "0 => self.look_after(),", "0 => Ok(()),"),
        JOURNAL,
        "nothing_is_flushed_into",
    )),
    mutation(
        "another-folder-is-written-to",
        ("node/journal/src/guard.rs", ".identity != self.folder {", ".identity != self.folder && false {"),
        JOURNAL,
        "what_is_taken_away",
    ),
    mutation(
        "places-are-not-followed",
        ("node/journal/src/carried.rs", "Ok(counts.then_some(Position { segment: next.segment, offset }))", "Ok(None)"),
        JOURNAL,
        "places_outlive",
    ),
    mutation(
        "mended-place-hides-the-second-copy",
        ("node/journal/src/carried.rs", "let twice = copies[0] == copies[1]", "let twice = true"),
        JOURNAL,
        "a_mended_place_does_not_hide",
    ),
    mutation(
        "second-copy-hides-damage-of-the-first",
        ("node/journal/src/carried.rs", "&& are_whole(&there, segment.saturating_sub(1), from, upto)", ""),
        JOURNAL,
        "a_second_copy_counts_whatever_byte",
    ),
    mutation(
        "the-end-of-a-segment-is-in-the-next",
        ("node/journal/src/reader.rs", "if onward.is_some() {", "if false && onward.is_some() {"),
        JOURNAL,
        "a_second_copy_counts_whatever_byte",
    ),
    mutation(
        "what-cannot-be-opened-is-not-there",
        (
            "node/journal/src/volume.rs",
            "Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),",
            "Err(e) if e.kind() != io::ErrorKind::OutOfMemory => Ok(None),",
        ),
        JOURNAL,
        "a_start_without_descriptors",
    ),
    mutation(
        "watchdog-is-not-told-of-a-round-that-waits",
        ("node/driver/src/patience.rs", "self.space.mailbox.beat();", ""),
        DRIVER,
        "a_round_waits_for_room",
    ),
    mutation(
        "inodes-are-not-looked-at",
        ("node/driver/src/patience.rs", "stat.f_favail < INODES_RESERVE", "stat.f_favail < 0 * INODES_RESERVE"),
        DRIVER,
        "few_inodes",
    ),
    mutation(
        "mark-not-flushed",
        ("node/journal/src/mark.rs", "checksum(&text)).as_bytes())?.sync_all()?;", "checksum(&text)).as_bytes())?;"),
        DISK,
        "a_clean_stop_is_told",
    ),
    mutation(
        "mark-name-not-flushed",
        (
            "node/journal/src/mark.rs",
            "volume.rename(&new, path)?;\n    sync_parent(volume, path)",
            "volume.rename(&new, path)",
        ),
        DISK,
        "a_clean_stop_is_told",
    ),
    mutation(
        "quarantine-not-flushed",
        ("node/journal/src/mend.rs", "folder.parent().map_or(Ok(()), |above| volume.sync_folder(above))?;", ""),
        DISK,
        "what_is_cut_off",
    ),
    sampled(mutation(
        "durable-to-is-too-far",
        (
            "node/journal/src/journal.rs",
            "self.tail.push(frame.kind, frame.meta, frame.body, self.flushed);",
            "self.tail.push(frame.kind, frame.meta, frame.body, self.written);",
        ),
        JOURNAL,
        "a_hole_that_never_was_durable",
    )),
    mutation(
        "damage-is-taken-for-a-torn-tail",
        (
            "node/journal/src/open.rs",
            "Step::Bad(damage) if damage.offset >= durable =>",
            "Step::Bad(damage) if damage.offset >= HEADER_BYTES =>",
        ),
        JOURNAL,
        "damage_in_the_middle",
    ),
    mutation(
        "a-torn-tail-is-taken-for-damage",
        ("node/journal/src/open.rs", ".max(marked).max(HEADER_BYTES);", ".max(marked).max(len);"),
        JOURNAL,
        "a_torn_tail",
    ),
    mutation(
        "bodies-of-the-tail-not-checked",
        ("node/journal/src/open.rs", "scan.step(scan.at() >= durable)", "scan.step(false)"),
        DISK,
        "power_cuts",
    ),
    mutation(
        "mark-is-not-read",
        ("node/journal/src/open.rs", "mark::read(&volume, &mark_path(dir))", "mark::read(&volume, dir)"),
        DISK,
        "a_clean_stop_is_told",
    ),
    mutation(
        "another-nodes-journal-is-taken",
        ("node/journal/src/open.rs", "if !header.is_of(owner) {", "if false && !header.is_of(owner) {"),
        JOURNAL,
        "what_is_foreign",
    ),
    mutation(
        "bodies-not-checked-when-read",
        ("node/journal/src/reader.rs", "if !head.body_holds(&body) {", "if false && !head.body_holds(&body) {"),
        JOURNAL,
        "an_altered_body",
    ),
    mutation(
        "what-was-sealed-from-here-counts-as-held",
        ("node/store/src/staged/store.rs", "&& index >= b.size)", "&& index > b.size)"),
        STORE,
        "a_row_that_was_sealed_from_here",
    ),
    mutation(
        "staged-segment-goes-without-its-outcomes",
        ("node/store/src/staged/store.rs", "done::write(&self.dir, &outcomes)?;", "let _ = done::write;"),
        STORE,
        "what_became_of_rows",
    ),
];
